"""What is rewritten for a shop and a base is worked out once, and only so much is kept."""

import pytest

from proxy.forwarding import rewriting
from proxy.forwarding.rewriting import LinksOfShops
from proxy.forwarding.route import Route, Routes
from proxy.platforms.shop import Shops
from tests.proxies import platform, shop


def route(key: str = "demo", *, rewrite_links: bool = True) -> Route:
    found = Routes(Shops({key: shop(key, platform(1, 2, rewrite_links=rewrite_links))})).find(key)
    assert found is not None
    return found


def test_links_are_worked_out_once_for_a_shop_and_a_base() -> None:
    links = LinksOfShops()

    first = links.find(route(), "http://proxy/demo")

    assert first is not None
    assert links.find(route(), "http://proxy/demo") is first
    assert links.find(route(), "http://other/demo") is not first
    assert links.find(route("second"), "http://proxy/demo") is not first


def test_of_the_shops_those_used_least_recently_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_MAX_SHOPS", 3)
    links = LinksOfShops()
    kept = [links.find(route(f"s{number}"), "http://proxy") for number in range(3)]
    assert links.find(route("s0"), "http://proxy") is kept[0]

    links.find(route("s3"), "http://proxy")

    assert links.find(route("s0"), "http://proxy") is kept[0]
    assert links.find(route("s1"), "http://proxy") is not kept[1]


def test_of_the_bases_of_a_shop_few_are_kept() -> None:
    links = LinksOfShops()
    first = links.find(route(), "http://proxy/demo")
    other = links.find(route("other"), "http://proxy/other")

    for number in range(rewriting._MAX_BASES):
        links.find(route(), f"http://proxy{number}/demo")

    assert links.find(route(), "http://proxy/demo") is not first
    assert links.find(route("other"), "http://proxy/other") is other


@pytest.mark.parametrize(
    "base", ["", "http:///demo", 'http://a"b/demo', "http://<b>/demo", f"http://{'a' * 300}/demo", "http://a b/demo"]
)
def test_a_base_that_can_not_stand_in_a_text_means_no_rewriting(base: str) -> None:
    assert LinksOfShops().find(route(), base) is None


def test_a_platform_may_do_without() -> None:
    assert LinksOfShops().find(route(rewrite_links=False), "http://proxy/demo") is None
