"""The two built-in platforms are what Toss Shopping documents."""

import pytest

from proxy.platforms.answers import InBody, Meaning, Sense
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
        throttled_when=(429, InBody(200, "error.errorCode", "TOO_MANY_REQUEST", not_carried_out=True)),
        unauthorized_when=(401,),
    )
    assert platform.token_url_for("seoul") == token_url
    assert platform.api_base_for("seoul") == (Origin("https", api_host, 443), b"/")


@pytest.mark.parametrize("platform", [TOSS_SHOPPING, TOSS_SHOPPING_ALPHA])
@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (
            200,
            b'{"resultType":"FAIL","error":{"errorCode":"TOO_MANY_REQUEST","reason":"..."}}',
            Meaning(Sense.THROTTLED, not_carried_out=True),
        ),
        (200, b'{"resultType":"FAIL","error":{"errorCode":"ORDER_NOT_FOUND"}}', Meaning(Sense.ORDINARY)),
        (200, b'{"resultType":"SUCCESS","success":{"name":"TOO_MANY_REQUEST"}}', Meaning(Sense.ORDINARY)),
        (200, None, Meaning(Sense.ORDINARY)),
        (429, None, Meaning(Sense.THROTTLED, not_carried_out=True)),
        (401, None, Meaning(Sense.UNAUTHORIZED, not_carried_out=True)),
        (403, None, Meaning(Sense.ORDINARY)),
    ],
)
def test_what_its_answers_mean(platform: Platform, status: int, body: bytes | None, meaning: Meaning) -> None:
    assert platform.answers.meaning(status, body) == meaning
    assert platform.answers.looks_into(200)
