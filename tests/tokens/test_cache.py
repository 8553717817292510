"""One token request for all who wait, nobody who waits without need, and the endpoint left alone when it must be."""

import asyncio
from typing import Any

import pytest

from proxy.errors import TokenRefused, TokenUnavailable
from proxy.tokens.status import Condition
from tests.clocks import pass_time
from tests.tokens.desk import START, grant, name, office, outage, refusal

END = START + 3600.0  # of a token that was asked for at the start
REFRESH = END - 54.0  # the margin of a minute, a tenth of it taken off by chance
NS = 1e-9


# One request for all


async def test_all_who_wait_get_the_token_of_one_request() -> None:
    async with office() as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(1000)]
        await here.desk.until_asked(1)
        here.desk.gate.set()

        assert await asyncio.gather(*waiting) == ["token-1"] * 1000
        assert len(here.desk.asked) == 1


async def test_a_waiter_that_leaves_does_not_disturb_the_others() -> None:
    async with office() as here:
        here.desk.gate.clear()
        first, second, third = (asyncio.create_task(here.get()) for _ in range(3))
        await here.desk.until_asked(1)
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        here.desk.gate.set()

        assert await second == "token-1"
        assert first.cancelled()
        assert third.cancelled()
        assert len(here.desk.asked) == 1


async def test_a_token_that_all_waiters_left_is_kept_for_the_next() -> None:
    async with office() as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(3)]
        await here.desk.until_asked(1)
        for waiter in waiting:
            waiter.cancel()
        await asyncio.wait(waiting)
        here.desk.gate.set()

        assert await here.get() == "token-1"
        assert len(here.desk.asked) == 1


async def test_a_waiter_waits_no_longer_than_the_fetch_timeout_and_the_fetch_goes_on_without_it() -> None:
    async with office(fetch_timeout=10.0) as here:
        here.desk.gate.clear()
        waiting = asyncio.create_task(here.get())
        await here.desk.until_asked(1)
        await pass_time(10.0)
        with pytest.raises(TokenUnavailable) as caught:
            await waiting
        here.desk.gate.set()

        assert (caught.value.status, caught.value.proxy_status) == (504, "http_response_timeout")
        assert "tokens.fetch_timeout" in caught.value.detail
        assert await here.get() == "token-1"
        assert len(here.desk.asked) == 1


async def test_a_silent_endpoint_of_one_shop_does_not_hold_up_another() -> None:
    async with office() as here:
        assert await here.get("demo") == "token-1"
        here.desk.gate.clear()
        waiting = asyncio.create_task(here.get("seoul"))
        await here.desk.until_asked(2)

        assert await here.get("demo") == "token-1"
        assert not waiting.done()
        here.desk.gate.set()
        assert await waiting == "token-2"


async def test_another_secret_is_another_token() -> None:
    async with office() as here:
        old, new = here.request(secret="old"), here.request(secret="new")

        assert [name(await here.cache.get(request)) for request in (old, new, old)] == ["token-1", "token-2", "token-1"]


async def test_a_token_is_made_ready_for_where_its_platform_wants_it_and_not_mixed_up_with_others() -> None:
    async with office() as here:
        usual, elsewhere = here.request(), here.request(token_header="X-Shopify-Access-Token", token_scheme="")
        lines = [(await here.cache.get(request)).line for request in (usual, elsewhere, usual)]

        assert lines == [
            b"Authorization: Bearer token-1\r\n",
            b"X-Shopify-Access-Token: token-2\r\n",
            b"Authorization: Bearer token-1\r\n",
        ]


# Early refresh


@pytest.mark.parametrize(
    ("now", "asked"),
    [(START, 1), (REFRESH - NS, 1), (REFRESH, 2), (REFRESH + NS, 2), (END - NS, 2), (START - 500.0, 1)],
    ids=["at once", "just before the margin", "at the margin", "just after", "just before the end", "clock went back"],
)
async def test_a_refresh_begins_with_the_first_request_in_the_margin_and_nobody_waits_for_it(
    now: float, asked: int
) -> None:
    async with office() as here:
        await here.get()
        here.now = now
        here.desk.gate.clear()

        assert [await here.get() for _ in range(100)] == ["token-1"] * 100
        assert here.metrics.waits == 1
        here.desk.gate.set()
        await here.idle()
        assert len(here.desk.asked) == asked
        assert await here.get() == f"token-{asked}"


async def test_a_token_at_its_end_is_waited_for() -> None:
    async with office() as here:
        await here.get()
        here.now = END

        assert await here.get() == "token-2"
        assert here.metrics.waits == 2


@pytest.mark.parametrize(("chance", "margin"), [(0.0, 60.0), (0.5, 57.0), (1.0, 54.0)])
async def test_shops_that_started_together_do_not_refresh_together(chance: float, margin: float) -> None:
    async with office() as here:
        here.chance = chance
        await here.get()
        for before in (margin + 0.001, margin):
            here.now = END - before
            await here.get()
            await here.idle()

            assert len(here.desk.asked) == (1 if before > margin else 2)


