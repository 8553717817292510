"""The two built-in platforms are what Toss Shopping documents."""

import pytest

from proxy.platforms.platform import Origin, Platform, RateLimit, TokenRequestForm
from proxy.platforms.toss_shopping import TOSS_SHOPPING, TOSS_SHOPPING_ALPHA


@pytest.mark.parametrize(
    ("platform", "name", "token_url", "api_host"),
    [
        (TOSS_SHOPPING, "toss-shopping", "https://oauth2.cert.toss.im/token", "shopping-fep.toss.im"),
        (
            TOSS_SHOPPING_ALPHA,
            "toss-shopping-alpha",
            "https://oauth2-alpha.cert.toss.im/token",
            "shopping-fep-alpha.toss.im",
        ),
    ],
)
def test_toss_shopping_is_as_documented(platform: Platform, name: str, token_url: str, api_host: str) -> None:
    assert platform == Platform(
        name=name,
        token_url=token_url,
        api_url=f"https://{api_host}/",
        token_request=TokenRequestForm.FORM,
        scope="toss-shopping-fep:write",
        token_params={},
        credentials_place="the access key and secret key of the seller's API settings",
        api_prefix="api/v3/shopping-fep",
        forwarded_headers=False,
        allow_private=False,
        rate_limit=RateLimit(30, per=1.0),
    )
    assert platform.token_url_for("seoul") == token_url
    assert platform.api_base_for("seoul") == (Origin("https", api_host, 443), b"/")
