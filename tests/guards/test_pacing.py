"""A request's turn: what becomes of its slot, what follows a 429, and the limit kept against a real server."""

import asyncio
import time
from statistics import median

import aiohttp
import pytest

from proxy.errors import PacedOut
from proxy.guards.office import PacingPolicy
from proxy.guards.pace import LONGEST_SENDING, NETWORK_JITTER, safety_margin
from proxy.guards.pacing import UNPACED, Pacer
from proxy.platforms.platform import RateLimit
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.simulator import ShoprenterSimulator
from proxy.telemetry.metrics import PacingMetrics
from tests.guards.world import Request, World, world

WINDOW = 1.0 + safety_margin(1.0)
ONE = RateLimit(1, per=1.0)


def holding(here: World, client: str = "erp") -> Request:
    return Request(here, client, b"demo", ONE).start(hold=True)


async def test_without_a_limit_every_turn_comes_at_once_and_a_429_is_for_the_client() -> None:
    pacer = Pacer(PacingPolicy(), PacingMetrics(), clock=time.monotonic, call_later=_no_timer)
    turn = pacer.turn(b"demo", "erp", None)
    for _ in range(100):
        async with turn:
            turn.begun()
            turn.sent()
    assert turn is UNPACED
    assert not turn.throttled(1.0)
    assert len(pacer) == 0


def _no_timer(_delay: float, _ring: object) -> asyncio.TimerHandle:
    raise AssertionError("nobody waits")


async def test_a_free_slot_is_had_without_awaiting() -> None:
    pacer = Pacer(PacingPolicy(), PacingMetrics(), clock=lambda: 5.0, call_later=_no_timer)
    entering = pacer.turn(b"demo", "erp", ONE).__aenter__()

    with pytest.raises(StopIteration):
        entering.send(None)


def test_how_long_a_request_waited_and_how_many_wait_is_told() -> None:
    with world() as here:
        first, second, third = (here.ask(limit=ONE) for _ in range(3))
        assert here.pacer.waiting(b"demo") == 2
        here.pass_time(1.5)
        third_waits_still = here.pacer.waiting(b"demo")
        here.pass_time(5.0)

        waited = [request.turn.waited for request in (first, second, third)]
        assert waited == pytest.approx([0.0, WINDOW, 2 * WINDOW], abs=0.01)
        assert (third_waits_still, here.pacer.waiting(b"demo"), here.pacer.waiting(b"other")) == (1, 0, 0)


def test_how_long_the_next_one_would_wait_is_told() -> None:
    with world() as here:
        assert here.pacer.expected_wait(b"demo") == 0.0
        holding(here)
        waits = [here.pacer.expected_wait(b"demo")]
        for _ in range(2):
            holding(here)
            waits.append(here.pacer.expected_wait(b"demo"))

    assert waits == [pytest.approx(WINDOW), pytest.approx(2 * WINDOW), pytest.approx(3 * WINDOW)]


def test_a_wait_in_vain_is_told_too() -> None:
    with world(max_wait=1.5) as here:
        first, second, refused = (here.ask(limit=ONE) for _ in range(3))
        here.pass_time(1.5)

        assert (first.is_sent(), second.is_sent(), refused.is_refused()) == (True, True, True)
        assert refused.turn.waited == 0.0


def test_how_often_a_request_was_answered_429_is_told() -> None:
    with world() as here:
        turn = here.ask(limit=ONE).turn
        for _ in range(2):
            turn.throttled(None)

        assert turn.throttlings == 2
        assert (UNPACED.throttlings, UNPACED.waited) == (0, None)


# What becomes of the slot


def test_a_slot_of_which_nothing_was_used_goes_back() -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        holder.leave()

        assert waiting.is_sent()


def test_a_slot_whose_request_was_begun_counts_from_when_it_was_left() -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        holder.begin()
        here.pass_time(0.5)
        holder.leave()
        here.pass_time(WINDOW - 0.01)
        assert not waiting.is_sent()
        here.pass_time(0.02)

        assert waiting.is_sent()


def test_a_slot_whose_request_is_sent_counts_from_then_whenever_it_is_left() -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        holder.send()
        here.pass_time(WINDOW + 0.01)
        assert waiting.is_sent()
        holder.leave()

        assert not here.ask(limit=ONE).is_sent()


