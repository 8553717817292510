"""The account of slots in Redis: never more than the limit in any window, each as early as may be, holes used again."""

import asyncio
from bisect import insort
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.guards.booking import GRACE, LEAST_SHARE, Booking, Kind, SlotBook
from proxy.guards.pace import safety_margin
from proxy.platforms.platform import RateLimit
from proxy.shared.client import RedisClient
from proxy.shared.store import SharedStore
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import SharedMetrics
from tests.guards.replicas import TimedClient, World
from tests.redis_servers import Server, each_server, serving_redis

LIMIT = RateLimit(3, per=1.0)


def opened(client: Any, world: World, *, share: float | None = None) -> SlotBook:
    store = SharedStore(
        client,
        SharedMetrics(),
        structlog.get_logger(),
        BackgroundTasks(),
        prefix="test:",
        identity="a",
        timeout=10.0,
        clock=lambda: world.now,
    )
    return SlotBook(store, share, world.call_later)


def earliest(log: list[float], at: float, limit: int, window: float) -> float:
    """The first time from `at` on at which one more keeps the limit, found by trying all that it can be."""
    for time in sorted([at, *(each + window for each in log if each + window > at)]):
        among = sorted([*log, time])
        if all(among[index + limit] - among[index] >= window for index in range(len(among) - limit)):
            return time
    raise AssertionError


steps = st.one_of(
    st.tuples(st.just("book"), st.integers(1, 4)),
    st.tuples(st.just("give back"), st.integers(0, 20)),
    st.tuples(st.just("pass"), st.sampled_from([1, 10_000, 300_000, 1_000_000, 5_000_000])),
)


async def play(client: RedisClient, limit: int, taken: list[tuple[str, int]]) -> None:
    world = World(LIMIT)
    book = opened(TimedClient(client, world), world)
    rate = RateLimit(limit, per=1.0)
    await client._redis.flushall()
    await book.store.touch()
    log: list[int] = []
    ever: list[int] = []
    returned: list[int] = []
    for what, number in taken:
        now = round((world.now + 1_700_000_000) * 1e6)
        window = round(book.window(rate) * 1e6)
        if what == "pass":
            world.now = round(world.now + number / 1e6, 6)
        elif what == "give back" and log:
            returned.append(log.pop(number % len(log)))
            ever.remove(returned[-1])
        elif what == "book":
            log = [time for time in log if time > now - window]
            booked = await book.book(b"key", rate, wanted=number, patience=1000.0, returned=returned)
            returned = []
            assert booked.kind is Kind.BOOKED
            for index, slot in enumerate(booked.slots):
                assert slot.time == earliest([*map(float, log)], now, limit, window)
                assert index == 0 or slot.time <= booked.slots[0].time + 10_000
                insort(log, slot.time)
                insort(ever, slot.time)
    for first, last in zip(ever, ever[limit:], strict=False):
        assert last - first >= 1_000_000


@pytest.mark.parametrize("program", each_server())
def test_slots_are_the_earliest_that_keep_the_limit_in_every_window(program: str) -> None:
    with TemporaryDirectory(prefix="redis-") as folder:
        server = Server(program, Path(folder))
        asyncio.run(server.start())

        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        @given(st.integers(1, 5), st.lists(steps, max_size=40))
        def any_order(limit: int, taken: list[tuple[str, int]]) -> None:
            async def run() -> None:
                client = RedisClient(server.url)
                try:
                    await play(client, limit, taken)
                finally:
                    await client.close()

            asyncio.run(run())

        try:
            any_order()
        finally:
            server.kill()


@pytest.mark.parametrize("program", each_server())
async def test_what_can_not_be_had_in_time_is_told_and_not_booked(program: str) -> None:
    async with serving_redis(program) as server:
        client, world = RedisClient(server.url), World(LIMIT)
        book = opened(TimedClient(client, world), world)
        try:
            await book.store.touch()
            for _ in range(3):
                await book.book(b"key", LIMIT, wanted=1, patience=0.0, returned=())
            late = [await book.book(b"key", LIMIT, wanted=1, patience=0.5, returned=()) for _ in range(3)]
            other = await book.book(b"another", LIMIT, wanted=1, patience=0.0, returned=())
        finally:
            await client.close()

    assert {booked.kind for booked in late} == {Kind.LATE}
    assert {round(booked.until - world.now, 2) for booked in late} == {1.04}
    assert other.kind is Kind.BOOKED


