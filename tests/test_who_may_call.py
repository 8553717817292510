"""Clients and their credentials on the whole path: who is let in, what others are told, and what the platform sees."""

import asyncio
import base64
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any

import pytest

from proxy.config import ClientConfig, ServerConfig
from proxy.platforms.platform import RateLimit
from proxy.platforms.shop import Shops
from proxy.secret import Secret
from tests.peers import CHUNKED, Answer, answering, chunked, connected, request, response, serving, token_response
from tests.proxies import WholePath, config, platform, proxying, shop, whole_path

ERP, FEED = "secret-of-erp-0123456789", "secret-of-feed-0123456789"
CLIENTS = {
    "erp": ClientConfig(secret=Secret(ERP)),
    "feed": ClientConfig(secret_sha256=sha256(FEED.encode()).hexdigest(), shops=("demo",), methods=("GET", "POST")),
}


def basic(name: str, secret: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(f"{name}:{secret}".encode()) + b"\r\n"


def bearer(secret: str) -> bytes:
    return b"Authorization: Bearer " + secret.encode() + b"\r\n"


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


def without_request_id(answer: Answer) -> tuple[bytes, bytes]:
    """All that a client gets, but for the request id, which has one length, and for what time it is."""
    own = json.loads(answer.body)["request_id"].encode()
    assert len(own) == 32
    [date] = answer.values(b"Date")
    return answer.head.replace(date, b""), answer.body.replace(own, b"")


def path_with_clients(
    clients: Mapping[str, ClientConfig] = CLIENTS, **settings: Any
) -> AbstractAsyncContextManager[WholePath]:
    return whole_path(answering(response(b"ok")), clients=clients, **settings)


def nothing_reached_a_platform(path: WholePath) -> bool:
    return path.api.connections == path.tokens.connections == 0


# Let in


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (basic("erp", ERP), "erp"),
        (bearer(ERP), "erp"),
        (basic("feed", FEED), "feed"),
        (bearer(FEED), "feed"),
        (bearer(ERP).replace(b"Authorization: Bearer ", b"AUTHORIZATION:bEARER   "), "erp"),
        (basic("erp", ERP).replace(b"Basic", b"BASIC"), "erp"),
        (basic("feed", FEED).replace(b"=", b""), "feed"),
    ],
)
async def test_right_credentials_pass_and_go_no_further(fields: bytes, name: str) -> None:
    async with path_with_clients() as path:
        answer = await path.ask(request(fields=fields))
        [line] = path.proxy.logged("request.forwarded")

    [seen] = path.api.received
    assert (answer.status, answer.body) == (200, b"ok")
    assert seen.values(b"Authorization") == [b"Bearer token-1"]
    assert fields.split()[-1] not in seen.head
    for secret in (ERP, FEED, "erp", "feed"):
        assert secret.encode() not in seen.head
    assert line["client"] == name
    assert ERP not in str(path.proxy.events)


async def test_a_program_that_shows_credentials_only_when_asked_is_asked_and_served_on_one_connection() -> None:
    async with path_with_clients() as path, path.connect() as client:
        statuses = []
        for _ in range(12):
            statuses.append((await client.ask(request())).status)
            statuses.append((await client.ask(request(fields=basic("erp", ERP)))).status)

    assert statuses == [401, 200] * 12
    assert len(path.api.received) == 12


PASSWORD = "jelszó-és-még-egy"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("digest", [False, True])
async def test_a_password_with_letters_outside_ascii_is_right_in_either_encoding(encoding: str, digest: bool) -> None:
    sha = sha256(PASSWORD.encode()).hexdigest()
    client = ClientConfig(secret_sha256=sha) if digest else ClientConfig(secret=Secret(PASSWORD))
    encoded = base64.b64encode(f"erp:{PASSWORD}".encode(encoding))
    async with path_with_clients({"erp": client}) as path:
        assert (await path.ask(request(fields=b"Authorization: Basic " + encoded + b"\r\n"))).status == 200
        assert (await path.ask(request(fields=b"Authorization: Basic " + encoded[:-8] + b"\r\n"))).status == 401


async def test_a_client_that_is_asked_learns_the_encoding() -> None:
    async with path_with_clients() as path:
        answer = await path.ask(request())

    assert answer.values(b"WWW-Authenticate") == [
        b'Basic realm="shop-auth-proxy", charset="UTF-8"',
        b'Bearer realm="shop-auth-proxy"',
    ]


