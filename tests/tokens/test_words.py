"""What an endpoint says for people, made fit for the log; test_endpoint_answers.py has what becomes of it."""

import pytest

from proxy.tokens.words import first_words, own_words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"plain  text\n", "plain text"),
        (b"<p>a<b>b</b></p>", "a b"),
        (b"a<STYLE media='x'>no</Style>b", "a b"),
        (b"a<script>no <p>", "a"),
        (b"a < b > c", "a c"),
        (b"a <<< b", "a <<< b"),
        (b"a <b", "a <b"),
    ],
)
def test_of_html_the_text_is_left(body: bytes, words: str) -> None:
    assert first_words(body, str) == words


@pytest.mark.parametrize(
    ("piece", "words"),
    [("<", "<" * 200), ("<style>", ""), ("<script ", ""), ("</style", "</style" * 29), ("<a", "<a" * 100)],
)
def test_hostile_html_costs_no_more_than_its_length(piece: str, words: str) -> None:
    # Where the time were quadratic in the length, this would take minutes.
    assert first_words(piece.encode() * 60_000, str) == words[:200]


def test_fields_for_people_come_before_the_first_words() -> None:
    document = {"error": "e", "hint": "h", "other": "x"}

    assert own_words(400, document, b"...", str.upper) == ", error: 'E', hint: 'H'"
    assert own_words(400, {}, b"{}", str) == ": '{}'"
    assert own_words(200, None, b"words", str) == ", no JSON"
