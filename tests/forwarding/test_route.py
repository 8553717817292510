"""A route is worked out once for a shop, and no number of made-up shops fills the memory."""

from dataclasses import replace

import pytest

from proxy.forwarding import route
from proxy.forwarding.route import Routes
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret
from proxy.tokens.endpoint import token_request, wire_request
from proxy.wire.pool import Destination

CREDENTIALS = Credentials("id", Secret("secret"))
DEMO = Shop("demo", "demo", SHOPRENTER, CREDENTIALS)
ALIAS = Shop("alias", "real-name", SHOPRENTER, CREDENTIALS)
SEOUL = Shop("seoul", "seoul", TOSS_SHOPPING, CREDENTIALS)


def test_a_shoprenter_shop_has_a_host_of_its_own() -> None:
    found = Routes(Shops({"demo": DEMO})).find("demo")

    assert found is not None
    assert found.shop is DEMO
    assert found.destination == Destination("https", "demo.api2.myshoprenter.hu", 443, None)
    assert (found.host, found.base_path) == (b"demo.api2.myshoprenter.hu", b"/api/")
    assert found.token_request == token_request(DEMO)


def test_a_toss_shop_shares_its_host_with_all_others() -> None:
    found = Routes(Shops({"seoul": SEOUL})).find("seoul")

    assert found is not None
    assert (found.host, found.base_path) == (b"shopping-fep.toss.im", b"/")


def test_an_alias_leads_to_the_platforms_own_name() -> None:
    found = Routes(Shops({"alias": ALIAS})).find("alias")

    assert found is not None
    assert found.host == b"real-name.api2.myshoprenter.hu"
    assert wire_request(found.token_request.shop).url == "https://oauth.app.shoprenter.net/real-name/app/token"


def test_through_an_egress_proxy_a_connection_may_lead_into_the_own_network() -> None:
    proxy = EgressProxy("p.internal", 3128, no_proxy="two.api2.myshoprenter.hu")
    routes = Routes(Shops({}, wildcard=(replace(SHOPRENTER, proxy=proxy), CREDENTIALS)))
    one, two = routes.find("one"), routes.find("two")

    assert one is not None
    assert two is not None
    assert (one.destination.way, one.any_address) == (proxy, True)
    assert (two.destination.way, two.any_address) == (None, False)


def test_a_shop_has_the_urls_of_its_api_if_links_are_rewritten() -> None:
    plain = replace(DEMO, platform=replace(SHOPRENTER, rewrite_links=False))
    routes = Routes(Shops({"linked": DEMO, "plain": plain}))
    linked, passed = routes.find("linked"), routes.find("plain")

    assert linked is not None
    assert passed is not None
    assert linked.api_urls[0] == "https://demo.api2.myshoprenter.hu/api/"
    assert len(set(linked.api_urls)) == len(linked.api_urls) > 1  # the older names too
    assert passed.api_urls == ()


def test_a_route_is_worked_out_once() -> None:
    routes = Routes(Shops({"demo": DEMO}))

    assert routes.find("demo") is routes.find("demo")


def test_no_route_leads_to_an_unknown_shop() -> None:
    assert Routes(Shops({"demo": DEMO})).find("other") is None


def test_the_wildcard_leads_to_every_shop() -> None:
    routes = Routes(Shops({"alias": ALIAS}, wildcard=(SHOPRENTER, CREDENTIALS)))

    hosts = [found.host for key in ("alias", "one", "two") if (found := routes.find(key)) is not None]

    names = (b"real-name", b"one", b"two")
    assert hosts == [name + b".api2.myshoprenter.hu" for name in names]


def test_the_route_that_was_worked_out_first_makes_room_for_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_MAX_ROUTES", 2)
    routes = Routes(Shops({}, wildcard=(SHOPRENTER, CREDENTIALS)))
    first, second = routes.find("first"), routes.find("second")

    routes.find("third")

    assert routes.find("second") is second
    assert routes.find("first") is not first
    assert routes.find("first") == first


def test_named_shops_never_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_MAX_ROUTES", 0)
    routes = Routes(Shops({"demo": DEMO, "seoul": SEOUL}))
    demo, _ = routes.find("demo"), routes.find("seoul")

    assert routes.find("demo") is demo


def test_another_configuration_takes_over_the_routes_that_did_not_change() -> None:
    earlier = Routes(Shops({"demo": DEMO, "seoul": SEOUL, "gone": DEMO}))
    demo, seoul, _ = (earlier.find(key) for key in ("demo", "seoul", "gone"))
    changed = replace(SEOUL, credentials=Credentials("id", Secret("another secret")))
    routes = Routes(Shops({"demo": replace(DEMO), "seoul": changed}), earlier)

    assert routes.find("demo") is demo
    assert routes.find("seoul") not in (None, seoul)
    assert routes.find("seoul") == Routes(Shops({"seoul": changed})).find("seoul")
    assert routes.find("gone") is None
