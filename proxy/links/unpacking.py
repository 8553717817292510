"""Unpacks gzip and deflate as they stream, in bounded memory.

Rules: what comes out comes in pieces of at most `PIECE_SIZE`, however much is packed in a chunk, so that a zip bomb
costs time but no memory; who takes the pieces sets the pace. A stream that is broken or ends early is an error, never a
short but complete body.

Leniency, where servers are known to be sloppy: `deflate` is zlib (RFC 1950), as RFC 9110 §8.4.1.2 has it, or raw
deflate (RFC 1951). What follows the end of the stream is dropped, as gzip(1) does, unless it begins as another gzip
member (RFC 1952 §2.2). No byte at all is an empty body.
"""

import zlib
from collections.abc import Generator, Iterator
from typing import Final

PIECE_SIZE: Final = 1 << 16  # bytes
_INPUT_SIZE: Final = 1 << 14  # bytes; with every piece, zlib hands back a copy of what is left of them

_GZIP_FIRST_BYTE: Final = 0x1F  # RFC 1952 §2.3
# The low half of the first byte of a zlib stream (RFC 1950 §2.2). In raw deflate it would be a stored block with bits
# set in its padding (RFC 1951 §3.2.4), which nobody writes.
_ZLIB_METHOD: Final = 8
# What zlib is told to expect (zlib.h, inflateInit2).
_GZIP_STREAM: Final = 16 + zlib.MAX_WBITS
_ZLIB_STREAM: Final = zlib.MAX_WBITS
_RAW_STREAM: Final = -zlib.MAX_WBITS

_GZIP: Final = frozenset((b"gzip", b"x-gzip"))  # two names for the same (RFC 9110 §8.4.1.3)
_IDENTITY: Final = frozenset((b"identity", b""))
_KNOWN: Final = _GZIP | _IDENTITY | {b"deflate"}


class BrokenEncoding(Exception):
    """A body that is not what its Content-Encoding says; the text is a sentence that holds nothing of the body."""


def can_unpack(content_encoding: bytes) -> bool:
    """Tell whether `Unpacker` takes this value of Content-Encoding: gzip, deflate or identity, one alone or none."""
    return _coding(content_encoding) in _KNOWN


def is_packed(content_encoding: bytes) -> bool:
    """Tell whether this value of Content-Encoding names a coding that changes the bytes."""
    return _coding(content_encoding) not in _IDENTITY


def unpack(body: bytes, content_encoding: bytes, limit: int) -> bytes | None:
    """Return what is packed in a whole body; `None` if that is more than `limit` bytes.

    Raises `BrokenEncoding`, and `ValueError` for a Content-Encoding of which `can_unpack` says no.
    """
    unpacker = Unpacker(content_encoding)
    pieces: list[bytes] = []
    size = 0
    for piece in unpacker.feed(body):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return None
    unpacker.finish()
    return b"".join(pieces)


class Unpacker:
    """Unpacks one body. Raises `ValueError` for a Content-Encoding of which `can_unpack` says no."""

    def __init__(self, content_encoding: bytes) -> None:
        if not can_unpack(content_encoding):
            raise ValueError("only gzip, deflate and identity can be unpacked")
        self._coding = _coding(content_encoding)
        self._stream: zlib._Decompress | None = None  # the one that has begun and not ended
        self._complete = False  # whether one has ended
        self._dropping = False  # whether what still comes is of no stream

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what is packed in the next bytes of the body: pieces of 1 to `PIECE_SIZE` bytes.

        They must be taken to the last before the next call. Raises `BrokenEncoding`.
        """
        if self._coding in _IDENTITY:
            yield from _parts(chunk, PIECE_SIZE)
            return
        for part in _parts(chunk, _INPUT_SIZE):
            packed = part
            while packed and not self._dropping:
                if self._stream is None:
                    self._begin(packed[0])
                else:
                    packed = yield from self._to_end_of_stream(self._stream, packed)

    def finish(self) -> None:
        """Say that the body has ended. Raises `BrokenEncoding` if its stream has not."""
        if self._stream is not None:
            raise BrokenEncoding(f"The body ends before its {self._coding.decode()} stream does.")

    def _begin(self, first_byte: int) -> None:
        """Begin a stream, unless what follows the last one is none."""
        if self._coding in _GZIP:
            self._dropping = self._complete and first_byte != _GZIP_FIRST_BYTE
            kind = _GZIP_STREAM
        else:
            self._dropping = self._complete
            kind = _ZLIB_STREAM if first_byte & 0x0F == _ZLIB_METHOD else _RAW_STREAM
        self._stream = None if self._dropping else zlib.decompressobj(kind)

    def _to_end_of_stream(self, stream: "zlib._Decompress", packed: bytes) -> Generator[bytes, None, bytes]:
        """Yield what is packed, and return what follows the stream's end, if that is reached."""
        while True:
            try:
                piece = stream.decompress(packed, PIECE_SIZE)
            except zlib.error:
                raise BrokenEncoding(
                    f"The body is not valid {self._coding.decode()}, although its Content-Encoding says so."
                ) from None
            if piece:
                yield piece
            if stream.eof:
                self._stream, self._complete = None, True
                return stream.unused_data
            packed = stream.unconsumed_tail
            if not packed and len(piece) < PIECE_SIZE:  # a full piece may leave more inside zlib
                return b""


def _coding(content_encoding: bytes) -> bytes:
    return content_encoding.strip(b" \t").lower()


def _parts(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
