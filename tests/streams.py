"""A request's body as the wire hands it over, for tests of what reads it."""

from proxy.guards.descriptors import Descriptors
from proxy.wire.body import RequestBody
from proxy.wire.incoming import Incoming
from proxy.wire.spool import Spool

SPOOL = Spool(Descriptors(), unwritten=1 << 50)  # its threads stay until the tests end


class Held:
    """Counts what is held of memory and of the disk. There is always room."""

    def __init__(self) -> None:
        self.in_memory = self.on_disk = 0

    def memory(self, more: int) -> None:
        self.in_memory += more

    def spool(self, more: int) -> None:
        self.on_disk += more


def request_body(
    stream: Incoming, *, announced: int | None = None, max_size: int = 1 << 30, held: Held | None = None
) -> RequestBody:
    """The body that comes over a stream, with room enough."""
    return RequestBody(stream, SPOOL, held or Held(), announced=announced, max_size=max_size)


def body_stream(content: bytes = b"", *, end: bool = False) -> Incoming:
    """A stream that holds `content`; what comes then is fed to it, unless this is the `end`."""
    stream = Incoming(None, lambda _: None, wide=False)
    if content:
        stream.feed(content)
    if end:
        stream.end()
    return stream
