"""Every answer of the proxy's own: status, code, words and form, what follows on the connection, what stays unsaid.

All that is no clear request stands in test_malformed_requests.py; here is a piece of each kind, for its words.
"""

import asyncio
import json
import logging
import socket
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.config import TokensConfig, UpstreamConfig
from tests.peers import (
    CHUNKED,
    Answer,
    Connection,
    Script,
    answering,
    chunked,
    closing,
    connected,
    request,
    response,
    serving,
    token_response,
)
from tests.ports import free_port
from tests.proxies import config, platform, proxying, shop, whole_path

OK = answering(response())


def problem(answer: Answer) -> tuple[int, str]:
    """The status and the code of an answer, after a look at what all of them have in common."""
    document = json.loads(answer.body)
    assert answer.values(b"Content-Type") == [b"application/problem+json"]
    assert len(answer.values(b"Proxy-Status")) == 1
    assert answer.values(b"Proxy-Status")[0].startswith(b"shop-auth-proxy; error=")
    assert document["type"] == "urn:problem-type:shop-auth-proxy:" + document["code"]
    assert document["status"] == answer.status
    assert document["title"]
    assert document["detail"].endswith((".", "…"))
    assert document["request_id"]
    return answer.status, document["code"]


# The request


@pytest.mark.parametrize(
    ("sent", "expected", "sentence"),
    [
        (request(target=b"/demo/a b"), (400, "bad_request"), "percent-encode"),
        (b"GET /demo/x\r\n\r\n", (400, "bad_request"), "HTTP/1.1 and HTTP/1.0"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "bad_request"), "HTTP/1.1 and HTTP/1.0"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, (400, "bad_request"), "plain HTTP"),
        (b"GET /demo/x HTTP/1.1\r\n\r\n", (400, "bad_request"), "RFC 9112"),
        (
            request(b"POST", fields=b"Transfer-Encoding: gzip, chunked\r\n") + chunked(b"abc"),
            (400, "bad_request"),
            "transfer coding",
        ),
        (
            request(b"POST", version=b"1.0", fields=b"Connection: keep-alive\r\n" + CHUNKED) + chunked(),
            (400, "bad_request"),
            "HTTP/1.0",
        ),
        (b"GET /demo/x HTTP/1.1\r\nHost: a/b\r\n\r\n", (400, "bad_request"), "Host"),
        (request(b"POST", fields=b"Content-Length: " + b"0" * 5000 + b"3\r\n"), (400, "bad_request"), "20 digits"),
        (
            request(b"POST", fields=b"Content-Length: 18446744073709551615\r\n"),
            (413, "body_too_large"),
            "max_body_size",
        ),
        (request(target=b"demo/x"), (400, "bad_target"), "must be a path"),
        (request(b"OPTIONS", fields=b"Max-Forwards: x\r\n"), (400, "bad_request"), "Max-Forwards"),
        (request(target=b"/demo/" + b"x" * (1 << 14)), (414, "request_too_large"), "16384"),
        (request(fields=b"A: " + b"x" * (1 << 15) + b"x\r\n"), (431, "request_too_large"), "32768"),
        (request(fields=b"A: b\r\n" * 200), (431, "request_too_large"), "128"),
        (request(b"POST", fields=b"Expect: a-miracle\r\n", body=b"x"), (417, "expectation_failed"), "100-continue"),
        (request(b"BREW"), (501, "method_not_supported"), "method"),
        (request(b"get"), (501, "method_not_supported"), "upper case"),
        (request(b"TRACE"), (501, "method_not_supported"), "TRACE"),
        (request(b"CONNECT", b"example.com:443"), (501, "method_not_supported"), "CONNECT"),
        (request(target=b"/"), (400, "bad_target"), "/<shop>/"),
        (request(target=b"/Demo/x"), (400, "bad_target"), "shop name"),
        (request(target=b"/demo/../x"), (400, "bad_target"), "'..'"),
        (request(target=b"/demo/%2e%2E/x"), (400, "bad_target"), "'..'"),
        (request(b"OPTIONS", b"*"), (400, "bad_target"), "/<shop>/"),
        (request(target=b"http://proxy/demo/x"), (400, "bad_target"), "server.public_url"),
        (request(target=b"/nobody/x"), (404, "unknown_shop"), "nobody"),
    ],
)
async def test_what_can_not_be_served_is_refused_before_anything_else_happens(
    sent: bytes, expected: tuple[int, str], sentence: str
) -> None:
    async with whole_path(OK) as path:
        answer = await path.ask(sent)
        assert [entry["code"] for entry in path.proxy.logged("request.refused")] == [expected[1]]

    assert problem(answer) == expected
    assert sentence in json.loads(answer.body)["detail"]
    assert path.api.connections == path.tokens.connections == 0
    if expected[1] in ("bad_request", "body_too_large", "method_not_supported", "request_too_large"):
        assert answer.values(b"Connection") == [b"close"]


