"""aiohttp's client, as it asks for tokens, for answers as platforms write them.

Rules: its own parser gets what comes as RFC 9112 has it, by what `answer_parsing.py` says of the head; what follows an
announced body is dropped. What can't be read so, it gets as it came, and decides.
"""

import asyncio
import re
from typing import Final

from aiohttp.client_proto import ResponseHandler

from proxy.errors import UpstreamProtocolError
from proxy.wire.answer_parsing import parse_answer
from proxy.wire.chunked import BrokenFramingError, Chunked
from proxy.wire.framing import CHUNKED, MAX_HEAD, answer_length
from proxy.wire.head import PASSES, FieldTable

_ANY_END: Final = re.compile(rb"\r?\n\r?\n")
_FRAMING: Final = {b"content-length": PASSES, b"transfer-encoding": PASSES}


class LenientHandler(ResponseHandler):
    """The protocol of a connection on which one request is sent, to be made by a connector."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._head = b""  # the beginning of one
        self._in_head = True
        self._left: int | None = None  # bytes of the body; `None` if that is not known
        self._chunked: Chunked | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if data and self._parser is not None:  # else it comes once more
            data = self._as_it_should_be(data)
            if not data:
                return
        super().data_received(data)

    def _as_it_should_be(self, data: bytes) -> bytes:
        out = b""
        while data and self._in_head:
            came = (self._head + data).lstrip(b"\r\n")
            self._head, data = b"", b""
            end = _ANY_END.search(came)
            if end is not None:
                out += self._settled(came[: end.end()])
                data = came[end.end() :]
            elif len(came) <= MAX_HEAD and came.startswith(b"HTTP/"[: len(came)]):
                self._head = came
            else:
                self._in_head = False  # it is none, and its end might never come
                out += came
        return out + self._within_body(data)

    def _settled(self, raw: bytes) -> bytes:
        """Take a whole head; return it as it should be."""
        try:
            status, reason, head, _ = parse_answer(raw, FieldTable(_FRAMING), self._loop)
            length = answer_length(head)
        except UpstreamProtocolError:
            self._in_head = False
            return raw
        if status < 200 and status != 101:
            return b""  # interim
        self._in_head = False
        if length == CHUNKED:
            self._chunked = Chunked(lenient=True)
        else:
            self._left = 0 if status in (204, 304) else length
        lines = [field.name + b": " + field.value for field in head.fields]
        return b"\r\n".join([b"HTTP/1.1 %d %b" % (status, reason), *lines, b"", b""])

    def _within_body(self, data: bytes) -> bytes:
        """Return the data without what is behind the body."""
        if self._chunked is not None:
            try:
                behind = self._chunked.feed(data)[1] if not self._chunked.ended else data
            except BrokenFramingError:
                self._chunked = None
                return data
            return data[: len(data) - len(behind)]
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data
