"""The library's client: how it is made, and what it raises, in our own words.

Rules: the library tries nothing twice and waits for nothing by itself: a repeated booking books twice, and its own
defaults are 5 s and ten tries. What it raises may quote what was sent, so that only the kind of it is told.
docs/scaling.md says why it is this library.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.maint_notifications import MaintNotificationsConfig

from proxy.shared.scripts import Script

SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
SCHEMES: Final = ("redis", "rediss", "unix", *SENTINEL)
_SENTINEL_PORT: Final = 26379
_LONGEST_SUBSCRIBING: Final = 5.0  # seconds
_REASONS: Final = (
    (MasterNotFoundError, "no Sentinel tells its primary"),
    (AuthenticationError, "it wants a password, or another one"),
    (NoPermissionError, "the user may not do that there"),
    (ReadOnlyError, "it is a read-only replica"),
    (BusyLoadingError, "it is loading its data"),
    (OutOfMemoryError, "its memory is full"),
    (TimeoutError, "no answer in time"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (PermissionError, "its socket may not be opened"),
    (OSError, "can't be reached"),
)
# Of errors inside a script, older servers tell the kind in the text alone.
_WORDS: Final = (
    ("READONLY", "it is a read-only replica"),
    ("OOM", "its memory is full"),
    ("user executing the script", "the user may not do that there"),
    ("ACL failure", "the user may not do that there"),
    ("DB index", "it has no database of that number"),
)

Argument = str | bytes | int


class Failure(Exception):
    """The store failed; the message is a phrase for the operator, without anything that was sent or received."""


class Client(Protocol):
    """Runs scripts."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        """Return what a script answers. Raises `Failure`."""
        ...

    def listen(self, channel: str) -> AsyncGenerator[str]:
        """Yield "" as soon as it listens, then what is said on a channel. Raises `Failure`."""
        ...

    async def reset(self) -> None:
        """Close all connections; the next command makes a new one, wherever the name leads by then."""
        ...


class RedisClient:
    """Speaks with Redis or Valkey. Raises `ValueError` for a URL that leads nowhere."""

    def __init__(self, url: str, password: str | None = None) -> None:
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,  # each command has its deadline from outside
            "socket_connect_timeout": None,
            "protocol": 2,  # connecting costs one round trip less, and scripts answer alike
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        if password is not None:
            options["password"] = password
        self._redis, self._sentinel = _open(url, options)
        self._closed = False
        self._command: Callable[..., Awaitable[list[Any]]] = self._redis.execute_command

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        """Return what a script answers. Raises `Failure`."""
        try:
            try:
                return await self._command("EVALSHA", script.digest, len(keys), *keys, *arguments)
            except NoScriptError:  # so that nothing was done
                return await self._command("EVAL", script.text, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise failure(error) from None
        finally:
            if self._closed:  # it was connecting then
                await self._redis.connection_pool.disconnect()

    async def listen(self, channel: str) -> AsyncGenerator[str]:
        """Yield "" as soon as it listens, then what is said on a channel. Raises `Failure`."""
        subscription = self._redis.pubsub()
        try:
            async with asyncio.timeout(_LONGEST_SUBSCRIBING):
                await subscription.subscribe(channel)
            async for message in subscription.listen():
                yield message["data"].decode() if message["type"] == "message" else ""
        except (RedisError, OSError) as error:
            raise failure(error) from None
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]  # - the library's own lack of types

    async def info(self) -> dict[str, Any]:
        """Return what the server says of itself. Raises `Failure`."""
        try:
            return {**await self._redis.info("server"), **await self._redis.info("memory")}
        except (RedisError, OSError) as error:
            raise failure(error) from None

    async def reset(self) -> None:
        """Close all connections; the next command makes a new one, wherever the name leads by then."""
        await self._redis.connection_pool.disconnect()

    async def close(self) -> None:
        """Close all connections; a command that is under way closes its own."""
        self._closed = True
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
        if self._sentinel is not None:
            await self._sentinel.aclose()


def failure(error: Exception) -> Failure:
    """Return what an error of the library means, without its text."""
    cause: BaseException | None = error
    while cause is not None:
        for kind, phrase in _REASONS:
            if isinstance(cause, kind):
                return Failure(phrase)
        cause = cause.__cause__ or cause.__context__
    name, text = type(error).__name__, str(error)
    for word, phrase in _WORDS:
        if word in text:
            return Failure(phrase)
    return Failure("can't be reached" if "Connection" in name else f"it answered with an error ({name})")


def _open(url: str, options: dict[str, Any]) -> tuple[Redis, Sentinel | None]:
    parts = urlsplit(url)
    if parts.scheme not in SENTINEL:
        return Redis.from_url(url, **options), None
    # redis+sentinel://[user:password@]HOST[:PORT],HOST[:PORT]/SERVICE[/DATABASE]; rediss: TLS with all of them
    user, _, places = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not places:
        raise ValueError("names no service of Sentinel: redis+sentinel://HOST:26379,HOST:26379/SERVICE")
    scheme = parts.scheme.removesuffix("+sentinel")
    found: dict[str, Any] = {**parse_url(f"{scheme}://{user}@all/{database}?{parts.query}")}
    del found["host"]
    found["ssl"] = found.pop("connection_class", None) is not None
    options = found | options
    hosts = [(place.hostname, place.port or _SENTINEL_PORT) for place in _places(places)]
    asking = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    sentinel: Any = Sentinel(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]  # - as above
    if "password" in options:  # some want it too, and those that don't refuse who brings one
        asking |= {name: options[name] for name in ("username", "password") if name in options}
        sentinel.sentinels += Sentinel(hosts, sentinel_kwargs=asking).sentinels  # type: ignore[no-untyped-call]  # - as above
    return sentinel.master_for(service, **options), sentinel


def _places(places: str) -> list[SplitResult]:
    return [urlsplit(f"//{place}") for place in places.split(",")]
