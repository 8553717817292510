"""What a log line says of a request, and the platform's own code in the body of a 401."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.errors import BadTarget, ClientForbidden, ProxyError, TokenRefused
from proxy.forwarding.batches import BatchAnswer
from proxy.forwarding.exchange import INNER_CODE_WITHIN, Exchange, inner_code
from proxy.forwarding.fields import request_fields
from proxy.forwarding.target import Target
from proxy.guards.access import Client
from proxy.platforms.answers import ORDINARY, Meaning, Sense
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.secret import Secret
from proxy.telemetry.finished import Failure, FinishedRequest
from proxy.telemetry.logs import told
from proxy.wire.head import Head


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(
            b'{"error":{"code":40101,"message":"You have no permission for this operation!"}}', 40101, id="json"
        ),
        pytest.param(b'{"code":"40103"}', 40103, id="json, as a text"),
        pytest.param(b"<?xml version='1.0'?><error><code>40101</code></error>", 40101, id="xml"),
        pytest.param(b"<error><code><![CDATA[40102]]></code></error>", 40102, id="xml, as cdata"),
        pytest.param(b'{\r\n  "code" : 40100\r\n}', 40100, id="written for people"),
        pytest.param(b"40101", 40101, id="nothing else"),
        pytest.param(b"40102 and then 40101", 40102, id="the first of two"),
        pytest.param(b'{"error":"access_denied"}', None, id="none"),
        pytest.param(b"", None, id="no body"),
        pytest.param(b'{"status":401}', None, id="the status is no inner code"),
        pytest.param(b'{"code":4010}', None, id="too short"),
        pytest.param(b'{"id":140101}', None, id="the end of a longer number"),
        pytest.param(b'{"id":401011}', None, id="the beginning of a longer number"),
        pytest.param(b'{"id":9401019, "code":40101}', 40101, id="after a longer number"),
        pytest.param(b'{"code":40301}', None, id="another status's code"),
        pytest.param(b"\xff\x00\xfe40101\x00", 40101, id="not a text"),
        pytest.param("\uff14\uff10\uff11\uff10\uff11".encode(), None, id="digits of another script"),
    ],
)
def test_the_platforms_own_code_is_found(body: bytes, code: int | None) -> None:
    assert inner_code(body) == code


@pytest.mark.parametrize(("before", "code"), [(INNER_CODE_WITHIN - 5, 40101), (INNER_CODE_WITHIN - 4, None)])
def test_only_the_beginning_of_a_body_is_searched(before: int, code: int | None) -> None:
    assert INNER_CODE_WITHIN == 4096
    assert inner_code(b" " * before + b"40101 ") == code


@dataclass
class AsRequest:
    """As much of a request as its log line says."""

    method: str = "GET"
    target: bytes = b"/"
    lines: tuple[bytes, ...] = ()
    content: bytes | None = b""
    connection: Any = field(default_factory=lambda: SimpleNamespace(remote="192.0.2.7"))

    @property
    def head(self) -> Head:
        return Head(self.lines, request_fields())


@dataclass
class AsResponse:
    """As much of an answer as its log line says."""

    status: int | None = 200
    bytes_sent: int = 7
    meaning: Meaning = ORDINARY
    head: Any = field(default_factory=lambda: SimpleNamespace(dropped=0))


@dataclass
class AsBody:
    """As much of a body as its log line says."""

    received: int = 3


@dataclass
class Parts:
    """What an exchange is made of."""

    request: AsRequest = field(default_factory=AsRequest)
    response: AsResponse = field(default_factory=AsResponse)

    def exchange(self) -> Exchange:
        request: Any = self.request
        response: Any = self.response
        site: Any = None
        return Exchange(request, response, site, b"id-1", 1000.0)


def said(exchange: Exchange, now: float, error: ProxyError | None = None) -> dict[str, Any]:
    """What the log line says, after what every line says."""
    exchange.error = error
    line, _ = exchange.finished(now).line("now", "info", "request.forwarded")
    return dict(list(told(line).items())[3:])


def test_a_request_that_was_served_is_told_whole() -> None:
    exchange = Parts().exchange()
    exchange.target = Target("demo", b"/orders/5?secret=1", "/demo")
    body: Any = AsBody()
    exchange.body = body
    answer: Any = AsResponse(401)
    exchange.attempts, exchange.answer = 2, answer
    exchange.token_seconds, exchange.upstream_seconds = 0.0302, 0.2
    turn: Any = SimpleNamespace(waited=0.015, throttlings=0)
    exchange.turn = turn

    assert said(exchange, 1000.25) == {
        "address": "192.0.2.7",
        "shop": "demo",
        "method": "GET",
        "path": "/orders/5",
        "status": 200,
        "upstream_status": 401,
        "attempts": 2,
        "duration_ms": 250.0,
        "waited_ms": 15.0,
        "token_ms": 30.2,
        "upstream_ms": 200.0,
        "bytes_in": 3,
        "bytes_out": 7,
        "request_id": "id-1",
    }


def test_where_no_time_went_is_not_told() -> None:
    exchange = Parts().exchange()
    exchange.target = Target("demo", b"/orders/5", "/demo")
    turn: Any = SimpleNamespace(waited=0.0, throttlings=0)
    exchange.turn = turn

    assert not {"waited_ms", "token_ms", "upstream_ms", "target"} & said(exchange, 1000.25).keys()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (b"/products", "/products"),
        (b"/../x?api_key=hidden", "/../x"),
        (b"http://user:pa?ss@api.example.com/x?y", "http://api.example.com/x"),
        (b"/" + b"x" * 300, "/" + "x" * 199),
        (b"/caf\xe9", "/caf\ufffd"),
    ],
)
def test_a_target_that_names_no_shop_is_told_without_what_may_be_secret(target: bytes, told: str) -> None:
    exchange = Parts(AsRequest(target=target)).exchange()

    assert said(exchange, 1000.0, BadTarget("No."))["target"] == told


def test_what_an_answer_lost_and_what_was_in_a_batch_is_told_if_there_is_some() -> None:
    exchange = Parts().exchange()
    answer: Any = AsResponse(200, head=SimpleNamespace(dropped=2))
    exchange.answer, exchange.batch = answer, BatchAnswer(b"")
    exchange.note_body(b'{"header":{"statusCode":200}}')
    assert "inner_statuses" not in said(exchange, 1000.0)
    exchange.note_body(b'{"header":{"statusCode":429}} {"header":{"statusCode":401}}')

    fields = said(exchange, 1000.0)
    assert (fields["inner_statuses"], fields["dropped_fields"]) == ({"401": 1, "429": 1}, 2)
    assert exchange.finished(1000.0).inner == {401: 1, 429: 1}


def test_a_request_whose_target_could_not_be_read_has_neither_shop_nor_path() -> None:
    exchange = Parts(response=AsResponse(status=None, bytes_sent=0)).exchange()
    fields = said(exchange, 1000.0)

    assert exchange.target is None
    assert (fields["shop"], fields["path"], fields["bytes_in"], fields["status"]) == (None, None, 0, None)
    assert "code" not in fields


def test_an_error_is_told_before_all_else_with_what_is_for_the_operator() -> None:
    fields = said(Parts().exchange(), 1000.0, TokenRefused("A sentence.", reason="invalid_client"))

    assert list(fields.items())[:3] == [
        ("code", "token_refused"),
        ("detail", "A sentence."),
        ("reason", "invalid_client"),
    ]


def test_the_trace_that_a_client_names_stands_in_the_line() -> None:
    parent = b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    exchange = Parts(request=AsRequest(lines=(b"Host: h", parent))).exchange()

    assert said(exchange, 1000.0)["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_a_body_that_came_with_the_head_counts_whole_and_one_that_comes_as_far_as_it_has() -> None:
    with_head, streaming = (Parts(request=AsRequest("PUT", content=content)).exchange() for content in (b"12345", None))
    body: Any = AsBody()
    streaming.body = body

    assert [said(exchange, 1000.0)["bytes_in"] for exchange in (with_head, streaming)] == [5, 3]
    assert [exchange.finished(1000.0).bytes_in for exchange in (with_head, streaming)] == [5, 3]


def test_a_client_is_named_and_one_that_may_not_call_is_told_by_its_address() -> None:
    known, unknown = Parts().exchange(), Parts().exchange()
    known.client = Client("erp", b"digest", None, None)
    error = ClientForbidden("No.", tried="erp?")

    assert said(known, 1000.0, error)["client"] == "erp"
    assert "address" not in said(known, 1000.0, error)
    fields = said(unknown, 1000.0, error)
    assert (fields["client"], fields["client_tried"], fields["address"]) == (None, "erp?", "192.0.2.7")
    assert "client" not in said(unknown, 1000.0)


def test_requests_wait_in_line_by_their_client_or_their_address() -> None:
    known, unknown = Parts().exchange(), Parts().exchange()
    known.client = Client("erp", b"digest", None, None)

    assert (known.caller, unknown.caller) == ("erp", "192.0.2.7")


# What is counted


def test_a_request_that_was_served_is_counted_whole() -> None:
    exchange = Parts(request=AsRequest("PUT")).exchange()
    shop = Shop("x", "x", SHOPRENTER, Credentials("id", Secret("s3cret")), by_wildcard=True)
    route: Any = SimpleNamespace(shop=shop)
    body: Any = AsBody()
    answer: Any = AsResponse(401, head=SimpleNamespace(dropped=4))
    turn: Any = SimpleNamespace(waited=0.75, throttlings=2)
    exchange.route, exchange.body, exchange.answer, exchange.turn = route, body, answer, turn
    exchange.attempts, exchange.upstream_seconds, exchange.answered_at = 3, 1.5, 1002.5

    assert exchange.finished(1004.0) == FinishedRequest(
        key="x",
        entry="*",
        method="PUT",
        status=200,
        answered=401,
        failure=None,
        attempts=3,
        bytes_in=3,
        bytes_out=7,
        duration=4.0,
        added=1.0,
        paced=0.75,
        throttled=2,
        dropped_fields=4,
        inner=None,
        upstream=1.5,
        target=b"/",
        request_id=b"id-1",
        upstream_status=401,
        address="192.0.2.7",
    )


def test_a_request_that_never_reached_a_shop_is_counted_without_one() -> None:
    exchange = Parts(response=AsResponse(502, 100)).exchange()
    exchange.error = TokenRefused("No.", reason="for the operator alone")

    finished = exchange.finished(1000.5)

    assert (finished.key, finished.entry, finished.attempts, finished.bytes_in) == ("", "", 0, 0)
    assert (finished.answered, finished.added, finished.paced, finished.throttled) == (None, None, None, 0)
    assert finished.failure == Failure("token_refused", "No.")


def test_a_429_counts_where_no_limit_is_known_too() -> None:
    exchange = Parts().exchange()
    answer: Any = AsResponse(429, meaning=Meaning(Sense.THROTTLED))
    exchange.answer = answer

    assert exchange.finished(1000.0).throttled == 1


def test_an_answer_counts_as_what_the_platform_means_by_it() -> None:
    exchange = Parts().exchange()
    answer: Any = AsResponse(200, meaning=Meaning(Sense.UNAUTHORIZED))
    exchange.answer = answer

    assert (exchange.finished(1000.0).answered, exchange.finished(1000.0).throttled) == (401, 0)
    assert said(exchange, 1000.0)["upstream_status"] == 200
