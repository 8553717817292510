"""Which transports connections to upstreams have: on uvloop, those of aiofastnet where it is installed.

They cost less than uvloop's own, over TLS a third. It is young: so it is optional, and nothing else of the loop is its.

Rules: the transports of one connection are all of one kind, also where TLS is begun in a tunnel.
"""

import asyncio
from collections.abc import Callable
from typing import Any


def upstream_loop(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Return what makes connections to upstreams on this loop: it itself, or what stands for it."""
    if not type(loop).__module__.startswith("uvloop"):
        return loop
    try:
        import aiofastnet  # noqa: PLC0415 - it may not be there
    except ImportError:
        return loop
    return _With(loop, create_connection=aiofastnet.create_connection, start_tls=aiofastnet.start_tls)  # type: ignore[return-value]  # - it is one to whoever asks


class _With:
    """A loop with some of its methods replaced by functions that take it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **functions: Callable[..., Any]) -> None:
        self._loop = loop
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        function = self._functions.get(name)
        if function is None:
            return getattr(self._loop, name)
        return lambda *arguments, **options: function(self._loop, *arguments, **options)
