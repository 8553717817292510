"""What a 401 costs the token endpoint: one request where a token may be dead, none where a call is not permitted."""

import asyncio

import pytest

from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken
from tests.clocks import pass_time
from tests.tokens.desk import ORDERS, PRODUCTS, START, Office, grant, name, office, outage, refusal

PAUSE = 30.0


async def call(here: Office, kind: CallKind, *, forbidden: bool) -> list[str]:
    """Make a call as the forwarder does; returns the tokens it was sent with. A call that is permitted has no 401."""
    request = here.request()
    token = await here.cache.get(request)
    if not forbidden:
        return [name(token)]
    fresh = await here.cache.after_unauthorized(request, token, kind)
    if fresh is None:
        return [name(token)]
    here.cache.refused_again(request, fresh, kind)
    here.cache.repeated(request, kind)
    return [name(token), name(fresh.token)]


# (a) The token has been replaced


async def test_a_late_401_is_answered_with_the_cached_token_and_no_request() -> None:
    async with office() as here:
        old = await here.cache.get(here.request())
        assert await here.unauthorized(old) == "token-2"

        assert [await here.unauthorized(old) for _ in range(100)] == ["token-2"] * 100
        assert len(here.desk.asked) == 2


async def test_all_calls_in_flight_with_one_dead_token_cost_one_request_and_get_the_new_one() -> None:
    async with office() as here:
        dead = await here.cache.get(here.request())
        here.desk.gate.clear()
        kinds = [CallKind("GET", b"%d" % number) for number in range(50)]
        together = [asyncio.create_task(here.unauthorized(dead, kind)) for kind in kinds]
        await here.desk.until_asked(2)
        here.desk.gate.set()

        assert await asyncio.gather(*together) == ["token-2"] * 50
        assert [await here.unauthorized(dead, kind) for kind in kinds] == ["token-2"] * 50
        assert len(here.desk.asked) == 2
        assert here.metrics.unauthorized == {("demo", "replace"): 50, ("demo", "late"): 50}


async def test_a_token_that_has_ended_meanwhile_is_not_handed_out() -> None:
    async with office() as here:
        first = await here.cache.get(here.request())
        await here.unauthorized(first)
        here.now += 3600.0

        assert await here.unauthorized(first) == "token-3"


async def test_a_401_for_a_token_that_the_cache_does_not_know_any_more_is_healed() -> None:
    async with office() as here:
        stranger = AccessToken(b"Bearer stranger", START, START + 10.0, START + 20.0)

        assert await here.unauthorized(stranger) == "token-1"


# (b) The call is not permitted


async def test_a_call_that_is_refused_with_a_fresh_token_costs_one_request_in_a_pause() -> None:
    async with office() as here:
        for step in range(100 * 100):  # a hundred calls a second
            here.now = START + step * 0.01
            await call(here, ORDERS, forbidden=True)

        assert len(here.desk.asked) == 1 + 4  # at 0, 30, 60 and 90 s


async def test_other_calls_keep_their_good_token_all_the_while() -> None:
    async with office() as here:
        for step in range(10 * 100):
            here.now = START + step * 0.01
            await call(here, ORDERS, forbidden=True)

            assert await call(here, PRODUCTS, forbidden=False) == ["token-2"]
        assert len(here.desk.asked) == 2


async def test_two_forbidden_kinds_that_take_turns_do_not_clear_each_other() -> None:
    async with office() as here:
        for step in range(29 * 10):
            here.now = START + step * 0.1
            await call(here, (ORDERS, PRODUCTS)[step % 2], forbidden=True)

        assert len(here.desk.asked) == 1 + 2


async def test_many_forbidden_kinds_cost_five_requests_at_once_and_then_one_in_ten_seconds() -> None:
    async with office() as here:
        for step in range(100 * 100):
            here.now = START + step * 0.01
            await call(here, CallKind("GET", b"%d" % (step % 1000)), forbidden=True)

        assert len(here.desk.asked) == 1 + 5 + 9


async def test_a_call_with_the_fresh_token_that_is_refused_before_the_repeated_one_costs_no_request() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        fresh = await here.cache.after_unauthorized(request, old, ORDERS)
        assert fresh is not None
        # The repeated call is under way; a later one overtakes it.
        overtaking = await here.cache.get(request)
        assert await here.unauthorized(overtaking, ORDERS) is None
        assert here.cache.refused_again(request, fresh, ORDERS)
        here.cache.repeated(request, ORDERS)

        assert await here.unauthorized(overtaking, ORDERS) is None
        assert len(here.desk.asked) == 2


async def test_what_the_repeated_call_proves_is_over_with_it() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        fresh = await here.cache.after_unauthorized(request, old, ORDERS)
        assert fresh is not None
        here.cache.repeated(request, ORDERS)  # it was permitted, or its client left

        assert await here.unauthorized(fresh.token, ORDERS) == "token-3"


async def test_a_repeated_call_that_hangs_holds_up_no_healing_once_the_token_is_not_fresh_any_more() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        fresh = await here.cache.after_unauthorized(request, old, ORDERS)
        assert fresh is not None
        here.now = START + PAUSE - 1e-9
        assert await here.unauthorized(fresh.token, ORDERS) is None
        here.now = START + PAUSE

        assert await here.unauthorized(fresh.token, ORDERS) == "token-3"


async def test_a_dead_token_is_healed_by_another_kind_of_call_even_while_one_is_known_to_be_forbidden() -> None:
    async with office() as here:
        await call(here, ORDERS, forbidden=True)
        dead = await here.cache.get(here.request())

        assert await here.unauthorized(dead, ORDERS) is None
        assert await here.unauthorized(dead, PRODUCTS) == "token-3"


