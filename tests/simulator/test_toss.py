"""Toss Shopping's token endpoint and API, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.simulator import SimulatedClient, TossSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from tests.simulator.conftest import SettableClock

GOOD = {
    "grant_type": "client_credentials",
    "client_id": "demo-id",
    "client_secret": "demo-secret",
    "scope": "toss-shopping-fep:write",
}


@pytest.fixture
async def sim(clock: SettableClock) -> AsyncIterator[TossSimulator]:
    clients = {"demo-id": SimulatedClient("demo-secret"), "other-id": SimulatedClient("other-secret")}
    async with TossSimulator(clients=clients, clock=clock) as started:
        yield started


async def call(
    session: aiohttp.ClientSession,
    sim: TossSimulator,
    path: str,
    token: str | None = None,
    method: str = "GET",
    body: Any = None,
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token or sim.issue_token()}"}
    url = f"{sim.api_url}api/v3/shopping-fep/{path}"
    async with session.request(method, url, headers=headers, json=body) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def test_good_credentials_get_a_token_that_works(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    async with session.post(sim.token_url, data=GOOD) as response:
        granted = await response.json()
    assert (granted["token_type"], granted["scope"], granted["expires_in"]) == ("Bearer", GOOD["scope"], 3599)
    status, body = await call(session, sim, "products", granted["access_token"])
    assert (status, body["resultType"]) == (200, "SUCCESS")
    assert sim.counts.tokens_issued == 1


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"scope": ""}, 400, "invalid_request"),
        ({"scope": "other"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
    ],
)
async def test_all_four_fields_must_be_right(
    sim: TossSimulator, session: aiohttp.ClientSession, change: dict[str, str], status: int, error: str
) -> None:
    async with session.post(sim.token_url, data=GOOD | change) as response:
        assert (response.status, (await response.json())["error"]) == (status, error)
    assert sim.counts.tokens_issued == 0


async def test_a_token_request_must_be_a_form(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    async with session.post(sim.token_url, json=GOOD) as response:
        assert response.status == 400
    async with session.get(sim.token_url, params=GOOD) as response:
        assert response.status == 400


async def test_a_bad_token_is_401(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    revoked = sim.issue_token()
    sim.revoke_tokens()
    for token in (revoked, "made-up"):
        status, body = await call(session, sim, "products", token)
        assert (status, body["resultType"]) == (401, "FAIL")
    assert sim.counts.refused_tokens == 2


async def test_the_rate_limit_answers_200(
    sim: TossSimulator, session: aiohttp.ClientSession, clock: SettableClock
) -> None:
    token = sim.issue_token()
    answers = [await call(session, sim, "products?limit=1", token) for _ in range(31)]
    assert [body["resultType"] for _, body in answers] == ["SUCCESS"] * 30 + ["FAIL"]
    assert answers[30][0] == 200
    assert answers[30][1]["error"]["errorCode"] == "TOO_MANY_REQUEST"
    other = sim.issue_token("other-id")
    assert (await call(session, sim, "products", other))[1]["resultType"] == "SUCCESS"
    clock.now += 1.0
    assert (await call(session, sim, "products", token))[1]["resultType"] == "SUCCESS"
    assert sim.counts.throttled == 1


async def test_the_order_list_is_read_page_by_page(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    numbers, cursor = [], ""
    while True:
        _, body = await call(session, sim, f"orders/v2?limit=25&nextCursor={cursor}")
        numbers += [order["orderProductId"] for order in body["success"]["results"]]
        cursor = body["success"]["nextCursor"]
        if cursor is None:
            break
    assert numbers == list(range(1, 61))


async def test_the_order_list_keeps_to_its_dates(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    _, body = await call(session, sim, "orders/v2?startDate=2026-01-10&endDate=2026-01-12")
    days = {order["orderedAt"][:10] for order in body["success"]["results"]}
    assert days
    assert days <= {"2026-01-10", "2026-01-11", "2026-01-12"}


async def test_a_changed_status_shows_for_its_seller_alone(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    change = {"orderProductIds": [3], "status": "PREPARING_PRODUCT"}
    _, body = await call(session, sim, "orders/products/status", method="PUT", body=change)
    assert body == {"resultType": "SUCCESS", "success": {"orderProductIds": [3]}}
    _, body = await call(session, sim, "orders/v2/3")
    assert body["success"]["status"] == "PREPARING_PRODUCT"
    _, body = await call(session, sim, "orders/v2?status=PREPARING_PRODUCT")
    assert [order["orderProductId"] for order in body["success"]["results"]] == [3]
    _, body = await call(session, sim, "orders/v2/3", sim.issue_token("other-id"))
    assert body["success"]["status"] == "PAID"


async def test_a_product_is_found_by_its_number(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    _, body = await call(session, sim, "products/120")
    assert (body["success"]["productId"], body["success"]["name"]) == (120, "상품 120")


@pytest.mark.parametrize(
    ("method", "path", "request_body", "error_code"),
    [
        ("GET", "products/121", None, "PRODUCT_NOT_FOUND"),
        ("GET", "products/0", None, "PRODUCT_NOT_FOUND"),
        ("GET", "orders/v2/x", None, "ORDER_NOT_FOUND"),
        ("GET", "nonsense", None, "NOT_FOUND"),
        ("POST", "products", {}, "NOT_FOUND"),
        ("GET", "products?limit=101", None, "INVALID_REQUEST"),
        ("GET", "products?nextCursor=x", None, "INVALID_REQUEST"),
        ("PUT", "orders/products/status", {}, "INVALID_REQUEST"),
        ("PUT", "orders/products/status", [], "INVALID_REQUEST"),
        ("PUT", "orders/products/status", {"orderProductIds": [1], "status": "NEW"}, "INVALID_REQUEST"),
        ("PUT", "orders/products/status", {"orderProductIds": [], "status": "PAID"}, "INVALID_REQUEST"),
        ("PUT", "orders/products/status", {"orderProductIds": [61], "status": "PAID"}, "ORDER_NOT_FOUND"),
    ],
)
async def test_failures_are_200_in_the_envelope(
    sim: TossSimulator,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    request_body: Any,
    error_code: str,
) -> None:
    status, body = await call(session, sim, path, method=method, body=request_body)
    assert (status, body["resultType"], body["error"]["errorCode"]) == (200, "FAIL", error_code)


async def test_a_path_outside_the_api_is_a_failure_too(sim: TossSimulator, session: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {sim.issue_token()}"}
    async with session.get(f"{sim.api_url}orders/v2", headers=headers) as response:
        assert (await response.json())["error"]["errorCode"] == "NOT_FOUND"
