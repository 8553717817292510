"""Shoprenter's API behind its token check: collections, single resources, writing, uploads, batches.

Documented: the paths, the look of pages and hrefs, the statuses, 40101 with its text, the batch format. Not documented,
and so not to be relied on: the shape of an error body (here `error` and `message`) and the inner codes other than
40001 and 40101 (here they continue the pattern).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from proxy.simulator.calls import Call, split_target
from proxy.simulator.catalogue import KINDS, Item
from proxy.simulator.shoprenter_bodies import UnreadableBody, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.simulator.catalogue import Catalogue, Kind, Shop
    from proxy.simulator.server import Counts
    from proxy.simulator.tokens import Grant

DEFAULT_LIMIT = 25
MAX_LIMIT = 200
MAX_BATCH = 200
MAX_BODY_SIZE = 32 * 1024 * 1024  # bytes; what the platform documents for a POST
OLD_API_URLS = ("https://{shop}.api.myshoprenter.hu/", "https://{shop}.api.shoprenter.hu/")
API_URL = "https://{shop}.api2.myshoprenter.hu/api/"

Result = tuple[int, Item | None]


class Refusal(Exception):
    """An answer that is an error: its status, the platform's inner code, and a text for people."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def data(self) -> Item:
        """The error as the answer's body."""
        return {"error": self.code, "message": self.message}


