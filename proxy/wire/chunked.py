"""The chunked transfer coding (RFC 9112 §7.1), taken off as it comes.

Rules: of a request it is strictly what the RFC writes, since what one server forgives another takes for the end of a
message. Answers may have what platforms are known for: blanks behind a size, and LF for CRLF. Chunk extensions and
trailer fields are dropped (§7.1.1, §7.1.2); none of their lines may be long, and none of a request's may speak of
framing.
"""

import re
from enum import Enum
from typing import Final

from proxy.wire.head import is_field

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_BEGINNING_OF_SIZE: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")
_MORE_OF_EXTENSION: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\r?")
_IN_EXTENSION: Final = 17  # bytes from which on a line can only be in one
_LENIENT_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_FRAMING: Final = re.compile(rb"(?:content-length|transfer-encoding):", re.IGNORECASE)  # RFC 9110 §6.5.1
_MAX_SIZE_LINE: Final = 1 << 14  # bytes; an extension may be so long


class BrokenFramingError(ValueError):
    """A body is not framed as it should be."""


class TrailersTooLargeError(BrokenFramingError):
    """A trailer field is larger than it may be, or there are too many of them."""


class _Next(Enum):
    """What the next line is."""

    SIZE = "size"
    END_OF_CHUNK = "end of chunk"
    TRAILER = "trailer"


class Chunked:
    """Takes the coding off one body; `ended` when all of it has come. Trailer fields have `max_line` bytes at most."""

    __slots__ = ("_checked", "_left", "_lenient", "_max_line", "_max_trailers", "_next", "_pending", "ended")

    def __init__(self, *, lenient: bool, max_line: int = 1 << 15, max_trailers: int = 128) -> None:
        self._lenient = lenient
        self._max_line = max_line
        self._max_trailers = max_trailers
        self._pending = b""  # the beginning of a line
        self._checked = 0  # bytes of it that are known to be right
        self._left = 0  # bytes of the chunk that has begun
        self._next = _Next.SIZE
        self.ended = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take what came; return pieces of content, and what is behind the end. Raises `BrokenFramingError`."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                pieces.append(data[at : at + self._left])
                at += len(pieces[-1])
                self._left -= len(pieces[-1])
                continue
            end = data.find(b"\n", at) + 1
            if not end:
                self._pending = data[at:]
                self._check_beginning(self._pending)
                break
            self._take_line(data[at:end])
            at = end
            if self.ended:
                return pieces, data[at:]
        return pieces, b""

    def _take_line(self, line: bytes) -> None:
        match self._next:
            case _Next.SIZE:
                found = (_LENIENT_SIZE if self._lenient else _SIZE).fullmatch(line)
                if found is None or len(line) > _MAX_SIZE_LINE:
                    raise BrokenFramingError
                self._checked = 0
                self._left = int(found[1], 16)
                self._next = _Next.END_OF_CHUNK if self._left else _Next.TRAILER
            case _Next.END_OF_CHUNK:
                if not self._is_empty(line):
                    raise BrokenFramingError
                self._next = _Next.SIZE
            case _Next.TRAILER:
                self.ended = self._is_empty(line)
                if not self.ended:
                    self._take_trailer(line)

    def _take_trailer(self, line: bytes) -> None:
        self._max_trailers -= 1
        if len(line) > self._max_line or self._max_trailers < 0:
            raise TrailersTooLargeError
        if self._lenient:
            return
        if not (line.endswith(b"\r\n") and is_field(line[:-2])) or _FRAMING.match(line):
            raise BrokenFramingError

    def _check_beginning(self, line: bytes) -> None:
        """Refuse the beginning of a line of which nothing right can come: its end might never come."""
        match self._next:
            case _Next.SIZE if len(line) > _MAX_SIZE_LINE or not (self._lenient or self._begins_size(line)):
                raise BrokenFramingError
            case _Next.END_OF_CHUNK if line != b"\r":
                raise BrokenFramingError
            case _Next.TRAILER if len(line) > self._max_line:
                raise TrailersTooLargeError

    def _begins_size(self, line: bytes) -> bool:
        """Tell whether this may become a line with a size; what came of it before is not looked at again."""
        last, self._checked = self._checked - 1, len(line)
        if last < _IN_EXTENSION:
            return _BEGINNING_OF_SIZE.fullmatch(line) is not None
        return _MORE_OF_EXTENSION.fullmatch(line, last) is not None  # it may be a CR, which ends it

    def _is_empty(self, line: bytes) -> bool:
        return line == b"\r\n" or (self._lenient and line == b"\n")
