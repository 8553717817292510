"""The built-in platform is what Shoprenter documents."""

from proxy.platforms.batch import Batch, BatchForm
from proxy.platforms.platform import Origin, Platform, RateLimit, TokenRequestForm
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.shoprenter_scopes import SHOPRENTER_SCOPES


def test_shoprenter_is_as_documented() -> None:
    expected = Platform(
        name="shoprenter",
        token_url="https://oauth.app.shoprenter.net/{shop}/app/token",
        api_url="https://{shop}.api2.myshoprenter.hu/api/",
        token_request=TokenRequestForm.JSON,
        scope=None,
        token_params={},
        credentials_place="the API client in the shop's admin, Settings > API Settings (a platform app has its own)",
        api_prefix="",
        forwarded_headers=False,
        allow_private=False,
        answers_in_xml=True,
        hosts=("{shop}.api.myshoprenter.hu", "{shop}.api.shoprenter.hu"),
        rewrite_links=True,
        batch_path="batch",
        batch=Batch("batch", BatchForm.SHOPRENTER, 200),
        token_header="Authorization",
        token_scheme="Bearer",
        throttled_when=(429,),
        unauthorized_when=(401,),
        rate_limit=RateLimit(3, per=1.0),
        scopes=SHOPRENTER_SCOPES,
    )

    assert expected == SHOPRENTER


def test_token_and_api_are_those_of_the_shop() -> None:
    assert SHOPRENTER.token_url_for("demo") == "https://oauth.app.shoprenter.net/demo/app/token"
    assert SHOPRENTER.api_base_for("demo") == (Origin("https", "demo.api2.myshoprenter.hu", 443), b"/api/")


def test_a_shop_is_known_under_its_old_hosts_and_its_own() -> None:
    assert SHOPRENTER.hosts_for("demo") == [
        "demo.api.myshoprenter.hu",
        "demo.api.shoprenter.hu",
        "demo.api2.myshoprenter.hu",
    ]


def test_links_to_the_old_hosts_lead_to_the_api_with_its_path_or_without() -> None:
    assert SHOPRENTER.api_urls_for("demo") == [
        "https://demo.api2.myshoprenter.hu/api/",
        "https://demo.api.myshoprenter.hu/api/",
        "https://demo.api.myshoprenter.hu/",
        "https://demo.api.shoprenter.hu/api/",
        "https://demo.api.shoprenter.hu/",
    ]