# As Ruby and Python write Base64, of which some programs make a header as it is.
LONG = base64.encodebytes(f"erp:{'x' * 100}".encode()).rstrip()


@pytest.mark.parametrize(
    "fields",
    [
        b"Authorization: Basic " + LONG + b"\r\nX: 1\r\n",
        b"Authorization: Basic " + LONG.replace(b"\n", b"\r\n") + b"\r\nX: 1\r\n",
        b"Authorization: Basic " + LONG.replace(b"\n", b"\r\n ") + b"\r\n",
        b"X: 1\r\nauthorization: Basic\r\n\t" + LONG[:60] + b"\r\n",
        b"Authorization: Basic " + LONG[:60] + b"\n\r\nX: 1\r\n",
    ],
)
async def test_base64_over_two_lines_is_told_as_what_it_is(fields: bytes) -> None:
    async with path_with_clients() as path:
        answer = await path.ask(request(fields=fields))
        assert nothing_reached_a_platform(path)
        assert LONG[:20].decode() not in str(path.proxy.events)

    assert code(answer) == (400, "bad_request")
    assert json.loads(answer.body)["message"] == (
        "The Authorization header is split over two lines: write its Base64 without line breaks."
    )


async def test_a_line_end_behind_base64_is_told_too() -> None:
    async with path_with_clients() as path:
        answer = await path.ask(request(fields=b"Authorization: Basic " + LONG[:60] + b"\r\n\r\nX: 1\r\n"))
        assert nothing_reached_a_platform(path)

    assert code(answer) == (400, "bad_request")
    assert b"as Base64 often does" in answer.body


# Refused


