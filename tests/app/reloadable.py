"""A proxy that reads its configuration from real files, and reads them anew."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from proxy.app.reloading import Reloader
from proxy.config import Config, load_config
from tests.peers import Answer, Connection, Peer, answering, connected, request, response, serving
from tests.peers import token_response as granted
from tests.proxies import TestedProxy as Proxy
from tests.proxies import proxying

REFUSED = response(
    b'{"error":"invalid_client"}', status=b"401 Unauthorized", fields=b"Content-Type: application/json\r\n"
)


async def token_endpoint(connection: Connection) -> None:
    """Grant a token that names the secret; refuse one that is called wrong."""
    while (received := await connection.read_request()) is not None:
        secret = parse_qs(received.body.decode())["client_secret"][0]
        await connection.send(REFUSED if "wrong" in secret else granted(f"token-for-{secret}"))


@dataclass(slots=True)
class Files:
    """The files of a configuration, in a folder of their own; `tokens` and `api` are what the platform's URLs are."""

    folder: Path
    tokens: str
    api: str

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def configure(self, *tables: str, server: str = "", platform: str = "") -> None:
        """Write a configuration with these tables, or else with the shop `demo`, whose secret is in `secret`."""
        self.put(
            "config.toml",
            f"[server]\nport = 0\ndrain_timeout = 1.0\n{server}\n[admin]\nport = 0\n"
            f'[platforms.mine]\ntoken_url = "{self.tokens}"\napi_url = "{self.api}"\nallow_private = true\n'
            f"{platform}\n" + "\n".join(tables or [shop("demo")]),
        )

    def put(self, name: str, content: str) -> Path:
        """Write a file at one go: whoever looks at it meanwhile sees what it was before."""
        path, new = self.folder / name, self.folder / "new"
        new.write_text(content)
        new.replace(path.resolve())
        return path


def shop(key: str, *, secret: str = '{ file = "secret" }', more: str = "") -> str:
    client_id = key.strip('"')
    return f'[shops.{key}]\nplatform = "mine"\nclient_id = "{client_id}"\nclient_secret = {secret}\n{more}\n'


def client(name: str, secret: str) -> str:
    return f'[clients.{name}]\nsecret = "{secret}"\n'


@dataclass(slots=True)
class Reloadable:
    """A running proxy, its files, and what is behind it."""

    proxy: Proxy
    files: Files
    tokens: Peer
    api: Peer
    load: Callable[[], Config]
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    learned: list[Config] = field(default_factory=list)
    seen: int = 0

    async def reloaded(self) -> dict[str, Any]:
        """Wait until the configuration is taken, or not, once more; return what the log says of it."""
        while len(told := self._told()) <= self.seen:
            self.proxy.more_logged.clear()
            await self.proxy.more_logged.wait()
        self.seen += 1
        return told[self.seen - 1]

    async def ask(self, target: str = "/demo/x", *, fields: bytes = b"") -> Answer:
        """Send a request over a connection of its own."""
        async with connected(self.proxy.port) as connection:
            return await connection.ask(request(target=target.encode(), fields=fields))

    async def statuses(self, *targets: str) -> list[int]:
        return [(await self.ask(target)).status for target in targets]

    @property
    def tokens_seen(self) -> list[bytes]:
        """What the API was shown."""
        return [each.values(b"Authorization")[0] for each in self.api.received]

    def _told(self) -> list[dict[str, Any]]:
        return [
            event
            for event in self.proxy.events
            if event["event"] in ("configuration.reloaded", "configuration.not_reloaded")
        ]


@asynccontextmanager
async def reloadable(
    folder: Path,
    configure: Callable[[Files], None] = Files.configure,
    *,
    tls: ssl.SSLContext | None = None,
    **looking: Any,
) -> AsyncIterator[Reloadable]:
    """Run a proxy that looks at its files all the time; `tls` is the platform's, `looking` goes to `keep_fresh`."""
    async with (
        asyncio.timeout(60),
        serving(token_endpoint, tls) as tokens,
        serving(answering(response()), tls) as peer,
    ):
        scheme = "http" if tls is None else "https"
        files = Files(folder, f"{scheme}://127.0.0.1:{tokens.port}/token", f"{scheme}://127.0.0.1:{peer.port}/api/")
        files.put("secret", "first")
        configure(files)
        load = partial(load_config, files.config, {})
        async with proxying(load()) as proxy, asyncio.TaskGroup() as tasks:
            here = Reloadable(proxy, files, tokens, peer, load)
            load_as_set = lambda: here.load()  # noqa: E731, PLW0108 - a test may set another one
            reloader = Reloader(proxy.running, proxy.outside, load_as_set, here.learned.append, asked=here.asked)
            task = tasks.create_task(reloader.keep_fresh(**{"every": 0.01, **looking}))
            yield here
            task.cancel()
