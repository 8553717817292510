"""Which transports connections to upstreams have: on uvloop, those of aiofastnet where it is installed.

They cost less than uvloop's own, over TLS a third. It is young: so it is optional, and nothing else of the loop is its.

Rules: the transports of one connection are all of one kind, also where TLS is begun in a tunnel.
"""

import asyncio
import sys
from importlib.util import find_spec
from typing import Any, Final

_REPLACED: Final = frozenset(("create_connection", "start_tls"))


def upstream_loop(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Return what makes connections to upstreams on this loop: it itself, or what stands for it."""
    on_uvloop = type(loop).__module__.startswith("uvloop")
    return _Fast(loop) if on_uvloop and _is_installed() else loop  # type: ignore[return-value]  # - it is one to whoever asks


def _is_installed() -> bool:
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
        return lambda *arguments, **options: function(self._loop, *arguments, **options)
