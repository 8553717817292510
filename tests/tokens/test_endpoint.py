"""The token request to the byte, and what is made of each answer to it."""

import asyncio
import base64
import gzip
import json
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy import __version__
from proxy.app import open_connections
from proxy.config import UpstreamConfig
from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.platforms.platform import Credentials, Platform, TokenRequestForm
from proxy.platforms.shop import Shop
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING, TOSS_SHOPPING_ALPHA
from proxy.secret import Secret
from proxy.tokens.endpoint import TokenEndpoint, TokenGrant, TokenRequest, read_answer, token_request
from tests.peers import Connection, Script, answering, response, serving, token_response
from tests.proxies import platform

TOKEN = "live-token-of-the-shop"
GRANTED = token_response(TOKEN)
# What form encoding, JSON and Basic each treat in a way of their own.
AWKWARD_ID = "a b+c%üß"
AWKWARD_SECRET = "s:3'c\"r&e=t/+ %é"


def shop(
    client_id: str = "my-id", secret: str = "my-secret", *, name: str = "demo", token_port: int = 1, **changes: Any
) -> Shop:
    return Shop(name, name, platform(token_port, 1, **changes), Credentials(client_id, Secret(secret)))


@dataclass(slots=True)
class Asking:
    """An endpoint that is asked over real sockets, as the proxy does it."""

    endpoint: TokenEndpoint
    concealed: list[str] = field(default_factory=list)

    async def refusal(self, request: TokenRequest) -> TokenError:
        with pytest.raises(TokenError) as caught:
            await self.endpoint.fetch(request)
        return caught.value


@asynccontextmanager
async def asking(fetch_timeout: float = 20.0) -> AsyncIterator[Asking]:
    concealed: list[str] = []
    async with open_connections(UpstreamConfig()) as connections:
        endpoint = TokenEndpoint(connections.sessions, fetch_timeout=fetch_timeout, conceal=concealed.append)
        yield Asking(endpoint, concealed)


async def refused(script: Script, *, fetch_timeout: float = 20.0) -> TokenError:
    """The error that comes of an endpoint that does what `script` says."""
    async with serving(script) as peer, asking(fetch_timeout) as ask:
        error = await ask.refusal(token_request(shop(token_port=peer.port)))
    assert ask.concealed == []
    return error


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
    assert token_request(replace(shop(), platform=of)).url == url


@given(
    client_id=st.text(st.characters(exclude_categories=["Cs"])),
    secret=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_no_character_of_the_credentials_is_lost_in_json(client_id: str, secret: str) -> None:
    request = token_request(shop(client_id, secret, token_request=TokenRequestForm.JSON))

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
    ],
)
def test_another_ingredient_makes_another_key(other: Callable[[], bytes]) -> None:
    assert other() != key()


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


# Answers


def answer(**fields: object) -> bytes:
    return json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600} | fields).encode()


def with_lifetime(text: bytes) -> bytes:
    return b'{"access_token": "x", "expires_in": %s}' % text


@pytest.mark.parametrize(
    ("body", "granted"),
    [
        (answer(), TokenGrant(TOKEN, 3600.0, None)),
        (answer(scope="a b"), TokenGrant(TOKEN, 3600.0, "a b")),
        (answer(scope=["a"]), TokenGrant(TOKEN, 3600.0, None)),
        (answer(token_type="bearer"), TokenGrant(TOKEN, 3600.0, None)),
        (answer(token_type="BEARER"), TokenGrant(TOKEN, 3600.0, None)),
        (answer(access_token="x" * 16384), TokenGrant("x" * 16384, 3600.0, None)),
        (answer(refresh_token="ignored", deep={"a": [1]}), TokenGrant(TOKEN, 3600.0, None)),
        (b'{"access_token": "x"}', TokenGrant("x", None, None)),
        (b'\xef\xbb\xbf {"access_token": "x"} \r\n', TokenGrant("x", None, None)),
        (with_lifetime(b"3600"), TokenGrant("x", 3600.0, None)),
        (with_lifetime(b'"3600"'), TokenGrant("x", 3600.0, None)),
        (with_lifetime(b"3600.5"), TokenGrant("x", 3600.5, None)),
        (with_lifetime(b"31535999"), TokenGrant("x", 31535999.0, None)),
        (with_lifetime(b"0.5"), TokenGrant("x", 0.5, None)),
        (with_lifetime(b"null"), TokenGrant("x", None, None)),
    ],
)
def test_a_token_is_granted(body: bytes, granted: TokenGrant) -> None:
    assert read_answer(200, body) == granted


