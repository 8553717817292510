"""What the simulated platforms have in common: a server on loopback that records, fails on demand, and answers.

Rules: the platform's own logic is synchronous (`_answer_token`, `_answer_api`) and never sees the network; all waiting
happens here. A request is recorded once its body is complete and before anything is decided about it, so that a test
sees what arrived even where the answer is a fault. aiohttp's low-level server is used because it has no router that
would decode the target, no body limit, and leaves compressed bodies alone when told to.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from proxy.simulator.calls import Answer, Call, split_target
from proxy.simulator.faults import Fault, FaultSlot
from proxy.simulator.rate_limit import RateLimiter
from proxy.simulator.recording import RECORDED_BODY_SIZE, RECORDED_REQUESTS, RecordedRequest, read_body, record
from proxy.simulator.tokens import TokenBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext
    from typing import Self

LOOPBACK = "127.0.0.1"
BACKLOG = 1024  # connections; tests open a thousand at once
PATIENCE = 30.0  # seconds
SHUTDOWN_TIMEOUT = 0.1  # seconds; a request that waits for an event must not hold up the end of a test


@dataclass(frozen=True)
class SimulatedClient:
    """An API client the platform knows: its secret, and the shops and scopes it may have (None: all)."""

    secret: str = field(repr=False)
    shops: frozenset[str] | None = None
    scopes: frozenset[str] | None = None


@dataclass
class Counts:
    """How often each thing has happened since the simulator was made."""

    token_requests: int = 0
    compressed: int = 0
    tokens_issued: int = 0
    api_requests: int = 0
    refused_tokens: int = 0  # API calls without a valid token
    forbidden: int = 0  # API calls outside the token's scopes, parts of batches included
    throttled: int = 0  # API calls above the rate limit
    batches: int = 0  # that were carried out
    batch_parts: int = 0  # in these
    aborted: int = 0  # requests whose caller left before the answer


class SimulatedPlatform(ABC):
    """A platform's token endpoint and API on one port of its own. Use as `async with`, start to end.

    While it is left it refuses connections; entered again it has the same port and remembers everything.
    """

    def __init__(
        self,
        *,
        clients: Mapping[str, SimulatedClient],
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        rate_limit: int | None,
        token_lifetime: int,
        compress: bool = False,
        port: int = 0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        """Make a simulator that is not listening yet.

        Args:
            clients: API clients by client id; `self.clients` may be changed at any time.
            clock: seconds, for token lifetimes and rate limits.
            rng: where tokens come from; default: the system's randomness.
            rate_limit: requests a second, None for no limit.
            token_lifetime: seconds; `self.token_lifetime` may be changed at any time.
            compress: gzip the API's answers for clients that accept it.
            port: port to listen on, 0 for any free one.
            ssl_context: serve HTTPS with it.
        """
        self.clients = dict(clients)
        self.token_lifetime = token_lifetime
        self.counts = Counts()
        self.token_requests: deque[RecordedRequest] = deque(maxlen=RECORDED_REQUESTS)
        self.api_requests: deque[RecordedRequest] = deque(maxlen=RECORDED_REQUESTS)
        self._tokens = TokenBook(clock, rng or random.SystemRandom())
        self._limiter = RateLimiter(rate_limit, clock)
        self._compress = compress
        self._port = port
        self._ssl_context = ssl_context
        self._token_faults = FaultSlot()
        self._api_faults = FaultSlot()
        self._runner: web.ServerRunner | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        # Handler cancellation: the caller who leaves is noticed, which aiohttp's default would not show.
        server = web.Server(self._handle, handler_cancellation=True, auto_decompress=False, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, self._port, ssl_context=self._ssl_context, backlog=BACKLOG)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def port(self) -> int:
        """The port listened on; 0 as long as any would do."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, address and port, without a slash at the end."""
        return f"{'https' if self._ssl_context else 'http'}://{LOOPBACK}:{self._port}"

    @property
    def token_fault(self) -> Fault | None:
        """What goes wrong at the token endpoint; set and clear (None) at any time."""
        return self._token_faults.current

    @token_fault.setter
    def token_fault(self, fault: Fault | None) -> None:
        self._token_faults.set(fault)

    @property
    def api_fault(self) -> Fault | None:
        """What goes wrong with API calls; set and clear (None) at any time."""
        return self._api_faults.current

    @api_fault.setter
    def api_fault(self, fault: Fault | None) -> None:
        self._api_faults.set(fault)

    def revoke_tokens(self, shop: str | None = None) -> int:
        """Revoke the tokens of `shop`, or all; returns how many valid ones there were."""
        return self._tokens.revoke(shop)

    def expire_tokens(self) -> int:
        """Let all tokens expire now; returns how many valid ones there were."""
        return self._tokens.expire()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at again whenever a request has arrived or was aborted.

        Raises:
            TimeoutError: it did not come to hold within `PATIENCE` seconds; a test should fail, not hang.
        """
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._changed.wait()

    @abstractmethod
    def _is_token_request(self, host: str, segments: tuple[str, ...]) -> bool:
        """Whether a request belongs to the token endpoint; all others are API calls."""

    @abstractmethod
    def _answer_token(self, call: Call) -> Answer:
        """The token endpoint's answer."""

    @abstractmethod
    def _answer_api(self, call: Call) -> Answer:
        """The API's answer."""

    def _body_kept(self, segments: tuple[str, ...]) -> int:
        """How many bytes of an API call's body are of use; the rest is read, counted, hashed and forgotten."""
        return RECORDED_BODY_SIZE

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._receive_and_answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.counts.aborted += 1
            self._notify()
            raise

    async def _receive_and_answer(self, request: web.BaseRequest) -> web.StreamResponse:
        segments, query = split_target(request.raw_path)
        is_token = self._is_token_request(_host_name(request), segments)
        _send_continue(request)
        body = await read_body(request.content, RECORDED_BODY_SIZE if is_token else self._body_kept(segments))
        self._record(record(request, body), is_token=is_token)
        call = Call(request.method, segments, query, request.headers, body.start, body.length, body.sha256)

        fault = (self._token_faults if is_token else self._api_faults).take()
        if fault is None:
            return self._response(request, self._answer(call, is_token=is_token))
        await fault.wait()
        if fault.down:
            return _hang_up(request)
        answer = fault.replacement() or self._answer(call, is_token=is_token)
        return self._response(request, answer, fault.headers)

    def _answer(self, call: Call, *, is_token: bool) -> Answer:
        return self._answer_token(call) if is_token else self._answer_api(call)

    def _record(self, recorded: RecordedRequest, *, is_token: bool) -> None:
        if is_token:
            self.counts.token_requests += 1
            self.token_requests.append(recorded)
        else:
            self.counts.api_requests += 1
            self.api_requests.append(recorded)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _response(
        self, request: web.BaseRequest, answer: Answer, extra: Mapping[str, str] | None = None
    ) -> web.Response:
        # `Server` is set so that aiohttp's own name, which no platform sends, stays out of it.
        response = web.Response(status=answer.status, body=answer.body or None, headers={"Server": "nginx"})
        if answer.content_type is not None:
            response.headers["Content-Type"] = answer.content_type
        for name, value in answer.headers:
            response.headers[name] = value
        for name, value in (extra or {}).items():
            response.headers[name] = value
        if self._compress and answer.body and "gzip" in request.headers.get("Accept-Encoding", ""):
            self.counts.compressed += 1
            response.body = gzip.compress(answer.body, compresslevel=6, mtime=0)
            response.headers.update({"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        return response


def _host_name(request: web.BaseRequest) -> str:
    """The Host field's name in lower case, without its port; empty where there is none (HTTP/1.0)."""
    return request.headers.get("Host", "").partition(":")[0].lower()


def _send_continue(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which aiohttp's low-level server leaves to its handler."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection; the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
