"""One token request for all who wait, and no token given up before there is a better one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import structlog

from proxy.app import open_connections
from proxy.config import UpstreamConfig
from proxy.errors import TokenRefused, TokenUnavailable
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop
from proxy.secret import Secret
from proxy.tasks import BackgroundTasks
from proxy.tokens.cache import TokenCache
from proxy.tokens.endpoint import TokenEndpoint, TokenRequest, token_request
from proxy.tokens.token import AccessToken
from tests.peers import Connection, Peer, response, serving, token_response
from tests.proxies import platform

MARGIN = 60.0
REFUSAL = response(b'{"error": "invalid_client"}', status=b"401 Unauthorized")
OUTAGE = response(b"", status=b"503 Service Unavailable")


class Desk:
    """What the token endpoint does with the requests that come in: answers `answers` in turn, when the gate is open."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Semaphore(0)

    async def __call__(self, connection: Connection) -> None:
        while await connection.read_request() is not None:
            self.asked.release()
            await self.gate.wait()
            await connection.send(self.answers.pop(0))


@dataclass(slots=True)
class Office:
    """A cache, its token endpoint behind real sockets, and a clock that is set by hand."""

    cache: TokenCache
    desk: Desk
    peer: Peer
    now: float = 1000.0
    events: list[dict[str, Any]] = field(default_factory=list)

    def request(self, key: str = "demo", secret: str = "secret-1") -> TokenRequest:
        return token_request(Shop(key, key, platform(self.peer.port, 1), Credentials(f"{key}-id", Secret(secret))))

    async def get(self, key: str = "demo") -> bytes:
        return (await self.cache.get(self.request(key))).authorization

    @property
    def fetches(self) -> int:
        return len(self.peer.received)


@asynccontextmanager
async def office(*answers: bytes, max_age: float = 86400.0) -> AsyncIterator[Office]:
    events: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> str:
        events.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(
        None,
        processors=[structlog.processors.add_log_level, keep],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    desk, tasks = Desk(*answers), BackgroundTasks()
    async with serving(desk) as peer, open_connections(UpstreamConfig()) as connections:
        endpoint = TokenEndpoint(connections.sessions, fetch_timeout=20.0, conceal=lambda token: None)
        cache = TokenCache(endpoint, tasks, log, clock=lambda: result.now, refresh_margin=MARGIN, max_age=max_age)
        result = Office(cache, desk, peer, events=events)
        try:
            yield result
        finally:
            await tasks.close()


def answers(*tokens: str) -> list[bytes]:
    return [token_response(token) for token in tokens]


async def test_all_who_wait_get_the_token_of_one_request() -> None:
    async with office(*answers("one")) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(50)]
        await here.desk.asked.acquire()
        here.desk.gate.set()

        assert await asyncio.gather(*waiting) == [b"Bearer one"] * 50
        assert here.fetches == 1


async def test_a_waiter_that_leaves_does_not_disturb_the_others() -> None:
    async with office(*answers("one")) as here:
        here.desk.gate.clear()
        first, second, third = (asyncio.create_task(here.get()) for _ in range(3))
        await here.desk.asked.acquire()
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        here.desk.gate.set()

        assert await second == b"Bearer one"
        assert first.cancelled()
        assert third.cancelled()
        assert here.fetches == 1


async def test_a_token_that_all_waiters_left_is_stored_for_the_next() -> None:
    async with office(*answers("one", "two")) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(3)]
        await here.desk.asked.acquire()
        for waiter in waiting:
            waiter.cancel()
        await asyncio.wait(waiting)
        here.desk.gate.set()

        assert await here.get() == b"Bearer one"
        assert here.fetches == 1


async def test_a_refusal_that_all_waiters_left_does_no_harm() -> None:
    async with office(REFUSAL, *answers("one")) as here:
        here.desk.gate.clear()
        waiter = asyncio.create_task(here.get())
        await here.desk.asked.acquire()
        waiter.cancel()
        await asyncio.wait([waiter])
        late = asyncio.create_task(here.get())
        here.desk.gate.set()

        with pytest.raises(TokenRefused):
            await late
        assert await here.get() == b"Bearer one"


