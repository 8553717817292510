"""Shoprenter's API over real sockets: pages, links, writing, batches."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from proxy.simulator import ShoprenterSimulator, SimulatedClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Query

REAL_URL = "https://{shop}.api.myshoprenter.hu/"
CLIENTS = {
    "demo-id": SimulatedClient("demo-secret"),
    "reader": SimulatedClient("s", scopes=frozenset({"product:read"})),
}


class Api:
    """Calls one shop's API with a good token and reads JSON."""

    def __init__(self, sim: ShoprenterSimulator, session: aiohttp.ClientSession, client_id: str = "demo-id") -> None:
        self.sim = sim
        self.base = sim.api_url.replace("{shop}", "demo")
        self._session = session
        self._headers = {
            "Authorization": f"Bearer {sim.issue_token('demo', client_id)}",
            "Accept": "application/json",
        }

    async def raw(
        self,
        method: str,
        url: str | URL,
        headers: dict[str, str] | None = None,
        params: Query = None,
        json: Any = None,
        data: Any = None,
    ) -> tuple[int, bytes]:
        url = url if isinstance(url, URL) or "://" in url else self.base + url
        merged = self._headers | (headers or {})
        async with self._session.request(method, url, headers=merged, params=params, json=json, data=data) as response:
            return response.status, await response.read()

    async def __call__(self, method: str, url: str | URL, **options: Any) -> tuple[int, Any]:
        status, body = await self.raw(method, url, **options)
        return status, json.loads(body) if body else None


@pytest.fixture
async def sim() -> AsyncIterator[ShoprenterSimulator]:
    async with ShoprenterSimulator(clients=CLIENTS, rate_limit=None) as started:
        yield started


@pytest.fixture
def api(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> Api:
    return Api(sim, session)


async def test_a_page_looks_as_documented(session: aiohttp.ClientSession) -> None:
    async with ShoprenterSimulator(public_api_url=REAL_URL) as sim:
        status, page = await Api(sim, session)("GET", "products?full=1&page=0&limit=5")
    base = "https://demo.api.myshoprenter.hu/products?full=1&page="
    assert status == 200
    items = page.pop("items")
    assert page == {
        "href": f"{base}0&limit=5",
        "page": "0",
        "pageCount": "24",
        "limit": "5",
        "first": {"href": f"{base}0&limit=5"},
        "previous": None,
        "next": {"href": f"{base}1&limit=5"},
        "last": {"href": f"{base}23&limit=5"},
    }
    assert len(items) == 5
    assert items[0]["id"] == base64.b64encode(b"product-product_id=1").decode()
    assert items[0]["href"] == f"https://demo.api.myshoprenter.hu/products/{items[0]['id']}"
    assert re.fullmatch(r"\d+\.0000", items[0]["price"])
    assert items[0]["taxClass"]["href"].startswith("https://demo.api.myshoprenter.hu/taxClasses/")


async def test_bytes_of_json_have_escaped_slashes(api: Api) -> None:
    _, body = await api.raw("GET", "products")
    assert f'"href":"{api.base}products?page=0&limit=25"'.replace("/", "\\/").encode() in body
    assert b"//" not in body


async def test_xml_is_the_default_with_links_in_cdata(api: Api) -> None:
    status, body = await api.raw("GET", "products?limit=5&page=1", headers={"Accept": "*/*"})
    assert status == 200
    assert f"<next><href><![CDATA[{api.base}products?page=2&limit=5]]></href></next>".encode() in body
    assert body.count(b"<item>") == 5


async def test_a_collection_holds_hrefs_only_unless_asked_for_all(api: Api) -> None:
    _, page = await api("GET", "products")
    assert len(page["items"]) == 25
    assert all(list(item) == ["href"] for item in page["items"])
    assert (page["limit"], page["pageCount"]) == ("25", "5")


@pytest.mark.parametrize(
    ("query", "shown", "has_previous", "has_next"),
    [
        ("page=0&limit=120", 120, False, False),
        ("page=0&limit=119", 119, False, True),
        ("page=1&limit=119", 1, True, False),
        ("page=2&limit=119", 0, True, False),
        ("limit=200", 120, False, False),
        ("limit=1", 1, False, True),
    ],
)
async def test_pages_at_their_boundaries(api: Api, query: str, shown: int, has_previous: bool, has_next: bool) -> None:
    _, page = await api("GET", f"products?{query}")
    assert len(page["items"]) == shown
    assert (page["previous"] is not None, page["next"] is not None) == (has_previous, has_next)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "page=-1", "page=", "page=99999999999"])
async def test_a_page_that_cannot_be_is_400(api: Api, query: str) -> None:
    status, body = await api("GET", f"products?{query}")
    assert (status, body["error"]) == (400, 40001)


