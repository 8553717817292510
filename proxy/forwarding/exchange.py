"""One request on its way through the proxy, and what its log line says of it."""

import re
import zlib
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from proxy.errors import AccessError, BadTarget, ProxyError, UpstreamError
from proxy.forwarding.batches import BatchAnswer
from proxy.forwarding.route import Route
from proxy.forwarding.site import Site
from proxy.forwarding.target import Target, call_segment
from proxy.forwarding.tracing import trace_id
from proxy.forwarding.upstream import UpstreamResponse
from proxy.guards.access import Client
from proxy.guards.budgets import Holding
from proxy.guards.pacing import UNPACED, Turn
from proxy.links.shop_links import ShopLinks
from proxy.platforms.answers import ORDINARY, Sense
from proxy.telemetry.finished import Failure, FinishedRequest, finished_request
from proxy.telemetry.labels import NOBODY, UNKNOWN
from proxy.telemetry.problems import shown_target
from proxy.tokens.token import AccessToken
from proxy.wire.body import RequestBody
from proxy.wire.client_response import ClientResponse
from proxy.wire.request import ClientRequest

# Platforms put a code of their own into the body of a 401 (Shoprenter: 40101), in JSON or XML; how is not documented.
_INNER_CODE: Final = re.compile(rb"(?<![0-9A-Za-z])401[0-9]{2}(?![0-9A-Za-z])")
INNER_CODE_WITHIN: Final = 4096  # bytes
_NOT_PERMITTED: Final = (
    "the platform refuses this call although the token is fresh: the API client probably lacks the scope for it"
)


class Errand(NamedTuple):
    """One request to the platform that answers several calls: with which id it was sent, for how many of them.

    `batch` if they ask for different things.
    """

    sent_as: bytes
    calls: int
    batch: bool


