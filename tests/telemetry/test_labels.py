"""There are few names to count under, whatever clients call."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.labels import MAX_WILDCARD_SHOPS, UNKNOWN, ShopLabels


def test_a_named_shop_is_counted_under_its_key_at_once() -> None:
    labels = ShopLabels()

    assert labels.of("demo", "demo") == "demo"
    assert labels.granted("demo", "demo") == "demo"
    assert list(labels) == []


def test_a_shop_of_the_wildcard_entry_has_a_name_of_its_own_once_it_got_a_token() -> None:
    labels = ShopLabels()

    assert labels.of("a", "*") == "*"
    assert labels.granted("a", "*") == "a"
    assert (labels.of("a", "*"), labels.of("b", "*")) == ("a", "*")
    assert list(labels) == ["a"]


def test_where_no_shop_was_found_there_is_an_empty_name() -> None:
    assert ShopLabels().of(UNKNOWN, UNKNOWN) == ""


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3 * MAX_WILDCARD_SHOPS)), max_size=1000))
def test_there_are_never_more_names_than_allowed(calls: list[tuple[bool, int]]) -> None:
    labels = ShopLabels()
    first: dict[str, None] = {}

    for granted, number in calls:
        key = f"shop-{number}"
        if granted:
            first.update({key: None} if len(first) < MAX_WILDCARD_SHOPS else {})
        label = (labels.granted if granted else labels.of)(key, "*")
        assert label == (key if key in first else "*")

    assert list(labels) == list(first)


def test_the_first_ones_keep_their_names() -> None:
    labels = ShopLabels()
    for number in range(MAX_WILDCARD_SHOPS + 50):
        labels.granted(f"shop-{number}", "*")

    assert len(list(labels)) == MAX_WILDCARD_SHOPS
    assert labels.of("shop-0", "*") == "shop-0"
    assert labels.granted(f"shop-{MAX_WILDCARD_SHOPS}", "*") == "*"
