"""What is rewritten for a shop and a base is worked out once, and only so much is kept; links in header fields too."""

import pytest

from proxy.links import shop_links
from proxy.links.api_links import ApiLinks
from proxy.links.shop_links import LINK_FIELDS, LinksOfShops, ShopLinks

API = ("https://demo.example/api/", "https://demo.old.example/")
BASE = "http://proxy:8080/demo"


def found(links: LinksOfShops, base: str, key: str = "demo") -> ShopLinks | None:
    return links.find(key, API, b"/api/", base)


def test_links_are_worked_out_once_for_a_shop_and_a_base() -> None:
    links = LinksOfShops()

    first = found(links, "http://proxy/demo")

    assert first is not None
    assert found(links, "http://proxy/demo") is first
    assert found(links, "http://other/demo") is not first
    assert found(links, "http://proxy/demo", "second") is not first


def test_of_the_shops_those_used_least_recently_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_links, "_MAX_SHOPS", 3)
    links = LinksOfShops()
    kept = [found(links, "http://proxy", f"s{number}") for number in range(3)]
    assert found(links, "http://proxy", "s0") is kept[0]

    found(links, "http://proxy", "s3")

    assert found(links, "http://proxy", "s0") is kept[0]
    assert found(links, "http://proxy", "s1") is not kept[1]


def test_of_the_bases_of_a_shop_few_are_kept() -> None:
    links = LinksOfShops()
    first = found(links, "http://proxy/demo")
    other = found(links, "http://proxy/other", "other")

    for number in range(shop_links._MAX_BASES):
        found(links, f"http://proxy{number}/demo")

    assert found(links, "http://proxy/demo") is not first
    assert found(links, "http://proxy/other", "other") is other


@pytest.mark.parametrize(
    "base", ["", "http:///demo", 'http://a"b/demo', "http://<b>/demo", f"http://{'a' * 300}/demo", "http://a b/demo"]
)
def test_a_base_that_can_not_stand_in_a_text_means_no_rewriting(base: str) -> None:
    assert found(LinksOfShops(), base) is None


def test_a_platform_may_do_without() -> None:
    assert LinksOfShops().find("demo", (), b"/api/", "http://proxy/demo") is None


def test_both_ways_are_the_same_shop_s() -> None:
    links = ShopLinks(ApiLinks(API), b"/api/", BASE)

    there = links.to_client.rewrite(b'"https://demo.example/api/x"')

    assert there == b'"http://proxy:8080/demo/x"'
    assert links.to_platform.rewrite(there) == b'"https://demo.example/api/x"'


# Header fields of answers


def test_the_fields_with_links() -> None:
    assert {b"location", b"content-location", b"link", b"refresh"} == LINK_FIELDS


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        (b"location", b"https://demo.example/api/x", b"http://proxy:8080/demo/x"),
        (b"location", b"//demo.example/api/x", b"//proxy:8080/demo/x"),
        (b"location", b"//demo.old.example", b"//proxy:8080/demo"),
        (b"location", b"//other.example/api/x", b"//other.example/api/x"),
        (b"location", b"/api/x", b"http://proxy:8080/demo/x"),
        (b"location", b"/api", b"http://proxy:8080/demo"),
        (b"location", b"/apix", b"/apix"),
        (b"location", b"/x", b"/x"),
        (b"location", b"", b""),
        (b"content-location", b"/api?page=2", b"http://proxy:8080/demo?page=2"),
        (b"content-location", b"x/api/", b"x/api/"),
        (
            b"link",
            b'<//demo.example/api/x>; rel="next", </api/y>;rel=last,<//demo.old.example/z>',
            b'<//proxy:8080/demo/x>; rel="next", <http://proxy:8080/demo/y>;rel=last,<//proxy:8080/demo/z>',
        ),
        (b"refresh", b"5; url=https://demo.example/api/x?a=b", b"5; url=http://proxy:8080/demo/x?a=b"),
        (b"refresh", b"0;URL='https://demo.old.example/x'", b"0;URL='http://proxy:8080/demo/x'"),
        (b"refresh", b"5;https://demo.example/api", b"5;http://proxy:8080/demo"),
        (b"refresh", b"5, url=//demo.example/api/", b"5, url=//proxy:8080/demo/"),
        (b"refresh", b"0.5; url = /api/x", b"0.5; url = http://proxy:8080/demo/x"),
        (b"refresh", b'5; url="/api"', b'5; url="http://proxy:8080/demo"'),
        (b"refresh", b"5; url=/x", b"5; url=/x"),
        (b"refresh", b"5; url=//api/x", b"5; url=//api/x"),
        (b"refresh", b"5", b"5"),
    ],
)
def test_a_field_s_links_lead_to_the_proxy(name: bytes, value: bytes, becomes: bytes) -> None:
    assert ShopLinks(ApiLinks(API), b"/api/", BASE).in_field(name, value) == becomes


@pytest.mark.parametrize(
    ("value", "becomes"),
    [(b"5; url=/x", b"5; url=http://proxy:8080/demo/x"), (b"5; url=//x", b"5; url=//x"), (b"5; url=x", b"5; url=x")],
)
def test_where_the_api_is_at_the_root_all_paths_are_its_own(value: bytes, becomes: bytes) -> None:
    assert ShopLinks(ApiLinks(["https://demo.example"]), b"/", BASE).in_field(b"refresh", value) == becomes