async def test_an_empty_shop_has_a_page_without_items(session: aiohttp.ClientSession) -> None:
    async with ShoprenterSimulator(products=0) as sim:
        _, page = await Api(sim, session)("GET", "products")
    assert (page["items"], page["pageCount"], page["next"]) == ([], "0", None)


async def test_every_link_leads_somewhere(api: Api) -> None:
    seen: set[str] = set()
    waiting = [f"{api.base}{name}?full=1" for name in ("products", "categories", "orders", "productExtend")]
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen.add(url)
        status, body = await api.raw("GET", url)
        assert status == 200, url
        text = body.decode().replace("\\/", "/")
        waiting += [link for link in re.findall(r'"(http://[^"]+)"', text) if link not in seen]
    assert len(seen) >= 500
    assert all(url.startswith(api.base) for url in seen)


async def test_an_extended_product_has_its_descriptions_inside(api: Api) -> None:
    _, page = await api("GET", "productExtend?full=1&limit=1")
    (description,) = page["items"][0]["productDescriptions"]
    status, same = await api("GET", description["href"])
    assert (status, same) == (200, description)


async def test_filters_leave_what_they_name(api: Api) -> None:
    _, page = await api("GET", "products?full=1&sku=SKU-00007")
    assert [item["innerId"] for item in page["items"]] == ["7"]
    assert "sku=SKU-00007" in page["href"]
    _, page = await api("GET", "products?sku=none")
    assert page["items"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"json": {"sku": "NEW-1", "price": "9.5"}},
        {"json": {"data": {"sku": "NEW-1", "price": 9.5}}},
        {"data": {"sku": "NEW-1", "price": "9.5"}},
        {"data": {"data[sku]": "NEW-1", "data[price]": "9.5"}},
        {"data": aiohttp.FormData({"data[sku]": "NEW-1", "data[price]": "9.5"}, default_to_multipart=True)},
    ],
)
async def test_what_is_written_shows_in_the_next_get(api: Api, options: dict[str, Any]) -> None:
    status, created = await api("POST", "products", **options)
    assert status == 201
    assert (created["sku"], created["price"], created["innerId"]) == ("NEW-1", "9.5", "121")
    assert await api("GET", created["href"]) == (200, created)
    status, changed = await api("PUT", created["href"], json={"price": "10"})
    assert (status, changed) == (200, created | {"price": "10"})
    assert await api("GET", created["href"]) == (200, changed)
    _, page = await api("GET", "products?page=4")
    assert [item["href"] for item in page["items"]][-1] == created["href"]
    assert await api.raw("DELETE", created["href"]) == (204, b"")
    status, body = await api("GET", created["href"])
    assert (status, body["error"]) == (404, 40401)


async def test_writing_changes_one_shop_alone(
    api: Api, sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    await api("DELETE", "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=")
    headers = {"Authorization": f"Bearer {sim.issue_token('other')}"}
    url = sim.api_url.replace("{shop}", "other") + "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE="
    async with session.get(url, headers=headers) as response:
        assert response.status == 200


async def test_a_post_to_a_resource_changes_it(api: Api) -> None:
    status, changed = await api("POST", "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=", json={"price": "1"})
    assert (status, changed["price"]) == (200, "1")


@pytest.mark.parametrize(
    ("outer_id", "segment"), [("erp-7", "erp-7"), ("a/b", "a%2Fb"), ("50%25", "50%2525"), ("kék +1", "k%C3%A9k%20+1")]
)
async def test_an_outer_id_is_decoded_once(api: Api, outer_id: str, segment: str) -> None:
    status, created = await api("POST", "products", json={"id": outer_id})
    assert (status, created["id"]) == (201, outer_id)
    assert await api("GET", URL(f"{api.base}products/{segment}", encoded=True)) == (200, created)
    assert created["href"].endswith(f"/products/{segment}")


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        ("POST", "products", {"sku": "SKU-00001"}, 409),
        ("POST", "products", {"id": "cHJvZHVjdC1wcm9kdWN0X2lkPTE="}, 409),
        ("PUT", "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=", {"sku": "SKU-00002"}, 409),
        ("PUT", "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=", {"sku": "SKU-00001"}, 200),
        ("PUT", "products/none", {}, 404),
        ("DELETE", "products/none", None, 404),
        ("POST", "products/none", {}, 404),
        ("GET", "nonsense", None, 404),
        ("GET", "products/a/b", None, 404),
        ("PUT", "products", {}, 405),
        ("PATCH", "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=", {}, 405),
        ("DELETE", "taxClasses/dGF4Q2xhc3MtdGF4X2NsYXNzX2lkPTE=", None, 405),
        ("POST", "orders", {}, 405),
        ("GET", "files", None, 405),
        ("GET", "batch", None, 405),
        ("POST", "products", [], 400),
    ],
)
async def test_writing_is_answered_with_the_documented_status(
    api: Api, method: str, path: str, fields: Any, status: int
) -> None:
    got, body = await api(method, path, json=fields)
    assert got == status
    if status != 200:
        assert str(body["error"]).startswith(str(status))


