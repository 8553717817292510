"""The way to each shop, tried over real connections: what is asked, what is found, and when it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from proxy.app import open_connections
from proxy.commands.common import redactor_for
from proxy.commands.findings import Finding
from proxy.commands.way import Way
from proxy.config import Config
from proxy.platforms.answers import InBody
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.shop import Shop
from tests.peers import Connection, answering, response, serving, token_response
from tests.ports import free_port
from tests.proxies import SECRET, config, platform, shop

REFUSED = response(b'{"error":"invalid_client"}', status=b"401 Unauthorized")
JSON = b"Content-Type: application/json; charset=utf-8\r\n"


class Found(list[Finding]):
    """What was shown, and the moment when something was."""

    def __init__(self) -> None:
        self.one = asyncio.Event()

    def show(self, finding: Finding) -> None:
        self.append(finding)
        self.one.set()

    @property
    def outcomes(self) -> list[tuple[str, bool | None, str]]:
        return [(each.shop, each.well, each.outcome) for each in self]


@asynccontextmanager
async def trying(settings: Config, calls: dict[str, str] | None = None) -> AsyncIterator[tuple[Way, Found]]:
    found = Found()
    async with open_connections(settings.upstream) as connections:
        yield Way(settings, connections.client, redactor_for(settings), calls or {}, found.show), found


async def tried(*shops: Shop, calls: dict[str, str] | None = None) -> tuple[bool, Found]:
    async with trying(config(*shops), calls) as (way, found):
        return await way.try_all(), found


async def test_a_token_and_any_answer_of_the_api_are_well() -> None:
    async with (
        serving(answering(token_response("the-token"))) as tokens,
        serving(answering(response(status=b"401 Unauthorized"))) as api,
    ):
        well, found = await tried(shop("demo", platform(tokens.port, api.port)))

    assert well
    assert found.outcomes == [("demo", True, "granted"), ("demo", True, "reached")]
    assert found[1].explanation.startswith(f"http://127.0.0.1:{api.port}/api/ answers (status 401, in ")
    assert api.received[0].request_line == b"GET /api/ HTTP/1.1"
    assert b"the-token" not in api.received[0].head
    assert SECRET.encode() not in api.received[0].head


async def test_an_api_that_can_not_be_reached_is_no_problem_but_a_warning() -> None:
    async with serving(answering(token_response())) as tokens:
        well, found = await tried(shop("demo", platform(tokens.port, free_port())))

    assert well
    assert found.outcomes == [("demo", True, "granted"), ("demo", None, "not reached")]
    assert found[1].explanation.startswith("warning: nothing listens on 127.0.0.1:")


async def test_the_token_is_told_while_the_api_is_still_silent() -> None:
    async def silent(connection: Connection) -> None:
        await connection.read_request()
        await connection.read_request()

    async with (
        serving(answering(token_response())) as tokens,
        serving(silent) as api,
        trying(config(shop("demo", platform(tokens.port, api.port)))) as (way, found),
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(way.try_all())
        await found.one.wait()
        outcomes, done = found.outcomes, task.done()
        task.cancel()

    assert (outcomes, done) == ([("demo", True, "granted")], False)


async def test_shops_that_share_an_api_ask_it_once() -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        of = platform(tokens.port, api.port)
        well, found = await tried(shop("one", of), shop("two", of))

    assert well
    assert len(api.received) == 1
    assert sorted(found.outcomes) == [
        ("one", True, "granted"),
        ("one", True, "reached"),
        ("two", True, "granted"),
        ("two", True, "reached"),
    ]


async def test_a_call_is_made_with_the_token_and_a_good_answer_is_well() -> None:
    async with (
        serving(answering(token_response("the-token"))) as tokens,
        serving(answering(response(), response(b'{"items":[]}', fields=JSON))) as api,
    ):
        calls = {"demo": "products?limit=1&a=%2F"}
        well, found = await tried(shop("demo", platform(tokens.port, api.port)), calls=calls)

    assert well
    assert found.outcomes[2:] == [("demo", True, "answered")]
    assert found[2].explanation.startswith(
        "GET /demo/products?limit=1&a=%2F: status 200, 12 bytes of application/json, in "
    )
    assert api.received[1].request_line == b"GET /api/products?limit=1&a=%2F HTTP/1.1"
    assert b"Authorization: Bearer the-token" in api.received[1].head


async def test_of_a_call_that_fails_the_answer_is_shown_without_the_token() -> None:
    forbidden = response(b'{"error":40101,\n"said":"no \x1b the-token"}', status=b"401 Unauthorized", fields=JSON)
    async with (
        serving(answering(token_response("the-token"))) as tokens,
        serving(answering(response(), forbidden)) as api,
    ):
        well, found = await tried(shop("demo", platform(tokens.port, api.port)), calls={"demo": "products"})

    assert not well
    assert found.outcomes[2:] == [("demo", False, "failed")]
    assert "the API client may not do this; allow it where the client was made" in found[2].explanation
    assert found[2].explanation.endswith('{"error":40101, "said":"no · [hidden]"}')


async def test_a_call_has_the_token_where_its_platform_wants_it() -> None:
    async with serving(answering(token_response("the-token"))) as tokens, serving(answering(response())) as api:
        of = replace(platform(tokens.port, api.port), token_header="X-Access-Token", token_scheme="")
        well, _ = await tried(shop("demo", of), calls={"demo": "products"})

    assert well
    assert b"X-Access-Token: the-token\r\n" in api.received[1].head
    assert b"authorization" not in api.received[1].head.lower()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("TOO_FAST", "the platform says that calls come too fast"),
        ("EXPIRED", "the token is fresh"),
        ("FINE", None),
    ],
)
async def test_an_answer_means_what_its_platform_means_by_it(code: str, told: str | None) -> None:
    answer = response(b'{"code":"%s"}' % code.encode(), fields=JSON)
    async with serving(answering(token_response())) as tokens, serving(answering(response(), answer)) as api:
        of = replace(
            platform(tokens.port, api.port),
            throttled_when=(InBody(200, "code", "TOO_FAST"),),
            unauthorized_when=(InBody(200, "code", "EXPIRED"),),
        )
        well, found = await tried(shop("demo", of), calls={"demo": "products"})

    assert well is (told is None)
    assert told is None or told in found[2].explanation


async def test_without_a_token_there_is_no_call() -> None:
    async with serving(answering(REFUSED)) as tokens, serving(answering(response())) as api:
        of = platform(tokens.port, api.port)
        well, found = await tried(shop("demo", of), calls={"demo": "products"})

    assert not well
    assert found.outcomes == [("demo", False, "refused"), ("demo", True, "reached")]
    assert "compare client_id and client_secret of [shops.demo]" in found[0].explanation
    assert len(api.received) == 1


async def test_a_token_endpoint_without_an_answer_is_asked_again_without_the_secret() -> None:
    asked: list[bytes] = []

    async def closing(connection: Connection) -> None:
        request = await connection.read_request()
        if request is not None:
            asked.append(request.head + request.body)

    async with serving(closing) as tokens, serving(answering(response())) as api:
        well, found = await tried(shop("demo", platform(tokens.port, api.port)))

    assert not well
    assert found[0].outcome == "unreachable"
    assert f"127.0.0.1:{tokens.port} closed the connection without an answer" in found[0].explanation
    with_secret, *without = [SECRET.encode() in request for request in asked]
    assert with_secret
    assert without
    assert not any(without)


async def test_an_answer_that_is_no_token_is_told_with_what_may_be_wrong() -> None:
    async with serving(answering(response(b"<html>", fields=b"Content-Type: text/html\r\n"))) as tokens:
        well, found = await tried(shop("demo", platform(tokens.port, free_port())))

    assert not well
    assert found[0].explanation.startswith(
        f"the answer is not a JSON object (asked http://127.0.0.1:{tokens.port}/token); "
    )
    assert "is platforms.test.token_url right" in found[0].explanation
    assert len(tokens.received) == 1


async def test_a_refusal_of_the_egress_proxy_is_told_as_its_own() -> None:
    refusal = response(status=b"407 Proxy Authentication Required")
    async with serving(answering(refusal)) as proxy:
        way_out = EgressProxy("127.0.0.1", proxy.port)
        behind = replace(platform(1, 1), token_url="https://a.example/", api_url="https://b.example/", proxy=way_out)
        well, found = await tried(shop("demo", behind))

    token = next(each for each in found if each.outcome == "unreachable")
    assert not well
    assert "answered 407 to CONNECT a.example:443: it needs a user name and a password" in token.explanation
    assert token.explanation.endswith("(asked https://a.example/)")