@pytest.mark.parametrize("refused", [b"/nobody/x", b"/", b"/Demo/x", b"/demo/../x", b"//evil.example/demo/x"])
async def test_a_clear_request_that_is_refused_leaves_the_connection_open(refused: bytes) -> None:
    async with whole_path(OK) as path, path.connect() as client:
        for sent in (request(target=refused), request(b"POST", refused, body=b"x")):
            assert (await client.ask(sent)).status in (400, 404)
        assert (await client.ask(request())).status == 200


CREDENTIAL = b"dXNlcjpodW50ZXIy"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /demo/x HTTP/1.1\r\nHost: proxy\r\nAuthorization : Basic " + CREDENTIAL + b"\r\n\r\n",
        b"GET /demo/x HTTP/1.1\r\nHost: proxy\r\nAuthorization: Basic\x00" + CREDENTIAL + b"\r\n\r\n",
        b"GET /demo/x HTTP/1.1\r\nHost: proxy\r\nAuthorization: Basic " + CREDENTIAL * 4000 + b"\r\n\r\n",
        b"GET /demo/?key=" + CREDENTIAL + b" x HTTP/1.1\r\nHost: proxy\r\n\r\n",
        b"GET /demo/?key=" + CREDENTIAL * 2000 + b" HTTP/1.1\r\nHost: proxy\r\n\r\n",
        b"GET http://" + CREDENTIAL + b"@[::1/ HTTP/1.1\r\nHost: proxy\r\n\r\n",
        CREDENTIAL + b" / HTTP/1.1\r\n\r\n",
        request(b"POST", fields=CHUNKED) + CREDENTIAL + b"\r\n",
        request(b"POST", fields=CHUNKED) + b"5\r\nhello" + CREDENTIAL + b"\r\n",
        request(b"POST", fields=b"Content-Length: " + CREDENTIAL + b"\r\n"),
    ],
)
async def test_what_the_parser_refuses_is_neither_shown_nor_logged(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with whole_path(OK) as path:
        answer = await path.ask(sent)

    assert answer.status in (400, 414, 431, 501)
    for shown in (answer.head, answer.body, repr(path.proxy.events).encode(), caplog.text.encode()):
        assert CREDENTIAL not in shown
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


# The token endpoint


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (answering(response(b'{"error":"invalid_client"}', status=b"401 U")), (502, "token_refused")),
        (answering(response(b"<html>")), (502, "token_unavailable")),
        (answering(response(status=b"500 E")), (502, "token_unavailable")),
        (closing(b""), (502, "token_unavailable")),
        (closing(b"no HTTP\r\n\r\n"), (502, "token_unavailable")),
    ],
    ids=["refused", "nonsense", "broken", "closed", "no-http"],
)
async def test_without_a_token_the_api_is_not_asked(tokens: Script, expected: tuple[int, str]) -> None:
    async with whole_path(OK, tokens=tokens) as path, path.connect() as client:
        answer = await client.ask(request(b"POST", body=b"x"))
        assert problem(answer) == expected
        assert (await client.ask(request(target=b"/nobody/"))).status == 404  # the connection is kept

    assert path.api.connections == 0
    assert path.proxy.logged("request.refused")[0]["level"] == "info"  # the cache has warned, once


