"""Secrets stay out of texts and structures, in whatever form they come; everything else passes as it is."""

import base64
import html
import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secret import HIDDEN
from proxy.telemetry.redaction import Redactor

SECRET = "pa'ss/w+ö\\r\"d 12"

# Every character there is, and bytes that could not be read (PEP 383).
_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
)
_TEXTS = st.text(_CHARACTERS)
# One of backslashes alone says no more than how many there are.
_SECRETS = st.text(_CHARACTERS, min_size=4).filter(lambda text: text.strip("\\"))
_TOKENS = st.text(_CHARACTERS, min_size=16)


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
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(_bytes(secret))[2:-1],
        quote(_bytes(secret)),
        quote(_bytes(secret), safe=""),
        quote_plus(_bytes(secret)),
        html.escape(secret),
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
    "JSON from PHP, within a text": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "repr": repr,
    "repr between both quotes": lambda secret: repr(f"\"'{secret}"),
    "repr of a repr": lambda secret: repr(_Holder([repr(secret)])),
    "escaped four times": lambda secret: repr([json.dumps(repr([json.dumps(secret)]))]),
    "repr of bytes": lambda secret: repr(_bytes(secret)),
    "ascii": ascii,
    "quote": lambda secret: quote(_bytes(secret)),
    "quote, slashes too": lambda secret: quote(_bytes(secret), safe=""),
    "quote_plus": lambda secret: quote_plus(_bytes(secret)),
    "HTML": html.escape,
    "HTML by numbers": lambda secret: "".join(f"&#{ord(char)};" if char in "'/\"\\" else char for char in secret),
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


def assert_hidden(secret: str, value: object, *, in_base64: bool = True) -> None:
    *others, base64_form = forms(secret)
    for text in strings(value):
        for part in text.split(HIDDEN):
            for form in (*others, base64_form) if in_base64 else others:
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


@pytest.mark.parametrize(
    "written",
    [
        "%7Ea~secret-of-the-shop",
        "~a%7esecret-of-the-shop",
        "~%61~%73ecret-of-the-shop",
        "%7E%61%7E%73%65%63%72%65%74%2D%6F%66%2D%74%68%65%2D%73%68%6F%70",
        "~a~secret%252Dof-the-shop",
        "~a~\\u0073ecret-of-the-shop",
        "~a~&#115;ecret-of-the-sho&#x70;",
    ],
)
@pytest.mark.parametrize("others", [[], ["an/other + secret"]])
def test_a_secret_is_hidden_though_it_was_escaped_without_need(written: str, others: list[str]) -> None:
    """Whoever writes a URL may escape letters too (RFC 3986 §2.3)."""
    known = redactor(*others, "~a~secret-of-the-shop")
    assert known.redact(f"/x?y={written}&z=%C3%A9") == f"/x?y={HIDDEN}&z=%C3%A9"
    line: dict[str, str] = {}
    known.fields({"path": f"/x/{written}/y", "method": "GET"}, line)
    assert line == {"path": f"/x/{HIDDEN}/y", "method": "GET"}
    assert known.redact("/x?y=%7Ea~secret-of-the-shoe") == "/x?y=%7Ea~secret-of-the-shoe"


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


@given(
    token=_TOKENS,
    before=_TEXTS,
    after=_TEXTS,
    text=st.sampled_from([_AS_TEXT[name] for name in _AS_TEXT if name != "Basic" and "Base64" not in name]),
    values=st.lists(st.sampled_from(list(_AS_VALUE.values())), min_size=1, max_size=3),
)
def test_no_token_is_seen_whatever_it_is_and_whatever_is_around_it(
    token: str, before: str, after: str, text: Callable[[str], str], values: list[Callable[[str], object]]
) -> None:
    known = Redactor()
    if known.add_transient(token):
        assert_hidden(token, [known.plain(value(before + text(token) + after)) for value in values], in_base64=False)


# What may take something of a secret behind it for its own, and what a secret may begin with; and the same at its end.
_BEFORE = (
    "%",
    "%2",
    "%25",
    "%252",
    "\\",
    "\\\\",
    "\\x",
    "\\x4",
    "\\u",
    "\\u00e",
    "\\U000000",
    "+",
    "&",
    "&#",
    "é",
    "\udcc3",
)
_BEGIN = ("41ab", "ab", "25", "2541", "n", "x41", "u00e9", "0000", "%41", "\\n", "/", "é", "\udcb6", "+", "")
_END = ("/", "%", "%4", "%25", "%254", "\\", "\\x", "\\x4", "\\u00e", "&", "é", "=", "")
_AFTER = ("0", "25", "41ab", "n", "\\", "%41", "%", "/", "é", "\udcb6", "")


