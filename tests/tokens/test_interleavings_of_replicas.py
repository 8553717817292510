"""Whatever happens in whatever order, to several replicas, and with a Redis that fails at random.

Each example is a list of steps. Between two of them everything runs until it waits for the endpoint, for the platform's
API or for time to pass.
"""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import Overloaded, TokenError
from proxy.tokens.endpoint import TokenGrant, TokenRequest
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken
from tests.redis_servers import Server, each_server
from tests.tokens.desk import Desk, name, outage, refusal
from tests.tokens.replicas import Replicas, replicas

COUNT = 3
SHOPS = ["named", "named", "other", "made-up"]
KINDS = [CallKind(method, b"%d" % number) for method in ("GET", "POST") for number in range(3)]


@dataclass(eq=False)
class Question:
    """A token request under way."""

    request: TokenRequest
    answer: asyncio.Future[TokenGrant]
    asked_at: float


@dataclass
class World(Desk):
    """The endpoint and the API, and what must hold of whoever speaks with them."""

    here: Replicas
    failing: bool = False  # whether Redis has failed in this example
    questions: list[Question] = field(default_factory=list)
    calls: list[asyncio.Future[None]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    secrets: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    forbidden: set[tuple[str, CallKind]] = field(default_factory=set)
    alone_until: dict[bytes, float] = field(default_factory=lambda: defaultdict(lambda: float("-inf")))
    last_end: dict[bytes, float] = field(default_factory=lambda: defaultdict(float))
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def request_for(self, replica: int, shop: str) -> TokenRequest:
        secret = f"secret-{self.secrets[replica, shop]}"
        return self.here[replica].office.request(shop, secret=secret, by_wildcard=shop == "made-up")

    # The endpoint

    async def fetch(self, request: TokenRequest) -> TokenGrant:
        self.asked.append(request.shop.key)
        at_once = 1 + sum(question.request.key == request.key for question in self.questions)
        if at_once > (COUNT if self.failing else 1):
            self.wrong.append(f"{at_once} token requests at once")
        if not self.failing and self.here.time.now < self.alone_until[request.key]:
            self.wrong.append("the endpoint was to be left alone")
        question = Question(request, asyncio.get_running_loop().create_future(), self.here.time.now)
        self.questions.append(question)
        try:
            return await question.answer
        finally:
            if question in self.questions:
                self.questions.remove(question)

    def answer(self, number: int, outcome: float | str) -> None:
        if not self.questions:
            return
        question = self.questions.pop(number % len(self.questions))
        now = self.here.time.now
        if isinstance(outcome, str) or now >= question.asked_at + outcome:
            pause = 5.0 if outcome == "refusal" else 0.5
            if outcome != "refusal" and (left := self.last_end[question.request.key] - now) > 0:
                pause = min(pause, left)  # without a token calls fail: that is no time to wait
            self.alone_until[question.request.key] = now + pause - 0.01
            question.answer.set_exception(refusal() if outcome == "refusal" else outage())
            return
        text = f"token-{len(self.owners)}"
        credentials = question.request.shop.credentials
        self.owners[text] = question.request.shop.key, credentials.client_secret.reveal()
        self.ends[text] = self.last_end[question.request.key] = question.asked_at + outcome
        question.answer.set_result(TokenGrant(text, outcome, None))

    # The API

    def check(self, token: AccessToken, request: TokenRequest) -> None:
        owner = request.shop.key, request.shop.credentials.client_secret.reveal()
        if self.owners[name(token)] != owner:
            self.wrong.append("the token of another")
        if self.here.time.now >= self.ends[name(token)] + 0.01:
            self.wrong.append("a token that has ended")

    async def forward(self, replica: int, shop: str, kind: CallKind) -> None:
        """Do what the forwarder does."""
        request, cache = self.request_for(replica, shop), self.here[replica].cache
        try:
            token = await cache.get(request)
            for _ in range(2):
                self.check(token, request)
                answered = asyncio.get_running_loop().create_future()
                self.calls.append(answered)
                await answered
                if not (name(token) in self.dead or (shop, kind) in self.forbidden):
                    return
                another = await cache.after_unauthorized(request, token, kind)
                if another is None:
                    return
                if another.token is token:
                    self.wrong.append("the token that was rejected")
                token = another.token
                if name(token) in self.dead or (shop, kind) in self.forbidden:
                    cache.refused_again(request, another, kind)
                cache.repeated(request, kind)
        except (TokenError, Overloaded):
            pass

    # What happens; each of these is a step

    async def step(self, what: str, *details: Any) -> None:
        if what == "move_on":
            await self.move_on(*details)
        else:
            getattr(self, what)(*details)
        await self.here.settle()
        assert self.wrong == []

    def call(self, replica: int, shop: str, *kinds: CallKind) -> None:
        self.tasks += [asyncio.create_task(self.forward(replica, shop, kind)) for kind in kinds]

    def respond(self, number: int) -> None:
        if self.calls:
            answered = self.calls.pop(number % len(self.calls))
            if not answered.done():
                answered.set_result(None)

    def leave(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    async def move_on(self, seconds: float) -> None:
        """Let time pass bit by bit while somebody holds a lease: it has to be renewed. No request takes over 10 s."""
        moved = 0.0
        while moved < seconds and self.here.time.sleepers:
            self.here.move_on(min(0.4, seconds - moved))
            moved += min(0.4, seconds - moved)
            await self.here.settle()
            while moved > 9.0 and self.questions:
                self.answer(0, "outage")
                await self.here.settle()
        self.here.move_on(seconds - moved)

    def revoke(self, shop: str) -> None:
        self.dead |= {token for token, (owner, _) in self.owners.items() if owner == shop}

    def forbid_or_permit(self, shop: str, kind: CallKind) -> None:
        self.forbidden ^= {(shop, kind)}

    def change_the_secret(self, replica: int, shop: str) -> None:
        self.secrets[replica, shop] += 1

    def fail(self, replica: int, seed: int) -> None:
        """From now on commands of a replica fail at random, before or after they had their effect."""
        self.failing = True
        chance, client = random.Random(seed), self.here[replica].client
        assert client is not None
        client.fails = lambda: chance.choice(["", "before", "after"])

    def fix(self, replica: int) -> None:
        client, store = self.here[replica].client, self.here[replica].store
        assert client is not None
        assert store is not None
        client.fails = lambda: ""
        self.tasks.append(asyncio.create_task(store.touch()))

    def empty(self) -> None:
        self.failing = True
        assert self.here.redis is not None
        redis: Any = self.here.redis._redis
        self.tasks.append(asyncio.ensure_future(redis.flushall()))


shops, kinds, numbers = st.sampled_from(SHOPS), st.sampled_from(KINDS), st.integers(0, 30)
number_of_replica = st.integers(0, COUNT - 1)
outcomes = st.sampled_from([5.0, 100.0, 3600.0, 3600.0, "refusal", "outage"])
ORDINARY = [
    st.tuples(st.just("call"), number_of_replica, shops, kinds),
    st.tuples(st.just("call"), number_of_replica, shops, *map(st.just, KINDS)),
    st.tuples(st.just("answer"), numbers, outcomes),
    st.tuples(st.just("answer"), numbers, outcomes),
    st.tuples(st.just("respond"), numbers),
    st.tuples(st.just("respond"), numbers),
    st.tuples(st.just("leave"), numbers),
    st.tuples(st.just("move_on"), st.sampled_from([0.03, 0.3, 0.6, 1.0, 4.0, 30.0, 90.0, 4000.0])),
    st.tuples(st.just("revoke"), shops),
    st.tuples(st.just("forbid_or_permit"), shops, kinds),
    st.tuples(st.just("change_the_secret"), number_of_replica, shops),
]
FAILURES = [
    st.tuples(st.just("fail"), number_of_replica, numbers),
    st.tuples(st.just("fix"), number_of_replica),
    st.just(("empty",)),
]


async def play(server: Server, steps: list[tuple[Any, ...]]) -> World:
    async with replicas(server, count=COUNT, first_requests_per_second=1e6) as here:
        world = World(here)
        for replica in here.each:
            replica.office.turn.set()
            replica.cache._endpoint = world
        for step in steps:
            await world.step(*step)
        # All is answered, and time passes: nobody may be left waiting.
        for _ in range(400):
            if all(task.done() for task in world.tasks):
                break
            await world.step("respond", 0)
            await world.step("answer", 0, "outage")
            await world.step("move_on", 0.1)
        assert all(task.done() for task in world.tasks), "somebody waits for nothing"
        results = await asyncio.gather(*world.tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), bool, asyncio.CancelledError}, results
        for replica in here.each:
            assert replica.office.logged("token.fetch_failed") == []
    return world


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize("steps", [ORDINARY, ORDINARY + FAILURES], ids=["Redis is well", "Redis fails at random"])
def test_whatever_happens_tokens_are_good_requests_are_few_and_nobody_is_left_waiting(
    program: str, steps: list[st.SearchStrategy[Any]]
) -> None:
    with TemporaryDirectory(prefix="redis-") as folder:
        server = Server(program, Path(folder))
        asyncio.run(server.start())

        @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(st.one_of(steps), min_size=20, max_size=60))
        def any_order(taken: list[tuple[Any, ...]]) -> None:
            asyncio.run(play(server, taken))

        try:
            any_order()
        finally:
            server.kill()