@pytest.mark.parametrize("program", each_server())
async def test_a_replica_with_a_shorter_window_forgets_nothing_that_counts_for_another(program: str) -> None:
    """As while a changed limit is rolled out."""
    long, short = RateLimit(2, per=60.0), RateLimit(10, per=1.0)
    async with serving_redis(program) as server:
        client, world = RedisClient(server.url), World(LIMIT)
        book = opened(TimedClient(client, world), world)

        async def booked(limit: RateLimit) -> Kind:
            return (await book.book(b"key", limit, wanted=1, patience=0.0, returned=())).kind

        try:
            await book.store.touch()
            kinds = [await booked(long), await booked(long)]
            for _ in range(5):
                world.now += 5.0
                kinds += [await booked(short), await booked(long)]
            world.now += 61.0  # in which the one with the long window is gone
            kinds += [await booked(short)]
        finally:
            await client.close()

    assert kinds == [Kind.BOOKED, Kind.BOOKED, *[Kind.BOOKED, Kind.LATE] * 5, Kind.BOOKED]


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize(("first", "second"), [(0.1, 0.001), (0.001, 0.1)])
async def test_where_replicas_are_not_equally_near_the_farthest_sets_the_window(
    program: str, first: float, second: float
) -> None:
    async with serving_redis(program) as server:
        client, world = RedisClient(server.url), World(LIMIT)
        book = opened(TimedClient(client, world), world)

        async def booked(trip: float) -> Booking:
            book.store.trip = trip
            return (await book.book(b"key", RateLimit(1), wanted=1, patience=9.0, returned=())).slots[0]

        try:
            await book.store.touch()
            one, other, next_one = await booked(first), await booked(second), await booked(second)
            world.now += 20.0
            later = await booked(0.001), await booked(0.001)
        finally:
            await client.close()

    margin = safety_margin(1.0)
    farthest = GRACE + max(first, second)
    assert pytest.approx(GRACE + first) == one.lapses - one.at
    assert other.time - one.time == pytest.approx((1.0 + margin + farthest) * 1e6, abs=2)
    assert next_one.time - other.time == pytest.approx((1.0 + margin + farthest) * 1e6, abs=2)
    assert later[1].time - later[0].time == pytest.approx((1.0 + margin + GRACE + 0.001) * 1e6, abs=2)


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"of somebody else",
        b"\xc1",
        b"\x07",
        b"\x80",  # a map without a log
        b"\x81\xa3log\x01",
        b"\x81\xa3log\x91\xa1x",
        b"\x82\xa3log\x90\xa4hold\xa1x",
        None,  # not even a text
    ],
    ids=repr,
)
async def test_an_account_that_was_spoiled_is_begun_anew_after_one_window(program: str, content: bytes | None) -> None:
    async with serving_redis(program) as server:
        client, world = RedisClient(server.url), World(LIMIT)
        book = opened(TimedClient(client, world), world)
        try:
            await book.store.touch()
            first = await book.book(b"key", LIMIT, wanted=3, patience=9.0, returned=())
            name = book._name(b"key")
            await client._redis.delete(name)
            await client._command(*(("LPUSH", name, "x") if content is None else ("SET", name, content)))
            await asyncio.wait([note for note in [book.answered(b"key", world.now)] if note])
            anew = await book.book(b"key", LIMIT, wanted=3, patience=9.0, returned=())
        finally:
            await client.close()

    assert book.store.breaker.closed
    assert len(first.slots) == len(anew.slots) == 3
    assert anew.slots[0].time - first.slots[0].time == pytest.approx(book.window(LIMIT) * 1e6, abs=1)


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize("back", [0.05, 1.0, 3600.0])
async def test_a_clock_that_is_set_back_stops_nobody_and_breaks_no_limit(program: str, back: float) -> None:
    async with serving_redis(program) as server:
        client, world = RedisClient(server.url), World(LIMIT)
        book = opened(TimedClient(client, world), world)
        try:
            await book.store.touch()
            first = await book.book(b"key", LIMIT, wanted=3, patience=9.0, returned=())
            note = book.throttled(b"key", world.now, None, 30.0)
            assert note is not None
            await asyncio.wait([note])
            world.now -= back  # the local clock does not: what counts is how much later than now the slot is
            await book.store.touch()
            after = await book.book(b"key", LIMIT, wanted=1, patience=99.0, returned=())
            if after.kind is Kind.CLOSED:
                world.now = after.until
                after = await book.book(b"key", LIMIT, wanted=1, patience=99.0, returned=())
        finally:
            await client.close()

    assert first.kind is after.kind is Kind.BOOKED
    assert 0.0 <= after.slots[0].at - world.now <= 6.0


@pytest.mark.parametrize(
    ("limit", "replicas", "expected"),
    [
        (RateLimit(12, 1.0), 8, RateLimit(1, 1.0)),
        (RateLimit(12, 1.0), 12, RateLimit(1, 1.0)),
        (RateLimit(30, 1.0), 4, RateLimit(7, 1.0)),
        (RateLimit(3, 1.0), 1, RateLimit(3, 1.0)),
        (RateLimit(3, 1.0), 6, RateLimit(1, 2.0)),
        (RateLimit(3, 1.0), 200, RateLimit(1, 1 / LEAST_SHARE)),
        (RateLimit(1, 60.0), 9, RateLimit(1, 60.0)),
        (RateLimit(12, 1.0), None, RateLimit(1, 1.0)),  # never seen
    ],
    ids=str,
)
def test_shares_of_up_to_as_many_replicas_as_the_limit_has_keep_it(
    limit: RateLimit, replicas: int | None, expected: RateLimit
) -> None:
    book = opened(None, World(LIMIT))
    book.store.replicas = replicas

    assert book.share_of(limit) == expected
    if replicas is not None and replicas <= limit.requests:
        assert replicas * expected.requests <= limit.requests
        assert expected.per == limit.per
        assert replicas * book.at_once(limit) <= limit.requests


@pytest.mark.parametrize(
    ("share", "expected"), [(2.0, RateLimit(2, 1.0)), (2.7, RateLimit(2, 1.0)), (0.5, RateLimit(1, 2.0))]
)
def test_a_share_that_is_set_is_what_it_says(share: float, expected: RateLimit) -> None:
    assert opened(None, World(LIMIT), share=share).share_of(LIMIT) == expected
