"""What only replicas meet: holders that die, leases that are lost, stores that go away, entries that were moved."""

import asyncio
from typing import Any

import pytest

from proxy.errors import Overloaded
from proxy.shared.sealing import Sealed
from proxy.tokens.leases import LEASE
from tests.redis_servers import each_server
from tests.tokens.desk import ORDERS, Desk, name
from tests.tokens.replicas import Replicas, replicas

pytestmark = pytest.mark.parametrize("program", each_server())


async def asked_by(here: Replicas, number: int, key: str = "demo", **changes: Any) -> str:
    return name(await here.until(here[number].cache.get(here.request(key, **changes))))


async def noticed_by(here: Replicas, number: int) -> None:
    """A call is answered 401, and is repeated with another token."""
    cache, request = here[number].cache, here.request()
    await here.until(cache.after_unauthorized(request, cache.current(request), ORDERS))
    cache.repeated(request, ORDERS)
    await here.settle()


def away(here: Replicas, *numbers: int, how: str = "before") -> None:
    for number in numbers:
        client = here[number].client
        assert client is not None
        client.fails = lambda: how


async def back(here: Replicas, *numbers: int) -> None:
    for number in numbers:
        client, store = here[number].client, here[number].store
        assert client is not None
        assert store is not None
        client.fails = lambda: ""
        await store.touch()


@pytest.mark.parametrize("dies_after", [0.0, 0.3, 1.9])
async def test_a_holder_that_dies_holds_the_others_up_for_no_longer_than_its_lease(
    program: str, dies_after: float
) -> None:
    async with replicas(program) as here:
        here.desk.gate.clear()
        lost = asyncio.ensure_future(here[0].cache.get(here.request()))
        await here.desk.until_asked(1)
        here.move_on(dies_after)
        await here.settle()
        away(here, 0)  # from here on nothing of it reaches the store: it is dead
        started = here.time.now
        waiting = asyncio.ensure_future(here[1].cache.get(here.request()))
        await here.settle()
        while len(here.desk.asked) < 2:
            here.move_on(0.05)
            await here.settle()
        waited = here.time.now - started
        here.desk.gate.set()

        assert name(await here.until(waiting)) == "token-2"
        assert waited <= LEASE + 0.3  # and until it is looked at again
        lost.cancel()


async def test_an_endpoint_that_takes_longer_than_a_lease_is_asked_once(program: str) -> None:
    async with replicas(program) as here:
        here.desk.gate.clear()
        calls = [asyncio.ensure_future(here[number].cache.get(here.request())) for number in range(3)]
        await here.desk.until_asked(1)
        for _ in range(80):  # 8 s
            here.move_on(0.1)
            await here.settle()
        here.desk.gate.set()

        assert {name(each) for each in await here.until(asyncio.gather(*calls))} == {"token-1"}
        assert len(here.desk.asked) == 1


async def test_what_comes_of_a_lost_lease_is_not_kept(program: str) -> None:
    async with replicas(program) as here:
        here.desk.gate.clear()
        paused = asyncio.ensure_future(here[0].cache.get(here.request()))
        await here.desk.until_asked(1)
        away(here, 0)  # as if it were stopped: it does not renew its lease
        here.move_on(LEASE + 0.1)
        await here.settle()
        quick = asyncio.ensure_future(here[1].cache.get(here.request()))
        await here.desk.until_asked(2)
        here[0].store.breaker.closed = True  # type: ignore[union-attr]
        here[0].client.fails = lambda: ""  # type: ignore[union-attr]
        here.desk.gate.set()
        first, second = await here.until(asyncio.gather(paused, quick))

        assert name(second) == "token-2"
        assert name(first) == "token-2"  # its own token-1 was of an earlier generation, and is dropped
        assert await asked_by(here, 2) == "token-2"


@pytest.mark.parametrize("how", ["before", "after"])
async def test_without_the_store_each_asks_for_itself_and_afterwards_all_take_the_newest(
    program: str, how: str
) -> None:
    async with replicas(program) as here:
        assert await asked_by(here, 0) == "token-1"
        here.move_on(3700.0)
        away(here, 0, 1, 2, how=how)
        alone = []
        for number in range(3):
            here.move_on(1.0)
            alone.append(await asked_by(here, number))
        assert alone == ["token-2", "token-3", "token-4"]
        await back(here, 0, 1, 2)
        # Each new one has killed those before it: who has a dead one takes the newest, and nobody asks again.
        here.move_on(1.0)
        newest = here[2].cache.current(here.request())
        assert newest is not None
        here[2].cache.leases.tell(here.request(), here[2].cache._state(here.request()), lambda *_: None)
        await here.settle()
        for number in (0, 1):
            dead = here[number].cache.current(here.request())
            another = await here.until(here[number].cache.after_unauthorized(here.request(), dead, ORDERS))
            assert name(another.token) == "token-4"
        assert len(here.desk.asked) == 4


async def test_a_platform_on_which_each_token_kills_the_last_sees_no_ping_pong(program: str) -> None:
    async with replicas(program) as here:
        for number in range(3):
            await asked_by(here, number)
        away(here, 0)  # one alone, which thinks that its token is dead, and kills the others' by asking for another
        await noticed_by(here, 0)
        await back(here, 0)
        for number in (1, 2):
            await noticed_by(here, number)
        live = f"token-{len(here.desk.asked)}"
        if name(here[0].cache.current(here.request())) != live:
            await noticed_by(here, 0)

        assert [name(here[number].cache.current(here.request())) for number in range(3)] == [live] * 3
        assert len(here.desk.asked) <= 3


