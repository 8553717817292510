"""When a token is refreshed, and when it ends, from what the platform granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.token import AccessToken, access_token

NOW = 1000.0


def granted(
    lifetime: float | None,
    *,
    max_age: float = 86400.0,
    refresh_margin: float = 60.0,
    chance: float = 0.0,
    header: str = "Authorization",
    scheme: str = "Bearer",
) -> AccessToken:
    return access_token(
        "abc",
        requested_at=NOW,
        lifetime=lifetime,
        max_age=max_age,
        refresh_margin=refresh_margin,
        chance=chance,
        header=header,
        scheme=scheme,
    )


@pytest.mark.parametrize(
    ("lifetime", "max_age", "refresh_margin", "refresh_after", "ends_after"),
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
def test_a_token_is_refreshed_before_its_end(
    lifetime: float | None, max_age: float, refresh_margin: float, refresh_after: float, ends_after: float
) -> None:
    token = granted(lifetime, max_age=max_age, refresh_margin=refresh_margin)

    assert token.requested_at == NOW
    assert pytest.approx(NOW + refresh_after) == token.refresh_at
    assert pytest.approx(NOW + ends_after) == token.expires_at


@pytest.mark.parametrize(
    ("lifetime", "margin"), [(3600.0, 60.0), (100.0, 20.0)], ids=["the margin", "a fifth of the lifetime"]
)
@pytest.mark.parametrize(("chance", "of_it"), [(0.0, 1.0), (0.5, 0.95), (1.0, 0.9)])
def test_chance_shortens_the_margin_by_up_to_a_tenth(
    lifetime: float, margin: float, chance: float, of_it: float
) -> None:
    token = granted(lifetime, chance=chance)

    assert pytest.approx(margin * of_it) == token.expires_at - token.refresh_at
    assert token.expires_at == NOW + lifetime


def test_a_token_stands_in_authorization_as_bearer() -> None:
    assert granted(3600.0).authorization == b"Bearer abc"
    assert granted(3600.0).line == b"Authorization: Bearer abc\r\n"


@pytest.mark.parametrize(
    ("header", "scheme", "value"),
    [
        ("X-Shopify-Access-Token", "", b"abc"),
        ("Authorization", "token", b"token abc"),
        ("authorization", "", b"abc"),
        ("X-Api-Key", "Key", b"Key abc"),
    ],
)
def test_a_token_stands_where_the_platform_wants_it(header: str, scheme: str, value: bytes) -> None:
    token = granted(3600.0, header=header, scheme=scheme)

    assert token.authorization == value
    assert token.line == b"%s: %s\r\n" % (header.encode(), value)


def test_a_token_is_not_shown() -> None:
    assert "abc" not in repr(granted(3600.0))
    assert "abc" not in repr(granted(3600.0, header="X-Api-Key", scheme=""))


def test_two_tokens_of_the_same_text_are_two_tokens() -> None:
    # A platform may grant the same text again; the one that a 401 came for is still another one.
    assert granted(3600.0) != granted(3600.0)


@given(
    lifetime=st.none() | st.floats(min_value=1e-3, max_value=1e9),
    max_age=st.floats(min_value=1e-3, max_value=1e9),
    margin=st.floats(min_value=0, max_value=1e9),
    chance=st.floats(min_value=0, max_value=1),
)
def test_a_token_is_refreshed_in_the_last_fifth_of_its_time_and_ends_with_it(
    lifetime: float | None, max_age: float, margin: float, chance: float
) -> None:
    token = granted(lifetime, max_age=max_age, refresh_margin=margin, chance=chance)
    time = min(max_age, 300.0 if lifetime is None else lifetime)

    assert token.expires_at == NOW + time
    assert NOW < token.refresh_at <= token.expires_at
    rounding = 1e-6 * (1 + time)
    assert token.refresh_at >= NOW + time * 0.8 - rounding
    assert token.refresh_at >= token.expires_at - margin - rounding
