"""Toss Shopping (Korea), the "ShoppingFep API", and its test environment ("alpha"). Facts as of 2026.

The token request is a form body with a scope; one API host serves all sellers, and the token alone says who calls.
"""

from dataclasses import replace

from proxy.platforms.answers import InBody
from proxy.platforms.platform import Platform, RateLimit, TokenRequestForm

TOSS_SHOPPING = Platform(
    name="toss-shopping",
    token_url="https://oauth2.cert.toss.im/token",
    token_request=TokenRequestForm.FORM,
    credentials_place="the access key and secret key of the seller's API settings",
    scope="toss-shopping-fep:write",
    api_url="https://shopping-fep.toss.im/",
    api_prefix="api/v3/shopping-fep",
    # Integrators report about 50 reads and 30 writes a second; the lower one holds for both.
    rate_limit=RateLimit(30, per=1.0),
    # "Every answer is 200, success or failure". That a bad token is told so too is not documented: integrators see 401.
    throttled_when=(429, InBody(200, "error.errorCode", "TOO_MANY_REQUEST", not_carried_out=True)),
)

TOSS_SHOPPING_ALPHA = replace(
    TOSS_SHOPPING,
    name="toss-shopping-alpha",
    token_url="https://oauth2-alpha.cert.toss.im/token",
    api_url="https://shopping-fep-alpha.toss.im/",
)
