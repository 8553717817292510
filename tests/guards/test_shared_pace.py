"""Replicas keep a platform's limit as one process does, whoever of them is asked: each test runs with both.

What only replicas meet (a store that is away, one that comes back, slots that lapse) follows after that.
"""

import asyncio
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.guards.booking import GRACE, Booking
from proxy.guards.pace import NETWORK_JITTER
from proxy.guards.shared_pace import SharedPace
from proxy.platforms.platform import RateLimit
from tests.guards.replicas import ALONE, LIMIT, World, replicas
from tests.redis_servers import each_server

both = pytest.mark.parametrize("kind", [ALONE, *each_server()])
redis = pytest.mark.parametrize("kind", each_server())


async def pulled(world: World, seconds: float, *, lines: int = 6, step: float = 0.05) -> None:
    """Let clients on all replicas pull for some time: each asks again as soon as it is answered."""
    going = [world.ask(number, f"client-{number}") for number in range(lines)]
    end = world.now + seconds
    while world.now < end:
        await world.pass_time(step)
        for number, request in enumerate(going):
            assert request.task is not None
            if request.task.done():
                going[number] = world.ask(request.replica, request.client)
                await world.settle()


@both
@pytest.mark.parametrize("limit", [LIMIT, RateLimit(1, per=0.5), RateLimit(30, per=1.0)], ids=str)
async def test_the_limit_is_kept_in_every_window_and_nearly_all_of_it_is_used(kind: str, limit: RateLimit) -> None:
    async with replicas(kind, limit=limit) as world:
        started = world.now
        for number in range(limit.requests * 12):
            world.ask(number, f"client-{number % 7}")
        await world.pass_time(5.0)
        seen = [time for time in world.seen() if time < started + 5.0]

    assert world.most_in_any_window() <= limit.requests
    assert len(seen) >= 0.95 * 5.0 / limit.per * limit.requests


@both
async def test_a_request_that_meets_nobody_does_not_wait(kind: str) -> None:
    async with replicas(kind) as world:
        for number in range(4):
            request = world.ask(number)
            await world.settle()
            assert request.sent == [world.now]
            await world.pass_time(0.5)


@both
async def test_who_comes_to_a_full_line_is_told_on_arrival_when_to_come_again(kind: str) -> None:
    async with replicas(kind, count=1, max_wait=2.5) as world:
        requests = [world.ask() for _ in range(20)]
        await world.settle()
        refused = [request for request in requests if request.refused is not None]
        await world.pass_time(3.0)

    assert 9 <= sum(bool(request.sent) for request in requests) <= 3 * 3
    assert len(refused) >= 20 - 3 * 3
    assert all(request.refused.retry_after > 0 for request in refused)  # type: ignore[union-attr,operator]


@both
async def test_a_client_that_leaves_makes_no_hole(kind: str) -> None:
    async with replicas(kind) as world:
        started = world.now
        for number in range(6):
            world.ask(number)
            world.ask(number, leaves=True)
        staying = [world.ask(number) for number in range(6)]
        await world.pass_time(5.0)

    assert all(request.sent for request in staying)
    assert world.most_in_any_window() <= 3
    assert world.seen()[-1] <= started + 4 * 1.05


@both
async def test_clients_with_few_requests_are_not_held_up_by_one_with_many(kind: str) -> None:
    async with replicas(kind, count=1) as world:
        for _ in range(30):
            world.ask(client="many")
        few = [world.ask(client="few") for _ in range(3)]
        await world.pass_time(4.0)

    assert all(request.sent for request in few)


@both
async def test_too_fast_stops_all_and_one_tries_first_when_the_pause_is_over(kind: str) -> None:
    async with replicas(kind) as world:
        world.too_fast_until, world.retry_after = world.now + 3.5, None
        started = world.now
        world.ask(0)
        await world.pass_time(0.1)
        for number in range(1, 9):
            world.ask(number)
        await world.pass_time(3.3)
        meanwhile = [time - started for time in world.seen()]
        await world.pass_time(40.0)
        later = [time - started for time in world.seen() if time > started + 3.5]

    # At once, after the first pause of 1 s; the pause that follows is of 2 s.
    assert len(meanwhile) == 3
    assert meanwhile[1] == pytest.approx(1.0, abs=0.05)
    assert meanwhile[2] == pytest.approx(3.0, abs=0.1) or meanwhile[2] > 3.0
    assert all(request.sent for request in world.requests)
    assert later[0] >= 3.5
    assert all(second - first >= 0.3 for first, second in pairwise(later[:4]))  # slowly at first


@both
async def test_one_that_tries_and_gets_no_answer_stops_nobody_for_long(kind: str) -> None:
    async with replicas(kind) as world:
        world.too_fast_until = world.now + 0.5
        world.ask(0)
        await world.pass_time(0.1)
        hanging = world.ask(1, slow=1000.0)
        await world.pass_time(1.5)
        waiting = world.ask(2)
        await world.pass_time(12.0)

    assert hanging.sent == []
    assert waiting.sent


