"""Whether a store can be used, for who sets it up: each failure with what fixes it.

Rules: looks at one thing after the other, as the proxy would use it, and changes nothing but an entry of its own.
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.shared.client import Failure, RedisClient
from proxy.shared.scripts import Script, script

_TRIAL: Final = script(Path(__file__).with_name("trial.lua"))
_OLDEST: Final = (6, 2)
_CLOCKS_APART: Final = 5.0  # seconds
_PATIENCE: Final = 2.0  # seconds for each question: a slow store is to be told from one that is not there
# From 6.2 on a user may hear of everything unless `resetchannels` stands before the channels.
RIGHTS: Final = (
    "resetchannels '~{prefix}*' '&{prefix}*' +eval +evalsha +info +time +get +set +del +pexpire +hset +hmget"
    " +zadd +zrem +zcard +zcount +zremrangebyscore +publish +subscribe +select"
)
_MENDS: Final = (
    ("Sentinel", "check the Sentinels and the service in shared.url, the password, and firewalls"),
    ("password", "check the password in shared.url or shared.password, and the user in the URL"),
    ("user", f"give the user the rights: ACL SETUSER <user> on '>…' {RIGHTS}"),
    ("read-only", "shared.url leads to a replica: name the primary, or the Sentinels (redis+sentinel://…)"),
    ("memory", "give it more memory: it needs about 1 kB for each shop"),
    ("loading", "wait until it has loaded its data"),
    (
        "certificate",
        "name its authority in shared.url: rediss://redis:6379?ssl_ca_certs=/path/to/ca.pem; the host name is"
        " checked too",
    ),
    (
        "TLS",
        "check whether it speaks TLS on that port, and whether it asks for a client certificate (ssl_certfile,"
        " ssl_keyfile)",
    ),
    ("socket", "let the proxy's user open it: add that user to the socket's group"),
    ("database", "check the number of the database in shared.url"),
    ("busy", "wait until the script has ended, or end it: SCRIPT KILL"),
    ("MISCONF", "check its disk and its log; the proxy does not need anything to be saved: CONFIG SET save ''"),
    ("NOREPLICAS", "bring its replicas back, or CONFIG SET min-replicas-to-write 0"),
    ("without its primary", "name the primary in shared.url, or the Sentinels (redis+sentinel://…)"),
    ("maxclients", "raise its maxclients, or check who holds so many connections"),
    ("be resolved", "check the host name in shared.url, and DNS on this machine"),
    ("Cluster", "which is not supported: name a standalone server, or Sentinels"),
    ("not Redis", "check host and port in shared.url"),
    ("hear", "replicas tell each other through it: check whether something in between drops pub/sub"),
    ("reached", "check the name and port in shared.url, firewalls, and whether it asks for TLS (rediss://)"),
    ("", "check its log"),
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
        if sentence := _unfit(about):
            return Outcome(False, [sentence])
        name = f"{prefix}trial"
        # A script that it does not know yet, since the right to bring one is another one than that to run it.
        trial = Script(_TRIAL.name, f"{_TRIAL.text}-- {time.time_ns()}")
        async with asyncio.timeout(_PATIENCE):
            await client.run(trial, (name,), ())  # which connects, and brings the script
        started = time.monotonic()
        async with asyncio.timeout(_PATIENCE):
            [now] = await client.run(trial, (name,), ())
        took = time.monotonic() - started
        if not await _is_heard(client, trial, name):
            return Outcome(False, [f"what is published there does not arrive: {_mend('hear', prefix)}"])
    except TimeoutError:
        return Outcome(False, [f"it does not answer within {_PATIENCE:g} s: {_mend('reached', prefix)}"])
    except Failure as error:
        return Outcome(False, [f"{error}: {_mend(str(error), prefix)}"])
    sentences = [f"{_name(about)} runs the scripts, in {took * 1000:.1f} ms"]
    if took > deadline:
        return Outcome(
            False,
            [f"{sentences[0]}, but shared.command_timeout is {deadline:g} s: raise it, or bring the two closer"],
        )
    if took > deadline / 4:
        sentences.append(f"warning: that is slow for shared.command_timeout = {deadline:g} s: is it far away, or busy?")
    apart = now / 1e6 - clock()
    if abs(apart) > _CLOCKS_APART:
        sentences.append(f"warning: its clock differs from this machine's by {apart:+.0f} s: check NTP on both")
    if int(about.get("maxmemory", 0)) and about.get("maxmemory_policy") != "noeviction":
        sentences.append("warning: it drops entries when its memory is full: set maxmemory-policy noeviction")
    return Outcome(True, sentences)


async def _is_heard(client: RedisClient, trial: Script, name: str) -> bool:
    """Tell whether what the trial says on a channel is heard."""
    async with aclosing(client.listen(name)) as news:
        async with asyncio.timeout(_PATIENCE):
            await anext(news)
        await client.run(trial, (name,), ())
        try:
            async with asyncio.timeout(_PATIENCE):
                return bool(await anext(news))
        except TimeoutError:
            return False


def _unfit(about: dict[str, Any]) -> str:
    mode = about.get("redis_mode")
    if mode == "cluster":
        return "it is a Redis Cluster, which is not supported: name a standalone server, or Sentinels"
    if mode == "sentinel":
        return "it is a Sentinel: write redis+sentinel://… with the service's name, as in docs/scaling.md"
    found = re.match(r"(\d+)\.(\d+)", str(about.get("redis_version", "")))
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        return f"{_name(about)} is too old: it must be Redis 6.2 or newer, or Valkey"
    return ""


def _name(about: dict[str, Any]) -> str:
    # Valkey goes on telling the version of Redis that it is compatible with.
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about.get('redis_version', '(of unknown version)')}"


def _mend(why: str, prefix: str) -> str:
    return next(fix for word, fix in _MENDS if word in why).format(prefix=prefix)
