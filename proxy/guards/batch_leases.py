"""Which replica may have a batch under way for a shop: one at a time, as platforms ask.

Rules:
- It is had by lease: whoever dies with it holds the others up for no longer than that. Who waits comes in the order in
  which they asked, and is forgotten sooner still.
- Nobody waits for a batch that takes long, and in all for no longer than `LONGEST_WAIT`.
- While the store is away, each process has its own.
- What is asked of one entry is asked one after the other, also what nobody waits for any more: over several connections
  a question may overtake the end of the lease before it, or come after its own.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from proxy.shared.scripts import script
from proxy.shared.store import Away, SharedStore

_BATCH: Final = script(Path(__file__).with_name("batch.lua"))
LEASE: Final = 2.0  # seconds
LONGEST_WAIT: Final = 5.0
_RENEWED_AFTER: Final = LEASE / 4
_REMEMBERED: Final = 0.5  # of who waits, without another question
_LOOK: Final = 0.05  # between two questions


class BatchLeases:
    """Agrees with other replicas by `store`; `sleep` waits on its clock."""

    def __init__(self, store: SharedStore, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._store = store
        self._sleep = sleep
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # while somebody asks

    @asynccontextmanager
    async def lease(self, key: bytes, hold: float, waits: Callable[[float], None]) -> AsyncIterator[bool]:
        """Have the one batch of `key`, an application and a shop, while the block lasts; False if it is not to be had.

        That is so while another replica's takes longer than `hold` seconds. While one waits for it, `waits` is told
        since when it has been under way, in local seconds.
        """
        name = self._store.key("batch", hashlib.sha256(b"batch" + key).hexdigest()[:32])
        renewing: asyncio.Task[None] | None = None
        try:
            try:
                had = await self._wait(name, hold, waits)
            except Away:
                had = True
            else:
                renewing = self._store.beside(lambda: self._renew(name)) if had else None
            yield had
        finally:
            if renewing is not None:
                renewing.cancel()
            if self._store.breaker.closed:
                self._store.beside(lambda: self._run(name, wants=False))

    async def _wait(self, name: str, hold: float, waits: Callable[[float], None]) -> bool:
        """Tell whether it is had, as soon as that is certain."""
        began = self._store.clock()
        while True:
            had, under_way = await self._ask(name)
            if had:
                return True
            now = self._store.clock()
            waits(now - under_way)
            if under_way >= hold or now - began >= LONGEST_WAIT:
                return False
            await self._sleep(_LOOK)

    async def _renew(self, name: str) -> None:
        had = True
        while had:
            await self._sleep(_RENEWED_AFTER)
            had, _ = await self._ask(name)

    async def _ask(self, name: str) -> tuple[bool, float]:
        """Ask for it, or to go on having it; return whether it is had, and for how long it has been so."""
        values: list[Any] = []

        async def ask() -> None:
            values.extend(await self._run(name, wants=True))

        await asyncio.shield(self._store.beside(ask))
        if not values:
            raise Away
        had, under_way = values
        return bool(had), under_way / 1e6

    async def _run(self, name: str, *, wants: bool) -> list[Any]:
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn:
            return (await self._store.run(_BATCH, (name,), self._arguments(wants=wants))).values

    def _arguments(self, *, wants: bool) -> tuple[str | int, ...]:
        spans = (round(seconds * 1e6) for seconds in (LEASE, _REMEMBERED))
        return (self._store.identity, int(wants), *spans, self._store.waits_until())
