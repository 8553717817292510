"""Steps 4 to 7 on the way of a request: authorize, pace, send, and send again where that may help.

Rules: a request waits for its token before it waits for its slot, and the token is looked at again when the slot is
there. What is sent again, and how often, is decided here and nowhere else.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from proxy.errors import PacedOut, TokenError
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.route import Route
from proxy.forwarding.target import call_segment
from proxy.forwarding.upstream import UpstreamRequest, UpstreamResponse
from proxy.guards.errands import Offers, Outcome
from proxy.guards.pacing import UNPACED
from proxy.platforms.answers import MAX_LOOKED_INTO, Sense
from proxy.tokens.cache import TokenCache
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken

_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))  # to be sent again, whatever became of it (RFC 9110 §9.2.1)
# One that was in the cache already, and one that is fetched because of the 401.
_MORE_TOKENS: Final = 2


class Attempts:
    """Sends requests until there is an answer for the client. `clock` is monotonic, in seconds."""

    def __init__(self, tokens: TokenCache, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock

    def permitted(self, route: Route, kind: CallKind) -> bool:
        """Tell whether nothing is known that would forbid calls of this kind."""
        return self._tokens.permitted(route.token_request, kind)

    def attempt(
        self, exchange: Exchange, route: Route, request: UpstreamRequest, offers: Offers | None = None
    ) -> Awaitable[UpstreamResponse]:
        """Send the request as soon as there are a token and a slot, and return the answer.

        With `offers`, what it can do together with others in line; then the answer may be that of an errand. Raises a
        `ProxyError`.
        """
        token = self._tokens.current(route.token_request) if exchange.turn is UNPACED else None
        if token is not None:
            return self._send(exchange, route, request, token)  # nothing to wait for
        return self._in_turn(exchange, route, request, offers)

    async def _in_turn(
        self, exchange: Exchange, route: Route, request: UpstreamRequest, offers: Offers | None
    ) -> UpstreamResponse:
        tokens, turn = self._tokens, exchange.turn
        while True:
            token = tokens.current(route.token_request) or await self._token(exchange, route)
            if turn is UNPACED:
                return await self._send(exchange, route, request, token)
            turn.offers = offers
            async with turn as seat:
                if seat is not None:
                    outcome = await seat.outcome()
                    if outcome is Outcome.ANSWERED and exchange.answer is not None:
                        return exchange.answer
                    offers = offers if outcome is Outcome.AGAIN else None
                    continue
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

    async def retry(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> UpstreamResponse:
        """After 'too fast' or 'not with this token', as a 429 or 401 says, send the request again where that may help.

        Return the last answer.
        """
        answer = await self._when_let(exchange, route, request)
        await self.with_another_token(exchange, route, request)
        return answer if exchange.answer is answer else await self._when_let(exchange, route, request)

    async def with_another_token(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> None:
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
                    token = self._tokens.current(route.token_request)  # as in `attempt`
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
                answer = await self.attempt(exchange, route, request)
            except (PacedOut, TokenError):
                break
        return answer
