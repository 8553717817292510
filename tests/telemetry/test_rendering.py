"""A line is one line, whatever stands in it, and can be read back."""

import json
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import rendering
from proxy.telemetry.rendering import console_renderer, escaped

_TEXTS = st.text(st.characters())
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXTS, values, max_size=3),
    max_leaves=5,
)
_EVENTS = st.dictionaries(_TEXTS, _VALUES, max_size=4).map(
    lambda fields: {"timestamp": "2026-02-03T04:05:06.789Z", "level": "info", "event": "a.b"} | fields
)


def json_line(event: Mapping[str, object]) -> str:
    return rendering.json_line(event).decode()


def render(event: Mapping[str, object], *, color: bool = False) -> str:
    return console_renderer(color=color)(event).decode()


@given(event=_EVENTS)
def test_json_is_one_line_that_reads_back_as_the_event(event: dict[str, object]) -> None:
    line = json_line(event)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    # Strictly: there is no lone surrogate in it, and nothing that only Python's own reader knows.
    read = msgspec.json.decode(line)
    if all(text.isprintable() for text in (str(event), json.dumps(event, ensure_ascii=False))):
        assert read == event


@given(event=_EVENTS)
def test_the_console_form_is_one_line_without_control_characters(event: dict[str, object]) -> None:
    event.pop("exception", None)
    line = render(event)
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@given(text=_TEXTS)
def test_each_line_of_an_exception_is_indented_in_the_console_form(text: str) -> None:
    first, *rest = render({"timestamp": "T", "level": "error", "event": "a.b", "exception": text})[:-1].split("\n")
    assert first.split() == ["error", "a.b"]
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_lone_surrogate_and_line_ends_of_unicode_are_escaped_in_json() -> None:
    line = json_line({"a": "\ud800é\u2028\x85\x7f", "b": 'x\n"'})
    assert line == '{"a":"\\\\ud800é\\u2028\\u0085\\u007f","b":"x\\n\\""}\n'
    assert json_line({"a": "\x7f"}) == '{"a":"\\u007f"}\n'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("/a/b;c?é", "/a/b;c?é"),
        ("a b", '"a b"'),
        ("x status=200", '"x status=200"'),
        ("status=200", '"status=200"'),
        ('"', r'"\""'),
        ("a\\n", r'"a\\n"'),
        ("a\n12:00:00  error  b", r'"a\n12:00:00  error  b"'),
        ("\x1b[31mred\x9b0m", r'"\x1b[31mred\x9b0m"'),
        ("\u202eevil\u200b", r'"\u202eevil\u200b"'),
        (200, "200"),
        (0.25, "0.25"),
        (True, "true"),
        ([1, {"a": "b\x1b"}], r'[1, {"a": "b\u001b"}]'),
    ],
)
def test_a_console_value_can_be_told_from_everything_around_it(value: object, shown: str) -> None:
    line = render({"timestamp": "2026-02-03T04:05:06.789Z", "level": "info", "event": "a.b", "name": value, "next": 1})
    assert line == f"2026-02-03 04:05:06.789Z  info      a.b                     name={shown}  next=1\n"


@pytest.mark.parametrize("value", [None, ""])
def test_what_says_nothing_is_left_out_for_people_and_stays_for_programs(value: object) -> None:
    event = {"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "event": "e", "name": value, "zero": 0}

    assert "name" not in render(event)
    assert "zero=0" in render(event)
    assert json.loads(json_line(event))["name"] == value


def test_a_console_field_name_is_escaped_too() -> None:
    assert render({"a\nb": 1, "c d": 2}).rstrip().endswith(r'"a\nb"=1  "c d"=2')


def test_colours_are_only_used_when_asked_for() -> None:
    event = {"timestamp": "2026-02-03T04:05:06.789Z", "level": "warning", "event": "a.b", "name": "x", "exception": "E"}
    plain = "2026-02-03 04:05:06.789Z  warning   a.b                     name=x\n    E\n"
    assert render(event) == plain
    painted = render(event, color=True)
    assert "\x1b[33mwarning " in painted
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[36m"):
        painted = painted.replace(code, "")
    assert painted == plain


@given(text=_TEXTS)
def test_printable_text_is_not_touched_by_escaping(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(escaped(text)) == escaped(text)