async def test_a_token_whose_lifetime_is_shorter_than_the_margin_is_used_for_four_fifths_of_it() -> None:
    async with office(grant("short", 10.0), grant("next", 10.0)) as here:
        assert await here.get() == "short"
        here.now = START + 8.19
        assert await here.get() == "short"
        await here.idle()
        assert len(here.desk.asked) == 1
        here.now = START + 8.2
        assert await here.get() == "short"
        await here.idle()
        assert await here.get() == "next"


async def test_a_long_lived_token_is_refreshed_at_its_largest_age() -> None:
    async with office(grant("year", 31535999.0), max_age=1000.0) as here:
        await here.get()
        here.now = START + 999.9
        assert await here.get() == "year"
        await here.idle()
        here.now = START + 1000.0
        assert await here.get() == "token-2"


async def test_a_token_ages_from_the_moment_it_was_asked_for() -> None:
    async with office() as here:
        here.desk.gate.clear()
        waiter = asyncio.create_task(here.get())
        await here.desk.until_asked(1)
        here.now += 600.0
        here.desk.gate.set()

        assert await waiter == "token-1"
        here.now = END
        assert await here.get() == "token-2"


async def test_a_refresh_that_fails_leaves_the_old_token_and_the_next_one_succeeds() -> None:
    async with office(grant("old"), outage(), grant("new")) as here:
        await here.get()
        here.now = REFRESH
        assert await here.get() == "old"
        await here.idle()
        here.now += 0.499
        assert await here.get() == "old"
        await here.idle()
        assert len(here.desk.asked) == 2
        here.now = REFRESH + 0.5
        assert await here.get() == "old"
        await here.idle()

        assert await here.get() == "new"
        assert len(here.desk.asked) == 3


@pytest.mark.parametrize("failure", [outage(), refusal(), outage(60.0)], ids=["outage", "refusal", "retry-after"])
async def test_the_old_token_serves_to_its_very_end_and_not_after(failure: Exception) -> None:
    async with office(grant("old"), *[failure] * 100) as here:
        await here.get()
        while here.now < END:
            assert await here.get() == "old"
            await here.idle()
            here.now += 0.75
        here.now = END - NS
        assert await here.get() == "old"
        await here.idle()
        here.now = END

        with pytest.raises((TokenUnavailable, TokenRefused)):
            await here.get()


async def test_a_pause_does_not_outlast_the_old_token_so_that_a_recovered_endpoint_is_asked_in_time() -> None:
    async with office(grant("old"), *[outage()] * 6) as here:
        await here.get()
        for before_the_end in (50.0, 40.0, 30.0, 20.0, 10.0, 2.0):
            here.now = END - before_the_end
            await here.get()
            await here.idle()
        here.now = END - NS
        assert await here.get() == "old"
        assert len(here.desk.asked) == 7
        here.now = END

        assert await here.get() == "token-8"


async def test_a_refused_refresh_is_tried_once_more_and_then_again_after_a_minute_only() -> None:
    async with office(grant("old"), *[refusal()] * 3, refresh_margin=300.0) as here:
        await here.get()
        here.now = END - 200.0
        for _ in range(65):
            assert await here.get() == "old"
            await here.idle()
            here.now += 1.0

        assert len(here.desk.asked) == 3  # the second one after 5 s
        await here.get()
        await here.idle()
        assert len(here.desk.asked) == 4


async def test_a_shop_without_traffic_has_no_task_and_no_timer() -> None:
    loop: Any = asyncio.get_running_loop()
    async with office(grant("short", 0.05)) as here:
        await here.get()
        await here.idle()
        here.now = START + 1000.0

        assert asyncio.all_tasks() == {asyncio.current_task()}
        guard = 1  # the test's own time-out
        assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == guard
        assert len(here.desk.asked) == 1


# Outage


async def test_all_who_wait_are_told_of_a_failure_and_the_next_is_told_at_once() -> None:
    async with office(outage()) as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(5)]
        await here.desk.until_asked(1)
        here.desk.gate.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(TokenUnavailable) as caught:
            await here.get()

        assert [type(error) for error in told] == [TokenUnavailable] * 5
        assert caught.value.retry_after == 0.5
        assert (len(here.desk.asked), here.metrics.waits) == (1, 5)


async def test_in_an_outage_one_attempt_is_made_after_each_pause_and_all_wait_for_it_or_fail_at_once() -> None:
    async with office(*[outage()] * 20) as here:
        attempts = []
        while here.now < START + 95.0:
            asked = len(here.desk.asked)
            with pytest.raises(TokenUnavailable):
                await here.get()
            if len(here.desk.asked) > asked:
                attempts.append(here.now - START)
            here.now += 0.125

        assert attempts == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]