@pytest.mark.parametrize(("how", "more"), [("answered", 0.1 - NETWORK_JITTER), ("fails", 0.0)])
def test_a_slot_counts_later_if_its_answer_took_long(how: str, more: float) -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        holder.send()
        here.pass_time(0.1)
        if how == "answered":
            holder.leave()
        else:
            holder.cancel()
        here.pass_time(WINDOW - 0.1 + more - 0.01)
        assert not waiting.is_sent()
        here.pass_time(0.02)

        assert waiting.is_sent()


def test_a_slot_that_was_lent_to_others_is_not_good_any_more() -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        here.pass_time(LONGEST_SENDING - 0.01)
        assert not holder.turn.lapsed
        here.pass_time(0.02)

        assert (waiting.is_sent(), holder.turn.lapsed) == (True, True)


@pytest.mark.parametrize("begun", [False, True])
def test_a_slot_is_settled_when_its_client_leaves(begun: bool) -> None:
    with world() as here:
        holder, waiting = holding(here), here.ask(limit=ONE)
        if begun:
            holder.begin()
        holder.cancel()
        here.settle()
        assert waiting.is_sent() == (not begun)
        here.pass_time(WINDOW + 0.01)

        assert waiting.is_sent()


def test_what_is_told_after_the_slot_is_settled_changes_nothing() -> None:
    with world() as here:
        holder = holding(here)
        holder.leave()
        holder.turn.sent()

        assert here.ask(limit=ONE).is_sent()


async def test_a_turn_is_not_entered_twice_at_a_time() -> None:
    pacer = Pacer(PacingPolicy(), PacingMetrics(), clock=lambda: 5.0, call_later=_no_timer)
    turn = pacer.turn(b"demo", "erp", ONE)
    async with turn:
        with pytest.raises(RuntimeError, match="entered by one at a time"):
            await turn.__aenter__()
    async with turn:
        turn.sent()


# After a 429


def test_after_a_429_a_request_goes_again_when_it_is_told_to_and_before_those_that_came_later() -> None:
    with world() as here:
        first = here.ask("erp", limit=ONE)
        later = [here.ask(client, limit=ONE) for client in ("erp", "feed")]
        assert first.turn.throttled(3.0)
        first.start()
        here.pass_time(2.99)
        assert here.order() == ["erp"]
        here.pass_time(2.0)
        assert here.order() == ["erp", "erp"]
        first.turn.answered()
        here.pass_time(5.0)

        assert first.seen[1] == pytest.approx((1003.0, 1003.0), abs=0.002)
        assert first.sent_as < later[0].sent_as
        assert all(request.is_sent() for request in later)


def test_the_429s_of_one_request_are_told_to_go_again_three_times_after_longer_and_longer_pauses() -> None:
    with world() as here:
        request = here.ask()
        pauses = []
        for _ in range(3):
            assert request.turn.throttled(None)
            throttled_at = here.now
            request.start()
            here.pass_time(5.0)
            pauses.append(request.seen[-1][0] - throttled_at)

        assert pauses == pytest.approx([1.0, 2.0, 4.0], abs=0.002)
        assert not request.turn.throttled(None)
        assert here.metrics.throttled == 4


@pytest.mark.parametrize(("max_wait", "retry_after"), [(5.0, 5.1), (5.0, 86400.0), (1000.0, 1000.1)])
def test_a_429_that_asks_for_more_than_can_be_waited_is_for_the_client(max_wait: float, retry_after: float) -> None:
    with world(max_wait=max_wait) as here:
        assert not here.ask().turn.throttled(retry_after)


@pytest.mark.parametrize(("max_wait", "pause"), [(20.0, 30.0), (60.0, 60.0)])
def test_a_429_stops_a_shop_for_no_longer_than_requests_may_wait_or_half_a_minute(
    max_wait: float, pause: float
) -> None:
    with world(max_wait=max_wait) as here:
        here.ask().turn.throttled(86400.0)
        here.pass_time(pause - 1.0)
        request = here.ask()
        assert not request.is_sent()
        here.pass_time(1.1)
        assert request.is_sent()


def test_a_request_that_may_wait_for_long_waits_out_what_a_429_asks_for() -> None:
    with world(max_wait=60.0) as here:
        request = here.ask()
        assert request.turn.throttled(45.0)
        request.start()
        here.pass_time(44.9)
        assert len(request.seen) == 1
        here.pass_time(0.2)
        assert len(request.seen) == 2


