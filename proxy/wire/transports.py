"""Which transports connections to upstreams have: on uvloop, those of aiofastnet where it is installed.

They cost less than uvloop's own, over TLS a third, and hold less: uvloop keeps 640 kB for each connection with TLS once
much came over it, with these it is 110, of which `_TLS_BUFFER` for each direction. It is young: so it is optional, and
nothing else of the loop is its. Nor are clients' connections: one that is aborted as soon as it is made would stay
watched by the loop.

Rules: the transports of one connection are all of one kind, also where TLS is begun in a tunnel.
"""

import asyncio
import sys
from importlib.util import find_spec
from typing import Any, Final

_REPLACED: Final = frozenset(("create_connection", "start_tls"))
_TLS_BUFFER: Final = 2 * (16384 + 64)  # bytes: of two records, in the words of RFC 8446 §5.1

# A read begins as a block of 256 kB. Such a block the C library takes from the system and gives back, with page faults,
# a fifth of a call's time, until one that is at least as large was freed (mallopt(3), M_MMAP_THRESHOLD).
_LARGE_BLOCK: Final = 1 << 19
_KEPT: Final = 56_000_000  # bytes that connections may hold which are only kept


def upstream_loop(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Return what makes connections on this loop: it itself, or what stands for it."""
    bytearray(_LARGE_BLOCK)
    return _Fast(loop) if _is_fast(loop) else loop  # type: ignore[return-value]  # - it is one to whoever asks


def most_kept(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many connections to upstreams can be kept in the memory for that, all with TLS."""
    return _KEPT // (112_000 if _is_fast(loop) else 640_000)


def _is_fast(loop: asyncio.AbstractEventLoop) -> bool:
    if not type(loop).__module__.startswith("uvloop"):
        return False
    known = sys.modules.get("aiofastnet", ...)
    return find_spec("aiofastnet") is not None if known is ... else known is not None


class _Fast:
    """A loop whose connections are aiofastnet's. That is imported with the first one: it is three megabytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        if name not in _REPLACED:
            return getattr(self._loop, name)
        import aiofastnet  # noqa: PLC0415 - see above

        function: Any = getattr(aiofastnet, name)

        def make(*arguments: Any, **options: Any) -> Any:
            if options.get("ssl") or name == "start_tls":
                options |= {"ssl_incoming_bio_size": _TLS_BUFFER, "ssl_outgoing_bio_size": _TLS_BUFFER}
            return function(self, *arguments, **options)

        return make

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Leave a handshake that failed to who waits for it, who is told; the loop itself would log it as a mistake."""
        if context.get("message") != "SSL handshake failed":
            self._loop.call_exception_handler(context)
