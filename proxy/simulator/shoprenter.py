"""A simulated Shoprenter: its token endpoint and its API, for any number of shops.

On loopback the token endpoint is `/{shop}/app/token` and the API `/{shop}/api/…`. Requests whose Host is one of the
platform's own names are served as there, so that a test may resolve those names to this server.
The error bodies of the token endpoint are the documented ones; how the API words a bad token is not documented.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy.simulator.calls import Answer, Call
from proxy.simulator.catalogue import Catalogue
from proxy.simulator.recording import RECORDED_BODY_SIZE
from proxy.simulator.server import SimulatedClient, SimulatedPlatform
from proxy.simulator.shoprenter_api import MAX_BODY_SIZE, Refusal, ShoprenterApi
from proxy.simulator.shoprenter_format import json_as_php_writes_it, wants_json, write
from proxy.simulator.tokens import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random
    from ssl import SSLContext
    from typing import Self

API_HOST = re.compile(r"([a-z0-9][a-z0-9-]*)\.api2\.myshoprenter\.hu")
SHOP_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

RATE_LIMIT = 3  # documented: requests per application per shop per second
TOKEN_LIFETIME = 3600  # seconds; documented by example
NO_CACHE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))  # RFC 6749 §5.1

INVALID_REQUEST = (
    "The request is missing a required parameter, includes an invalid parameter value, "
    "includes a parameter more than once, or is otherwise malformed."
)
INVALID_CLIENT = "Client authentication failed"
ACCESS_DENIED = "The resource owner or authorization server denied the request."


class ShoprenterSimulator(SimulatedPlatform):
    """Shoprenter on a loopback port, for `async with`."""

    def __init__(
        self,
        *,
        clients: Mapping[str, SimulatedClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
        rate_limit: int | None = RATE_LIMIT,
        products: int = 120,
        seed: int = 1,
        token_lifetime: int = TOKEN_LIFETIME,
        public_api_url: str | None = None,
        compress: bool = False,
        port: int = 0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        """Make a simulator that is not listening yet.

        Args:
            clients: default: `demo-id` with the secret `demo-secret`, for all shops and scopes. Scopes look like
                `product:read` and `product:write` (nouns: see the catalogue's kinds, and `file`).
            clock: seconds, for token lifetimes and the rate limit.
            rng: where tokens come from; default: the system's randomness.
            rate_limit: requests a second for each client and shop, None for no limit.
            products: how many products each shop starts with.
            seed: other seeds, other contents.
            token_lifetime: seconds.
            public_api_url: where hrefs point, a template with `{shop}` and a slash at the end; default: `api_url`.
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
        self._catalogue = Catalogue(products, seed)
        self._public_api_url = public_api_url
        # How batches may go wrong, at any time: 504 above so many parts, and a rate limit that counts each part.
        self.batch_gives_up_above: int | None = None
        self.batch_counts_parts = False
        self._api: ShoprenterApi | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        # Only now is the port known that hrefs may have to show.
        base_urls = (self._public_api_url or self.api_url, self.api_url)
        self._api = ShoprenterApi(self._catalogue, self.counts, base_urls)
        return self

    @property
    def token_url(self) -> str:
        """The token endpoint, a template with `{shop}`."""
        return self.url + "/{shop}/app/token"

    @property
    def api_url(self) -> str:
        """The API's base, a template with `{shop}`, with a slash at the end."""
        return self.url + "/{shop}/api/"

    def issue_token(self, shop: str, client_id: str = "demo-id") -> str:
        """A token as the token endpoint would grant it, without asking for it (and without counting).

        Raises:
            KeyError: no such client.
        """
        return self._tokens.issue(client_id, shop, self.clients[client_id].scopes, self.token_lifetime)

    def _is_token_request(self, host: str, segments: tuple[str, ...]) -> bool:
        return not API_HOST.fullmatch(host) and len(segments) == 3 and segments[1:] == ("app", "token")

    def _body_kept(self, segments: tuple[str, ...]) -> int:
        # Uploads need not be understood, everything else must be whole.
        return RECORDED_BODY_SIZE if segments[-1:] == ("files",) else MAX_BODY_SIZE

    def _answer_token(self, call: Call) -> Answer:
        if call.method != "POST":
            return _token_answer(405, {"error": "invalid_request", "message": "Use POST"})
        # Documented: a JSON body. A form is no JSON, and so has no parameters at all.
        parameters = _json_parameters(call)
        for name in ("grant_type", "client_id", "client_secret"):
            if not isinstance(parameters.get(name), str) or not parameters[name]:
                return _token_answer(
                    400, _oauth_error("invalid_request", INVALID_REQUEST, f"Check the `{name}` parameter")
                )
        if parameters["grant_type"] != "client_credentials":
            hint = "Check that all required parameters have been provided"
            description = "The authorization grant type is not supported by the authorization server."
            return _token_answer(400, _oauth_error("unsupported_grant_type", description, hint))
        shop, client_id = call.segments[0], parameters["client_id"]
        if not self._may_have(client_id, parameters["client_secret"], shop):
            return _token_answer(401, _oauth_error("invalid_client", INVALID_CLIENT))
        self.counts.tokens_issued += 1
        granted = {"token_type": "Bearer", "expires_in": self.token_lifetime}
        return _token_answer(200, granted | {"access_token": self.issue_token(shop, client_id)})

    def _may_have(self, client_id: str, secret: str, shop: str) -> bool:
        client = self.clients.get(client_id)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode("utf-8", "surrogatepass")):
            return False
        return SHOP_NAME.fullmatch(shop) is not None and (client.shops is None or shop in client.shops)

    def _answer_api(self, call: Call) -> Answer:
        as_json = wants_json(call.headers.get("Accept", ""))
        try:
            status, data = self._result(call)
        except Refusal as refusal:
            status, data = refusal.status, refusal.data()
        except TokenRefused as refused:
            self.counts.refused_tokens += 1
            status, data = 401, _oauth_error("access_denied", ACCESS_DENIED, str(refused))
        if data is None:
            return Answer(status)
        return Answer(status, *write(data, as_json=as_json))

    def _result(self, call: Call) -> tuple[int, dict[str, Any] | None]:
        shop, segments = _shop_and_rest(call)
        if shop is None or self._api is None:
            raise Refusal(404, 40401, "There is no such resource")
        grant = self._tokens.check(call.bearer_token, shop)
        admit = partial(self._limiter.admit, (grant.client_id, shop))
        by_part = self.batch_counts_parts and segments == ("batch",)
        if not by_part and not admit():
            self.counts.throttled += 1
            raise Refusal(429, 42901, "Too Many Requests")
        inner = Call(call.method, segments, call.query, call.headers, call.body, call.body_length, call.body_sha256)
        self._api.gives_up_above = self.batch_gives_up_above
        return self._api.answer(shop, inner, grant, admit if by_part else None)


def _shop_and_rest(call: Call) -> tuple[str | None, tuple[str, ...]]:
    """The shop that an API call is for, from its Host or its path, and the path segments after `/api`."""
    named = API_HOST.fullmatch(call.headers.get("Host", "").partition(":")[0].lower())
    segments = (named[1], *call.segments) if named else call.segments
    match segments:
        case (shop, "api", *rest) if SHOP_NAME.fullmatch(shop):
            return shop, tuple(rest)
    return None, ()


def _json_parameters(call: Call) -> dict[str, Any]:
    try:
        value = json.loads(call.body) if call.content_type == "application/json" else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _oauth_error(error: str, description: str, hint: str | None = None) -> dict[str, Any]:
    hints = {"hint": hint} if hint is not None else {}
    return {"error": error, "error_description": description, **hints, "message": description}


def _token_answer(status: int, data: Mapping[str, Any]) -> Answer:
    return Answer(status, json_as_php_writes_it(data), "application/json; charset=UTF-8", NO_CACHE)
