"""One request on its way through the proxy, and what its log line says of it."""

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from proxy.errors import AccessError, Problem, ProxyError
from proxy.forwarding.body import RequestBody
from proxy.forwarding.client_response import ClientResponse
from proxy.forwarding.route import Route
from proxy.forwarding.site import Site
from proxy.forwarding.target import Target
from proxy.forwarding.tracing import trace_id
from proxy.forwarding.upstream_response import UpstreamResponse
from proxy.guards.access import Client
from proxy.guards.pacing import UNPACED, Turn
from proxy.links.shop_links import ShopLinks
from proxy.telemetry.labels import UNKNOWN
from proxy.telemetry.traffic import Failure, FinishedRequest
from proxy.tokens.token import AccessToken

# Platforms put a code of their own into the body of a 401 (Shoprenter: 40101), in JSON or XML; how is not documented.
_INNER_CODE: Final = re.compile(rb"(?<![0-9A-Za-z])401[0-9]{2}(?![0-9A-Za-z])")
INNER_CODE_WITHIN: Final = 4096  # bytes
_NOT_PERMITTED: Final = (
    "the platform refuses this call although the token is fresh: the API client probably lacks the scope for it"
)


@dataclass(slots=True)
class Exchange:
    """A request, its answer, and what came of it so far. `started_at` in seconds on the monotonic clock."""

    request: web.BaseRequest
    response: ClientResponse
    site: Site
    request_id: str
    started_at: float
    target: Target | None = None
    route: Route | None = None
    # What is rewritten in the body, both ways, and in the answer's head; `None`: nothing.
    links: ShopLinks | None = None
    client: Client | None = None
    body: RequestBody | None = None
    turn: Turn = UNPACED
    attempts: int = 0
    # The token that was sent last, and the answer to that.
    token: AccessToken | None = None
    answer: UpstreamResponse | None = None
    # The platform refused the call with a fresh token too, and the log has not said so yet.
    newly_not_permitted: bool = False
    # Then: what the body of the answer begins with.
    beginning: bytes = b""
    # What was spent waiting for the platform, in seconds, and when its answer went on to the client.
    upstream_seconds: float = 0.0
    answered_at: float | None = None
    error: ProxyError | None = None

    @property
    def shop(self) -> str | None:
        """The shop's key, once the target has been read."""
        return self.target.shop if self.target else None

    @property
    def path(self) -> str | None:
        """The path without shop and query, once the target has been read."""
        return self.target.path.decode() if self.target else None

    @property
    def caller(self) -> str:
        """Who shares the platform's rate limit fairly: the client by its name, else the address it calls from."""
        return self.client.name if self.client else self.request.remote or ""

    def log_fields(self, now: float, error: ProxyError | None = None) -> dict[str, Any]:
        """Return what a log line says of any request; the trace only if the client named one."""
        trace = trace_id(self.request.raw_headers)
        return {
            **({"code": error.code, "detail": error.detail, "reason": error.reason} if error else {}),
            **self._caller_fields(error),
            "shop": self.shop,
            "method": self.request.method,
            "path": self.path,
            "status": self.response.status,
            "upstream_status": self.answer.status if self.answer else None,
            "attempts": self.attempts,
            "duration_ms": round((now - self.started_at) * 1000, 1),
            "bytes_in": self.body.received if self.body else 0,
            "bytes_out": self.response.bytes_sent,
            "request_id": self.request_id,
            **({"trace_id": trace} if trace else {}),
        }

    def finished(self, now: float) -> FinishedRequest:
        """Return what is counted of the request, which has come to its end."""
        shop = self.route.shop if self.route else None
        error, answered_at = self.error, self.answered_at
        answered = self.answer.status if self.answer else None
        return FinishedRequest(
            key=shop.key if shop else UNKNOWN,
            entry=shop.entry if shop else UNKNOWN,
            method=self.request.method,
            status=self.response.status,
            answered=answered,
            failure=Failure(error.code, error.detail) if error else None,
            attempts=self.attempts,
            bytes_in=self.body.received if self.body else 0,
            bytes_out=self.response.bytes_sent,
            duration=now - self.started_at,
            added=None if answered_at is None else answered_at - self.started_at - self.upstream_seconds,
            paced=self.turn.waited,
            throttled=self.turn.throttlings or int(answered == 429),
        )

    def note_body(self, chunk: bytes) -> None:
        """Take note of a piece of the answer's body, if the log needs to know what it begins with."""
        if self.newly_not_permitted and len(self.beginning) < INNER_CODE_WITHIN:
            self.beginning += chunk

    def _caller_fields(self, error: ProxyError | None) -> dict[str, Any]:
        """Return what the log says of who calls, if there are clients: who it is, or who tried and from where."""
        if self.client is not None:
            return {"client": self.client.name}
        if isinstance(error, AccessError):
            return {"client": None, "client_tried": error.tried, "address": self.request.remote}
        return {}

    def not_permitted_fields(self) -> dict[str, Any]:
        """Return what the log says of a 401 that no token helps against."""
        return {
            "shop": self.shop,
            "method": self.request.method,
            "path": self.path,
            "inner_code": inner_code(self.beginning),
            "why": _NOT_PERMITTED,
        }

    def write(self, answer: Problem) -> None:
        """Write an answer of the proxy's own. Raises `ConnectionResetError` if the client is gone."""
        self.response.start(
            answer.status,
            answer.reason,
            answer.headers,
            length=b"%d" % len(answer.body),
            first=b"" if self.request.method == "HEAD" else answer.body,
            complete=True,
        )


def inner_code(body: bytes) -> int | None:
    """Return the platform's own code in the beginning of a 401's body."""
    if body.startswith(b"\x1f\x8b"):  # gzip, which clients may have asked for
        with suppress(zlib.error):
            body = zlib.decompressobj(wbits=31).decompress(body, INNER_CODE_WITHIN)
    found = _INNER_CODE.search(body, 0, INNER_CODE_WITHIN)
    return int(found[0]) if found else None
