"""What is made of each answer of a token endpoint."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.telemetry.redaction import Redactor
from proxy.tokens.endpoint import TokenGrant, read_answer, read_retry_after
from tests.tokens.asking import INVALID_CLIENT, NO_JSON, TOKEN, answer


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
        (answer(token_type="BearerToken"), TokenGrant(TOKEN, 3600.0, None)),
        (answer(token_type="bearertoken "), TokenGrant(TOKEN, 3600.0, None)),
        (answer(token_type=None), TokenGrant(TOKEN, 3600.0, None)),
        (answer(error=None, error_description=""), TokenGrant(TOKEN, 3600.0, None)),
        (answer(error=""), TokenGrant(TOKEN, 3600.0, None)),
        (answer(error=0), TokenGrant(TOKEN, 3600.0, None)),
        (answer(error=False), TokenGrant(TOKEN, 3600.0, None)),
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
@pytest.mark.parametrize("status", [200, 201])
def test_a_token_is_granted(status: int, body: bytes, granted: TokenGrant) -> None:
    assert read_answer(status, body) == granted


def test_a_token_of_the_type_that_the_platform_wants_named_is_granted() -> None:
    assert read_answer(200, answer(token_type="zoho-oauthtoken"), scheme="Zoho-oauthtoken").access_token == TOKEN
    with pytest.raises(TokenUnavailable):
        read_answer(200, answer(token_type="zoho-oauthtoken"))


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


NO_TOKEN = "the answer has no usable access_token"


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
        (answer(token_type="mac"), "the token is not of the type Bearer, but 'mac'"),
        (answer(token_type="DPoP"), "the token is not of the type Bearer, but 'DPoP'"),
        (answer(token_type="x" * 100), f"the token is not of the type Bearer, but '{'x' * 30}'"),
        (answer(token_type="x\r\n"), r"the token is not of the type Bearer, but 'x\r\n'"),
        (answer(token_type=""), "the token is not of the type Bearer, but ''"),
        (answer(token_type=5), "the token is not of the type Bearer, but '5'"),
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
        (gzip.compress(answer(), mtime=0), NO_JSON),
    ],
)
def test_an_answer_without_a_usable_token_is_no_token(body: bytes, reason: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(200, body)

    assert caught.value.reason == reason
    assert caught.value.status == 502


INVALID_REQUEST = {
    "error": "invalid_request",
    "error_description": "The request is missing a required parameter",
    "hint": "Check the `client_id` parameter",
    "message": "The request is missing a required parameter",
}


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 422])
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (INVALID_CLIENT, "error: 'invalid_client', error_description: 'Client authentication failed'"),
        (
            INVALID_REQUEST,
            "error: 'invalid_request', "
            "error_description: 'The request is missing a required parameter', hint: 'Check the `client_id` parameter'",
        ),
        ({"error": "unauthorized_client"}, "error: 'unauthorized_client'"),
        ({"error": "invalid_grant"}, "error: 'invalid_grant'"),
        ({"error": "invalid_scope", "hint": ["x"]}, "error: 'invalid_scope'"),
        ({"error": "unsupported_grant_type"}, "error: 'unsupported_grant_type'"),
        ({"error": "access_denied"}, "error: 'access_denied'"),
        ({"error": "invalid_target"}, "error: 'invalid_target'"),
        ({"error": "invalid_client", "access_token": "x"}, "error: 'invalid_client'"),
        (
            {"error": "invalid_client", "error_description": "a\r\nb\x1b[2J"},
            r"error: 'invalid_client', error_description: 'a\r\nb\x1b[2J'",
        ),
        (
            {"error": "invalid_client", "error_description": "e" * 201},
            f"error: 'invalid_client', error_description: '{'e' * 200}'",
        ),
    ],
)
def test_a_refusal_is_what_oauth_says_and_gives_the_platforms_own_words_to_the_log(
    status: int, document: dict[str, object], words: str
) -> None:
    with pytest.raises(TokenRefused) as caught:
        read_answer(status, json.dumps(document).encode())

    assert caught.value.reason == f"status {status}, {words}"
    assert "invalid" not in caught.value.detail


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_an_endpoint_that_is_in_trouble_refuses_nothing_whatever_it_says(status: int) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, json.dumps(INVALID_CLIENT).encode())

    assert caught.value.reason.startswith(f"status {status}, error: 'invalid_client'")


CLOUD = b"""<!DOCTYPE html>
<html><head><title>Attention Required! | Wall</title><style>body { color: red }</style>
<script type="text/javascript">if (a < b) { block(); }</script></head>
<body class="x"><h1>Sorry,&nbsp;you have been <em>blocked</em></h1></body></html>"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b" \r\n", ""),
        (b"Starting up ...", ": 'Starting up ...'"),
        (b"Error\r\n  1020:\tAccess\x00 denied\n", r": 'Error 1020: Access\x00 denied'"),
        (b"Zugriff verweigert f\xc3\xbcr \xff", ": 'Zugriff verweigert für \ufffd'"),
        (b"x" * 300, f": '{'x' * 200}'"),
        (CLOUD, ": 'Attention Required! | Wall Sorry,&nbsp;you have been blocked'"),
        (b"<html><style>" + b"x" * 100_000, ""),
        (b"<" * 100_000, f": '{'<' * 200}'"),
        (b'["x"]', ": '[\"x\"]'"),
        (b"null", ": 'null'"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 503])
