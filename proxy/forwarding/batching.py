"""A line becomes a batch: different questions that wait for one shop go to the platform in one request.

Rules:
- Only what is certain is taken from a batch's answer: a part with 200 and JSON. Who asked for any other part goes
  alone, so that all that holds for a 401, a 429, a 404 or an error of the platform holds as ever.
- A batch as a whole has one try with another token. "Too fast" sends all back to the line, after one pause for the
  shop. What was too much for the platform, or too slow, goes in halves. What makes no sense goes singly.
- Nobody waits long for others: a batch has its own time limit, and who was in too many that failed goes alone.
- One batch at a time for each shop, over all replicas where they share slots (`guards/batch_leases.py`). Who finds that
  another replica's takes long goes without.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from structlog.typing import FilteringBoundLogger

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.forwarding.attempts import Attempts
from proxy.forwarding.batch_form import (
    Part,
    UnreadableBatch,
    batch_body,
    batch_start,
    common_fields,
    is_batchable,
    read_parts,
    request_uri,
)
from proxy.forwarding.batch_size import HOLD, BatchSize
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.questions import is_for_one
from proxy.forwarding.route import Route
from proxy.forwarding.target import call_segment, upstream_target
from proxy.forwarding.upstream import UpstreamRequest, UpstreamResponse
from proxy.guards.errands import Outcome
from proxy.links.unpacking import BrokenEncoding, can_unpack, unpack
from proxy.platforms.answers import Sense
from proxy.telemetry.metrics import ErrandMetrics
from proxy.tokens.state import CallKind
from proxy.wire.head import FieldTable, Head

if TYPE_CHECKING:
    from proxy.forwarding.errands import Member, Running
    from proxy.guards.batch_leases import BatchLeases

MAX_ANSWER: Final = 8 << 20  # bytes, as it came and unpacked
LONGEST: Final = 15.0  # seconds
_MOST_FAILED: Final = 3  # batches that a request was in
_MAX_SHOPS: Final = 1000  # whose sizes are remembered
_TOO_LARGE, _TOO_FAST, _TIMED_OUT = 413, 429, 504

_COUNTS_EACH_PART: Final = (
    "the platform answered that they come too fast: it may count each call in a batch; set batch = false for the"
    " shop if this happens again"
)
_HALVES: Final = "so many were too much, or took too long: they are sent again in halves"
_PAUSE: Final = "the platform answered that it came too fast: they are sent again after a pause"
_ELSEWHERE: Final = "a batch of another replica takes too long: they are sent one by one"


class _TooMuch(Exception):
    """The platform, or this proxy, can't take a batch of this size."""


