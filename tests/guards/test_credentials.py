"""A client's credentials are read from one Authorization field, or refused without a word of what was in it."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.guards.credentials import ShownCredentials, UnreadableCredentialsError, read_credentials

SCHEMES = {"basic": ["Basic", "basic", "BASIC", "bAsIc"], "bearer": ["Bearer", "bearer", "BEARER", "bEARer"]}
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def basic(name: bytes, secret: bytes, scheme: str = "Basic") -> bytes:
    return scheme.encode() + b" " + base64.b64encode(name + b":" + secret)


def refusal(*authorization: bytes) -> str:
    with pytest.raises(UnreadableCredentialsError) as caught:
        read_credentials(authorization)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_the_example_of_the_rfc() -> None:  # RFC 7617 §2
    assert read_credentials([b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]) == ShownCredentials(b"Aladdin", b"open sesame")


@given(
    name=st.text().map(lambda text: text.replace(":", "")), secret=st.text(), scheme=st.sampled_from(SCHEMES["basic"])
)
@example(name="ügyfél", secret="pass:with:colons", scheme="Basic")
@example(name="", secret="", scheme="basic")
def test_basic_in_utf_8_is_name_and_secret(name: str, secret: str, scheme: str) -> None:
    encoded_name, encoded_secret = name.encode("utf-8", "replace"), secret.encode("utf-8", "replace")

    assert read_credentials([basic(encoded_name, encoded_secret, scheme)]) == ShownCredentials(
        encoded_name, encoded_secret
    )


@given(name=st.binary().map(lambda name: name.replace(b":", b"")), secret=st.binary())
@example(name="ügyfél".encode("latin-1"), secret=b"\x00\xff:")
def test_basic_in_any_other_encoding_stays_the_bytes_it_is(name: bytes, secret: bytes) -> None:
    assert read_credentials([basic(name, secret)]) == ShownCredentials(name, secret)


@given(secret=SECRETS, scheme=st.sampled_from(SCHEMES["bearer"]), spaces=st.integers(1, 3))
def test_bearer_is_the_secret_alone(secret: str, scheme: str, spaces: int) -> None:
    assert read_credentials([f"{scheme}{' ' * spaces}{secret}".encode()]) == ShownCredentials(None, secret.encode())


@pytest.mark.parametrize("secret", [b"a", b"ab", b"abc", b"abcd"])
@pytest.mark.parametrize("padding", [b"", b"=", b"=="])
def test_the_padding_makes_no_difference(secret: bytes, padding: bytes) -> None:
    encoded = base64.b64encode(b"erp:" + secret).rstrip(b"=") + padding

    assert read_credentials([b"Basic " + encoded]) == ShownCredentials(b"erp", secret)


def test_no_field_is_no_credentials() -> None:
    assert read_credentials([]) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "neither"),
        (b"Basic", "colon"),
        (b"Basic ", "colon"),
        (b"Basic bm8tY29sb24=", "colon"),
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZ", "Base64"),  # no number of bytes has so many characters
        (b"Basic QWxh*GRpbjpvcGVuIHNlc2FtZQ==", "Base64"),
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==QQ", "Base64"),
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Base64"),
        (b"Basic QWxh ZGRpbjpvcGVuIHNlc2FtZQ==", "Base64"),
        (b"Basic erp:secret", "Base64"),
        (b"Basic \xc3\xbc", "Base64"),
        (b"Basic\tQWxhZGRpbjpvcGVuIHNlc2FtZQ==", "neither"),
        (b'Digest username="erp"', "neither"),
        (b"Basicc QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "neither"),
        (b"secret", "neither"),
    ],
)
def test_what_is_not_clearly_one_of_the_two_is_refused(value: bytes, reason: str) -> None:
    assert reason in refusal(value)


@given(name=SECRETS, secret=SECRETS)
def test_two_fields_are_refused_even_if_they_are_the_same(name: str, secret: str) -> None:
    one, other = basic(name.encode(), secret.encode()), b"Bearer " + secret.encode()

    assert refusal(one, one) == refusal(one, other) == refusal(other, other) == "more than one Authorization field"


@given(values=st.lists(st.binary(), max_size=3) | st.lists(st.binary().map(b"Basic ".__add__), max_size=2))
def test_whatever_comes_is_read_or_refused(values: list[bytes]) -> None:
    try:
        shown = read_credentials(values)
    except UnreadableCredentialsError as error:
        outcome = str(error)
    else:
        outcome = "none" if shown is None else "read"

    assert (outcome == "none") == (values == [])
    assert (outcome == "more than one Authorization field") == (len(values) > 1)
    assert outcome in {
        "none",
        "read",
        "more than one Authorization field",
        "neither HTTP Basic nor Bearer",
        "HTTP Basic that is not Base64",
        "HTTP Basic without a colon between name and secret",
    }


def test_credentials_do_not_show_themselves() -> None:
    assert repr(ShownCredentials(b"erp", b"s3cret")) == "ShownCredentials()"
