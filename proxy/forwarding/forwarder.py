"""The life of one request, from top to bottom: route, admit, prepare, authorize, pace, send, retry, relay.

Every request ends here in exactly one of three ways, and in exactly one line of the log: the platform's answer is
relayed (`request.forwarded`), the proxy answers itself (`request.refused`), or the client leaves before there is an
answer (`request.abandoned`). In the ordinary case nothing waits but for the platform: the token is there, no limit is
to be kept, the connection is kept, the body is here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.errors import (
    Draining,
    InternalError,
    PacedOut,
    ProxyError,
    TokenError,
    TooManyFailures,
    UnknownShop,
    UpstreamError,
)
from proxy.forwarding.admission import begin, let_in
from proxy.forwarding.answering import answer_error, answer_options
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.fields import check_for_loop, request_id
from proxy.forwarding.preparing import is_last_recipient, prepare
from proxy.forwarding.relay import relay
from proxy.forwarding.restricting import check_target
from proxy.forwarding.route import Route
from proxy.forwarding.site import Site
from proxy.forwarding.target import call_segment
from proxy.forwarding.upstream import UpstreamRequest, UpstreamResponse
from proxy.guards.budgets import Budgets, Holding
from proxy.guards.pacing import UNPACED, Pacer
from proxy.platforms.answers import MAX_LOOKED_INTO, ORDINARY, Sense
from proxy.telemetry.traffic import Traffic
from proxy.tokens.cache import TokenCache
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken
from proxy.wire.client_response import ClientResponse
from proxy.wire.request import ClientRequest

_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))  # to be sent again, whatever became of it (RFC 9110 §9.2.1)
# One that was in the cache already, and one that is fetched because of the 401.
_MORE_TOKENS: Final = 2


class Forwarder:
    """Serves requests, each by the `site` that is set when it begins. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        site: Site,
        tokens: TokenCache,
        pacer: Pacer,
        budgets: Budgets,
        log: FilteringBoundLogger,
        traffic: Traffic,
        *,
        clock: Callable[[], float],
        new_request_id: Callable[[], bytes],
    ) -> None:
        self.site = site
        self._tokens = tokens
        self._pacer = pacer
        self._log = log
        self._traffic = traffic
        self._clock = clock
        self._new_request_id = new_request_id
        self._budgets = budgets

    async def handle(self, request: ClientRequest) -> bool:
        """Serve one request, to the last byte of its answer; return whether its connection can be kept."""
        exchange = self._open(request)
        try:
            try:
                await self._forward(exchange)
            except ProxyError as error:
                self._answer(exchange, error)
            except ConnectionError:
                self._abandon(exchange)  # seen here before this task is cancelled
            except asyncio.CancelledError:
                if request.connection.cut_off:
                    self._answer(exchange, Draining("The proxy was stopped before the answer came.", retry_after=1.0))
                else:
                    self._abandon(exchange)
                raise
            except Exception:
                self._log.exception("request.failed", request_id=exchange.request_id.decode())
                self._answer(exchange, InternalError("The proxy made a mistake; its log says more."))
            finally:
                if exchange.body is not None:
                    exchange.body.close()
                self._traffic.finished(exchange.finished(self._clock()))
            if request.connection.can_write is not None:
                with suppress(ConnectionError):
                    await exchange.until_taken()
        finally:
            if exchange.holding is not None:
                exchange.holding.give_back()
        return await exchange.response.end()

    @property
    def in_flight(self) -> int:
        """How many requests have a place."""
        return self._budgets.places.taken

    async def refuse(self, request: ClientRequest, error: ProxyError) -> bool:
        """Answer what could not be read as a request, or is none to be served."""
        exchange = self._open(request)
        exchange.response.refuse_rest()
        self._answer(exchange, error)
        self._traffic.finished(exchange.finished(self._clock()))
        return await exchange.response.end()

    async def _forward(self, exchange: Exchange) -> None:
        site, request = exchange.site, exchange.request
        head, connection = request.head, request.connection
        # 1. route, but only for who is known: a host may stand for a shop, so that the answer would tell of it
        if b"via" in head.first:
            check_for_loop(head, site.hop)
        _, _, client, holder = let_in(site, request)
        exchange.client = client
        holding = exchange.holding = Holding(self._budgets, holder)
        target = exchange.target = site.addressing.read(request, site.hop, client)
        # 2. admit; only then is the shop looked up
        if client is not None:
            site.access.check(client, request.method, target.shop)
        connection.admitted()
        route = exchange.route = site.routes.find(target.shop)
        if route is None:
            raise UnknownShop(f"There is no shop '{target.shop}' here.")
        holding.shop = route.shop.key
        if client is not None and client.methods is not None:
            check_target(target.rest, route.shop.platform)
        if route.api_urls:
            exchange.links = site.links.find(
                route.shop.key, route.api_urls, route.base_path, site.addressing.base(request, site.hop, target)
            )
        # 3. prepare
        if request.method == "OPTIONS" and is_last_recipient(head):
            answer_options(exchange)
            self._log.info("request.refused", code="max_forwards", **exchange.log_fields(self._clock()))
            return
        prepared = await prepare(exchange, route, target)
        begin(exchange, holding, route, self._pacer)
        try:
            # 4. authorize, 5. pace, 6. send
            answer = await self._attempt(exchange, route, prepared)
            # 7. retry; a platform may say first that it's too fast and then that the token is dead, or the reverse
            if answer.meaning is not ORDINARY:
                answer = await self._retry(exchange, route, prepared)
            # 8. relay
            del prepared  # no attempt needs its content any more
            exchange.answered_at = self._clock()
            await relay(exchange, answer, exchange.links)
        finally:
            if exchange.answer is not None and exchange.answer.open:
                await exchange.answer.close()
            if exchange.newly_not_permitted:
                self._log.warning("call.not_permitted", **exchange.not_permitted_fields())
        self._log.info("request.forwarded", **exchange.log_fields(self._clock()))

    def _open(self, request: ClientRequest) -> Exchange:
        given = request_id(request.head) if b"x-request-id" in request.head.first else None
        return Exchange(request, ClientResponse(request), self.site, given or self._new_request_id(), self._clock())

    async def _attempt(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request as soon as there are a token and a slot, and return the answer."""
        tokens, turn = self._tokens, exchange.turn
        while True:
            token = tokens.current(route.token_request) or await self._token(exchange, route)
            if turn is UNPACED:
                return await self._send(exchange, route, request, token)
            async with turn:
                # Read again, without awaiting: the token may have ended in the queue. Then the slot is given back.
                still_good = tokens.current(route.token_request)
                if still_good is not None:
                    return await self._send(exchange, route, request, still_good)

    async def _token(self, exchange: Exchange, route: Route) -> AccessToken:
        """Return a token that has to be waited for."""
        begun_at = self._clock()
        try:
            return await self._tokens.get(route.token_request, exchange.caller)
        finally:
            exchange.token_seconds += self._clock() - begun_at

    async def _send(
        self, exchange: Exchange, route: Route, request: UpstreamRequest, token: AccessToken
    ) -> UpstreamResponse:
        """Send the request and return the answer, which takes the place of an earlier one."""
        if exchange.answer is not None:
            await exchange.answer.close()
        exchange.attempts += 1
        exchange.token = token
        begun_at = self._clock()
        answers = route.shop.platform.answers
        try:
            answer = exchange.answer = await exchange.site.upstreams[route.any_address].send(
                request, token.line, exchange.turn
            )
            if answers.tells_by(answer.status):
                looked_into = await answer.small(MAX_LOOKED_INTO) if answers.looks_into(answer.status) else None
                answer.meaning = answers.meaning(answer.status, looked_into)
        finally:
            exchange.upstream_seconds += self._clock() - begun_at
        if exchange.turn is not UNPACED and answer.meaning.sense is not Sense.THROTTLED:
            exchange.turn.answered()
        return answer

    async def _retry(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """After 'too fast' or 'not with this token', as a 429 or 401 says, send the request again where that may help.

        Return the last answer.
        """
        await self._when_let(exchange, route, request)
        await self._with_another_token(exchange, route, request)
        return await self._when_let(exchange, route, request)

    async def _with_another_token(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> None:
        """After a 401, send the same request with another token; the 401 stays if there is none to be had.

        So after another answer that means the same.

        One more try is all, unless the other token was there before the first one was refused: it may be dead too.
        """
        assert exchange.target is not None  # noqa: S101 - for the type checker
        kind = CallKind(request.method, call_segment(exchange.target.rest, route.shop.platform.api_prefix))
        for _ in range(_MORE_TOKENS):
            if exchange.token is None or exchange.answer is None:
                return
            sense, not_carried_out = exchange.answer.meaning
            if sense is not Sense.UNAUTHORIZED or not (not_carried_out or request.method in _SAFE):
                return
            begun_at = self._clock()
            another = await self._tokens.after_unauthorized(route.token_request, exchange.token, kind)
            exchange.token_seconds += self._clock() - begun_at
            if another is None:
                return
            try:
                async with exchange.turn:
                    token = self._tokens.current(route.token_request)  # as in _attempt
                    if token is None:
                        return
                    answer = await self._send(exchange, route, request, token)
            finally:
                self._tokens.repeated(route.token_request, kind)
            if answer.meaning.sense is Sense.UNAUTHORIZED and token is another.token:
                exchange.newly_not_permitted = self._tokens.refused_again(route.token_request, another, kind)

    async def _when_let(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """After a 429 or its like, send the same request again when the platform lets it; return the last answer."""
        answer = exchange.answer
        assert answer is not None  # noqa: S101 - for the type checker
        while (
            answer.meaning.sense is Sense.THROTTLED
            and exchange.turn.throttled(answer.retry_after)
            and (answer.meaning.not_carried_out or request.method in _SAFE)
        ):
            try:
                answer = await self._attempt(exchange, route, request)
            except (PacedOut, TokenError):
                break
        return answer

    def _answer(self, exchange: Exchange, error: ProxyError) -> None:
        """Answer with an error of the proxy's own."""
        broken_off = answer_error(exchange, error)
        if broken_off or isinstance(error, (UpstreamError, InternalError, TooManyFailures)):
            level = self._log.warning
        else:
            level = self._log.info
        level("request.forwarded" if broken_off else "request.refused", **exchange.log_fields(self._clock(), error))

    def _abandon(self, exchange: Exchange) -> None:
        exchange.response.abort()
        self._log.info("request.abandoned", **exchange.log_fields(self._clock()))
