"""What clients address, and the base that links get by it: over whole paths."""

import asyncio
import json
import socket
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config import ServerConfig
from proxy.forwarding.addressing import Addressing
from proxy.forwarding.fields import Hop, request_fields
from proxy.forwarding.target import parse_target
from proxy.wire.head import Head
from proxy.wire.request import ClientRequest
from tests.peers import Answer, Peer, RawClient, answering, response, serving, token_response
from tests.proxies import WholePath, config, platform, proxying, shop, whole_path

OLD = "demo.old.example.com"
OF: dict[str, Any] = {"hosts": ("{shop}.old.example.com",), "rewrite_links": True}
LINK = b"https://demo.old.example.com/products"
LINKING = answering(
    response(b'{"href":"%s"}' % LINK, fields=b"Content-Type: application/json\r\nLocation: %s\r\n" % LINK)
)
LOOPBACK = (ip_network("127.0.0.0/8"),)


def server(**changes: Any) -> ServerConfig:
    return ServerConfig(**({"port": 0, "drain_timeout": 1.0} | changes))


def get(target: str, host: str | None = "proxy", *, fields: str = "", version: str = "1.1") -> bytes:
    lines = [f"GET {target} HTTP/{version}", *([] if host is None else [f"Host: {host}"]), *fields.splitlines(), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upstream_targets(api: Peer) -> list[bytes]:
    return [received.request_line.split(b" ")[1] for received in api.received]


def base_of(answer: Answer) -> str:
    """The base of the links in an answer; its body and its Location have the same one."""
    assert answer.status == 200, answer.body
    [location] = answer.values(b"Location")
    assert json.loads(answer.body) == {"href": location.decode()}
    return location.decode().removesuffix("/products")


def refused(answer: Answer) -> str:
    assert answer.status == 400
    document = json.loads(answer.body)
    assert document["code"] == "bad_target"
    return str(document["detail"])


def written(text: str, path: WholePath) -> str:
    """`text` with the port that the proxy listens on."""
    return text.replace("PORT", str(path.proxy.port))


# By path


async def test_what_is_remembered_of_hosts_that_stand_for_no_shop_is_bounded() -> None:
    async with whole_path(answering(response()), of=OF) as path:
        addressing = path.proxy.running.forwarder.site.addressing
        async with path.connect() as client:
            for host in ("proxy", "x" * 255, "x" * 256, "x" * 5000):
                assert (await client.ask(get("/demo/x", host))).status == 200
            assert addressing._of_no_shop == {b"proxy", b"x" * 255}
        for start in range(0, 1200, 400):
            async with path.connect() as client:
                for number in range(start, start + 400):
                    await client.ask(get("/nobody/x", f"host-{number}"))

    assert 0 < len(addressing._of_no_shop) <= 1000


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("proxy", "http://proxy/demo"),
        ("proxy:8080", "http://proxy:8080/demo"),
        ("Proxy:80", "http://proxy/demo"),
        ("proxy:443", "http://proxy:443/demo"),
        ("proxy.ns.svc.cluster.local.", "http://proxy.ns.svc.cluster.local/demo"),
        ("proxy.:8080", "http://proxy:8080/demo"),
        ("proxy:", "http://proxy/demo"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080/demo"),
        ("[::1]:8080", "http://[::1]:8080/demo"),
        ("[::1]", "http://[::1]/demo"),
        ("xdemo.old.example.com", "http://xdemo.old.example.com/demo"),
        ("other.old.example.com", "http://other.old.example.com/demo"),
    ],
)
async def test_the_base_is_the_host_that_the_client_used_with_the_shop(host: str, base: str) -> None:
    async with whole_path(LINKING, of=OF) as path:
        answer = await path.ask(get("/demo/products?full=1", host))

        assert base_of(answer) == base
        assert upstream_targets(path.api) == [b"/api/products?full=1"]


NO_BASES = ["a%41", "a=b", "a,b", "proxy:99999", "a" * 254, "...", ":80", "proxy.."]


async def test_where_the_host_can_not_be_a_base_the_request_passes_and_nothing_is_rewritten() -> None:
    async with whole_path(LINKING, of=OF) as path:
        for host in NO_BASES:
            assert base_of(await path.ask(get("/demo/products", host))) == "https://demo.old.example.com", host
        assert upstream_targets(path.api) == [b"/api/products"] * len(NO_BASES)