CALL = ("call", 0, "named", KINDS[0])
GRANT, RESPOND = ("answer", 0, 300.0), ("respond", 0)


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize(
    ("steps", "requests"),
    [
        pytest.param([CALL, ("call", 1, "named", KINDS[0]), GRANT, ("move_on", 0.3), RESPOND, RESPOND], 1, id="cold"),
        pytest.param([CALL, GRANT, ("revoke", "named"), RESPOND, GRANT, RESPOND], 2, id="revocation"),
        pytest.param([CALL, ("answer", 0, "refusal"), ("call", 1, "named", KINDS[0])], 1, id="refusal"),
        pytest.param([CALL, GRANT, ("change_the_secret", 1, "named"), ("call", 1, "named", KINDS[0])], 2, id="secrets"),
        pytest.param(
            [CALL, GRANT, *[step for number in range(3) for step in (("fail", number, 1),)], ("empty",), CALL, RESPOND],
            1,
            id="failures",
        ),
    ],
)
async def test_the_world_of_these_tests_is_as_it_should_be(
    program: str, steps: list[tuple[Any, ...]], requests: int
) -> None:
    with TemporaryDirectory(prefix="redis-") as folder:
        server = Server(program, Path(folder))
        await server.start()
        try:
            world = await play(server, steps)
        finally:
            server.kill()

    assert len(world.asked) == requests
