"""One request to the platform that answers several calls, which waited in line for their slots.

Rules:
- Each call was admitted, and prepared, before it waited. What they share is the platform's answer as it came; each then
  goes on as if it had been sent alone, with its own links, packing and framing.
- An errand is nobody's: whoever leaves does not disturb the others, and it ends when the last one has left.
- What its answer may take of memory counts for the shop beforehand; if there is not so much, all go alone.
- It has one cycle of tries for a 401 and a 429. What it ends with is everybody's, unless they may not share it, or it
  does not fit in memory, or comes slowly, as what has no end: then one has it, and the others go alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from proxy.errors import InternalError, Overloaded, PacedOut, ProxyError
from proxy.forwarding.attempts import Attempts
from proxy.forwarding.batch_size import BatchSize
from proxy.forwarding.batching import MAX_ANSWER, Batching
from proxy.forwarding.exchange import Errand, Exchange
from proxy.forwarding.questions import is_for_one, question
from proxy.forwarding.route import Route
from proxy.forwarding.upstream import UpstreamRequest, UpstreamResponse
from proxy.guards.budgets import Budget
from proxy.guards.errands import Offer, Offers, Outcome, Seat
from proxy.guards.pacing import Turn
from proxy.platforms.answers import ORDINARY
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import ErrandMetrics

if TYPE_CHECKING:
    from proxy.guards.batch_leases import BatchLeases

MAX_SHARED: Final = 1 << 20  # bytes of an answer as it came
SHARED_WITHIN: Final = 5.0  # seconds after its head
_SHAREABLE: Final = frozenset(("GET", "HEAD"))


class Errands:
    """Offers what requests can do together, and does it."""

    def __init__(
        self,
        attempts: Attempts,
        batching: Batching,
        tasks: BackgroundTasks,
        log: FilteringBoundLogger,
        metrics: ErrandMetrics,
        memory: Budget,
    ) -> None:
        self._memory = memory
        self.attempts = attempts
        self._batching = batching
        self._metrics = metrics
        self._tasks = tasks
        self._log = log

    def offers(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> Offers | None:
        """Return what makes the offer of a request if it has to wait; `None` if it goes alone."""
        if request.content != b"" or request.method not in _SHAREABLE:
            return None
        if not (exchange.site.collapse or route.shop.batch):
            return None
        return partial(self._offer, exchange, route, request)

    def _offer(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> Offer | None:
        kind = self._batching.kind(exchange, route, request)
        if exchange.site.collapse:
            return Member(self, exchange, route, request, question(request.start), kind)
        return None if kind is None else Member(self, exchange, route, request, object(), kind)

    def share_by(self, leases: "BatchLeases | None") -> None:
        """Send batches in turn with other replicas from now on, or alone."""
        self._batching.leases = leases

    def size(self, member: "Member") -> tuple[BatchSize, float]:
        """Return what is known of batches for a member's shop, and what time it is."""
        return self._batching.size(member.route), self._batching.clock()

    def begin(self, turn: Turn, members: Sequence["Member"]) -> None:
        """Begin the errand of `members`, the first of whom had the slot that `turn` has now."""
        errand = Running(turn, members)
        first = errand.first
        if all(member.question == first.question for member in members):
            errand.task = self._tasks.start(self._run(errand, self._same_question, MAX_SHARED), name="errand")
        else:
            errand.task = self._tasks.start(self._run(errand, self._batching.run, MAX_ANSWER), name="batch")
            self._batching.begun(first.route, errand.task)

    async def _run(self, errand: "Running", work: Callable[["Running"], Awaitable[None]], most: int) -> None:
        """Do it; its answer may have `most` bytes."""
        call, shop = errand.call, errand.first.route.shop.key
        held = self._hold(shop, most)
        try:
            if held:
                await work(errand)
        except PacedOut as error:  # that is how long the first one may wait
            errand.settle(error, errand.first)
            errand.settle(Outcome.AGAIN)
        except ProxyError as error:
            errand.settle(error)
        except Exception:
            self._log.exception("request.failed", request_id=call.request_id.decode())
            errand.settle(InternalError("An internal error in the proxy; its log says more."))
        finally:
            if held:
                self._memory.give(None, shop, most)
            errand.settle(Outcome.ALONE)
            errand.turn.let_go()
            if call.answer is not None and call.answer.open:
                await call.answer.close()

    def _hold(self, shop: str, most: int) -> bool:
        """Hold so much memory for a shop, if it may have that."""
        try:
            self._memory.take(None, shop, most)
        except Overloaded:
            return False
        return True

    async def _same_question(self, errand: "Running") -> None:
        """Ask once, and share the answer."""
        call, first = errand.call, errand.first
        answer = await self.attempts.attempt(call, first.route, first.request)
        if answer.meaning is not ORDINARY:
            answer = await self.attempts.retry(call, first.route, first.request)
        fits = await answer.small(MAX_SHARED, SHARED_WITHIN) is not None
        if fits:
            await answer.close()
        for_one = is_for_one(answer.head)
        for member in errand.members():
            if for_one and member.exchange.caller != call.caller:
                continue
            if fits:
                errand.answer(member, answer.copy())
            else:
                call.answer = None  # the member's from here on
                errand.answer(member, answer)
                break
        self._metrics.collapsed += errand.shared


