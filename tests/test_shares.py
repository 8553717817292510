"""What all share is divided: a line for each thing that one could take from the others, over real sockets.

Budgets are small here, so that seconds show what would take minutes. In each test somebody else is served all along.
"""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.config import ClientConfig, PacingConfig, ServerConfig
from proxy.platforms.platform import RateLimit
from proxy.secret import Secret
from tests.peers import (
    CHUNKED,
    Answer,
    Connection,
    Peer,
    RawClient,
    answering,
    chunked,
    connected,
    request,
    response,
    serving,
    token_response,
)
from tests.proxies import TestedProxy, config, platform, proxying, shop

ERP, FEED = (b"Authorization: Bearer secret-of-%s-0123456789\r\n" % name for name in (b"erp", b"feed"))
CLIENTS = {name: ClientConfig(secret=Secret(f"secret-of-{name}-0123456789")) for name in ("erp", "feed")}


@dataclass(slots=True)
class House:
    """A proxy for two shops: `demo`, which is well, and `hung`, whose API takes requests and does not answer."""

    proxy: TestedProxy
    well: Peer
    hung: Peer
    stack: AsyncExitStack
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self) -> RawClient:
        """Return a new connection to the proxy, which stays open."""
        return await self.stack.enter_async_context(connected(self.proxy.port))

    async def ask(self, target: bytes, fields: bytes = b"", *, body: bytes | None = None) -> Answer:
        """Ask over a connection of its own."""
        async with connected(self.proxy.port) as client:
            return await client.ask(request(b"GET" if body is None else b"POST", target, fields=fields, body=body))

    async def live(self) -> Answer:
        """Ask the admin port whether the process lives."""
        admin = self.proxy.running.admin
        assert admin is not None
        async with connected(admin[1]) as client:
            return await client.ask(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")

    async def call_hung(self, count: int, fields: bytes = b"") -> list[RawClient]:
        """Call the hung shop so often at once; return when its API has all calls."""
        before = len(self.hung.received)
        clients = [await self.client() for _ in range(count)]
        for client in clients:
            await client.send(request(target=b"/hung/x", fields=fields))
        while len(self.hung.received) < before + count:
            self.more.clear()
            await self.more.wait()
        return clients


@asynccontextmanager
async def house(
    server: dict[str, Any] | None = None,
    *,
    hung: dict[str, Any] | None = None,
    hung_shops: Sequence[str] = ("hung",),
    no_tokens: bool = False,
    **sections: Any,
) -> AsyncIterator[House]:
    """Run the proxy; `server` and `hung` change its settings and those of the hung shops' platform.

    With `no_tokens`, it is their token endpoint that hangs.
    """

    async def never(connection: Connection) -> None:
        while await connection.read_request() is not None:
            made.more.set()

    async with (
        asyncio.timeout(30),
        AsyncExitStack() as stack,
        serving(answering(token_response())) as tokens,
        serving(answering(response(b"ok"))) as well,
        serving(never) as silent,
    ):
        ports = (silent.port, well.port) if no_tokens else (tokens.port, silent.port)
        down = platform(*ports, name="hung", **(hung or {}))
        settings = config(
            shop("demo", platform(tokens.port, well.port)),
            *(shop(key, down) for key in hung_shops),
            server=ServerConfig(port=0, drain_timeout=0.0, **(server or {})),
            **sections,
        )
        proxy = await stack.enter_async_context(proxying(settings))
        made = House(proxy, well, silent, stack)
        yield made


def code(answer: Answer) -> str:
    """The code of an answer of the proxy's own, which says when to come again."""
    assert (answer.status, answer.values(b"Retry-After")) == (503, [b"1"])
    return str(json.loads(answer.body)["code"])


# Places


async def test_a_hung_shop_takes_half_of_the_places_and_no_more() -> None:
    async with house({"max_requests": 8}) as here:
        await here.call_hung(4)
        assert code(await here.ask(b"/hung/x")) == "shop_overloaded"
        for _ in range(20):
            assert (await here.ask(b"/demo/x")).body == b"ok"
        assert here.proxy.running.forwarder.in_flight == 4
        assert [entry["code"] for entry in here.proxy.logged("request.refused")] == ["shop_overloaded"]


@pytest.mark.parametrize("no_tokens", [False, True], ids=["the API", "the token endpoint"])
async def test_a_hung_platform_with_many_shops_takes_half_of_the_places_and_no_more(*, no_tokens: bool) -> None:
    """Each of its shops has one place only, so that none of them has used up its own share."""
    shops = [f"hung-{number}" for number in range(5)]
    async with house({"max_requests": 8}, hung_shops=shops, no_tokens=no_tokens) as here:
        for key in shops[:4]:
            await (await here.client()).send(request(target=b"/%s/x" % key.encode()))
        while len(here.hung.received) < 4:
            here.more.clear()
            await here.more.wait()
        refused = await here.ask(b"/hung-4/x")
        assert code(refused) == "shop_overloaded"
        assert b"This platform has used up its share of the request slots" in refused.body
        for _ in range(20):
            assert (await here.ask(b"/demo/x")).body == b"ok"
        assert (here.proxy.running.forwarder.in_flight, len(here.hung.received)) == (4, 4)


async def test_a_shop_that_hung_is_served_again_when_it_has_answered() -> None:
    async with house({"max_requests": 4}) as here:
        for client in await here.call_hung(2):
            client.close()
        while here.proxy.running.forwarder.in_flight:
            await here.ask(b"/demo/x")
        await here.call_hung(2)


async def test_a_client_whose_bodies_never_come_takes_half_of_the_places_and_none_of_its_shop() -> None:
    begun = request(b"POST", fields=ERP + b"Content-Length: 5\r\n")
    async with house({"max_requests": 8}, clients=CLIENTS) as here:
        for _ in range(4):
            await (await here.client()).send(begun)
        while here.proxy.running.forwarder.in_flight < 4:
            await here.ask(b"/demo/x", FEED)
        refused = await (await here.client()).ask(begun)
        assert code(refused) == "client_overloaded"
        assert code(await here.ask(b"/hung/x", ERP)) == "client_overloaded"
        for _ in range(20):
            assert (await here.ask(b"/demo/x", FEED, body=b"hello")).body == b"ok"
        assert here.hung.received == []


async def test_requests_in_the_line_for_a_rate_limit_hold_places_of_their_shop() -> None:
    limit = {"rate_limit": RateLimit(1, 3600.0)}
    patient = PacingConfig(max_wait=1e9, max_queue=1000)
    async with house({"max_requests": 8}, hung=limit, pacing=patient) as here:
        await here.call_hung(1)
        for _ in range(3):
            await (await here.client()).send(request(target=b"/hung/x"))
        while here.proxy.running.forwarder.in_flight < 4:
            await here.ask(b"/demo/x")
        assert code(await here.ask(b"/hung/x")) == "shop_overloaded"
        assert (await here.ask(b"/demo/x")).body == b"ok"


async def test_in_that_line_a_client_with_few_takes_the_place_of_one_with_many() -> None:
    limit = {"rate_limit": RateLimit(1, 3600.0)}
    patient = PacingConfig(max_wait=1e9, max_queue=1000)
    async with house({"max_requests": 8}, hung=limit, pacing=patient, clients=CLIENTS) as here:
        await here.call_hung(1, ERP)
        many = [await here.client() for _ in range(3)]
        for client in many:
            await client.send(request(target=b"/hung/x", fields=ERP))
        while here.proxy.running.forwarder.in_flight < 4:
            await here.ask(b"/demo/x", FEED)
        await (await here.client()).send(request(target=b"/hung/x", fields=FEED))
        displaced = await many[-1].read_answer()
        assert json.loads(displaced.body)["code"] == "paced_out"
        assert here.proxy.running.forwarder.in_flight == 4
        assert (await here.ask(b"/demo/x", FEED)).body == b"ok"


async def test_who_does_not_read_an_answer_holds_its_place_until_it_has() -> None:
    async with house({"max_requests": 8}, clients=CLIENTS) as here:
        here.well.script = answering(response(b"x" * 30_000_000))
        slow = [await here.client() for _ in range(4)]
        for client in slow:
            client.stop_reading()
            await client.send(request(fields=ERP))
        while len(here.well.received) < 4:
            await here.ask(b"/nobody/x", FEED)
        assert code(await here.ask(b"/demo/x", ERP)) == "client_overloaded"
        here.well.script = answering(response(b"ok"))
        while (await here.ask(b"/demo/x", FEED)).status != 200:
            pass  # the shop still sends: its share is taken until the buffers on the way are full
        assert code(await here.ask(b"/demo/x", ERP)) == "client_overloaded"
        slow[0].start_reading()
        assert len((await slow[0].read_answer()).body) == 30_000_000
        while (await here.ask(b"/demo/x", ERP)).status != 200:
            pass


async def test_what_a_client_does_not_read_is_not_fetched_from_the_shop_and_counts_as_its_memory() -> None:
    large = 30_000_000
    async with house({"memory_budget": 800_000, "max_share": 0.5}, clients=CLIENTS) as here:
        here.well.script = answering(response(b"x" * large))
        budgets = here.proxy.running.budgets
        slow: list[RawClient] = []
        while budgets.memory.taken <= 400_000:  # each holds no more than one read of what came
            slow.append(await here.client())
            slow[-1].stop_reading()
            await slow[-1].send(request(fields=ERP))
            before = budgets.memory.taken
            while budgets.memory.taken == before:
                await here.ask(b"/nobody/x", FEED)
            assert budgets.memory.taken - before < 300_000
        here.well.script = answering(response(b"ok"))
        assert code(await here.ask(b"/demo/x", ERP)) == "client_overloaded"
        assert (await here.ask(b"/demo/x", FEED)).status == 200
        slow[0].start_reading()
        assert len((await slow[0].read_answer()).body) == large
        while (await here.ask(b"/demo/x", ERP)).status != 200:
            pass


# Memory and the disk


async def until(here: House, done: Any) -> None:
    """Wait until something is so, while others are served."""
    while not done():
        assert (await here.ask(b"/demo/x", FEED)).body == b"ok"


async def test_bodies_on_their_way_take_a_clients_share_of_the_memory_and_no_more() -> None:
    begun = request(b"POST", fields=ERP + CHUNKED)
    async with house({"memory_budget": 600_000}, clients=CLIENTS) as here:
        budgets = here.proxy.running.budgets
        waiting = [await here.client() for _ in range(2)]
        for number, client in enumerate(waiting, 1):
            await client.send(begun + b"1\r\nx\r\n")
            await until(here, lambda number=number: budgets.memory.taken >= number << 17)
        assert code(await (await here.client()).ask(begun)) == "client_overloaded"
        assert budgets.memory.refused == {"client": 1}
        assert (await (await here.client()).ask(request(b"POST", fields=FEED + CHUNKED) + chunked(b"y"))).body == b"ok"
        assert here.well.received[-1].body == b"y"
        for client in waiting:
            assert (await client.ask(b"0\r\n\r\n")).body == b"ok"
        assert here.well.received[-1].body == b"x"
        await until(here, lambda: not budgets.memory.taken)


async def test_a_small_body_for_which_there_is_no_memory_goes_through_the_disk_whole() -> None:
    content = os.urandom(700_000)
    async with house({"memory_budget": 600_000}, clients=CLIENTS) as here:
        budgets = here.proxy.running.budgets
        client = await here.client()
        await client.send(request(b"POST", fields=ERP + b"Content-Length: 700000\r\n") + content[:600_000])
        await until(here, lambda: budgets.spool.taken)
        assert budgets.memory.taken <= 300_000
        assert (await client.ask(content[600_000:])).body == b"ok"
        assert here.well.received[-1].body == content
        assert (budgets.spool.taken, budgets.memory.taken) == (0, 0)


async def test_an_upload_that_has_no_room_on_the_disk_is_refused_before_it_is_sent() -> None:
    begun = request(b"POST", fields=ERP + b"Expect: 100-continue\r\nContent-Length: 1500000\r\n")
    async with house({"spool_budget": 4_000_000}, clients=CLIENTS) as here:
        budgets = here.proxy.running.budgets
        first = await here.client()
        assert (await first.ask(begun)).status == 100
        assert budgets.spool.taken == 1_500_000
        assert code(await (await here.client()).ask(begun)) == "client_overloaded"
        content = os.urandom(1_200_000)
        assert (await here.ask(b"/demo/x", FEED, body=content)).body == b"ok"
        assert here.well.received[-1].body == content
        assert (await first.ask(b"z" * 1_500_000)).body == b"ok"
        await until(here, lambda: not budgets.spool.taken)


@pytest.mark.parametrize("framing", [b"Expect: 100-continue\r\nContent-Length: 2500000\r\n", CHUNKED])
async def test_an_upload_that_is_larger_than_its_clients_share_is_too_large_and_not_to_be_tried_again(
    framing: bytes,
) -> None:
    """Nobody would end well who came again in a second, however often."""
    async with house({"spool_budget": 4_000_000, "max_share": 0.5}, clients=CLIENTS) as here:
        client = await here.client()
        await client.send(request(b"POST", fields=ERP + framing))
        if framing == CHUNKED:
            for _ in range(25):
                await client.send(chunked(b"x" * 100_000).removesuffix(b"0\r\n\r\n"))
        refused = await client.read_answer()
        assert (refused.status, refused.values(b"Retry-After")) == (413, [])
        told = json.loads(refused.body)
        assert told["code"] == "body_too_large"
        assert "larger than 2000000 bytes" in told["detail"]
        assert "(server.spool_budget, server.max_share)" in told["detail"]
        await until(here, lambda: not here.proxy.running.budgets.spool.taken)
        assert not any(received.body == b"x" * 2_500_000 for received in here.well.received)


async def test_a_budget_of_which_one_client_can_never_have_enough_is_told_of_at_the_start() -> None:
    async with house({"spool_budget": 100_000_000, "memory_budget": 2_000_000, "max_share": 0.05}) as here:
        told = {entry["setting"]: entry["of_one"] for entry in here.proxy.logged("budget.too_little")}
        assert told == {"server.spool_budget": 5_000_000, "server.memory_budget": 100_000}


async def test_the_file_of_an_upload_is_closed_while_its_answer_is_not_read_yet() -> None:
    async with house(clients=CLIENTS) as here:
        running = here.proxy.running
        here.well.script = answering(response(b"x" * 30_000_000))
        client = await here.client()
        client.stop_reading()
        await client.send(request(b"POST", fields=ERP, body=b"y" * 2_000_000))
        while not here.well.received or not here.well.received[-1].body:
            await here.ask(b"/nobody/x", FEED)
        here.well.script = answering(response(b"ok"))
        await until(here, lambda: not running.budgets.spool.taken)
        await until(here, lambda: running.forwarder.in_flight == 1)


async def test_a_disk_that_stands_still_slows_large_uploads_alone_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, goes_on, pwrite = threading.Semaphore(0), threading.Event(), os.pwrite

    def slow(file: int, data: bytes, position: int) -> int:
        written.release()
        assert goes_on.wait(20)
        return pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", slow)
    content = os.urandom(1_500_000)
    try:
        async with house(clients=CLIENTS) as here:
            uploads = [await here.client() for _ in range(12)]
            for client in uploads:
                await client.send(request(b"POST", fields=ERP, body=content))
            await until(here, lambda: written.acquire(blocking=False))
            for _ in range(50):
                assert (await here.ask(b"/demo/x", FEED, body=b"hello")).body == b"ok"
            assert (await here.live()).status == 200
            assert here.hung.received == []
            assert not any(received.body == content for received in here.well.received)
            # The end of the proxy, with threads that hang.
    finally:
        goes_on.set()


async def test_a_disk_that_was_slow_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, pwrite = threading.Event(), os.pwrite

    def slow(file: int, data: bytes, position: int) -> int:
        assert goes_on.wait(20)
        return pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", slow)
    content = os.urandom(1_500_000)
    async with house(clients=CLIENTS) as here:
        uploads = [await here.client() for _ in range(10)]
        for client in uploads:
            await client.send(request(b"POST", fields=ERP, body=content))
        assert (await here.ask(b"/demo/x", FEED)).body == b"ok"
        goes_on.set()
        for client in uploads:
            assert (await client.read_answer()).body == b"ok"
        assert [received.body == content for received in here.well.received if received.body] == [True] * 10
