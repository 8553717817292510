"""Keeps secrets out of what is logged.

Two nets, one behind the other. Texts that are known to be secret (configured secrets, access tokens in use) are found
wherever they stand, in every form of `secret_forms`. What is not known is found by where it stands: after `Bearer` or
`Basic`, in the shape of a JWT, behind a name such as `access_token`.

Rules: constants of our own are not searched: names of events and fields, and the fields in `_CONSTANT`; all else is.
Values of any type come in, plain ones (what JSON has) go out, bounded in length; nothing here raises, whatever the
value; texts are searched first and cut afterwards, so that no cut leaves half a secret; a line about a request costs
little, however many secrets there are. One thread adds secrets, any thread may redact.
"""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from typing import Any, Final

from proxy.secret import HIDDEN
from proxy.telemetry.secret_forms import Reading, base64_forms, places, readings
from proxy.telemetry.secret_index import SecretIndex
from proxy.telemetry.values import CUT, MAX_INT, MAX_TEXT, MIN_INT, Plain, is_secret_name, plain, put

# The one table of fields that are not searched as everything else is. `_CONSTANT`: their values stand in our code, or
# were made from its constants and the configuration. `_OURS`: sentences of ours that may quote others, such as the name
# of a shop; known secrets are looked for in them, but what stands after the word "Bearer" is a word of ours.
_CONSTANT: Final = frozenset({"client", "code", "hint", "fix", "setting", "why"})
_OURS: Final = frozenset({"detail", "problems"})
# What names of events and fields look like. They are written in our code: no name is ever made from what others say.
_NAME = re.compile(r"[a-z]+(?:[._][a-z]+)*")
_TAKEN: Final = frozenset({"timestamp", "level", "event"})

# A shorter token is no secret: it could be found by trying, and to hide it would hide all that looks like it.
SHORTEST_TOKEN: Final = 16  # characters
# A token whose lifetime nobody told may be good for so long.
_UNKNOWN_LIFETIME: Final = 86_400.0  # seconds
# So long after its end a token is still hidden: it may be spoken of later.
_REMEMBERED_AFTER_END: Final = 3_600.0
_MAX_TRANSIENT: Final = 40_000
_MAX_TRANSIENT_CHARACTERS: Final = 1 << 25
# So many are looked at for each that is added, so that nothing waits while many come to their end.
_LOOKED_AT: Final = 4

# So many texts without a secret are remembered before all are forgotten, and none that is longer.
_MAX_HARMLESS: Final = 1000
_MAX_HARMLESS_LENGTH: Final = 128  # characters

