"""Values of every kind become plain and bounded, and nothing about them makes logging fail."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from proxy.secret import HIDDEN, Secret
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.values import MAX_TEXT


@dataclass
class _Holder:
    value: object


class _Pair(NamedTuple):
    first: object
    second: object


def fields(known: Redactor, event: dict[str, Any]) -> dict[str, Any]:
    """What a line shows of an event's fields."""
    line: dict[str, Any] = {}
    known.fields(event, line)
    return line


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("token", "abc", HIDDEN),
        ("access_token", b"abc", HIDDEN),
        ("clientSecret", ["abc", 1, None], [HIDDEN, 1, None]),
        ("Set-Cookie", {"sid": "abc"}, {"sid": HIDDEN}),
        ("X-Api-Key", _Holder("abc"), HIDDEN),
        ("authorization", Secret("abc"), HIDDEN),
        ("auth", "abc", HIDDEN),
        ("db_password", "abc", HIDDEN),
        ("token_requests", 3, 3),
        ("token_lifetime", 3600.5, 3600.5),
        ("token_cached", True, True),
        ("token", None, None),
        ("token_url", "https://a/token", "https://a/token"),
        ("secret_file", "/run/secrets/demo", "/run/secrets/demo"),
        ("author", "Jókai", "Jókai"),
        ("headers", [("Cookie", "abc"), (b"X-Token", b"abc")], [["Cookie", HIDDEN], ["X-Token", HIDDEN]]),
        ("pair", _Pair("token", "abc"), {"first": "token", "second": "abc"}),
    ],
)
def test_texts_under_a_telling_name_are_hidden_and_numbers_are_not(name: str, value: object, shown: object) -> None:
    assert fields(Redactor(), {name: value}) == {name: shown}
    assert Redactor().plain({name: value}) == {name: shown}
    assert Redactor().plain({name.encode(): value}) == {name: shown}


def test_keys_that_look_the_same_afterwards_lose_nothing() -> None:
    known = Redactor()
    known.add("secret-1")
    known.add("secret-2")
    assert known.plain({"secret-1": 1, "secret-2": 2}) == {HIDDEN: 1, HIDDEN + "~1": 2}
    assert fields(known, {"secret-1": 1, "secret-2": 2}) == {HIDDEN: 1, HIDDEN + "~1": 2}


def test_long_values_are_cut() -> None:
    known = Redactor()
    assert known.plain("x" * 5000) == "x" * MAX_TEXT + "…"
    assert fields(known, {"a": "x" * 5000}) == {"a": "x" * MAX_TEXT + "…"}
    assert len(json.dumps(known.plain(["x" * 5000] * 5000))) < 40_000
    assert len(json.dumps(known.plain(dict.fromkeys(range(50_000), "x")))) < 40_000
    assert len(json.dumps(known.plain(_Holder("x" * 5000)))) < 3_000


class _Raising(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        raise RuntimeError("no")


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class _Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")


class _Number(int):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __int__ = __repr__  # type: ignore[assignment]


def _endless() -> list[Any]:
    result: list[Any] = []
    result += [result, result, {"again": result}]
    return result


def _deep() -> list[Any]:
    result: list[Any] = []
    for _ in range(100_000):
        result = [result]
    return result


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (_Unprintable(), "<_Unprintable that can't be shown>"),
        (_Raising(), "<_Raising that can't be shown>"),
        ([_Unprintable(), 1], ["<_Unprintable that can't be shown>", 1]),
        ({_Unprintable(): 1, 2: 3}, {"<_Unprintable that can't be shown>": 1, "2": 3}),
        (_Text("abc"), "abc"),
        (_Number(3), 3),
        (2**64 - 1, 2**64 - 1),
        (2**64, "0x10000000000000000"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"\xff\x00", "\\xff\x00"),
        (Secret("abc"), HIDDEN),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_every_kind_become_plain(value: object, shown: object) -> None:
    assert Redactor().plain(value) == shown
    assert fields(Redactor(), {"a": value}) == {"a": shown}


@pytest.mark.parametrize("make", [_endless, _deep, lambda: 10**5000, object, lambda: (x for x in "ab")])
def test_values_without_end_or_text_are_bounded(make: Callable[[], object]) -> None:
    assert len(json.dumps(Redactor().plain(make()))) < 40_000