async def test_a_401_with_a_token_that_is_not_fresh_proves_nothing() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        await here.unauthorized(old)
        here.now = START + PAUSE
        second = await here.cache.after_unauthorized(request, old, ORDERS)
        assert second is not None

        assert not here.cache.refused_again(request, second, ORDERS)
        assert await here.unauthorized(second.token) == "token-3"


async def test_a_token_that_was_refreshed_before_a_revocation_proves_nothing_and_is_replaced() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        here.now = START + 3550.0
        assert here.cache.current(request) is old  # and its refresh begins
        await here.idle()
        # The platform revokes both; a call that was sent with the old one is answered 401, and with the new one too.
        second = await here.cache.after_unauthorized(request, old, ORDERS)
        assert second is not None
        assert not here.cache.refused_again(request, second, ORDERS)

        third = await here.cache.after_unauthorized(request, second.token, ORDERS)
        assert third is not None
        assert (name(second.token), name(third.token), third.proves) == ("token-2", "token-3", True)


async def test_a_fetch_that_was_under_way_before_a_token_came_under_suspicion_proves_nothing() -> None:
    async with office() as here:
        request = here.request()
        old = await here.cache.get(request)
        here.now = START + 3550.0
        here.desk.gate.clear()
        here.cache.current(request)
        waiting = asyncio.create_task(here.cache.after_unauthorized(request, old, ORDERS))
        await here.desk.until_asked(2)
        here.desk.gate.set()

        second = await waiting
        assert second is not None
        assert (name(second.token), second.proves) == ("token-2", False)


async def test_changed_credentials_know_nothing_of_forbidden_calls() -> None:
    async with office() as here:
        await call(here, ORDERS, forbidden=True)
        changed = here.request(secret="secret-2")
        token = await here.cache.get(changed)

        fresh = await here.cache.after_unauthorized(changed, token, ORDERS)
        assert fresh is not None
        assert name(fresh.token) == "token-4"


async def test_what_is_forbidden_to_one_shop_says_nothing_of_another() -> None:
    async with office() as here:
        await call(here, ORDERS, forbidden=True)
        token = await here.cache.get(here.request("seoul"))

        assert await here.unauthorized(token, ORDERS, "seoul") == "token-4"


# (c) The token is suspect


async def test_a_suspect_token_stays_in_use_until_there_is_another() -> None:
    async with office() as here:
        suspect = await here.cache.get(here.request())
        here.desk.gate.clear()
        replacing = asyncio.create_task(here.unauthorized(suspect))
        await here.desk.until_asked(2)

        assert await here.get() == "token-1"
        here.desk.gate.set()
        assert await replacing == "token-2"
        assert await here.get() == "token-2"


@pytest.mark.parametrize("failure", [refusal(), outage()], ids=["refusal", "outage"])
async def test_a_suspect_token_stays_if_there_is_no_other_to_be_had(failure: Exception) -> None:
    async with office(grant("old"), failure) as here:
        suspect = await here.cache.get(here.request())

        assert [await here.unauthorized(suspect) for _ in range(10)] == [None] * 10
        assert await here.get() == "old"
        assert len(here.desk.asked) == 2
        assert here.metrics.unauthorized == {("demo", "replace"): 1, ("demo", "later"): 9}
        here.now += 60.0
        assert await here.unauthorized(suspect) == "token-3"


async def test_a_forbidden_call_in_an_outage_costs_the_shop_nothing() -> None:
    async with office(grant("good"), *[outage()] * 100) as here:
        for second in range(600):
            here.now = START + second
            assert await call(here, ORDERS, forbidden=True) == ["good"]
            assert await call(here, PRODUCTS, forbidden=False) == ["good"]

        assert 5 < len(here.desk.asked) < 30


async def test_one_who_leaves_while_a_suspect_is_replaced_does_not_disturb_the_others() -> None:
    async with office() as here:
        suspect = await here.cache.get(here.request())
        here.desk.gate.clear()
        leaving, staying = (asyncio.create_task(here.unauthorized(suspect)) for _ in range(2))
        await here.desk.until_asked(2)
        leaving.cancel()
        await asyncio.wait([leaving])
        here.desk.gate.set()

        assert await staying == "token-2"


async def test_a_401_is_given_to_the_client_if_no_token_comes_in_time() -> None:
    async with office(fetch_timeout=10.0) as here:
        suspect = await here.cache.get(here.request())
        here.desk.gate.clear()
        waiting = asyncio.create_task(here.unauthorized(suspect))
        await here.desk.until_asked(2)
        await pass_time(10.0)

        assert await waiting is None


async def test_a_401_during_a_refresh_waits_for_its_token_and_is_no_suspicion() -> None:
    async with office() as here:
        old = await here.cache.get(here.request())
        here.now = START + 3550.0
        here.desk.gate.clear()
        await here.get()
        await here.desk.until_asked(2)
        waiting = asyncio.create_task(here.unauthorized(old))
        here.desk.gate.set()

        assert await waiting == "token-2"
        assert len(here.desk.asked) == 2
        assert here.logged("token.suspected") == []


async def test_the_same_text_granted_again_is_tried_again_once() -> None:
    async with office(grant("same"), grant("same")) as here:
        assert await call(here, ORDERS, forbidden=True) == ["same", "same"]
        assert await call(here, ORDERS, forbidden=True) == ["same"]
        assert len(here.desk.asked) == 2


async def test_a_revocation_is_healed_by_the_first_call_that_notices_each_time() -> None:
    async with office() as here:
        request = here.request()
        for number in range(1, 30):
            here.now += 10.0
            revoked = await here.cache.get(request)
            assert name(revoked) == f"token-{number}"
            assert await here.unauthorized(revoked) == f"token-{number + 1}"
            here.cache.repeated(request, ORDERS)