@pytest.mark.parametrize(("more", "in_time"), [(-0.01, True), (0.01, False)])
def test_a_request_waits_no_longer_in_all_than_is_allowed_however_often_it_enters(more: float, in_time: bool) -> None:
    with world(max_wait=5.0) as here:
        here.ask(limit=ONE)
        request = here.ask(limit=ONE)
        here.pass_time(2.0)
        assert request.is_sent()  # having waited for one window

        assert request.turn.throttled(5.0 - WINDOW + more) == in_time
        request.start()
        here.pass_time(4.0)
        assert len(request.seen) == (2 if in_time else 1)
        assert request.is_refused() == (not in_time)


def test_a_request_without_time_left_is_refused_when_it_would_have_to_wait_again() -> None:
    with world(max_wait=1.5) as here:
        here.ask(limit=ONE)
        request = here.ask(limit=ONE)
        here.pass_time(WINDOW + 0.01)
        request.start()  # it was answered 401, and tries once more
        assert request.is_refused()
        request.refused = None
        request.start()

        assert request.is_refused()


def test_after_a_429_the_others_wait_too_and_their_retry_after_tells_them_so() -> None:
    with world(max_wait=2.0) as here:
        here.ask().turn.throttled(10.0)
        refused = here.ask()

        assert refused.refused is not None
        assert refused.refused.retry_after == pytest.approx(10.0)


# 429s in a row


def blocked(here: World) -> list[Request]:
    """A 429, then a pause of 1 s, and three that wait."""
    here.ask("x").turn.throttled(None)
    waiting = [here.ask(client) for client in "abc"]
    here.pass_time(1.01)
    return waiting


def who_tried(requests: list[Request]) -> list[bool]:
    return [request.is_sent() for request in requests]


def test_when_the_pause_is_over_one_request_tries_and_the_others_go_when_it_was_let_through() -> None:
    with world() as here:
        waiting = blocked(here)
        newcomer = here.ask("d")
        here.pass_time(5.0)
        assert who_tried([*waiting, newcomer]) == [True, False, False, False]
        waiting[0].turn.answered()
        here.settle()
        assert who_tried([*waiting, newcomer]) == [True, True, False, False]
        here.pass_time(3.0)

        assert who_tried([*waiting, newcomer]) == [True] * 4


def test_a_row_is_that_of_the_shop_whichever_requests_were_answered_429_and_ends_with_another_answer() -> None:
    with world(max_wait=0.0) as here:
        for pause in (1.0, 2.0, 4.0, 8.0):
            here.ask(f"client {pause}").turn.throttled(None)
            here.pass_time(pause - 0.01)
            assert not here.ask("too early").is_sent()
            here.pass_time(0.02)
        here.ask("let through").turn.answered()
        here.pass_time(3.0)  # it goes slowly now
        here.ask("again").turn.throttled(None)
        here.pass_time(3.0)

        assert here.ask("not after 16 s").is_sent()


def test_a_block_that_asking_prolongs_ends() -> None:
    with world(max_wait=0.0) as here:
        ends_at, asked = here.now, 0
        while True:
            request = here.ask()
            if request.is_sent():
                asked += 1
                if here.now > ends_at + 60.0:
                    break
                request.turn.throttled(None)
                ends_at = here.now
            here.pass_time(1.0)

        assert asked == 8  # after 1, 2, 4 … 64 s


@pytest.mark.parametrize("how", ["gives back", "fails", "leaves", "asks again"])
def test_if_the_one_that_tries_gets_no_answer_the_next_one_tries(how: str) -> None:
    with world() as here:
        here.ask("x").turn.throttled(None)
        here.pass_time(1.01)
        trying = Request(here, "erp", b"demo", RateLimit(3, per=1.0)).start(hold=True)
        waiting = here.ask("a")
        assert not waiting.is_sent()
        if how == "gives back":
            trying.leave()
        else:
            trying.send()
        if how == "fails":
            assert trying.going_on is not None
            trying.going_on.set_exception(PacedOut("stands for any error"))
        elif how == "leaves":
            trying.cancel()
        elif how == "asks again":
            trying.leave()
            assert not waiting.is_sent()
            trying.start()
        here.settle()
        here.pass_time(1.4)

        assert waiting.is_sent()


def test_an_answer_that_is_told_twice_or_without_a_limit_changes_nothing() -> None:
    with world() as here:
        turn = here.ask().turn
        turn.answered()
        turn.answered()
        UNPACED.answered()
        assert here.ask().is_sent()


