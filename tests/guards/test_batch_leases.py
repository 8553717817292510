"""One batch at a time over all replicas, in the order in which they asked; and what becomes of it when one dies."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.guards import batch_leases
from proxy.guards.batch_leases import LEASE, LONGEST_WAIT, BatchLeases
from tests.guards.replicas import World, replicas
from tests.redis_servers import each_server

pytestmark = pytest.mark.parametrize("program", each_server())
HOLD = 1.0


@dataclass(eq=False)
class Batch:
    """A batch of a replica: whether it was let, when, and what it was told meanwhile of another one's beginning."""

    task: asyncio.Task[None] | None = None
    let: bool | None = None
    at: float = 0.0
    told: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Shop:
    """What replicas do with the batches of one shop."""

    world: World
    all: list[Batch] = field(default_factory=list)
    leases: dict[int, BatchLeases] = field(default_factory=dict)  # of each replica

    async def begin(self, replica: int, *, hold: float = HOLD, key: bytes = b"demo") -> Batch:
        """Let a replica begin a batch, which goes on until it is `over`."""
        batch = Batch()
        self.all.append(batch)
        store = self.world.each[replica].store
        assert store is not None
        leases = self.leases.setdefault(replica, BatchLeases(store, sleep=self.world.sleep))

        async def run() -> None:
            async with leases.lease(key, hold, batch.told.append) as let:
                batch.let, batch.at = let, self.world.now
                await batch.over.wait()

        batch.task = asyncio.create_task(run())
        await self.world.settle()
        return batch

    async def end(self, batch: Batch) -> None:
        batch.over.set()
        await self.world.settle()


