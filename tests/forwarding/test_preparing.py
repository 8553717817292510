"""What goes to the platform: byte for byte the same, however a request came, and as often as it comes."""

import asyncio
import gzip
import json
import re
from typing import Any, Final

import pytest

from proxy.config import UpstreamConfig
from proxy.platforms.answers import InBody
from proxy.platforms.platform import RateLimit
from tests.forwarding.linking import BASE, JSON
from tests.peers import CHUNKED, Received, answering, chunked, request, response
from tests.proxies import WholePath, whole_path

ID: Final = b"X-Request-ID: mine\r\n"
TOKEN: Final = b"Authorization: Bearer token-1\r\n"
LINKING: Final = {"hosts": ("{shop}.old.example",), "rewrite_links": True}


async def sent_on(sent: bytes, **of: Any) -> Received:
    """What the platform gets of a request: the same whether it comes alone or again, in one piece or in many."""
    async with whole_path(answering(response(b"")), of=of) as path, path.connect() as client:
        await ask_in_all_ways(path, sent)
        for way in (sent, sent, b"\r\n" + sent, sent):  # after an empty line the parser is asked
            assert (await client.ask(way)).status == 200
        first, *others = path.api.received
    assert len(others) == 5
    for other in others:
        assert (other.head, other.body) == (first.head, first.body)
    return Received(first.head.replace(b"127.0.0.1:%d" % path.api.port, b"api.example"), first.body)


async def ask_in_all_ways(path: WholePath, sent: bytes) -> None:
    """Send a request on a connection of its own, in one piece and byte by byte."""
    assert (await path.ask(sent)).status == 200
    async with path.connect() as client:
        for at in range(len(sent)):
            await client.send(sent[at : at + 1])
        assert (await client.read_answer()).status == 200


def head(start: bytes, *lines: bytes, via: bytes = b"1.1") -> re.Pattern[bytes]:
    """What a head is, but for the pseudonym of the proxy."""
    before = b"%s HTTP/1.1\r\nHost: api.example\r\n" % start + b"".join(lines[:-1])
    behind = re.escape(ID + lines[-1] + TOKEN + b"\r\n")
    return re.compile(re.escape(before) + b"Via: " + re.escape(via) + b" shop-auth-proxy-[0-9a-f]{16}\r\n" + behind)


PASSED: Final[dict[str, tuple[bytes, re.Pattern[bytes], bytes]]] = {
    "nothing but what must be": (request(fields=ID), head(b"GET /api/x", b""), b""),
    "a query": (request(target=b"/demo/x?a=b%20c&d[]", fields=ID), head(b"GET /api/x?a=b%20c&d[]", b""), b""),
    "fields in order with their case": (
        request(fields=b"aCCept: a/b\r\n" + ID + b"X-A:  1 \r\nx-a: 2\r\nUser-Agent: old\xe9\r\n"),
        head(b"GET /api/x", b"aCCept: a/b\r\nX-A: 1\r\nx-a: 2\r\nUser-Agent: old\xe9\r\n", b""),
        b"",
    ),
    "what stops here": (
        request(
            fields=ID
            + b"Cookie: a\r\nAuthorization: Basic b2xk\r\nConnection: X-A\r\nX-A: 1\r\nTE: x\r\nX_Forwarded_For: 1\r\n"
        ),
        head(b"GET /api/x", b""),
        b"",
    ),
    "HTTP/1.0": (
        request(fields=ID + b"Connection: keep-alive\r\n", version=b"1.0"),
        head(b"GET /api/x", b"", via=b"1.0"),
        b"",
    ),
    "earlier hops": (
        request(fields=ID + b"Via: 1.0 fred\r\nMax-Forwards: 5\r\n"),
        head(b"GET /api/x", b"Via: 1.0 fred\r\nMax-Forwards: 5\r\n", b""),
        b"",
    ),
    "OPTIONS, which counts hops": (
        request(b"OPTIONS", fields=ID + b"Max-Forwards: 5\r\n"),
        head(b"OPTIONS /api/x", b"Max-Forwards: 4\r\n", b""),
        b"",
    ),
    "a body": (
        request(b"POST", fields=ID, body=b"hello"),
        head(b"POST /api/x", b"Content-Length: 5\r\n"),
        b"hello",
    ),
    "no body where one is expected": (
        request(b"PATCH", fields=ID),
        head(b"PATCH /api/x", b"Content-Length: 0\r\n"),
        b"",
    ),
    "an empty body where none is": (
        request(b"DELETE", fields=ID, body=b""),
        head(b"DELETE /api/x", b"Content-Length: 0\r\n"),
        b"",
    ),
    "a body of GET": (request(fields=ID, body=b"hello"), head(b"GET /api/x", b"Content-Length: 5\r\n"), b"hello"),
    "a length with zeros": (
        request(b"PUT", fields=ID + b"Content-Length: 005\r\n") + b"hello",
        head(b"PUT /api/x", b"Content-Length: 5\r\n"),
        b"hello",
    ),
    "chunks": (
        request(b"PUT", fields=ID + CHUNKED) + chunked(b"he", b"llo"),
        head(b"PUT /api/x", b"Content-Length: 5\r\n"),
        b"hello",
    ),
    "no chunks": (request(fields=ID + CHUNKED) + chunked(), head(b"GET /api/x", b""), b""),
    "a body that waits": (
        request(b"PUT", fields=ID + b"Expect: 100-continue\r\n", body=b""),
        head(b"PUT /api/x", b"Content-Length: 0\r\n"),
        b"",
    ),
}


