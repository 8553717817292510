"""Each way in which a store can't be used has a sentence that fixes it."""

import os
import re
import shlex
import signal
import time
from pathlib import Path
from socket import gaierror

import pytest
from redis.exceptions import ResponseError

import proxy
from proxy.shared.client import _REASONS, _WORDS, RedisClient, failure
from proxy.shared.trial import RIGHTS, Outcome, _mend, try_store
from tests.redis_servers import Server, each_server, serving_redis

pytestmark = pytest.mark.parametrize("program", each_server())


async def tried(url: str, password: str | None = None, *, deadline: float = 20.0, ahead: float = 0.0) -> Outcome:
    client = RedisClient(url, password)
    try:
        return await try_store(client, prefix="test:", deadline=deadline, clock=lambda: time.time() - ahead)
    finally:
        await client.close()


async def configured(server: Server, *command: str) -> None:
    client = RedisClient(server.url)
    try:
        await client._command(*command)
    finally:
        await client.close()


async def test_a_store_that_is_well_is_told_by_its_name_and_version(program: str) -> None:
    async with serving_redis(program) as server:
        well, [sentence] = await tried(server.url)

    assert well
    assert sentence.startswith(("Redis ", "Valkey "))
    assert " runs the scripts, in " in sentence


async def test_a_store_that_is_not_there_or_hangs_is_told_with_where_to_look(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.shared.trial._PATIENCE", 0.2)
    async with serving_redis(program) as server:
        os.kill(server.pid, signal.SIGSTOP)
        hung = await tried(server.url)
    gone = await tried(server.url)

    assert [hung.well, gone.well] == [False, False]
    assert "check the name and port in shared.url" in hung.sentences[0]
    assert "check the name and port in shared.url" in gone.sentences[0]


async def test_a_wrong_password_is_told_without_it(program: str) -> None:
    async with serving_redis(program, "--requirepass", "right-password") as server:
        assert (await tried(server.url, "right-password")).well
        well, [sentence] = await tried(server.url, "wr0ng-password")

    assert not well
    assert "check the password" in sentence
    assert "wr0ng-password" not in sentence


async def test_the_rights_that_are_told_are_enough_and_with_one_fewer_that_is_told(program: str) -> None:
    rights = shlex.split(RIGHTS.format(prefix="test:"))
    commands = [right.removeprefix("+") for right in rights if right.startswith("+")]
    async with serving_redis(program) as server:
        await configured(server, "ACL", "SETUSER", "proxy", "on", ">pass", *rights)
        url = f"{server.url.replace('unix://', 'unix://proxy@')}?db=1"
        enough = await tried(url, "pass")
        fewer = {}
        for command in commands:
            await configured(server, "ACL", "SETUSER", "proxy", f"-{command}")
            fewer[command] = await tried(url, "pass")
            await configured(server, "ACL", "SETUSER", "proxy", f"+{command}")
        for what, changes in {
            "other entries": ("resetkeys", "~other:*"),
            "other channels": ("resetkeys", "~test:*", "resetchannels", "&other:*"),
        }.items():
            await configured(server, "ACL", "SETUSER", "proxy", *changes)
            fewer[what] = await tried(url, "pass")

    assert enough.well, enough.sentences
    assert {what for what, outcome in fewer.items() if outcome.well} == set()
    assert {outcome.sentences[0].partition(":")[0] for outcome in fewer.values()} == {
        "the user is not allowed to do that"
    }
    assert all(RIGHTS.format(prefix="test:") in outcome.sentences[0] for outcome in fewer.values())


def test_the_rights_that_are_told_are_those_that_the_scripts_and_the_client_need(program: str) -> None:
    called = {
        command.lower()
        for file in Path(proxy.__path__[0]).rglob("*.lua")
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", file.read_text())
    }
    client = {"eval", "evalsha", "info", "subscribe", "select"}

    assert called | client == set(re.findall(r"\+([a-z]+)", RIGHTS))


def test_each_failure_has_a_mend_of_its_own(program: str) -> None:
    phrases = {phrase for _, phrase in (*_REASONS, *_WORDS)} - {"no answer in time"}  # which is told otherwise

    assert {phrase for phrase in phrases if _mend(phrase, "test:") == "check its log"} == set()
    assert "min-replicas-to-write" in _mend(str(failure(ResponseError("NOREPLICAS Not enough"))), "test:")
    assert "host name" in _mend(str(failure(gaierror())), "test:")


async def test_a_replica_a_full_memory_and_one_that_forgets_are_told(program: str) -> None:
    async with serving_redis(program) as server:
        await configured(server, "CONFIG", "SET", "maxmemory", "100mb")
        await configured(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        forgets = await tried(server.url)
        await configured(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await configured(server, "CONFIG", "SET", "maxmemory", "1")
        full = await tried(server.url)
        await configured(server, "CONFIG", "SET", "maxmemory", "0")
        await configured(server, "REPLICAOF", "127.0.0.1", "1")
        replica = await tried(server.url)

    assert (forgets.well, full.well, replica.well) == (True, False, False)
    assert "noeviction" in forgets.sentences[1]
    assert "memory" in full.sentences[0]
    assert "primary" in replica.sentences[0]


async def test_a_clock_that_is_wrong_and_an_answer_that_is_slow_are_told(program: str) -> None:
    async with serving_redis(program) as server:
        apart = await tried(server.url, ahead=-60.0)
        slow = await tried(server.url, deadline=1e-6)

    assert apart.well
    assert "clock differs from this machine's by -60 s" in apart.sentences[1]
    assert not slow.well
    assert "raise it" in slow.sentences[0]


async def test_a_version_that_is_too_old_is_told(program: str, tmp_path: Path) -> None:
    class Old(RedisClient):
        async def info(self) -> dict[str, object]:
            return {"redis_version": "5.0.14"}

    client = Old(f"unix://{tmp_path}/nothing")
    try:
        outcome = await try_store(client, prefix="test:", deadline=1.0)
    finally:
        await client.close()

    assert not outcome.well
    assert "6.2 or newer" in outcome.sentences[0]