def test_a_wall_in_front_is_no_refusal_and_its_first_words_are_for_the_log(
    status: int, body: bytes, words: str
) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, body, retry_after=17.0)

    assert caught.value.reason == f"status {status}, no JSON{words}"
    assert caught.value.retry_after == 17.0


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, ": '{}'"),
        ({"message": "Forbidden"}, ': \'{"message": "Forbidden"}\''),
        ({"error": {"code": 403, "message": "wall"}}, ': \'{"error": {"code": 403, "message": "wall"}}\''),
        ({"error": 5, "hint": ["x"]}, ': \'{"error": 5, "hint": ["x"]}\''),
        ({"error": "Forbidden"}, ", error: 'Forbidden'"),
        ({"error": "Invalid_Client"}, ", error: 'Invalid_Client'"),
        (
            {"error": "rate_limited", "error_description": "later"},
            ", error: 'rate_limited', error_description: 'later'",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_json_without_an_error_of_oauth_is_no_refusal(status: int, document: dict[str, object], words: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, json.dumps(document).encode())

    assert caught.value.reason == f"status {status}{words}"


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 404, 405, 429, 500, 502, 503, 504])
def test_any_other_status_is_no_refusal_and_no_token(status: int) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, answer(error="try_later"))

    assert caught.value.reason == f"status {status}, error: 'try_later'"
    assert caught.value.status == 502


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error", ["x"], {"code": 5}, 7])
def test_an_error_in_a_200_is_that_error_also_beside_a_token_which_is_not_shown(error: object) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(200, answer(error=error, hint="later"))

    words = f"error: {error!r}, " if isinstance(error, str) else ""
    assert caught.value.reason == f"status 200, {words}hint: 'later'"
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(200, answer(error={"code": 5}))
    assert caught.value.reason == "status 200"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"error": {"code": "AUTH_1", "text": "kulcs hibás"}}, '{"error": {"code": "AUTH_1", "text": "kulcs hibás"}}'),
        ({"error": True, "message": "no such key", "token": "live"}, '{"error": true, "message": "no such key"}'),
        ({"error": ["a", {"b": 1}], "id_token": "live"}, '{"error": ["a", {"b": 1}]}'),
        ({"error": {"echo": "S3cr3t-of-the-shop-0123456789"}}, '{"error": {"echo": "[hidden]"}}'),
    ],
)
def test_an_error_in_a_200_that_is_no_text_is_told_in_its_words(document: dict[str, object], words: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(
            200,
            json.dumps(document).encode(),
            redact=lambda text: text.replace("S3cr3t-of-the-shop-0123456789", "[hidden]"),
        )

    assert caught.value.reason == f"status 200: {words!r}"


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("body", [b'{"access_token": "live-token', b"access_token=live-token&token_type=bearer"])
def test_a_token_in_what_can_not_be_read_is_not_shown(status: int, body: bytes) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, body)

    assert "live" not in caught.value.reason