class Batching:
    """Sends batches. `clock` is monotonic, in seconds; `over` is called with a shop's key when a batch has ended.

    `leases` are there if other replicas send batches for the same shops.
    """

    def __init__(
        self,
        attempts: Attempts,
        log: FilteringBoundLogger,
        metrics: ErrandMetrics,
        answer_table: FieldTable,
        *,
        clock: Callable[[], float],
        over: Callable[[bytes], None],
        new_request_id: Callable[[], bytes],
    ) -> None:
        self._attempts = attempts
        self._log = log
        self._metrics = metrics
        self._answer_table = answer_table
        self.clock = clock
        self._over = over
        self._new_request_id = new_request_id
        self.leases: BatchLeases | None = None
        self._sizes: OrderedDict[bytes, BatchSize] = OrderedDict()

    def kind(self, exchange: Exchange, route: Route, request: UpstreamRequest) -> bytes | None:
        """Return what all requests have in common that may go with this GET without a body; `None`: none."""
        shop, target = route.shop, exchange.target
        if not shop.batch or target is None or request.method != "GET" or exchange.failed_batches >= _MOST_FAILED:
            return None
        if not is_batchable(exchange.request.head, request.start, target.rest, shop.platform):
            return None
        kind = CallKind("GET", call_segment(target.rest, shop.platform.api_prefix))
        return common_fields(request.start) if self._attempts.permitted(route, kind) else None

    def size(self, route: Route) -> BatchSize:
        """Return what is known of a shop's batches."""
        key, batch = route.token_request.application, route.shop.platform.batch
        most = 1 if batch is None else batch.most
        size = self._sizes.get(key)
        if size is None:
            if len(self._sizes) >= _MAX_SHOPS:
                self._forget_one()
            size = self._sizes[key] = BatchSize(most)
        elif size.limit != most:
            size.change(most)
        self._sizes.move_to_end(key)
        return size

    def _forget_one(self) -> None:
        """Forget the shop that was asked for least recently, but for those with a batch under way."""
        idle = next((key for key, size in self._sizes.items() if size.begun_at is None), None)
        if idle is not None:
            del self._sizes[idle]

    def begun(self, route: Route, task: asyncio.Task[None]) -> None:
        """Take note that `task` is the one batch of a shop, until its end, whichever that is."""
        size = self.size(route)
        size.begun_at = self.clock()

        def ended(_: asyncio.Task[None]) -> None:
            size.begun_at = None
            self._over(route.token_request.application)

        task.add_done_callback(ended)

    async def run(self, errand: "Running") -> None:
        """Ask for everything that the members want, as soon as no other batch is under way, and give each its part."""
        if self.leases is None:
            await self._batch(errand)
            return
        size = self.size(errand.first.route)

        def waits(begun_at: float) -> None:
            size.begun_at = begun_at
            errand.turn.let_go()  # another one can use the slot meanwhile

        async with self.leases.lease(errand.first.route.token_request.application, HOLD, waits) as had:
            size.begun_at = self.clock()
            if had:
                await self._batch(errand)
                return
            for member in errand.members():
                member.exchange.failed_batches = _MOST_FAILED
            self._failed(errand, "elsewhere", Outcome.AGAIN, why=_ELSEWHERE)

    async def _batch(self, errand: "Running") -> None:
        """Ask for everything that the members want, and give each its part."""
        asked: dict[object, list[Member]] = {}
        for member in errand.members():
            asked.setdefault(member.question, []).append(member)
        if len(asked) < 2:
            return  # the others have left
        call, route = errand.call, errand.first.route
        size = self.size(route)
        call.request_id = self._new_request_id()
        origin = f"{route.destination.scheme}://{route.host.decode()}"
        uris = [request_uri(members[0].request.start, origin) for members in asked.values()]
        try:
            answer, content = await self._ask(call, route, errand.first.request, uris)
            parts = [] if answer.meaning.sense is Sense.THROTTLED else read_parts(content, uris)
        except (_TooMuch, TimeoutError, UpstreamTimeout):
            if not call.attempts:  # it was not sent in all that time
                errand.settle(Outcome.AGAIN)
                return
            size.too_much(len(uris), self.clock())
            self._failed(errand, "too_much", Outcome.AGAIN, why=_HALVES)
        except (UnreadableBatch, BrokenEncoding, UpstreamError) as error:
            size.given_up(self.clock())
            self._failed(errand, "unreadable", Outcome.ALONE, why=str(error))
        else:
            self._metrics.batches += 1
            inside = any(part.status == _TOO_FAST for part in parts)
            if inside or not parts:
                errand.turn.throttled(answer.retry_after)
                if size.throttled(self.clock(), inside=inside):
                    self._log.warning("batch.off", shop=route.shop.key, why=_COUNTS_EACH_PART)
            else:
                size.answered(len(uris), call.upstream_seconds, len(content))
            if parts:
                self._give(errand, answer, parts, list(asked.values()))
            else:
                self._failed(errand, "too_fast", Outcome.AGAIN, why=_PAUSE)

    async def _ask(
        self, call: Exchange, route: Route, first: UpstreamRequest, uris: list[str]
    ) -> tuple[UpstreamResponse, bytes]:
        """Send the batch, once more with another token if need be; return its answer, and what that says.

        Raises `_TooMuch` and `UnreadableBatch`.
        """
        assert route.shop.platform.batch is not None  # noqa: S101 - for the type checker
        assert call.target is not None  # noqa: S101 - as above
        rest = b"/" + route.shop.platform.batch.path.strip("/").encode()
        call.target = call.target._replace(rest=rest)
        body = batch_body(uris)
        start = batch_start(
            upstream_target(route.base_path, rest), common_fields(first.start), call.request_id, len(body)
        )
        # Sent again where a kept connection is lost: there is nothing in it but GETs.
        request = UpstreamRequest(route.destination, "POST", start, body, None, repeatable=True)
        async with asyncio.timeout(LONGEST):
            await self._attempts.attempt(call, route, request)
            await self._attempts.with_another_token(call, route, request)
            call.newly_not_permitted = False  # nobody asked for a batch
            answer = call.answer
            assert answer is not None  # noqa: S101 - for the type checker
            headed_at = self.clock()
            content = await answer.small(MAX_ANSWER)
            call.upstream_seconds += self.clock() - headed_at
        return answer, _unpacked(answer, content)

    def _give(
        self, errand: "Running", answer: UpstreamResponse, parts: list[Part], asked: "list[list[Member]]"
    ) -> None:
        """Give each its part, or have it go alone."""
        for_one = is_for_one(answer.head)
        for part, members in zip(parts, asked, strict=True):
            for member in members:
                shared = not for_one or member.exchange.caller == members[0].exchange.caller
                if part.body is not None and shared:
                    length = len(part.body)
                    lines = [b"Content-Type: application/json", b"Content-Length: %d" % length]
                    head = Head(lines, self._answer_table)
                    errand.answer(member, answer.saying(200, b"OK", head, length, part.body), batch=True)
                    self._metrics.batched += 1
                else:
                    member.exchange.failed_batches = _MOST_FAILED
        errand.settle(Outcome.ALONE)

    def _failed(self, errand: "Running", reason: str, outcome: Outcome, *, why: str) -> None:
        """Have all go on without an answer."""
        members = errand.members()
        self._metrics.failed_batches[reason] += 1
        self._log.warning(
            "batch.given_up",
            shop=errand.first.route.shop.key,
            batch=errand.call.request_id.decode(),
            calls=len(members),
            why=why,
        )
        for member in members:
            member.exchange.failed_batches += 1
        errand.settle(outcome)


def _unpacked(answer: UpstreamResponse, content: bytes | None) -> bytes:
    """Return what an answer says, whose body is `content`, or too large. Raises `_TooMuch` and `UnreadableBatch`."""
    if answer.meaning.sense is Sense.THROTTLED:
        return b""
    if content is None or answer.status in (_TOO_LARGE, _TIMED_OUT):
        raise _TooMuch
    if answer.status != 200:
        raise UnreadableBatch(f"it was answered {answer.status}")
    coding = b", ".join(answer.head.values(b"content-encoding"))
    if not can_unpack(coding):
        raise UnreadableBatch("its answer has a Content-Encoding that was not asked for")
    unpacked = unpack(content, coding, MAX_ANSWER)
    if unpacked is None:
        raise _TooMuch
    return unpacked