@pytest.mark.parametrize(
    "lifetime",
    [
        *(b"0", b"-1", b"-0.0", b"true", b"false", b'"x"', b'""', b'"-5"', b'"0"', b"[]", b"[3600]", b'{"a": 1}'),
        *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" + b"0" * 400, b'"nan"', b'"inf"'),
        *(b'" 3600 "', b'"36_00"', b'"+3600"', b'"1e3"'),
    ],
)
def test_a_lifetime_that_is_no_positive_number_is_not_guessed(lifetime: bytes) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(200, with_lifetime(lifetime))

    assert caught.value.reason == "expires_in is not a positive number of seconds"


NO_TOKEN = "the answer holds no usable access_token"
NO_JSON = "the answer is not a JSON object"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", NO_TOKEN),
        (answer(access_token=None), NO_TOKEN),
        (answer(access_token=""), NO_TOKEN),
        (answer(access_token=5), NO_TOKEN),
        (answer(access_token=["x"]), NO_TOKEN),
        (answer(access_token="x\r\nHost: evil"), NO_TOKEN),
        (answer(access_token="x\n"), NO_TOKEN),
        (answer(access_token="x y"), NO_TOKEN),
        (answer(access_token="x\x00"), NO_TOKEN),
        (answer(access_token="x\x7f"), NO_TOKEN),
        (answer(access_token="tökén"), NO_TOKEN),
        (answer(access_token="\ud800"), NO_TOKEN),
        (answer(access_token="x" * 16385), NO_TOKEN),
        (answer(token_type="mac"), "the token is not of the type Bearer"),
        (answer(token_type=""), "the token is not of the type Bearer"),
        (answer(token_type=None), "the token is not of the type Bearer"),
        (b"", NO_JSON),
        (b"<html><body>Login</body></html>", NO_JSON),
        (b'["access_token"]', NO_JSON),
        (b'"access_token"', NO_JSON),
        (b"null", NO_JSON),
        (b"[" * 60000, NO_JSON),
        (b'{"a":' * 10000, NO_JSON),
        (b'{"access_token": "x"', NO_JSON),
        (b'{"access_token": "\xff"}', NO_JSON),
        (b'{"expires_in": %s}' % (b"9" * 5000), NO_JSON),
        (gzip.compress(answer()), NO_JSON),
    ],
)
def test_an_answer_without_a_usable_token_is_no_token(body: bytes, reason: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(200, body)

    assert caught.value.reason == reason
    assert caught.value.status == 502


INVALID_CLIENT = {
    "error": "invalid_client",
    "error_description": "Client authentication failed",
    "message": "Client authentication failed",
}
INVALID_REQUEST = {
    "error": "invalid_request",
    "error_description": "The request is missing a required parameter",
    "hint": "Check the `client_id` parameter",
    "message": "The request is missing a required parameter",
}


@pytest.mark.parametrize(
    ("status", "document", "reason"),
    [
        (
            401,
            INVALID_CLIENT,
            "status 401, error: 'invalid_client', error_description: 'Client authentication failed'",
        ),
        (
            400,
            INVALID_REQUEST,
            "status 400, error: 'invalid_request', "
            "error_description: 'The request is missing a required parameter', hint: 'Check the `client_id` parameter'",
        ),
        (403, {}, "status 403"),
        (401, {"error": 5, "hint": ["x"]}, "status 401"),
        (401, {"error": "a\r\nb\x1b[2J"}, r"status 401, error: 'a\r\nb\x1b[2J'"),
        (401, {"error": "e" * 201}, f"status 401, error: '{'e' * 200}'"),
    ],
)
def test_a_refusal_gives_the_platforms_own_words_to_the_log(
    status: int, document: dict[str, object], reason: str
) -> None:
    with pytest.raises(TokenRefused) as caught:
        read_answer(status, json.dumps(document).encode())

    assert caught.value.reason == reason
    assert "invalid" not in caught.value.detail


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
def test_a_refusal_without_words_is_a_refusal(body: bytes) -> None:
    with pytest.raises(TokenRefused) as caught:
        read_answer(401, body)

    assert caught.value.reason == "status 401, no JSON"


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 404, 405, 429, 500, 502, 503, 504])
def test_any_other_status_is_no_refusal_and_no_token(status: int) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, answer(error="try_later"))

    assert caught.value.reason == f"status {status}, error: 'try_later'"
    assert caught.value.status == 502


