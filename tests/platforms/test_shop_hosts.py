"""Which shop a host name stands for, and which it does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.platforms.platform import Credentials, Platform, is_shop_name
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shop_hosts import HostedShop, ShopHosts
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret

APP = Credentials("id", Secret("s3cret"))
OLD_HOST = "demo.api.myshoprenter.hu"


def platform(*hosts: str, api_url: str = "https://api.example.com/") -> Platform:
    return Platform(name="mine", token_url="https://auth.example.com/", api_url=api_url, hosts=hosts)


def hosts_of(*shops: Shop, wildcard: Platform | None = None) -> ShopHosts:
    return ShopHosts(Shops({shop.key: shop for shop in shops}, (wildcard, APP) if wildcard else None))


def shop(key: str, of: Platform = SHOPRENTER, *, name: str | None = None) -> Shop:
    return Shop(key, name or key, of, APP)


@pytest.mark.parametrize("host", [OLD_HOST, "demo.api.shoprenter.hu", "demo.api2.myshoprenter.hu"])
@pytest.mark.parametrize("by_wildcard", [False, True])
def test_every_host_of_a_platform_stands_for_the_shop_that_it_names(host: str, by_wildcard: bool) -> None:
    hosts = hosts_of(wildcard=SHOPRENTER) if by_wildcard else hosts_of(shop("demo"))

    assert hosts.find(host) == HostedShop("demo", b"/api/")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "demo",
        "api.myshoprenter.hu",
        ".api.myshoprenter.hu",
        "-demo.api.myshoprenter.hu",
        "demo-.api.myshoprenter.hu",
        "a.b.api.myshoprenter.hu",
        "demo.api.myshoprenter.hu.evil.example",
        "demo.api.myshoprenter.hu:80",
        "demoxapi.myshoprenter.hu",
        "demo_2.api.myshoprenter.hu",
        f"{'a' * 64}.api.myshoprenter.hu",
        "demo.api.myshoprenter.hu\n",
        "demo.myshoprenter.hu",
        "demo.api3.myshoprenter.hu",
        "oauth.app.shoprenter.net",
        "{shop}.api.myshoprenter.hu",
        "[::1]",
    ],
)
def test_no_other_host_stands_for_a_shop(host: str) -> None:
    assert hosts_of(shop("demo"), wildcard=SHOPRENTER).find(host) is None


def test_without_the_wildcard_only_named_shops_have_hosts() -> None:
    assert hosts_of(shop("demo")).find("other.api.myshoprenter.hu") is None


def test_a_host_bears_the_platforms_name_for_the_shop_and_leads_to_its_key() -> None:
    hosts = hosts_of(shop("main", name="demo"))

    assert hosts.find(OLD_HOST) == HostedShop("main", b"/api/")
    assert hosts.find("main.api.myshoprenter.hu") is None


@pytest.mark.parametrize("keys", [("alias", "demo"), ("demo", "alias")])
def test_of_two_entries_for_a_shop_the_one_under_its_own_name_counts(keys: tuple[str, str]) -> None:
    found = hosts_of(*(shop(key, name="demo") for key in keys)).find(OLD_HOST)

    assert found == HostedShop("demo", b"/api/")


def test_of_two_aliases_the_earlier_one_counts() -> None:
    found = hosts_of(shop("b", name="demo"), shop("a", name="demo")).find(OLD_HOST)

    assert found == HostedShop("b", b"/api/")


def test_an_alias_comes_before_the_wildcard() -> None:
    hosts = hosts_of(shop("main", name="demo"), wildcard=SHOPRENTER)

    assert hosts.find(OLD_HOST) == HostedShop("main", b"/api/")
    assert hosts.find("other.api.myshoprenter.hu") == HostedShop("other", b"/api/")


@pytest.mark.parametrize("taken", [shop("demo", TOSS_SHOPPING), shop("demo", name="another")])
def test_a_shop_of_the_wildcard_whose_key_another_shop_has_is_not_mistaken_for_that_one(taken: Shop) -> None:
    # As in the path: /demo/ is the other shop, and nothing leads to this one.
    assert hosts_of(taken, wildcard=SHOPRENTER).find(OLD_HOST) is None


def test_a_host_without_a_placeholder_stands_for_the_one_shop_of_its_platform() -> None:
    hosts = hosts_of(shop("seoul", platform("old.example.com", api_url="https://api.example.com/v1")))

    assert hosts.find("old.example.com") == HostedShop("seoul", b"/v1/")
    assert hosts.find("api.example.com") is None  # it is the host of all its shops


def test_for_the_wildcard_a_host_without_a_placeholder_stands_for_nothing() -> None:
    assert hosts_of(wildcard=platform("old.example.com")).find("old.example.com") is None


def test_a_host_that_two_platforms_have_leads_to_the_shop_of_the_earlier_entry() -> None:
    one, two = platform("{shop}.old.example.com"), platform("{shop}.old.example.com", "demo.older.example.com")

    hosts = hosts_of(shop("a", one, name="demo"), shop("b", two, name="demo"))

    assert hosts.find("demo.old.example.com") == HostedShop("a", b"/")
    assert hosts.find("demo.older.example.com") == HostedShop("b", b"/")


@pytest.mark.parametrize(
    ("template", "host", "key"),
    [
        ("shop-{shop}.example.com", "shop-demo.example.com", "demo"),
        ("shop-{shop}.example.com", "shop-shop-a.example.com", "shop-a"),
        ("{shop}.{shop}.example.com", "demo.demo.example.com", "demo"),
        ("{shop}.{shop}.example.com", "demo.other.example.com", None),
        ("{shop}{shop}.example.com", "abab.example.com", "ab"),
        ("{shop}{shop}.example.com", "aba.example.com", None),
        ("{shop}.{shop}2.example.com", "demo.demo2.example.com", "demo"),
        ("{shop}-{shop}0.example.com", "a-b-a-b0.example.com", "a-b"),
        ("{shop}.a-b_c.example.com", "demo.a-b_c.example.com", "demo"),
    ],
)
def test_a_placeholder_may_stand_anywhere_and_more_than_once(template: str, host: str, key: str | None) -> None:
    found = hosts_of(wildcard=platform(template)).find(host)

    assert found == (key and HostedShop(key, b"/"))


LABELS = st.sampled_from(["a", "b-", "-c", "0", "1", "_x", "."])
TEMPLATES = st.lists(LABELS | st.just("{shop}"), max_size=6).map(lambda parts: "".join([*parts, ".example"]))
NAMES = st.text("ab-01", min_size=1, max_size=63).filter(lambda name: is_shop_name(name.encode()))


@settings(deadline=None)
@given(TEMPLATES, NAMES)
def test_the_wildcard_finds_by_a_template_what_is_found_by_name(template: str, name: str) -> None:
    try:
        mine = platform(template)
    except ValueError:
        return
    [host] = mine.hosts_for(name)

    by_wildcard, by_name = hosts_of(wildcard=mine).find(host), hosts_of(shop(name, mine)).find(host)

    assert by_name == HostedShop(name, b"/")
    assert by_wildcard == (by_name if "{shop}" in template else None)