async def test_a_request_that_tries_and_was_refused_its_token_may_go_on_at_once() -> None:
    loop = asyncio.get_running_loop()
    pacer = Pacer(PacingPolicy(), PacingMetrics(), clock=time.monotonic, call_later=loop.call_later)
    turn = pacer.turn(b"demo", "erp", RateLimit(100, per=0.01))
    async with turn:
        turn.sent()
    assert turn.throttled(0.01)
    async with asyncio.timeout(5):  # the next one would try after ten
        for _ in range(2):
            async with turn:
                turn.sent()


def test_an_error_names_the_limit_and_the_settings() -> None:
    with world(max_wait=0.5) as here:
        here.ask(limit=RateLimit(1, per=60.0))
        error = here.ask(limit=RateLimit(1, per=60.0)).refused

    assert isinstance(error, PacedOut)
    assert error.detail == (
        "The platform takes 1 requests in 60 s for this shop, and too many are waiting already (pacing.max_wait,"
        " pacing.max_queue)."
    )


# What is kept


def test_shops_that_are_idle_are_forgotten_and_those_that_are_not_are_kept() -> None:
    with world() as here:
        waiting = [here.ask(key=b"busy", limit=RateLimit(1, per=100.0)) for _ in range(2)]
        for number in range(5000):
            here.pacer.turn(b"%d" % number, "erp", ONE)  # a turn that is not entered costs nothing
        assert len(here.pacer) == 1
        for number in range(5000):
            here.ask(key=b"%d" % number, limit=ONE)
            here.pass_time(0.01)

        assert len(here.pacer) <= 1001
        assert waiting[0].is_sent()
        assert not here.ask(key=b"busy", limit=RateLimit(1, per=100.0)).is_sent()


def test_a_shop_for_which_somebody_waits_is_not_forgotten_even_if_the_timer_is_late() -> None:
    with world() as here:
        waiting = [here.ask(key=b"busy", limit=ONE) for _ in range(2)][1]
        here.now += 10.0
        for number in range(1001):
            here.ask(key=b"%d" % number, limit=ONE)
        newcomer = here.ask(key=b"busy", limit=ONE)
        assert not newcomer.is_sent()
        here.pass_time(0.0)

        assert waiting.is_sent()
        assert not newcomer.is_sent()


def test_a_shop_whose_window_is_not_over_is_not_forgotten_however_many_there_are() -> None:
    with world() as here:
        for number in range(3000):
            here.ask(key=b"%d" % number, limit=ONE)

        assert len(here.pacer) == 3000
        assert not here.ask(key=b"0", limit=ONE).is_sent()


def test_a_limit_that_was_changed_holds_from_the_next_request_on() -> None:
    with world() as here:
        assert here.ask(limit=ONE).is_sent()
        assert here.ask(limit=RateLimit(2, per=1.0)).is_sent()
        assert not here.ask(limit=RateLimit(2, per=1.0)).is_sent()


# In real time


async def test_twelve_clients_use_the_limit_of_a_real_server_and_are_never_answered_429() -> None:
    loop = asyncio.get_running_loop()
    pacer = Pacer(PacingPolicy(), PacingMetrics(), clock=time.monotonic, call_later=loop.call_later)
    times: list[float] = []
    statuses: set[int] = set()
    enough = asyncio.Event()

    async with ShoprenterSimulator(rate_limit=3) as platform, aiohttp.ClientSession() as session:
        url = platform.api_url.replace("{shop}", "demo") + "products?limit=1"
        headers = {"Authorization": f"Bearer {platform.issue_token('demo')}", "Accept": "application/json"}

        async def pull(client: str) -> None:
            while True:
                turn = pacer.turn(b"demo", client, SHOPRENTER.rate_limit)
                async with turn:
                    turn.sent()  # this client does not tell when it writes; so that is jitter too
                    times.append(time.monotonic())
                    async with session.get(url, headers=headers) as answer:
                        statuses.add(answer.status)
                if len(times) >= 10:
                    enough.set()

        async with asyncio.TaskGroup() as group, asyncio.timeout(20):
            clients = [group.create_task(pull(f"client {number}")) for number in range(12)]
            await enough.wait()
            for client in clients:
                client.cancel()

        assert statuses == {200}
        assert platform.counts.throttled == 0
    # The middle one, since the machine that runs this may stand still for a moment.
    assert median(last - first for first, last in zip(times, times[3:], strict=False)) <= 3 / 2.9