@given(
    status=st.sampled_from([200, 400, 401, 403, 500]),
    body=st.binary()
    | st.dictionaries(
        st.sampled_from(["error", "error_description", "hint", "access_token", "expires_in", "token_type", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=300),
            lambda inner: st.lists(inner, max_size=3),
        ),
    ).map(lambda document: json.dumps(document).encode()),
)
def test_whatever_an_endpoint_answers_is_a_grant_or_a_token_error_with_a_short_reason(status: int, body: bytes) -> None:
    outcome = outcome_of(status, body)

    if isinstance(outcome, TokenError):
        assert len(outcome.reason) < 7000
        assert outcome.reason.isprintable()
    else:
        assert outcome.access_token.isascii()
        assert outcome.access_token.isprintable()
        assert outcome.lifetime is None or 0 < outcome.lifetime < float("inf")


def outcome_of(status: int, body: bytes) -> TokenGrant | TokenError:
    try:
        return read_answer(status, body)
    except TokenError as error:
        return error


# Answers on the wire


async def test_a_token_is_concealed_before_anyone_else_sees_it() -> None:
    async with serving(answering(GRANTED)) as peer, asking() as ask:
        granted = await ask.endpoint.fetch(token_request(shop(token_port=peer.port)))

    assert granted == TokenGrant(TOKEN, 3600.0, None)
    assert ask.concealed == [TOKEN]
    assert TOKEN not in repr(granted)


@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"302 Found", b"307 Temporary Redirect", b"308 Moved"])
async def test_a_redirect_is_not_followed(status: bytes) -> None:
    async with serving(answering(GRANTED)) as elsewhere:
        location = b"Location: http://127.0.0.1:%d/\r\n" % elsewhere.port
        error = await refused(answering(response(b"", status=status, fields=location)))

    assert error.reason == f"status {status[:3].decode()}, no JSON"
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked", b"Content-Length: 2000000000", b"Connection: close"]
)
async def test_an_endless_answer_is_not_read_to_its_end(framing: bytes) -> None:
    stopped = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        piece = b" " * 4096
        try:
            while True:
                await connection.send(b"1000\r\n%s\r\n" % piece if b"chunked" in framing else piece)
        finally:
            stopped.set()

    async with serving(stream) as peer, asking() as ask:
        error = await ask.refusal(token_request(shop(token_port=peer.port)))
        await stopped.wait()

    assert error.reason == "the answer is larger than 65536 bytes"


@pytest.mark.parametrize(("size", "accepted"), [(65536, True), (65537, False)])
async def test_an_answer_may_be_as_large_as_the_bound(size: int, accepted: bool) -> None:
    body = answer().ljust(size)

    async with serving(answering(response(body))) as peer, asking() as ask:
        request = token_request(shop(token_port=peer.port))
        if accepted:
            assert (await ask.endpoint.fetch(request)).access_token == TOKEN
        else:
            assert (await ask.refusal(request)).reason == "the answer is larger than 65536 bytes"


async def silent(connection: Connection) -> None:
    await connection.read_request()
    await connection.reader.read()