# What only replicas meet


@redis
async def test_replicas_share_the_limit_nearly_fairly(kind: str) -> None:
    async with replicas(kind) as world:
        for number in range(90):
            world.ask(number % 3, f"client-{number}")
        await world.pass_time(9.0)
        counts = [sum(len(request.sent) for request in world.requests if request.replica == each) for each in range(3)]

    assert max(counts) - min(counts) <= 2


@redis
async def test_an_attempt_costs_one_command_and_none_without_a_limit(kind: str) -> None:
    async with replicas(kind, count=1) as world:
        client = world.each[0].client
        assert client is not None
        client.commands.clear()
        for _ in range(9):
            world.ask()
            await world.pass_time(0.4)
        async with world.each[0].pacer.turn(b"unlimited", "erp", None):
            pass
        booked = client.commands.count("book")

    assert booked == 9


@redis
async def test_a_high_limit_is_booked_several_slots_at_a_time(kind: str) -> None:
    async with replicas(kind, count=2, limit=RateLimit(30, per=1.0)) as world:
        for number in range(60):
            world.ask(number % 2)
        await world.pass_time(3.0)
        commands = sum(each.client.commands.count("book") for each in world.each if each.client)
        booked = sum(each.store.metrics.slots_booked for each in world.each if each.store)
        given_back = sum(each.store.metrics.slots_given_back for each in world.each if each.store)

    assert len(world.seen()) == 60
    assert world.most_in_any_window() <= 30
    assert commands <= 20
    assert booked - given_back == 60


@redis
async def test_a_request_whose_connection_takes_long_gets_another_slot(kind: str) -> None:
    async with replicas(kind) as world:
        slow = [world.ask(number, slow=0.3) for number in range(3)]
        await world.pass_time(0.1)
        for number in range(12):
            world.ask(number)
        await world.pass_time(8.0)

    assert all(request.lapses >= 1 for request in slow)
    assert all(request.sent for request in world.requests)
    assert world.most_in_any_window() <= 3


@redis
async def test_slots_in_hand_are_looked_after_by_one_timer_however_many_have_lapsed(kind: str) -> None:
    async with replicas(kind, count=1, limit=RateLimit(30, per=1.0)) as world:
        first = world.ask()
        await world.pass_time(0.1)
        pace = world.each[0].pacer._slots[world.key]._pace
        assert isinstance(pace, SharedPace)
        for lapsing in range(20):  # one after the other, while others are still good
            pace._in_hand.appendleft(Booking(world.now, world.now + GRACE / 2, lapsing, trial=False))
            pace._in_hand.append(Booking(world.now, world.now + 60.0, 100 + lapsing, trial=False))
            pace._tidy_later()
            await world.pass_time(GRACE)
        timers = [alarm for alarm in world.alarms if alarm.ring == pace._tidy]

    assert first.sent
    assert len(timers) == 1


@redis
async def test_without_the_store_each_keeps_to_its_share_and_the_limit_is_kept_throughout(kind: str) -> None:
    limit = RateLimit(12, per=1.0)
    async with replicas(kind, count=8, limit=limit, max_wait=60.0) as world:
        await pulled(world, 3.0, lines=16)
        for each in world.each:
            each.client.away = True  # type: ignore[union-attr]
        await pulled(world, 5.0, lines=16)
        alone = len(world.seen())
        await world.redis._redis.flushall()  # type: ignore[union-attr]
        for each in world.each:
            each.client.away = False  # type: ignore[union-attr]
        await pulled(world, 6.0, lines=16)

    assert world.most_in_any_window() <= 12
    assert all(request.refused is None for request in world.requests)
    assert alone >= 30 + 8 * 3  # of 8 a second each has one
    assert len(world.seen()) - alone >= 12 * 3


@redis
async def test_what_was_sent_before_sharing_began_counts_and_so_does_a_pause(kind: str) -> None:
    async with replicas(kind, count=1) as world:
        pacer = world.each[0].pacer
        sharing = pacer._office.sharing
        pacer.share_by(None)
        for _ in range(LIMIT.requests):
            world.ask()
        await world.settle()
        pacer.share_by(sharing)
        for _ in range(LIMIT.requests):
            world.ask()
        await world.pass_time(3.0)
        assert len(world.seen()) == 2 * LIMIT.requests

        pacer.share_by(None)
        world.too_fast_until, world.retry_after = world.now + 0.1, 4.0
        world.ask()
        await world.settle()
        throttled_at = world.now
        pacer.share_by(sharing)
        world.ask()
        await world.pass_time(20.0)

    assert world.most_in_any_window() <= LIMIT.requests
    assert min(time for time in world.seen() if time > throttled_at) >= throttled_at + 4.0
    assert len(world.seen()) == 2 * LIMIT.requests + 3


