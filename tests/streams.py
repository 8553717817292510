"""A request's body as aiohttp's server hands it over, for tests of what reads it."""

import asyncio

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol


class _Connected(BaseProtocol):
    """The protocol of a connection that is open, and nothing more."""

    connected = True

    def pause_reading(self) -> None:
        """Have nothing to pause."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Have nothing to resume."""


def body_stream(content: bytes = b"", *, end: bool = False) -> StreamReader:
    """A stream that holds `content`; what comes then is fed to it, unless this is the `end`."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(_Connected(loop), 1 << 16, loop=loop)
    stream.feed_data(content)
    if end:
        stream.feed_eof()
    return stream
