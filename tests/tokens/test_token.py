"""When a token is renewed, and when it ends, from what the platform granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.token import AccessToken, access_token

NOW = 1000.0
SECONDS = st.floats(min_value=0, max_value=1e9)


def granted(lifetime: float | None, *, max_age: float = 86400.0, refresh_margin: float = 60.0) -> AccessToken:
    return access_token("abc", requested_at=NOW, lifetime=lifetime, max_age=max_age, refresh_margin=refresh_margin)


@pytest.mark.parametrize(
    ("lifetime", "max_age", "refresh_margin", "renewed_after", "ends_after"),
    [
        pytest.param(3600.0, 86400.0, 60.0, 3540.0, 3600.0, id="the margin before its end"),
        pytest.param(None, 86400.0, 60.0, 240.0, 300.0, id="lifetime not said: five minutes"),
        pytest.param(None, 100.0, 10.0, 90.0, 100.0, id="lifetime not said, and max_age shorter"),
        pytest.param(31535999.0, 86400.0, 60.0, 86340.0, 86400.0, id="a year: max_age"),
        pytest.param(300.0, 86400.0, 60.0, 240.0, 300.0, id="the margin is just a fifth"),
        pytest.param(50.0, 86400.0, 60.0, 40.0, 50.0, id="shorter than the margin: a fifth"),
        pytest.param(1.0, 86400.0, 60.0, 0.8, 1.0, id="very short"),
        pytest.param(3600.0, 10.0, 60.0, 8.0, 10.0, id="max_age shorter than the margin"),
        pytest.param(3600.0, 86400.0, 0.0, 3600.0, 3600.0, id="no margin"),
        pytest.param(86400.0, 86400.0, 60.0, 86340.0, 86400.0, id="as long as max_age"),
    ],
)
def test_a_token_is_renewed_before_its_end(
    lifetime: float | None, max_age: float, refresh_margin: float, renewed_after: float, ends_after: float
) -> None:
    token = granted(lifetime, max_age=max_age, refresh_margin=refresh_margin)

    assert pytest.approx(NOW + renewed_after) == token.renew_at
    assert pytest.approx(NOW + ends_after) == token.expires_at


def test_a_token_is_fresh_until_it_should_be_renewed_and_not_at_that_moment() -> None:
    token = granted(3600.0)

    assert [token.is_fresh(NOW + age) for age in (0.0, 3539.9, 3540.0, 3600.0)] == [True, True, False, False]


def test_a_token_stands_in_authorization_as_bearer() -> None:
    assert granted(3600.0).authorization == b"Bearer abc"


def test_a_token_is_not_shown() -> None:
    assert "abc" not in repr(granted(3600.0))


@given(
    lifetime=st.none() | st.floats(min_value=1e-3, max_value=1e9),
    max_age=st.floats(min_value=1e-3, max_value=1e9),
    margin=SECONDS,
)
def test_a_token_is_usable_at_first_and_never_after_its_end_or_max_age(
    lifetime: float | None, max_age: float, margin: float
) -> None:
    token = granted(lifetime, max_age=max_age, refresh_margin=margin)

    assert NOW < token.renew_at <= token.expires_at
    assert token.expires_at <= NOW + min(max_age, 300.0 if lifetime is None else lifetime) + 1e-6
    assert token.is_fresh(NOW)
    assert not token.is_fresh(token.expires_at)
