"""Platform hosts that were made to lead to this machine are found, and what is to be removed is named."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult

from proxy.guards.aliases import HostOfPlatform, hosts_of_platforms, leading_here
from proxy.guards.names import SystemNames
from proxy.platforms.platform import Credentials, Platform
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret
from tests.names import Names

APP = Credentials("id", Secret("s3cret"))
API = HostOfPlatform("demo.api.example", 443, allow_private=False)
OWN = HostOfPlatform("demo.api.example", 8080, allow_private=True)
PUBLIC = "93.184.215.14"


@pytest.fixture
def hosts_file(tmp_path: Path) -> Path:
    return tmp_path / "hosts"


def own_address() -> str:
    """The address that this machine has in a network, or another one of loopback if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))  # sends nothing
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


async def found(
    *hosts: HostOfPlatform, names: Names, hosts_file: Path, host: str = "0.0.0.0", port: int = 8080
) -> list[str]:
    return await leading_here(hosts, names, listener=(host, port), within=10.0, hosts_file=hosts_file)


# Which hosts are called


def test_each_host_that_the_shops_need_is_listed_once() -> None:
    shops = [Shop(key, name, SHOPRENTER, APP) for key, name in (("demo", "demo"), ("main", "demo"), ("b", "b"))]
    shops.append(Shop("seoul", "seoul", TOSS_SHOPPING, APP))

    assert hosts_of_platforms(Shops({shop.key: shop for shop in shops})) == [
        HostOfPlatform("demo.api2.myshoprenter.hu", 443, allow_private=False),
        HostOfPlatform("oauth.app.shoprenter.net", 443, allow_private=False),
        HostOfPlatform("b.api2.myshoprenter.hu", 443, allow_private=False),
        HostOfPlatform("shopping-fep.toss.im", 443, allow_private=False),
        HostOfPlatform("oauth2.cert.toss.im", 443, allow_private=False),
    ]


async def test_of_the_wildcards_shops_those_are_found_that_stand_in_the_hosts_file(hosts_file: Path) -> None:
    hosts_file.write_text("127.0.0.1 app OLD.api.myshoprenter.hu a.b.api2.myshoprenter.hu New.api2.myshoprenter.hu.\n")
    names = Names(PUBLIC, others={"new.api2.myshoprenter.hu": "127.0.0.1"})

    [sentence] = await found(*hosts_of_platforms(Shops({}, (SHOPRENTER, APP))), names=names, hosts_file=hosts_file)

    assert sentence.startswith("new.api2.myshoprenter.hu resolves to 127.0.0.1, ")
    assert f"from line 1 of {hosts_file}" in sentence
    assert sorted(host for host, _, _ in names.asked) == ["new.api2.myshoprenter.hu", "oauth.app.shoprenter.net"]


def test_addresses_are_none_and_names_are_listed_with_their_port_in_lower_case() -> None:
    platform = Platform(
        name="mine",
        token_url="http://Auth.Example:8081/token?a=b",
        api_url="http://[::1]:8080/",
        hosts=("old.example",),
        allow_private=True,
    )
    shops = Shops({"demo": Shop("demo", "demo", platform, APP)})

    assert hosts_of_platforms(shops) == [HostOfPlatform("auth.example", 8081, allow_private=True)]


# Where they lead


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", own_address()]
)
@pytest.mark.parametrize("host", [API, OWN])
async def test_an_address_of_this_machine_is_found(host: HostOfPlatform, address: str, hosts_file: Path) -> None:
    [sentence] = await found(host, names=Names(address), hosts_file=hosts_file)

    assert sentence == (
        f"demo.api.example resolves to {address}, which is this machine, so the proxy's own calls would come back"
        " to it: remove it from the hosts file, the pod's hostAliases or the DNS server. Only the old host names of"
        " the platform may lead here."
    )


@pytest.mark.parametrize("address", [PUBLIC, "10.255.255.254", "2606:4700::1111", "fe80::1%lo"])
@pytest.mark.parametrize("host", [API, OWN])
async def test_an_address_elsewhere_is_none(host: HostOfPlatform, address: str, hosts_file: Path) -> None:
    assert await found(host, names=Names(address), hosts_file=hosts_file) == []


async def test_one_address_of_several_is_enough(hosts_file: Path) -> None:
    [sentence] = await found(API, names=Names(PUBLIC, "127.0.0.1", "::1"), hosts_file=hosts_file)

    assert sentence.startswith("demo.api.example resolves to 127.0.0.1, ")