async def silent(connection: Connection) -> None:
    """A script that reads, and never answers."""
    while await connection.reader.read(65_536):
        pass


async def test_a_silent_token_endpoint_is_a_timeout() -> None:
    async with whole_path(OK, tokens=silent, timeouts=TokensConfig(fetch_timeout=0.1)) as path:
        assert problem(await path.ask(request())) == (504, "token_unavailable")


# The API


async def test_an_api_that_listens_nowhere_is_unreachable() -> None:
    async with whole_path(OK, of={"api_url": f"http://127.0.0.1:{free_port()}/"}) as path:
        answer = await path.ask(request())

    assert problem(answer) == (502, "upstream_unreachable")
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=connection_refused"]


class NoSuchName(AbstractResolver):
    """Knows no host name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(None, "no such name")

    async def close(self) -> None:
        """Hold nothing."""


async def test_an_api_host_without_an_address_is_unreachable() -> None:
    async with serving(answering(token_response())) as tokens:
        nowhere = platform(tokens.port, 0, api_url="http://nowhere.example/")
        settings = config(shop("demo", nowhere))
        async with proxying(settings, resolver=NoSuchName()) as proxy, connected(proxy.port) as client:
            answer = await client.ask(request())

    assert problem(answer) == (502, "upstream_unreachable")
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=dns_error"]


async def test_an_api_that_does_not_finish_the_tls_handshake_is_a_timeout() -> None:
    async with serving(silent) as api:
        settings = UpstreamConfig(connect_timeout=1.0)  # in which the token has to come
        async with whole_path(OK, of={"api_url": f"https://127.0.0.1:{api.port}/"}, upstream=settings) as path:
            answer = await path.ask(request())

    assert problem(answer) == (504, "upstream_timeout")
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=connection_timeout"]


async def test_an_api_that_speaks_no_tls_is_unreachable() -> None:
    async def plain(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(response(status=b"400 Bad Request"))

    async with serving(plain) as api, whole_path(OK, of={"api_url": f"https://127.0.0.1:{api.port}/"}) as path:
        answer = await path.ask(request())

    assert problem(answer) == (502, "upstream_unreachable")


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    "before",
    [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 103 Early Hints\r\n\r\n"],
    ids=["nothing", "in-the-head", "after-an-interim-answer"],
)
async def test_a_silent_api_is_a_timeout(before: bytes, method: bytes) -> None:
    done = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(before)
        await done.wait()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.1)) as path:
        answer = await path.ask(request(method, version=b"1.0"))
        done.set()

    assert problem(answer) == (504, "upstream_timeout")
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=connection_read_timeout"]
    assert path.api.connections == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunked(b"abc"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abc"),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 103 Hints\r\nX: a\x01b\r\n\r\n" + response(),
    ],
)
async def test_a_broken_answer_is_a_protocol_error(broken: bytes) -> None:
    async with whole_path(answering(broken)) as path, path.connect() as client:
        answer = await client.ask(request())
        assert problem(answer) == (502, "upstream_protocol_error")
        assert (await client.ask(request(target=b"/nobody/"))).status == 404

    assert path.proxy.logged("request.refused")[0]["attempts"] == 1


async def test_an_api_that_closes_without_an_answer_is_unreachable_and_asked_once() -> None:
    async with whole_path(closing(b"")) as path:
        answer = await path.ask(request())

    assert problem(answer) == (502, "upstream_unreachable")
    assert path.api.connections == 1


async def test_a_mistake_of_our_own_is_an_internal_error_and_its_text_stays_here() -> None:
    async with whole_path(OK) as path:

        class Broken:
            def find(self, key: str) -> None:
                raise RuntimeError(f"oops at {key}")

        broken: Any = Broken()
        forwarder = path.proxy.running.forwarder
        forwarder.site = replace(forwarder.site, routes=broken)
        answer = await path.ask(request())

    assert problem(answer) == (500, "internal")
    assert b"oops" not in answer.body
    assert len(path.proxy.logged("request.failed")) == len(path.proxy.logged("request.refused")) == 1
