"""The process: what its signals do, and when."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.app import Outside, serve
from proxy.config import Config
from proxy.guards.names import SystemNames
from tests.names import Names
from tests.peers import Connection, answering, connected, request, response, serving, token_response
from tests.proxies import config, platform, said, shop


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def outside(on: Callable[[dict[str, Any]], object], resolver: AbstractResolver | None = None) -> Outside:
    """What the proxy has from outside; `on` gets what is logged."""

    def keep(_: object, __: str, event: structlog.typing.EventDict) -> str:
        on(said(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("debug"))
    return Outside(log=log, conceal=lambda *_: None, redact=str, resolver=resolver or SystemNames())


def kill(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_after_the_request_in_flight(number: signal.Signals) -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()
    events: list[str] = []
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await answer_now.wait()
        await connection.send(response(b"in time"))

    def on(event: dict[str, Any]) -> None:
        events.append(event["event"])
        if event["event"] == "proxy.started":
            started.set_result(event["port"])
        if event["event"] == "proxy.stopping":
            answer_now.set()

    async with asyncio.timeout(20), serving(answering(token_response())) as tokens, serving(api) as peer:
        settings = config(shop("demo", platform(tokens.port, peer.port)))
        serving_it = asyncio.create_task(serve(settings, outside(on), load=lambda: settings, learn=lambda _: None))
        async with connected(await started) as client:
            await client.send(request())
            await asked.wait()
            kill(number)
            assert (await client.read_answer()).body == b"in time"
        await serving_it

    assert events[-3:] == ["proxy.stopping", "request.forwarded", "proxy.stopped"]


async def test_who_asks_for_a_reload_before_there_is_anything_to_reload_is_heard_later() -> None:
    class Asking(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            if not self.asked:
                kill(signal.SIGHUP)  # while names are looked up at the start
            return await super().resolve(host, port, family)

    events: list[str] = []

    def on(event: dict[str, Any]) -> None:
        events.append(event["event"])
        if event["event"] == "configuration.reloaded":
            kill(signal.SIGTERM)

    urls = {"token_url": "https://token.example/", "api_url": "https://api.example/", "allow_private": False}
    settings = config(shop("demo", platform(1, 2, **urls)))
    async with asyncio.timeout(20):
        await serve(settings, outside(on, Asking("93.184.216.34")), load=lambda: settings, learn=lambda _: None)

    happened = [event for event in events if event != "admin.started"]
    assert happened == ["proxy.started", "configuration.reloaded", "proxy.stopping", "proxy.stopped"]


async def test_a_signal_to_end_does_not_wait_for_a_reload_nor_is_that_taken() -> None:
    events: list[str] = []
    learned: list[Config] = []
    may_go_on = threading.Event()

    def on(event: dict[str, Any]) -> None:
        events.append(event["event"])
        if event["event"] == "proxy.started":
            kill(signal.SIGHUP)
        if event["event"] == "proxy.stopped":
            may_go_on.set()

    def load() -> Config:
        kill(signal.SIGTERM)
        may_go_on.wait(20)
        return config()

    try:
        async with asyncio.timeout(20):
            await serve(config(), outside(on), load=load, learn=learned.append)
    finally:
        may_go_on.set()

    assert events[-2:] == ["proxy.stopping", "proxy.stopped"]
    assert learned == []
