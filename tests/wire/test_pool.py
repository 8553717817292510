"""Kept connections: the newest first, none too old, none mixed up, none that is dead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from proxy.platforms.egress_proxy import EgressProxy
from proxy.wire import pool as module
from proxy.wire.dialing import Dialer
from proxy.wire.pool import Destination, Pool
from proxy.wire.upstream_connection import UpstreamConnection
from tests.dialing import dialer
from tests.peers import Connection, Peer, serving

MAX_IDLE = 15.0  # seconds
MAX_AGE = 180.0
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass
class Api:
    """Keeps all connections open, and tells what became of them."""

    accepted: list[Connection] = field(default_factory=list)
    ended: int = 0
    another: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, connection: Connection) -> None:
        self.accepted.append(connection)
        try:
            await connection.reader.read()
        finally:
            self.ended += 1
            self.another.set()

    async def until_ended(self, count: int) -> None:
        while self.ended < count:
            self.another.clear()
            await self.another.wait()


@dataclass
class Kept:
    """A pool of connections to one API, by a clock that can be put forward."""

    api: Api
    peer: Peer
    dialer: Dialer
    ahead: float = 0.0
    lost: int = 0
    most: int = 500
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        self.pool = Pool(lambda: asyncio.get_running_loop().time() + self.ahead, self.most)

    @property
    def destination(self) -> Destination:
        return Destination("http", "127.0.0.1", self.peer.port, None)

    async def dial(self, kept_as: Destination | None = None) -> UpstreamConnection:
        """A new connection, which is the caller's until it gives it back as one to `kept_as`."""
        count = len(self.api.accepted)
        made = await self.dialer.dial(self.destination, partial(self.pool.lost, kept_as or self.destination))
        while len(self.api.accepted) == count:  # noqa: ASYNC110 - the peer is in this loop
            await asyncio.sleep(0)
        return made

    async def keep(self, kept_as: Destination | None = None) -> UpstreamConnection:
        made = await self.dial(kept_as)
        self.pool.keep(kept_as or self.destination, made)
        return made


@asynccontextmanager
async def keeping(*, most: int = 500) -> AsyncIterator[Kept]:
    api = Api()
    async with asyncio.timeout(20), serving(api) as peer:
        kept = Kept(api, peer, dialer(), most=most)
        yield kept
        kept.pool.close()
        await asyncio.sleep(0)


async def test_the_one_that_was_used_last_is_taken_first() -> None:
    async with keeping() as kept:
        first, second, third = [await kept.dial() for _ in range(3)]
        for connection in (first, third, second):
            kept.pool.keep(kept.destination, connection)

        taken = [kept.pool.take(kept.destination) for _ in range(4)]
        assert taken == [second, third, first, None]
        for connection in (first, second, third):
            connection.abort()


async def test_one_that_is_taken_is_nobody_elses_until_it_is_given_back() -> None:
    async with keeping() as kept:
        made = await kept.keep()
        assert kept.pool.take(kept.destination) is made
        assert kept.pool.take(kept.destination) is None
        kept.pool.keep(kept.destination, made)
        assert kept.pool.take(kept.destination) is made
        made.abort()


@pytest.mark.parametrize(("seconds", "fresh"), [(0.9, True), (1.1, False)])
async def test_who_wants_a_fresh_one_gets_no_other(seconds: float, fresh: bool) -> None:
    async with keeping() as kept:
        made = await kept.keep()
        kept.ahead = seconds

        assert kept.pool.take(kept.destination, idle_for=1.0) is (made if fresh else None)
        assert kept.pool.take(kept.destination) is (None if fresh else made)  # it was left there
        made.abort()


@pytest.mark.parametrize(("seconds", "usable"), [(MAX_IDLE - 0.5, True), (MAX_IDLE, False)])
async def test_one_that_was_idle_for_too_long_is_not_used(seconds: float, usable: bool) -> None:
    async with keeping() as kept:
        made = await kept.keep()
        kept.ahead = seconds

        assert kept.pool.take(kept.destination) is (made if usable else None)
        made.abort()


