"""Calls that the platform answers 401 though the token is fresh, and tokens that can't be had: what the client sees."""

import asyncio
import gzip
from html import escape
from pathlib import Path

import pytest

from proxy.config import TokensConfig
from proxy.platforms.shoprenter_scopes import SHOPRENTER_SCOPES
from tests.admin.asking import ask
from tests.config.written import DEMO, load
from tests.peers import Connection, Script, answering, request, response, token_response
from tests.proxies import whole_path

JSON = b'{"error":{"code":40101,"message":"You have no permission for this operation!"}}'
XML = b"<?xml version='1.0'?><error><code>40101</code></error>"
WHY = "the platform refuses this call although the token is fresh: the API client probably lacks the scope for it"


def numbered_tokens() -> Script:
    return answering(*(token_response(f"token-{number}") for number in range(1, 50)))


def forbidden(body: bytes) -> bytes:
    return response(body, status=b"401 Unauthorized")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(JSON, 40101, id="json"),
        pytest.param(XML, 40101, id="xml"),
        pytest.param(b"", None, id="no body"),
        pytest.param(b'{"error":"access_denied"}', None, id="no inner code"),
        pytest.param(b" " * 4000 + JSON + b" " * 500_000, 40101, id="at the beginning of a long body"),
        pytest.param(b" " * 500_000 + JSON, None, id="at the end of a long body"),
    ],
)
async def test_a_forbidden_call_is_told_once_with_the_platforms_code_and_its_401_passes_as_it_is(
    body: bytes, code: int | None
) -> None:
    async with whole_path(answering(forbidden(body)), tokens=numbered_tokens()) as path, path.connect() as client:
        answers = [await client.ask(request(target=b"/demo/orders?x=1")) for _ in range(5)]
        told = path.proxy.logged("call.not_permitted")
        attempts = [entry["attempts"] for entry in path.proxy.logged("request.forwarded")]

    assert [(answer.status, answer.body == body) for answer in answers] == [(401, True)] * 5
    assert attempts == [2, 1, 1, 1, 1]
    assert len(path.tokens.received) == 2
    assert told == [
        {
            "event": "call.not_permitted",
            "level": "warning",
            "shop": "demo",
            "method": "GET",
            "path": "/orders",
            "inner_code": code,
            "why": WHY,
        }
    ]


async def test_the_platforms_code_is_found_in_pieces_without_holding_up_the_first() -> None:
    go_on = asyncio.Event()

    async def api(connection: Connection) -> None:
        while await connection.read_request() is not None:
            await connection.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\n401")
            await go_on.wait()
            await connection.send(b"01")

    async with whole_path(api, tokens=numbered_tokens()) as path, path.connect() as client:
        await client.send(request())
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
        assert await client.reader.readexactly(3) == b"401"
        go_on.set()
        assert await client.reader.readexactly(2) == b"01"
        await path.proxy.until_logged("call.not_permitted")

        assert path.proxy.logged("call.not_permitted")[0]["inner_code"] == 40101


async def test_a_head_that_is_forbidden_is_told_without_a_code() -> None:
    async with whole_path(
        answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 50\r\n\r\n"), tokens=numbered_tokens()
    ) as path:
        async with path.connect() as client:
            await client.send(request(b"HEAD"))
            answer = await client.read_answer(body=False)
        await path.proxy.until_logged("call.not_permitted")

    assert answer.status == 401
    assert [entry["inner_code"] for entry in path.proxy.logged("call.not_permitted")] == [None]


async def test_calls_are_forbidden_by_method_and_first_segment() -> None:
    calls = [(b"GET", b"/demo/a/1"), (b"GET", b"/demo/a/2?x"), (b"POST", b"/demo/a/1"), (b"GET", b"/demo/b/1")] * 2
    async with whole_path(answering(forbidden(JSON)), tokens=numbered_tokens()) as path, path.connect() as client:
        for method, target in calls:
            await client.ask(request(method, target))
        told = [(entry["method"], entry["path"]) for entry in path.proxy.logged("call.not_permitted")]

    assert told == [("GET", "/a/1"), ("POST", "/a/1"), ("GET", "/b/1")]
    assert len(path.tokens.received) == 1 + 3


