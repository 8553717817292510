"""What an answer means: by its status, by what its body says, and inside a batch."""

import gzip
import json
import zlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.platforms.answers import (
    MAX_LOOKED_INTO,
    ORDINARY,
    AnswerRule,
    Answers,
    InBody,
    InnerStatuses,
    Meaning,
    Sense,
)

TOO_FAST = InBody(200, "error.errorCode", "TOO_MANY_REQUEST", not_carried_out=True)
FAIL = b'{"resultType":"FAIL","error":{"errorCode":"TOO_MANY_REQUEST","reason":"Too many requests"}}'
THROTTLED = Meaning(Sense.THROTTLED, not_carried_out=True)


def read(rule: AnswerRule, status: int, body: bytes | None) -> Meaning:
    return Answers((rule,), ()).meaning(status, body)


@pytest.mark.parametrize(
    ("rule", "status", "not_carried_out"), [(429, 429, True), (420, 420, True), (499, 499, True), (503, 503, False)]
)
@pytest.mark.parametrize("body", [None, b"", b"anything"])
def test_a_status_says_it_whatever_the_body_and_4xx_that_the_call_was_not_carried_out(
    rule: int, status: int, not_carried_out: bool, body: bytes | None
) -> None:
    assert read(rule, status, body) == Meaning(Sense.THROTTLED, not_carried_out)
    assert read(rule, status + 1, body) is ORDINARY


@pytest.mark.parametrize(
    "body",
    [
        FAIL,
        json.dumps(json.loads(FAIL), indent=4).encode(),
        FAIL.replace(b"_", b"\\u005f"),
        b"\xef\xbb\xbf" + FAIL,
        gzip.compress(FAIL, mtime=0),
        zlib.compress(FAIL),
        FAIL[:-1].ljust(MAX_LOOKED_INTO - 1) + b"}",
    ],
)
def test_a_text_in_a_body_says_it(body: bytes) -> None:
    assert read(TOO_FAST, 200, body) == THROTTLED


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"TOO_MANY_REQUEST",
        FAIL[:-1],
        FAIL.replace(b"errorCode", b"reason_"),
        FAIL.replace(b'"TOO_MANY_REQUEST"', b'["TOO_MANY_REQUEST"]'),
        FAIL.replace(b"REQUEST", b"REQUESTS"),
        FAIL.replace(b"TOO_MANY", b"too_many"),
        b'{"error":"TOO_MANY_REQUEST"}',
        b'{"error":{"reason":"TOO_MANY_REQUEST"}}',
        b'["TOO_MANY_REQUEST"]',
        b'{"resultType":"SUCCESS","success":{"name":"TOO_MANY_REQUEST"}}',
        b"[" * 4000 + b'"TOO_MANY_REQUEST"',
        b'{"TOO_MANY_REQUEST":' + b"9" * 4000 + b"}",
        FAIL[:-1].ljust(MAX_LOOKED_INTO) + b"}",
        gzip.compress(FAIL, mtime=0)[:-20],
        gzip.compress(FAIL[:-1].ljust(MAX_LOOKED_INTO) + b"}", mtime=0),
        gzip.compress(b" " * 10_000_000 + FAIL, mtime=0),
        b"\x1f\x8bno gzip TOO_MANY_REQUEST",
        b"x TOO_MANY_REQUEST",
        b"\xff TOO_MANY_REQUEST",
    ],
)
def test_anything_else_is_an_ordinary_answer(body: bytes | None) -> None:
    assert read(TOO_FAST, 200, body) is ORDINARY


def test_a_text_counts_with_its_status_alone() -> None:
    assert read(TOO_FAST, 201, FAIL) is ORDINARY
    assert read(TOO_FAST, 429, FAIL) is ORDINARY


@pytest.mark.parametrize(
    ("path", "equals", "document"),
    [
        ("code", "40101", {"code": 40101}),
        ("code", "40101", {"code": "40101"}),
        ("ok", "false", {"ok": False}),
        ("error", "null", {"error": None}),
        ("errors.0.extensions.code", "THROTTLED", {"errors": [{"extensions": {"code": "THROTTLED"}}]}),
        ("errors.1.code", "x", {"errors": [{"code": "a"}, {"code": "x"}]}),
        ("0", "x", {"0": "x"}),
        ("a.b", "a/b", {"a": {"b": "a/b"}}),
        ("a", "kék", {"a": "kék"}),
        ("a", 'with "quotes"', {"a": 'with "quotes"'}),
    ],
)
def test_a_path_leads_through_objects_and_lists_to_a_scalar(path: str, equals: str, document: Any) -> None:
    rule = InBody(200, path, equals)

    for body in (
        json.dumps(document),
        json.dumps(document, ensure_ascii=False),
        json.dumps(document).replace("/", "\\/"),
    ):
        assert read(rule, 200, body.encode()) == Meaning(Sense.THROTTLED, not_carried_out=False)
    assert read(rule, 200, json.dumps({"other": document}).encode()) is ORDINARY