class Exchange(msgspec.Struct):
    """A request, its answer, and what came of it so far. `started_at` in seconds on the monotonic clock."""

    request: ClientRequest
    response: ClientResponse
    site: Site
    request_id: bytes
    started_at: float
    id_given: bool = False  # whether the client chose `request_id`
    target: Target | None = None
    route: Route | None = None
    # What is rewritten in the body, both ways, and in the answer's head; `None`: nothing.
    links: ShopLinks | None = None
    client: Client | None = None
    body: RequestBody | None = None  # of the request, where that did not come whole with its head
    holding: Holding | None = None  # its place, and what it keeps
    turn: Turn = UNPACED
    errand: Errand | None = None  # if that is what answered it
    failed_batches: int = 0  # that it was in
    attempts: int = 0  # those of an errand count for one of its calls alone, and so do its 429s
    throttlings: int = 0
    # The token that was sent last, and the answer to that.
    token: AccessToken | None = None
    answer: UpstreamResponse | None = None
    # The platform refused the call with a fresh token too, and the log has not said so yet.
    newly_not_permitted: bool = False
    # Then: what the body of the answer begins with.
    beginning: bytes = b""
    # Where the request is a batch: what its answer says of the calls in it.
    batch: BatchAnswer | None = None
    # What was spent waiting for tokens and for the platform, in seconds, and when its answer went on to the client.
    token_seconds: float = 0.0
    upstream_seconds: float = 0.0
    answered_at: float | None = None
    error: ProxyError | None = None
    # Why the proxy answered itself, where that is no error.
    code: str | None = None
    # What the log says became of it, and whether it is to be looked at.
    event: str = "request.forwarded"
    troubled: bool = False

    @property
    def caller(self) -> str:
        """Who shares the platform's rate limit fairly: the client by its name, else the address it calls from."""
        return self.client.name if self.client is not None else self.request.connection.remote

    @property
    def bytes_in(self) -> int:
        """How much of the request's body has come."""
        return len(self.request.content or b"") if self.body is None else self.body.received

    def finished(self, now: float) -> FinishedRequest:
        """Return what is counted of the request, which has come to its end, and what the log says of it."""
        request, response, target, turn = self.request, self.response, self.target, self.turn
        shop = None if self.route is None else self.route.shop
        error, answered_at, answer = self.error, self.answered_at, self.answer
        status = answered = None if answer is None else answer.status
        throttled = self.throttlings if turn is UNPACED else self.throttlings + turn.throttlings
        address = client = None
        if self.client is not None:
            client = self.client.name
        else:
            address = request.connection.remote
            if isinstance(error, AccessError):
                client = error.tried or NOBODY
        hint = ""
        if answer is not None and answer.meaning is not ORDINARY:
            sense = answer.meaning.sense
            if sense is Sense.UNAUTHORIZED:
                answered, (_, hint) = 401, self._needed()
            if self.errand is None:
                throttled = throttled or int(sense is Sense.THROTTLED)
        # Why a token is missing, its state tells.
        reason = error.reason if isinstance(error, UpstreamError) else ""
        told = (
            UNKNOWN if shop is None else shop.key,
            UNKNOWN if shop is None else shop.entry,
            request.method,
            response.status,
            answered,
            None if error is None else Failure(error.code, error.detail, reason),
            self.attempts,
            self.bytes_in,
            response.bytes_sent,
            now - self.started_at,
            None if answered_at is None else answered_at - self.started_at - self.upstream_seconds,
            None if turn is UNPACED else turn.waited,
            throttled,
            0 if answer is None else answer.head.dropped,
            None if self.batch is None else self.batch.counted,
            client,
            self.upstream_seconds if self.attempts else None,
            request.target if target is None else target.rest,
            self.request_id,
            hint,
            None if target is None else target.shop,
            status,
            self.token_seconds,
            (trace_id(request.head) or "") if b"traceparent" in request.head.first else "",
            address,
            None if error is None and self.code is None else self._error_fields(),
            None if error is None and self.errand is None else self._rare_fields(),
            self.id_given,
        )
        return finished_request(FinishedRequest, told)

    def _error_fields(self) -> dict[str, Any]:
        error = self.error
        if error is None:
            return {"code": self.code}
        fields: dict[str, Any] = {"code": error.code, "detail": error.detail, "reason": error.reason}
        if isinstance(error, AccessError) and self.client is None:
            fields |= {"client": None, "client_tried": error.tried}
        return fields

    def _rare_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if isinstance(self.error, BadTarget):
            fields["target"] = shown_target(self.request.target)
        if self.errand is not None:
            name = "batch" if self.errand.batch else "collapsed"
            fields |= {name: self.errand.sent_as.decode(), f"{name}_size": self.errand.calls}
        return fields

    async def until_taken(self) -> None:
        """Wait until the client has taken enough of the answer. Raises `ConnectionResetError` if it is gone."""
        connection, holding = self.request.connection, self.holding
        if holding is None or connection.transport is None:
            return  # nobody was let in: there is no answer of a platform
        with holding.waiting_for_client(connection.untaken):
            await connection.drain()

    def note_body(self, chunk: bytes) -> None:
        """Take note of a piece of the answer's body, if the log needs to know something of it."""
        if self.newly_not_permitted and len(self.beginning) < INNER_CODE_WITHIN:
            self.beginning += chunk
        if self.batch is not None:
            self.batch.note(chunk)

    def not_permitted_fields(self) -> dict[str, Any]:
        """Return what the log says of a 401 that no token helps against."""
        scope, hint = self._needed()
        return {
            "shop": None if self.target is None else self.target.shop,
            "method": self.request.method,
            "path": None if self.target is None else self.target.path.decode(),
            "inner_code": inner_code(self.beginning),
            "why": _NOT_PERMITTED,
            **({"scope": scope, "hint": hint} if scope else {}),
        }

    def _needed(self) -> tuple[str, str]:
        """Return the scope that the call needs, and where to allow it; both empty if that is not known."""
        scopes = None if self.route is None else self.route.shop.platform.scopes
        if self.route is None or self.target is None or scopes is None:
            return "", ""
        segment = call_segment(self.target.rest, self.route.shop.platform.api_prefix)
        return scopes.needed(self.request.method, segment), scopes.hint(self.request.method, segment)


def inner_code(body: bytes) -> int | None:
    """Return the platform's own code in the beginning of a 401's body."""
    if body.startswith(b"\x1f\x8b"):  # gzip, which clients may have asked for
        with suppress(zlib.error):
            body = zlib.decompressobj(wbits=31).decompress(body, INNER_CODE_WITHIN)
    found = _INNER_CODE.search(body, 0, INNER_CODE_WITHIN)
    return int(found[0]) if found else None
