"""Secrets stay out of texts and structures, in whatever form they come; everything else passes as it is."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secret import HIDDEN
from proxy.telemetry.redaction import Redactor

SECRET = "pa'ss/w+ö\\r\"d 1"

# Every character there is, and bytes that could not be read (PEP 383).
_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
)
_TEXTS = st.text(_CHARACTERS)
_SECRETS = st.text(_CHARACTERS, min_size=4)


def redactor(*secrets: str) -> Redactor:
    result = Redactor()
    for secret in secrets:
        result.add(secret)
    return result


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def forms(secret: str) -> list[str]:
    """What must not be seen of a secret, found in other ways than the code under test does."""
    # Of Base64, the three characters beside the secret tell at most four bits of it.
    return [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(_bytes(secret))[2:-1],
        quote(_bytes(secret)),
        quote(_bytes(secret), safe=""),
        quote_plus(_bytes(secret)),
        base64.b64encode(b"id:" + _bytes(secret)).decode()[4:].rstrip("=")[:-1],
    ]


@dataclass
class _Holder:
    value: object


class _Pair(NamedTuple):
    first: object
    second: object


def _with_basic(secret: str) -> str:
    return "Basic " + base64.b64encode(b"id:" + _bytes(secret)).decode()


_AS_TEXT: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "JSON": json.dumps,
    "JSON with all letters": lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps([secret])),
    "JSON from PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "repr": repr,
    "repr between both quotes": lambda secret: repr(f"\"'{secret}"),
    "repr of a repr": lambda secret: repr(_Holder([repr(secret)])),
    "escaped four times": lambda secret: repr([json.dumps(repr([json.dumps(secret)]))]),
    "repr of bytes": lambda secret: repr(_bytes(secret)),
    "ascii": ascii,
    "quote": lambda secret: quote(_bytes(secret)),
    "quote, slashes too": lambda secret: quote(_bytes(secret), safe=""),
    "quote_plus": lambda secret: quote_plus(_bytes(secret)),
    "quoted twice": lambda secret: quote(quote(_bytes(secret), safe=""), safe=""),
    "Basic": _with_basic,
    "Base64 alone": lambda secret: _with_basic(secret).removeprefix("Basic "),
    "Base64 in a query": lambda secret: quote_plus(_with_basic(secret).removeprefix("Basic ")),
    "header field as aiohttp reads it": lambda secret: _bytes(secret).decode("ascii", "surrogateescape"),
    "UTF-8 read as Latin-1": lambda secret: _bytes(secret).decode("latin-1"),
}
_AS_VALUE: dict[str, Callable[[str], object]] = {
    "text": lambda text: text,
    "bytes": _bytes,
    "bytearray": lambda text: bytearray(_bytes(text)),
    "memoryview": lambda text: memoryview(_bytes(text)),
    "list": lambda text: [1, text],
    "tuple": lambda text: (text, text, None),
    "set": lambda text: {text},
    "key": lambda text: {text: 1, text + "'": 2},
    "bytes as key": lambda text: {_bytes(text): 1},
    "tuple as key": lambda text: {(1, text): 1},
    "deep value": lambda text: {"a": [{"b": ({"c": text},)}]},
    "dataclass": _Holder,
    "named tuple": lambda text: _Pair(1, text),
    "dataclass in a dict in a list": lambda text: [{"a": _Holder({text: text})}],
    "exception": lambda text: ValueError("no", text),
}


def strings(value: object) -> Iterator[str]:
    """Every text in a plain value, keys too."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from strings(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from strings(item)


def assert_hidden(secret: str, value: object) -> None:
    for text in strings(value):
        for part in text.split(HIDDEN):
            for form in forms(secret):
                assert len(form) < 3 or form not in part


@pytest.mark.parametrize("value", _AS_VALUE.values(), ids=_AS_VALUE)
@pytest.mark.parametrize("text", _AS_TEXT.values(), ids=_AS_TEXT)
def test_a_secret_is_hidden_in_every_form_and_place(text: Callable[[str], str], value: Callable[[str], object]) -> None:
    shown = redactor(SECRET).plain(value(f"before {text(SECRET)} after"))
    assert_hidden(SECRET, shown)
    assert HIDDEN in str(shown)


