"""What counts as the same question, and which answers are meant for one caller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.fields import answer_fields
from proxy.forwarding.questions import IDS, is_for_one, question
from proxy.wire.head import Head

START = b"GET /api/products?page=1 HTTP/1.1\r\nHost: demo.example\r\nAccept: application/json\r\nX-Request-ID: 1\r\n"


@pytest.mark.parametrize("name", sorted(IDS))
def test_what_only_names_a_request_changes_no_question(name: bytes) -> None:
    named = START + name.title() + b": 4bf92f3577b34da6\r\n"

    assert question(named) == question(START)


def test_the_version_in_which_a_request_came_changes_no_question() -> None:
    old, new = (START + b"Via: 1.%d old.example\r\nVIA: 1.%d proxy\r\n" % (minor, minor) for minor in (0, 1))

    assert question(old) == question(new)
    assert question(new) != question(START)
    assert question(START + b"X: 1.0 \r\n") != question(START + b"X: 1.1 \r\n")


@pytest.mark.parametrize(
    "other",
    [
        START.replace(b"GET", b"HEAD"),
        START.replace(b"page=1", b"page=2"),
        START.replace(b"/products", b"/Products"),
        START.replace(b"Host: demo.example", b"Host: demo2.example"),
        START.replace(b"application/json", b"application/xml"),
        START.replace(b"Accept", b"accept"),
        START + b'If-None-Match: "1"\r\n',
        START + b"X-Forwarded-For: 192.0.2.1\r\n",
        START + b"Content-Length: 0\r\n",
    ],
)
def test_whatever_else_the_platform_would_see_makes_another_question(other: bytes) -> None:
    assert question(other) != question(START)


_line = st.sampled_from([b"A: 1", b"A: 2", b"B: x-request-id: 1", b"X-Request-ID: 1", b"x-request-id: 2", b"B3: 1"])


@given(st.lists(_line), st.lists(_line))
def test_two_questions_are_the_same_if_and_only_if_all_that_counts_is(one: list[bytes], other: list[bytes]) -> None:
    def start(lines: list[bytes]) -> bytes:
        return b"\r\n".join([b"GET / HTTP/1.1", *lines, b""])

    def counts(lines: list[bytes]) -> list[bytes]:
        return [line for line in lines if line[:2] in (b"A:", b"B:")]

    assert (question(start(one)) == question(start(other))) == (counts(one) == counts(other))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False),
        ([b"Cache-Control: public, max-age=60"], False),
        ([b"Cache-Control: no-cache"], False),
        ([b"X-Cache-Control: private"], False),
        ([b"Cache-Control: max-age=0, Private"], True),
        ([b"cache-control: NO-STORE"], True),
        ([b'Cache-Control: private="Set-Cookie"'], True),
        ([b"Cache-Control: public", b"Cache-Control: no-store"], True),
        ([b"Set-Cookie: a=b"], True),
    ],
)
def test_an_answer_that_is_meant_for_one_caller_is_known_by_its_head(lines: list[bytes], expected: bool) -> None:
    assert is_for_one(Head(lines, answer_fields())) is expected
