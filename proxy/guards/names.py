"""Finds the addresses of host names as the system does, in threads of its own.

Rules:
- One thread at a time looks up a name; who wants it meanwhile waits for that, and nobody for longer than
  `_ANSWER_WITHIN`. A lookup that takes longer goes on beside; until it ends, who asks for its name is told so at once.
- What was found is good for half a minute, if nothing else is said; that nothing was found, for two seconds. Where that
  can't be found out any more, what was found serves for an hour (RFC 8767).
- `_AT_ONCE` threads look up names. Those of one domain get another thread only while they have fewer than are free: so
  a domain whose name servers are silent takes half of them, and the next one always finds some.
- The names that are kept are bounded in number, and at the end nobody waits for a thread.
"""

import asyncio
import encodings.idna  # noqa: F401 - `getaddrinfo` would import it in its thread, see app/later.py
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from proxy.threads import in_thread

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

_AT_ONCE: Final = 32
_ANSWER_WITHIN: Final = 4.0  # seconds; less than a connection may take, so that the error says what was waited for
_PATIENCE_IF_KNOWN: Final = 1.8  # seconds; RFC 8767 §5, "client response timer"
_FOUND_FOR: Final = 30.0  # seconds
_NOT_FOUND_FOR: Final = 2.0
_SERVES_FOR: Final = 3600.0
_MAX_NAMES: Final = 10_000
# What says that there is none; all other errors say that it is not known.
_NONE: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class Address(NamedTuple):
    """An IP address, as a text."""

    family: socket.AddressFamily
    text: str


def addresses_of(host: str) -> list[Address]:
    """Return the addresses of a host as the system finds them: by its hosts file, DNS, or what else it is set up for.

    Blocks, perhaps for a minute. Raises `OSError`, and `UnicodeError` if nothing can be called so.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        Address(family, f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else str(address[0]))
        for family, _, _, _, address in found
    ]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a host: what was found last, and when; how the latest lookup ended, and how long that holds."""

    addresses: list[Address]
    found_at: float
    error: BaseException | None
    until: float


@dataclass(slots=True, eq=False)
class _Lookup:
    """A lookup that runs, or waits for a thread."""

    host: str
    begun_at: float
    result: asyncio.Future[_Known]
    runs: bool = False

    @property
    def domain(self) -> str:
        """What its host has in common with others that the same name servers answer for."""
        _, _, parent = self.host.partition(".")
        return parent if "." in parent else self.host


class Resolver(Protocol):
    """Finds the addresses of a host, as aiohttp's `AbstractResolver` has it. Raises `OSError`, and `UnicodeError`."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> "list[ResolveResult]": ...
    async def close(self) -> None: ...


class SystemNames:
    """Resolves host names. `look_up` finds the addresses of one, and may block; `clock` is monotonic, in seconds.

    What was found is good for `found_for` seconds.
    """

    def __init__(
        self,
        look_up: Callable[[str], list[Address]] = addresses_of,
        *,
        clock: Callable[[], float] = time.monotonic,
        answer_within: float = _ANSWER_WITHIN,
        found_for: float = _FOUND_FOR,
        max_names: int = _MAX_NAMES,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._answer_within = answer_within
        self._found_for = found_for
        self._max_names = max_names
        self._known: dict[str, _Known] = {}  # the one looked up longest ago first
        self._lookups: dict[str, _Lookup] = {}
        self._waiting: dict[str, _Lookup] = {}  # for a thread, in the order they came
        self._running: Counter[str] = Counter()  # by domain

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> "list[ResolveResult]":
        """Return the addresses of `host`. Raises `OSError`, and `UnicodeError` if nothing can be called so."""
        known = self._known.get(host)
        if known is None or known.until <= self._clock():
            known = await self._found_out(host, known)
        addresses = self._serving(known)
        if not addresses and known.error is not None:
            raise known.error.with_traceback(None)
        return [
            {
                "hostname": host,
                "host": address.text,
                "port": port,
                "family": address.family,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in addresses
            if family in (socket.AF_UNSPEC, address.family)
        ]

    async def close(self) -> None:
        """Do nothing: lookups end by themselves."""

    async def _found_out(self, host: str, known: _Known | None) -> _Known:
        """Return what is known once a lookup has ended, or when that takes too long. Raises `OSError`."""
        lookup = self._lookups.get(host) or self._begin(host)
        serves = known is not None and bool(self._serving(known))
        patience = min(_PATIENCE_IF_KNOWN, self._answer_within) if serves else self._answer_within
        left = lookup.begun_at + patience - self._clock()
        if left > 0:
            await asyncio.wait([lookup.result], timeout=left)
        if lookup.result.done():
            return lookup.result.result()
        if known is not None and serves:
            return known
        if lookup.runs:
            raise socket.gaierror(socket.EAI_AGAIN, f"no name server has answered within {self._answer_within:g} s")
        self._drop(lookup)
        raise socket.gaierror(
            socket.EAI_AGAIN, f"{self._running.total()} lookups of other names are waiting for name servers"
        )

    def _serving(self, known: _Known) -> list[Address]:
        return known.addresses if self._clock() < known.found_at + _SERVES_FOR else []

    def _begin(self, host: str) -> _Lookup:
        now = self._clock()
        while (first := next(iter(self._waiting.values()), None)) and first.begun_at + self._answer_within <= now:
            self._drop(first)  # whoever asked for it has given up
        lookup = self._lookups[host] = _Lookup(host, now, asyncio.get_running_loop().create_future())
        if self._has_thread_for(lookup):
            self._start(lookup)
        else:
            self._waiting[host] = lookup
        return lookup

    def _drop(self, lookup: _Lookup) -> None:
        if self._waiting.get(lookup.host) is lookup:  # and not a later one, which others wait for
            del self._waiting[lookup.host], self._lookups[lookup.host]

    def _has_thread_for(self, lookup: _Lookup) -> bool:
        return self._running[lookup.domain] < _AT_ONCE - self._running.total()

    def _start(self, lookup: _Lookup) -> None:
        self._running[lookup.domain] += 1
        lookup.runs = True
        try:
            found = in_thread(partial(self._look_up, lookup.host), name="names")
        except OSError as error:
            found = asyncio.get_running_loop().create_future()
            found.set_exception(error)
        found.add_done_callback(partial(self._ended, lookup))

    def _ended(self, lookup: _Lookup, found: asyncio.Future[list[Address]]) -> None:
        self._running[lookup.domain] -= 1
        self._running += Counter()  # forgets who has none
        del self._lookups[lookup.host]
        lookup.result.set_result(self._remember(lookup.host, found))
        for waiting in list(self._waiting.values()):
            if self._has_thread_for(waiting):
                del self._waiting[waiting.host]
                self._start(waiting)

    def _remember(self, host: str, found: asyncio.Future[list[Address]]) -> _Known:
        now, before = self._clock(), self._known.pop(host, None)
        error = found.exception()
        if error is None:
            known = _Known(found.result(), now, None, now + self._found_for)
        elif before is None or isinstance(error, UnicodeError) or getattr(error, "errno", None) in _NONE:
            known = _Known([], now, error, now + _NOT_FOUND_FOR)
        else:
            known = replace(before, error=error, until=now + _NOT_FOUND_FOR)
        if len(self._known) >= self._max_names:
            del self._known[next(iter(self._known))]
        self._known[host] = known
        return known