@pytest.mark.parametrize("what", PASSED)
async def test_the_platform_gets_the_same_however_a_request_comes(what: str) -> None:
    sent, expected, body = PASSED[what]
    received = await sent_on(sent)

    assert expected.fullmatch(received.head), received.head
    assert received.body == body


async def test_a_platform_that_is_told_gets_whom_the_request_is_for() -> None:
    received = await sent_on(request(b"PUT", fields=ID, body=b"x"), forwarded_headers=True)

    told = b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: proxy\r\nX-Forwarded-Proto: http\r\nContent-Length: 1\r\n"
    assert head(b"PUT /api/x", told).fullmatch(received.head)


async def test_where_the_token_has_a_field_of_its_own_the_clients_stops_here() -> None:
    fields = ID + b"X-Access-Token: mine\r\nx_access_token: mine\r\nX-Access: 1\r\nAuthorization: Basic b2xk\r\n"
    received = await sent_on(request(fields=fields), token_header="X-Access-Token", token_scheme="")

    assert [value for name, value in received.fields if name.lower().startswith(b"x")] == [b"1", b"mine", b"token-1"]
    assert received.values(b"X-Access-Token") == [b"token-1"]
    assert received.values(b"Authorization") == []


# Where links are rewritten


async def test_gzip_is_offered_and_no_range_asked_for() -> None:
    fields = b"Accept-Encoding: br\r\nA: 1\r\nRange: bytes=0-5\r\nIf_Range: x\r\naccept_encoding: x\r\nAccept: a/b\r\n"
    received = await sent_on(request(fields=ID + fields), **LINKING)

    assert head(b"GET /api/x", b"A: 1\r\nAccept: a/b\r\nAccept-Encoding: gzip\r\n", b"").fullmatch(received.head)


async def test_tags_go_back_as_the_platform_knows_them() -> None:
    received = await sent_on(request(fields=ID + b'If-None-Match: W/"a"\r\nIf-Match: W/"b"\r\n'), **LINKING)

    assert received.values(b"If-None-Match") == [b'W/"a", "a"']
    assert received.values(b"If-Match") == [b'"b"']


@pytest.mark.parametrize("linked", [True, False])
async def test_links_go_as_the_platforms_own_and_a_digest_only_where_it_is_still_so(linked: bool) -> None:
    body = b'["%s/products"]' % (BASE if linked else b"http://elsewhere.example")
    received = await sent_on(request(b"PUT", fields=ID + JSON + b"Content-MD5: abc\r\n", body=body), **LINKING)

    assert (BASE in body) is linked
    assert BASE not in received.body
    assert received.values(b"Content-Length") == [b"%d" % len(received.body)]
    assert received.values(b"Content-MD5") == ([] if linked else [b"abc"])
    assert (received.body == body) is not linked


