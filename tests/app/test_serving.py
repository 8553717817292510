"""The process: what its signals do."""

import asyncio
import os
import signal

import pytest
import structlog

from proxy.app import Outside, serve
from tests.peers import Connection, answering, connected, request, response, serving, token_response
from tests.proxies import config, platform, shop


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

    def keep(_: object, __: str, event: structlog.typing.EventDict) -> str:
        events.append(event["event"])
        if event["event"] == "proxy.started":
            started.set_result(event["port"])
        if event["event"] == "proxy.stopping":
            answer_now.set()
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("debug"))
    async with asyncio.timeout(20), serving(answering(token_response())) as tokens, serving(api) as peer:
        settings = config(shop("demo", platform(tokens.port, peer.port)))
        serving_it = asyncio.create_task(
            serve(
                settings,
                Outside(log=log, conceal=lambda _: None, redact=str),
                load=lambda: settings,
                learn=lambda _: None,
            )
        )
        async with connected(await started) as client:
            await client.send(request())
            await asked.wait()
            os.kill(os.getpid(), number)
            assert (await client.read_answer()).body == b"in time"
        await serving_it

    assert events[-3:] == ["proxy.stopping", "request.forwarded", "proxy.stopped"]
