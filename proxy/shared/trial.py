"""Whether a store can be used, for who sets it up: each failure with what fixes it.

Rules: looks at one thing after the other, as the proxy would use it, and changes nothing but an entry of its own.
"""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.shared.client import Failure, RedisClient
from proxy.shared.scripts import script

_TRIAL: Final = script(Path(__file__).with_name("trial.lua"))
_OLDEST: Final = (6, 2)
_CLOCKS_APART: Final = 5.0  # seconds
_PATIENCE: Final = 2.0  # seconds for each question: a slow store is to be told from one that is not there
RIGHTS: Final = (
    "+eval +evalsha +info +time +get +set +del +pexpire +hset +hmget +zadd +zrem +zcard +zcount +zremrangebyscore"
    " +publish +subscribe +unsubscribe"
)
_MENDS: Final = (
    ("password", "look at the password in shared.url or shared.password, and at the user in the URL"),
    ("user", "give the user the rights: ACL SETUSER <user> on '>…' '~{prefix}*' '&{prefix}*' {rights}"),
    ("read-only", "shared.url leads to a replica: name the primary, or the Sentinels (redis+sentinel://…)"),
    ("memory", "give it more memory: it needs about 1 kB for each shop"),
    ("loading", "wait until it has read its data"),
    ("reached", "look at shared.url, at name and port, at firewalls, and whether it asks for TLS (rediss://)"),
    ("", "look at its log"),
)


class Outcome(NamedTuple):
    """What was found: `well` if replicas can share, and sentences for the operator, warnings among them."""

    well: bool
    sentences: list[str]


async def try_store(
    client: RedisClient, *, prefix: str, deadline: float, clock: Callable[[], float] = time.time
) -> Outcome:
    """Try a store; `deadline` is what a command may take later, in seconds, `clock` tells the seconds since 1970."""
    try:
        async with asyncio.timeout(_PATIENCE):
            about = await client.info()
        if sentence := _too_old(about):
            return Outcome(False, [sentence])
        name = f"{prefix}trial"
        async with asyncio.timeout(_PATIENCE):
            await client.run(_TRIAL, (name,), ())  # which connects, and brings the script
        started = time.monotonic()
        async with asyncio.timeout(_PATIENCE):
            [now] = await client.run(_TRIAL, (name,), ())
        took = time.monotonic() - started
    except TimeoutError:
        return Outcome(False, [f"it does not answer within {_PATIENCE:g} s: {_mend('reached', prefix)}"])
    except Failure as error:
        return Outcome(False, [f"{error}: {_mend(str(error), prefix)}"])
    sentences = [f"{_name(about)} runs the scripts, in {took * 1000:.1f} ms"]
    if took > deadline:
        return Outcome(
            False, [f"{sentences[0]}, but shared.command_timeout is {deadline:g} s: raise it, or move closer"]
        )
    if took > deadline / 4:
        sentences.append(f"warning: that is slow for shared.command_timeout = {deadline:g} s: is it far away, or busy?")
    apart = now / 1e6 - clock()
    if abs(apart) > _CLOCKS_APART:
        sentences.append(f"warning: its clock is {apart:+.0f} s from that of this machine: look at NTP on both")
    if int(about.get("maxmemory", 0)) and about.get("maxmemory_policy") != "noeviction":
        sentences.append("warning: it drops entries when its memory is full: set maxmemory-policy noeviction")
    return Outcome(True, sentences)


def _too_old(about: dict[str, Any]) -> str:
    found = re.match(r"(\d+)\.(\d+)", str(about.get("redis_version", "")))
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        return f"{_name(about)} is too old: it must be Redis 6.2 or newer, or Valkey"
    return ""


def _name(about: dict[str, Any]) -> str:
    # Valkey goes on telling the version of Redis that it is compatible with.
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about.get('redis_version', '(of unknown version)')}"


def _mend(why: str, prefix: str) -> str:
    return next(fix for word, fix in _MENDS if word in why).format(prefix=prefix, rights=RIGHTS)
