"""The token request to the byte, and the key that it is known by."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy import __version__
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Platform, TokenRequestForm
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING, TOSS_SHOPPING_ALPHA
from proxy.tokens.endpoint import token_request, wire_request
from tests.peers import answering, serving
from tests.tokens.asking import GRANTED, asking, shop

# What form encoding, JSON and Basic each treat in a way of their own.
AWKWARD_ID = "a b+c%üß"
AWKWARD_SECRET = "s:3'c\"r&e=t/+ %é"


# The request on the wire


def on_the_wire(port: int, body: bytes, *, content_type: bytes, authorization: bytes = b"") -> bytes:
    lines = [
        b"POST /token HTTP/1.1",
        b"Host: 127.0.0.1:%d" % port,
        b"User-Agent: shop-auth-proxy/" + __version__.encode(),
        b"Accept: application/json",
        *([b"Authorization: " + authorization] if authorization else []),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    return b"\r\n".join([*lines, b"\r\n"]) + body


FORM = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("form", "changes", "content_type", "authorization", "body"),
    [
        pytest.param(
            TokenRequestForm.FORM,
            {"scope": "orders:read x", "token_params": {"audience": "https://api.example/ü"}},
            FORM,
            b"",
            b"grant_type=client_credentials&client_id=a+b%2Bc%25%C3%BC%C3%9F"
            b"&client_secret=s%3A3%27c%22r%26e%3Dt%2F%2B+%25%C3%A9"
            b"&scope=orders%3Aread+x&audience=https%3A%2F%2Fapi.example%2F%C3%BC",
            id="form",
        ),
        pytest.param(
            TokenRequestForm.JSON,
            {"scope": "orders:read", "token_params": {"audience": "x"}},
            b"application/json",
            b"",
            rb'{"grant_type": "client_credentials", "client_id": "a b+c%\u00fc\u00df", '
            rb'"client_secret": "s:3'
            rb"'c\"r&e=t/+ %\u00e9"
            rb'", "scope": "orders:read", "audience": "x"}',
            id="json",
        ),
        pytest.param(
            TokenRequestForm.BASIC,
            {"scope": "orders:read", "token_params": {"audience": "x"}},
            FORM,
            b"Basic " + base64.b64encode(b"a+b%2Bc%25%C3%BC%C3%9F:s%3A3%27c%22r%26e%3Dt%2F%2B+%25%C3%A9"),
            b"grant_type=client_credentials&scope=orders%3Aread&audience=x",
            id="basic",
        ),
        pytest.param(
            TokenRequestForm.BASIC,
            {},
            FORM,
            b"Basic " + base64.b64encode(b"a+b%2Bc%25%C3%BC%C3%9F:s%3A3%27c%22r%26e%3Dt%2F%2B+%25%C3%A9"),
            b"grant_type=client_credentials",
            id="basic without a scope",
        ),
        pytest.param(
            TokenRequestForm.BASIC_RAW,
            {"scope": "orders:read"},
            FORM,
            b"Basic " + base64.b64encode(f"{AWKWARD_ID}:{AWKWARD_SECRET}".encode()),
            b"grant_type=client_credentials&scope=orders%3Aread",
            id="basic-raw",
        ),
    ],
)
async def test_the_token_request_is_exactly_this(
    form: TokenRequestForm, changes: dict[str, Any], content_type: bytes, authorization: bytes, body: bytes
) -> None:
    async with serving(answering(GRANTED)) as peer, asking() as ask:
        asked = shop(AWKWARD_ID, AWKWARD_SECRET, token_port=peer.port, token_request=form, **changes)
        await ask.endpoint.fetch(token_request(asked))

    [received] = peer.received
    expected = on_the_wire(peer.port, body, content_type=content_type, authorization=authorization)
    assert received.head + received.body == expected


@pytest.mark.parametrize(
    ("built_in", "request_line", "content_type", "body"),
    [
        pytest.param(
            SHOPRENTER,
            b"POST /demo/app/token HTTP/1.1",
            b"application/json",
            b'{"grant_type": "client_credentials", "client_id": "my-id", "client_secret": "my-secret"}',
            id="shoprenter",
        ),
        pytest.param(
            TOSS_SHOPPING,
            b"POST /token HTTP/1.1",
            FORM,
            b"grant_type=client_credentials&client_id=my-id&client_secret=my-secret&scope=toss-shopping-fep%3Awrite",
            id="toss",
        ),
    ],
)
async def test_a_built_in_platform_gets_the_request_that_it_documents(
    built_in: Platform, request_line: bytes, content_type: bytes, body: bytes
) -> None:
    async with serving(answering(GRANTED)) as peer, asking() as ask:
        path = URL(built_in.token_url).path
        here = replace(built_in, token_url=f"http://127.0.0.1:{peer.port}{path}", allow_private=True)
        await ask.endpoint.fetch(token_request(replace(shop(), platform=here)))

    [received] = peer.received
    assert received.request_line == request_line
    assert received.values(b"Content-Type") == [content_type]
    assert received.values(b"Authorization") == []
    assert received.body == body


@pytest.mark.parametrize(
    ("of", "url"),
    [
        (SHOPRENTER, "https://oauth.app.shoprenter.net/demo/app/token"),
        (TOSS_SHOPPING, "https://oauth2.cert.toss.im/token"),
        (TOSS_SHOPPING_ALPHA, "https://oauth2-alpha.cert.toss.im/token"),
    ],
)
def test_a_built_in_platform_is_asked_where_it_documents(of: Platform, url: str) -> None:
    assert wire_request(replace(shop(), platform=of)).url == url


@given(
    client_id=st.text(st.characters(exclude_categories=["Cs"])),
    secret=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_no_character_of_the_credentials_is_lost_in_json(client_id: str, secret: str) -> None:
    request = wire_request(shop(client_id, secret, token_request=TokenRequestForm.JSON))

    document = json.loads(request.body)
    assert (document["client_id"], document["client_secret"]) == (client_id, secret)


# The key


BASE: dict[str, Any] = {"scope": "a", "token_params": {"x": "1"}}


def key(*args: Any, **changes: Any) -> bytes:
    return token_request(shop(*args, **(BASE | changes))).key


def test_the_same_ingredients_make_the_same_key() -> None:
    assert key() == key()


def test_two_shops_that_would_send_the_same_request_share_a_key() -> None:
    assert key(name="one") == key(name="two")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: key(token_url="http://127.0.0.1:1/other"), id="url"),
        pytest.param(lambda: key(token_url="http://127.0.0.1:1/{shop}"), id="the shop in the url"),
        pytest.param(lambda: key(scope="b"), id="scope"),
        pytest.param(lambda: key(scope=None), id="no scope"),
        pytest.param(lambda: key(scope=""), id="empty scope"),
        pytest.param(lambda: key(token_params={"x": "2"}), id="parameter's value"),
        pytest.param(lambda: key(token_params={"y": "1"}), id="parameter's name"),
        pytest.param(lambda: key(token_params={}), id="no parameters"),
        pytest.param(lambda: key(token_request=TokenRequestForm.JSON), id="json"),
        pytest.param(lambda: key(token_request=TokenRequestForm.BASIC), id="basic"),
        pytest.param(lambda: key(token_header="X-Token"), id="the token's header"),
        pytest.param(lambda: key(token_scheme=""), id="the token's scheme"),
    ],
)
def test_another_ingredient_makes_another_key(other: Callable[[], bytes]) -> None:
    assert other() != key()


def test_another_way_to_the_endpoint_makes_another_key() -> None:
    """A platform may grant by the address that asks."""
    url = "https://tokens.example/"
    proxies = [None, EgressProxy("a.internal", 1), EgressProxy("b.internal", 1), EgressProxy("a.internal", 2)]
    keys = {key(token_url=url, proxy=proxy) for proxy in proxies}

    assert len(keys) == len(proxies)
    assert key(token_url=url, proxy=EgressProxy("a.internal", 1, no_proxy="*")) == key(token_url=url)


def test_a_platform_counts_by_application_and_shop_whatever_the_secret() -> None:
    """Else two secrets, as while a changed one is rolled out over replicas, would have twice the limit."""

    def application(*args: Any, **changes: Any) -> bytes:
        return token_request(shop(*args, **(BASE | changes))).application

    same = {application("id", "secret"), application("id", "other"), application("id", "secret", scope="b")}
    others = {application("other", "secret"), application("id", "secret", token_url="http://127.0.0.1:1/{shop}")}

    assert len(same) == 1
    assert len(same | others) == 3


@pytest.mark.parametrize("form", TokenRequestForm)
def test_other_credentials_make_another_key_in_every_form(form: TokenRequestForm) -> None:
    pairs = [
        ("id", "secret"),
        ("other", "secret"),
        ("id", "other"),
        ("ids", "ecret"),
        ("id:secret", ""),
        ("", "id:secret"),
    ]

    assert len({key(*pair, token_request=form) for pair in pairs}) == len(pairs)


def test_a_token_from_inside_the_own_network_is_not_one_for_a_platform_that_must_not_go_there() -> None:
    urls = {"token_url": "http://tokens.example/", "api_url": "http://api.example/"}

    assert key(**urls, allow_private=True) != key(**urls, allow_private=False)


def test_a_token_request_does_not_show_the_secret() -> None:
    for form in TokenRequestForm:
        assert "my-secret" not in repr(token_request(shop(token_request=form)))
        assert "my-secret" not in repr(wire_request(shop(token_request=form)))
        assert "Basic" not in repr(wire_request(shop(token_request=form)))