@redis
async def test_a_slot_of_before_sharing_changed_is_not_used_afterwards(kind: str) -> None:
    async with replicas(kind, count=1) as world:
        slow, quick = world.ask(slow=0.5), world.ask()
        await world.settle()
        pacer = world.each[0].pacer
        assert pacer._office.sharing is not None
        pacer.share_by(partial(pacer._office.sharing))
        world.ask()
        await world.pass_time(5.0)

    assert (slow.lapses, len(slow.sent), len(quick.sent)) == (1, 1, 1)
    assert world.most_in_any_window() <= LIMIT.requests


@redis
async def test_too_fast_on_one_replica_gives_up_what_the_others_have_booked(kind: str) -> None:
    async with replicas(kind, count=6, max_wait=60.0) as world:
        await pulled(world, 3.0, lines=12)
        going = [world.ask(number, f"more-{number}") for number in range(12)]
        world.too_fast_until = world.now + 0.9
        seen = len(world.seen())
        while len(world.seen()) == seen:
            await world.pass_time(0.01)
        too_fast = world.seen()[-1]
        for _ in range(500):  # what they hear takes real time
            if all(each.client.heard for each in world.each if each.client):
                break
            await asyncio.sleep(0.01)
        await world.pass_time(30.0)
        later = [time - too_fast for time in world.seen() if time > too_fast]

    assert later[0] == pytest.approx(1.0, abs=0.05)  # nobody else before the pause of 1 s is over
    assert later[2] < 3.0  # and the pause was not doubled
    assert all(request.sent for request in going)


outages = st.lists(
    st.tuples(
        st.floats(0.0, 2.0),  # seconds until it goes
        st.sampled_from([0.05, 0.5, 1.0, 1.5, 1.9, 2.0, 2.1, 2.5, 4.0]) | st.floats(0.05, 5.0),  # and how long
        st.sampled_from(["gone", "deaf", "emptied"]),
    ),
    min_size=1,
    max_size=2,
)


@redis
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(plan=outages)
@example(plan=[(0.3, 1.95, "gone")])
@example(plan=[(1.0, 5.0, "gone"), (0.25, 1.5, "gone")])
@example(plan=[(0.9, 0.3, "emptied"), (0.5, 3.0, "deaf")])
def test_the_limit_is_kept_however_long_the_store_is_away(kind: str, plan: list[tuple[float, float, str]]) -> None:
    async def run() -> World:
        async with replicas(kind, count=4, limit=RateLimit(5, per=1.0), max_wait=60.0) as world:
            for starts, lasts, how in plan:
                await pulled(world, starts, lines=8)
                for each in world.each:
                    each.client.deaf, each.client.away = how == "deaf", how != "deaf"  # type: ignore[union-attr]
                if how == "emptied":
                    await world.redis._redis.flushall()  # type: ignore[union-attr]
                await pulled(world, lasts, lines=8)
                for each in world.each:
                    each.client.deaf = each.client.away = False  # type: ignore[union-attr]
            back = world.now
            await pulled(world, 6.0, lines=8)
            assert len([time for time in world.seen() if time > back]) >= 10  # it goes on by itself
        return world

    world = asyncio.run(run())

    assert world.most_in_any_window() <= 5
    assert all(request.refused is None for request in world.requests)


@redis
async def test_a_store_that_was_emptied_without_a_word_books_nothing_for_a_while(kind: str) -> None:
    async with replicas(kind, count=2) as world:
        for number in range(6):
            world.ask(number)
        await world.pass_time(0.2)
        await world.redis._redis.flushall()  # type: ignore[union-attr]
        for number in range(12):
            world.ask(number)
        await world.pass_time(9.0)

    assert all(request.sent for request in world.requests)
    assert world.most_in_any_window() <= 3


@redis
async def test_a_share_that_would_be_no_service_is_not_kept_to(kind: str) -> None:
    async with replicas(kind, count=1, max_wait=60.0) as world:
        world.each[0].store.replicas = 200  # type: ignore[union-attr]
        world.each[0].client.away = True  # type: ignore[union-attr]
        started = world.now
        for _ in range(4):
            world.ask()
        await world.pass_time(20.0)
        times = [time - started for time in world.seen()]

    assert len(times) == 4
    assert times[0] <= 2.0 + 0.1  # silence first
    assert [round(second - first) for first, second in pairwise(times)] == [5, 5, 5]


@redis
async def test_a_share_may_be_set(kind: str) -> None:
    async with replicas(kind, count=1, share=2.0) as world:
        world.each[0].client.away = True  # type: ignore[union-attr]
        for _ in range(12):
            world.ask()
        await world.pass_time(6.0)

    assert 7 <= len(world.seen()) <= 10


@redis
async def test_nothing_is_kept_of_a_key_that_is_not_used(kind: str) -> None:
    async with replicas(kind) as world:
        for number in range(6):
            world.ask(number)
        await world.pass_time(10.0)

        assert all(each.pacer._slots[world.key].idle(world.now) for each in world.each)
        assert [each.metrics.waiting for each in world.each] == [0] * 3


def test_the_margins_leave_95_percent_of_a_limit_a_second() -> None:
    assert 1.0 / (1.0 + NETWORK_JITTER + 0.001 + GRACE) > 0.95
