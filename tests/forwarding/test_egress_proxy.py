"""Through an egress proxy: what it sees, what the platform sees, and what is said when it does not let through."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.config import TokensConfig, UpstreamConfig
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from tests.egress import ESTABLISHED, PASSWORD, ThroughProxy, certified, secured, through_proxy, tunnelling
from tests.names import Names
from tests.peers import (
    Connection,
    Script,
    answering,
    closing,
    connected,
    request,
    response,
    serving,
    token_response,
)
from tests.proxies import authorities, config, proxying, shop

AUTHORITY = trustme.CA()
API = b"api.example:443"
TOKENS = b"tokens.example:443"
BASIC = b"Basic bWU6cEBzcyBvZiB0aGUgZWdyZXNz"  # me:p@ss of the egress
Running = Callable[..., AbstractAsyncContextManager[ThroughProxy]]


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamConfig:
    """Settings that trust the test's authority."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return UpstreamConfig(ca_file=authorities(tmp_path / "ca.pem"))


@pytest.fixture
def run(upstream: UpstreamConfig) -> Running:
    return partial(through_proxy, AUTHORITY, upstream=upstream)


def saying(answer: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await connection.send(answer)

    return script


def refusing(status: bytes) -> Script:
    return saying(b"HTTP/1.1 %s\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 4\r\n\r\nsee!" % status)


async def silent(connection: Connection) -> None:
    await connection.reader.read()


async def test_api_and_token_endpoint_are_reached_by_connect_and_see_nothing_of_it(run: Running) -> None:
    async with run(answering(response(b"ok"))) as way:
        answer = await way.ask(request(target=b"/demo/x?y", fields=b"Proxy-Authorization: Basic Y2xpZW50\r\n"))

        assert (answer.status, answer.body) == (200, b"ok")
        assert way.targets == [b"CONNECT " + TOKENS, b"CONNECT " + API]
        for asked in way.egress.received:
            assert asked.values(b"Proxy-Authorization") == [BASIC]
            assert asked.values(b"Authorization") == []
            assert asked.values(b"User-Agent")[0].startswith(b"shop-auth-proxy/")
        assert way.egress.received[1].values(b"Host") == [API]
        [call], [token] = way.api.received, way.tokens.received
        assert call.request_line == b"GET /api/x?y HTTP/1.1"
        assert call.values(b"Authorization") == [b"Bearer token-1"]
        assert call.values(b"Proxy-Authorization") == token.values(b"Proxy-Authorization") == []
        # The platform's hosts are not resolved here; the proxy's own may be in the own network.
        assert {host for host, *_ in way.names.asked} == {"egress.internal"}


async def test_a_tunnel_is_kept_and_a_large_body_goes_both_ways(run: Running) -> None:
    async def echoing(connection: Connection) -> None:
        while received := await connection.read_request():
            await connection.send(response(received.body))

    body = bytes(range(256)) * 8192
    async with run(echoing) as way, way.connect() as client:
        answers = [await client.ask(request(b"PUT", body=sent)) for sent in (b"a", body, b"b")]

        assert [answer.body for answer in answers] == [b"a", body, b"b"]
        assert way.targets == [b"CONNECT " + TOKENS, b"CONNECT " + API]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nProxy-Connection: close\r\n\r\n",
    ],
)
async def test_what_a_proxy_says_of_a_body_or_the_connection_means_nothing_for_the_tunnel(
    run: Running, head: bytes
) -> None:
    """RFC 9110 §9.3.6."""
    async with run(answering(response(b"ok")), established=head) as way, way.connect() as client:
        for _ in range(2):
            assert (await client.ask(request())).body == b"ok"

        assert way.targets == [b"CONNECT " + TOKENS, b"CONNECT " + API]


async def test_a_call_that_met_a_closed_tunnel_goes_out_again_through_a_new_one(run: Running) -> None:
    async with run(closing(response(b"ok"))) as way, way.connect() as client:
        for _ in range(2):
            assert (await client.ask(request())).status == 200

        assert way.targets == [b"CONNECT " + TOKENS, b"CONNECT " + API, b"CONNECT " + API]


async def test_after_a_401_the_new_token_comes_through_the_proxy_too(run: Running) -> None:
    answers = answering(response(status=b"401 Unauthorized"), response(b"ok"))
    async with run(answers, tokens=answering(token_response("old"), token_response("new"))) as way:
        answer = await way.ask(request(b"POST", body=b"same"))

        assert (answer.status, answer.body) == (200, b"ok")
        assert [(each.values(b"Authorization"), each.body) for each in way.api.received] == [
            ([b"Bearer old"], b"same"),
            ([b"Bearer new"], b"same"),
        ]
        assert way.targets == [b"CONNECT " + TOKENS, b"CONNECT " + API, b"CONNECT " + TOKENS]


