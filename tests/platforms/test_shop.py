"""A shop is found by its name, or served by the wildcard entry."""

from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret

OWN = Credentials("own-id", Secret("own-secret"))
APP = Credentials("app-id", Secret("app-secret"))
SEOUL = Shop("seoul", "seller-7", TOSS_SHOPPING, OWN)


def test_a_named_shop_is_found_by_its_key_alone() -> None:
    shops = Shops({"seoul": SEOUL})

    assert shops.find("seoul") is SEOUL
    assert shops.find("seller-7") is None
    assert shops.find("demo") is None


def test_the_wildcard_serves_every_shop_without_an_entry_under_its_own_name() -> None:
    shops = Shops({"seoul": SEOUL}, wildcard=(SHOPRENTER, APP))

    assert shops.find("demo") == Shop("demo", "demo", SHOPRENTER, APP, by_wildcard=True)
    assert shops.find("seoul") is SEOUL


def test_a_shop_never_shows_its_secret() -> None:
    shops = Shops({"seoul": SEOUL}, wildcard=(SHOPRENTER, APP))

    assert "own-secret" not in repr(shops)
    assert "app-secret" not in repr(shops)
    assert "client_secret=[hidden]" in repr(shops)


def test_a_shop_is_counted_under_the_entry_that_serves_it() -> None:
    shops = Shops({"seoul": SEOUL}, wildcard=(SHOPRENTER, APP))
    found = [shops.find(key) for key in ("seoul", "demo", "other")]

    assert [shop.entry for shop in found if shop] == ["seoul", "*", "*"]


def test_what_mends_refused_credentials_names_the_setting_and_the_place_in_the_admin() -> None:
    shops = Shops({"seoul": SEOUL}, wildcard=(SHOPRENTER, APP))
    found = [shops.find(key) for key in ("seoul", "demo")]

    assert [shop.fix for shop in found if shop] == [
        "compare client_id and client_secret of [shops.seoul] with "
        "the access key and secret key of the seller's API settings",
        "compare client_id and client_secret of [shops.*] with "
        "the API client in the shop's admin, Settings > API Settings (a platform app has its own)",
    ]


def test_the_credentials_of_every_entry_are_listed() -> None:
    assert list(Shops({"seoul": SEOUL}).all_credentials()) == [OWN]
    assert list(Shops({"seoul": SEOUL}, wildcard=(SHOPRENTER, APP)).all_credentials()) == [OWN, APP]