class Running:
    """An errand under way: `call` is its request on its way, on behalf of the first of its members."""

    def __init__(self, turn: Turn, members: Sequence["Member"]) -> None:
        self.first = members[0]
        self.turn = turn
        self.call = replace(
            self.first.exchange, turn=turn, attempts=0, answer=None, token=None, upstream_seconds=0.0, holding=None
        )
        self.task: asyncio.Task[None] | None = None
        self.shared = 0  # answers beyond the first
        self._size = len(members)
        self._seated = dict.fromkeys(members)
        self._told = False
        for member in members:
            member.errand = self

    def members(self) -> list["Member"]:
        """Return those who wait for its end."""
        return [member for member in self._seated if not member.result.done()]

    def answer(self, member: "Member", answer: UpstreamResponse, *, batch: bool = False) -> None:
        """Let a member have this answer, if it is still there."""
        if member.result.done() or member not in self._seated:
            return
        call, exchange = self.call, member.exchange
        exchange.answer = answer
        exchange.upstream_seconds += call.upstream_seconds
        exchange.errand = Errand(call.request_id, self._size, batch)
        exchange.newly_not_permitted, call.newly_not_permitted = call.newly_not_permitted, False
        self.shared += self._told
        self._end(member, Outcome.ANSWERED)

    def settle(self, result: Outcome | ProxyError, only: "Member | None" = None) -> None:
        """Tell what became of the errand to those who still wait, or to one of them."""
        for member in self.members():
            if only in (None, member):
                self._end(member, result)

    def left(self, member: "Member") -> None:
        """Take note that a member is gone; with the last one the errand ends."""
        if member in self._seated:
            del self._seated[member]
            member.errand = None
            if not self._seated:
                self._tell(member)
                self.turn.let_go()
                if self.task is not None:
                    self.task.cancel()

    def _end(self, member: "Member", result: Outcome | ProxyError) -> None:
        del self._seated[member]
        member.errand = None
        self._tell(member)
        member.result.set_result(result)

    def _tell(self, member: "Member") -> None:
        """Have what the errand took count for one of its members."""
        if not self._told:
            self._told = True
            member.exchange.attempts += self.call.attempts
            member.exchange.throttlings += self.turn.throttlings


class Member:
    """A request that waits in line, what it offers there, and its seat in the errand that comes of it."""

    __slots__ = ("_errands", "errand", "exchange", "kind", "question", "request", "result", "route")

    def __init__(
        self,
        errands: Errands,
        exchange: Exchange,
        route: Route,
        request: UpstreamRequest,
        question: Hashable,
        kind: Hashable,
    ) -> None:
        self._errands = errands
        self.exchange = exchange
        self.route = route
        self.request = request
        self.question = question
        self.kind = kind
        self.errand: Running | None = None
        self.result: asyncio.Future[Outcome | ProxyError] = asyncio.get_running_loop().create_future()

    def most(self) -> int:
        size, now = self._errands.size(self)
        return 1 if size.begun_at is not None else size.most(now)

    def at_best(self) -> int:
        size, now = self._errands.size(self)
        return size.most(now)

    def not_before(self) -> float:
        size, now = self._errands.size(self)
        return size.not_before(now)

    def begin(self, turn: Turn, others: Sequence[Offer]) -> Sequence[Seat]:
        members = [self, *(other for other in others if isinstance(other, Member))]
        self._errands.begin(turn, members)
        return members

    def leave(self) -> None:
        if self.errand is not None:
            self.errand.left(self)

    async def outcome(self) -> Outcome:
        result = await self.result
        if isinstance(result, ProxyError):
            raise result
        return result
