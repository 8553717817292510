"""Credentials that are probably not what they should be are told by their shape, and never shown."""

import pytest

from proxy.config.doubts import about_id, about_secret, doubts
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.secret import Secret


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ('"s3cret-0123456789"', "has quotes around it"),
        ("'s3cret-0123456789'", "has quotes around it"),
        ("“s3cret-0123456789”", "has quotes around it"),
        ("s3cret-0123456789 ", "begins or ends with a space"),
        (" s3cret-0123456789", "begins or ends with a space"),
        ("s3cret-0123456789\u00a0", "begins or ends with a space"),
        ("s3cret 0123456789", "has a space in it"),
        ("<s3cret>", "is a placeholder"),
        ("your-s3cret-here", "is a placeholder"),
        ("changeme", "is a placeholder"),
        ("REPLACE_ME", "is a placeholder"),
        ("put-the-s3cret-here", "is a placeholder"),
        ("********", "is a placeholder"),
        ("<p>s3cret</p>", "looks like HTML or XML"),
        ("the-id-of-s3cret:s3cret", "has the client_id before it"),
        ("$(cat s3cret)", "looks like a variable or a command"),
        ("env:S3CRET", "looks like a variable"),
        ("@s3cret.txt", "looks like the name of a file"),
        ("file:s3cret", "looks like the name of a file"),
        ("${S3CRET}", "looks like a variable"),
        ("$S3CRET", "looks like a variable"),
        ("%S3CRET%", "looks like a variable"),
        ("/run/secrets/s3cret", "looks like the name of a file"),
        ("./s3cret", "looks like the name of a file"),
        ("~/keys/s3cret", "looks like the name of a file"),
        ("C:\\keys\\s3cret.txt", "looks like the name of a file"),
        ("s3cret.secret", "looks like the name of a file"),
        ("client_secret = s3cret", "looks like an assignment"),
        ('client_secret="s3cret"', "looks like an assignment"),
        ("export API_KEY=s3cret", "looks like an assignment"),
        ("SHOP_AUTH_PROXY_CLIENT_SECRET=s3cret", "looks like an assignment"),
        ("client_secret: s3cret", "looks like an assignment"),
        ('{"client_secret": "s3cret"}', "looks like JSON"),
        ("https://demo.myshoprenter.hu/s3cret", "is a URL"),
        ("Bearer s3cret-0123456789", "begins with the name of an HTTP authentication scheme"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzM2NyZXQiOjF9.c2ln", "looks like an access token"),
        ("-----BEGIN PRIVATE KEY----- s3cret", "is a certificate or key"),
        ("s3cret-ő123456789", "contains characters that are not ASCII"),
        ("s3cret", "is very short"),
        ("the-id-of-s3cret", "is the same as client_id"),
    ],
)
def test_a_secret_of_an_odd_shape_is_told_without_being_shown(secret: str, told: str) -> None:
    sentence = about_secret(secret, "the-id-of-s3cret")

    assert sentence.startswith(told)
    assert "s3cret" not in sentence.lower()


@pytest.mark.parametrize(
    "secret",
    [
        "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "x3J0TqYv0eM7mVq1mC1rQyqjB0v6lX0pZ0hQ8bqkT2s",
        "q+/8Zt3bWlQ9k1==",
        "/8Zt3bWlQ9k1+aa==",
        "aB3$%-_.~!*()^&9",
        "d9428888-122b-11e1-b85c-61cd3cbb3210",
    ],
)
def test_what_platforms_give_out_is_in_no_doubt(secret: str) -> None:
    assert about_secret(secret, "an-id") == about_id(secret) == ""


@pytest.mark.parametrize(
    ("client_id", "told"),
    [
        ("0123456789abcdef", "is the one from the example"),
        ("abc def", "has a space in it"),
        (" abcdef", "begins or ends with a space"),
        ('"abcdef"', "has quotes around it"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzM2NyZXQiOjF9.c2ln", "looks like an access token"),
        ("me@example.com", "looks like an e-mail address"),
    ],
)
def test_so_is_an_id(client_id: str, told: str) -> None:
    assert about_id(client_id).startswith(told)


def test_each_doubt_is_told_with_its_place() -> None:
    odd = Credentials("0123456789abcdef", Secret("'s3cret'"))
    shops = Shops({"demo": Shop("demo", "demo", SHOPRENTER, odd)}, (SHOPRENTER, odd))

    assert list(doubts(shops)) == [
        "shops.demo.client_id: is the one from the example",
        "shops.demo.client_secret: has quotes around it, which would be part of it",
        'shops."*".client_id: is the one from the example',
        'shops."*".client_secret: has quotes around it, which would be part of it',
    ]


def test_only_a_secret_is_said_to_be_possible_from_the_environment() -> None:
    told = "looks like a variable or a command, which is not replaced"

    assert about_secret("${S3CRET}", "an-id") == f'{told}: write {{ env = "NAME" }} instead'
    assert about_id("${CLIENT_ID}") == told