@asynccontextmanager
async def shop_of(program: str, count: int = 3) -> AsyncIterator[Shop]:
    async with replicas(program, count=count) as world:
        shop = Shop(world)
        try:
            yield shop
        finally:
            tasks = [batch.task for batch in shop.all if batch.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await world.settle()


def delayed(shop: Shop, replica: int, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let the replica's next command come to the server when that is set; those after it may overtake it."""
    client, arrives = shop.world.each[replica].client, asyncio.Event()
    assert client is not None
    run = client.run

    async def on_its_way(*command: Any) -> list[Any]:
        await arrives.wait()
        return await run(*command)

    def send(*command: Any) -> asyncio.Future[list[Any]]:
        monkeypatch.setattr(client, "run", run)
        return asyncio.shield(asyncio.ensure_future(on_its_way(*command)))

    monkeypatch.setattr(client, "run", send)
    return arrives


async def test_one_goes_at_a_time_and_the_others_in_the_order_in_which_they_asked(program: str) -> None:
    async with shop_of(program) as shop:
        batches = [await shop.begin(replica, hold=9.0) for replica in (1, 0, 2)]
        let = []
        for batch in batches:
            await shop.world.pass_time(0.3)
            let.append([each.let for each in batches])
            await shop.end(batch)

    assert let == [[True, None, None], [True, True, None], [True, True, True]]


async def test_who_was_served_comes_after_all_who_wait(program: str) -> None:
    async with shop_of(program) as shop:
        first = await shop.begin(0)
        waiting = await shop.begin(1)
        await shop.end(first)
        again = await shop.begin(0)
        assert (waiting.let, again.let) == (None, None)
        await shop.world.pass_time(0.1)
        assert (waiting.let, again.let) == (True, None)
        await shop.end(waiting)
        await shop.world.pass_time(0.1)

        assert again.let


async def test_another_shop_has_batches_of_its_own(program: str) -> None:
    async with shop_of(program) as shop:
        assert (await shop.begin(0)).let
        assert (await shop.begin(1, key=b"other")).let


async def test_nobody_waits_for_one_that_takes_long_and_who_comes_then_is_told_at_once(program: str) -> None:
    async with shop_of(program) as shop:
        slow = await shop.begin(0)
        began = slow.at
        await shop.world.pass_time(0.4)
        waiting = await shop.begin(1)
        await shop.world.pass_time(5.0)
        late = await shop.begin(2)

    assert slow.let
    assert (waiting.let, late.let) == (False, False)
    assert waiting.at == pytest.approx(began + HOLD, abs=0.1)
    assert late.at == pytest.approx(began + 5.4, abs=0.01)
    assert waiting.told == pytest.approx([began] * len(waiting.told), abs=1e-3)


async def test_one_that_goes_on_is_had_for_as_long_and_nobody_waits_for_ever(program: str) -> None:
    async with shop_of(program) as shop:
        slow, other = await shop.begin(0), await shop.begin(1, hold=60.0)
        await shop.world.pass_time(LONGEST_WAIT - 0.1)
        assert (slow.let, other.let) == (True, None)
        await shop.world.pass_time(0.2)

    assert LONGEST_WAIT > 2 * LEASE
    assert other.let is False


async def test_who_dies_with_it_holds_nobody_up_for_longer_than_the_lease(program: str) -> None:
    async with shop_of(program) as shop:
        dead = await shop.begin(0)
        client = shop.world.each[0].client
        assert client is not None
        client.away = True
        other = await shop.begin(1, hold=60.0)
        await shop.world.pass_time(LEASE + 0.1)

        assert (dead.let, other.let) == (True, True)


async def test_who_does_not_wait_any_more_keeps_nobody_back(program: str) -> None:
    async with shop_of(program) as shop:
        first = await shop.begin(0)
        leaving, dying = await shop.begin(1), await shop.begin(2, hold=60.0)
        assert leaving.task is not None
        leaving.task.cancel()
        client = shop.world.each[2].client
        assert client is not None
        client.away = True
        await shop.end(first)
        again = await shop.begin(0)
        await shop.world.pass_time(0.6)

        assert (leaving.let, again.let) == (None, True)
        assert dying.let  # alone, since it can't ask


async def test_one_that_ends_while_it_is_renewed_is_over(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop_of(program) as shop:
        first = await shop.begin(0)
        arrives = delayed(shop, 0, monkeypatch)
        await shop.world.pass_time(0.6)  # it is renewed
        await shop.end(first)
        arrives.set()
        await shop.world.settle()
        other = await shop.begin(1)
        await shop.world.pass_time(0.1)

        assert (first.let, other.let) == (True, True)


async def test_who_leaves_while_it_asks_leaves_nothing_behind(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop_of(program) as shop:
        arrives = delayed(shop, 0, monkeypatch)
        leaving = await shop.begin(0)
        assert leaving.task is not None
        leaving.task.cancel()
        await shop.world.settle()
        arrives.set()
        await shop.world.settle()
        other = await shop.begin(1)
        await shop.world.pass_time(0.1)

        assert (leaving.let, other.let) == (None, True)


async def test_the_end_of_one_does_not_end_the_next_one_of_the_same_replica(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop_of(program) as shop:
        first, waiting = await shop.begin(0), await shop.begin(1)
        arrives = delayed(shop, 0, monkeypatch)
        await shop.end(first)
        again = await shop.begin(0)
        arrives.set()
        await shop.world.pass_time(0.1)

        assert (first.let, waiting.let, again.let) == (True, True, None)


async def test_without_the_store_each_has_its_own_and_waits_for_nobody(program: str) -> None:
    async with shop_of(program) as shop:
        first, waiting = await shop.begin(0), await shop.begin(1)
        for replica in shop.world.each:
            assert replica.client is not None
            replica.client.away = True
        other = await shop.begin(2)
        await shop.world.pass_time(0.1)

    assert (first.let, waiting.let, other.let) == (True, True, True)


async def test_it_costs_a_command_to_have_it_and_one_to_end(program: str) -> None:
    async with shop_of(program) as shop:
        client = shop.world.each[0].client
        assert client is not None
        before = len(client.commands)
        await shop.end(await shop.begin(0))

        assert client.commands[before:] == ["batch"] * 2
        assert shop.world.redis is not None
        assert await shop.world.redis._redis.keys("*:batch:*") == []


async def test_what_is_done_when_nobody_waits_for_it_any_more_holds_nobody_up(program: str) -> None:
    async with shop_of(program) as shop:
        store = shop.world.each[0].store
        assert store is not None
        asked = BatchLeases(store)._arguments(wants=True)
        shop.world.now += 60.0  # the server was frozen
        said = await store.run(batch_leases._BATCH, (store.key("batch", "x"),), asked)

        assert said.values[0] == 0
        assert (await shop.begin(1)).let


@pytest.mark.parametrize(
    "content",
    [
        b"of somebody else",
        b"\xc1",
        b"\x07",
        b"\x80",  # a map without a line
        b"\x82\xa4line\x91\x01\xa5since\x01",  # a line of numbers
        b"\x83\xa4line\x90\xa5since\x01\xa2id\xa1x",  # had by somebody, without an end
        None,  # not even a text
    ],
    ids=repr,
)
async def test_an_entry_that_others_have_spoiled_begins_anew(program: str, content: bytes | None) -> None:
    async with shop_of(program, count=1) as shop:
        redis, store = shop.world.redis, shop.world.each[0].store
        assert redis is not None and store is not None  # noqa: PT018 - for the type checker
        name = store.key("batch", hashlib.sha256(b"batch" + b"demo").hexdigest()[:32])
        await redis._command(*(("LPUSH", name, "x") if content is None else ("SET", name, content)))
        batch = await shop.begin(0)

        assert batch.let
        assert store.breaker.closed
