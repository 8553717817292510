"""What all share is divided so that nobody takes all of it, and nothing is lost on the way."""

from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ClientOverloaded, Overloaded, ShopOverloaded
from proxy.guards.budgets import Budget, Budgets, Holding


def budget(total: int, share: float = 0.5) -> Budget:
    made = Budget("the request slots", "server.max_requests")
    made.keep_to(total, share)
    return made


def fill(of: Budget, client: Hashable, shop: Hashable = None, *, amount: int = 1) -> tuple[int, type[Overloaded]]:
    """Take as often as that goes; return how often that was, and what it was refused with."""
    times = 0
    while True:
        try:
            of.take(client, shop, amount)
        except Overloaded as error:
            return times, type(error)
        times += 1


@pytest.mark.parametrize(
    ("total", "share", "most"),
    [(1000, 0.5, 500), (10, 0.5, 5), (3, 0.5, 2), (2, 0.5, 1), (1, 0.5, 1), (1000, 0.75, 750), (1000, 0.2, 200)],
)
def test_one_alone_has_its_part(total: int, share: float, most: int) -> None:
    assert fill(budget(total, share), "erp")[0] == fill(budget(total, share), None, "demo")[0] == most
    assert budget(total, share).of_one == most
    budget(total, share).take("erp", None, most)


def test_who_is_refused_learns_whose_share_it_was_and_when_to_come_again() -> None:
    of_client, of_shop, none = budget(10), budget(10), budget(0)
    assert (fill(of_client, "erp")[1], fill(of_shop, None, "demo")[1]) == (ClientOverloaded, ShopOverloaded)

    with pytest.raises(ClientOverloaded) as caught:
        of_client.take("erp", "demo")
    assert (
        str(caught.value)
        == "This client has used up its share of the request slots (server.max_requests, server.max_share)."
    )
    assert caught.value.retry_after == 1.0
    with pytest.raises(ShopOverloaded) as caught_for_shop:
        of_shop.take("erp", "demo")
    assert str(caught_for_shop.value).startswith("This shop has used up its share of the request slots (")
    with pytest.raises(Overloaded, match=r"^The proxy has used up the request slots \(server\.max_requests\)\.$"):
        none.take("erp", None)


def test_with_a_share_of_one_nothing_is_divided() -> None:
    assert fill(budget(10, 1.0), "erp", "demo") == (10, Overloaded)


def test_each_next_one_has_half_of_what_is_left_and_there_is_something_left() -> None:
    tested = budget(1000)

    assert [fill(tested, name)[0] for name in "abcdefgh"] == [500, 250, 125, 63, 31, 16, 8, 4]
    assert fill(tested, "another")[0] > 0


def test_who_came_first_gets_no_more_while_others_hold_theirs_and_again_when_they_have_gone() -> None:
    tested = budget(12)
    for _ in range(3):
        tested.take("a", None)
        tested.take("b", None)
    assert fill(tested, "a")[0] == 2  # 5, with 4 free
    for _ in range(3):
        tested.give("b", None)
    assert fill(tested, "a")[0] == 1


def test_a_client_and_a_shop_of_one_name_are_two() -> None:
    tested = budget(10)
    assert fill(tested, "demo")[0] == 5
    tested.take("other", "demo")


def test_what_has_no_client_and_no_shop_is_bounded_by_the_whole() -> None:
    assert fill(budget(10), None) == (10, Overloaded)


def test_what_is_refused_to_a_shop_is_not_counted_for_its_client() -> None:
    tested = budget(10)
    fill(tested, None, "hung")
    with pytest.raises(ShopOverloaded):
        tested.take("erp", "hung")

    assert tested.taken == 5
    assert fill(tested, "erp")[0] == 3  # of 5 that are left


def test_an_amount_counts_as_a_whole() -> None:
    tested = budget(100)
    assert fill(tested, "erp", amount=30) == (1, ClientOverloaded)
    tested.take("erp", None, 20)
    with pytest.raises(ClientOverloaded):
        tested.take("erp", None, 2)
    tested.take("erp", None, 0)


def test_another_total_holds_at_once_and_what_is_given_out_stays() -> None:
    tested = budget(10)
    fill(tested, "erp")
    tested.keep_to(4, 0.5)
    assert (tested.taken, tested.free) == (5, -1)
    with pytest.raises(Overloaded):
        tested.take("other", None)
    tested.keep_to(100, 0.5)
    assert fill(tested, "erp")[0] == 45


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[bool, str | None, str | None, int]]:
    step = st.tuples(
        st.booleans(), st.sampled_from([None, "a", "b"]), st.sampled_from([None, "s", "t"]), st.integers(1, 5)
    )
    return draw(st.lists(step, max_size=60))