@pytest.mark.parametrize("value", _AS_VALUE.values(), ids=_AS_VALUE)
@pytest.mark.parametrize("text", [pytest.param(_AS_TEXT[name], id=name) for name in _AS_TEXT if "Base64" not in name])
def test_a_token_is_hidden_in_every_form_and_place(text: Callable[[str], str], value: Callable[[str], object]) -> None:
    known = Redactor()
    known.add_transient(SECRET)
    shown = known.plain(value(f"before {text(SECRET)} after"))
    assert_hidden(SECRET, shown)
    assert HIDDEN in str(shown)


@given(
    secret=_SECRETS,
    before=_TEXTS,
    after=_TEXTS,
    text=st.sampled_from(list(_AS_TEXT.values())),
    values=st.lists(st.sampled_from(list(_AS_VALUE.values())), min_size=1, max_size=3),
)
def test_no_secret_is_seen_whatever_it_is_and_whatever_is_around_it(
    secret: str, before: str, after: str, text: Callable[[str], str], values: list[Callable[[str], object]]
) -> None:
    known = redactor(secret)
    shown = [known.plain(value(before + text(secret) + after)) for value in values]
    assert_hidden(secret, shown)


@given(secret=st.text(_CHARACTERS, min_size=1, max_size=3), before=_TEXTS, after=_TEXTS)
def test_the_shortest_secrets_are_hidden_too(secret: str, before: str, after: str) -> None:
    shown = redactor(secret).redact(before + secret + after)
    assert all(secret not in part for part in shown.split(HIDDEN))


@given(secrets=st.lists(st.text("NOPQRSTU", min_size=8)), text=st.text("abcdefghijklm0123456789/?.-_ :é☃\n"))
def test_a_text_without_secrets_passes_unchanged(secrets: list[str], text: str) -> None:
    known = redactor(*secrets)
    assert known.redact(text) == text
    assert known.redact(text) == text
    assert known.plain({"a": [text]}) == {"a": [text]}