async def silent_in_the_middle(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"access_token": "')
    await connection.reader.read()


@pytest.mark.parametrize("script", [silent, silent_in_the_middle])
async def test_a_silent_endpoint_is_given_up_on_in_time(script: Script) -> None:
    error = await refused(script, fetch_timeout=0.05)

    assert isinstance(error, TokenUnavailable)
    assert (error.status, error.proxy_status) == (504, "http_response_timeout")
    assert "tokens.fetch_timeout" in error.detail


async def test_an_endpoint_that_trickles_is_given_up_on_in_time() -> None:
    async def trickle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            await connection.send(b" ")
            await asyncio.sleep(0)

    error = await refused(trickle, fetch_timeout=0.05)

    assert error.status == 504


async def test_an_endpoint_that_nobody_serves_is_unreachable() -> None:
    async with serving(answering(GRANTED)) as peer:
        port = peer.port
    async with asking() as ask:
        error = await ask.refusal(token_request(shop(token_port=port)))

    assert isinstance(error, TokenUnavailable)
    assert (error.status, error.proxy_status) == (502, "destination_unavailable")
    assert f"127.0.0.1:{port}" in error.reason


def broken_off(sent: bytes, *, reset: bool = False) -> Script:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(sent)
        if reset:
            connection.reset()
        else:
            connection.close()

    return script


WHOLE = answer()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(broken_off(b""), id="closed before the answer"),
        pytest.param(broken_off(b"", reset=True), id="reset before the answer"),
        pytest.param(broken_off(b"HTTP/1.1 200 OK\r\nContent-Le"), id="closed in the head"),
        pytest.param(
            broken_off(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE) + 1, WHOLE)),
            id="closed in the body, though the document is whole",
        ),
        pytest.param(
            broken_off(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(WHOLE), WHOLE)),
            id="closed before the last chunk",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + WHOLE + b"\r\n"), id="no chunks at all"
        ),
        pytest.param(answering(WHOLE + b"\r\n\r\n"), id="not HTTP"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nX-Token: %s\0\r\n\r\n" % TOKEN.encode()), id="a broken field"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n"), id="an endless field"),
    ],
)
async def test_a_broken_answer_is_no_token_and_is_not_quoted(script: Script) -> None:
    error = await refused(script)

    assert isinstance(error, TokenUnavailable)
    assert error.status == 502
    assert TOKEN not in error.reason
    assert 0 < len(error.reason) < 200
    assert error.reason.isprintable()


async def test_a_packed_answer_that_nobody_asked_for_is_no_token() -> None:
    packed = response(gzip.compress(WHOLE), fields=b"Content-Encoding: gzip\r\n")

    assert (await refused(answering(packed))).reason == NO_JSON


async def test_the_token_is_taken_out_of_a_chunked_answer_without_a_content_type() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in WHOLE)
    script = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunks)

    async with serving(script) as peer, asking() as ask:
        granted = await ask.endpoint.fetch(token_request(shop(token_port=peer.port)))

    assert granted.access_token == TOKEN


async def test_a_cookie_of_the_endpoint_is_not_kept() -> None:
    script = answering(response(WHOLE, fields=b"Set-Cookie: session=1; Path=/\r\n"))

    async with serving(script) as peer, asking() as ask:
        request = token_request(shop(token_port=peer.port))
        await ask.endpoint.fetch(request)
        await ask.endpoint.fetch(request)

    assert [received.values(b"Cookie") for received in peer.received] == [[], []]


@pytest.mark.parametrize("form", TokenRequestForm)
@pytest.mark.parametrize(
    "script",
    [
        answering(response(json.dumps(INVALID_CLIENT).encode(), status=b"401 Unauthorized")),
        answering(response(b"<html>", status=b"500 Internal Server Error")),
        broken_off(b"", reset=True),
        broken_off(b"nonsense\r\n\r\n"),
    ],
)
async def test_the_secret_is_in_no_error(form: TokenRequestForm, script: Script) -> None:
    async with serving(script) as peer, asking() as ask:
        request = token_request(shop(token_port=peer.port, token_request=form))
        error = await ask.refusal(request)

    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    shown += error.reason + error.detail + repr(error) + repr(request)
    assert "my-secret" not in shown
    assert base64.b64encode(b"my-id:my-secret").decode() not in shown
    assert error.__cause__ is None


async def test_a_host_name_that_cannot_be_one_is_no_token() -> None:
    async with asking() as ask:
        error = await ask.refusal(token_request(shop(name="a" * 63, token_url="http://shop-{shop}.invalid/")))

    assert isinstance(error, TokenUnavailable)
    assert "label" in error.reason
