"""A store that is slow, frozen, gone, empty or read-only costs one short wait, and is taken back by itself."""

import asyncio
import time

import pytest

from proxy.shared.scripts import Script
from proxy.shared.store import Away, Said, SharedStore
from tests.redis_servers import Server, each_server, serving_redis
from tests.shared.stores import Opened, opened

NOW = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] "
ECHO = Script("echo", NOW + "return {now, ARGV[1]}")
ADD = Script("add", NOW + "return {now, redis.call('INCR', KEYS[1])}")
pytestmark = pytest.mark.parametrize("program", each_server())


async def echo(store: SharedStore, text: str) -> bytes:
    said: Said = await store.run(ECHO, (), (text,))
    return bytes(said.values[0])


async def test_a_frozen_server_costs_one_timeout_and_answers_of_before_are_not_taken_for_later_ones(
    program: str,
) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        assert await echo(here.store, "first") == b"first"
        server.freeze()
        started = time.monotonic()
        waits = await asyncio.gather(*(echo(here.store, "lost") for _ in range(20)), return_exceptions=True)
        took = time.monotonic() - started
        with pytest.raises(Away, match=r"no answer in 0\.1 s"):
            await echo(here.store, "not even sent")
        server.thaw()
        await here.store.touch()

        assert [type(wait) for wait in waits] == [Away] * 20
        assert 0.1 <= took < 1.0
        assert [await echo(here.store, str(number)) for number in range(8)] == [b"%d" % number for number in range(8)]
        assert [event["event"] for event in here.events] == ["shared.away", "shared.back"]
        assert here.metrics.commands["skipped"] == 1