@pytest.mark.parametrize(
    ("secrets", "text", "shown"),
    [
        pytest.param(["abcdef", "abcdefghij"], "-abcdefghij-abcdef-", "-[hidden]-[hidden]-", id="one begins another"),
        pytest.param(
            ["abcdefgh-1", "abcdefgh-1-2"], "abcdefgh-1-2-abcdefgh-1-", "[hidden]-[hidden]-", id="one goes on"
        ),
        pytest.param(["abcdefghij", "fghij"], "-abcdefghij-fghij-", "-[hidden]-[hidden]-", id="one ends another"),
        pytest.param(["abcdefghij", "def"], "-abcdefghij-def-", "-[hidden]-[hidden]-", id="one within another"),
        pytest.param(["abcdef", "defghi"], "-abcdefghi-", "-[hidden]-", id="overlapping"),
        pytest.param(["abcab"], "abcabcab", "[hidden]", id="overlapping itself"),
        pytest.param(["wxyz"], "wxyzwxyz", "[hidden][hidden]", id="side by side"),
        pytest.param(["x"], "axbxx", "a[hidden]b[hidden][hidden]", id="one character"),
        pytest.param(["secret-a-1", "secret-a-22", "secret-a-333"], "secret-a-22!", "[hidden]!", id="beginning alike"),
        pytest.param(["line one\nline two"], "  | line one\n  | line two", "  | [hidden]\n  | [hidden]", id="margin"),
        pytest.param([""], "text", "text", id="empty"),
        pytest.param(["日本語の秘密"], "???", "???", id="what can't be written is not taken for question marks"),
    ],
)
def test_secrets_that_touch_each_other_leave_nothing(secrets: list[str], text: str, shown: str) -> None:
    assert redactor(*secrets).redact(text) == shown
    known = Redactor()
    for secret in secrets:
        known.add_transient(secret)
    assert known.redact(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
        ("got Bearer abc, then bearer\tdef", "got Bearer [hidden], then bearer\t[hidden]"),
        ("Basic dXNlcjpwYXNz=", "Basic [hidden]"),
        ("q=Basic%20dXNl%3D&r=1", "q=Basic%20[hidden]&r=1"),
        ('Bearer realm="api", error="invalid_token"', 'Bearer realm="api", error="invalid_token"'),
        ("x eyJhbGciOi.eyJzdWIiOiIx.c2ln-_ y", "x [hidden] y"),
        ('{"access_token":"a b","expires_in":3600}', '{"access_token":"[hidden]","expires_in":3600}'),
        (r"{\"access_token\": \"ab\", \"x\": 1}", r"{\"access_token\": \"[hidden]\", \"x\": 1}"),
        (r"password='it\'s mine', x=1", "password='[hidden]', x=1"),
        ("grant_type=x&client_secret=a%2Fb&scope=y", "grant_type=x&client_secret=[hidden]&scope=y"),
        ("Credentials(client_id='erp', client_secret=babc)", "Credentials(client_id='erp', client_secret=[hidden])"),
        ("[(b'Cookie', b'sid=1; x=2'), (b'A', b'b')]", "[(b'Cookie', b'[hidden]'), (b'A', b'b')]"),
        ("Cookie: sid=1; x=2\nHost: a", "Cookie: [hidden]\nHost: a"),
        ("token_requests=3 token_lifetime=60", "token_requests=3 token_lifetime=60"),
        ("no token, no secret", "no token, no secret"),
        ("Bearer [hidden]", "Bearer [hidden]"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_though_unknown(text: str, shown: str) -> None:
    assert Redactor().redact(text) == shown


def test_a_secret_that_no_encoding_has_a_place_for_is_hidden_too() -> None:
    assert redactor("\ud800abc\ud800").redact("x\ud800abc\ud800y \\ud800abc\\ud800") == "x[hidden]y [hidden]"


def test_a_text_that_was_seen_before_it_became_a_secret_is_hidden_from_then_on() -> None:
    known = Redactor()
    assert known.redact("abcdefgh") == "abcdefgh"
    assert known.name("ijklmnop") == ("ijklmnop", False)
    known.add("abcdefgh")
    known.add_transient("ijklmnop")
    assert known.redact("abcdefgh") == HIDDEN
    assert known.name("ijklmnop") == (HIDDEN, False)


def test_texts_are_searched_again_when_too_many_were_remembered() -> None:
    known = redactor("abcdefgh")
    for number in range(10_000):
        assert known.redact(f"text {number}") == f"text {number}"
    assert len(known._harmless) < 5_000
    assert known.redact("text 1 abcdefgh") == "text 1 [hidden]"


def test_of_tokens_the_oldest_are_forgotten_first() -> None:
    known = Redactor(max_transient=3)
    for token in ("token-1", "token-2", "token-3", "token-1", "token/4", "token/5"):
        known.add_transient(token)
    shown = [
        known.redact(f"x{token}") for token in ("token-1", "token-2", "token-3", "token/4", "token/5", "token%2F5")
    ]
    assert shown == ["x[hidden]", "xtoken-2", "xtoken-3", "x[hidden]", "x[hidden]", "x[hidden]"]


def test_a_token_that_is_also_a_configured_secret_is_never_forgotten() -> None:
    known = Redactor(max_transient=1)
    for add in (known.add, known.add_transient, known.add, known.add_transient):
        add("both-of-them")
    known.add_transient("another-token")
    known.add_transient("")
    assert known.redact("both-of-them another-token") == "[hidden] [hidden]"


def test_forgotten_tokens_leave_no_memory_behind() -> None:
    known = Redactor(max_transient=2)
    for number in range(50):
        known.add_transient(f"{number}/")
        known.add_transient(f"shared beginning {number}")
    index = known._index
    assert len(index) <= 2 * 20
    assert sum(len(table) for _, table in index._tables) <= 2 * 20


@pytest.mark.parametrize("piece", ["eyJ", "eyJ.", "token", "token ", "token='", "bearer ", "+", "\\", "'", "basic%20"])
def test_the_time_to_search_does_not_explode(piece: str) -> None:
    # 400 kB; at a cost quadratic in that, this would not end.
    shown = Redactor().redact("token bearer cookie" + piece * (400_000 // len(piece)))
    assert shown.startswith("token bearer ")


@pytest.mark.parametrize("shift", range(0, 40, 3))
def test_no_cut_leaves_half_a_secret(shift: int) -> None:
    known = redactor("0123456789abcdefghij")
    shown = known.redact("." * 80 + "0123456789abcdefghij" * 3 + "." * 80, 60 + shift * 3)
    assert set(shown.replace(HIDDEN, "")) <= set(".…")
    assert shown.endswith("…")


def test_the_cut_neither_shows_what_is_behind_it_nor_hides_a_secret_from_the_search() -> None:
    assert redactor("long secret").redact("0123456789 Bearer abc", 10) == "0123456789…"
    escaped_often = 'a"b"c"d'.replace('"', "\\" * 15 + '"')
    assert redactor('a"b"c"d').redact(f"012345{escaped_often}", 10) == "012345[hidden]…"
