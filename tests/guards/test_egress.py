"""A host name leads to public addresses only, unless its platform allows others."""

import socket

import pytest

from proxy.errors import PrivateAddressError
from proxy.guards import egress
from proxy.guards.aliases import hosts_of_platforms
from proxy.guards.egress import PublicResolver
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.shop import Shops
from tests.names import Names
from tests.peers import Answer, Peer, answering, connected, response, serving, token_response
from tests.proxies import config, platform, proxying, shop


async def resolved(*addresses: str) -> list[str]:
    results = await PublicResolver(Names(*addresses)).resolve("shop.example", 443)
    return [result["host"] for result in results]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["8.8.8.8"], ["8.8.8.8"]),
        (["2606:4700::1111", "8.8.8.8"], ["2606:4700::1111", "8.8.8.8"]),
        (["127.0.0.1", "8.8.8.8", "10.0.0.1", "1.1.1.1", "::1"], ["8.8.8.8", "1.1.1.1"]),
        (["::ffff:127.0.0.1", "::ffff:8.8.8.8"], ["::ffff:8.8.8.8"]),
        (["fe80::1%eth0", "2606:4700::1111%0"], ["2606:4700::1111%0"]),
        ([], []),
    ],
)
async def test_addresses_inside_the_own_network_are_left_out(addresses: list[str], expected: list[str]) -> None:
    assert await resolved(*addresses) == expected


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1", "::1"], ["169.254.169.254"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]]
)
async def test_a_name_that_leads_inside_only_is_an_error(addresses: list[str]) -> None:
    with pytest.raises(PrivateAddressError, match=r"shop\.example resolves to"):
        await resolved(*addresses)


async def test_the_resolver_behind_is_asked_the_same_and_closed_with_this_one() -> None:
    names = Names("8.8.8.8")
    resolver = PublicResolver(names)

    await resolver.resolve("shop.example", 8443, socket.AF_INET6)
    await resolver.close()

    assert names.asked == [("shop.example", 8443, socket.AF_INET6)]
    assert names.closed


async def ask_through_the_proxy(
    tokens: Peer, api: Peer, names: Names, *, allow_private: bool
) -> tuple[Answer, list[str]]:
    """What a client gets from a platform whose hosts are names; and what the log says why."""
    of = platform(
        tokens.port,
        api.port,
        token_url=f"http://tokens.example:{tokens.port}/",
        api_url=f"http://{{shop}}.api.example:{api.port}/",
        allow_private=allow_private,
    )
    async with proxying(config(shop("demo", of)), resolver=names) as proxy, connected(proxy.port) as client:
        answer = await client.ask(b"GET /demo/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = [*proxy.logged("token.unavailable"), *proxy.logged("request.refused")]
        return answer, [entry["reason"] for entry in told if entry["reason"]]


async def test_no_secret_goes_to_a_token_endpoint_inside_the_own_network() -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        answer, [reason] = await ask_through_the_proxy(tokens, api, Names("127.0.0.1"), allow_private=False)

    assert answer.status == 502
    assert b'"code": "token_unavailable"' in answer.body
    assert "tokens.example resolves to 127.0.0.1, which is not a public address" in reason
    assert b"127.0.0.1" not in answer.head + answer.body
    assert (tokens.connections, api.connections) == (0, 0)


async def test_no_request_goes_to_an_api_inside_the_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else the proxy would not get as far: the token endpoint of the test is the only host that counts as public.
    monkeypatch.setattr(egress, "is_public", lambda address: address == "127.0.0.1")
    names = Names("127.0.0.1", others={"demo.api.example": "127.0.0.2"})
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        answer, [reason] = await ask_through_the_proxy(tokens, api, names, allow_private=False)

    assert answer.status == 502
    assert b'"code": "upstream_unreachable"' in answer.body
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=destination_ip_prohibited"]
    assert "demo.api.example resolves to 127.0.0.2, which is not a public address" in reason
    assert b"127.0.0.2" not in answer.head + answer.body
    assert (tokens.connections, api.connections) == (1, 0)


async def test_a_platform_that_allows_it_is_reached_inside_the_own_network() -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response(b"[]"))) as api:
        answer, reasons = await ask_through_the_proxy(tokens, api, Names("127.0.0.1"), allow_private=True)

    assert (answer.status, answer.body, reasons) == (200, b"[]", [])
    assert api.received[0].values(b"Host") == [b"demo.api.example:%d" % api.port]


def test_hosts_behind_an_egress_proxy_are_not_looked_for_on_this_machine() -> None:
    proxy = EgressProxy("p.internal", 3128, no_proxy="b.example")
    of = platform(0, 0, token_url="https://a.example/", api_url="https://b.example/", proxy=proxy)

    assert [host.host for host in hosts_of_platforms(Shops({"demo": shop("demo", of)}))] == ["b.example"]