async def test_nothing_is_sent_twice(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await here.store.run(ADD, ("count",), ())
        server.freeze()
        with pytest.raises(Away):
            await here.store.run(ADD, ("count",), ())
        server.thaw()
        await here.store.touch()
        said = await here.store.run(ADD, ("count",), ())

        assert said.values[0] in (2, 3)  # what was on its way may still have arrived, but once


async def test_a_server_that_was_killed_and_came_back_empty_is_used_again(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await echo(here.store, "first")
        server.kill()
        with pytest.raises(Away, match="can't be reached"):
            await echo(here.store, "lost")
        await here.store.touch()
        assert here.metrics.away
        await server.start()
        await here.store.touch()

        assert await echo(here.store, "again") == b"again"
        assert not here.metrics.away


async def test_a_server_that_became_a_read_only_replica_is_left_until_it_is_none_any_more(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here, opened(server.url) as admin:
        await here.store.run(ADD, ("count",), ())
        await admin.client._command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Away, match=r"read-only|answered with an error"):
            await here.store.run(ADD, ("count",), ())
        await here.store.touch()
        assert not here.store.breaker.closed
        await admin.client._command("REPLICAOF", "NO", "ONE")
        await here.store.touch()

        assert (await here.store.run(ADD, ("count",), ())).values[0] == 2


async def test_replicas_are_counted_while_they_say_that_they_are_there(program: str) -> None:
    async with (
        serving_redis(program) as server,
        opened(server.url, identity="a") as one,
        opened(server.url, identity="b") as other,
        opened(server.url, identity="c", prefix="elsewhere:") as apart,
    ):
        for each in (one, other, apart, one):
            await each.store.touch()
        assert (one.store.replicas, other.store.replicas, apart.store.replicas) == (2, 2, 1)
        await other.store.leave()
        await one.store.touch()

        assert one.store.replicas == 1


async def opening(server: Server) -> int:
    async with opened(server.url) as reading:
        return int(await reading.client._redis.get("test:slots:from") or 0)


async def away(server: Server, *here: Opened, seconds: float) -> None:
    """Have these be without the store for so long."""
    async with opened(server.url) as writing:
        for each in here:
            await writing.client._redis.zincrby("test:replicas:all", -seconds * 1e6, each.store.identity)
            each.store.breaker.failed(time.monotonic() - seconds)


async def test_slots_wait_until_all_have_noticed_that_the_store_itself_is_back(program: str) -> None:
    async with (
        serving_redis(program) as server,
        opened(server.url, identity="a") as one,
        opened(server.url, identity="b") as other,
    ):
        await one.store.touch()
        await other.store.touch()
        first = await opening(server)
        # One replica alone was away: the others kept the store's account, and nothing has to wait.
        await away(server, one, seconds=3.0)
        await other.store.touch()
        await one.store.touch()
        assert await opening(server) == first
        # All were away for so short a time that nobody has sent anything meanwhile.
        await away(server, one, other, seconds=1.5)
        for each in (one, other):
            await each.store.touch()
        assert await opening(server) == first
        # All were away.
        await away(server, one, other, seconds=2.0)
        await one.store.touch()
        later = await opening(server)
        await other.store.touch()

        assert later > first
        assert later <= await opening(server) <= later + 1_000_000  # from the last one on


async def test_redis_s_clock_is_known_to_within_a_command(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        assert here.store.time_at(time.monotonic()) is None
        await echo(here.store, "first")
        guessed = here.store.time_at(time.monotonic())
        said = await here.store.run(ECHO, (), ("second",))

        assert guessed is not None
        assert abs(said.time - guessed) < 100_000


async def test_an_event_loop_that_was_busy_does_not_take_it_for_a_slow_store(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await echo(here.store, "first")
        asking = asyncio.ensure_future(echo(here.store, "second"))
        for _ in range(3):
            await asyncio.sleep(0)  # it is sent
        time.sleep(0.3)  # noqa: ASYNC251 - three times as long as a command may take

        assert await asking == b"second"


async def test_what_a_frozen_server_gets_to_see_when_it_goes_on_changes_nothing(program: str) -> None:
    """Else each would take the others, which have given up long since, for replicas that were there all along."""
    async with (
        serving_redis(program) as server,
        opened(server.url, identity="a") as one,
        opened(server.url, identity="b") as other,
    ):
        for each in (one, other):
            await each.store.touch()
        first = await opening(server)
        await away(server, one, other, seconds=2.0)
        server.freeze()
        for _ in range(2):
            for each in (one, other):
                await each.store.touch()
            await asyncio.sleep(0.3)  # a real server is frozen: its time can't be set
        server.thaw()
        await asyncio.sleep(0.1)  # it reads what it was sent meanwhile
        await one.store.touch()

        assert one.store.breaker.closed
        assert await opening(server) > first


async def test_a_server_with_another_clock_is_taken_by_it(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await here.store.touch()
        assert here.store._offset is not None
        here.store._offset -= 100.0  # as if its clock had jumped by so much
        await here.store.touch()

        assert here.store.breaker.closed
        assert here.store.replicas == 1


@pytest.mark.parametrize("name", ["replicas:all", "slots:from"])
@pytest.mark.parametrize("of", ["list", "text", "hash"])
async def test_what_somebody_else_has_put_under_our_names_is_dropped(program: str, name: str, of: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await here.store.touch()
        key = f"test:{name}"
        await here.client._redis.delete(key)
        spoiling = {"list": ("LPUSH", key, "x"), "text": ("SET", key, "x"), "hash": ("HSET", key, "x", "y")}
        await here.client._command(*spoiling[of])
        await here.store.touch()

        assert here.store.breaker.closed
        assert here.store.replicas == 1
        assert (await opening(server) > 0) is (name == "slots:from")


async def test_a_clock_that_was_set_back_counts_no_replicas_of_later_and_closes_nothing_for_long(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await here.store.touch()
        redis = here.client._redis
        seconds, micros = await redis.time()
        later = (seconds + 3600) * 1_000_000 + micros
        await redis.zadd("test:replicas:all", {"of-later": later})
        await redis.set("test:slots:from", later)
        await here.store.touch()

        assert here.store.breaker.closed
        assert await redis.zrange("test:replicas:all", 0, -1) == [b"a"]
        assert await opening(server) <= (seconds + 5) * 1_000_000


async def test_a_server_whose_memory_is_full_does_not_look_well(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        await here.store.touch()
        await here.client._command("CONFIG", "SET", "maxmemory", "1")
        await here.store.touch()
        assert not here.store.breaker.closed
        async with opened(server.url) as other:
            await other.client._command("CONFIG", "SET", "maxmemory", "0")
        async with asyncio.timeout(10):
            while not here.store.breaker.closed:
                await asyncio.sleep(0.02)  # its connections are being closed
                await here.store.touch()


async def test_what_is_stored_does_not_show_itself(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        said = await here.store.run(ECHO, (), ("s3cret",))

    assert said.values == [b"s3cret"]
    assert "s3cret" not in repr(said)
