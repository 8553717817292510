"""`demo`: simulated Shoprenter and Toss Shopping with the proxy in front of them, to try without an account."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final, NamedTuple

import aiohttp

from proxy.app import Outside, StartError, running
from proxy.app.addresses import url_of
from proxy.commands.common import complain, concealer, redactor_for
from proxy.config import AdminConfig, Config, LoggingConfig, PacingConfig, ServerConfig, TokensConfig, UpstreamConfig
from proxy.platforms.platform import Credentials, Platform
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret
from proxy.simulator import ShoprenterSimulator, SimulatedClient, TossSimulator
from proxy.telemetry.logs import make_logger, route_library_logs, wants_color
from proxy.telemetry.writing import LogWriter

_READER: Final = Credentials("demo-reader", Secret("reader-secret-of-the-demo"))
_WRITER: Final = Credentials("demo-writer", Secret("writer-secret-of-the-demo"))
_SELLER: Final = Credentials("demo-seller", Secret("seller-secret-of-the-demo"))


class Call(NamedTuple):
    """A call for the user to try, and what it shows."""

    purpose: str
    path: str
    headers: tuple[str, ...] = ()
    method: str = "GET"
    body: str = ""

    def as_curl(self, base: str) -> str:
        """Return the call as a command line; the URL is quoted for the shell."""
        words = ["curl", "-i"]
        if self.method != "GET":
            words += ["-X", self.method]
        words += [f"-H '{header}'" for header in self.headers]
        if self.body:
            words.append(f"-d '{self.body}'")
        return " ".join([*words, f"'{base}{self.path}'"])


_JSON: Final = "Accept: application/json"
_CALLS: Final = (
    Call(
        "A page of products, without a token, as XML (what Shoprenter sends unless asked for JSON)",
        "/demo/products?limit=2",
    ),
    Call(
        "The same as JSON; an old user name and password do no harm",
        "/demo/products?limit=2",
        (_JSON, "Authorization: Basic b2xkLXVzZXI6b2xkLXBhc3N3b3Jk"),
    ),
    Call(
        "A new product",
        "/demo/products",
        (_JSON, "Content-Type: application/json"),
        "POST",
        '{"sku":"from-the-demo","price":"990"}',
    ),
    Call(
        "Something the API client may not do: the platform's own 401 comes through",
        "/reader/products/1",
        (_JSON,),
        "DELETE",
    ),
    Call("Toss Shopping", "/seoul/api/v3/shopping-fep/orders/v2?size=1"),
    Call("A shop that is not configured: the proxy's own answer", "/nobody/products"),
)


async def demo(host: str | None, port: int | None, *, once: bool) -> int:
    """Start it all and tell what to try; with `once` try it, and end.

    With a `host`, the status page is there too, at its usual port: a container has to name the ports that it opens.
    """
    if port is None:
        port = 0 if once else 8080
    server = ServerConfig(host="127.0.0.1" if host is None else host, port=port, allow_anonymous=True)
    admin = AdminConfig(host=server.host, port=0 if host is None or once else AdminConfig().port)
    try:
        async with _demo_proxy(server, admin, verbose=not once) as (base, status):
            if once:
                await _make_calls(base)
            else:
                await _wait(base, status)
    except StartError as error:
        of_port = str(error).startswith("server.")
        why, way_out = str(error), "To use another port: shop-auth-proxy demo --port 8081"
        if not of_port:  # which only the configuration could change
            why, way_out = why.partition("; choose")[0], "Without --host, the status page takes any free port."
        complain(f"{why}\n{way_out}")
        return 2
    return 0


@asynccontextmanager
async def _demo_proxy(server: ServerConfig, admin: AdminConfig, *, verbose: bool) -> AsyncIterator[tuple[str, str]]:
    """Run it all; provide the proxy's address and that of its status page."""
    shoprenter_clients = {
        _WRITER.client_id: SimulatedClient(_WRITER.client_secret.reveal(), shops=frozenset({"demo"})),
        _READER.client_id: SimulatedClient(
            _READER.client_secret.reveal(), shops=frozenset({"reader"}), scopes=frozenset({"product:read"})
        ),
    }
    toss_clients = {_SELLER.client_id: SimulatedClient(_SELLER.client_secret.reveal())}
    async with (
        ShoprenterSimulator(clients=shoprenter_clients) as shoprenter,
        TossSimulator(clients=toss_clients) as toss,
    ):
        shoprenter_here, toss_here = _moved(SHOPRENTER, shoprenter), _moved(TOSS_SHOPPING, toss)
        config = _config(
            server,
            admin,
            Shop("demo", "demo", shoprenter_here, _WRITER),
            Shop("reader", "reader", shoprenter_here, _READER),
            Shop("seoul", "seoul", toss_here, _SELLER),
        )
        redactor = redactor_for(config)
        with ExitStack() as stack:
            writer = stack.enter_context(LogWriter(sys.stdout))
            log = make_logger(
                log_format="console",
                level="info" if verbose else "error",
                redactor=redactor,
                writer=writer,
                color=wants_color(sys.stdout, os.environ),
            )
            stack.callback(route_library_logs(log, level="warning"))
            outside = Outside(log, conceal=concealer(redactor, log), redact=redactor.text, log_metrics=writer.metrics)
            async with running(config, outside) as proxy:
                assert proxy.admin is not None  # noqa: S101 - for the type checker
                yield _base(server.host, proxy.port), f"{_base(admin.host, proxy.admin[1])}/status"


def _moved(platform: Platform, simulator: ShoprenterSimulator | TossSimulator) -> Platform:
    """Return the platform as it would be if it stood where its simulator is."""
    return replace(platform, token_url=simulator.token_url, api_url=simulator.api_url, allow_private=True)


def _base(host: str, port: int) -> str:
    return f"http://{host}:{port}" if host == "127.0.0.1" else url_of(host, port).removesuffix("/")


def _config(server: ServerConfig, admin: AdminConfig, *shops: Shop) -> Config:
    platforms: dict[str, Platform] = {shop.platform.name: shop.platform for shop in shops}
    return Config(
        server=server,
        admin=admin,
        upstream=UpstreamConfig(),
        tokens=TokensConfig(),
        pacing=PacingConfig(),
        logging=LoggingConfig(),
        shops=Shops({shop.key: shop for shop in shops}),
        platforms=platforms,
    )


async def _wait(base: str, status: str) -> None:
    """Tell what to try, and wait for Ctrl-C."""
    parts = [
        f"Simulated Shoprenter and Toss Shopping, with the proxy in front of them: {base}\nStatus of the shops:"
        f" {status}",
        "Try these in another terminal; each call shows up below. Ctrl-C ends the demo.",
        *(f"# {call.purpose}\n{call.as_curl(base)}" for call in _CALLS),
    ]
    # In one piece: `print` writes a line and its end apart where stdout has no buffer, and the log comes in between.
    sys.stdout.write("\n\n".join(parts) + "\n\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def _make_calls(base: str) -> None:
    """Make each call, and show what was sent and what came back."""
    async with aiohttp.ClientSession() as session:
        for call in _CALLS:
            headers = dict(header.split(": ", 1) for header in call.headers)
            async with session.request(
                call.method, base + call.path, headers=headers, data=call.body or None
            ) as answer:
                text = await answer.text()
            result = f"  {answer.status} {answer.reason}  {_shortened(text)}"
            sys.stdout.write(f"# {call.purpose}\n{call.as_curl(base)}\n{result}\n\n")


def _shortened(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length] + " …"
