"""A request's body as the wire hands it over, for tests of what reads it."""

from proxy.wire.incoming import Incoming


def body_stream(content: bytes = b"", *, end: bool = False) -> Incoming:
    """A stream that holds `content`; what comes then is fed to it, unless this is the `end`."""
    stream = Incoming(None, lambda _: None)
    if content:
        stream.feed(content)
    if end:
        stream.end()
    return stream
