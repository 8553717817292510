"""The library's client: how it is made, and what it raises, in our own words.

Rules: the library tries nothing twice and waits for nothing by itself: a repeated booking books twice, and its own
defaults are 5 s and ten tries. It looks up no names: a silent name server would fill the threads of the event loop,
through which all connections go. What it raises may quote what was sent, so that only the kind of it is told; that may
be anything, since connections are closed while they are in use. docs/scaling.md says why it is this library.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from proxy.shared.scripts import Script

_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT: Final = 26379
_NO_REDIS: Final = "what answers there is not Redis"
_LONGEST_SUBSCRIBING: Final = 5.0  # seconds
_LONGEST_CLOSING: Final = 1.0  # seconds; TLS waits for the other side to say that it has closed too
_FAILED_KEPT: Final = 20  # addresses
_REASONS: Final = (
    (MasterNotFoundError, "no Sentinel knows its primary"),
    (AuthenticationError, "it needs a password, or a different password"),
    (NoPermissionError, "the user is not allowed to do that"),
    (ReadOnlyError, "it is a read-only replica"),
    (BusyLoadingError, "it is loading its data"),
    (MovedError, "it is a Redis Cluster"),
    (ClusterCrossSlotError, "it is a Redis Cluster"),
    (InvalidResponse, _NO_REDIS),
    (OutOfMemoryError, "its memory is full"),
    (TimeoutError, "no answer in time"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (PermissionError, "its socket can't be opened (permission denied)"),
    (socket.gaierror, "can't be reached: its name can't be resolved"),
    (OSError, "can't be reached"),
)
# Of errors inside a script, older servers tell the kind in the text alone; of others the library knows none.
_WORDS: Final = (
    ("READONLY", "it is a read-only replica"),
    ("OOM", "its memory is full"),
    ("user executing the script", "the user is not allowed to do that"),
    ("ACL failure", "the user is not allowed to do that"),
    ("DB index", "it has no database with that number"),
    ("BUSY", "it is busy with a script"),
    ("MISCONF", "it accepts no writes because it can't save its data (MISCONF)"),
    ("NOREPLICAS", "it accepts no writes because too few of its own replicas are connected (NOREPLICAS)"),
    ("MASTERDOWN", "it is a replica without its primary"),
    ("max number of clients", "it accepts no more connections (maxclients)"),
)

Argument = str | bytes | int
Resolve = Callable[[str], Awaitable[Sequence[str]]]  # returns the addresses of a host; raises `OSError`


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
    """Speaks with Redis or Valkey. `resolve` finds the addresses of names. Raises `ValueError` for a URL to nowhere."""

    def __init__(self, url: str, password: str | None = None, resolve: Resolve | None = None) -> None:
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
        for each in (self._redis, *(self._sentinel.sentinels if self._sentinel is not None else ())):
            pool = each.connection_pool
            pool.connection_class = _kept_well(pool.connection_class, lambda: self._closed, resolve)
        self._command: Callable[..., Awaitable[list[Any]]] = self._redis.execute_command

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        """Return what a script answers. Raises `Failure`."""
        said: Any
        try:
            try:
                said = await self._command("EVALSHA", script.digest, len(keys), *keys, *arguments)
            except NoScriptError:  # so that nothing was done
                said = await self._command("EVAL", script.text, len(keys), *keys, *arguments)
        except Exception as error:
            raise failure(error) from None
        if not (isinstance(said, list) and said and isinstance(said[0], int)):
            raise Failure(_NO_REDIS)
        return said

    async def listen(self, channel: str) -> AsyncGenerator[str]:
        """Yield "" as soon as it listens, then what is said on a channel. Raises `Failure`."""
        subscription = self._redis.pubsub()
        try:
            async with asyncio.timeout(_LONGEST_SUBSCRIBING):
                await subscription.subscribe(channel)
            async for message in subscription.listen():
                yield message["data"].decode() if message["type"] == "message" else ""
        except Exception as error:
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
        with suppress(RedisError, OSError):
            await self._redis.connection_pool.disconnect()

    async def close(self) -> None:
        """Close all connections, without waiting for long; whoever is connecting just then fails."""
        self._closed = True
        with suppress(RedisError, OSError):
            async with asyncio.timeout(_LONGEST_CLOSING):
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
    if parts.scheme not in _SENTINEL:
        return Redis.from_url(url, **options), None
    # redis+sentinel://[user:password@]HOST[:PORT],HOST[:PORT]/SERVICE[/DATABASE]; rediss: TLS with all of them
    user, _, places = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not places:
        raise ValueError("does not name the service of Sentinel: redis+sentinel://HOST:26379,HOST:26379/SERVICE")
    scheme = parts.scheme.removesuffix("+sentinel")
    found: dict[str, Any] = {**parse_url(f"{scheme}://{user}@all/{database}?{parts.query}")}
    del found["host"]
    found["ssl"] = found.pop("connection_class", None) is not None
    options = found | options
    hosts = [(place.hostname, place.port or _SENTINEL_PORT) for place in _places(places)]
    asking = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    sentinel: Any = _Sentinels(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]  # - as above
    if "password" in options:  # some want it too, and those that don't refuse who brings one
        asking |= {name: options[name] for name in ("username", "password") if name in options}
        sentinel.sentinels += Sentinel(hosts, sentinel_kwargs=asking).sentinels  # type: ignore[no-untyped-call]  # - as above
    return sentinel.master_for(service, **options), sentinel


class _Sentinels(Sentinel):
    """Asks another one first after one that failed, or did not answer in time: the rest would never be asked."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        first = self.sentinels[0]
        try:
            found: tuple[str, int] = await super().discover_master(service_name)
            return found
        except BaseException:  # a time-out cancels
            if self.sentinels[0] is first:
                self.sentinels.append(self.sentinels.pop(0))
            raise


