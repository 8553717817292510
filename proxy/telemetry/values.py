"""Turns a value of any type into what JSON has, bounded, with a function of the caller's applied to each text in it.

Rules: nothing here raises, whatever the value; what stands under a name such as `access_token` is not shown.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from proxy.secret import HIDDEN

# What JSON has. (Nested ones can't be told to the type checker more precisely at a bearable price.)
Plain = None | bool | int | float | str | list[Any] | dict[str, Any]
# Returns what is shown of a text, no longer than this.
Show = Callable[[str, int], str]

MAX_TEXT: Final = 2_048
CUT: Final = "…"
# A structure may hold this much: characters, and some for each value.
_MAX_STRUCTURE: Final = 16_384
_VALUE_COST: Final = 8
_MAX_DEPTH: Final = 8
MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1

# Names whose value is secret, and names that only say something about a secret.
_SECRET_NAME = re.compile(r"authori[sz]ation|token|secret|passw|passphrase|cookie|api.?key|^auth$", re.IGNORECASE)
_ABOUT_SECRET = re.compile(
    r"[_.-](age|at|endpoint|error|expires|file|host|source|state|status|type|ur[il])$", re.IGNORECASE
)


def is_secret_name(name: str) -> bool:
    """Tell whether what is called so is secret, whatever it is."""
    return _SECRET_NAME.search(name) is not None and _ABOUT_SECRET.search(name) is None


def plain(value: object, show: Show, *, hide: bool = False) -> Plain:
    """Return `value` as JSON has it; with `hide` no text of it is shown at all."""
    return _Walk(show).plain(value, hide, _MAX_DEPTH)


def put(fields: dict[str, Any], name: str, value: Plain) -> None:
    """Put a field in without losing another one: two names may look the same once their secrets are hidden."""
    while name in fields:
        name = f"{name}~{len(fields)}"
    fields[name] = value


class _Walk:
    """The way through one value; `left` is how much of it may still be shown."""

    __slots__ = ("_left", "_show")

    def __init__(self, show: Show) -> None:
        self._show = show
        self._left = _MAX_STRUCTURE

    def plain(self, value: object, hide: bool, depth: int) -> Plain:
        try:
            return self._plain(value, hide, depth)
        except Exception:  # a value's own code was run; a log line is never worth an error
            return f"<{self._show(type(value).__name__, MAX_TEXT)} that can't be shown>"

    def _plain(self, value: object, hide: bool, depth: int) -> Plain:
        self._left -= _VALUE_COST
        if value is None or isinstance(value, bool):
            return value
        # The basic types' own methods: a subclass may have changed them.
        if isinstance(value, int):
            number = int.__int__(value)
            # JSON readers stop at 64 bits; and decimal digits without bound cost time without bound.
            return number if MIN_INT <= number <= MAX_INT else self._text(hex(number), hide)
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else str(real)
        if isinstance(value, str):
            return self._text(str.__str__(value), hide)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(_as_text(value), hide)
        return self._structure(value, hide, depth)

    def _structure(self, value: object, hide: bool, depth: int) -> Plain:
        if self._left < 0 or depth == 0:
            return CUT
        if isinstance(value, Mapping):
            return self._mapping(value.items(), hide, depth - 1)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._mapping(zip(value._fields, value, strict=True), hide, depth - 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, hide, depth - 1)
        return HIDDEN if hide else self._text(repr(value), hide)

    def _text(self, text: str, hide: bool) -> str:
        if hide:
            return HIDDEN
        shown = self._show(text, min(MAX_TEXT, max(self._left, 0)))
        self._left -= len(shown)
        return shown

    def _mapping(self, items: Iterable[tuple[Any, Any]], hide: bool, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in items:
            if self._left < 0:
                put(out, CUT, CUT)
                break
            name, secret = self._name(key)
            self._left -= len(name)
            put(out, name, self.plain(item, hide or secret, depth))
        return out

    def _items(self, value: Collection[Any], hide: bool, depth: int) -> list[Any]:
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str | bytes):
            # A header field as a pair.
            return [self.plain(value[0], hide, depth), self.plain(value[1], hide or self._name(value[0])[1], depth)]
        out: list[Any] = []
        for item in value:
            if self._left < 0:
                out.append(CUT)
                break
            out.append(self.plain(item, hide, depth))
        return out

    def _name(self, key: object) -> tuple[str, bool]:
        if not isinstance(key, str | bytes):
            return str(self.plain(key, False, 1)), False
        name = _as_text(key) if isinstance(key, bytes) else str.__str__(key)
        return self._show(name, MAX_TEXT), is_secret_name(name)


def _as_text(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")