async def test_the_attempt_under_way_is_waited_for_and_is_the_only_one() -> None:
    async with office(outage()) as here:
        with pytest.raises(TokenUnavailable):
            await here.get()
        here.now += 0.5
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(20)]
        await here.desk.until_asked(2)
        here.desk.gate.set()

        assert await asyncio.gather(*waiting) == ["token-2"] * 20
        assert here.desk.most_in_flight == 1


@pytest.mark.parametrize(("retry_after", "pause"), [(7.0, 7.0), (3600.0, 60.0)])
async def test_the_endpoint_is_left_alone_as_long_as_it_says_up_to_a_minute(retry_after: float, pause: float) -> None:
    async with office(outage(retry_after)) as here:
        for after in (0.0, pause - NS):
            here.now = START + after
            with pytest.raises(TokenUnavailable):
                await here.get()
        assert len(here.desk.asked) == 1
        here.now = START + pause

        assert await here.get() == "token-2"


async def test_an_outage_of_one_shop_is_none_of_another() -> None:
    async with office(outage()) as here:
        with pytest.raises(TokenUnavailable):
            await here.get("demo")

        assert await here.get("seoul") == "token-2"


async def test_a_mistake_of_our_own_is_told_as_unavailable_and_tried_again_later() -> None:
    async with office(ZeroDivisionError("x")) as here:
        with pytest.raises(TokenUnavailable) as caught:
            await here.get()
        assert caught.value.detail == "The proxy failed to fetch a token."
        assert [entry["event"] for entry in here.events] == ["token.fetch_failed", "token.unavailable"]
        here.now += 0.5
        assert await here.get() == "token-2"


@pytest.mark.parametrize("took", [1.0, 1.001, 500.0])
async def test_a_token_that_has_ended_before_it_came_is_no_token_and_not_asked_for_at_once_again(took: float) -> None:
    async with office(grant("short", 1.0), grant("next")) as here:
        here.desk.gate.clear()
        waiter = asyncio.create_task(here.get())
        await here.desk.until_asked(1)
        here.now += took
        here.desk.gate.set()

        with pytest.raises(TokenUnavailable) as told:
            await waiter
        with pytest.raises(TokenUnavailable) as told_at_once:
            await here.get()
        assert told.value.retry_after == told_at_once.value.retry_after == 0.5
        assert told.value.detail == "The access token had expired before it arrived."
        assert len(here.desk.asked) == 1
        here.now += 0.5
        assert await here.get() == "next"


# Refusal


async def test_a_refusal_is_asked_about_once_more_and_then_remembered_for_a_minute_and_no_longer() -> None:
    async with office(refusal(), refusal()) as here:
        for number, (asked_at, pause) in enumerate([(START, 5.0), (START + 5.0, 60.0)], 1):
            for after in (0.0, 1.0, pause - NS):
                here.now = asked_at + after
                with pytest.raises(TokenRefused) as caught:
                    await here.get()
                assert caught.value.retry_after == pytest.approx(pause - after)
            assert len(here.desk.asked) == number
        here.now = START + 65.0

        assert await here.get() == "token-3"


async def test_a_changed_secret_is_tried_at_once_and_another_shop_is_not_touched() -> None:
    async with office(grant("of-seoul"), refusal(), grant("fixed")) as here:
        assert await here.get("seoul") == "of-seoul"
        with pytest.raises(TokenRefused):
            await here.get()

        assert name(await here.cache.get(here.request(secret="secret-2"))) == "fixed"
        assert await here.get("seoul") == "of-seoul"
        with pytest.raises(TokenRefused):
            await here.get()


async def test_a_refusal_that_all_waiters_left_is_remembered_too() -> None:
    async with office(refusal()) as here:
        here.desk.gate.clear()
        waiter = asyncio.create_task(here.get())
        await here.desk.until_asked(1)
        waiter.cancel()
        await asyncio.wait([waiter])
        here.desk.gate.set()
        await here.idle()

        with pytest.raises(TokenRefused):
            await here.get()
        assert len(here.desk.asked) == 1


async def test_looking_at_a_shops_token_asks_for_none_and_changes_nothing() -> None:
    async with office(refusal()) as here:
        assert here.cache.status(here.request()).condition is Condition.NONE
        with pytest.raises(TokenRefused):
            await here.get()
        refused = here.cache.status(here.request())
        here.now += 61.0
        await here.get()
        here.now += 3595.0  # time for a refresh
        good = here.cache.status(here.request())
        await here.idle()

        assert (refused.condition, refused.servable, refused.asked_again_in) == (Condition.REFUSED, False, 5.0)
        assert (good.condition, good.age, good.left) == (Condition.GOOD, 3595.0, 5.0)
        assert len(here.desk.asked) == 2
