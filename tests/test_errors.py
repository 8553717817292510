"""Every error of the proxy has one answer: a problem document, which says nothing that is for the operator alone."""

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from proxy import errors
from proxy.errors import (
    AccessError,
    BadTarget,
    ClientUnauthenticated,
    Overloaded,
    PacedOut,
    ProxyError,
    RequestError,
    RequestTooLarge,
    TokenError,
    TokenRefused,
    TokenUnavailable,
    TooManyFailures,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.forwarding import problems
from proxy.forwarding.problems import Problem

DETAIL = "A sentence for the client, with a 'quote', a \"double\" one and a \\."
REASON = "what only the operator may see"
FORM = b"application/problem+json"

# RFC 9209 §2.3, the types that a proxy can come upon here.
PROXY_ERROR_TYPES = """
dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout
connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received
http_request_error http_request_denied http_response_incomplete http_response_header_section_size
http_response_header_size http_response_body_size http_response_trailer_section_size http_response_trailer_size
http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed
http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected
"""

# Errors that stand for a group: nothing raises them.
GROUPS: frozenset[type[ProxyError]] = frozenset((RequestError, AccessError, TokenError, UpstreamError))

MAKERS: dict[type[ProxyError], list[Callable[[], ProxyError]]] = {
    RequestTooLarge: [lambda: RequestTooLarge(DETAIL, status=414), lambda: RequestTooLarge(DETAIL, status=431)],
    TokenUnavailable: [
        lambda: TokenUnavailable(DETAIL, reason=REASON),
        lambda: TokenUnavailable(DETAIL, reason=REASON, timed_out=True),
    ],
}


def problem(error: ProxyError) -> Problem:
    return problems.problem(error, request_id="id-1", form=FORM)


def subclasses(kind: type[ProxyError]) -> Iterator[type[ProxyError]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__.startswith("proxy."):
            yield subclass
            yield from subclasses(subclass)


KINDS = [kind for kind in dict.fromkeys(subclasses(ProxyError)) if kind not in GROUPS]
CODED = [kind for kind in KINDS if "code" in vars(kind)]  # the rest are special cases of these, to callers the same


def made(kind: type[ProxyError]) -> list[ProxyError]:
    makers = MAKERS.get(kind, [lambda: kind(DETAIL, reason=REASON)])
    return [make() for make in makers]


EACH = [pytest.param(error, id=f"{kind.__name__}-{error.status}") for kind in KINDS for error in made(kind)]


@pytest.mark.parametrize("error", EACH)
def test_every_error_becomes_a_problem_document(error: ProxyError) -> None:
    answer = problem(error)

    assert json.loads(answer.body) == {
        "type": f"urn:problem-type:shop-auth-proxy:{error.code}",
        "title": error.title,
        "status": answer.status,
        "detail": DETAIL,
        "message": DETAIL,
        "code": error.code,
        "request_id": "id-1",
    }
    assert answer.status == error.status
    assert answer.reason.decode() == HTTPStatus(error.status).phrase
    assert answer.headers == (
        (b"Content-Type", FORM),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b"shop-auth-proxy; error=" + error.proxy_status.encode()),
        *error.fields,
    )


@pytest.mark.parametrize("error", EACH)
def test_every_error_says_what_it_is(error: ProxyError) -> None:
    assert 400 <= error.status < 600
    assert error.code.isascii()
    assert error.code.isidentifier()
    assert error.code == error.code.lower()
    assert error.title
    assert error.proxy_status in PROXY_ERROR_TYPES.split()
    assert str(error) == DETAIL


@pytest.mark.parametrize("error", EACH)
def test_the_reason_is_never_in_the_answer(error: ProxyError) -> None:
    answer = problem(error)

    assert REASON not in repr(answer)
    assert REASON not in str(error)
    assert REASON not in repr(error)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in CODED]

    assert sorted(set(codes)) == sorted(codes)


def test_every_error_that_the_proxy_raises_has_been_found() -> None:
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ProxyError)}

    assert defined - GROUPS - {ProxyError} <= set(KINDS)


@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        ("bad_request", [400]),
        ("bad_target", [400]),
        ("unknown_shop", [404]),
        ("request_timeout", [408]),
        ("request_too_large", [414, 431]),
        ("body_too_large", [413]),
        ("expectation_failed", [417]),
        ("method_not_supported", [501]),
        ("loop", [508]),
        ("client_unauthenticated", [401]),
        ("client_forbidden", [403]),
        ("too_many_failures", [429]),
        ("token_refused", [502]),
        ("token_unavailable", [502, 504]),
        ("upstream_unreachable", [502]),
        ("upstream_timeout", [504]),
        ("upstream_protocol_error", [502]),
        ("overloaded", [503]),
        ("paced_out", [503]),
        ("storage_unavailable", [500]),
        ("internal", [500]),
    ],
)
def test_a_code_keeps_the_statuses_that_callers_rely_on(code: str, statuses: list[int]) -> None:
    assert statuses == [error.status for kind in CODED if kind.code == code for error in made(kind)]


def test_an_answer_is_ascii_whatever_its_detail() -> None:
    answer = problem(BadTarget("Not /<shop>/…\r\n"))

    assert answer.body.isascii()
    assert b"\r" not in answer.body
    assert json.loads(answer.body)["detail"] == "Not /<shop>/…\r\n"


def test_one_error_can_name_a_proxy_status_of_its_own_without_changing_the_next() -> None:
    answer = problem(UpstreamTimeout(DETAIL, proxy_status="connection_timeout"))
    next_answer = problem(UpstreamTimeout(DETAIL))

    assert answer.headers[-1] == (b"Proxy-Status", b"shop-auth-proxy; error=connection_timeout")
    assert next_answer.headers[-1] == (b"Proxy-Status", b"shop-auth-proxy; error=http_response_timeout")


@pytest.mark.parametrize(
    ("retry_after", "value"),
    [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.001, b"2"), (59.5, b"60"), (60.0, b"60"), (-5.0, b"1")],
)
@pytest.mark.parametrize("kind", [Overloaded, PacedOut, TokenRefused, TokenUnavailable, TooManyFailures])
def test_an_error_that_passes_says_in_how_many_whole_seconds_to_try_again(
    kind: type[ProxyError], retry_after: float, value: bytes
) -> None:
    answer = problem(kind(DETAIL, retry_after=retry_after))

    assert [field for field in answer.headers if field[0] == b"Retry-After"] == [(b"Retry-After", value)]


def test_a_401_offers_each_scheme_in_a_field_of_its_own() -> None:
    answer = problem(ClientUnauthenticated(DETAIL))

    assert [value for name, value in answer.headers if name == b"WWW-Authenticate"] == [
        b'Basic realm="shop-auth-proxy", charset="UTF-8"',
        b'Bearer realm="shop-auth-proxy"',
    ]
    assert [kind for kind in KINDS if kind.fields] == [ClientUnauthenticated]


def test_a_token_that_timed_out_does_not_change_the_next_answer() -> None:
    TokenUnavailable(DETAIL, timed_out=True)

    assert TokenUnavailable(DETAIL).status == 502


def test_retry_after_is_not_rounded_up_for_the_sake_of_a_nanosecond() -> None:
    error = TokenUnavailable("down", retry_after=60.0000000001)

    assert dict(problem(error).headers)[b"Retry-After"] == b"60"
