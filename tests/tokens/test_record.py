"""What is known of a token comes back from Redis as it was, in another replica's time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenRefused, TokenUnavailable
from proxy.tokens import record
from proxy.tokens.leases import LEASE
from proxy.tokens.record import SHARED_FIELDS, decode, encode
from proxy.tokens.state import CallKind, TokenState
from proxy.tokens.token import AccessToken

moments = st.just(-math.inf) | st.floats(min_value=0.0, max_value=1e6)
kinds = st.none() | st.dictionaries(
    st.builds(CallKind, st.sampled_from(["GET", "POST"]), st.binary(max_size=9)), st.floats(0.0, 1e6), max_size=4
)
tokens = st.none() | st.builds(
    AccessToken,
    st.from_regex(rb"[!-~]{1,20}( [!-~]{1,20})?", fullmatch=True),
    st.floats(0.0, 1e5),
    st.floats(0.0, 1e5),
    st.floats(1e5, 1e6),
    st.just(b"Authorization"),
    st.integers(1, 2**52),
)
errors = (
    st.none()
    | st.builds(TokenRefused, st.text(), reason=st.text())
    | st.builds(TokenUnavailable, st.text(), reason=st.text(), timed_out=st.booleans())
)
states = st.builds(
    TokenState,
    token=tokens,
    ask_not_before=moments,
    error=errors,
    failures=st.integers(0, 100),
    refused=st.booleans(),
    lease=st.integers(0, 2**52),
    leased_until=moments,
    suspect=st.none() | st.integers(0, 2**52),
    replaced=st.none() | st.integers(0, 2**52),
    suspected_until=moments,
    not_permitted_until=kinds,
    repeated_until=kinds,
)


def made(authorization: bytes, generation: float, requested_at: float, expires_at: float) -> AccessToken:
    return AccessToken(authorization, requested_at, expires_at, expires_at, b"Authorization", generation)


@given(state=states, theirs=st.floats(0.0, 1e6), ours=st.floats(0.0, 1e6))
def test_another_replica_reads_what_was_written_in_its_own_time(state: TokenState, theirs: float, ours: float) -> None:
    found = decode(encode(state, theirs), ours, 1e9, [], made)
    shift = theirs - ours

    for field in SHARED_FIELDS:
        value, expected = getattr(found, field), getattr(state, field)
        match expected:
            case float():
                assert value == expected or value == pytest.approx(expected + shift, abs=1e-4)
            case dict():
                assert value.keys() == expected.keys()
                assert all(value[kind] == pytest.approx(until + shift, abs=1e-4) for kind, until in expected.items())
            case AccessToken():
                assert (value.authorization, value.generation) == (expected.authorization, expected.generation)
                assert value.expires_at == pytest.approx(expected.expires_at + shift, abs=1e-4)
            case TokenRefused() | TokenUnavailable():
                assert type(value) is type(expected)
                assert (value.detail, value.reason, value.status) == (expected.detail, expected.reason, expected.status)
            case _:
                assert value == expected


def test_a_record_does_not_show_its_token() -> None:
    content = encode(TokenState(token=AccessToken(b"Bearer s3cret", 1.0, 2.0, 3.0, generation=7)), 0.0)

    read = repr(record._decoder.decode(content))

    assert "_Token(generation=7)" in read
    assert "s3cret" not in read


def test_a_token_that_is_known_stays_the_same_object() -> None:
    known = made(b"Bearer x", 7, 1.0, 100.0)
    other = made(b"Bearer y", 6, 1.0, 100.0)

    assert decode(encode(TokenState(token=known), 5.0), 9.0, 50.0, [None, other, known], made).token is known


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x80", b"\x81\xa8failures\xa1x"])
def test_what_is_no_record_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(content, 0.0, 0.0, [], made)


@pytest.mark.parametrize(
    "value", [b"", b"Bearer x\r\nX-Admin: yes", b"Bearer x\n", b"Bearer \xff", b" Bearer x", b"a\0"]
)
def test_what_can_not_stand_in_a_header_field_is_no_token(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"header field"):
        decode(encode(TokenState(token=made(value, 7, 1.0, 100.0)), 0.0), 0.0, 50.0, [], made)


@pytest.mark.parametrize(
    ("field", "longest"), [("ask_not_before", 60.0), ("leased_until", LEASE), ("suspected_until", 50.0)]
)
def test_what_would_last_for_longer_than_anything_does_is_of_a_clock_that_was_set_back(
    field: str, longest: float
) -> None:
    for ahead, kept in ((longest, True), (longest + 2.0, False), (3600.0, False)):
        state = TokenState()
        setattr(state, field, 1000.0 + ahead)
        found = decode(encode(state, 0.0), 0.0, 1000.0, [], made)

        assert (getattr(found, field) == 1000.0 + ahead) is kept


def test_a_token_that_comes_from_the_future_lives_from_now_on() -> None:
    content = encode(TokenState(token=made(b"Bearer x", 7, 5000.0, 8600.0)), 0.0)
    token = decode(content, 0.0, 1000.0, [], made).token

    assert token is not None
    assert (token.requested_at, token.expires_at) == (1000.0, 4600.0)
