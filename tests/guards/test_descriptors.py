"""No more file descriptors are taken than there are, whatever the system's limit is, and who needs one gets it."""

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

from proxy.errors import Overloaded
from proxy.guards import descriptors as module
from proxy.guards.descriptors import Descriptors, room_for
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


def limited(to: int) -> Descriptors:
    """Descriptors of which so many may be taken."""
    made = Descriptors()
    made._for_connections.limit = to
    made._for_files.limit = to * module._FILES_UP_TO
    return made


def test_the_limit_is_what_the_system_lets_us_have_but_for_the_rest(limits: tuple[int, int]) -> None:
    resource.setrlimit(NOFILE, (464, limits[1]))
    tested = Descriptors()
    with structlog.testing.capture_logs():
        assert tested.keep_to(200, structlog.get_logger()) == 200

    assert (tested._for_connections.limit, tested._for_files.limit) == (400, 350)


async def test_who_finds_none_waits_until_one_is_given_back_and_the_first_is_first() -> None:
    tested = limited(2)
    await tested.take()
    await tested.take()
    came: list[int] = []

    async def wait(number: int) -> None:
        await tested.take()
        came.append(number)

    waiting = [asyncio.ensure_future(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert came == []
    for _ in range(2):
        tested.give()
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (came, tested.taken) == ([0, 1], 2)
    tested.give()
    await waiting[2]
    assert came == [0, 1, 2]


async def test_who_waits_in_vain_is_told_when_to_come_again_and_has_taken_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    tested = limited(1)
    await tested.take()
    with pytest.raises(Overloaded) as caught:
        await tested.take()
    assert (caught.value.retry_after, tested.taken) == (1.0, 1)
    tested.give()
    assert tested.taken == 0
    await tested.take()


async def test_nothing_is_kept_of_who_waited_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = limited(1)
    await tested.take()
    leaving = asyncio.ensure_future(tested.take())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    for _ in range(3):
        with pytest.raises(Overloaded):
            await tested.take_for_file()

    assert not tested._for_connections.waiting
    assert not tested._for_files.waiting


async def test_who_leaves_just_as_it_is_given_one_gives_it_on() -> None:
    tested = limited(1)
    await tested.take()
    first, second = (asyncio.ensure_future(tested.take()) for _ in range(2))
    await asyncio.sleep(0)
    tested.give()
    first.cancel()
    await second
    assert tested.taken == 1


async def test_what_is_only_kept_makes_room_first() -> None:
    tested, kept = limited(2), [1]

    def end_one() -> bool:
        if not kept:
            return False
        kept.pop()
        asyncio.get_running_loop().call_soon(tested.give)  # it takes a moment until it is closed
        return True

    tested.make_room += [lambda: False, end_one]
    tested.note()
    tested.note()
    await tested.take()
    assert (kept, tested.taken) == ([], 2)


async def test_what_is_open_already_counts_whatever_the_limit_is_and_makes_room() -> None:
    ended: list[int] = []
    tested = limited(1)

    def end_one() -> bool:
        ended.append(1)
        return True

    tested.make_room.append(end_one)
    tested.note()
    assert ended == []
    tested.note()
    assert (tested.taken, ended) == (2, [1])


async def test_files_leave_some_for_the_connections_that_their_bodies_go_over() -> None:
    tested = limited(8)
    for _ in range(7):
        await tested.take_for_file()
    file = asyncio.ensure_future(tested.take_for_file())
    await asyncio.sleep(0)
    await tested.take()
    tested.give()
    assert not file.done()
    tested.give()
    await file


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
    assert "only 130 files can be open at once: allow 4064" in told["reason"]
