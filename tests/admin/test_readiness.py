"""Whether requests are welcome; a shop whose credentials are refused is not unready for ever."""

import pytest

from proxy.admin.readiness import process_readiness, shop_readiness
from proxy.tokens.status import NOTHING_KNOWN, TokenStatus
from tests.admin.shops import GOOD, REFRESHING, REFUSED, UNREACHABLE


@pytest.mark.parametrize(("phase", "status"), [("starting", 503), ("serving", 200), ("draining", 503)])
def test_requests_are_welcome_while_it_serves(phase: str, status: int) -> None:
    ready = process_readiness(phase)

    assert ready.status == status
    assert ready.sentence.endswith(".")


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [
        (NOTHING_KNOWN, 200, "as far as is known"),
        (GOOD, 200, "3000 s"),
        (GOOD._replace(left=0.0), 200, "0 s"),
        (REFRESHING, 200, "30 s"),
        (REFRESHING._replace(age=None, left=None), 200, "being fetched"),
        (UNREACHABLE, 200, "540 s"),  # the old token serves
        (
            UNREACHABLE._replace(age=None, left=None),
            503,
            "There was no answer. The first request after 7 s will ask again.",
        ),
        (REFUSED, 503, "To fix it: look at the secret. The first request after 42 s will ask again."),
        (REFUSED._replace(asked_again_in=0.2), 503, "The first request after 1 s will ask again."),
        (REFUSED._replace(asked_again_in=0.0), 200, "the next request will ask again"),
    ],
)
def test_a_shop_is_unready_only_while_its_requests_would_fail_at_once(
    token: TokenStatus, status: int, words: str
) -> None:
    ready = shop_readiness("demo", token, "look at the secret")

    assert ready.status == status
    assert ready.sentence.startswith("demo ")
    assert words in ready.sentence
    assert "invalid_client" not in ready.sentence  # the endpoint's own words are for the status page