@pytest.mark.parametrize(
    ("status", "vouched", "not_carried_out"),
    [(200, False, False), (200, True, True), (400, False, True), (403, False, True), (503, False, False)],
)
def test_a_call_was_not_carried_out_if_the_answer_says_so(status: int, vouched: bool, not_carried_out: bool) -> None:
    rule = InBody(status, "error.errorCode", "TOO_MANY_REQUEST", not_carried_out=vouched)

    assert read(rule, status, FAIL) == Meaning(Sense.THROTTLED, not_carried_out)


def test_too_fast_comes_first_and_then_the_rules_in_their_order() -> None:
    dead = InBody(200, "error.errorCode", "EXPIRED")
    answers = Answers((429, TOO_FAST), (replace(TOO_FAST, not_carried_out=False), dead, 401, 429))

    assert answers.meaning(200, FAIL) == THROTTLED
    assert answers.meaning(200, FAIL.replace(b"TOO_MANY_REQUEST", b"EXPIRED")) == Meaning(Sense.UNAUTHORIZED)
    assert answers.meaning(401, FAIL) == Meaning(Sense.UNAUTHORIZED, not_carried_out=True)
    assert answers.meaning(429, None) == THROTTLED
    assert answers.meaning(200, None) is ORDINARY
    assert [status for status in range(100, 600) if answers.looks_into(status)] == [200]
    assert not any(Answers((429,), (401,)).looks_into(status) for status in range(100, 600))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ((199, "a", "b"), "status must be"),
        ((600, "a", "b"), "status must be"),
        ((200, "", "b"), "path must be"),
        ((200, "a..b", "b"), "path must be"),
        ((200, ".a", "b"), "path must be"),
        ((200, "a", ""), "equals must"),
    ],
)
def test_a_rule_that_could_not_fit_is_refused(rule: tuple[int, str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        InBody(*rule)


@given(
    body=st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["x", "a", ""]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner),
    ).map(lambda document: json.dumps(document).encode()),
    path=st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=3).map(".".join),
)
def test_whatever_stands_in_a_body_it_says_it_or_not(body: bytes, path: str) -> None:
    assert read(InBody(200, path, "x"), 200, body).sense in Sense


# Inside a batch


def part(status: Any, body: Any = None) -> dict[str, Any]:
    return {"method": "GET", "uri": "https://a.example/", "response": {"header": {"statusCode": status}, "body": body}}


def as_xml(parts: list[dict[str, Any]], *, cdata: bool, indent: str) -> bytes:
    def element(part: dict[str, Any]) -> str:
        status = part["response"]["header"]["statusCode"]
        text = f"<![CDATA[{status}]]>" if cdata else status
        lines = ["<response>", "<header>", f"<statusCode>{text}</statusCode>", "</header>", "<body/>", "</response>"]
        return indent.join(lines)

    return f"<response><requests><request>{''.join(map(element, parts))}</request></requests></response>".encode()


STATUSES = [200, 429, "429", 401, 201, "401", 404, 429, 4290, 1429]
PARTS = [part(status) for status in STATUSES]
DOCUMENT = {"requests": {"request": PARTS}}
BODIES = [
    json.dumps(DOCUMENT).encode(),
    json.dumps(DOCUMENT, indent=8).encode(),
    json.dumps(DOCUMENT, separators=(",", ":")).encode(),
    as_xml(PARTS, cdata=True, indent=""),
    as_xml(PARTS, cdata=False, indent="\n" + " " * 17),
]


def counted(*pieces: bytes) -> Counter[int]:
    inner = InnerStatuses()
    for piece in pieces:
        inner.feed(piece)
    return inner.counted


@pytest.mark.parametrize("body", BODIES)
def test_the_401s_and_429s_inside_a_batch_are_counted_however_it_is_cut(body: bytes) -> None:
    expected = Counter({429: 3, 401: 2})

    assert counted(body) == expected
    assert counted(*(body[at : at + 1] for at in range(len(body)))) == expected
    for at in range(len(body)):
        assert counted(body[:at], body[at:]) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        json.dumps({"requests": {"request": [part(200, {"statusCode": 429, "header": "statusCode"})]}}).encode(),
        json.dumps({"requests": {"request": [part(200, json.dumps(part(429)))]}}).encode(),
        json.dumps({"statusCode": 429}).encode(),
        json.dumps(part("429 Too Many")).encode()[:-30],
        b"<body><statusCode>429</statusCode></body>",
        b"<header>&lt;statusCode>429</header>",
    ],
)
def test_what_is_no_parts_status_is_not_counted(body: bytes) -> None:
    assert counted(body) == Counter()


def test_a_status_may_stand_beside_other_things_in_its_header() -> None:
    header = {"contentType": "application/json", "statusCode": 429, "reason": "Too Many Requests"}
    body = json.dumps({"requests": {"request": [{"response": {"header": header}}]}}).encode()

    assert counted(body) == Counter({429: 1})


def test_however_long_an_answer_is_little_of_it_is_kept() -> None:
    inner = InnerStatuses()
    for _ in range(1000):
        inner.feed(b"x" * 10_000)

    assert len(inner._rest) <= 1024
