"""What the log says of tokens, in words that help, and what is counted."""

import asyncio

import pytest

from proxy.errors import TokenError, TokenRefused
from proxy.tokens.endpoint import TokenGrant
from proxy.tokens.state import CallKind
from tests.tokens.desk import ORDERS, PRODUCTS, START, office, outage, refusal


async def test_a_token_that_came_is_one_line() -> None:
    async with office(TokenGrant("one", 3600.0, "a b")) as here:
        await here.get()
        await here.get()

        assert here.events == [
            {"event": "token.fetched", "level": "info", "shop": "demo", "lifetime": 3600.0, "scope": "a b"}
        ]


async def test_a_refusal_is_told_once_more_after_5_s_and_then_once_a_minute_with_what_mends_it() -> None:
    async with office(*[refusal()] * 4) as here:
        for step in range(300):
            here.now = START + step * 0.5
            with pytest.raises(TokenRefused):
                await here.get()

        assert here.events == [
            {
                "event": "token.refused",
                "level": "warning",
                "shop": "demo",
                "detail": "The endpoint refuses.",
                "reason": "status 401, error: 'invalid_client'",
                "fix": "compare client_id and client_secret of [shops.demo] with what the platform gave you",
                "old_token_serves_for": 0,
                "asked_again_after": pause,
            }
            for pause in (5.0, 60.0, 60.0, 60.0)
        ]


async def test_the_wildcards_mend_names_its_entry() -> None:
    async with office(refusal()) as here:
        with pytest.raises(TokenRefused):
            await here.cache.get(here.request("made-up", by_wildcard=True))

        [told] = here.logged("token.refused")
        assert told["shop"] == "made-up"
        assert told["fix"] == "compare client_id and client_secret of [shops.*] with what the platform gave you"


async def test_an_outage_is_told_with_how_long_the_old_token_serves_and_when_the_next_attempt_may_be() -> None:
    async with office(TokenGrant("old", 3600.0, None), outage(), outage(7.0)) as here:
        await here.get()
        for now in (START + 3550.0, START + 3560.0):
            here.now = now
            await here.get()
            await here.idle()

        assert here.logged("token.unavailable") == [
            {
                "event": "token.unavailable",
                "level": "warning",
                "shop": "demo",
                "detail": "The endpoint is down.",
                "reason": "status 503",
                "fix": None,
                "old_token_serves_for": serves,
                "asked_again_after": pause,
            }
            for serves, pause in ((50, 0.5), (40, 7.0))
        ]


async def test_a_mistake_of_our_own_is_told_with_its_traceback() -> None:
    async with office(ZeroDivisionError("x")) as here:
        with pytest.raises(TokenError):
            await here.get()

        [told] = here.logged("token.fetch_failed")
        assert (told["level"], told["shop"], told["exc_info"]) == ("error", "demo", True)


async def test_a_suspicion_is_told_once_for_all_calls_that_raise_it() -> None:
    async with office() as here:
        token = await here.cache.get(here.request())
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.unauthorized(token, kind)) for kind in (ORDERS, PRODUCTS)]
        await here.desk.until_asked(2)
        here.desk.gate.set()
        await asyncio.gather(*waiting)

        assert here.logged("token.suspected") == [
            {"event": "token.suspected", "level": "info", "shop": "demo", "method": "GET"}
        ]


async def test_suspicions_that_are_left_are_told_once_in_ten_seconds() -> None:
    async with office() as here:
        for step in range(200):
            here.now = START + step * 0.1
            token = await here.cache.get(here.request())
            await here.unauthorized(token, CallKind("GET", b"%d" % step))

        told = here.logged("token.not_replaced")
        assert len(told) == 2
        assert told[0] == {
            "event": "token.not_replaced",
            "level": "warning",
            "shop": "demo",
            "why": "the platform answered 401 to many kinds of calls; "
            "if they are permitted, the token is dead and will be replaced",
        }


# Counters


async def test_token_requests_are_counted_by_the_shops_label_and_by_what_came_of_them() -> None:
    async with office(refusal(), outage()) as here:
        for key, by_wildcard in (("a", False), ("b", False), ("a", False), ("c", False), ("x", True), ("y", True)):
            here.now += 1.0
            try:
                await here.cache.get(here.request(key, by_wildcard=by_wildcard))
            except TokenError:
                continue

        assert here.metrics.requests == {
            ("a", "refused"): 1,
            ("b", "unreachable"): 1,
            ("c", "granted"): 1,
            ("x", "granted"): 1,
            ("y", "granted"): 1,
        }


async def test_401s_are_counted_by_what_they_called_for() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        fresh = await here.cache.after_unauthorized(request, old, ORDERS)
        assert fresh is not None
        here.cache.refused_again(request, fresh, ORDERS)
        here.cache.repeated(request, ORDERS)
        await here.unauthorized(fresh.token, ORDERS)
        await here.unauthorized(old, ORDERS)

        assert here.metrics.unauthorized == {
            ("demo", "replace"): 1,
            ("demo", "not_permitted"): 1,
            ("demo", "late"): 1,
        }


async def test_waits_are_counted_and_timed_also_those_that_were_given_up() -> None:
    async with office() as here:
        here.desk.gate.clear()
        waiting = [asyncio.create_task(here.get()) for _ in range(3)]
        await here.desk.until_asked(1)
        here.now += 2.0
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        here.now += 1.0
        here.desk.gate.set()
        await asyncio.gather(*waiting[1:])
        await here.get()

        assert (here.metrics.waits, here.metrics.waited_seconds) == (3, 8.0)