async def test_what_one_request_loses_the_next_one_has() -> None:
    """Requests with the same fields share what was read of them."""
    linked, other = b'["%s/products"]' % BASE, b'["http://elsewhere.example/xxxxx"]'[: len(BASE) + 13]
    fields = ID + JSON + b"Content-MD5: abc\r\nContent-Length: %d\r\n" % len(linked)
    assert len(other) == len(linked)
    async with whole_path(answering(response(b"")), of=LINKING) as path, path.connect() as client:
        for body in (linked, other, linked):
            assert (await client.ask(request(b"PUT", fields=fields) + body)).status == 200

    assert [each.values(b"Content-MD5") for each in path.api.received] == [[], [b"abc"], []]
    assert [each.values(b"Accept-Encoding") for each in path.api.received] == [[b"gzip"]] * 3


# What is refused before anything is asked of the platform


@pytest.mark.parametrize("before", [b"", b"\r\n"])
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request(b"PUT", body=b"x" * 101), 413, "body_too_large"),
        (request(b"PUT", fields=CHUNKED) + chunked(b"x" * 101), 413, "body_too_large"),
        (request(b"PUT", fields=b"Expect: a-miracle\r\n", body=b"x"), 417, "expectation_failed"),
        (request(b"GET", fields=b"Expect: a-miracle\r\n"), 417, "expectation_failed"),
        (request(b"OPTIONS", fields=b"Max-Forwards: many\r\n"), 400, "bad_request"),
    ],
)
async def test_what_can_not_be_sent_on_is_refused_however_it_comes(
    sent: bytes, status: int, code: str, before: bytes
) -> None:
    async with whole_path(answering(response()), upstream=UpstreamConfig(max_body_size=100)) as path:
        answer = await path.ask(before + sent)

    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
    assert path.api.connections == 0


async def test_a_body_at_the_limit_is_sent_on_however_it_comes() -> None:
    sent = request(b"PUT", body=b"x" * 100)
    async with whole_path(answering(response()), upstream=UpstreamConfig(max_body_size=100)) as path:
        await ask_in_all_ways(path, sent)

    assert [len(each.body) for each in path.api.received] == [100, 100]


@pytest.mark.parametrize("before", [b"", b"\r\n"])
async def test_at_its_last_hop_options_is_answered_here(before: bytes) -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        for _ in range(2):
            assert (await client.ask(before + request(b"OPTIONS", fields=b"Max-Forwards: 0\r\n"))).status == 204

    assert path.api.connections == 0


async def test_an_answer_from_here_before_the_whole_request_has_come_is_the_last_on_its_connection() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        await client.send(request(b"OPTIONS", fields=b"Max-Forwards: 0\r\nContent-Length: 4\r\n") + b"ab")
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (204, [b"close"])
        await client.send(b"cd" + request())
        assert await client.read_to_end() == (b"", True)

    assert path.api.connections == 0


# Where the body of an answer may tell what the platform means


TOO_FAST: Final = InBody(200, "error.code", "TOO_FAST", not_carried_out=True)


OFFERED = {
    b"br, gzip;q=0.5 , zstd": b"gzip;q=0.5",
    b"GZIP, deflate, br": b"GZIP",
    b"br": b"identity",
    b"*": b"identity",
    b"": b"identity",
    b"identity": b"identity",
}


@pytest.mark.parametrize("name", [b"Accept-Encoding", b"accept_encoding"])
async def test_it_is_offered_what_can_be_unpacked_here_and_no_other_coding(name: bytes) -> None:
    too_fast = response(gzip.compress(b'{"error": {"code": "TOO_FAST"}}'), fields=b"Content-Encoding: gzip\r\n")

    async def offered(accepted: bytes) -> bytes:
        api = answering(too_fast.replace(b"\r\n", b"\r\nRetry-After: 0\r\n", 1), response(b"ok"))
        async with whole_path(api, of={"throttled_when": (TOO_FAST,), "rate_limit": RateLimit(100)}) as path:
            answer = await path.ask(request(fields=name + b": " + accepted + b"\r\n"))

        assert answer.body == b"ok"
        [first, again] = [each.values(name) for each in path.api.received]
        assert first == again
        [value] = first
        return value

    # Side by side, since each waits for a second.
    assert await asyncio.gather(*map(offered, OFFERED)) == [*OFFERED.values()]


async def test_elsewhere_any_coding_may_be_asked_for() -> None:
    received = await sent_on(request(fields=ID + b"Accept-Encoding: br\r\n"))

    assert received.values(b"Accept-Encoding") == [b"br"]
