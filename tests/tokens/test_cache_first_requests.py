"""Shops that only the wildcard entry serves: made-up names cost little, and nobody else anything."""

import asyncio

import pytest

from proxy.errors import Overloaded, TokenRefused, TokenUnavailable
from tests.clocks import pass_time, settle
from tests.tokens.desk import ORDERS, START, Office, grant, name, office, refusal


async def get(here: Office, key: str, caller: str = "") -> str:
    return name(await here.cache.get(here.request(key, by_wildcard=True), caller))


async def test_first_requests_come_one_after_the_other() -> None:
    async with office() as here:
        here.turn.set()
        await asyncio.gather(*(get(here, f"shop-{number}") for number in range(5)))

        assert here.slept == pytest.approx([0.02, 0.04, 0.06, 0.08])
        assert here.desk.asked == [f"shop-{number}" for number in range(5)]


async def test_who_would_wait_longer_than_the_fetch_timeout_is_told_to_come_again() -> None:
    async with office(first_requests_per_second=64.0) as here:
        waiting = [asyncio.create_task(get(here, f"shop-{number}")) for number in range(1000)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        here.turn.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

        turned_away = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
        assert len(outcomes) - len(turned_away) == len(here.desk.asked) == 641
        assert done
        assert {error.status for error in turned_away} == {503}
        assert {error.retry_after for error in turned_away} == {1 / 64}
        assert len(here.cache._states) == 641


async def test_who_waited_for_its_turn_in_vain_is_told_so_and_the_token_is_fetched_all_the_same() -> None:
    async with office(fetch_timeout=10.0, first_requests_per_second=50.0) as here:
        await get(here, "first")
        waiting = asyncio.create_task(get(here, "second"))
        await settle()
        await pass_time(10.0)
        with pytest.raises(Overloaded) as caught:
            await waiting
        here.turn.set()
        await here.idle()

        assert (caught.value.status, caught.value.retry_after) == (503, 0.0)
        assert await get(here, "second") == "token-2"
        assert len(here.desk.asked) == 2


async def test_a_silent_endpoint_is_not_taken_for_a_long_queue() -> None:
    async with office(fetch_timeout=10.0, first_requests_per_second=500.0) as here:
        here.desk.gate.clear()
        here.turn.set()
        waiting = asyncio.gather(get(here, "first"), get(here, "second"), return_exceptions=True)
        await here.desk.until_asked(2)
        await pass_time(10.0)
        outcomes = await waiting

        assert [type(outcome) for outcome in outcomes] == [TokenUnavailable] * 2


async def test_all_who_wait_for_one_shops_turn_cost_one_request() -> None:
    async with office() as here:
        await get(here, "first")
        waiting = [asyncio.create_task(get(here, "second")) for _ in range(10)]
        await asyncio.wait(waiting, timeout=0)
        waiting[0].cancel()
        here.turn.set()

        assert await asyncio.gather(*waiting[1:]) == ["token-2"] * 9
        assert here.desk.asked == ["first", "second"]


async def test_the_token_of_a_shop_that_waited_ages_from_its_turn_on() -> None:
    async with office() as here:
        await get(here, "first")
        waiting = asyncio.create_task(get(here, "second"))
        await asyncio.wait([waiting], timeout=0)
        here.now += 5.0
        here.turn.set()
        await waiting

        token = here.cache.current(here.request("second", by_wildcard=True))
        assert token is not None
        assert token.requested_at == START + 5.0


async def test_who_scans_names_holds_up_no_new_shop_of_another_caller() -> None:
    async with office() as here:
        scanning = [asyncio.create_task(get(here, f"made-up-{number}", "10.0.0.9")) for number in range(1000)]
        await here.desk.until_asked(1)
        real = asyncio.create_task(get(here, "real", "erp"))
        late = asyncio.create_task(get(here, "made-up-400", "shop-app"))  # which the scanner has asked for first
        await asyncio.wait([real, late], timeout=0)
        here.turn.set()
        await asyncio.gather(real, late)

        assert here.desk.asked[:4] == ["made-up-0", "made-up-1", "real", "made-up-400"]
        turned_away = await asyncio.gather(*scanning, return_exceptions=True)
        assert sum(isinstance(outcome, Overloaded) for outcome in turned_away) == 499
        assert len(here.desk.asked) == len(set(here.desk.asked)) == 502


async def test_who_waited_for_a_turn_that_others_had_is_told_that_it_is_no_outage() -> None:
    async with office(fetch_timeout=10.0, first_requests_per_second=0.1) as here:
        await get(here, "first")
        waiting = asyncio.create_task(get(here, "second"))
        await asyncio.wait([waiting], timeout=0)
        here.now += 100.0
        here.turn.set()
        with pytest.raises(Overloaded):
            await waiting

        assert here.desk.asked == ["first"]
        assert await get(here, "second") == "token-2"


async def test_named_shops_are_not_slowed() -> None:
    async with office() as here:
        waiting = [asyncio.create_task(get(here, f"made-up-{number}")) for number in range(400)]
        await here.desk.until_asked(1)

        assert await here.get("named") == "token-2"
        assert not any(waiter.done() for waiter in waiting[1:])
        here.turn.set()
        await asyncio.gather(*waiting)


async def test_a_shop_that_had_a_token_takes_no_turn() -> None:
    async with office(grant("first", 100.0)) as here:
        await get(here, "known")
        here.now += 100.0
        waiting = [asyncio.create_task(get(here, f"made-up-{number}")) for number in range(400)]
        await here.desk.until_asked(2)

        assert await get(here, "known") == "token-3"
        here.turn.set()
        await asyncio.gather(*waiting)


async def test_a_shop_whose_credentials_were_refused_takes_turns_with_the_others() -> None:
    async with office(refusal()) as here:
        with pytest.raises(TokenRefused):
            await get(here, "made-up")
        here.now += 60.0
        await get(here, "first")
        here.turn.set()
        await get(here, "made-up")

        assert here.slept == pytest.approx([0.02])


async def test_made_up_shops_cost_no_shop_its_token_and_no_more_memory_than_is_allowed() -> None:
    async with office(max_entries=100) as here:
        for number in range(100):
            await here.get(f"named-{number}")
        here.desk.outcomes.extend([refusal()] * 10_000)
        for number in range(10_000):
            here.now += 0.02
            with pytest.raises(TokenRefused):
                await get(here, f"made-up-{number}")

        assert len(here.cache._states) == 200
        assert [await here.get(f"named-{number}") for number in range(100)] == [
            f"token-{number}" for number in range(1, 101)
        ]
        assert len(here.desk.asked) == 10_100


async def test_a_refused_shop_that_is_asked_for_again_and_again_is_neither_forgotten_nor_asked_for() -> None:
    async with office(max_entries=10) as here:
        here.turn.set()
        here.desk.outcomes.extend([refusal()] * 1002)
        for number in range(1000):
            here.now += 0.02
            for key in ("refused", f"made-up-{number}"):
                with pytest.raises(TokenRefused):
                    await get(here, key)

        assert here.desk.asked.count("refused") == 2  # at once, and after 5 s


async def test_a_401_for_a_shop_that_was_dropped_meanwhile_is_healed() -> None:
    async with office(max_entries=1) as here:
        request = here.request("dropped", by_wildcard=True)
        token = await here.cache.get(request)
        await here.get("other")
        assert here.cache.current(request) is None

        here.now += 1.0
        fresh = await here.cache.after_unauthorized(request, token, ORDERS)
        assert fresh is not None
        assert name(fresh.token) == "token-3"


async def test_two_token_requests_are_never_under_way_for_one_shop_however_small_the_cache() -> None:
    async with office(max_entries=1) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get(key)) for key in ("one", "two", "one", "two", "three", "two")]
        await here.desk.until_asked(3)
        here.desk.gate.set()
        await asyncio.gather(*waiting)

        assert here.desk.asked == ["one", "two", "three"]
        assert here.desk.most_in_flight == 1