@given(steps=steps(), total=st.integers(0, 30), share=st.sampled_from([0.2, 0.5, 0.9, 1.0]))
def test_whatever_is_taken_and_given_the_sums_are_right(
    steps: list[tuple[bool, str | None, str | None, int]], total: int, share: float
) -> None:
    tested = budget(total, share)
    held: list[tuple[str | None, str | None, int]] = []
    for takes, client, shop, amount in steps:
        if takes:
            free = tested.free
            of_client = Counter({client: sum(each[2] for each in held if each[0] == client)})[client]
            of_shop = Counter({shop: sum(each[2] for each in held if each[1] == shop)})[shop]
            try:
                tested.take(client, shop, amount)
            except Overloaded:
                assert tested.free == free
            else:
                held.append((client, shop, amount))
                assert tested.free == free - amount >= 0
                for holder, before in ((client, of_client), (shop, of_shop)):
                    assert holder is None or (before + amount) * (1 - share) <= share * (free - amount + 1) + 1e-9
        elif held:
            tested.give(*held.pop(0))
        assert tested.taken == sum(amount for _, _, amount in held)
    for each in held:
        tested.give(*each)
    assert (tested.taken, tested._of_clients, tested._of_shops) == (0, {}, {})


# What one request holds


def budgets(places: int = 10, memory: int = 1000, spool: int = 1000) -> Budgets:
    made = Budgets()
    made.keep_to(places=places, memory=memory, spool=spool, share=0.5)
    return made


def test_a_place_counts_for_the_client_first_and_for_the_shop_from_when_it_is_waited_for() -> None:
    tested = budgets(places=8)
    arriving = [Holding(tested, "a") for _ in range(4)]
    with pytest.raises(ClientOverloaded):
        Holding(tested, "a")
    other = Holding(tested, "b")
    other.shop = "demo"
    other.begin()
    for holding in arriving:
        holding.shop = "demo"
    for holding in arriving[:3]:
        holding.begin()  # 4 of 8 for the shop, and 3 places are free besides the one that is asked for
    with pytest.raises(ShopOverloaded):
        arriving[3].begin()
    arriving[3].begin(instead=True)

    for holding in (*arriving, other):
        holding.give_back()
    assert tested.places.taken == 0
    assert (tested.places._of_clients, tested.places._of_shops) == ({}, {})


def test_shops_of_one_platform_have_its_share_together_and_those_of_another_the_rest() -> None:
    tested = budgets(places=8)

    def begun(shop: str, platform: str | None, *, instead: bool = False) -> Holding:
        holding = Holding(tested, shop)
        holding.shop, holding.platform = shop, platform
        try:
            holding.begin(instead=instead)
        except ShopOverloaded:
            holding.give_back()
            raise
        return holding

    of_one = [begun(f"one-{number}", "one") for number in range(4)]
    with pytest.raises(ShopOverloaded, match="This platform has used up its share"):
        begun("one-4", "one")
    with of_one[0].waiting_for_client(10):
        of_one.append(begun("one-4", "one"))
    of_one.append(begun("one-5", "one", instead=True))
    others = [begun("two-0", "two"), begun("alone", None)]
    assert tested.places._of_platforms == {"one": 6, "two": 1}
    assert tested.places.refused == {"shop": 1}

    for holding in (*of_one, *others):
        holding.give_back()
    places = tested.places
    assert (places.taken, places._of_shops, places._of_platforms) == (0, {}, {})


def test_all_that_a_request_holds_is_given_back() -> None:
    tested = budgets()
    holding = Holding(tested, "a")
    holding.shop = "demo"
    holding.memory(300)
    holding.memory(-100)
    holding.spool(400)
    with holding.waiting_for_client(50):
        assert (tested.places.taken, tested.memory.taken, tested.spool.taken) == (1, 250, 400)
    holding.give_back()

    for each in (tested.places, tested.memory, tested.spool):
        assert (each.taken, each._of_clients, each._of_shops) == (0, {}, {})


def test_who_has_its_share_of_the_memory_by_what_it_does_not_read_gets_no_place_and_others_do() -> None:
    tested = budgets(memory=1000)
    slow = Holding(tested, "slow")
    with slow.waiting_for_client(500):
        Holding(tested, "slow").give_back()
    with slow.waiting_for_client(502):
        with pytest.raises(ClientOverloaded):
            Holding(tested, "slow")
        Holding(tested, "other").give_back()
    with slow.waiting_for_client(1001), pytest.raises(Overloaded):
        Holding(tested, "other")
    Holding(tested, "slow").give_back()
    assert (tested.places.taken, tested.memory.taken) == (1, 0)


@pytest.mark.parametrize(("client", "room_for_others"), [("slow", 4), (None, 3)])
def test_a_shop_is_not_waited_for_while_its_client_does_not_read(client: str | None, room_for_others: int) -> None:
    """A client that is nobody's has no share, so that this would be bounded by nothing."""
    tested = budgets(places=8)
    slow = Holding(tested, client)
    slow.shop = "demo"
    slow.begin()
    with slow.waiting_for_client(10):
        others = [Holding(tested, None) for _ in range(room_for_others)]
        for other in others:
            other.shop = "demo"
            other.begin()
        assert tested.places._of_shops == {"demo": 4}
    assert tested.places._of_shops == {"demo": room_for_others + 1}
    for each in (*others, slow):
        each.give_back()
    assert (tested.places.taken, tested.places._of_shops) == (0, {})