class _Tidy:
    """Before the library's connection: left in the middle, or made when all is `closed`, it is closed, not kept."""

    closed: Callable[[], bool]

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        connection = cast("Any", super())
        try:
            await connection.connect_check_health(*arguments, **options)
            if self.closed():
                raise RedisConnectionError
        except BaseException:
            await connection.disconnect(nowait=True)
            raise


class _Finding:
    """Before the library's connection: connects to the addresses that `resolve` finds, one after the other.

    Those that `failed`, or hung until the deadline, come last: else nobody would get beyond one that hangs.
    """

    resolve: Resolve
    failed: list[str]
    host: str
    _address: str

    async def _connect(self) -> None:
        connect: Callable[[], Awaitable[None]] = super()._connect  # type: ignore[misc]  # - the library's is next in line
        failed = self.failed
        addresses = await self.resolve(self.host)
        addresses = sorted(addresses, key=lambda each: failed.index(each) if each in failed else -1)
        for self._address in addresses:
            failed[:] = [*(each for each in failed[-_FAILED_KEPT:] if each != self._address), self._address]
            try:
                await connect()
                failed[:] = [each for each in failed if each != self._address]
                break
            except OSError:
                if self._address is addresses[-1]:
                    raise

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = {**super()._connection_arguments(), "host": self._address}  # type: ignore[misc]  # - as above
        return arguments | ({"server_hostname": self.host} if "ssl" in arguments else {})


def _kept_well(
    kind: type[AbstractConnection], closed: Callable[[], bool], resolve: Resolve | None
) -> type[AbstractConnection]:
    attributes: dict[str, Any] = {"closed": staticmethod(closed)}
    before: tuple[type, ...] = (_Tidy,)
    if resolve is not None and issubclass(kind, Connection):  # not of a Unix socket
        attributes |= {"resolve": staticmethod(resolve), "failed": []}
        before = (_Tidy, _Finding)
    return cast("type[AbstractConnection]", type(kind.__name__, (*before, kind), attributes))


def _places(places: str) -> list[SplitResult]:
    return [urlsplit(f"//{place}") for place in places.split(",")]