@pytest.mark.parametrize(
    "sent",
    [
        get("/demo/products", None, version="1.0"),
        get("/demo/products", "", version="1.0"),
        get("/demo/products", ""),
    ],
)
async def test_without_a_host_the_base_is_the_address_that_the_client_connected_to(sent: bytes) -> None:
    async with whole_path(LINKING, of=OF) as path:
        assert base_of(await path.ask(sent)) == f"http://127.0.0.1:{path.proxy.port}/demo"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
async def test_without_a_host_an_ipv6_address_is_a_base_too() -> None:
    async with (
        serving(answering(token_response())) as tokens,
        serving(LINKING) as api,
        proxying(config(shop("demo", platform(tokens.port, api.port, **OF)), server=server(host="::1"))) as proxy,
    ):
        reader, writer = await asyncio.open_connection("::1", proxy.port)
        answer = await RawClient(reader, writer).ask(get("/demo/products", None, version="1.0"))
        writer.close()

    assert base_of(answer) == f"http://[::1]:{proxy.port}/demo"


async def test_a_public_url_is_the_base_whatever_the_client_used() -> None:
    settings = server(public_url="https://example.com/shops", trusted_proxies=LOOPBACK)
    async with whole_path(LINKING, of=OF, server=settings) as path:
        told = "X-Forwarded-Host: elsewhere.example\r\nX-Forwarded-Proto: http\r\n"

        for sent in (
            get("/demo/products"),
            get("/demo/products", "a%41"),
            get("/demo/products", None, version="1.0"),
            get("/demo/products", fields=told),
            get(f"http://127.0.0.1:{path.proxy.port}/demo/products"),
        ):
            assert base_of(await path.ask(sent)) == "https://example.com/shops/demo"


