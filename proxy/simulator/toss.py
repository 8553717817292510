"""A simulated Toss Shopping: its token endpoint and some of its "ShoppingFep API", for any number of sellers.

`/token` takes a form with four required fields; the API is under `/api/v3/shopping-fep/`. Nothing in a path names the
seller: the token does. Documented: every answer is 200, success or failure, in an envelope; integrators report 401 for
a bad token, and the rate limit as 200 with `TOO_MANY_REQUEST`. How the token endpoint words its errors is not
documented (here: RFC 6749 §5.2), nor are the other error codes.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from zlib import crc32

from proxy.simulator.calls import Answer, Call
from proxy.simulator.server import SimulatedClient, SimulatedPlatform
from proxy.simulator.tokens import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random
    from ssl import SSLContext

SCOPE = "toss-shopping-fep:write"
API_PREFIX = ("api", "v3", "shopping-fep")
TOKEN_FIELDS = ("grant_type", "client_id", "client_secret", "scope")
RATE_LIMIT = 30  # requests a second; reported by integrators for writes
TOKEN_LIFETIME = 3599  # seconds; seen, the documentation's example is a year (31535999)
JSON_TYPE = "application/json"
DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_STATUS_CHANGES = 100
STATUSES = ("PAID", "PREPARING_PRODUCT", "DELAY_SHIPPING", "SHIPPING", "DELIVERED", "CANCELED_PAYMENT")

Item = dict[str, Any]


class Failure(Exception):
    """An answer that is a failure: `errorCode` and `reason`; its status is 200 all the same."""

    def __init__(self, error_code: str, reason: str) -> None:
        super().__init__(reason)
        self.error_code = error_code
        self.reason = reason


class TossSimulator(SimulatedPlatform):
    """Toss Shopping on a loopback port, for `async with`."""

    def __init__(
        self,
        *,
        clients: Mapping[str, SimulatedClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
        rate_limit: int | None = RATE_LIMIT,
        products: int = 120,
        orders: int = 60,
        token_lifetime: int = TOKEN_LIFETIME,
        compress: bool = False,
        port: int = 0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        """Make a simulator that is not listening yet.

        Args:
            clients: default: `demo-id` with the secret `demo-secret`. Each is a seller of its own; `shops` and
                `scopes` of a client mean nothing here.
            clock: seconds, for token lifetimes and the rate limit.
            rng: where tokens come from; default: the system's randomness.
            rate_limit: requests a second for each client, None for no limit.
            products: how many products each seller has.
            orders: how many ordered products each seller has.
            token_lifetime: seconds.
            compress: gzip the API's answers for clients that accept it.
            port: port to listen on, 0 for any free one.
            ssl_context: serve HTTPS with it.
        """
        super().__init__(
            clients=clients if clients is not None else {"demo-id": SimulatedClient("demo-secret")},
            clock=clock,
            rng=rng,
            rate_limit=rate_limit,
            token_lifetime=token_lifetime,
            compress=compress,
            port=port,
            ssl_context=ssl_context,
        )
        self._products = products
        self._orders = orders
        self._order_statuses: dict[tuple[str, int], str] = {}

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    @property
    def api_url(self) -> str:
        """The API's base, with a slash at the end; paths below it start with `api/v3/shopping-fep/`."""
        return f"{self.url}/"

    def issue_token(self, client_id: str = "demo-id") -> str:
        """A token as the token endpoint would grant it, without asking for it (and without counting)."""
        return self._tokens.issue(client_id, None, frozenset({SCOPE}), self.token_lifetime)

    def _is_token_request(self, host: str, segments: tuple[str, ...]) -> bool:
        return segments == ("token",)

    def _answer_token(self, call: Call) -> Answer:
        fields: dict[str, str] = {}
        if call.method == "POST" and call.content_type == "application/x-www-form-urlencoded":
            fields = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        missing = [name for name in TOKEN_FIELDS if name not in fields]
        if missing:
            return _token_error(400, "invalid_request", f"missing: {', '.join(missing)}")
        if fields["grant_type"] != "client_credentials":
            return _token_error(400, "unsupported_grant_type", "only client_credentials")
        client = self.clients.get(fields["client_id"])
        if client is None or not hmac.compare_digest(client.secret.encode(), fields["client_secret"].encode()):
            return _token_error(401, "invalid_client", "unknown client or wrong secret")
        if fields["scope"] != SCOPE:
            return _token_error(400, "invalid_scope", f"only {SCOPE}")
        self.counts.tokens_issued += 1
        token = self.issue_token(fields["client_id"])
        granted = {"access_token": token, "scope": SCOPE, "token_type": "Bearer", "expires_in": self.token_lifetime}
        return _json_answer(200, granted)

    def _answer_api(self, call: Call) -> Answer:
        try:
            grant = self._tokens.check(call.bearer_token)
        except TokenRefused as refused:
            self.counts.refused_tokens += 1
            return _failure(401, "UNAUTHORIZED", str(refused))
        if not self._limiter.admit(grant.client_id):
            self.counts.throttled += 1
            return _failure(200, "TOO_MANY_REQUEST", "Too many requests")
        try:
            success = self._success(grant.client_id, call)
        except Failure as failure:
            return _failure(200, failure.error_code, failure.reason)
        return _json_answer(200, {"resultType": "SUCCESS", "success": success})

    def _success(self, seller: str, call: Call) -> Item:
        method = "GET" if call.method == "HEAD" else call.method
        rest = call.segments[3:] if call.segments[:3] == API_PREFIX else ()
        match method, rest:
            case "GET", ("orders", "v2"):
                return self._order_page(seller, call.query)
            case "GET", ("orders", "v2", number):
                return self._order(seller, _number(number, self._orders, "ORDER_NOT_FOUND"))
            case "PUT", ("orders", "products", "status"):
                return self._change_statuses(seller, call)
            case "GET", ("products",):
                return _page([_product(seller, n) for n in range(1, self._products + 1)], call.query)
            case "GET", ("products", number):
                return _product(seller, _number(number, self._products, "PRODUCT_NOT_FOUND"))
        raise Failure("NOT_FOUND", "There is no such API")

    def _order_page(self, seller: str, query: Mapping[str, str]) -> Item:
        orders = [self._order(seller, number) for number in range(1, self._orders + 1)]
        first, last = query.get("startDate", ""), query.get("endDate", "9999")
        wanted = [order for order in orders if first <= order["orderedAt"][:10] <= last]
        if "status" in query:
            wanted = [order for order in wanted if order["status"] == query["status"]]
        return _page(wanted, query)

    def _order(self, seller: str, number: int) -> Item:
        product = _pick(seller, "ordered", number, max(self._products, 1)) + 1
        return {
            "orderId": 700_000 + number,
            "orderProductId": number,
            "orderedAt": f"2026-01-{_pick(seller, 'day', number, 28) + 1:02d}T09:{number % 60:02d}:00",
            "status": self._order_statuses.get((seller, number), "PAID"),
            "productId": product,
            "productName": _product(seller, product)["name"],
            "productManagementCode": f"SKU-{product:05d}",
            "quantity": _pick(seller, "quantity", number, 3) + 1,
            "receiverName": f"받는사람 {number}",
            "address": "서울특별시 강남구 테헤란로 131",
        }

    def _change_statuses(self, seller: str, call: Call) -> Item:
        try:
            body = json.loads(call.body)
            numbers, status = body["orderProductIds"], body["status"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Failure("INVALID_REQUEST", "orderProductIds and status are required") from error
        if status not in STATUSES or not isinstance(numbers, list) or not 0 < len(numbers) <= MAX_STATUS_CHANGES:
            raise Failure("INVALID_REQUEST", f"1 to {MAX_STATUS_CHANGES} orderProductIds and a known status")
        known = [_number(str(number), self._orders, "ORDER_NOT_FOUND") for number in numbers]
        for number in known:
            self._order_statuses[(seller, number)] = status
        return {"orderProductIds": known}


def _product(seller: str, number: int) -> Item:
    return {
        "productId": number,
        "name": f"상품 {number}",
        "price": (_pick(seller, "price", number, 500) + 1) * 100,
        "stock": _pick(seller, "stock", number, 200),
        "managementCode": f"SKU-{number:05d}",
        "imageUrl": f"https://images.example/{seller}/{number}.jpg",
    }


def _page(items: list[Item], query: Mapping[str, str]) -> Item:
    """The items after `nextCursor`, at most `limit` of them, and the cursor for those that remain."""
    limit = _number(query.get("limit", str(DEFAULT_LIMIT)), MAX_LIMIT, "INVALID_REQUEST")
    start = _position(query["nextCursor"]) if query.get("nextCursor") else 0
    end = start + limit
    cursor = base64.urlsafe_b64encode(f"after:{end}".encode()).decode() if end < len(items) else None
    return {"results": items[start:end], "nextCursor": cursor}


def _position(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Failure("INVALID_REQUEST", "nextCursor is not one of ours") from error
    return _number(text.removeprefix("after:"), 10**9, "INVALID_REQUEST")


def _number(text: str, most: int, error_code: str) -> int:
    """The number from 1 to `most` that `text` is; a failure with `error_code` if it is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    if not 1 <= number <= most:
        raise Failure(error_code, f"{text[:50]!r} is not a number from 1 to {most}")
    return number


def _pick(seller: str, what: str, number: int, choices: int) -> int:
    return crc32(f"{seller}/{what}/{number}".encode()) % choices


def _token_error(status: int, error: str, description: str) -> Answer:
    return _json_answer(status, {"error": error, "error_description": description})


def _failure(status: int, error_code: str, reason: str) -> Answer:
    return _json_answer(status, {"resultType": "FAIL", "error": {"errorCode": error_code, "reason": reason}})


def _json_answer(status: int, data: Item) -> Answer:
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, body, JSON_TYPE)