@pytest.mark.parametrize(
    ("lifetime", "max_age", "last_moment", "renewed_at"),
    [
        pytest.param(3600, 86400.0, 3539.9, 3540.0, id="the margin before its end"),
        pytest.param(31535999, 1000.0, 939.9, 940.0, id="max_age"),
    ],
)
async def test_a_token_is_used_until_it_should_be_renewed(
    lifetime: int, max_age: float, last_moment: float, renewed_at: float
) -> None:
    async with office(token_response("one", lifetime), token_response("two"), max_age=max_age) as here:
        assert await here.get() == b"Bearer one"
        here.now = 1000.0 + last_moment
        assert await here.get() == b"Bearer one"
        assert here.fetches == 1
        here.now = 1000.0 + renewed_at
        assert await here.get() == b"Bearer two"
        assert here.fetches == 2


async def test_a_token_ages_from_the_moment_it_was_asked_for() -> None:
    async with office(token_response("one", 3600), token_response("two")) as here:
        here.desk.gate.clear()
        waiter = asyncio.create_task(here.get())
        await here.desk.asked.acquire()
        here.now += 600.0
        here.desk.gate.set()

        assert (await waiter) == b"Bearer one"
        here.now = 1000.0 + 3540.0
        assert await here.get() == b"Bearer two"


# Suspect tokens


async def test_all_late_401s_for_one_token_cost_one_request() -> None:
    async with office(*answers("one", "two")) as here:
        request = here.request()
        suspect = await here.cache.get(request)
        here.desk.gate.clear()
        together = [asyncio.create_task(here.cache.replace(request, suspect)) for _ in range(10)]
        await here.desk.asked.acquire()
        await here.desk.asked.acquire()
        here.desk.gate.set()
        replaced = await asyncio.gather(*together)
        afterwards = [await here.cache.replace(request, suspect) for _ in range(10)]

        assert {token.authorization for token in [*replaced, *afterwards]} == {b"Bearer two"}
        assert await here.get() == b"Bearer two"
        assert here.fetches == 2


async def test_a_suspect_token_stays_in_use_until_there_is_another() -> None:
    async with office(*answers("one", "two")) as here:
        request = here.request()
        suspect = await here.cache.get(request)
        here.desk.gate.clear()
        replacing = asyncio.create_task(here.cache.replace(request, suspect))
        await here.desk.asked.acquire()
        await here.desk.asked.acquire()

        assert await here.cache.get(request) is suspect
        here.desk.gate.set()
        assert (await replacing).authorization == b"Bearer two"
        assert await here.get() == b"Bearer two"


@pytest.mark.parametrize("failure", [REFUSAL, OUTAGE])
async def test_a_suspect_token_stays_if_there_is_no_other_to_be_had(failure: bytes) -> None:
    async with office(*answers("one"), failure, *answers("two")) as here:
        request = here.request()
        suspect = await here.cache.get(request)

        with pytest.raises((TokenRefused, TokenUnavailable)):
            await here.cache.replace(request, suspect)
        assert await here.cache.get(request) is suspect
        assert (await here.cache.replace(request, suspect)).authorization == b"Bearer two"


async def test_a_new_token_is_suspect_in_its_turn() -> None:
    async with office(*answers("one", "two", "three")) as here:
        request = here.request()
        first = await here.cache.get(request)
        second = await here.cache.replace(request, first)

        assert (await here.cache.replace(request, second)).authorization == b"Bearer three"
        assert (await here.cache.replace(request, first)).authorization == b"Bearer three"
        assert here.fetches == 3


async def test_a_newer_token_that_has_ended_meanwhile_is_not_handed_out() -> None:
    async with office(*answers("one", "two", "three")) as here:
        request = here.request()
        first = await here.cache.get(request)
        await here.cache.replace(request, first)
        here.now += 3600.0

        assert (await here.cache.replace(request, first)).authorization == b"Bearer three"


async def test_a_suspect_that_the_cache_has_never_seen_is_replaced() -> None:
    async with office(*answers("one")) as here:
        stranger = AccessToken(b"Bearer stranger", 2000.0, 2000.0)

        assert (await here.cache.replace(here.request(), stranger)).authorization == b"Bearer one"