# A line of a secret over several lines (a PEM key) is itself secret if it is at least this long.
_MIN_LINE: Final = 8
# So many characters for each that is read are expected where a text is cut.
_MAX_ESCAPES: Final = 8
# In a text of these alone nothing is escaped, nor does it hold anything that the patterns below find, but for a JWT.
_QUIET = re.compile(r"[A-Za-z0-9._~/-]*")
_ESCAPING: Final = frozenset("%\\&")
# Without one of these words (case folded) the patterns find nothing.
_TELLING = re.compile(r"eyj|bearer|basic|token|secret|passw|passphrase|api[_-]?key|authorization|cookie")
# In each of these the last group is what has to be hidden.
# The dots of a JWT are not asked for: looking for one from every `eyJ` on would take time quadratic in the text.
_JWT = re.compile(r"(eyJ[\w-]{4}[\w.-]*)", re.ASCII)
# Not: a challenge's parameters, and what sentences say of the schemes.
_AFTER_SCHEME = re.compile(
    r"""(?i)\b(?:bearer|basic)(?:\s|%20|\+)+"""
    r"""(?!(?:realm|error|scope|charset)=|\(|(?:nor|or|that|tokens?|without)(?:[\s.,]|$))([^\s"',;&\\<>]+)"""
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

    Of the transient ones it knows the `max_transient` most recently added. `clock` is monotonic, in seconds.
    """

    def __init__(self, *, max_transient: int = _MAX_TRANSIENT, clock: Callable[[], float] = time.monotonic) -> None:
        # Secrets as they are; and what those read that may be written in other ways.
        self._secrets: SecretIndex[str] = SecretIndex()
        self._readings: SecretIndex[Reading] = SecretIndex()
        self._longest = 0
        # Texts without a secret. Another set takes its place when another secret is known, for searches under way.
        self._harmless: set[str] = set()
        self._lasting: set[str] = set()
        # The transient ones with the time when each is to be forgotten, the oldest first; and those to look at next.
        self._transient: dict[str, float] = {}
        self._look_at: list[str] = []
        self._transient_characters = 0
        self._max_transient = max_transient
        self._clock = clock
        # Names that are like ours; those of fields whose values need no more than a search.
        self._like_ours: set[str] = set()
        self._names: set[str] = set()

    def add(self, text: str) -> None:
        """Hide `text` from now on, for ever, also in Base64. For configured secrets."""
        if text and text not in self._lasting:
            self._lasting.add(text)
            for form in {text, *base64_forms(text)}:
                self._insert(form)

    def add_transient(self, text: str, lifetime: float | None = None) -> bool:
        """Hide `text` until some time after its `lifetime` in seconds, `None` if not known. For access tokens.

        Returns whether it will be hidden: one of less than `SHORTEST_TOKEN` characters is not.
        """
        if any(len(form) < SHORTEST_TOKEN for form in (text, *map("".join, readings(text)))):
            return False
        now = self._clock()
        if self._transient.pop(text, None) is None:
            self._transient_characters += len(text)
            self._insert(text)
        lifetime = _UNKNOWN_LIFETIME if lifetime is None else lifetime
        self._transient[text] = now + lifetime + _REMEMBERED_AFTER_END
        self._forget(now)
        return True

    def redact(self, text: str, max_length: int | None = None, *, ours: bool = False) -> str:
        """Return `text` with `[hidden]` in place of each secret, and without what comes after `max_length`.

        In a text of ours only known secrets are looked for.
        """
        end, searched = len(text), text
        if max_length is not None and max_length < end:
            # A secret that begins before the end is seen whole.
            end = max_length
            searched = text[: end + _MAX_ESCAPES * self._longest]
        elif self._needs_nothing(text):
            return text
        spans = [span for known in self._secrets.candidates(searched) for span in _places(known, searched)]
        if not _QUIET.fullmatch(searched) and (len(self._readings) or not _ESCAPING.isdisjoint(searched)):
            spans += places(searched, self._read)
        if not ours and _TELLING.search(searched.casefold()):
            spans += [found.span(found.lastindex or 0) for pattern in _PATTERNS for found in pattern.finditer(searched)]
        return _without(text, spans, end) if spans or end < len(text) else text

    def _read(self, reading: str) -> list[Reading]:
        """Return what may be in a text whose escapes were undone: also what no way of writing changes without need."""
        return [*self._readings.candidates(reading), *(Reading("", text) for text in self._secrets.candidates(reading))]

    def is_harmless(self, text: str) -> bool:
        """Tell whether nothing is to be hidden in a text, nor cut; for texts of a kind that comes again and again."""
        remembered = self._harmless  # what this thread adds counts only until another secret is known
        if text in remembered:
            return True
        if not self._needs_nothing(text):
            return False
        if len(remembered) >= _MAX_HARMLESS:
            remembered.clear()
        if len(text) <= _MAX_HARMLESS_LENGTH:
            remembered.add(text)
        return True

    def _needs_nothing(self, text: str) -> bool:
        """Tell, at little cost, whether there is nothing to hide in a text, nor to cut; that is so for nearly all."""
        quiet = len(text) <= MAX_TEXT and _QUIET.fullmatch(text) is not None
        return quiet and "eyJ" not in text and not self._secrets.candidates(text)

    def text(self, value: object) -> str:
        """Return `value` as one text, without secrets."""
        shown = self.redact(value, MAX_TEXT) if type(value) is str else self.plain(value)
        return shown if isinstance(shown, str) else str(shown)

    def plain(self, value: object, *, hide: bool = False, ours: bool = False) -> Plain:
        """Return `value` as JSON has it, without secrets; with `hide` no text of it is shown at all."""
        return plain(value, partial(self.redact, ours=ours), hide=hide)

    def name(self, name: object) -> str:
        """Return the name of an event or field, without secrets if it doesn't look like one of ours."""
        if type(name) is not str or (name not in self._like_ours and not _NAME.fullmatch(name)):
            return self.text(name)
        self._like_ours.add(name)
        return name

    def fields(self, fields: dict[str, Any], line: dict[str, Any]) -> None:
        """Add the fields of an event to its line, as JSON has them and without secrets."""
        if not self._names.issuperset(fields):
            self._unusual_fields(fields, line)
            return
        line.update(fields)
        texts = []
        for name, value in fields.items():
            kind = type(value)
            if kind is str:
                if name not in _CONSTANT:
                    texts.append(value)
            elif kind is int:
                if value >> 63 and not MIN_INT <= value <= MAX_INT:  # the first half is 0 for nearly all, and quicker
                    line[name] = hex(value)
            elif kind is float:
                if not isfinite(value):
                    line[name] = str(value)
            elif value is not None and kind is not bool:
                line[name] = self.plain(value, ours=name in _OURS or name in _CONSTANT)
        together = "/".join(texts)  # no secret ends in one and goes on in the next: each is looked at then
        if not self._needs_nothing(together):
            for name, value in fields.items():
                if type(value) is str and name not in _CONSTANT:
                    line[name] = self.redact(value, MAX_TEXT, ours=name in _OURS)

    def _unusual_fields(self, fields: dict[str, Any], line: dict[str, Any]) -> None:
        """Add fields one of which has a name that was not met before, is not like ours, or tells of a secret."""
        for name, value in fields.items():
            if name in self._names:
                self.fields({name: value}, line)
            elif is_secret_name(name):
                put(line, self.name(name), self.plain(value, hide=True))
            elif name in _TAKEN or not _NAME.fullmatch(name):
                put(line, self.name(name), self.plain(value))
            else:
                self._names.add(name)
                self.fields({name: value}, line)

    def _insert(self, secret: str) -> None:
        self._longest = max(self._longest, len(secret))
        for index, known, end in self._filed(secret):
            index.insert(known, end)
        self._harmless = set()

    def _filed(self, secret: str) -> Iterator[tuple[SecretIndex[Any], object, str]]:
        """Yield where a secret is known, as what, and by which text."""
        for form in (secret, *_long_lines(secret)):
            yield self._secrets, form, form
            for reading in readings(form):
                if reading.rest:
                    yield self._readings, reading, reading.sure_end
                elif reading.first:
                    yield self._secrets, reading.first, reading.first

    def _forget(self, now: float) -> None:
        """Forget transient secrets that have ended, a few at a time, and the oldest if there are too many."""
        for _ in range(_LOOKED_AT):
            if not self._look_at:
                self._look_at = list(self._transient)
            text = self._look_at.pop()
            if self._transient.get(text, now) < now:
                self._drop(text)
        while len(self._transient) > self._max_transient or self._transient_characters > _MAX_TRANSIENT_CHARACTERS:
            self._drop(next(iter(self._transient)))

    def _drop(self, text: str) -> None:
        del self._transient[text]
        self._transient_characters -= len(text)
        for index, known, end in self._filed(text):
            index.remove(known, end)


def _long_lines(text: str) -> list[str]:
    """Return the lines of a secret that has several: a margin before each (an exception group's) takes it apart."""
    lines = text.splitlines()
    return [line for line in lines if len(line) >= _MIN_LINE] if len(lines) > 1 else []


def _places(known: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(known)
    while start >= 0:
        yield start, start + len(known)
        start = text.find(known, start + 1)


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
        parts.append(CUT)
    return "".join(parts)
