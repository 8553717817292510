"""A proxy for tests: the real one, on a free port of loopback, with a log that can be read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from aiohttp.abc import AbstractResolver

from proxy.app import Outside, RunningProxy, running
from proxy.certificate import Authorities
from proxy.config import AdminConfig, Config, LoggingConfig, PacingConfig, ServerConfig, TokensConfig, UpstreamConfig
from proxy.guards.names import SystemNames
from proxy.platforms.platform import Credentials, Platform
from proxy.platforms.shop import Shop, Shops
from proxy.secret import Secret
from proxy.telemetry.logs import told
from tests.peers import Answer, Peer, RawClient, Script, answering, connected, serving, token_response

SECRET = "s3cret-of-the-shop"


def platform(token_port: int, api_port: int, **changes: Any) -> Platform:
    """A platform of one's own, whose endpoints are on loopback."""
    settings: dict[str, Any] = {
        "name": "test",
        "token_url": f"http://127.0.0.1:{token_port}/token",
        "api_url": f"http://127.0.0.1:{api_port}/api/",
        "allow_private": True,
    }
    return Platform(**(settings | changes))


def shop(key: str, of: Platform, *, secret: str = SECRET) -> Shop:
    return Shop(key, key, of, Credentials(f"{key}-id", Secret(secret)))


def authorities(file: Path) -> Authorities:
    """What `upstream.ca_file` holds when it names this file."""
    return Authorities(file, file.read_text())


def config(*shops: Shop, **changes: Any) -> Config:
    """A configuration with these shops; `changes` are whole sections."""
    sections: dict[str, Any] = {
        "server": ServerConfig(port=0, drain_timeout=1.0),
        "admin": AdminConfig(port=0),
        "upstream": UpstreamConfig(),
        "tokens": TokensConfig(),
        "pacing": PacingConfig(),
        "logging": LoggingConfig(),
        "shops": Shops({each.key: each for each in shops}),
        "platforms": {},
    }
    return Config(**(sections | changes))


@dataclass(slots=True)
class TestedProxy:
    """A running proxy and what it has logged."""

    __test__ = False

    running: RunningProxy
    outside: Outside
    events: list[dict[str, Any]] = field(default_factory=list)
    more_logged: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        return self.running.port

    async def until_logged(self, event: str, count: int = 1) -> None:
        """Wait until `event` has been logged so often."""
        while len(self.logged(event)) < count:
            self.more_logged.clear()
            await self.more_logged.wait()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.events if entry["event"] == event]


def said(event: Any) -> dict[str, Any]:
    """What the line of an event says, with what is told only when it is made."""
    fields = dict(event)
    if "summary" in fields:
        line, _ = fields.pop("summary").line("", "", event["event"])
        fields |= dict(list(told(line).items())[3:])  # behind what each line begins with
    return fields


@asynccontextmanager
async def proxying(settings: Config, *, resolver: AbstractResolver | None = None) -> AsyncIterator[TestedProxy]:
    """Run a proxy with these settings."""
    events: list[dict[str, Any]] = []
    more_logged = asyncio.Event()

    def keep(_: Any, __: str, event: Any) -> str:
        events.append(said(event))
        more_logged.set()
        raise structlog.DropEvent

    log = structlog.wrap_logger(
        None,
        processors=[structlog.processors.add_log_level, keep],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    outside = Outside(
        log=log,
        conceal=lambda *_: None,
        redact=lambda text: text.replace(SECRET, "[hidden]"),
        resolver=resolver or SystemNames(),
    )
    async with running(settings, outside) as proxy:
        yield TestedProxy(proxy, outside, events, more_logged)


@dataclass(slots=True)
class WholePath:
    """A proxy between a client and the two peers behind it."""

    proxy: TestedProxy
    api: Peer
    tokens: Peer
    stop: Callable[[], Awaitable[None]]  # ends the proxy while all else goes on

    def connect(self) -> AbstractAsyncContextManager[RawClient]:
        return connected(self.proxy.port)

    async def ask(self, data: bytes) -> Answer:
        """Send one request over a connection of its own."""
        async with self.connect() as client:
            return await client.ask(data)


@asynccontextmanager
async def whole_path(
    api: Script,
    *,
    tokens: Script | None = None,
    of: dict[str, Any] | None = None,
    timeouts: TokensConfig | None = None,
    batch: bool = False,
    **sections: Any,
) -> AsyncIterator[WholePath]:
    """Run a proxy for the shop `demo`, whose API does `api`; `of` changes its platform, `timeouts` is `[tokens]`.

    With `batch`, its calls may go together. What hangs fails the test after a while.
    """
    if timeouts is not None:
        sections["tokens"] = timeouts
    async with (
        asyncio.timeout(60),
        serving(tokens or answering(token_response())) as token_peer,
        serving(api) as api_peer,
        AsyncExitStack() as stack,
    ):
        demo = shop("demo", platform(token_peer.port, api_peer.port, **(of or {})))
        settings = config(replace(demo, batch=batch), **sections)
        proxy = await stack.enter_async_context(proxying(settings))
        yield WholePath(proxy, api_peer, token_peer, stack.aclose)
