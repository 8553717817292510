"""Those who wait for a slot: in line, in turn, in vain; nobody is left behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.pace import safety_margin
from proxy.platforms.platform import RateLimit
from tests.guards.oracle import most_in_any_window
from tests.guards.world import Request, World, world

WINDOW = 1.0 + safety_margin(1.0)
ONE = RateLimit(1, per=1.0)
NANOSECOND = 1e-9


def retry_after(request: Request) -> float:
    """In how many seconds the request that was refused is to come again."""
    assert request.refused is not None
    assert request.refused.retry_after is not None
    return request.refused.retry_after


def test_a_free_slot_is_had_at_once_and_no_timer_runs() -> None:
    with world() as here:
        assert [here.ask().is_sent() for _ in range(3)] == [True] * 3
        assert here.timers == []
        assert here.metrics.waits == 0


def test_who_comes_when_there_is_none_waits_for_the_end_of_the_window_and_no_nanosecond_longer() -> None:
    with world() as here:
        first = [here.ask() for _ in range(3)]
        here.pass_time(0.25)
        waiting = here.ask()
        here.pass_time(WINDOW - 0.25 - NANOSECOND)
        assert not waiting.is_sent()
        here.pass_time(2 * NANOSECOND)

        assert waiting.is_sent()
        assert all(request.is_sent() for request in first)


def test_many_who_wait_cost_one_timer_and_nobody_who_waits_costs_none() -> None:
    with world() as here:
        for number in range(50):
            here.ask(f"client {number % 7}")
        assert len(here.timers) == 1
        here.pass_time(30.0)

        assert all(request.is_sent() for request in here.requests)
        assert here.timers == []


def test_while_somebody_waits_nobody_else_goes_first() -> None:
    with world() as here:
        for _ in range(3):
            here.ask("quick")
        waiting = here.ask("slow")
        here.now += WINDOW + 0.1  # the timer is late
        newcomer = here.ask("quick")
        assert not newcomer.is_sent()
        here.pass_time(0.0)

        assert waiting.is_sent()
        assert newcomer.is_sent()
        assert waiting.sent_as < newcomer.sent_as


def test_clients_have_their_turns_one_after_the_other_and_each_in_its_own_order() -> None:
    with world() as here:
        here.ask("x", limit=ONE)
        waiting = [here.ask(client, limit=ONE) for client in "aaaabbc"]
        here.pass_time(10.0)

        assert here.order() == list("xabcabaa")
        for client in "abc":
            own = [request.sent_as for request in waiting if request.client == client]
            assert own == sorted(own)


def test_keys_do_not_share_a_limit() -> None:
    with world() as here:
        assert here.ask(key=b"one", limit=ONE).is_sent()
        assert here.ask(key=b"two", limit=ONE).is_sent()
        assert not here.ask(key=b"one", limit=ONE).is_sent()


def test_a_slot_that_is_given_back_is_the_next_ones_at_once() -> None:
    with world() as here:
        holder = Request(here, "erp", b"demo", ONE).start(hold=True)
        waiting = here.ask(limit=ONE)
        assert not waiting.is_sent()
        holder.leave()

        assert waiting.is_sent()
        assert not holder.is_sent()


def test_the_end_of_the_window_is_counted_from_when_the_request_is_sent() -> None:
    with world() as here:
        holder = Request(here, "erp", b"demo", ONE).start(hold=True)
        waiting = here.ask(limit=ONE)
        here.pass_time(5.0)
        holder.send()
        here.pass_time(WINDOW - 0.002)
        assert not waiting.is_sent()
        here.pass_time(0.004)

        assert waiting.is_sent()


# Who leaves


def test_who_leaves_the_line_makes_no_hole() -> None:
    with world() as here:
        here.ask("x", limit=ONE)
        requests = [here.ask(client, limit=ONE) for client in "aabb"]
        requests[0].cancel()
        requests[3].cancel()
        here.settle()
        here.pass_time(WINDOW)
        assert [request.is_sent() for request in requests] == [False, True, False, False]
        here.pass_time(WINDOW)

        assert [request.is_sent() for request in requests] == [False, True, True, False]


def test_the_last_one_to_leave_takes_the_timer_with_it() -> None:
    with world() as here:
        here.ask(limit=ONE)
        waiting = here.ask(limit=ONE)
        assert len(here.timers) == 1
        waiting.cancel()
        here.settle()

        assert here.timers == []


def test_a_slot_granted_to_one_that_leaves_at_that_moment_goes_to_the_next() -> None:
    with world() as here:
        holder = Request(here, "erp", b"demo", ONE).start(hold=True)
        first, second = here.ask(limit=ONE), here.ask(limit=ONE)

        holder.turn.sent()
        here.now += WINDOW + 0.01
        here.loop.call_soon(first.cancel)  # after the timer has granted the slot, and before that is noticed
        here.pass_time(0.0)

        assert first.task.cancelled()
        assert not first.is_sent()
        assert second.is_sent()


def test_one_that_is_about_to_leave_is_granted_nothing_and_costs_its_client_no_turn() -> None:
    with world() as here:
        here.ask("x", limit=ONE)
        requests = [here.ask(client, limit=ONE) for client in "aab"]
        requests[0].cancel()  # which it notices only after the timer has rung
        here.pass_time(WINDOW + 0.01)

        assert [request.is_sent() for request in requests] == [False, True, False]


# Who waits in vain


def test_where_the_wait_would_be_too_long_the_request_is_refused_on_arrival() -> None:
    with world(max_wait=2.0) as here:
        requests = [here.ask(limit=ONE) for _ in range(4)]

        assert [request.is_refused() for request in requests] == [False, False, True, True]
        assert here.metrics.waiting == 1
        assert here.metrics.paced_out == 2


def test_who_is_refused_is_told_when_it_is_worth_to_come_again() -> None:
    with world(max_wait=10.0) as here:
        requests = [here.ask(limit=ONE) for _ in range(15)]
        refused = requests[10]

        # In line it would be the tenth after the one that has gone: that is 5 s too late for half of max_wait.
        assert retry_after(refused) == pytest.approx(10 * WINDOW - 5.0)


def test_a_client_with_few_in_line_is_not_refused_because_of_one_with_many() -> None:
    with world(max_wait=10.0) as here:
        many = [here.ask("many", limit=ONE) for _ in range(15)]
        few = here.ask("few", limit=ONE)
        here.pass_time(2 * WINDOW)

        assert few.is_sent()
        assert sum(request.is_sent() for request in many) == 2


def test_whose_time_is_up_is_refused_in_the_line() -> None:
    with world(max_wait=3.5) as here:
        here.ask("x", limit=ONE)
        early = [here.ask("a", limit=ONE) for _ in range(3)]
        late = [here.ask(client, limit=ONE) for client in "bc"]
        here.pass_time(3.499)
        assert [request.is_sent() for request in early] == [True, False, False]
        assert [request.is_sent() for request in late] == [True, True]
        assert not early[1].task.done()
        here.pass_time(0.002)

        assert retry_after(early[1]) == pytest.approx(4 * WINDOW - 3.501, abs=0.01)
        assert early[2].is_refused()


def test_who_waits_in_vain_because_of_a_429_is_refused_at_once_and_told_when_to_come_again() -> None:
    with world(max_wait=8.0) as here:
        first = here.ask(limit=ONE)
        here.pass_time(0.5)
        waiting = [here.ask(client, limit=ONE) for client in "ab"]
        here.pass_time(0.4)
        first.turn.throttled(8.0)
        here.settle()
        assert [request.is_refused() for request in waiting] == [True, True]
        assert retry_after(waiting[0]) == pytest.approx(8.0)
        assert waiting[0].refused is not None
        assert "come too fast" in waiting[0].refused.detail
        assert here.timers == []

        patient = here.ask("c", limit=ONE)
        first.turn.throttled(7.0)
        here.pass_time(8.0)
        assert patient.is_sent()


def test_no_more_may_wait_than_are_allowed() -> None:
    with world(max_queue=5) as here:
        requests = [here.ask(limit=ONE) for _ in range(8)]
        here.pass_time(0.2)

        assert here.metrics.waiting == 5
        assert [request.is_refused() for request in requests] == [False] * 6 + [True] * 2
        assert retry_after(requests[6]) == pytest.approx(WINDOW)  # when there is room


def test_where_there_is_no_room_the_last_of_the_client_with_most_makes_way_for_one_with_fewer() -> None:
    with world(max_queue=4) as here:
        here.ask("x", limit=ONE)
        many = [here.ask("many", limit=ONE) for _ in range(4)]
        first, second = here.ask("few", limit=ONE), here.ask("few", limit=ONE)
        third = here.ask("few", limit=ONE)

        assert [request.is_refused() for request in many] == [False, False, True, True]
        assert third.is_refused()
        here.pass_time(5 * WINDOW)
        assert first.is_sent()
        assert second.is_sent()
        assert here.order() == ["x", "many", "few", "many", "few"]


def test_where_there_is_no_room_and_all_have_as_few_the_one_that_comes_is_refused() -> None:
    with world(max_queue=2) as here:
        here.ask("x", limit=ONE)
        early = [here.ask(client, limit=ONE) for client in "ab"]

        assert here.ask("c", limit=ONE).is_refused()
        assert not any(request.is_refused() for request in early)


def test_the_waits_are_counted() -> None:
    with world(max_wait=2.5) as here:
        here.ask(limit=ONE)
        first, second = here.ask(limit=ONE), here.ask(limit=ONE)
        here.ask(limit=ONE)
        assert here.metrics.waiting == 2
        here.pass_time(0.5)
        second.cancel()
        here.settle()
        here.pass_time(1.0)

        assert first.is_sent()
        assert here.metrics.waiting == 0
        assert here.metrics.waits == 2
        assert here.metrics.waited_seconds == pytest.approx(WINDOW + 0.5, abs=0.002)
        assert here.metrics.paced_out == 1


# Whatever happens

CLIENTS = st.sampled_from("abc")
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), CLIENTS, st.sampled_from(["send", "hold"])),
    st.tuples(st.just("pass time"), st.floats(0.0, 0.4) | st.floats(0.0, 3.0)),
    st.tuples(st.sampled_from(["cancel", "begin", "send", "leave"]), st.integers(0, 100)),
    st.tuples(st.just("throttled"), st.integers(0, 100), st.sampled_from([None, 0.5, 3.0, 20.0])),
    st.tuples(st.just("answered"), st.integers(0, 100)),
)


def act(here: World, limit: RateLimit, action: tuple[object, ...]) -> None:
    inside = [request for request in here.requests if request.inside]
    match action:
        case ("ask", str(client), how):
            Request(here, client, b"demo", limit).start(hold=how == "hold")
        case ("pass time", float(seconds)):
            here.pass_time(seconds)
        case ("cancel", int(index)) if here.requests:
            here.requests[index % len(here.requests)].cancel()
            if index % 2:
                here.settle()
        case ("begin", int(index)) if inside:
            inside[index % len(inside)].begin()
        case ("send", int(index)) if inside:
            inside[index % len(inside)].send()
            inside[index % len(inside)].leave()
        case ("leave", int(index)) if inside:
            inside[index % len(inside)].leave()
        case ("throttled", int(index), pause) if sent := [request for request in here.requests if request.is_sent()]:
            assert pause is None or isinstance(pause, float)
            sent[index % len(sent)].turn.throttled(pause)
            here.settle()
        case ("answered", int(index)) if sent := [request for request in here.requests if request.is_sent()]:
            sent[index % len(sent)].turn.answered()
            here.settle()


@given(st.integers(1, 4), st.lists(ACTIONS, max_size=60))
def test_whatever_happens_the_limit_is_kept_and_nobody_is_left_behind(
    requests: int, actions: list[tuple[object, ...]]
) -> None:
    limit = RateLimit(requests, per=1.0)
    with world(max_wait=8.0) as here:
        for action in actions:
            act(here, limit, action)
            assert len(here.timers) == (1 if here.metrics.waiting else 0)
        here.hurry()
        here.pass_time(9.0)

        assert all(request.task.done() for request in here.requests)
        seen = [times for request in here.requests for times in request.seen if times[1] - times[0] < 9.0]
        assert most_in_any_window(seen, limit.per) <= limit.requests
        assert all(request.is_refused() or request.task.cancelled() or request.was_inside for request in here.requests)


@given(st.integers(1, 5), st.lists(st.tuples(CLIENTS, st.floats(0.0, 0.5)), min_size=5, max_size=60))
def test_while_somebody_waits_97_percent_of_the_limit_are_used(
    requests: int, arrivals: list[tuple[str, float]]
) -> None:
    with world(max_wait=1000.0) as here:
        for client, pause in arrivals:
            here.ask(client, limit=RateLimit(requests, per=1.0))
            here.pass_time(pause)
        here.pass_time(100.0)

        sent = sorted((request.seen[0][0], request.came_at) for request in here.requests)
        for (before, _), (time, came_at) in zip(sent, sent[requests:], strict=False):
            assert time == came_at or time - before <= 1.0 / 0.97


@given(st.lists(st.tuples(CLIENTS, st.floats(0.0, 0.5)), max_size=20), CLIENTS)
def test_who_is_refused_on_arrival_would_have_waited_too_long_and_who_is_not_is_served(
    arrivals: list[tuple[str, float]], client: str
) -> None:
    def last_of_all(max_wait: float) -> tuple[Request, bool, bool]:
        with world(max_wait=max_wait) as here:
            for other, pause in arrivals:
                here.ask(other, limit=ONE)
                here.pass_time(pause)
            last = here.ask(client, limit=ONE)
            refused_at_once = last.is_refused()
            here.pass_time(100.0)
            return last, refused_at_once, any(request.is_refused() for request in here.requests[:-1])

    patient, _, _ = last_of_all(1000.0)
    wait = patient.seen[0][0] - patient.came_at
    impatient, refused_at_once, others_refused = last_of_all(4.0)
    if not others_refused:
        assert refused_at_once == (wait > 4.0)
        assert impatient.is_sent() == (wait <= 4.0)


@given(
    max_queue=st.sampled_from([3, 1000]),
    actions=st.lists(
        ACTIONS.filter(lambda action: action[0] in ("ask", "pass time", "throttled", "answered")), max_size=40
    ),
    rush=st.lists(CLIENTS, max_size=20),
    client=CLIENTS,
)
def test_who_comes_again_after_retry_after_is_served_if_nobody_else_has_come(
    max_queue: int, actions: list[tuple[object, ...]], rush: list[str], client: str
) -> None:
    with world(max_wait=4.0, max_queue=max_queue) as here:
        for action in actions:
            act(here, ONE, action)
        here.hurry()
        for other in rush:
            here.ask(other, limit=ONE)
        while not (last := here.ask(client, limit=ONE)).is_refused():
            pass
        here.pass_time(retry_after(last))
        again = here.ask(client, limit=ONE)
        here.pass_time(4.0)

        assert again.is_sent()
