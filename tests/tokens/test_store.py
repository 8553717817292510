"""The states that are kept: the one used least recently goes first, and none that is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.errors import TokenUnavailable
from proxy.tokens.state import TokenState
from proxy.tokens.store import StateStore
from proxy.tokens.token import AccessToken

TOKEN = AccessToken(b"Bearer x", 0.0, 50.0, 60.0)
FETCH: Any = object()  # stands for a task that runs


def key(number: int) -> bytes:
    return b"%d" % number


@contextmanager
def fetching(state: TokenState) -> Iterator[None]:
    state.fetch = FETCH
    yield
    state.fetch = None


def add_granted(store: StateStore, key: bytes) -> TokenState:
    state = store.add(key)
    with fetching(state):
        state.granted(TOKEN)
        store.granted(key, state)
    return state


def known(store: StateStore, count: int) -> list[int]:
    """Which of the first keys are there; this uses them, in order."""
    return [number for number in range(count) if store.get(key(number)) is not None]


def test_what_was_added_is_found() -> None:
    store = StateStore(2)
    state = store.add(b"a")

    assert store.get(b"a") is state
    assert store.get(b"b") is None
    assert len(store) == 1


def test_it_is_found_with_its_token_too() -> None:
    store = StateStore(2)
    state = add_granted(store, b"a")

    assert store.get(b"a") is state
    assert len(store) == 1


@pytest.mark.parametrize("add", [StateStore.add, add_granted], ids=["without a token", "with a token"])
def test_the_one_used_least_recently_makes_room(add: Callable[[StateStore, bytes], TokenState]) -> None:
    store = StateStore(3)
    for number in range(3):
        add(store, key(number))
    store.get(key(0))

    add(store, key(3))
    add(store, key(4))

    assert known(store, 5) == [0, 3, 4]


def test_a_token_that_is_renewed_makes_nobody_go() -> None:
    store = StateStore(2)
    first, _ = add_granted(store, key(0)), add_granted(store, key(1))

    store.granted(key(0), first)

    assert known(store, 2) == [0, 1]


def test_made_up_shops_without_a_token_never_cost_a_shop_its_token() -> None:
    store = StateStore(3)
    for number in range(3):
        add_granted(store, key(number))
    for number in range(3, 1000):
        store.add(key(number))

    assert known(store, 1000) == [0, 1, 2, 997, 998, 999]


def test_tokens_never_cost_a_refused_shop_its_pause() -> None:
    store = StateStore(2)
    store.add(key(0))
    for number in range(1, 10):
        add_granted(store, key(number))

    assert known(store, 10) == [0, 8, 9]


def test_those_that_failed_are_told_with_an_old_token_and_without() -> None:
    store = StateStore(3)
    add_granted(store, key(0))
    for state in (add_granted(store, key(1)), store.add(key(2))):
        state.failed(TokenUnavailable("There was no answer."), 0.0, 1.0)

    assert store.failing() == {key(1), key(2)}


def test_one_whose_fetch_is_under_way_stays() -> None:
    store = StateStore(2)
    asked = store.add(key(0))
    with fetching(asked):
        for number in range(1, 5):
            store.add(key(number))
        assert store.get(key(0)) is asked

    assert known(store, 5) == [0, 4]


def test_a_new_one_stays_even_where_all_others_are_needed() -> None:
    store = StateStore(1)
    asked = store.add(key(0))
    with fetching(asked):
        new = store.add(key(1))

        assert store.get(key(1)) is new
        assert store.get(key(0)) is asked


def test_more_than_are_allowed_stay_only_as_long_as_they_are_needed() -> None:
    store = StateStore(1)
    first, second = store.add(key(0)), TokenState()
    with fetching(first):
        second = store.add(key(1))
        with fetching(second):
            store.add(key(2))
            assert len(store) == 3

    store.add(key(3))

    assert known(store, 4) == [3]


class Store(RuleBasedStateMachine):
    """Uses a store in any order, beside a model of it: two lists, the one used last at their end."""

    MAX = 3
    KEYS = st.integers(min_value=0, max_value=9)

    def __init__(self) -> None:
        super().__init__()
        self.store = StateStore(self.MAX)
        self.without: list[int] = []
        self.granted: list[int] = []
        self.fetching: dict[int, TokenState] = {}
        self.most_fetching = 0

    def make_room(self, keys: list[int]) -> None:
        while len(keys) >= self.MAX and not set(keys) <= set(self.fetching):
            keys.remove(next(number for number in keys if number not in self.fetching))

    @rule(number=KEYS)
    def use_or_add(self, number: int) -> None:
        state = self.store.get(key(number))
        home = next((keys for keys in (self.without, self.granted) if number in keys), None)
        assert (state is None) == (home is None)
        if home is None:
            self.store.add(key(number))
            self.make_room(self.without)
            home = self.without
        else:
            home.remove(number)
        home.append(number)

    @rule(number=KEYS)
    def start_fetch(self, number: int) -> None:
        state = self.store.get(key(number))
        if state is not None:
            self.use_or_add(number)
            state.fetch = FETCH
            self.fetching[number] = state
            self.most_fetching = max(self.most_fetching, len(self.fetching))

    @precondition(lambda self: self.fetching)
    @rule(data=st.data(), succeeds=st.booleans())
    def end_fetch(self, data: st.DataObject, succeeds: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.fetching)))
        state = self.fetching[number]
        assert self.store.get(key(number)) is state, "its state was dropped while its fetch was under way"
        self.use_or_add(number)
        if succeeds:
            state.granted(TOKEN)
            self.store.granted(key(number), state)
            if number in self.without:
                self.without.remove(number)
                self.make_room(self.granted)
                self.granted.append(number)
        del self.fetching[number]
        state.fetch = None

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert len(self.store) == len(self.without) + len(self.granted)
        assert len(self.without) <= max(self.MAX, self.most_fetching + 1)
        assert len(self.granted) <= max(self.MAX, self.most_fetching + 1)

    def teardown(self) -> None:
        assert known(self.store, 10) == sorted(self.without + self.granted)


TestStore = Store.TestCase


def test_who_only_looks_does_not_use_a_state() -> None:
    store = StateStore(2)
    states = [add_granted(store, key(number)) for number in range(2)]
    without = store.add(key(5))

    assert [store.peek(key(number)) for number in (0, 5, 7)] == [states[0], without, None]
    add_granted(store, key(2))

    assert known(store, 3) == [1, 2]  # the first one went all the same
