"""Shoprenter's token endpoint and its token checks, over real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from proxy.simulator import ShoprenterSimulator, SimulatedClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from tests.simulator.conftest import SettableClock

CLIENTS = {
    "app": SimulatedClient("app-secret"),
    "demo-only": SimulatedClient("demo-secret", shops=frozenset({"demo"})),
    "reader": SimulatedClient("reader-secret", scopes=frozenset({"product:read"})),
}
GOOD = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "app-secret"}
ALL_REQUIRED = "Check that all required parameters have been provided"
JSON = {"Accept": "application/json"}


@pytest.fixture
async def sim(clock: SettableClock) -> AsyncIterator[ShoprenterSimulator]:
    async with ShoprenterSimulator(clients=CLIENTS, clock=clock) as started:
        yield started


async def ask_token(
    session: aiohttp.ClientSession, sim: ShoprenterSimulator, fields: dict[str, Any], shop: str = "demo"
) -> tuple[int, dict[str, Any]]:
    async with session.post(sim.token_url.replace("{shop}", shop), json=fields) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def status_of(
    session: aiohttp.ClientSession, sim: ShoprenterSimulator, token: str | None, path: str = "products", **options: Any
) -> int:
    shop = options.pop("shop", "demo")
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with session.request(
        options.pop("method", "GET"), sim.api_url.replace("{shop}", shop) + path, headers=headers | JSON, **options
    ) as response:
        await response.read()
        return response.status


async def test_good_credentials_get_a_token_that_works(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    status, granted = await ask_token(session, sim, GOOD)
    assert status == 200
    assert list(granted) == ["token_type", "expires_in", "access_token"]
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
    assert await status_of(session, sim, granted["access_token"]) == 200
    assert sim.counts.tokens_issued == 1


async def test_the_token_request_is_recorded(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    await ask_token(session, sim, GOOD)
    (recorded,) = sim.token_requests
    assert (recorded.method, recorded.target) == ("POST", "/demo/app/token")
    assert json.loads(recorded.body) == GOOD


@pytest.mark.parametrize(
    ("change", "shop", "status", "error", "hint"),
    [
        ({"client_secret": "wrong"}, "demo", 401, "invalid_client", None),
        ({"client_secret": "\ud800é"}, "demo", 401, "invalid_client", None),
        ({"client_id": "unknown"}, "demo", 401, "invalid_client", None),
        ({"client_id": "demo-only", "client_secret": "demo-secret"}, "other", 401, "invalid_client", None),
        ({}, "No-Shop", 401, "invalid_client", None),
        ({"client_id": ""}, "demo", 400, "invalid_request", "Check the `client_id` parameter"),
        ({"client_id": 7}, "demo", 400, "invalid_request", "Check the `client_id` parameter"),
        ({"client_secret": None}, "demo", 400, "invalid_request", "Check the `client_secret` parameter"),
        ({"grant_type": ""}, "demo", 400, "invalid_request", "Check the `grant_type` parameter"),
        ({"grant_type": "password"}, "demo", 400, "unsupported_grant_type", ALL_REQUIRED),
    ],
)
async def test_bad_token_requests_get_the_documented_errors(
    sim: ShoprenterSimulator,
    session: aiohttp.ClientSession,
    change: dict[str, Any],
    shop: str,
    status: int,
    error: str,
    hint: str | None,
) -> None:
    got_status, body = await ask_token(session, sim, GOOD | change, shop)
    assert (got_status, body["error"], body.get("hint")) == (status, error, hint)
    assert body["message"] == body["error_description"]
    assert sim.counts.tokens_issued == 0


async def test_a_client_of_one_shop_gets_tokens_for_it(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    status, _ = await ask_token(session, sim, GOOD | {"client_id": "demo-only", "client_secret": "demo-secret"})
    assert status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"data": GOOD},
        {"data": json.dumps(GOOD), "headers": {"Content-Type": "text/plain"}},
        {"data": "{", "headers": {"Content-Type": "application/json"}},
        {"json": [GOOD]},
    ],
)
async def test_a_token_request_must_be_a_json_object(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, options: dict[str, Any]
) -> None:
    async with session.post(sim.token_url.replace("{shop}", "demo"), **options) as response:
        assert response.status == 400
        assert (await response.json())["hint"] == "Check the `grant_type` parameter"


async def test_a_token_request_must_be_a_post(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    async with session.get(sim.token_url.replace("{shop}", "demo")) as response:
        assert response.status == 405


async def test_calls_without_a_good_token_are_401(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, clock: SettableClock
) -> None:
    assert await status_of(session, sim, None) == 401
    assert await status_of(session, sim, "made-up") == 401
    other = sim.issue_token("other", "app")
    assert await status_of(session, sim, other) == 401
    assert await status_of(session, sim, other, shop="other") == 200
    revoked = sim.issue_token("demo", "app")
    assert sim.revoke_tokens("demo") == 1
    assert await status_of(session, sim, revoked) == 401
    expired = sim.issue_token("demo", "app")
    assert sim.expire_tokens() == 2
    assert await status_of(session, sim, expired) == 401
    sim.token_lifetime = 10
    short = sim.issue_token("demo", "app")
    clock.now += 9.999
    assert await status_of(session, sim, short) == 200
    clock.now += 0.001
    assert await status_of(session, sim, short) == 401
    assert sim.counts.refused_tokens == 6


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "products", 200),
        ("HEAD", "products", 200),
        ("GET", "productExtend", 200),
        ("POST", "products", 401),
        ("GET", "categories", 401),
        ("POST", "files", 401),
        ("GET", "nonsense", 404),
    ],
)
async def test_a_scope_that_was_not_granted_is_a_401_with_a_good_token(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    token = sim.issue_token("demo", "reader")
    assert await status_of(session, sim, token, path, method=method) == status
    assert sim.counts.forbidden == (1 if status == 401 else 0)
    assert sim.counts.refused_tokens == 0


async def test_a_missing_permission_says_so_in_json_and_xml(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {sim.issue_token('demo', 'reader')}"}
    url = sim.api_url.replace("{shop}", "demo") + "categories"
    async with session.get(url, headers=headers | JSON) as response:
        assert await response.json() == {"error": 40101, "message": "You have no permission for this operation!"}
    async with session.get(url, headers=headers) as response:
        assert response.content_type == "application/xml"
        document = ET.fromstring(await response.read())  # noqa: S314 - the simulator's own
        assert (document.findtext("error"), document.findtext("message")) == (
            "40101",
            "You have no permission for this operation!",
        )


async def test_the_fourth_call_in_a_second_is_429_for_its_shop_and_client_alone(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, clock: SettableClock
) -> None:
    token, reader = sim.issue_token("demo", "app"), sim.issue_token("demo", "reader")
    other = sim.issue_token("other", "app")
    assert [await status_of(session, sim, token) for _ in range(4)] == [200, 200, 200, 429]
    assert await status_of(session, sim, sim.issue_token("demo", "app")) == 429, "a new token is no new client"
    assert await status_of(session, sim, reader) == 200
    assert await status_of(session, sim, other, shop="other") == 200
    clock.now += 1.0
    assert await status_of(session, sim, token) == 200
    assert sim.counts.throttled == 2


async def test_the_rate_limit_can_be_switched_off(session: aiohttp.ClientSession) -> None:
    async with ShoprenterSimulator(rate_limit=None) as sim:
        token = sim.issue_token("demo")
        assert {await status_of(session, sim, token) for _ in range(20)} == {200}


@pytest.mark.parametrize("path", ["/", "/demo", "/demo/products", "/DEMO/api/products", "/a.b/api/products", "//api"])
async def test_other_paths_are_404(sim: ShoprenterSimulator, session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(sim.url + path, headers=JSON) as response:
        assert response.status == 404


async def test_the_platforms_own_host_names_are_served(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    token_host = {"Host": "oauth.app.shoprenter.net"}
    async with session.post(sim.url + "/demo/app/token", json=GOOD, headers=token_host) as response:
        token = (await response.json())["access_token"]
    for host in ("demo.api2.myshoprenter.hu", f"Demo.api2.myshoprenter.hu:{sim.port}"):
        headers = {"Host": host, "Authorization": f"Bearer {token}"}
        async with session.get(sim.url + "/api/products", headers=headers) as response:
            assert response.status == 200
        async with session.get(sim.url + "/products", headers=headers) as response:
            assert response.status == 404


async def test_a_changed_secret_counts_at_once(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    sim.clients["app"] = SimulatedClient("rotated")
    assert (await ask_token(session, sim, GOOD))[0] == 401
    assert (await ask_token(session, sim, GOOD | {"client_secret": "rotated"}))[0] == 200


def test_a_client_does_not_show_its_secret() -> None:
    assert "app-secret" not in repr(CLIENTS["app"])