async def test_one_who_leaves_while_a_suspect_is_replaced_does_not_disturb_the_others() -> None:
    async with office(*answers("one", "two")) as here:
        request = here.request()
        suspect = await here.cache.get(request)
        here.desk.gate.clear()
        leaving, staying = (asyncio.create_task(here.cache.replace(request, suspect)) for _ in range(2))
        await here.desk.asked.acquire()
        await here.desk.asked.acquire()
        leaving.cancel()
        await asyncio.wait([leaving])
        here.desk.gate.set()

        assert (await staying).authorization == b"Bearer two"


# Failures


async def test_all_who_wait_are_told_of_a_failure_and_the_next_tries_again() -> None:
    async with office(REFUSAL, *answers("one")) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(5)]
        await here.desk.asked.acquire()
        here.desk.gate.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [TokenRefused] * 5
        assert here.fetches == 1
        assert await here.get() == b"Bearer one"


async def test_a_mistake_of_our_own_is_told_as_unavailable_and_is_over_with_the_next_request() -> None:
    async with office(*answers("one")) as here:
        request = here.request()
        broken = replace(request, headers={"X": cast("str", 5)})

        with pytest.raises(TokenUnavailable) as caught:
            await here.cache.get(broken)
        assert caught.value.detail == "The proxy failed to fetch an access token."
        assert [event["event"] for event in here.events] == ["token.fetch_failed"]
        assert (await here.cache.get(request)).authorization == b"Bearer one"


# One shop and another


async def test_a_silent_endpoint_of_one_shop_does_not_hold_up_another() -> None:
    async with office(*answers("of-demo", "of-seoul")) as here:
        assert await here.get("demo") == b"Bearer of-demo"
        here.desk.gate.clear()
        waiting = asyncio.create_task(here.get("seoul"))
        await here.desk.asked.acquire()
        await here.desk.asked.acquire()

        assert await here.get("demo") == b"Bearer of-demo"
        assert not waiting.done()
        here.desk.gate.set()
        assert await waiting == b"Bearer of-seoul"


async def test_requests_for_two_shops_are_under_way_at_once() -> None:
    async with office(*answers("one", "two")) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get(key)) for key in ("demo", "seoul")]
        await here.desk.asked.acquire()
        await here.desk.asked.acquire()
        here.desk.gate.set()

        assert set(await asyncio.gather(*waiting)) == {b"Bearer one", b"Bearer two"}


async def test_another_secret_is_another_token() -> None:
    async with office(*answers("old", "new")) as here:
        assert (await here.cache.get(here.request(secret="old"))).authorization == b"Bearer old"
        assert (await here.cache.get(here.request(secret="new"))).authorization == b"Bearer new"
        assert (await here.cache.get(here.request(secret="old"))).authorization == b"Bearer old"


async def test_a_refusal_of_one_shop_leaves_the_others_token() -> None:
    async with office(*answers("of-demo"), REFUSAL) as here:
        await here.get("demo")
        with pytest.raises(TokenRefused):
            await here.get("seoul")

        assert await here.get("demo") == b"Bearer of-demo"


# The log


async def test_the_log_says_what_became_of_each_token_request() -> None:
    granted = response(b'{"access_token": "one", "expires_in": 3600, "scope": "a b"}')
    async with office(REFUSAL, OUTAGE, granted) as here:
        for expected in (TokenRefused, TokenUnavailable):
            with pytest.raises(expected):
                await here.get()
        await here.get()

        assert here.events == [
            {
                "event": "token.refused",
                "level": "warning",
                "shop": "demo",
                "detail": "The platform's token endpoint refuses this shop's client_id and client_secret.",
                "reason": "status 401, error: 'invalid_client'",
            },
            {
                "event": "token.unavailable",
                "level": "warning",
                "shop": "demo",
                "detail": "The platform's token endpoint can't be reached or gives no usable answer.",
                "reason": "status 503, no JSON",
            },
            {"event": "token.fetched", "level": "info", "shop": "demo", "lifetime": 3600.0, "scope": "a b"},
        ]