@pytest.mark.parametrize(("seconds", "kept_on"), [(MAX_AGE - 1, True), (MAX_AGE + 0.001, False)])
async def test_one_that_is_old_is_not_kept_however_busy_it_is(seconds: float, kept_on: bool) -> None:
    """So a change in DNS is seen within minutes."""
    async with keeping() as kept:
        made = await kept.keep()
        while kept.ahead < seconds:  # busy all the time
            kept.ahead = min(kept.ahead + 7, seconds)
            assert kept.pool.take(kept.destination) is made
            kept.pool.keep(kept.destination, made)

        assert kept.pool.take(kept.destination) is (made if kept_on else None)
        if not kept_on:
            await kept.api.until_ended(1)
        made.abort()


WAYS = [None, EgressProxy("one.internal", 3128), EgressProxy("two.internal", 3128), EgressProxy("one.internal", 3129)]
DESTINATIONS = [
    *(Destination("http", "a.example", 80, way) for way in WAYS),
    Destination("https", "a.example", 80, None),
    Destination("http", "b.example", 80, None),
    Destination("http", "a.example", 81, None),
]


async def test_those_to_different_origins_or_by_different_ways_are_never_mixed_up() -> None:
    async with keeping() as kept:
        made = {destination: await kept.keep(destination) for destination in DESTINATIONS}
        for destination, connection in made.items():
            assert kept.pool.take(destination) is connection
            assert kept.pool.take(destination) is None
            connection.abort()


async def test_one_that_the_upstream_closed_while_it_was_idle_is_not_used() -> None:
    async with keeping() as kept:
        first, second = await kept.keep(), await kept.keep()
        kept.api.accepted[1].close()
        await kept.api.until_ended(1)
        while not second.transport.is_closing():  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0)

        assert kept.pool.take(kept.destination) is first
        assert kept.pool.take(kept.destination) is None
        first.abort()


async def test_one_on_which_something_came_unasked_is_not_used_even_at_that_moment() -> None:
    async with keeping() as kept:
        made = await kept.keep()
        made.data_received(b"HTTP/1.1 200 OK\r\n\r\n")

        assert kept.pool.take(kept.destination) is None
        await kept.api.until_ended(1)


async def test_what_nobody_needs_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    async with keeping() as kept:
        await kept.keep()
        kept.ahead = MAX_IDLE - 1
        fresh = await kept.keep()
        kept.ahead = MAX_IDLE
        await kept.api.until_ended(1)
        assert kept.pool.take(kept.destination) is fresh
        fresh.abort()
        await kept.api.until_ended(2)

        await kept.keep()  # and later again
        kept.ahead += MAX_IDLE
        await kept.api.until_ended(3)


async def test_of_a_destination_without_connections_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP", 0.01)
    async with keeping() as kept:
        for number in range(3):
            await kept.keep(Destination("http", f"shop-{number}.example", 80, None))
        kept.ahead = MAX_IDLE
        await kept.api.until_ended(3)
        while kept.pool._idle:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
        assert kept.pool._sweeping is None


async def test_at_the_end_idle_ones_end_at_once_and_those_in_use_when_they_are_given_back() -> None:
    async with keeping() as kept:
        await kept.keep()
        await kept.keep()
        in_use = await kept.dial()
        kept.pool.close()
        await kept.api.until_ended(2)
        assert not in_use.transport.is_closing()
        assert kept.pool.take(kept.destination) is None

        kept.pool.keep(kept.destination, in_use)
        await kept.api.until_ended(3)
        assert kept.pool.take(kept.destination) is None


async def test_the_one_that_was_not_used_for_longest_makes_room_wherever_it_leads() -> None:
    async with keeping(most=3) as kept:
        made = {destination: await kept.keep(destination) for destination in DESTINATIONS[:3]}
        first, second, third = made
        again = kept.pool.take(first)
        assert again is made[first]
        kept.pool.keep(first, again)
        await kept.keep(second)
        await kept.api.until_ended(1)
        younger = kept.pool.take(second)
        assert younger not in (None, made[second])
        assert kept.pool.make_room()
        assert kept.pool.take(third) is None
        assert kept.pool.take(first) is again
        assert not kept.pool.make_room()
        for connection in (again, younger):
            assert connection is not None
            connection.abort()