async def test_a_link_of_the_client_leads_the_platform_to_its_canonical_url() -> None:
    async with whole_path(LINKING, of=OF) as path:
        body = b'{"uri":"http://proxy:8080/demo/products","old":"http://demo.old.example.com/orders"}'
        await path.ask(
            b"POST /demo/batch HTTP/1.1\r\nHost: proxy:8080\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

        canonical = f"http://127.0.0.1:{path.api.port}/api"
        assert json.loads(path.api.received[0].body) == {"uri": f"{canonical}/products", "old": f"{canonical}/orders"}


# Behind another proxy


@pytest.mark.parametrize(
    ("fields", "base"),
    [
        ("X-Forwarded-Host: shops.example.com\r\nX-Forwarded-Proto: https\r\n", "https://shops.example.com/demo"),
        (
            "X-Forwarded-Host: a.example:8443, b.example\r\nX-Forwarded-Proto: HTTPS , http\r\n",
            "https://a.example:8443/demo",
        ),
        ("X-Forwarded-Host: a.example\r\nX-Forwarded-Host: b.example\r\n", "http://a.example/demo"),
        ("X-Forwarded-Host: [::1]:8443\r\n", "http://[::1]:8443/demo"),
        ("X-Forwarded-Proto: https\r\n", "https://proxy/demo"),
        ("X-Forwarded-Proto: wss\r\n", "http://proxy/demo"),
        ("X-Forwarded-Host:\r\nX-Forwarded-Proto:\r\n", "http://proxy/demo"),
        ("X-Forwarded-Host: , b.example\r\n", "http://proxy/demo"),
        ("X-Forwarded-Host: <script>\r\n", "https://demo.old.example.com"),
        ("X-Forwarded-Host: \xfcber.example\r\n", "https://demo.old.example.com"),
        ("X_Forwarded_Host: a.example\r\n", "http://proxy/demo"),
    ],
)
async def test_a_trusted_proxy_tells_what_the_client_used(fields: str, base: str) -> None:
    async with whole_path(LINKING, of=OF, server=server(trusted_proxies=LOOPBACK)) as path:
        assert base_of(await path.ask(get("/demo/products", fields=fields))) == base


@pytest.mark.parametrize("trusted", [(), (ip_network("10.0.0.0/8"), ip_network("::1/128"))])
async def test_anybody_else_is_not_believed(trusted: Any) -> None:
    fields = "X-Forwarded-Host: demo.old.example.com\r\nX-Forwarded-Proto: https\r\n"
    async with whole_path(LINKING, of=OF, server=server(trusted_proxies=trusted)) as path:
        assert base_of(await path.ask(get("/demo/products", fields=fields))) == "http://proxy/demo"
        assert upstream_targets(path.api) == [b"/api/products"]


async def test_a_trusted_proxys_word_on_the_host_names_the_shop_too() -> None:
    fields = "X-Forwarded-Host: demo.old.example.com, proxy\r\nX-Forwarded-Proto: https\r\n"
    async with whole_path(LINKING, of=OF, server=server(trusted_proxies=LOOPBACK)) as path:
        assert base_of(await path.ask(get("/products", fields=fields))) == "https://demo.old.example.com"
        assert upstream_targets(path.api) == [b"/api/products"]


# By host


@pytest.mark.parametrize(
    ("host", "base"),
    [
        (OLD, "http://demo.old.example.com"),
        ("DEMO.Old.Example.com", "http://demo.old.example.com"),
        ("demo.old.example.com:80", "http://demo.old.example.com"),
        ("demo.old.example.com:8080", "http://demo.old.example.com:8080"),
        ("demo.old.example.com.", "http://demo.old.example.com"),
        ("demo.old.example.com.:8080", "http://demo.old.example.com:8080"),
        ("demo.old.example.com:", "http://demo.old.example.com"),
    ],
)
async def test_a_host_that_names_the_shop_needs_no_shop_in_the_path(host: str, base: str) -> None:
    async with whole_path(LINKING, of=OF) as path:
        assert base_of(await path.ask(get("/products?a=%2F", host))) == base
        assert base_of(await path.ask(get("/api/products?", host))) == f"{base}/api"
        assert upstream_targets(path.api) == [b"/api/products?a=%2F", b"/api/products?"]


PATHS = [
    ("/", b"/api/"),
    ("/?a", b"/api/?a"),
    ("/api", b"/api/"),
    ("/api?a", b"/api/?a"),
    ("/api/", b"/api/"),
    ("/apix", b"/api/apix"),
    ("/API/x", b"/api/API/x"),
    ("/api/api/x", b"/api/api/x"),
    ("/demo/x", b"/api/demo/x"),
    ("//x", b"/api//x"),
    ("/%61pi/x", b"/api/%61pi/x"),
    ("/Not.A_Shop/", b"/api/Not.A_Shop/"),
]


async def test_the_path_goes_to_the_api_as_it_is_with_the_apis_own_in_front() -> None:
    async with whole_path(LINKING, of=OF) as path:
        for target, _ in PATHS:
            assert (await path.ask(get(target, OLD))).status == 200, target
        assert upstream_targets(path.api) == [upstream for _, upstream in PATHS]


@pytest.mark.parametrize("target", ["/../x", "/x/%2e%2E/y", "/api/..;/x"])
async def test_no_path_climbs_out_of_the_api(target: str) -> None:
    async with whole_path(LINKING, of=OF) as path:
        refused(await path.ask(get(target, OLD)))
        assert path.api.received == []


async def test_a_public_url_does_not_take_the_place_of_the_host_that_an_app_can_not_change() -> None:
    async with whole_path(LINKING, of=OF, server=server(public_url="https://example.com")) as path:
        assert base_of(await path.ask(get("/products", OLD))) == "http://demo.old.example.com"


async def test_hosts_stand_for_no_shop_where_that_is_switched_off() -> None:
    async with whole_path(LINKING, of=OF, server=server(route_by_host=False)) as path:
        unknown = await path.ask(get("/products", OLD))
        assert (unknown.status, json.loads(unknown.body)["code"]) == (404, "unknown_shop")
        assert base_of(await path.ask(get("/demo/products", OLD))) == "http://demo.old.example.com/demo"
        refused(await path.ask(get("http://demo.old.example.com/products", OLD)))
        assert upstream_targets(path.api) == [b"/api/products"]


# In absolute-form


SERVED_TARGETS = [
    ("http://127.0.0.1:PORT/demo/x?a=%2F", b"/api/x?a=%2F"),
    ("HTTP://127.0.0.1:PORT/demo?", b"/api/?"),
    ("http://localhost:PORT/demo/x", b"/api/x"),
    ("http://LocalHost.:PORT/demo/x", b"/api/x"),
    ("https://shops.example.com/demo/x", b"/api/x"),
    ("http://shops.example.com/demo/x", b"/api/x"),
    ("https://Shops.Example.com:443/demo/x", b"/api/x"),
    ("http://demo.old.example.com/x", b"/api/x"),
    ("http://demo.old.example.com/api/x", b"/api/x"),
    ("http://DEMO.old.example.com:8080/x", b"/api/x"),
    ("http://demo.old.example.com", b"/api/"),
    ("http://demo.old.example.com?", b"/api/?"),
    ("http://demo.old.example.com?a=/../b", b"/api/?a=/../b"),
    ("http://demo.old.example.com//x", b"/api//x"),
]


async def test_an_absolute_form_target_may_name_the_proxy_or_a_shops_host() -> None:
    async with whole_path(LINKING, of=OF, server=server(public_url="https://shops.example.com")) as path:
        for target, _ in SERVED_TARGETS:
            # The Host field does not count (RFC 9112 §3.2.2).
            answer = await path.ask(get(written(target, path), "nobody.old.example.com"))
            assert answer.status == 200, target
        assert upstream_targets(path.api) == [upstream for _, upstream in SERVED_TARGETS]


async def test_the_base_is_what_an_absolute_form_target_names() -> None:
    async with whole_path(LINKING, of=OF) as path:
        own = f"127.0.0.1:{path.proxy.port}"
        assert base_of(await path.ask(get(f"http://{own}/demo/products", OLD))) == f"http://{own}/demo"
        assert base_of(await path.ask(get("http://demo.old.example.com:81/api/x", own))) == (
            "http://demo.old.example.com:81/api"
        )


FOREIGN_TARGETS = [
    "http://proxy/demo/x",
    "http://proxy:PORT/demo/x",
    "http://127.0.0.1/demo/x",
    "http://127.0.0.1:1/demo/x",
    "http://[::1]:PORT/demo/x",
    "http://example.com/",
    "http://xdemo.old.example.com/x",
    "http://demo.old.example.com.evil.example/x",
    "http://shops.example.com:8080/demo/x",
    "https:///demo/x",
    "http://:PORT/demo/x",
    "http://[/demo/x",
    "http://demo.old.example.com:x/products",
    "http://demo.old.example.com:80:80/products",
]


async def test_an_absolute_form_target_that_names_another_host_is_refused() -> None:
    async with whole_path(LINKING, of=OF, server=server(public_url="https://shops.example.com")) as path:
        for target in FOREIGN_TARGETS:
            assert (await path.ask(get(written(target, path)))).status == 400, target
        assert path.api.received == []
        assert path.tokens.received == []


async def test_what_to_do_is_said_to_whom_a_foreign_host_is_refused() -> None:
    async with whole_path(LINKING, of=OF) as path:
        assert "server.public_url" in refused(await path.ask(get("http://proxy/demo/x")))


@pytest.mark.parametrize("host", [OLD, "127.0.0.1:PORT", "old"])
async def test_a_target_with_a_user_in_it_is_refused_without_showing_it(host: str) -> None:
    # RFC 9110 §4.2.4: it would make another host look like one that is served.
    async with whole_path(LINKING, of=OF | {"hosts": ("{shop}.old.example.com", "old")}) as path:
        for target in (f"http://s3cret@{host}/demo/x", f"http://{host}:s3cret@evil.example/demo/x"):
            answer = await path.ask(get(written(target, path)))

            assert answer.status == 400, answer.body
            assert b"s3cret" not in answer.head + answer.body
        assert path.api.received == []


@pytest.mark.parametrize(
    "target", ["ftp://demo.old.example.com/x", "demo.old.example.com/x", "demo.old.example.com:80"]
)
async def test_a_target_in_another_form_is_refused(target: str) -> None:
    async with whole_path(LINKING, of=OF) as path:
        assert (await path.ask(get(target, OLD))).status == 400
        assert path.api.received == []


@pytest.mark.parametrize("line", [b"Host:", b"Host: "])
def test_without_a_name_the_base_is_where_each_connected_to(line: bytes) -> None:
    addressing, bases = Addressing(None, None), []
    for address in ("127.0.0.1", "10.0.0.5"):
        connection: Any = SimpleNamespace(secure=False, remote="", local_address=lambda at=address: (at, 8080))
        asked = ClientRequest(connection, "GET", b"/demo/", True, Head([line], request_fields()), True, b"", None)
        bases.append(addressing.base(asked, Hop(b"p"), parse_target(asked.target)))

    assert bases == ["http://127.0.0.1:8080/demo", "http://10.0.0.5:8080/demo"]