async def test_a_store_that_was_emptied_costs_no_token_and_its_generations_go_on(program: str) -> None:
    async with replicas(program) as here:
        assert await asked_by(here, 0) == "token-1"
        before = here[0].cache.current(here.request()).generation
        await here.redis._redis.flushall()  # type: ignore[union-attr]
        assert await asked_by(here, 0) == "token-1"
        here.move_on(10.0)
        rejected = here[0].cache.current(here.request())
        another = await here.until(here[0].cache.after_unauthorized(here.request(), rejected, ORDERS))

        assert another.token.generation > before
        assert await asked_by(here, 1) == name(another.token) == "token-2"


async def test_a_storm_does_not_begin_anew_when_the_store_was_emptied(program: str) -> None:
    async with replicas(program) as here:
        request = here.request()
        rejected = await here.until(here[0].cache.get(request))
        another = await here.until(here[0].cache.after_unauthorized(request, rejected, ORDERS))
        here[0].cache.refused_again(request, another, ORDERS)
        await here.settle()
        await here.redis._redis.flushall()  # type: ignore[union-attr]
        # Whatever is told next brings all that this replica knows.
        here[0].cache.leases.tell(request, here[0].cache._state(request), lambda *_: None)
        await here.settle()
        current = await here.until(here[1].cache.get(request))

        assert await here.until(here[1].cache.after_unauthorized(request, current, ORDERS)) is None
        assert len(here.desk.asked) == 2


async def test_an_entry_that_was_moved_to_another_shop_is_not_taken(program: str) -> None:
    async with replicas(program) as here:
        await asked_by(here, 0, "demo")
        redis: Any = here.redis._redis  # type: ignore[union-attr]
        [of_demo] = await redis.keys("*token:*")
        await asked_by(here, 0, "other")
        [of_other] = {*await redis.keys("*token:*")} - {of_demo}
        await redis.delete(of_other)
        await redis.copy(of_demo, of_other)

        assert await asked_by(here, 1, "other") == "token-3"
        assert await asked_by(here, 2, "other") == "token-3"  # it was written anew
        assert here[1].told == ["it was damaged, or moved here from another place"]


async def test_nothing_that_is_stored_can_be_read(program: str) -> None:
    async with replicas(program) as here:
        await asked_by(here, 0, "demo")
        redis = here.redis._redis  # type: ignore[union-attr]
        stored = [*await redis.keys("*")]
        for key in stored[:]:
            stored += (await redis.hgetall(key)).values() if b"token:" in key else []

        for secret in (b"token-1", b"demo", b"secret-1", b"orders"):
            assert not any(secret in each for each in stored)


async def test_keys_are_changed_replica_by_replica(program: str) -> None:
    old, new = b"o" * 32, b"n" * 32
    async with replicas(program, keys=[old]) as here:
        assert await asked_by(here, 0) == "token-1"
        here[1].cache.leases._sealer = Sealed([old, new])
        assert await asked_by(here, 1) == "token-1"
        here[2].cache.leases._sealer = Sealed([new])  # too early: it can't read what the others write

        assert await asked_by(here, 2) == "token-2"
        assert "shared.encryption_key" in here[2].told[0]


async def test_shops_that_another_replica_knows_are_no_first_requests(program: str) -> None:
    async with replicas(program, first_requests_per_second=0.01, fetch_timeout=10.0) as here:
        for each in here.each:
            each.office.turn.set()
        assert await asked_by(here, 0, "one", by_wildcard=True) == "token-1"
        # The second first request of this replica would have to wait for more than a minute.
        with pytest.raises(Overloaded):
            await asked_by(here, 0, "two", by_wildcard=True)
        assert await asked_by(here, 1, "two", by_wildcard=True) == "token-2"

        assert await asked_by(here, 0, "two", by_wildcard=True) == "token-2"
        assert await asked_by(here, 1, "one", by_wildcard=True) == "token-1"


async def test_a_token_from_another_replica_is_kept_out_of_the_log_too(program: str) -> None:
    async with replicas(program) as here:
        await asked_by(here, 0)
        await asked_by(here, 1)

    assert "token-1" in here.concealed
    assert here[1].store.metrics.tokens_taken == 1  # type: ignore[union-attr]


async def test_tokens_cost_few_commands_and_without_need_none(program: str) -> None:
    async with replicas(program, desk=Desk()) as here:
        await asked_by(here, 0)
        await asked_by(here, 1)
        first, second = (here[number].client.commands for number in (0, 1))  # type: ignore[union-attr]
        for _ in range(100):
            await asked_by(here, 0)

        assert first == 5  # says that it is there; reads and takes the lease, reads and keeps the token
        assert second == 2
        assert here[0].client.commands == first  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "spoil",
    [
        ("SET", "{}", "of somebody else"),
        ("LPUSH", "{}", "of", "somebody", "else"),
        ("HSET", "{}", "generation", "seven"),
        ("HSET", "{}", "generation", "9" * 5000),
        ("HSET", "{}", "generation", "-1"),
        ("HSET", "{}", "content", "x" * 200_000),
        ("HSET", "{}", "content", ""),
        ("HDEL", "{}", "generation"),
        ("HDEL", "{}", "content"),
    ],
    ids=lambda spoil: f"{spoil[0]} {spoil[2][:12]}",
)
async def test_an_entry_that_somebody_else_has_spoiled_is_written_anew(program: str, spoil: tuple[str, ...]) -> None:
    async with replicas(program) as here:
        await asked_by(here, 0)
        redis: Any = here.redis._redis  # type: ignore[union-attr]
        [entry] = await redis.keys("*token:*")
        if spoil[0] in ("SET", "LPUSH"):
            await redis.delete(entry)
        await redis.execute_command(spoil[0], entry, *spoil[2:])

        assert await asked_by(here, 1) == "token-2"
        assert await asked_by(here, 2) == "token-2"
        assert all(each.store.breaker.closed for each in here.each if each.store)
