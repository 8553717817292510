"""Idle connections take no more file descriptors than there are, whatever the system's limit is."""

import asyncio
import json
import resource
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from proxy.guards.descriptors import room_for
from tests.commands.configurations import written
from tests.peers import connected, request

NOFILE = resource.RLIMIT_NOFILE


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(NOFILE)
    yield before
    resource.setrlimit(NOFILE, before)


def room(connections: int) -> tuple[int, list[Any]]:
    with structlog.testing.capture_logs() as events:
        return room_for(connections, structlog.get_logger()), events


def test_the_limit_is_raised_to_what_is_needed(limits: tuple[int, int]) -> None:
    resource.setrlimit(NOFILE, (300, limits[1]))

    assert room(200) == (200, [])
    assert resource.getrlimit(NOFILE) == (464, limits[1])


def test_a_limit_that_is_high_enough_stays(limits: tuple[int, int]) -> None:
    resource.setrlimit(NOFILE, (464, limits[1]))

    assert room(200) == (200, [])
    assert resource.getrlimit(NOFILE) == (464, limits[1])


async def test_idle_connections_up_to_the_systems_limit_keep_nobody_from_being_served(tmp_path: Path) -> None:
    config = written(tmp_path / "c.toml", token_url="http://127.0.0.1:1/", api_url="http://127.0.0.1:1/")
    serve = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        proxy = await asyncio.create_subprocess_exec(
            "sh", "-c", 'ulimit -n 130 && exec "$@"', "sh", *serve, stdout=asyncio.subprocess.PIPE
        )
        stack.push_async_callback(proxy.wait)
        stack.callback(proxy.kill)
        assert proxy.stdout is not None
        events: list[dict[str, Any]] = []
        while not events or events[-1]["event"] != "proxy.started":
            events.append(json.loads(await proxy.stdout.readline()))
        for _ in range(200):
            await stack.enter_async_context(connected(events[-1]["port"]))
        async with connected(events[-1]["port"]) as client:
            assert (await client.ask(request(target=b"/nobody/"))).status == 404

    [told] = [event for event in events if event["event"] == "connections.limited"]
    assert (told["wanted"], told["limit"]) == (2000, 33)
    assert "only 130 files may be open: allow 4064" in told["reason"]
