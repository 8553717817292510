"""What a shop holds before and after somebody writes to it."""

from __future__ import annotations

import pytest

from proxy.simulator.catalogue import KINDS, Catalogue, Shop

BASE = "https://demo.example/api/"
PRODUCTS = KINDS["products"]


@pytest.fixture
def shop() -> Shop:
    return Shop("demo", products=120, seed=1)


def test_the_same_shop_is_the_same_every_time(shop: Shop) -> None:
    again = Shop("demo", products=120, seed=1)
    assert [shop.item(PRODUCTS, n, BASE) for n in shop.numbers(PRODUCTS)] == [
        again.item(PRODUCTS, n, BASE) for n in again.numbers(PRODUCTS)
    ]


@pytest.mark.parametrize("other", [Shop("other", 120, 1), Shop("demo", 120, 2)])
def test_another_shop_or_seed_has_other_contents(shop: Shop, other: Shop) -> None:
    ours = [shop.item(PRODUCTS, n, BASE)["price"] for n in range(1, 20)]
    assert ours != [other.item(PRODUCTS, n, BASE)["price"] for n in range(1, 20)]


def test_ids_are_base64_as_the_platform_writes_them(shop: Shop) -> None:
    assert shop.id_of(PRODUCTS, 2451) == "cHJvZHVjdC1wcm9kdWN0X2lkPTI0NTE="


@pytest.mark.parametrize("kind_name", KINDS)
def test_every_resource_is_found_under_its_id(shop: Shop, kind_name: str) -> None:
    kind = KINDS[kind_name]
    assert [shop.find(kind, shop.id_of(kind, n)) for n in shop.numbers(kind)] == list(shop.numbers(kind))


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "no base64",
        "2451",
        "cHJvZHVjdC1wcm9kdWN0X2lkPTI0NTE=",  # product 2451, of 120
        "cHJvZHVjdC1wcm9kdWN0X2lkPTE",  # product 1, padding lost
        "Y2F0ZWdvcnktY2F0ZWdvcnlfaWQ9MQ==",  # a category
        "cHJvZHVjdC1wcm9kdWN0X2lkPTA=",  # product 0
        "cHJvZHVjdC1wcm9kdWN0X2lkPTAx",  # product 01
        "é",
    ],
)
def test_other_ids_are_not_found(shop: Shop, resource_id: str) -> None:
    assert shop.find(PRODUCTS, resource_id) is None


def test_a_written_resource_shows_strings_and_keeps_its_own_fields(shop: Shop) -> None:
    shop.write(PRODUCTS, 1, {"price": 12, "status": True, "orderable": False, "note": None})
    shop.write(PRODUCTS, 1, {"innerId": "9", "href": "x"})
    item = shop.item(PRODUCTS, 1, BASE)
    assert (item["price"], item["status"], item["orderable"], item["note"]) == ("12", "1", "0", None)
    assert (item["innerId"], item["href"]) == ("1", f"{BASE}products/{shop.id_of(PRODUCTS, 1)}")


def test_a_new_resource_with_an_outer_id_answers_to_both_ids(shop: Shop) -> None:
    own_id = Shop("demo", 121, 1).id_of(PRODUCTS, 121)
    number = shop.add(PRODUCTS, {"id": "erp-7", "sku": "X"})
    assert number == 121
    assert shop.find(PRODUCTS, "erp-7") == shop.find(PRODUCTS, own_id) == 121
    assert shop.item(PRODUCTS, 121, BASE)["href"] == f"{BASE}products/erp-7"


def test_a_removed_number_is_gone_and_not_used_again(shop: Shop) -> None:
    first = shop.add(PRODUCTS, {"id": "erp-7"})
    shop.remove(PRODUCTS, first)
    assert shop.find(PRODUCTS, "erp-7") is None
    assert first not in shop.numbers(PRODUCTS)
    assert shop.add(PRODUCTS, {}) == first + 1
    shop.remove(PRODUCTS, 1)
    assert shop.numbers(PRODUCTS)[0] == 2
    assert shop.numbers(KINDS["productDescriptions"])[0] == 2, "its description goes with it"


def test_reading_keeps_nothing_and_writing_keeps_one_shop() -> None:
    catalogue = Catalogue(products=120, seed=1)
    assert catalogue.shop("a") is not catalogue.shop("a")
    kept = catalogue.shop_to_change("a")
    assert catalogue.shop("a") is kept
    assert catalogue.shop_to_change("a") is kept


def test_a_shop_may_be_empty() -> None:
    shop = Shop("demo", products=0, seed=1)
    assert list(shop.numbers(PRODUCTS)) == []
    assert shop.add(PRODUCTS, {}) == 1