async def test_the_prefix_that_all_calls_of_a_platform_share_tells_no_kinds_apart() -> None:
    async with (
        whole_path(answering(forbidden(JSON)), tokens=numbered_tokens(), of={"api_prefix": "v3/fep"}) as path,
        path.connect() as client,
    ):
        for target in (b"/demo/v3/fep/orders", b"/demo/v3/fep/products", b"/demo/v3/fep/orders/1"):
            await client.ask(request(target=target))

    assert len(path.tokens.received) == 1 + 2


async def test_a_call_that_overtakes_the_repeated_one_costs_no_token_request() -> None:
    repeated, let_it_end = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line == b"GET /api/orders/slow HTTP/1.1" and b"token-2" in received.head:
                repeated.set()
                await let_it_end.wait()
            await connection.send(forbidden(JSON))

    async with whole_path(api, tokens=numbered_tokens()) as path, path.connect() as slow:
        await slow.send(request(target=b"/demo/orders/slow"))
        await repeated.wait()
        overtaking = await path.ask(request(target=b"/demo/orders/quick"))
        let_it_end.set()
        answer = await slow.read_answer()

    assert (overtaking.status, answer.status) == (401, 401)
    assert len(path.tokens.received) == 2


async def test_a_repeated_call_whose_client_leaves_is_over() -> None:
    repeated = asyncio.Event()

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if b"/slow" in received.request_line and b"token-2" in received.head:
                repeated.set()
                await connection.reader.read()
                return
            await connection.send(forbidden(JSON) if b"token-3" not in received.head else response(b"healed"))

    async with whole_path(api, tokens=numbered_tokens()) as path:
        async with path.connect() as leaving:
            await leaving.send(request(target=b"/demo/orders/slow"))
            await repeated.wait()
            leaving.reset()
        await path.proxy.until_logged("request.abandoned")
        answer = await path.ask(request(target=b"/demo/orders/quick"))

    assert answer.body == b"healed"


@pytest.mark.parametrize(
    ("tokens", "status", "code", "retry_after"),
    [
        (response(b'{"error":"invalid_client"}', status=b"401 Unauthorized"), 502, "token_refused", b"5"),
        (response(b"", status=b"503 Busy", fields=b"Retry-After: 7\r\n"), 502, "token_unavailable", b"7"),
        (response(b"", status=b"429 Slow", fields=b"Retry-After: 9999\r\n"), 502, "token_unavailable", b"60"),
    ],
    ids=["refusal", "outage", "rate limit"],
)
async def test_a_client_is_told_when_to_try_again_and_the_endpoint_is_left_alone(
    tokens: bytes, status: int, code: str, retry_after: bytes
) -> None:
    async with whole_path(answering(response()), tokens=answering(tokens)) as path, path.connect() as client:
        answers = [await client.ask(request()) for _ in range(10)]

    assert {answer.status for answer in answers} == {status}
    assert all(b'"code": "%s"' % code.encode() in answer.body for answer in answers)
    assert [answer.values(b"Retry-After") for answer in answers] == [[retry_after]] * 10
    assert len(path.tokens.received) == 1
    assert path.api.received == []


