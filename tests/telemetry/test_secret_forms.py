"""The ways in which a secret may come to be written, and what they read."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.secret_forms import Reading, base64_forms, places, read, readings

SECRET = "pä'ss \"w/o+r\\d&日🛒"


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(text).replace("/", "\\/")[1:-1],
        lambda text: json.dumps(json.dumps(text))[3:-3],
        lambda text: repr(text)[1:-1],
        lambda text: ascii(text)[1:-1],
        lambda text: repr(text.encode())[2:-1],
        quote,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="").lower(),
        lambda text: quote(quote(quote(text))),
        lambda text: quote(json.dumps(text)[1:-1]),
        lambda text: json.dumps(quote(text))[1:-1],
        quote_plus,
        html.escape,
        lambda text: text.encode().decode("latin-1"),
        lambda text: text.encode().decode("ascii", "surrogateescape"),
        lambda text: repr([repr([json.dumps([text])])]),
    ],
)
def test_each_way_of_writing_reads_the_same(write: Callable[[str], str]) -> None:
    assert any(first + rest in read(write(SECRET)) for first, rest in readings(SECRET))


def test_an_ordinary_secret_is_written_in_one_way() -> None:
    assert readings("abcDEF-123._~") == set()
    assert read("abcDEF-123._~") == "abcDEF-123._~"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("-ab/cd-", "ab/cd"),
        ("-ab%2Fcd-", "ab%2Fcd"),
        ("-%252Fab%252fcd%25-", "ab%252fcd"),
        (r"-\"ab\\\/cd\"-", r"ab\\\/cd"),
        (r"-\u00e9ab\u002fcd\u00e9-", r"ab\u002fcd"),
        ("&amp;ab&#x2F;cd&amp;", "ab&#x2F;cd"),
        ("%ab%2Fcd", "ab%2Fcd"),  # the escape before it takes its beginning
        (r"\xab\/cd", r"ab\/cd"),
        (r"\xab\\\/cd", r"ab\\\/cd"),
        ("Ab%2Fcd", None),
    ],
)
def test_what_is_written_is_found_where_it_stands(written: str, found: str | None) -> None:
    (reading,) = readings("ab/cd")
    spans = {written[start:end] for start, end in places(written, lambda _: [reading])}
    assert spans == ({found} if found else set())


@pytest.mark.parametrize(
    ("secret", "reading"),
    [
        ("ab/cd", ("ab", "/cd")),
        ("/abcd", ("", "/abcd")),
        ("ab%2fcd", ("ab", "/cd")),
        (r"ab\cd", ("ab", "cd")),
        ("ab/%", ("ab", "/")),  # what comes next may complete it
        ("ab/%2", ("ab", "/")),
        (r"ab/\u00e", ("ab", "/")),
        ("ab%", ("ab", "")),
        ("\\\\", ("", "")),
    ],
)
def test_what_a_secret_reads_begins_with_what_no_way_of_writing_changes(secret: str, reading: tuple[str, str]) -> None:
    assert readings(secret) == {reading}


@pytest.mark.parametrize(
    ("reading", "end"),
    [(Reading("ab", "/cd"), "/cd"), (Reading("", "/cd"), "/cd"), (Reading("0" * 9 + "a", "/"), "a/")],
)
def test_an_escape_before_a_secret_may_take_some_of_its_first_characters(reading: Reading, end: str) -> None:
    assert reading.sure_end == end


@given(text=st.text(st.characters()))
def test_reading_never_fails_and_every_character_comes_from_somewhere(text: str) -> None:
    reading = read(text)
    assert all(char < "\u0100" for char in reading)
    for start, end in places(text, lambda _: {Reading("", char) for char in reading}):
        assert 0 <= start < end <= len(text)


@given(secret=st.text(min_size=6, alphabet=st.characters(codec="utf-8")), before=st.binary(max_size=9))
def test_base64_of_anything_with_the_secret_in_it_holds_a_known_form(secret: str, before: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode()).decode()

    assert any(form in encoded for form in base64_forms(secret))
