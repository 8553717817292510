"""Shoprenter (Hungary). Facts from its public API documentation, as of 2026-07.

The token request is a JSON body to a URL that names the shop; each shop's API has a host of its own. Plain `http://`
calls are answered with a 308 since 2026-09-30, so nothing here is `http`.
"""

from proxy.platforms.batch import Batch
from proxy.platforms.platform import Platform, RateLimit, TokenRequestForm
from proxy.platforms.shoprenter_scopes import SHOPRENTER_SCOPES

SHOPRENTER = Platform(
    name="shoprenter",
    token_url="https://oauth.app.shoprenter.net/{shop}/app/token",
    token_request=TokenRequestForm.JSON,
    credentials_place="the API client in the shop's admin, Settings > API Settings (a platform app has its own)",
    api_url="https://{shop}.api2.myshoprenter.hu/api/",
    # What integrations have hard-coded; paths there have no `/api` in front.
    hosts=("{shop}.api.myshoprenter.hu", "{shop}.api.shoprenter.hu"),
    # Every resource carries the API's own URLs, and `/batch` takes them.
    rewrite_links=True,
    batch_path="batch",
    batch=Batch("batch", most=200),  # "about 200"; one after another, not side by side
    answers_in_xml=True,
    scopes=SHOPRENTER_SCOPES,
    # "3 requests per application per shop per second". Whether the window slides is not documented; who keeps within
    # the sliding one keeps within every other.
    rate_limit=RateLimit(3, per=1.0),
)