async def test_a_platform_that_may_be_on_this_machine_is_no_harm_elsewhere_on_it(hosts_file: Path) -> None:
    assert await found(OWN, names=Names("127.0.0.1"), hosts_file=hosts_file, port=8081) == []
    assert await found(OWN, names=Names("127.0.0.2"), hosts_file=hosts_file, host="127.0.0.1") == []
    assert len(await found(OWN, names=Names("127.0.0.1"), hosts_file=hosts_file, host="127.0.0.1")) == 1
    assert len(await found(API, names=Names("127.0.0.1"), hosts_file=hosts_file, port=8081)) == 1


async def test_each_host_is_told_once_in_order(hosts_file: Path) -> None:
    b = HostOfPlatform("b.example", 443, allow_private=False)
    hosts = (b, API, b._replace(port=80), b._replace(port=8080, allow_private=True))

    sentences = await found(*hosts, names=Names("127.0.0.1", others={"c.example": PUBLIC}), hosts_file=hosts_file)

    assert [sentence.split()[0] for sentence in sentences] == ["b.example", "demo.api.example"]


# What is to be removed


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            "# demo.api.example\n127.0.0.1\tlocalhost\n\n127.0.0.1  demo.old.example demo.api.example # mine\n",
            'line 4 of FILE, "127.0.0.1 demo.old.example demo.api.example # mine"',
        ),
        ("127.0.0.1 DEMO.API.Example", 'line 1 of FILE, "127.0.0.1 DEMO.API.Example"'),
        (f"{PUBLIC} demo.api.example\n127.0.0.1 demo.api.example\n", 'line 2 of FILE, "127.0.0.1 demo.api.example"'),
        ("127.1 demo.api.example\n", 'line 1 of FILE, "127.1 demo.api.example"'),
        ("127.0.0.1 other\xff\r\n127.0.0.1 demo.api.example\r\n", 'line 2 of FILE, "127.0.0.1 demo.api.example"'),
    ],
)
async def test_the_line_that_leads_here_is_named(text: str, place: str, hosts_file: Path) -> None:
    hosts_file.write_bytes(text.encode("latin-1"))

    [sentence] = await found(API, names=Names("127.0.0.1"), hosts_file=hosts_file)

    assert f": remove it from {place.replace('FILE', str(hosts_file))} (in Kubernetes: " in sentence
    assert "from the hostAliases of the pod)" in sentence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo.api.example",
        "127.0.0.1 api.example xdemo.api.example demo.api.example.hu",
        "#127.0.0.1 demo.api.example",
    ],
)
async def test_where_no_line_names_the_host_all_places_are_told(text: str, hosts_file: Path) -> None:
    hosts_file.write_text(text)

    [sentence] = await found(API, names=Names("127.0.0.1"), hosts_file=hosts_file)

    assert ": remove it from the hosts file, the pod's hostAliases or the DNS server. " in sentence


# When names can't be resolved


class UnknownNames(Names):
    """A DNS server that knows only a few names."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self.others:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await super().resolve(host, port, family)


async def test_a_name_that_is_unknown_is_no_finding(hosts_file: Path) -> None:
    names = UnknownNames(others={"demo.api.example": "127.0.0.1"})

    sentences = await found(API._replace(host="unknown.example"), API, names=names, hosts_file=hosts_file)

    assert [sentence.split()[0] for sentence in sentences] == ["demo.api.example"]


@pytest.mark.parametrize("host", [f"shop-{'a' * 63}.example.com", "a..example.com"])
async def test_a_name_that_the_systems_resolver_does_not_take_is_no_finding(host: str, hosts_file: Path) -> None:
    hosts = [API._replace(host=host), API._replace(host="localhost")]
    resolver = SystemNames()

    sentences = await leading_here(hosts, resolver, listener=("127.0.0.1", 8080), within=10.0, hosts_file=hosts_file)

    assert [sentence.split()[0] for sentence in sentences] == ["localhost"]


class SilentNames(Names):
    """A DNS server that does not answer, beside a hosts file."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self.others:
            self.asked.append((host, port, family))
            await asyncio.Event().wait()
        return await super().resolve(host, port, family)


async def test_a_silent_dns_server_hides_no_line_of_the_hosts_file(hosts_file: Path) -> None:
    hosts_file.write_text("127.0.0.1 demo.api.example\n")
    others = [HostOfPlatform(f"{number}.example", 443, allow_private=False) for number in range(9)]
    names = SilentNames(others={"demo.api.example": "127.0.0.1"})

    sentences = await leading_here(
        [*others, API], names, listener=("127.0.0.1", 8080), within=0.05, hosts_file=hosts_file
    )

    assert [sentence.split()[0] for sentence in sentences] == ["demo.api.example"]
    assert len([host for host, _, _ in names.asked if host != "demo.api.example"]) == 4  # at once