async def test_a_revocation_right_after_a_refresh_is_healed_by_the_call_that_notices() -> None:
    """A slow call with the first token is answered 401 when its successor has been revoked too."""
    dead: set[bytes] = set()
    slow_came, go_on = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while (asked := await connection.read_request()) is not None:
            if b"/slow" in asked.request_line and not slow_came.is_set():
                slow_came.set()
                await go_on.wait()
            refused = asked.values(b"Authorization")[0] in dead
            await connection.send(forbidden(b"dead") if refused else response(b"ok"))

    async with whole_path(api, tokens=numbered_tokens()) as path, path.connect() as slow:
        await slow.send(request(target=b"/demo/x/slow"))
        await slow_came.wait()
        clock = asyncio.get_running_loop().time
        path.proxy.running.tokens._clock = lambda: clock() + 3580.0  # inside the margin of the first token
        assert (await path.ask(request(target=b"/demo/y"))).body == b"ok"
        await path.proxy.until_logged("token.fetched", 2)
        dead |= {b"Bearer token-1", b"Bearer token-2"}
        go_on.set()

        assert (await slow.read_answer()).body == b"ok"
        assert [(await path.ask(request(target=b"/demo/x"))).body for _ in range(3)] == [b"ok"] * 3

    assert path.proxy.logged("call.not_permitted") == []
    assert len(path.tokens.received) == 3
    assert max(entry["attempts"] for entry in path.proxy.logged("request.forwarded")) == 3


async def test_without_a_pause_a_forbidden_call_is_tried_again_each_time() -> None:
    timeouts = TokensConfig(unauthorized_pause=0.0)
    async with whole_path(answering(forbidden(JSON)), tokens=numbered_tokens(), timeouts=timeouts) as path:
        for _ in range(2):
            assert (await path.ask(request())).status == 401

    assert len(path.tokens.received) > 2


async def test_the_platforms_code_is_found_in_a_packed_body_too() -> None:
    packed = response(gzip.compress(JSON), status=b"401 Unauthorized", fields=b"Content-Encoding: gzip\r\n")
    async with whole_path(answering(packed), tokens=numbered_tokens()) as path:
        await path.ask(request())

    assert [entry["inner_code"] for entry in path.proxy.logged("call.not_permitted")] == [40101]


async def test_a_refusal_that_is_remembered_is_no_warning_for_each_request_and_not_told_again() -> None:
    refusal = response(b'{"error":"invalid_client","hint":"Check it"}', status=b"401 Unauthorized")
    async with whole_path(answering(response()), tokens=answering(refusal)) as path:
        for _ in range(5):
            assert (await path.ask(request())).status == 502
        warnings = [entry["event"] for entry in path.proxy.events if entry["level"] == "warning"]
        reasons = [entry["reason"] for entry in path.proxy.logged("request.refused")]

    assert warnings == ["token.refused"]
    assert reasons == [""] * 5


async def test_the_scope_that_a_refused_call_needs_is_named() -> None:
    forbidden = response(b'{"code":40101}', status=b"401 Unauthorized")
    tokens = answering(token_response("token-1"), token_response("token-2"))
    async with whole_path(answering(forbidden), tokens=tokens, of={"scopes": SHOPRENTER_SCOPES}) as path:
        await path.ask(request(b"DELETE", b"/demo/products/5"))
        await path.proxy.until_logged("call.not_permitted")
        [told] = path.proxy.logged("call.not_permitted")
        page = await ask(path.proxy, "/status")

    words = "DELETE /products needs product.product:write: allow it in the shop's admin, Settings > API Settings"
    assert (told["scope"], told["hint"]) == ("product.product:write", words)
    assert escape(words).encode() in page.body


async def test_a_platform_of_the_users_own_can_name_it_too(tmp_path: Path) -> None:
    forbidden = response(status=b"401 Unauthorized")
    tokens = answering(token_response("token-1"), token_response("token-2"))
    written = """[platforms.mine]
        token_url = "https://auth.example.com/token"
        api_url = "https://api.example.com/"
        scopes = { orders = { GET = "read_orders", "*" = "write_orders" } }
    """
    scopes = load(tmp_path / "config.toml", DEMO + written).platforms["mine"].scopes
    async with whole_path(answering(forbidden), tokens=tokens, of={"scopes": scopes, "api_prefix": "v1"}) as path:
        await path.ask(request(b"PUT", b"/demo/v1/orders/5"))
        await path.proxy.until_logged("call.not_permitted")
        [told] = path.proxy.logged("call.not_permitted")

    words = "PUT /orders needs write_orders: allow it in the settings of the API client"
    assert (told["scope"], told["hint"]) == ("write_orders", words)
