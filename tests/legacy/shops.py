"""A Shoprenter with its own host names and TLS on loopback, and the proxy in front of it.

The simulator is reached as the real platform is, by `https://demo.api2.myshoprenter.hu/api/` and no port: its links
are those of the platform byte for byte, and a proxy that takes them for something else is found out.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trustme
from aiohttp.abc import ResolveResult

from proxy.config import ClientConfig, UpstreamConfig
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.simulator import ShoprenterSimulator
from proxy.simulator.server import SimulatedClient
from tests.names import Names
from tests.proxies import SECRET, TestedProxy, authorities, config, proxying, shop

TOKEN_HOST = "oauth.app.shoprenter.net"
API_HOST = "demo.api2.myshoprenter.hu"
OLD_HOST = "demo.api.myshoprenter.hu"
API_URL = "https://{shop}.api2.myshoprenter.hu/api/"
OLD_API_URL = "https://{shop}.api.myshoprenter.hu/"

AUTHORITY = trustme.CA()


class AtPort(Names):
    """Names that lead to another port than the URL says."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1")
        self._port = port

    async def resolve(self, *args: object, **kwargs: object) -> list[ResolveResult]:
        results = await super().resolve(*args, **kwargs)  # type: ignore[arg-type]
        return [ResolveResult({**result, "port": self._port}) for result in results]


@dataclass(frozen=True, slots=True)
class LegacyShop:
    """The shop `demo`: the proxy that old applications call, the platform behind it, and who was looked for."""

    proxy: TestedProxy
    platform: ShoprenterSimulator
    names: AtPort


@asynccontextmanager
async def legacy_shop(
    folder: Path,
    *,
    links: str = API_URL,
    compress: bool = False,
    products: int = 120,
    scopes: frozenset[str] | None = None,
    clients: Mapping[str, ClientConfig] | None = None,
) -> AsyncIterator[LegacyShop]:
    """Run the platform, whose links are made from the template `links`, and the proxy; `folder` takes a file.

    The proxy's token has these `scopes` there, or all. `clients` are who may call the proxy; without, everybody. What
    hangs fails the test after a while.
    """
    ca_file = folder / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(TOKEN_HOST, API_HOST).configure_cert(tls)
    simulator = ShoprenterSimulator(
        clients={"demo-id": SimulatedClient(SECRET, scopes=scopes)},
        rate_limit=None,
        products=products,
        public_api_url=links,
        compress=compress,
        ssl_context=tls,
    )
    of = replace(SHOPRENTER, allow_private=True, rate_limit=None)
    upstream = UpstreamConfig(ca_file=authorities(ca_file))
    settings = config(shop("demo", of), upstream=upstream, clients=clients or {})
    async with asyncio.timeout(60), simulator:
        names = AtPort(simulator.port)
        async with proxying(settings, resolver=names) as proxy:
            yield LegacyShop(proxy, simulator, names)


def assert_signed_in_with_one_token(site: LegacyShop) -> None:
    """The platform has issued one token, and has seen it in each call; as `assert_signed_in_with_tokens`."""
    assert_signed_in_with_tokens(site, 1)


def assert_signed_in_with_tokens(site: LegacyShop, issued: int) -> None:
    """The platform has issued so many tokens, and has seen nothing else that an application signs in with.

    Nothing but the token endpoint and the API was called.
    """
    calls = list(site.platform.api_requests)
    authorizations = {tuple(call.header_values("Authorization")) for call in calls}
    assert len(authorizations) == issued
    assert all(len(values) == 1 and values[0].startswith(b"Bearer ") for values in authorizations)
    assert site.platform.counts.tokens_issued == issued
    assert site.platform.counts.refused_tokens == 0
    assert {tuple(call.header_values("Host")) for call in calls} == {(API_HOST.encode(),)}
    assert {host for host, _, _ in site.names.asked} == {TOKEN_HOST, API_HOST}