@pytest.mark.parametrize(("excess", "status"), [(0, 201), (1, 413)])
@pytest.mark.parametrize("path", ["files", "products"])
async def test_a_body_may_have_32_megabytes(api: Api, path: str, excess: int, status: int) -> None:
    frame = b'{"x":""}'
    body = b'{"x":"' + b"x" * (32 * 1024 * 1024 - len(frame) + excess) + b'"}'
    got, _ = await api.raw("POST", path, data=io.BytesIO(body))
    assert got == status


async def test_head_answers_as_get_without_the_body(api: Api) -> None:
    assert await api.raw("HEAD", "products") == (200, b"")


async def test_a_batch_answers_each_part_by_itself(api: Api, session: aiohttp.ClientSession) -> None:
    product = "products/cHJvZHVjdC1wcm9kdWN0X2lkPTE="
    requests: list[Any] = [
        {"method": "GET", "uri": f"{api.base}products?limit=2"},
        {"method": "post", "uri": "https://demo.api2.myshoprenter.hu/api/products", "data": {"sku": "B"}},
        {"method": "PUT", "uri": f"http://demo.api.shoprenter.hu/{product}", "data": {"price": "3"}},
        {"method": "DELETE", "uri": f"https://demo.api.myshoprenter.hu/{product}"},
        {"method": "GET", "uri": api.base + product},
        {"method": "GET", "uri": "https://other.api2.myshoprenter.hu/api/products"},
        {"method": "GET", "uri": "http://localhost:8080/demo/products"},
        {"method": "GET", "uri": "/products"},
        {"method": "POST", "uri": f"{api.base}batch", "data": {"requests": []}},
        "no request",
    ]
    status, body = await api("POST", "batch", json={"data": {"requests": requests}})
    assert status == 200
    parts = body["requests"]["request"]
    assert [part["response"]["header"]["statusCode"] for part in parts] == [
        "200", "201", "200", "204", "404", "400", "400", "400", "400", "400",
    ]  # fmt: skip
    assert parts[0]["uri"] == requests[0]["uri"]
    assert len(parts[0]["response"]["body"]["items"]) == 2
    assert parts[2]["response"]["body"]["price"] == "3"
    assert parts[4]["response"]["body"] == "The resource does not exist"


async def test_a_batch_may_come_as_a_form(api: Api) -> None:
    form = {"data[requests][0][method]": "GET", "data[requests][0][uri]": f"{api.base}categories"}
    status, body = await api("POST", "batch", data=form)
    assert status == 200
    assert body["requests"]["request"][0]["response"]["header"]["statusCode"] == "200"


async def test_permissions_hold_inside_a_batch(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    api = Api(sim, session, "reader")
    requests = [{"method": method, "uri": f"{api.base}products"} for method in ("GET", "POST")]
    status, body = await api("POST", "batch", json={"data": {"requests": requests}})
    assert status == 200
    assert [part["response"]["header"]["statusCode"] for part in body["requests"]["request"]] == ["200", "401"]
    assert sim.counts.forbidden == 1


@pytest.mark.parametrize(("parts", "status"), [(0, 400), (1, 200), (200, 200), (201, 400)])
async def test_a_batch_has_1_to_200_parts(api: Api, parts: int, status: int) -> None:
    requests = [{"method": "GET", "uri": f"{api.base}products?limit=1"}] * parts
    got, _ = await api("POST", "batch", json={"data": {"requests": requests}})
    assert got == status


def gets(api: Api, count: int) -> dict[str, Any]:
    return {"data": {"requests": [{"method": "GET", "uri": f"{api.base}products?limit=1"}] * count}}


async def test_a_batch_counts_as_one_request_unless_each_part_counts(session: aiohttp.ClientSession) -> None:
    now = 0.0
    async with ShoprenterSimulator(clock=lambda: now) as sim:
        api = Api(sim, session)
        assert [(await api("POST", "batch", json=gets(api, 9)))[0] for _ in range(4)] == [200, 200, 200, 429]
        sim.batch_counts_parts = True
        now = 2.0
        status, body = await api("POST", "batch", json=gets(api, 5))

    assert status == 200
    inner = [part["response"]["header"]["statusCode"] for part in body["requests"]["request"]]
    assert inner == ["200", "200", "200", "429", "429"]
    assert (sim.counts.batches, sim.counts.batch_parts, sim.counts.throttled) == (4, 32, 3)


async def test_a_large_batch_may_take_too_long(sim: ShoprenterSimulator, api: Api) -> None:
    sim.batch_gives_up_above = 20

    assert [(await api("POST", "batch", json=gets(api, count)))[0] for count in (20, 21)] == [200, 504]
    assert (sim.counts.batches, sim.counts.batch_parts) == (1, 20)
