"""The life of one request, from top to bottom: route, admit, prepare, authorize, pace, send, retry, relay.

Every request ends here in exactly one of three ways, and in exactly one line of the log: the platform's answer is
relayed (`request.forwarded`), the proxy answers itself (`request.refused`), or the client leaves before there is an
answer (`request.abandoned`). In the ordinary case nothing waits but for the platform: the token is there, no limit is
to be kept, the connection is kept, the body is here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from proxy.errors import (
    Draining,
    InternalError,
    ProxyError,
    StorageUnavailable,
    TooManyFailures,
    UpstreamError,
)
from proxy.forwarding.admission import begin, let_in
from proxy.forwarding.answering import answer_error, answer_options
from proxy.forwarding.errands import Errands
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.fields import check_for_loop, request_id
from proxy.forwarding.preparing import is_last_recipient, prepare
from proxy.forwarding.relay import relay
from proxy.forwarding.restricting import check_target
from proxy.forwarding.site import Site
from proxy.forwarding.target import no_such_shop
from proxy.guards.budgets import Budgets, Holding
from proxy.guards.pacing import UNPACED, Pacer
from proxy.platforms.answers import ORDINARY
from proxy.telemetry.traffic import Traffic
from proxy.wire.client_response import ClientResponse
from proxy.wire.request import ClientRequest


class Forwarder:
    """Serves requests, each by the `site` that is set when it begins. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        site: Site,
        errands: Errands,
        pacer: Pacer,
        budgets: Budgets,
        log: FilteringBoundLogger,
        traffic: Traffic,
        *,
        clock: Callable[[], float],
        new_request_id: Callable[[], bytes],
    ) -> None:
        self.site = site
        self._errands = errands
        self._attempts = errands.attempts
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
                self._answer(exchange, InternalError("An internal error in the proxy; its log says more."))
            finally:
                if exchange.body is not None:
                    exchange.body.close()
                self._end(exchange)
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
        self._end(exchange)
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
            raise no_such_shop(target)
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
            exchange.event, exchange.code = "request.refused", "max_forwards"
            return
        prepared = await prepare(exchange, route, target)
        begin(exchange, holding, route, self._pacer)
        try:
            # 4. authorize, 5. pace, 6. send
            offers = None if exchange.turn is UNPACED else self._errands.offers(exchange, route, prepared)
            answer = await self._attempts.attempt(exchange, route, prepared, offers)
            # 7. retry; a platform may say first that it's too fast and then that the token is dead, or the reverse
            if answer.meaning is not ORDINARY and exchange.errand is None:
                answer = await self._attempts.retry(exchange, route, prepared)
            # 8. relay
            del prepared  # no attempt needs its content any more
            exchange.answered_at = self._clock()
            rest = relay(exchange, answer, exchange.links)
            if rest is not None:
                await rest
        finally:
            if exchange.answer is not None and exchange.answer.open:
                await exchange.answer.close()
            if exchange.newly_not_permitted:
                self._log.warning("call.not_permitted", **exchange.not_permitted_fields())

    def _open(self, request: ClientRequest) -> Exchange:
        given = request_id(request.head) if b"x-request-id" in request.head.first else None
        own = b"" if given else self._new_request_id()
        return Exchange(request, ClientResponse(request), self.site, given or own, self._clock(), not own)

    def _answer(self, exchange: Exchange, error: ProxyError) -> None:
        """Answer with an error of the proxy's own."""
        broken_off = answer_error(exchange, error)
        exchange.event = "request.forwarded" if broken_off else "request.refused"
        exchange.troubled = broken_off or isinstance(
            error, (UpstreamError, InternalError, StorageUnavailable, TooManyFailures)
        )

    def _abandon(self, exchange: Exchange) -> None:
        exchange.response.abort()
        exchange.event = "request.abandoned"

    def _end(self, exchange: Exchange) -> None:
        """Tell what became of a request: one line in the log, and the numbers."""
        finished = exchange.finished(self._clock())
        level = self._log.warning if exchange.troubled else self._log.info
        level(exchange.event, summary=finished)
        self._traffic.finished(finished)