REFUSED = {
    "none": b"",
    "wrong secret": basic("erp", "wrong"),
    "unknown name": basic("nobody", "wrong"),
    "another's secret": basic("feed", ERP),
    "another name": basic("nobody", ERP),
    "no name": basic("", ERP),
    "wrong token": bearer("wrong"),
    "not the digest": bearer(CLIENTS["feed"].secret_sha256 or ""),
    "name and secret as a token": bearer(f"erp:{ERP}"),
    "no scheme": b"Authorization: " + ERP.encode() + b"\r\n",
    "Basic without Base64": f"Authorization: Basic erp:{ERP}\r\n".encode(),
    "twice": basic("erp", ERP) * 2,
    "right and wrong": bearer(ERP) + bearer("wrong"),
    "wrong and right": basic("old", "old") + basic("erp", ERP),
    "a list": basic("erp", ERP).rstrip() + b", Bearer " + ERP.encode() + b"\r\n",
    "for another proxy": basic("erp", ERP).replace(b"Authorization", b"Proxy-Authorization"),
    "underscore": bearer(ERP).replace(b"Authorization", b"Authorization_"),
    "in a cookie": b"Cookie: authorization=Bearer " + ERP.encode() + b"\r\n",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_all_else_is_refused_and_nothing_is_sent_anywhere(what: str) -> None:
    async with path_with_clients() as path:
        answer = await path.ask(request(fields=REFUSED[what]))
        [line] = path.proxy.logged("request.refused")

    assert code(answer) == (401, "client_unauthenticated")
    assert [value.split()[0] for value in answer.values(b"WWW-Authenticate")] == [b"Basic", b"Bearer"]
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=http_request_denied"]
    assert nothing_reached_a_platform(path)
    assert (line["client"], line["address"], line["code"]) == (None, "127.0.0.1", "client_unauthenticated")
    everything = str(path.proxy.events) + str(answer)
    assert ERP not in everything
    assert base64.b64encode(f"erp:{ERP}".encode()).decode() not in everything


async def test_with_wrong_credentials_no_answer_tells_what_was_wrong() -> None:
    wrong = [fields for what, fields in REFUSED.items() if b"\r\nAuthorization:" in b"\r\n" + fields and what != "none"]
    async with path_with_clients() as path:
        answers = {without_request_id(await path.ask(request(fields=fields))) for fields in wrong[:10]}

    assert len(wrong) >= 10
    assert len(answers) == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND"])
async def test_every_method_needs_credentials(method: bytes) -> None:
    async with path_with_clients() as path, path.connect() as client:
        await client.send(request(method, fields=b"Max-Forwards: 0\r\n"))
        answer = await client.read_answer(body=method != b"HEAD")

    assert answer.status == 401
    assert nothing_reached_a_platform(path)


@pytest.mark.parametrize(
    "sent",
    [
        request(b"POST", fields=b"Content-Length: 5000000\r\nExpect: 100-continue\r\n"),
        request(b"POST", fields=b"Content-Length: 5000000\r\n") + b"x" * 100_000,
        request(b"POST", fields=CHUNKED) + chunked(b"x" * 10)[:-3],
    ],
    ids=["expects", "length", "chunked"],
)
async def test_the_body_of_a_refused_request_is_not_waited_for_and_ends_the_connection(sent: bytes) -> None:
    async with path_with_clients() as path, path.connect() as client:
        answer = await client.ask(sent)
        assert await client.at_end()

    assert code(answer) == (401, "client_unauthenticated")
    assert answer.values(b"Connection") == [b"close"]
    assert nothing_reached_a_platform(path)


async def test_a_request_that_is_none_is_told_so_to_anyone() -> None:
    async with path_with_clients() as path:
        assert code(await path.ask(request(b"TRACE"))) == (501, "method_not_supported")
        assert code(await path.ask(request(fields=CHUNKED + b"Content-Length: 3\r\n"))) == (400, "bad_request")
        assert nothing_reached_a_platform(path)


# Shops and methods


# How a request may name a shop.
WAYS = [
    b"GET /%s/x HTTP/1.1\r\nHost: proxy\r\n",
    b"GET /x HTTP/1.1\r\nHost: %s.old.example.com\r\n",
    b"GET / HTTP/1.1\r\nHost: %s.old.example.com\r\n",
    b"GET /A_B HTTP/1.1\r\nHost: %s.old.example.com:80\r\n",
    b"GET http://%s.old.example.com/x HTTP/1.1\r\nHost: proxy\r\n",
]


@pytest.mark.parametrize("way", WAYS)
async def test_without_credentials_every_shop_looks_the_same(way: bytes) -> None:
    async with path_with_clients(of={"hosts": ("{shop}.old.example.com",)}) as path:
        for fields in (b"", basic("erp", "wrong")):
            exists, exists_not = [await path.ask(way % name + fields + b"\r\n") for name in (b"demo", b"nobody")]
            assert without_request_id(exists) == without_request_id(exists_not)
            assert exists.status == 401


@pytest.mark.parametrize("way", WAYS)
async def test_a_shop_that_a_client_may_not_use_looks_like_none_however_it_is_named(way: bytes) -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        place = platform(tokens.port, api.port, hosts=("{shop}.old.example.com",))
        settings = config(*(shop(name, place) for name in ("demo", "hidden")), clients=CLIENTS)
        async with proxying(settings) as proxy, connected(proxy.port) as first, connected(proxy.port) as second:
            hidden = await first.ask(way % b"hidden" + bearer(FEED) + b"\r\n")
            absent = await second.ask(way % b"absent" + bearer(FEED) + b"\r\n")

    assert without_request_id(hidden) == without_request_id(absent)
    assert hidden.status in (400, 403)
    assert api.received == tokens.received == []


@pytest.mark.parametrize("wildcard", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"DELETE"])
async def test_a_shop_that_a_client_may_not_use_looks_like_one_that_is_not_there(wildcard: bool, method: bytes) -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        place = platform(tokens.port, api.port)
        shops = {name: shop(name, place) for name in ("demo", "hidden")}
        others = (place, shops["demo"].credentials) if wildcard else None
        async with (
            proxying(config(clients=CLIENTS, shops=Shops(shops, others))) as proxy,
            connected(proxy.port) as client,
        ):
            hidden, absent = [
                await client.ask(request(method, b"/%s/x" % name, fields=bearer(FEED)))
                for name in (b"hidden", b"absent")
            ]
            of_erp = [
                (await client.ask(request(target=b"/%s/x" % name, fields=bearer(ERP)))).status
                for name in (b"hidden", b"absent")
            ]
            lines = proxy.logged("request.refused")

    assert code(hidden) == (403, "client_forbidden")
    assert without_request_id(hidden) == without_request_id(absent)
    assert b"hidden" not in hidden.body
    assert [(line["client"], line["shop"]) for line in lines[:2]] == [("feed", "hidden"), ("feed", "absent")]
    assert of_erp == [200, 200 if wildcard else 404]
    assert all(received.request_line == b"GET /api/x HTTP/1.1" for received in api.received)
    assert len(api.received) == (2 if wildcard else 1)


