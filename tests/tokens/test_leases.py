"""Replicas behave as one process does, whoever of them is asked: each test runs with both."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.errors import TokenRefused, TokenUnavailable
from proxy.tokens.leases import LEASE, Alone, Claim, Suspicion, claim
from proxy.tokens.state import CallKind, TokenState
from tests.redis_servers import each_server
from tests.tokens.desk import ORDERS, PRODUCTS, grant, name, outage, refusal
from tests.tokens.replicas import ALONE, Replicas, replicas
from tests.tokens.states import NOW, token, with_token

both = pytest.mark.parametrize("kind", [ALONE, *each_server()])


async def tokens_of(here: Replicas, key: str = "demo", *, count: int = 3) -> list[str]:
    """What each replica would use."""
    found = await asyncio.gather(*(here[number].cache.get(here.request(key)) for number in range(count)))
    return [name(each) for each in found]


@both
async def test_however_many_need_a_token_one_is_asked_for(kind: str) -> None:
    async with replicas(kind) as here:
        here.desk.gate.clear()
        calls = [asyncio.ensure_future(here[number].cache.get(here.request())) for number in range(30)]
        await here.desk.until_asked(1)
        await here.settle()
        here.desk.gate.set()
        found = {name(each) for each in await here.until(asyncio.gather(*calls))}

        assert found == {"token-1"}
        assert len(here.desk.asked) == 1


@both
async def test_a_token_that_one_has_is_everybodys(kind: str) -> None:
    async with replicas(kind) as here:
        for number in range(3):
            assert name(await here[number].cache.get(here.request())) == "token-1"


@both
async def test_a_dead_token_is_replaced_once_whoever_notices(kind: str) -> None:
    async with replicas(kind) as here:
        request = here.request()
        dead = [await here[number].cache.get(request) for number in range(3)]
        noticed = [here[number].cache.after_unauthorized(request, dead[number], ORDERS) for number in range(3)]
        others = await here.until(asyncio.gather(*noticed))

        assert [name(each.token) for each in others] == ["token-2"] * 3
        assert [each.proves for each in others] == [True] * 3
        # A late one, after the repeated calls have come to their end.
        for number in range(3):
            here[number].cache.repeated(request, ORDERS)
        await here.settle()
        late = await here.until(here[2].cache.after_unauthorized(request, dead[2], PRODUCTS))
        assert name(late.token) == "token-2"
        assert len(here.desk.asked) == 2


@both
async def test_a_call_that_is_forbidden_on_one_is_known_on_all(kind: str) -> None:
    async with replicas(kind) as here:
        request = here.request()
        held = [await here[number].cache.get(request) for number in range(3)]
        another = await here.until(here[0].cache.after_unauthorized(request, held[0], ORDERS))
        assert here[0].cache.refused_again(request, another, ORDERS)
        here[0].cache.repeated(request, ORDERS)
        await here.settle()
        # Replicas that still have the token of before try the other one; those that have it leave it at that.
        for number in (1, 2):
            late = await here.until(here[number].cache.after_unauthorized(request, held[number], ORDERS))
            assert late is None or name(late.token) == "token-2"
            current = here[number].cache.current(request)
            assert await here.until(here[number].cache.after_unauthorized(request, current, ORDERS)) is None

        assert len(here.desk.asked) == 2


@both
async def test_a_call_that_is_permitted_again_costs_a_token_once_the_pause_is_over(kind: str) -> None:
    async with replicas(kind, unauthorized_pause=30.0) as here:
        request = here.request()
        held = await here[0].cache.get(request)
        another = await here.until(here[0].cache.after_unauthorized(request, held, ORDERS))
        here[0].cache.refused_again(request, another, ORDERS)
        here[0].cache.repeated(request, ORDERS)
        await here.settle()
        here.move_on(31.0)
        current = await here[1].cache.get(request)

        assert name((await here.until(here[1].cache.after_unauthorized(request, current, ORDERS))).token) == "token-3"


@both
async def test_a_refusal_is_asked_about_as_often_as_by_one_process(kind: str) -> None:
    async with replicas(kind) as here:
        here.desk.outcomes.extend([refusal()] * 9)
        asked = []
        for _ in range(200):  # 100 s
            for number in range(3):
                with pytest.raises(TokenRefused):
                    await here.until(here[number].cache.get(here.request()))
            asked.append(len(here.desk.asked))
            here.move_on(0.5)

        assert asked[-1] == 3  # at first, once more after 5 s, then after a minute


@both
async def test_an_endpoint_that_is_down_is_left_alone_by_all(kind: str) -> None:
    async with replicas(kind) as here:
        here.desk.outcomes.extend([outage(retry_after=20.0), grant("good")])
        for number in range(3):
            with pytest.raises(TokenUnavailable):
                await here.until(here[number].cache.get(here.request()))
        assert len(here.desk.asked) == 1
        here.move_on(21.0)

        assert await here.until(tokens_of(here)) == ["good"] * 3
        assert len(here.desk.asked) == 2


@both
async def test_nobody_waits_for_a_refresh_which_is_done_once(kind: str) -> None:
    async with replicas(kind) as here:
        await here.until(tokens_of(here))
        here.move_on(3600.0 - 50.0)
        here.desk.gate.clear()
        assert await here.until(tokens_of(here)) == ["token-1"] * 3
        await here.settle()
        assert await here.until(tokens_of(here)) == ["token-1"] * 3
        here.desk.gate.set()
        await here.settle()
        here.move_on(1.0)
        await here.until(tokens_of(here))
        await here.settle()
        here.move_on(1.0)

        assert await here.until(tokens_of(here)) == ["token-2"] * 3
        assert len(here.desk.asked) == 2


@both
async def test_a_token_comes_under_suspicion_only_so_often_over_all(kind: str) -> None:
    async with replicas(kind, unauthorized_pause=0.0) as here:
        request = here.request()
        await here.until(tokens_of(here))
        for number in range(20):
            replica = here[number]
            rejected = await replica.cache.get(request)
            await here.until(replica.cache.after_unauthorized(request, rejected, CallKind("GET", b"%d" % number)))
            await here.until(tokens_of(here))

        assert len(here.desk.asked) <= 1 + 6  # five at once, and one more after some time


@both
async def test_another_secret_is_another_token(kind: str) -> None:
    async with replicas(kind) as here:
        old, new = here.request(), here.request(secret="secret-2")
        for number, request in ((0, old), (1, new), (2, old), (0, new)):
            await here.until(here[number].cache.get(request))

        assert [name(await here[2].cache.get(request)) for request in (old, new)] == ["token-1", "token-2"]
        assert len(here.desk.asked) == 2


@both
async def test_who_leaves_holds_nothing_up_and_releases_nothing(kind: str) -> None:
    async with replicas(kind) as here:
        here.desk.gate.clear()
        leaving = asyncio.ensure_future(here[0].cache.get(here.request()))
        await here.desk.until_asked(1)
        staying = asyncio.ensure_future(here[1].cache.get(here.request()))
        await here.settle()
        leaving.cancel()
        await here.settle()
        here.desk.gate.set()

        assert name(await here.until(staying)) == "token-1"
        assert len(here.desk.asked) == 1


# What is decided


def test_one_process_always_asks_for_itself() -> None:
    assert not Alone().shared


@pytest.mark.parametrize(
    ("state", "suspicion", "expected"),
    [
        (TokenState, None, Claim.ASK),
        (lambda: with_token(token()), None, Claim.LOOK),
        (lambda: TokenState(leased_until=NOW + LEASE), None, Claim.WAIT),
        (lambda: TokenState(leased_until=NOW), None, Claim.ASK),
        (lambda: TokenState(ask_not_before=NOW + 1), None, Claim.LOOK),
        (lambda: with_token(token()), Suspicion(token(requested_at=NOW - 9), ORDERS), Claim.LOOK),
        (TokenState, Suspicion(token(), ORDERS), Claim.ASK),
        (lambda: TokenState(leased_until=NOW + LEASE), Suspicion(token(), ORDERS), Claim.WAIT),
        (lambda: TokenState(not_permitted_until={ORDERS: NOW + 1}), Suspicion(token(), ORDERS), Claim.LOOK),
    ],
)
def test_what_a_replica_without_a_token_is_to_do(
    state: Callable[[], TokenState], suspicion: Suspicion | None, expected: Claim
) -> None:
    assert claim(state(), None, suspicion, NOW) is expected


def test_a_token_that_is_to_be_replaced_soon_is_taken_by_who_has_none_and_replaced_by_who_has_it() -> None:
    old = token(requested_at=NOW - 3590.0)

    assert claim(with_token(old), None, None, NOW) is Claim.LOOK
    assert claim(with_token(old), old, None, NOW) is Claim.ASK
    assert claim(with_token(old), token(requested_at=NOW - 3595.0), None, NOW) is Claim.ASK
    assert claim(with_token(token()), old, None, NOW) is Claim.LOOK
