"""Keeps secrets out of what is logged.

Two nets, one behind the other. Texts that are known to be secret (configured secrets, access tokens in use) are found
wherever they stand, in every form of `secret_forms`. What is not known is found by where it stands: after `Bearer` or
`Basic`, in the shape of a JWT, behind a name such as `access_token`.

Rules: values of any type come in, plain ones (what JSON has) go out, bounded in length; nothing here raises, whatever
the value; texts are searched first and cut afterwards, so that no cut leaves half a secret; a line about a request
costs little, however many secrets there are. One thread adds secrets, any thread may redact.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from typing import Any, Final

from proxy.secret import HIDDEN
from proxy.telemetry.secret_forms import base64_forms, written_forms
from proxy.telemetry.secret_index import SecretIndex

# What JSON has. (Nested ones can't be told to the type checker more precisely at a bearable price.)
Plain = None | bool | int | float | str | list[Any] | dict[str, Any]

MAX_TEXT: Final = 2_048
_CUT: Final = "…"
# A structure may hold this much: characters, and some for each value.
_MAX_STRUCTURE: Final = 16_384
_VALUE_COST: Final = 8
_MAX_DEPTH: Final = 8
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1

# So many backslashes per character of a secret are expected where a text is cut.
_MAX_ESCAPES: Final = 8

# Short texts that were found to hold no secret (method, shop, event, paths called often) are not searched again.
_MAX_REMEMBERED_TEXT: Final = 64
_MAX_REMEMBERED: Final = 4_096

# Names whose value is secret, and names that only say something about a secret.
_SECRET_NAME = re.compile(r"authori[sz]ation|token|secret|passw|passphrase|cookie|api.?key|^auth$", re.IGNORECASE)
_ABOUT_SECRET = re.compile(
    r"[_.-](age|at|endpoint|error|expires|file|host|source|state|status|type|ur[il])$", re.IGNORECASE
)

# Without one of these (or a JWT) the patterns below find nothing.
_TELLING = re.compile(r"[\s=:,%+]")
# In each of these the last group is what has to be hidden.
# The dots of a JWT are not asked for: looking for one from every `eyJ` on would take time quadratic in the text.
_JWT = re.compile(r"(eyJ[\w-]{4}[\w.-]*)", re.ASCII)
_AFTER_SCHEME = re.compile(
    r"""(?i)\b(?:bearer|basic)(?:\s|%20|\+)+(?!(?:realm|error|scope|charset)=)([^\s"',;&\\<>]+)"""
)
# `name: value`, `name=value`, `"name": "value"`, `('name', b'value')`, also as JSON within JSON.
_BETWEEN = r"""(?:\\*["']?\s*(?:[:=]|%3[ad])\s*|\\*["'],\s*)(?:b(?=\\*["']))?"""
_QUOTED = r"""(["'])((?:\\.|(?!\1).)+)|(\\+["'])((?:(?!\3).)+)"""
_AFTER_NAME = re.compile(
    rf"""(?is)(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key){_BETWEEN}(?:{_QUOTED}|([^\s"'\\&,;:=<>()\[\]{{}}]+))"""
)
_AFTER_HEADER = re.compile(rf"""(?is)(?:authorization|cookie){_BETWEEN}(?:{_QUOTED}|([^"'\\\r\n]+))""")
_PATTERNS: Final = (_JWT, _AFTER_SCHEME, _AFTER_NAME, _AFTER_HEADER)


class Redactor:
    """Knows secret texts, and removes them from texts and structures.

    Of the transient ones it knows the `max_transient` most recently added. As a structlog processor it turns an event
    into one with plain values and without secrets.
    """

    def __init__(self, *, max_transient: int = 40_000) -> None:
        self._index = SecretIndex()
        # The forms that have backslashes in them, without those; for texts that were escaped over and over.
        self._bare_index = SecretIndex()
        self._lasting: set[str] = set()
        self._transient: dict[str, None] = {}
        self._max_transient = max_transient
        self._forget_findings()

    def add(self, text: str) -> None:
        """Hide `text` from now on, for ever, also in Base64. For configured secrets."""
        if text and text not in self._lasting:
            self._lasting.add(text)
            self._insert(written_forms(text) | base64_forms(text))

    def add_transient(self, text: str) -> None:
        """Hide `text` until so many others were added after it that it can't be in use. For access tokens."""
        if not text:
            return
        if text in self._transient:
            self._transient[text] = self._transient.pop(text)
            return
        self._transient[text] = None
        self._insert(written_forms(text))
        if len(self._transient) > self._max_transient:
            oldest = next(iter(self._transient))
            del self._transient[oldest]
            forms = written_forms(oldest)
            for form in forms:
                self._index.remove(form)
            for form in _bare(forms):
                self._bare_index.remove(form)

    def redact(self, text: str, max_length: int | None = None) -> str:
        """Return `text` with `[hidden]` in place of each secret, and without what comes after `max_length`."""
        # Taken before the search: if a secret is added meanwhile, what is found goes to a set that nobody reads.
        harmless = self._harmless
        length = len(text)
        if length <= _MAX_REMEMBERED_TEXT and text in harmless:
            return text
        end = length if max_length is None else min(length, max_length)
        # A secret that begins before the end is seen whole.
        margin = self._index.longest + _MAX_ESCAPES * self._bare_index.longest
        searched = text if end == length else text[: end + margin]
        spans = self._index.find(searched, end)
        if "\\" in searched and len(self._bare_index):
            spans += self._find_bare(searched, end)
        if _TELLING.search(searched) or "eyJ" in searched:
            spans += [found.span(found.lastindex or 0) for pattern in _PATTERNS for found in pattern.finditer(searched)]
        if not spans and end == length:
            if length <= _MAX_REMEMBERED_TEXT:
                if len(harmless) >= _MAX_REMEMBERED:
                    harmless.clear()
                harmless.add(text)
            return text
        return _without(text, spans, end)

    def text(self, value: object) -> str:
        """Return `value` as one text, without secrets."""
        shown = self.redact(value, MAX_TEXT) if type(value) is str else self.plain(value)
        return shown if isinstance(shown, str) else str(shown)

    def plain(self, value: object, *, hide: bool = False) -> Plain:
        """Return `value` as JSON has it, without secrets; with `hide` no text of it is shown at all."""
        return _Walk(self).plain(value, hide, _MAX_DEPTH)

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        """Return the event with plain values and without secrets (a structlog processor)."""
        out: dict[str, Any] = {}
        for key, value in event.items():
            name, hide = self._names.get(key) or self.name(key)
            kind = type(value)
            if kind is str:
                shown: Plain = HIDDEN if hide else self.redact(value, MAX_TEXT)
            elif value is None or kind is bool or (kind is int and _MIN_INT <= value <= _MAX_INT):
                shown = value
            else:
                shown = self.plain(value, hide=hide)
            put(out, name, shown)
        return out

    def name(self, key: str) -> tuple[str, bool]:
        """Return how a key is shown, and whether texts under it are hidden whatever they are."""
        names = self._names
        found = names.get(key)
        if found is None:
            hide = _SECRET_NAME.search(key) is not None and _ABOUT_SECRET.search(key) is None
            found = self.redact(key, MAX_TEXT), hide
            if len(key) <= _MAX_REMEMBERED_TEXT and len(names) < _MAX_REMEMBERED:
                names[key] = found
        return found

    def _find_bare(self, text: str, end: int) -> list[tuple[int, int]]:
        places = [place for place, char in enumerate(text) if char != "\\"]
        found = self._bare_index.find(text.replace("\\", ""), len(text[:end].replace("\\", "")))
        return [(places[start], places[stop - 1] + 1) for start, stop in found]

    def _insert(self, forms: set[str]) -> None:
        for form in forms:
            self._index.insert(form)
        for form in _bare(forms):
            self._bare_index.insert(form)
        self._forget_findings()

    def _forget_findings(self) -> None:
        # New objects, not emptied ones: see `redact`.
        self._harmless: set[str] = set()
        self._names: dict[str, tuple[str, bool]] = {}


class _Walk:
    """The way through one value; `left` is how much of it may still be shown."""

    __slots__ = ("_left", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._left = _MAX_STRUCTURE

    def plain(self, value: object, hide: bool, depth: int) -> Plain:
        try:
            return self._plain(value, hide, depth)
        except Exception:  # a value's own code was run; a log line is never worth an error
            return f"<{self._redactor.redact(type(value).__name__, MAX_TEXT)} that can't be shown>"

    def _plain(self, value: object, hide: bool, depth: int) -> Plain:
        self._left -= _VALUE_COST
        if value is None or isinstance(value, bool):
            return value
        # The basic types' own methods: a subclass may have changed them.
        if isinstance(value, int):
            number = int.__int__(value)
            # JSON readers stop at 64 bits; and decimal digits without bound cost time without bound.
            return number if _MIN_INT <= number <= _MAX_INT else self._text(hex(number), hide)
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
            return _CUT
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
        shown = self._redactor.redact(text, min(MAX_TEXT, max(self._left, 0)))
        self._left -= len(shown)
        return shown

    def _mapping(self, items: Iterable[tuple[Any, Any]], hide: bool, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in items:
            if self._left < 0:
                put(out, _CUT, _CUT)
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
                out.append(_CUT)
                break
            out.append(self.plain(item, hide, depth))
        return out

    def _name(self, key: object) -> tuple[str, bool]:
        if isinstance(key, str):
            return self._redactor.name(str.__str__(key))
        if isinstance(key, bytes):
            return self._redactor.name(_as_text(key))
        return str(self.plain(key, False, 1)), False


def put(fields: dict[str, Any], name: str, value: Plain) -> None:
    """Put a field in without losing another one: two names may look the same once their secrets are hidden."""
    while name in fields:
        name = f"{name}~{len(fields)}"
    fields[name] = value


def _bare(forms: set[str]) -> set[str]:
    return {form.replace("\\", "") for form in forms if "\\" in form} - {""}


def _as_text(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


def _without(text: str, spans: list[tuple[int, int]], end: int) -> str:
    """Return `text` up to `end` with the spans hidden; those that overlap are hidden as one."""
    parts: list[str] = []
    done = 0
    for start, stop in sorted(spans):
        if start >= end:
            break
        if start >= done:
            parts += (text[done:start], HIDDEN)
        done = max(stop, done)
    parts.append(text[done:end])
    if end < len(text):
        parts.append(_CUT)
    return "".join(parts)