async def test_an_answer_that_is_cut_off_in_the_tunnel_is_no_whole_answer(run: Running) -> None:
    async def cutting_off(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        connection.reset()

    async with run(cutting_off) as way, way.connect() as client:
        await client.send(request())
        data, orderly = await client.read_to_end()

        assert orderly
        assert data.partition(b"\r\n\r\n")[2] in (b"", b"first")
        assert b"\r\nContent-Length: 10\r\n" in data
        [line] = way.proxy.logged("request.forwarded")
        assert line["code"] == "upstream_protocol_error"


REFUSALS: list[Any] = [
    pytest.param(
        refusing(b"403 Forbidden"),
        {},
        "destination_unavailable",
        ["answered 403 to CONNECT api.example:443: ", "allowed"],
        id="403",
    ),
    pytest.param(
        refusing(b"502 Bad Gateway"), {}, "destination_unavailable", ["answered 502", "can be reached"], id="502"
    ),
    pytest.param(
        refusing(b"407 Proxy Authentication Required"),
        {},
        "proxy_configuration_error",
        ["answered 407", "refuses the user name and password of its URL"],
        id="407 for this password",
    ),
    pytest.param(
        refusing(b"407 Proxy Authentication Required"),
        {"username": "", "password": None},
        "proxy_configuration_error",
        ["answered 407", "needs a user name and a password"],
        id="407 without one",
    ),
    pytest.param(
        saying(b"HTTP/1.1 204 No Content\r\n\r\n"), {}, "destination_unavailable", ["answered 204"], id="no 200"
    ),
    pytest.param(saying(b""), {}, "connection_terminated", ["ServerDisconnectedError"], id="closed"),
    pytest.param(saying(b"SSH-2.0-x\r\n\r\n"), {}, "http_protocol_error", ["ClientResponseError"], id="no http"),
    pytest.param(
        saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000), {}, "http_protocol_error", ["ClientResponse"], id="endless"
    ),
    pytest.param(saying(ESTABLISHED), {}, None, ["egress proxy"], id="established, and closed"),
    pytest.param(saying(ESTABLISHED + b"no TLS\r\n" * 9), {}, None, ["egress proxy"], id="established, and no TLS"),
]


@pytest.mark.parametrize(("script", "proxy", "proxy_status", "said"), REFUSALS)
async def test_an_egress_proxy_that_does_not_lead_to_the_api_is_named_in_the_log(
    run: Running, script: Script, proxy: dict[str, Any], proxy_status: str | None, said: list[str]
) -> None:
    async with run(answering(response()), refused={API: script}, proxy=proxy) as way:
        answer = await way.ask(request())

        assert (answer.status, json.loads(answer.body)["code"]) == (502, "upstream_unreachable")
        if proxy_status is not None:
            assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=" + proxy_status.encode()]
        [line] = way.proxy.logged("request.refused")
        assert f"egress proxy http://egress.internal:{way.egress.port}" in line["reason"]
        assert all(words in line["reason"] for words in said), line["reason"]
        assert way.api.received == []


@pytest.mark.parametrize(("script", "proxy", "_status", "said"), REFUSALS)
async def test_an_egress_proxy_that_does_not_lead_to_the_token_endpoint_is_named_in_the_log(
    run: Running, script: Script, proxy: dict[str, Any], _status: str | None, said: list[str]
) -> None:
    async with run(answering(response()), refused={TOKENS: script}, proxy=proxy) as way:
        answer = await way.ask(request())

        assert (answer.status, json.loads(answer.body)["code"]) == (502, "token_unavailable")
        [line] = way.proxy.logged("token.unavailable")
        assert f"egress proxy http://egress.internal:{way.egress.port}" in line["reason"]
        if said[0].startswith("answered"):
            assert said[0].replace("api.", "tokens.") in line["reason"]
        assert way.tokens.received == way.api.received == []
        assert way.targets == [b"CONNECT " + TOKENS]


@pytest.mark.parametrize("script", [silent, saying(ESTABLISHED[:9])])
async def test_a_silent_egress_proxy_is_waited_for_no_longer_than_for_a_connection(
    upstream: UpstreamConfig, script: Script
) -> None:
    impatient = UpstreamConfig(ca_file=upstream.ca_file, connect_timeout=1.0)  # in which the token has to come

    given_up = asyncio.Event()

    async def stalling(connection: Connection) -> None:
        await script(connection)
        await silent(connection)
        given_up.set()

    async with through_proxy(AUTHORITY, answering(response()), refused={API: stalling}, upstream=impatient) as way:
        answer = await way.ask(request())

        assert (answer.status, json.loads(answer.body)["code"]) == (504, "upstream_timeout")
        assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=connection_timeout"]
        assert "egress proxy" in way.proxy.logged("request.refused")[0]["reason"]
        await given_up.wait()


