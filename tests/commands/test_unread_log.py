"""A log that nobody reads, or that the disk has no room for, holds neither requests nor the end up."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.commands.configurations import written
from tests.commands.processes import listening, started
from tests.peers import answering, connected, request, response, serving, token_response
from tests.ports import free_port

# So many of these lines are more than the pipe and the buffer hold: 64 KiB and 4 MiB.
_CALLS = 2_500
_PATH = b"x" * 2_000


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, int]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, ExitStack() as stack:
        stack.callback(os.close, writer)
        yield stream, writer


async def call_often(port: int, target: bytes) -> None:
    for _ in range(5):
        async with connected(port) as client:
            for _ in range(_CALLS // 5):
                assert (await client.ask(request(target=target))).status == 404


def next_event(log: BinaryIO, name: str) -> dict[str, Any]:
    """Read lines until there is one of this event."""
    while True:
        event: dict[str, Any] = json.loads(log.readline())
        if event["event"] == name:
            return event


@pytest.fixture
def config(tmp_path: Path) -> tuple[str, int, int]:
    """A configuration, and the ports that it names, since the log doesn't tell."""
    port, admin_port = free_port(), free_port()
    file = written(tmp_path / "config.toml", port=port, token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/")
    file.write_text(file.read_text().replace("[admin]\nport = 0", f"[admin]\nport = {admin_port}"))
    return str(file), port, admin_port


async def test_a_reader_that_does_not_read_holds_no_request_and_is_told_what_it_missed(
    config: tuple[str, int, int], pipe: tuple[BinaryIO, int]
) -> None:
    file, port, admin_port = config
    log, writer = pipe
    async with started("serve", "--config", file, stdout=writer) as command:
        await listening(port)
        await call_often(port, b"/nobody/" + _PATH)
        async with connected(admin_port) as admin:
            assert (await admin.ask(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200

        kept = 0
        while (event := json.loads(await asyncio.to_thread(log.readline)))["event"] != "log.lost":
            kept += event["event"] == "request.refused"
        assert event["level"] == "warning"
        assert kept + event["lines"] == _CALLS
        assert event["lines"] > 100
        async with connected(admin_port) as admin:
            metrics = (await admin.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).body
        assert b"shop_auth_proxy_log_lines_lost_total %d\n" % event["lines"] in metrics

        async with connected(port) as client:
            await client.ask(request(target=b"/afterwards/x"))
        assert (await asyncio.to_thread(next_event, log, "request.refused"))["shop"] == "afterwards"
        command.send_signal(signal.SIGTERM)
        await asyncio.to_thread(next_event, log, "proxy.stopped")
        ended = await command.end()
    assert (ended.status, ended.stderr) == (0, "")


async def test_a_reader_that_does_not_read_does_not_hold_the_end(
    config: tuple[str, int, int], pipe: tuple[BinaryIO, int]
) -> None:
    file, port, _ = config
    async with started("serve", "--config", file, stdout=pipe[1]) as command:
        await listening(port)
        await call_often(port, b"/nobody/" + _PATH)
        command.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            ended = await command.end()
    assert (ended.status, ended.stderr) == (0, "")


@pytest.mark.parametrize("broken", ["full disk", "reader gone"])
async def test_a_log_that_can_not_be_written_holds_no_request(
    tmp_path: Path, pipe: tuple[BinaryIO, int], broken: str
) -> None:
    log, writer = pipe
    port = free_port()
    async with serving(answering(token_response())) as tokens, serving(answering(response(b"ok"))) as api:
        file = written(
            tmp_path / "config.toml",
            port=port,
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        if broken == "full disk":
            os.dup2(os.open("/dev/full", os.O_WRONLY), writer)
        log.close()
        async with started("serve", "--config", str(file), stdout=writer) as command:
            await listening(port)
            async with connected(port) as client:
                for _ in range(10):
                    assert (await client.ask(request(target=b"/demo/x"))).body == b"ok"
            command.send_signal(signal.SIGTERM)
            ended = await command.end()
    assert (ended.status, ended.stderr) == (0, "")