@pytest.mark.parametrize(
    ("befores", "begin", "end", "afters"),
    [(_BEFORE, begin, end, ("",)) for begin in _BEGIN for end in ("", "/")]
    + [(("", "/"), begin, end, _AFTER) for begin in ("", "/") for end in _END],
)
def test_nothing_around_a_secret_changes_how_it_is_read(
    befores: tuple[str, ...], begin: str, end: str, afters: tuple[str, ...]
) -> None:
    secret = f"{begin}0a/b'c\"d{end}"
    token = f"{secret}-{secret}"
    known = redactor(secret)
    assert known.add_transient(token)
    for before, after, text, one in product(befores, afters, _AS_TEXT.values(), (secret, token)):
        assert_hidden(one, known.plain(before + text(one) + after), in_base64=False)


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
        pytest.param(
            ["sixteen-letters-1", "sixteen-letters-1-2"],
            "-sixteen-letters-1-sixteen-letters-1-2-",
            "-[hidden]-[hidden]-",
            id="long, one begins another",
        ),
        pytest.param(
            ["0-sixteen-letters-1", "sixteen-letters-1-2", "letters-1"],
            "-0-sixteen-letters-1-2-letters-1-",
            "-[hidden]-[hidden]-",
            id="long, overlapping",
        ),
        pytest.param(["sixteen/sixteen/s"], "sixteen/sixteen/sixteen/s", "[hidden]", id="long, overlapping itself"),
        pytest.param(
            ["sixteen/letters/1"], r"sixteen%2Fletters%2F1sixteen\/letters\/1", "[hidden][hidden]", id="escaped"
        ),
        pytest.param(["日本語の秘密"], "???", "???", id="what can't be written is not taken for question marks"),
    ],
)
def test_secrets_that_touch_each_other_leave_nothing(secrets: list[str], text: str, shown: str) -> None:
    assert redactor(*secrets).redact(text) == shown
    known = Redactor()
    if all(known.add_transient(secret) for secret in secrets):
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
    assert known.redact("ijklmnop-ijklmnop") == "ijklmnop-ijklmnop"
    known.add("abcdefgh")
    known.add_transient("ijklmnop-ijklmnop")
    assert known.redact("abcdefgh") == HIDDEN
    assert known.redact("ijklmnop-ijklmnop") == HIDDEN


def test_of_tokens_the_oldest_are_forgotten_first() -> None:
    known = Redactor(max_transient=3)
    names = ("token-1", "token-2", "token-3", "token/4", "token/5")
    for name in (*names[:3], names[0], *names[3:]):
        assert known.add_transient(f"{name}-with-more-of-it")
    shown = [known.redact(f"x{name}-with-more-of-it") for name in (*names, "token%2F5")]
    assert shown == [
        "x[hidden]",
        "xtoken-2-with-more-of-it",
        "xtoken-3-with-more-of-it",
        "x[hidden]",
        "x[hidden]",
        "x[hidden]",
    ]


def test_a_token_is_forgotten_some_time_after_its_end() -> None:
    now = 0.0
    known = Redactor(clock=lambda: now)
    known.add_transient("0-short-lived-token", 60.0)
    known.add_transient("0-long-lived-token", 86_400.0)
    known.add_transient("0-token-of-a-day-or-so")
    known.add_transient("0-short-lived-token", 600.0)  # granted again
    now = 660.0
    assert known.add_transient("1-short-lived-token", 60.0)
    assert known.redact("0-short-lived-token") == HIDDEN  # it may be spoken of a while longer
    now = 2 * 3_600.0
    for number in range(10):
        known.add_transient(f"{number}-yet-another-token", 60.0)
    assert known.redact("0-short-lived-token") == "0-short-lived-token"
    assert known.redact("0-long-lived-token 0-token-of-a-day-or-so") == "[hidden] [hidden]"


def test_a_token_that_is_also_a_configured_secret_is_never_forgotten() -> None:
    known = Redactor(max_transient=1)
    for add in (known.add, known.add_transient, known.add, known.add_transient):
        add("both-of-them-at-once")
    known.add_transient("yet-another-token")
    assert not known.add_transient("")
    assert known.redact("both-of-them-at-once yet-another-token") == "[hidden] [hidden]"


@pytest.mark.parametrize("token", ["e", "test", "request.forward", "15-characters/!", "%41" * 15, "\\" * 40 + "n"])
def test_a_token_that_is_too_short_to_be_a_secret_is_not_looked_for(token: str) -> None:
    known = Redactor()
    assert not known.add_transient(token)
    assert known.redact(f"a{token}b") == f"a{token}b"


def test_forgotten_tokens_leave_no_memory_behind() -> None:
    known = Redactor(max_transient=2)
    for number in range(50):
        known.add_transient(f"{number}/{number}" * 8)
        known.add_transient(f"a shared beginning {number}")
    assert len(known._secrets) <= 2 * 8
    assert len(known._readings) <= 2 * 8


def test_tokens_are_bounded_in_their_characters_too() -> None:
    known = Redactor()
    for number in range(3_000):
        known.add_transient("x" * 16_000 + f"-{number}")
    assert sum(map(len, known._transient)) == known._transient_characters <= 1 << 25
    assert known.redact("x" * 16_000 + "-2999") == HIDDEN


def test_a_long_token_costs_no_more_memory_than_some_of_its_length() -> None:
    known = Redactor()
    token = "ab/c+d=" * 2_000
    tracemalloc.start()
    known.add_transient(token)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 3 * len(token)


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


def test_a_text_that_was_harmless_is_so_only_until_it_is_known_for_secret() -> None:
    text = "/orders/a-secret-to-come-1"
    known = redactor("another-secret-00")
    assert known.is_harmless(text)
    assert known.is_harmless(text)
    assert known.add_transient("a-secret-to-come-1")
    assert not known.is_harmless(text)
    known.add("orders")
    assert not known.is_harmless("/orders")
    assert known.is_harmless("/x")


@pytest.mark.parametrize("text", ["/x?token=a", "eyJhbGciOi", "x" * 2049, "/caf\u00e9"])
def test_what_needs_a_closer_look_is_not_called_harmless(text: str) -> None:
    known = redactor()
    assert [known.is_harmless(text), known.is_harmless(text)] == [False, False]


def test_of_harmless_texts_a_bounded_number_is_remembered() -> None:
    known = redactor()
    tracemalloc.start()
    try:
        for number in range(5_000):
            assert known.is_harmless(f"/{number:0120d}")
            assert known.is_harmless(f"/{number:01900d}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
