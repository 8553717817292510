"""Whose turn it is: clients in turn, and who came first of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.rotation import Rotation


def rotation(*waiters: tuple[str, int]) -> Rotation[str]:
    made: Rotation[str] = Rotation()
    for client, number in waiters:
        made.join(client, number, f"{client}{number}")
    return made


def served(waiting: Rotation[str], count: int | None = None) -> list[str]:
    """Those whose turn it is, one after the other."""
    names = []
    for _ in range(len(waiting) if count is None else count):
        names.append(waiting.first())
        waiting.advance()
    return names


def test_clients_have_their_turns_one_after_the_other() -> None:
    waiting = rotation(("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6))

    assert served(waiting) == ["a1", "b4", "c5", "a2", "b6", "a3"]
    assert not waiting


def test_a_client_that_joins_has_its_turn_after_one_of_each_other() -> None:
    waiting = rotation(*(("a", number) for number in range(1, 9)), ("b", 9), ("b", 10))
    assert served(waiting, 3) == ["a1", "b9", "a2"]
    waiting.join("c", 11, "c11")

    assert served(waiting, 3) == ["b10", "a3", "c11"]


def test_of_one_client_the_lowest_number_goes_first_whenever_it_joins() -> None:
    assert served(rotation(("a", 5), ("a", 9), ("a", 2), ("a", 7))) == ["a2", "a5", "a7", "a9"]


def test_who_leaves_takes_nobody_elses_turn() -> None:
    waiting = rotation(("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5))

    assert waiting.leave("a", 1)
    assert waiting.leave("b", 4)
    assert waiting.leave("c", 5)
    assert len(waiting) == 2
    assert list(waiting) == ["a2", "b3"]
    assert served(waiting) == ["a2", "b3"]


@pytest.mark.parametrize(("client", "number"), [("a", 1), ("a", 3), ("b", 2), ("c", 4)])
def test_who_is_not_there_can_not_leave(client: str, number: int) -> None:
    waiting = rotation(("a", 2), ("b", 3))

    assert not waiting.leave(client, number)
    assert len(waiting) == 2


@pytest.mark.parametrize(
    ("client", "number", "ahead"),
    [
        ("a", 1, 0),
        ("a", 2, 2 + 1),  # a1, b4, c6
        ("a", 4, 3 + 2 + 1),
        ("b", 2, 1),
        ("b", 5, 1 + 2 + 1),
        ("c", 9, 1 + 2 + 2),
        ("d", 9, 3),
        ("d", 0, 3),
    ],
)
def test_how_many_are_ahead_is_known_before_one_joins(client: str, number: int, ahead: int) -> None:
    waiting = rotation(("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("c", 6))

    assert waiting.ahead_of(client, number) == ahead


def test_the_longest_line_is_that_of_the_client_with_the_most() -> None:
    waiting = rotation(("a", 1), ("b", 2), ("b", 3), ("c", 4))

    assert waiting.longest_line() == ["b2", "b3"]
    assert [waiting.line_length(client) for client in "abcd"] == [1, 2, 1, 0]
    assert rotation().longest_line() == []


CLIENTS = "abcd"
ACTIONS = st.lists(st.tuples(st.sampled_from(["join", "join", "serve", "leave"]), st.integers(0, 30)), max_size=80)


@given(ACTIONS)
def test_while_two_clients_wait_their_turns_never_differ_by_more_than_one(actions: list[tuple[str, int]]) -> None:
    waiting: Rotation[tuple[str, int]] = Rotation()
    there: list[tuple[str, int]] = []
    turns = {(one, other): 0 for one in CLIENTS for other in CLIENTS if one < other}  # since both wait
    extremes = dict.fromkeys(turns, (0, 0))
    for number, (action, choice) in enumerate(actions):
        if action == "join":
            place = (CLIENTS[choice % len(CLIENTS)], number)
            waiting.join(*place, place)
            there.append(place)
        elif action == "leave" and there:
            place = there.pop(choice % len(there))
            assert waiting.leave(*place)
        elif there:
            place = waiting.first()
            ahead_of_it = [other for other in there if other[0] == place[0] and other[1] < place[1]]
            assert not ahead_of_it, "first come first served within a client"
            waiting.advance()
            there.remove(place)
            for pair in turns:
                if place[0] in pair:
                    turns[pair] += 1 if place[0] == pair[0] else -1
        for pair, count in turns.items():
            if all(any(client == one for client, _ in there) for one in pair):
                low, high = extremes[pair]
                extremes[pair] = low, high = min(low, count), max(high, count)
                assert high - low <= 1, pair
            else:
                turns[pair], extremes[pair] = 0, (0, 0)
    assert sorted(waiting) == sorted(there)
    assert len(waiting) == len(there)


@given(ACTIONS, st.sampled_from("abcde"), st.integers(0, 80))
def test_as_many_are_served_before_one_that_joins_as_was_said(
    actions: list[tuple[str, int]], client: str, at: int
) -> None:
    waiting: Rotation[str] = Rotation()
    for number, (action, choice) in enumerate(actions):
        if action == "serve" and waiting:
            waiting.advance()
        elif number != at:
            waiting.join(CLIENTS[choice % len(CLIENTS)], number, str(number))
    ahead = waiting.ahead_of(client, at)
    waiting.join(client, at, "this one")

    assert served(waiting).index("this one") == ahead


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), unique_by=lambda each: each[1]))
def test_they_are_told_in_the_order_in_which_they_have_their_turns(places: list[tuple[str, int]]) -> None:
    rotation: Rotation[tuple[str, int]] = Rotation()
    for client, number in places:
        rotation.join(client, number, (client, number))
    told = list(rotation.in_turn())

    had = []
    while len(rotation):
        had.append(rotation.first())
        rotation.advance()
    assert told == had


def test_who_was_served_out_of_turn_has_the_next_turn_after_all_others() -> None:
    rotation: Rotation[str] = Rotation()
    for client, number in (("a", 1), ("b", 2), ("c", 3), ("b", 4), ("a", 5)):
        rotation.join(client, number, f"{client}{number}")
    rotation.served([("b", 4), ("c", 3), ("x", 9)])

    assert len(rotation) == 3
    assert list(rotation.in_turn()) == ["a1", "b2", "a5"]
    rotation.served([("a", 5)])
    assert list(rotation.in_turn()) == ["b2", "a1"]
