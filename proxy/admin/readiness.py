"""Whether requests are welcome, and whether a shop could be served now. Pure: from what is known.

Rules: nobody is asked for it. A shop counts as ready unless its requests would be refused at once for want of a token:
if it were unready for longer, and got no requests for that reason, nobody would find out that it has recovered.
"""

from math import ceil
from typing import NamedTuple

from proxy.tokens.status import Condition, TokenStatus


class Readiness(NamedTuple):
    """The status to answer with, and a sentence."""

    status: int
    sentence: str


def process_readiness(phase: str) -> Readiness:
    """Return whether new requests are welcome."""
    match phase:
        case "serving":
            return Readiness(200, "The proxy is ready for requests.")
        case "starting":
            return Readiness(503, "The proxy is starting.")
    return Readiness(503, "The proxy is shutting down: it finishes the requests in flight; send new ones elsewhere.")


def shop_readiness(shop: str, token: TokenStatus, fix: str) -> Readiness:
    """Return whether the shop could be served now; `fix` is what helps if its credentials are refused."""
    if token.left is not None:
        return Readiness(200, f"{shop} can be served: it has a token that is valid for {token.left:.0f} s.")
    refused = token.condition is Condition.REFUSED
    if not token.servable:
        wait = f"The first request after {ceil(token.asked_again_in)} s will ask again."
        return Readiness(
            503, f"{shop} can't be served: {token.detail}{f' To fix it: {fix}.' if refused else ''} {wait}"
        )
    if token.detail:
        return Readiness(
            200,
            f"{shop} can be served, as far as is known: {token.detail} But that was a while ago, and the next request"
            " will ask again.",
        )
    if token.condition is Condition.REFRESHING:
        return Readiness(200, f"{shop} can be served: its token is being fetched.")
    return Readiness(200, f"{shop} can be served, as far as is known: the next request will fetch a token.")