class ShoprenterApi:
    """The API of all shops; `base_urls` are the API URLs (templates with `{shop}`) that batches may name.

    The first of them is the one that hrefs are built from. A batch of more than `gives_up_above` parts takes too long;
    `None`: however many may be in one, none does.
    """

    def __init__(self, catalogue: Catalogue, counts: Counts, base_urls: tuple[str, ...]) -> None:
        self._catalogue = catalogue
        self._counts = counts
        self._base_urls = (*base_urls, API_URL, *OLD_API_URLS)
        self.gives_up_above: int | None = None

    def answer(self, shop: str, call: Call, grant: Grant, admit: Callable[[], bool] | None = None) -> Result:
        """Status and data of the answer to `call`, whose path segments start after `/api`.

        `admit` is asked for each part of a batch, where the rate limit counts these.

        Raises:
            Refusal: the answer is an error.
        """
        if call.body_length > MAX_BODY_SIZE:
            raise Refusal(413, 41301, "The request body is larger than 32 MB")
        call = replace(call, method="GET") if call.method == "HEAD" else call
        match call.segments:
            case ("batch",):
                return self._batch(shop, call, grant, admit)
            case ("files",):
                self._demand(grant, "file", call.method)
                return self._upload(call)
            case (name,) if name in KINDS:
                self._demand(grant, KINDS[name].scope, call.method)
                return self._collection(shop, KINDS[name], call)
            case (name, resource_id) if name in KINDS:
                self._demand(grant, KINDS[name].scope, call.method)
                return self._resource(shop, KINDS[name], resource_id, call)
        raise Refusal(404, 40401, "There is no such resource")

    def _demand(self, grant: Grant, noun: str, method: str) -> None:
        # The documented trap: a missing permission is a 401, with a perfectly good token.
        if not grant.allows(f"{noun}:{'read' if method == 'GET' else 'write'}"):
            self._counts.forbidden += 1
            raise Refusal(401, 40101, "You have no permission for this operation!")

    def _base(self, shop: str) -> str:
        return self._base_urls[0].replace("{shop}", shop)

    def _upload(self, call: Call) -> Result:
        if call.method != "POST":
            raise _not_allowed()
        # The contents are gone; length and digest let the uploader see that they came through whole.
        return 201, {"size": str(call.body_length), "sha256": call.body_sha256}

    def _collection(self, shop_name: str, kind: Kind, call: Call) -> Result:
        if call.method == "GET":
            return 200, self._page(self._catalogue.shop(shop_name), kind, call.query)
        if call.method != "POST" or "POST" not in kind.methods:
            raise _not_allowed()
        fields = _fields(call)
        shop = self._catalogue.shop_to_change(shop_name)
        if fields.get("id") and shop.find(kind, str(fields["id"])) is not None:
            raise Refusal(409, 40901, "A resource with this id already exists")
        _demand_free_sku(shop, kind, fields, None)
        return 201, shop.item(kind, shop.add(kind, fields), self._base(shop_name))

    def _resource(self, shop_name: str, kind: Kind, resource_id: str, call: Call) -> Result:
        # POST to an existing resource changes it, as PUT does: the batch documentation shows such calls.
        needed = "PUT" if call.method == "POST" else call.method
        if needed not in kind.methods:
            raise _not_allowed()
        number = self._catalogue.shop(shop_name).find(kind, resource_id)
        if number is None:
            raise Refusal(404, 40401, "The resource does not exist")
        if call.method == "GET":
            return 200, self._catalogue.shop(shop_name).item(kind, number, self._base(shop_name))
        if call.method == "DELETE":
            self._catalogue.shop_to_change(shop_name).remove(kind, number)
            return 204, None
        fields = _fields(call)
        shop = self._catalogue.shop_to_change(shop_name)
        _demand_free_sku(shop, kind, fields, number)
        shop.write(kind, number, fields)
        return 200, shop.item(kind, number, self._base(shop_name))

    def _page(self, shop: Shop, kind: Kind, query: Mapping[str, str]) -> Item:
        page = _whole_number(query, "page", default=0, least=0, most=10**9)
        limit = _whole_number(query, "limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        numbers = _selected(shop, kind, query)
        page_count = -(-len(numbers) // limit)
        base = self._base(shop.name)
        kept = {name: query[name] for name in ("full", "productId", "sku") if name in query}

        def page_url(number: int) -> str:
            return f"{base}{kind.name}?{urlencode({**kept, 'page': number, 'limit': limit}, safe='=')}"

        shown = numbers[page * limit : (page + 1) * limit]
        full = query.get("full") == "1"
        return {
            "href": page_url(page),
            "page": str(page),
            "pageCount": str(page_count),
            "limit": str(limit),
            "first": {"href": page_url(0)},
            "previous": {"href": page_url(page - 1)} if page > 0 else None,
            "next": {"href": page_url(page + 1)} if page + 1 < page_count else None,
            "last": {"href": page_url(max(page_count - 1, 0))},
            "items": [shop.item(kind, n, base) if full else {"href": shop.href(kind, n, base)} for n in shown],
        }

    def _batch(self, shop: str, call: Call, grant: Grant, admit: Callable[[], bool] | None) -> Result:
        if call.method != "POST":
            raise _not_allowed()
        requests = _fields(call).get("requests")
        if isinstance(requests, dict):  # a form's data[requests][0][uri]
            requests = list(requests.values())
        if not isinstance(requests, list) or not requests:
            raise Refusal(400, 40001, "Data parameter not found in POST/PUT!")
        if len(requests) > MAX_BATCH:
            raise Refusal(400, 40001, f"A batch can contain {MAX_BATCH} requests")
        if self.gives_up_above is not None and len(requests) > self.gives_up_above:
            raise Refusal(504, 50401, "The request takes too long: break it down in smaller requests")
        self._counts.batches += 1
        self._counts.batch_parts += len(requests)
        return 200, {"requests": {"request": [self._batch_part(shop, part, grant, admit) for part in requests]}}

    def _batch_part(self, shop: str, part: Any, grant: Grant, admit: Callable[[], bool] | None) -> Item:
        """One part's own answer. Whatever happens inside a batch, the batch itself answers 200 (documented)."""
        part = part if isinstance(part, dict) else {}
        method, uri = str(part.get("method", "")).upper(), str(part.get("uri", ""))
        try:
            if admit is not None and not admit():
                self._counts.throttled += 1
                raise Refusal(429, 42901, "Too Many Requests")
            status, data = self._answer_part(shop, method, uri, part.get("data"), grant)
            body: Item | str = data or {}
        except Refusal as refusal:
            status, body = refusal.status, refusal.message  # documented: the error's text
        response = {"header": {"statusCode": str(status)}, "body": body}
        return {"method": method, "uri": uri, "response": response}

    def _answer_part(self, shop: str, method: str, uri: str, data: Any, grant: Grant) -> Result:
        target = self._target_of(shop, uri)
        if target is None:
            raise Refusal(400, 40001, "The uri is not one of this shop's API")
        segments, query = split_target(f"/{target}")
        if segments == ("batch",):
            raise Refusal(400, 40001, "A batch cannot contain a batch")
        return self.answer(shop, Call(method, segments, query, {}, json.dumps(data or {}).encode()), grant)

    def _target_of(self, shop: str, uri: str) -> str | None:
        """What follows the API's base in an absolute `uri`, over http or https; None if it lies elsewhere."""
        rest = uri.partition("://")[2]
        for template in self._base_urls:
            base = template.replace("{shop}", shop).partition("://")[2]
            if base and rest.startswith(base):
                return rest.removeprefix(base)
        return None


def _not_allowed() -> Refusal:
    return Refusal(405, 40501, "This method is not allowed here")


def _fields(call: Call) -> dict[str, Any]:
    try:
        return read_fields(call)
    except UnreadableBody as error:
        raise Refusal(400, 40001, str(error)) from error


def _demand_free_sku(shop: Shop, kind: Kind, fields: Mapping[str, Any], own_number: int | None) -> None:
    if kind.fields == "products" and fields.get("sku"):
        owner = shop.product_with_sku(str(fields["sku"]))
        if owner not in (None, own_number):
            raise Refusal(409, 40901, "A product with this sku already exists")


def _selected(shop: Shop, kind: Kind, query: Mapping[str, str]) -> Sequence[int]:
    """The numbers that a collection's filter leaves: descriptions by `productId`, products by `sku`."""
    if kind.name == "productDescriptions" and "productId" in query:
        number = shop.find(KINDS["products"], query["productId"])
    elif kind.fields == "products" and "sku" in query:
        number = shop.product_with_sku(query["sku"])
    else:
        return shop.numbers(kind)
    return [] if number is None else [number]


def _whole_number(query: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else -1
    if not least <= number <= most:
        raise Refusal(400, 40001, f"{name} must be a number from {least} to {most}")
    return number