@pytest.mark.parametrize(
    ("method", "status"),
    [(b"GET", 200), (b"HEAD", 200), (b"POST", 200), (b"PUT", 403), (b"DELETE", 403), (b"OPTIONS", 403)],
)
async def test_a_client_with_a_list_of_methods_may_use_those(method: bytes, status: int) -> None:
    async with path_with_clients() as path, path.connect() as client:
        await client.send(request(method, fields=basic("feed", FEED)))
        answer = await client.read_answer(body=method != b"HEAD")

    assert answer.status == status
    assert [received.request_line.split()[0] for received in path.api.received] == ([method] if status == 200 else [])


# Failures


async def test_after_ten_failures_only_failing_ones_are_told_to_wait() -> None:
    async with path_with_clients() as path, path.connect() as client:
        failed = [code(await client.ask(request(fields=basic("erp", "wrong")))) for _ in range(10)]
        waits = await client.ask(request(fields=bearer("wrong")))
        right = await client.ask(request(fields=basic("erp", ERP)))
        asked = await client.ask(request())
        lines = path.proxy.logged("request.refused")

    assert failed == [(401, "client_unauthenticated")] * 10
    assert code(waits) == (429, "too_many_failures")
    assert 0 < int(waits.values(b"Retry-After")[0]) <= 60
    assert right.status == 200
    assert code(asked) == (401, "client_unauthenticated")
    assert len(path.api.received) == 1
    assert [(line["level"], line["status"]) for line in lines] == [
        *[("info", 401)] * 10,
        ("warning", 429),
        ("info", 401),
    ]
    assert {line["address"] for line in lines} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("fields", "tried", "reason"),
    [
        (basic("erp", "wrong-one"), "erp", "wrong name or secret"),
        (basic("wrong-one", "x"), "unknown", "wrong name or secret"),
        (basic(ERP, ""), "unknown", "wrong name or secret"),
        (basic(ERP, ERP), "unknown", "the secret of client erp, under another name"),
        (basic("evil\nname", "x"), "unknown", "wrong name or secret"),
        (bearer("wrong-one"), None, "no client has this secret"),
        (b"Authorization: wrong-one\r\n", None, "neither HTTP Basic nor Bearer"),
        (b"", None, "no credentials"),
    ],
)
async def test_a_failure_is_logged_with_the_name_only_if_a_client_is_called_so(
    fields: bytes, tried: str | None, reason: str
) -> None:
    async with path_with_clients() as path:
        await path.ask(request(fields=fields))
        [line] = path.proxy.logged("request.refused")

    assert (line["client_tried"], line["reason"]) == (tried, reason)
    assert not [text for text in ("wrong-one", ERP, "evil") if text in str(path.proxy.events)]


# Who is who


async def test_clients_share_a_shops_rate_limit_by_name_not_by_address() -> None:
    async with path_with_clients(of={"rate_limit": RateLimit(1, per=0.2)}) as path:
        await path.ask(request(fields=bearer(ERP)))
        many = [request(target=b"/demo/erp", fields=bearer(ERP))] * 4
        await asyncio.gather(*(path.ask(sent) for sent in [*many, request(target=b"/demo/feed", fields=bearer(FEED))]))

    order = [received.request_line.split()[1] for received in path.api.received[1:]]
    assert order.index(b"/api/feed") <= 2


@pytest.mark.parametrize(
    ("server", "clients", "expected"),
    [
        (ServerConfig(port=0), {}, "this machine only (loopback), without credentials"),
        (ServerConfig(port=0), {"erp": CLIENTS["erp"]}, "1 client with credentials"),
        (ServerConfig(port=0, host="0.0.0.0"), CLIENTS, "2 clients with credentials"),
        (
            ServerConfig(port=0, host="0.0.0.0", allow_anonymous=True),
            {},
            "anyone who can reach it, without credentials (allow_anonymous)",
        ),
    ],
)
async def test_at_its_start_the_proxy_says_who_may_call(
    server: ServerConfig, clients: dict[str, ClientConfig], expected: str
) -> None:
    async with proxying(config(server=server, clients=clients)) as proxy:
        [started] = proxy.logged("proxy.started")

    assert started["who_may_call"] == expected


async def test_without_clients_credentials_are_not_looked_at_and_the_log_names_nobody() -> None:
    async with path_with_clients({}) as path:
        answers = [await path.ask(request(fields=fields)) for fields in REFUSED.values()]

    assert {answer.status for answer in answers} == {200}
    assert not [line for line in path.proxy.events if "client" in line]
    assert {value for each in path.api.received for value in each.values(b"Authorization")} == {b"Bearer token-1"}