@given(
    status=st.sampled_from([200, 201, 400, 401, 403, 500]),
    body=st.binary()
    | st.text(st.sampled_from("<>/ ab\n") | st.characters()).map(lambda text: text.encode(errors="replace"))
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


# Retry-After

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
OWN_TIME = 784111806.5  # half a minute later, by our own clock


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        (None, DATE, None),
        ("0", None, 0.0),
        ("1", None, 1.0),
        ("120", DATE, 120.0),
        (" 120\t", None, 120.0),
        ("9" * 400, None, 999999999.0),
        ("2.0", None, 2.0),
        ("1.5", DATE, 2.0),
        ("0.001", None, 1.0),
        ("0.0", None, 0.0),
        ("9" * 400 + ".5", None, 999999999.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", DATE, 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", DATE, 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", DATE, 0.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", DATE, 0.0),
        ("Sun Nov  6 08:50:37 1994", DATE, 60.0),
        ("Sun, 06 Nov 9994 08:50:37 GMT", DATE, 999999999.0),
        pytest.param(
            "Sun, 06 Nov 1994 08:50:37 GMT", None, 31.0, id="a time without a Date: our own clock, rounded up"
        ),
        pytest.param("Sun, 06 Nov 1994 08:50:37 GMT", "soon", 31.0, id="a Date that is none"),
        pytest.param("Sun, 06 Nov 1994 08:50:06 GMT", None, 0.0, id="a time that is over by our own clock"),
        pytest.param("Sun, 06 Nov 1994 08:50:37 -0000", DATE, 60.0, id="a time without a zone is GMT"),
        pytest.param("Sun, 06 Nov 1994 08:50:37 +" + "9" * 30, DATE, None, id="a zone that is none"),
        pytest.param("Sun, 06 Nov %s 08:50:37 GMT" % ("9" * 30), DATE, None, id="a year that is none"),
        pytest.param("1" + "0" * 5000 + "x", DATE, None, id="long nonsense"),
        ("", DATE, None),
        ("-1", DATE, None),
        ("-1.5", DATE, None),
        ("1.", DATE, None),
        (".5", DATE, None),
        ("1.5.2", DATE, None),
        ("2,0", DATE, None),
        ("1e3", DATE, None),
        ("inf", DATE, None),
        ("nan", DATE, None),
        ("\u0661", DATE, None),
        ("soon", DATE, None),
        ("120", "soon", 120.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_not_at_all(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert read_retry_after(value, date, clock=lambda: OWN_TIME) == seconds


TIMES = st.text(st.sampled_from('0123456789 ,:+-.()"MonSunJNvGT'), max_size=40) | st.text(max_size=20)


@given(value=TIMES, date=st.none() | st.just(DATE) | TIMES)
def test_whatever_stands_in_retry_after_is_a_number_of_seconds_or_nothing(value: str, date: str | None) -> None:
    seconds = read_retry_after(value, date)

    assert seconds is None or (0 <= seconds <= 999999999.0 and seconds == int(seconds))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 301, 404])
def test_an_endpoint_that_wants_to_be_left_alone_is_heard(status: int) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_answer(status, b"", retry_after=17.0)

    assert caught.value.retry_after == 17.0


def test_a_refusal_has_a_pause_of_its_own() -> None:
    with pytest.raises(TokenRefused) as caught:
        read_answer(401, b'{"error": "invalid_client"}', retry_after=17.0)

    assert caught.value.retry_after is None


@pytest.mark.parametrize("before", [0, 100, 150, 175, 190, 199, 200, 400])
def test_no_part_of_a_secret_is_left_where_the_endpoints_words_are_cut(before: int) -> None:
    secret = "S3cr3t-of-the-shop-0123456789"
    redactor = Redactor()
    redactor.add(secret)
    words = {"error": "invalid_client", "error_description": "y" * before + secret + " was refused"}

    with pytest.raises(TokenRefused) as caught:
        read_answer(401, json.dumps(words).encode(), redact=redactor.text)

    assert "S3cr" not in caught.value.reason
    assert len(caught.value.reason) < 300


@pytest.mark.parametrize("before", [0, 100, 150, 175, 190, 199, 200, 400, 4060, 4080, 4095])
@pytest.mark.parametrize(
    "around", ["%s%s was refused", "<p>%s</p><p>%s</p>", '<a href="%s">%s</a>', "<style>%s</style>%s"]
)
def test_no_part_of_a_secret_is_left_of_what_a_wall_says(before: int, around: str) -> None:
    secret = "S3cr3t-of-the-shop-0123456789"
    redactor = Redactor()
    redactor.add(secret)

    with pytest.raises(TokenUnavailable) as caught:
        read_answer(403, (around % ("y" * before, secret)).encode(), redact=redactor.text)

    assert "S3cr" not in caught.value.reason
    assert len(caught.value.reason) < 300
