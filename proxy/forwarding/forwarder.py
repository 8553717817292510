"""The life of one request, from top to bottom: route, admit, prepare, authorize, pace, send, retry, relay.

Every request ends here in exactly one of three ways, and in exactly one line of the log: the platform's answer is
relayed (`request.forwarded`), the proxy answers itself (`request.refused`), or the client leaves before there is an
answer (`request.abandoned`).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from proxy.errors import (
    BadRequest,
    BadTarget,
    BodyTooLarge,
    Draining,
    InternalError,
    MethodNotSupported,
    Overloaded,
    PacedOut,
    ProxyError,
    TokenError,
    TooManyFailures,
    UnknownShop,
    UpstreamError,
    problem,
)
from proxy.forwarding.body import RequestBody
from proxy.forwarding.client import check_request
from proxy.forwarding.client_response import ClientResponse, WrittenResponse
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.headers import (
    ClientConnectionInfo,
    decrease_max_forwards,
    expects_continue,
    fields_named,
    first_named,
    list_members,
    request_id,
    upstream_request_fields,
)
from proxy.forwarding.relay import relay
from proxy.forwarding.rewritten_body import RewrittenBody, edited_request_fields, with_links_of_platform
from proxy.forwarding.route import Route
from proxy.forwarding.site import Site
from proxy.forwarding.target import Target, call_segment, upstream_target
from proxy.forwarding.upstream import UpstreamRequest
from proxy.forwarding.upstream_response import UpstreamResponse
from proxy.guards.pacing import Pacer
from proxy.telemetry.traffic import Traffic
from proxy.tokens.cache import TokenCache
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken

# One that was in the cache already, and one that is fetched because of the 401.
_MORE_TOKENS: Final = 2


class Forwarder:
    """Serves requests, each by the `site` that is set when it begins. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        site: Site,
        tokens: TokenCache,
        pacer: Pacer,
        log: FilteringBoundLogger,
        traffic: Traffic,
        *,
        clock: Callable[[], float],
        new_request_id: Callable[[], str],
    ) -> None:
        self.site = site
        self._tokens = tokens
        self._pacer = pacer
        self._log = log
        self._traffic = traffic
        self._clock = clock
        self._new_request_id = new_request_id
        self.in_flight = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request, to the last byte of its answer."""
        exchange = self._open(request)
        self.in_flight += 1
        try:
            await self._forward(exchange)
        except ProxyError as error:
            self._answer(exchange, error)
        except ConnectionError:
            self._abandon(exchange)  # seen here before aiohttp cancels this task
        except asyncio.CancelledError:
            if exchange.response.cut_off:
                self._answer(exchange, Draining("The proxy was stopped before the answer came.", retry_after=1.0))
            else:
                self._abandon(exchange)
            raise
        except Exception:
            self._log.exception("request.failed", request_id=exchange.request_id)
            self._answer(exchange, InternalError("The proxy made a mistake; its log says more."))
        finally:
            self.in_flight -= 1
            if exchange.body is not None:
                exchange.body.close()
            self._traffic.finished(exchange.finished(self._clock()))
        await exchange.response.end()
        return WrittenResponse(keep_alive=exchange.response.keep_alive)

    async def refuse(self, request: web.BaseRequest, error: ProxyError) -> web.StreamResponse:
        """Answer what could not be read as a request."""
        exchange = self._open(request)
        exchange.response.refuse_rest()
        self._answer(exchange, error)
        self._traffic.finished(exchange.finished(self._clock()))
        await exchange.response.end()
        return WrittenResponse(keep_alive=False)

    async def _forward(self, exchange: Exchange) -> None:
        site = exchange.site
        if self.in_flight > site.max_requests:
            raise Overloaded("The proxy serves as many requests as it may (server.max_requests).", retry_after=1.0)
        # 1. route, but only for who is known: a host may stand for a shop, so that the answer would tell of it
        check_request(exchange.request, site.hop)
        authorization = fields_named(exchange.request.raw_headers, b"authorization")
        exchange.client = site.access.identify(authorization, exchange.request.remote)
        target, base = site.addressing.read(exchange.request, site.hop, exchange.client)
        exchange.target = target
        # 2. admit; only then is the shop looked up
        site.access.check(exchange.client, exchange.request.method, target.shop)
        exchange.response.admitted()
        route = exchange.route = site.routes.find(target.shop)
        if route is None:
            raise UnknownShop(f"There is no shop '{target.shop}' here.")
        exchange.links = site.links.find(route.shop.key, route.api_urls, route.base_path, base)
        # 3. prepare
        upstream_request = await self._prepare(exchange, route, target)
        if upstream_request is None:
            self._answer_options(exchange)
            return
        try:
            # 4. authorize, 5. pace, 6. send
            await self._attempt(exchange, route, upstream_request)
            # 7. retry; a platform may say first that it's too fast and then that the token is dead, or the reverse
            await self._when_let(exchange, route, upstream_request)
            await self._with_another_token(exchange, route, upstream_request)
            answer = await self._when_let(exchange, route, upstream_request)
            # 8. relay
            exchange.answered_at = self._clock()
            await relay(exchange, answer, exchange.links)
        finally:
            if exchange.answer is not None:
                await exchange.answer.close()
            if exchange.newly_not_permitted:
                self._log.warning("call.not_permitted", **exchange.not_permitted_fields())
        self._log.info("request.forwarded", **self._fields(exchange))

    async def _prepare(self, exchange: Exchange, route: Route, target: Target) -> UpstreamRequest | None:
        """Return the request for the upstream; `None` if it ends here (`Max-Forwards: 0`)."""
        request = exchange.request
        fields = upstream_request_fields(
            request.raw_headers,
            host=route.host,
            request_id=exchange.request_id,
            hop=exchange.site.hop,
            connection=ClientConnectionInfo(
                request.remote, b"https" if request.secure else b"http", b"%d.%d" % request.version
            ),
            forwarded=route.shop.platform.forwarded_headers,
        )
        if request.method == "OPTIONS" and not decrease_max_forwards(fields):
            return None
        if exchange.links is not None:
            fields = edited_request_fields(fields)
        if list_members(request.raw_headers, b"upgrade") not in ([], [b"websocket"]):
            # Served as an ordinary request, like those; but aiohttp's parser forgets what was sent behind it.
            exchange.response.keep_alive = False
        announced = first_named(request.raw_headers, b"content-length")
        body = exchange.body = RequestBody(
            request.content,
            announced=None if announced is None else int(announced),
            max_size=exchange.site.max_body_size,
        )
        if expects_continue(request.raw_headers) and not body.complete:
            exchange.response.send_continue()
        content = await body.read_ahead()
        to_send: RequestBody | RewrittenBody = body
        if exchange.links is not None:
            to_send, content, fields = await with_links_of_platform(body, content, fields, exchange.links)
        path = upstream_target(route.base_path, target.rest)
        turn = exchange.turn = self._pacer.turn(
            route.token_request.key, exchange.caller, route.shop.platform.rate_limit
        )
        return UpstreamRequest(route.origin, request.method, path, fields, to_send, content, turn, route.proxy)

    async def _attempt(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request as soon as there are a token and a slot, and return the answer."""
        while True:
            await self._tokens.get(route.token_request)
            async with request.turn:
                # Read again, without awaiting: the token may have ended in the queue. Then the slot is given back.
                token = self._tokens.current(route.token_request)
                if token is not None:
                    return await self._send(exchange, route, request, token)

    async def _send(
        self, exchange: Exchange, route: Route, request: UpstreamRequest, token: AccessToken
    ) -> UpstreamResponse:
        """Send the request and return the answer, which takes the place of an earlier one."""
        if exchange.answer is not None:
            await exchange.answer.close()
        exchange.attempts += 1
        exchange.token = token
        upstream = exchange.site.upstreams[route.any_address]
        begun_at = self._clock()
        try:
            exchange.answer = await upstream.send(request, token.authorization, exchange.response.send_interim)
        finally:
            exchange.upstream_seconds += self._clock() - begun_at
        return exchange.answer

    async def _with_another_token(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> None:
        """After a 401, send the same request with another token; the 401 stays if there is none to be had.

        One more try is all, unless the other token was there before the first one was refused: it may be dead too.
        """
        assert exchange.target is not None  # noqa: S101 - for the type checker
        kind = CallKind(request.method, call_segment(exchange.target.rest, route.shop.platform.api_prefix))
        for _ in range(_MORE_TOKENS):
            if exchange.token is None or exchange.answer is None or exchange.answer.status != 401:
                return
            another = await self._tokens.after_unauthorized(route.token_request, exchange.token, kind)
            if another is None:
                return
            try:
                async with request.turn:
                    token = self._tokens.current(route.token_request)  # as in _attempt
                    if token is None:
                        return
                    answer = await self._send(exchange, route, request, token)
            finally:
                self._tokens.repeated(route.token_request, kind)
            if answer.status == 401 and token is another.token:
                exchange.newly_not_permitted = self._tokens.refused_again(route.token_request, another, kind)

    async def _when_let(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """After a 429, send the same request again when the platform lets it; return the answer, maybe the 429."""
        answer = exchange.answer
        assert answer is not None  # noqa: S101 - for the type checker
        while answer.status == 429 and request.turn.throttled(answer.retry_after):
            try:
                answer = await self._attempt(exchange, route, request)
            except (PacedOut, TokenError):
                break
        return answer

    def _answer_options(self, exchange: Exchange) -> None:
        """Answer OPTIONS as its last recipient (RFC 9110 §7.6.2)."""
        exchange.response.start(204, b"No Content", [], length=None, first=b"", complete=True)
        self._log.info("request.refused", code="max_forwards", **self._fields(exchange))

    def _answer(self, exchange: Exchange, error: ProxyError) -> None:
        """Answer with an error of the proxy's own; where an answer has begun already, break it off."""
        exchange.error = error
        response = exchange.response
        if response.started:
            response.abort()
            self._log.warning("request.forwarded", **self._fields(exchange, error))
            return
        request = exchange.request
        unclear = isinstance(error, (BadRequest, BodyTooLarge, MethodNotSupported))
        # What is meant for another host, or for none: `http://…`, `host:443`, `*`.
        elsewhere = isinstance(error, BadTarget) and not request.raw_path.startswith("/")
        if unclear or elsewhere or not request.content.is_eof():
            response.refuse_rest()  # what follows may belong to no request
        with suppress(ConnectionError):
            exchange.write(problem(error, request_id=exchange.request_id))
        level = (
            self._log.warning if isinstance(error, (UpstreamError, InternalError, TooManyFailures)) else self._log.info
        )
        level("request.refused", **self._fields(exchange, error))

    def _abandon(self, exchange: Exchange) -> None:
        exchange.response.abort()
        self._log.info("request.abandoned", **self._fields(exchange))

    def _open(self, request: web.BaseRequest) -> Exchange:
        identifier = request_id(request.raw_headers) or self._new_request_id()
        return Exchange(request, ClientResponse(request), self.site, identifier, self._clock())

    def _fields(self, exchange: Exchange, error: ProxyError | None = None) -> dict[str, Any]:
        return exchange.log_fields(self._clock(), error)