async def test_a_token_request_over_a_silent_egress_proxy_ends_in_time(run: Running) -> None:
    timeouts = TokensConfig(fetch_timeout=0.2)
    async with run(answering(response()), refused={TOKENS: silent}, timeouts=timeouts) as way:
        answer = await way.ask(request())

        assert (answer.status, json.loads(answer.body)["code"]) == (504, "token_unavailable")
        await way.proxy.until_logged("token.unavailable")
        assert "egress proxy" in way.proxy.logged("token.unavailable")[0]["reason"]


async def test_an_egress_proxy_that_is_not_there_is_told(run: Running) -> None:
    async with serving(silent) as gone:
        port = gone.port
    async with serving(answering(token_response())) as tokens:
        # An http:// URL is called directly.
        of = {"token_url": f"http://127.0.0.1:{tokens.port}/token", "allow_private": True}
        async with (
            run(answering(response()), proxy={"port": port}, of=of) as no_way_to_api,
            run(answering(response()), proxy={"port": port}) as no_way_to_tokens,
        ):
            for way, code, event in (
                (no_way_to_api, "upstream_unreachable", "request.refused"),
                (no_way_to_tokens, "token_unavailable", "token.unavailable"),
            ):
                answer = await way.ask(request())

                assert (answer.status, json.loads(answer.body)["code"]) == (502, code)
                [line] = way.proxy.logged(event)
                assert f"through the egress proxy http://egress.internal:{port}" in line["reason"]
        assert len(tokens.received) == 1


async def test_a_host_of_no_proxy_and_plain_http_are_called_directly(upstream: UpstreamConfig) -> None:
    async with (
        serving(silent) as egress,
        serving(answering(token_response())) as tokens,
        serving(answering(response(b"direct")), certified(AUTHORITY, "api.example")) as api,
    ):
        way_out = EgressProxy("egress.internal", egress.port, no_proxy="else.example, .example")
        urls = {"token_url": f"http://tokens.test:{tokens.port}/", "api_url": f"https://api.example:{api.port}/"}
        settings = config(shop("demo", secured(way_out, allow_private=True, **urls)), upstream=upstream)
        names = Names("127.0.0.1")
        async with proxying(settings, resolver=names) as proxy, connected(proxy.port) as client:
            assert (await client.ask(request())).body == b"direct"

    assert egress.connections == 0
    assert {host for host, *_ in names.asked} == {"tokens.test", "api.example"}


async def test_tunnels_of_different_proxies_and_passwords_are_not_mixed_up(upstream: UpstreamConfig) -> None:
    async with (
        serving(answering(token_response()), certified(AUTHORITY, "tokens.example")) as tokens,
        serving(answering(response()), certified(AUTHORITY, "api.example")) as api,
        serving(tunnelling({TOKENS: tokens.port, API: api.port}, {})) as first,
        serving(tunnelling({TOKENS: tokens.port, API: api.port}, {})) as second,
    ):
        ways = {
            "a": EgressProxy("egress.internal", first.port),
            "b": EgressProxy("egress.internal", second.port),
            "c": EgressProxy("egress.internal", second.port, "me", Secret(PASSWORD)),
        }
        settings = config(*(shop(key, secured(way)) for key, way in ways.items()), upstream=upstream)
        async with proxying(settings, resolver=Names("127.0.0.1")) as proxy, connected(proxy.port) as client:
            for key in (b"a", b"b", b"c", b"a", b"b", b"c"):
                assert (await client.ask(request(target=b"/%s/" % key))).status == 200

    asked = [
        (each.request_line.split()[1], each.values(b"Proxy-Authorization")) for each in first.received + second.received
    ]
    assert asked == [(TOKENS, []), (API, []), (TOKENS, []), (API, []), (TOKENS, [BASIC]), (API, [BASIC])]


async def test_who_can_not_be_trusted_sees_no_request_through_the_proxy_either(
    upstream: UpstreamConfig,
) -> None:
    async with through_proxy(trustme.CA(), answering(response()), upstream=upstream) as way:
        answer = await way.ask(request())

        assert json.loads(answer.body)["code"] == "token_unavailable"
        assert way.tokens.received == []
    async with serving(answering(token_response())) as tokens:
        of = {"token_url": f"http://127.0.0.1:{tokens.port}/token", "allow_private": True}
        async with through_proxy(trustme.CA(), answering(response()), of=of, upstream=upstream) as way:
            answer = await way.ask(request())

            assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=tls_certificate_error"]
            assert "through the egress proxy" in way.proxy.logged("request.refused")[0]["reason"]
            assert way.api.received == []
