"""Whatever happens in whatever order: requests, expiries, revocations, outages, refusals, cancellations, clock steps.

Each example is a list of steps. Between two steps everything runs until it waits for the endpoint, for the platform's
API or for its turn, so that an example always goes the same way.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Overloaded, TokenError
from proxy.tokens.endpoint import TokenGrant, TokenRequest
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken
from tests.tokens.desk import Desk, Office, name, office, outage, refusal

MAX_AGE = 2000.0
SHOPS = ["named", "other", "made-up"]
KINDS = [CallKind(method, b"%d" % number) for method in ("GET", "POST") for number in range(4)]


@dataclass(eq=False)
class Question:
    """A token request under way: who asks for what, since when, and the answer to come."""

    request: TokenRequest
    asked_at: float
    answer: asyncio.Future[TokenGrant]


@dataclass(eq=False)
class Record:
    """What the model knows of one set of credentials. `passed` is time that really passed, whatever the clock says."""

    token: str | None = None
    expires_at: float = 0.0
    refresh_at: float = 0.0
    failures: int = 0
    refused: bool = False
    alone_until: float = float("-inf")  # in time passed
    suspicions: list[float] = field(default_factory=list)  # in time passed


def owner(request: TokenRequest) -> tuple[str, str]:
    return request.shop.key, request.shop.credentials.client_secret.reveal()


class World(Desk):
    """The endpoint and the API, answering when told to, and the model that each token request is held against."""

    def __init__(self) -> None:
        super().__init__()
        self.here: Office
        self.passed = 0.0
        self.secrets = defaultdict[str, int](int)
        self.questions: list[Question] = []
        self.calls: list[asyncio.Future[None]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.records = defaultdict[bytes, Record](Record)
        self.owners: dict[str, tuple[str, str]] = {}
        self.ends: dict[str, float] = {}
        self.dead: set[str] = set()
        self.forbidden: set[tuple[str, CallKind]] = set()
        self.ended = 0
        self.wrong: list[str] = []  # an error raised in `fetch` would be taken for one of the endpoint's

    def request_for(self, shop: str) -> TokenRequest:
        return self.here.request(shop, secret=f"secret-{self.secrets[shop]}", by_wildcard=shop == "made-up")

    # The endpoint

    async def fetch(self, request: TokenRequest) -> TokenGrant:
        self.asked.append(request.shop.key)
        record, now = self.records[request.key], self.here.now
        if any(question.request.key == request.key for question in self.questions):
            self.wrong.append("two token requests at once")
        if self.passed < record.alone_until:
            self.wrong.append("the endpoint was to be left alone")
        if record.token is not None and now < record.refresh_at:
            record.suspicions.append(self.passed)
            if len(record.suspicions) > 5 and record.suspicions[-1] - record.suspicions[-6] < 10.0 - 1e-6:
                self.wrong.append("the token was suspected too often")
        question = Question(request, now, asyncio.get_running_loop().create_future())
        self.questions.append(question)
        return await question.answer

    def answer(self, number: int, outcome: float | str) -> None:
        """Answer a token request: with a token of a lifetime in seconds, or not."""
        if not self.questions:
            return
        question = self.questions.pop(number % len(self.questions))
        record, now = self.records[question.request.key], self.here.now
        failure: Exception | None = None
        pause = min(30.0, 0.5 * 2.0**record.failures)
        if self.usable(record):
            pause = min(pause, record.expires_at - now)
        if outcome == "refusal":
            failure, pause = refusal(), 60.0 if record.refused else 5.0
            record.refused = True
        elif outcome == "mistake":
            failure = ZeroDivisionError()
        elif outcome == "outage":
            failure = outage()
        elif isinstance(outcome, float) and now >= question.asked_at + min(outcome, MAX_AGE):
            failure = outage()  # what the cache is to make of it
            question.answer.set_result(TokenGrant("stillborn", outcome, None))
        if failure is not None:
            record.failures += outcome != "refusal"
            record.alone_until = self.passed + pause - 1e-6
            if not question.answer.done():
                question.answer.set_exception(failure)
            return
        assert isinstance(outcome, float)
        time = min(outcome, MAX_AGE)
        text = f"token-{len(self.owners)}"
        self.owners[text], self.ends[text] = owner(question.request), question.asked_at + time
        self.records[question.request.key] = Record(
            text,
            self.ends[text],
            self.ends[text] - min(60.0, time * 0.2) * 0.9 - 1e-6,
            suspicions=record.suspicions,
        )
        question.answer.set_result(TokenGrant(text, outcome, None))

    # The API

    def usable(self, record: Record) -> str | None:
        return record.token if self.here.now < record.expires_at else None

    def check(self, token: AccessToken, request: TokenRequest) -> None:
        assert self.owners[name(token)] == owner(request), "the token of another"
        assert self.here.now < self.ends[name(token)], "a token that has ended"

    async def send(self, token: AccessToken, shop: str, kind: CallKind) -> bool:
        """Tell whether the API answers 401, once it answers."""
        answered = asyncio.get_running_loop().create_future()
        self.calls.append(answered)
        await answered
        return name(token) in self.dead or (shop, kind) in self.forbidden

    async def forward(self, shop: str, kind: CallKind) -> None:
        """Do what the forwarder does."""
        request, cache = self.request_for(shop), self.here.cache
        try:
            token = await cache.get(request)
            self.check(token, request)
            refused, attempts = await self.send(token, shop, kind), 1
            while refused and attempts < 3:
                cached = self.usable(self.records[request.key])
                another = await cache.after_unauthorized(request, token, kind)
                if cached not in (None, name(token)):
                    assert another is not None, "a late 401"
                    assert name(another.token) == cached, "a late 401"
                if another is None:
                    break
                assert another.token is not token
                self.check(another.token, request)
                token, attempts = another.token, attempts + 1
                try:
                    refused = await self.send(token, shop, kind)
                    if refused:
                        cache.refused_again(request, another, kind)
                finally:
                    cache.repeated(request, kind)
        except (TokenError, Overloaded):
            pass
        finally:
            self.ended += 1

    # What happens; each of these is a step

    def step(self, what: str, *details: Any) -> None:
        getattr(self, what.replace(" ", "_"))(*details)

    def call(self, shop: str, *kinds: CallKind) -> None:
        self.tasks += [asyncio.create_task(self.forward(shop, kind)) for kind in kinds]

    def respond(self, number: int) -> None:
        if self.calls:
            answered = self.calls.pop(number % len(self.calls))
            if not answered.done():
                answered.set_result(None)

    def respond_to_all(self) -> None:
        while self.calls:
            self.respond(0)

    def leave(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    def move_on(self, seconds: float) -> None:
        self.here.now += seconds
        self.passed += seconds

    def move_to_the_refresh(self, shop: str, seconds: float) -> None:
        refresh_at = self.records[self.request_for(shop).key].refresh_at
        self.move_on(max(refresh_at + seconds - self.here.now, 0.0))

    def move_to_the_end(self, shop: str, seconds: float) -> None:
        expires_at = self.records[self.request_for(shop).key].expires_at
        self.move_on(max(expires_at + seconds - self.here.now, 0.0))

    def jump_back(self, seconds: float) -> None:
        self.here.now -= seconds

    def revoke(self, shop: str) -> None:
        token = self.records[self.request_for(shop).key].token
        self.dead |= {token} if token else set()

    def forbid_or_permit(self, shop: str, kind: CallKind) -> None:
        self.forbidden ^= {(shop, kind)}

    def change_the_secret(self, shop: str) -> None:
        self.secrets[shop] += 1

    def hold_against_model(self) -> None:
        """The cache has the token that was granted last, suspect or not, until it ends."""
        assert self.wrong == []
        for key, record in self.records.items():
            state = self.here.cache._states.get(key)
            token = state.usable(self.here.now) if state else None
            assert (name(token) if token else None) == self.usable(record)

    async def until_all_wait(self) -> None:
        """Let everything run until all wait for something from outside."""
        loop: Any = asyncio.get_running_loop()
        ready = True
        while ready:
            await asyncio.sleep(0)
            ready = bool(loop._ready)


# One shop has most of the traffic, so that things meet.
shops, kinds = st.sampled_from(["named", *SHOPS]), st.sampled_from(KINDS)
numbers = st.integers(min_value=0, max_value=50)
failures = st.sampled_from(["refusal", "outage", "outage", "mistake"])
moments = st.sampled_from([1e-9, 0.1, 0.5, 1.0, 4.9, 9.0, 10.0, 30.0, 59.0, 61.0, 240.0, 4000.0])
lifetimes = st.sampled_from([1.0, 5.0, 100.0, 300.0, 3600.0, 1e6])
STEPS = st.one_of(
    st.tuples(st.just("call"), shops, kinds),
    st.tuples(st.just("call"), shops, *map(st.just, KINDS)),
    st.tuples(st.just("answer"), st.just(0), lifetimes),
    st.tuples(st.just("answer"), st.just(0), failures),
    st.tuples(st.just("answer"), numbers, lifetimes | failures),
    st.tuples(st.just("respond"), numbers),
    st.just(("respond to all",)),
    st.tuples(st.just("leave"), numbers),
    st.tuples(
        st.just("move on"), st.sampled_from([1e-9, 0.1, 0.5, 1.0, 4.9, 9.0, 10.0, 30.0, 59.0, 61.0, 240.0, 4000.0])
    ),
    st.tuples(st.just("move to the refresh"), shops, st.sampled_from([-0.1, 0.0, 0.1])),
    st.tuples(st.just("move to the end"), shops, st.sampled_from([-0.1, -1e-9, 0.0, 0.1])),
    st.tuples(st.just("jump back"), st.sampled_from([1e-9, 1.0, 100.0])),
    st.tuples(st.just("revoke"), shops),
    st.tuples(st.just("forbid or permit"), shops, kinds),
    st.tuples(st.just("change the secret"), shops),
)

# Token after token is revoked, each noticed by the next call.
REVOCATIONS = st.lists(st.tuples(st.just("call"), st.just("named"), kinds), min_size=1, max_size=9).map(
    lambda calls: [
        step
        for call in calls
        for step in (("revoke", "named"), call, ("respond to all",), ("answer", 0, 3600.0), ("respond to all",))
    ]
)


async def play(steps: list[tuple[Any, ...]]) -> World:
    world = World()
    async with office(max_age=MAX_AGE, desk=world, first_requests_per_second=1e6) as here:
        world.here = here
        here.turn.set()
        for step in steps:
            world.step(*step)
            await world.until_all_wait()
            world.hold_against_model()
        # All is answered: nobody may be left waiting.
        while world.questions or any(not task.done() for task in world.tasks):
            assert world.calls or world.questions, "somebody waits for nothing"
            while world.calls:
                world.step("respond", 0)
            while world.questions:
                world.step("answer", 0, "outage")
            await world.until_all_wait()
        outcomes = await asyncio.gather(*world.tasks, return_exceptions=True)
        await here.idle()
        world.hold_against_model()
    assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}, outcomes
    return world


@settings(max_examples=100)
@given(parts=st.lists(STEPS.map(lambda step: [step]) | REVOCATIONS, min_size=60, max_size=150))
def test_whatever_happens_tokens_are_good_requests_are_few_and_nobody_is_left_waiting(
    parts: list[list[tuple[Any, ...]]],
) -> None:
    asyncio.run(play([step for part in parts for step in part]))


CALL = ("call", "named", KINDS[0])
GRANT, RESPOND = ("answer", 0, 300.0), ("respond", 0)


@pytest.mark.parametrize(
    ("steps", "requests"),
    [
        pytest.param([CALL, CALL, GRANT, RESPOND, RESPOND], 1, id="cold"),
        pytest.param(
            [CALL, CALL, GRANT, ("revoke", "named"), *[RESPOND] * 2, GRANT, *[RESPOND] * 2, CALL, RESPOND],
            2,
            id="revocation",
        ),
        pytest.param([CALL, ("answer", 0, "refusal"), CALL, ("move on", 61.0), CALL, GRANT], 2, id="refusal"),
        pytest.param(
            [("forbid or permit", "named", KINDS[0]), CALL, GRANT, RESPOND, GRANT, RESPOND, *[CALL, RESPOND] * 3],
            2,
            id="forbidden calls",
        ),
        pytest.param([CALL, GRANT, RESPOND, ("move to the refresh", "named", 0.1), *[CALL] * 5], 2, id="refresh"),
    ],
)
async def test_the_world_of_these_tests_is_as_it_should_be(steps: list[tuple[Any, ...]], requests: int) -> None:
    world = await play(steps)

    assert len(world.asked) == requests
    assert len(world.tasks) == world.ended
