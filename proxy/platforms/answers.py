"""What a platform means by an answer of its API, where the status alone does not say it. Pure.

Rules: only what is whole within `MAX_LOOKED_INTO` bytes is looked into, so that an answer that is data costs nothing.
A call counts as not carried out only if the answer says so: by a status of the 4xx class (RFC 9110 §15.5), or where the
rule vouches for it.
"""

import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

MAX_LOOKED_INTO: Final = 4096  # bytes of a body, as it came and as it is unpacked


@dataclass(frozen=True, slots=True)
class InBody:
    """An answer with this status whose JSON has the text `equals` at `path`: keys with dots between, or list indexes.

    Numbers and truth values count as JSON writes them. `not_carried_out` vouches that the call had no effect, so that
    it may be sent again. Raises `ValueError` with a sentence for the operator.
    """

    status: int
    path: str
    equals: str
    not_carried_out: bool = False

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError("status must be a whole number from 200 to 599")
        if not all(self.path.split(".")):
            raise ValueError('path must be keys with dots between, such as "error.code"')
        if not self.equals:
            raise ValueError("equals must not be empty")

    def matches(self, body: bytes) -> bool:
        """Tell whether a body, not packed, says so."""
        # Most don't: with nothing escaped in them, the text would stand there as it is.
        if self.equals.encode() not in body and b"\\" not in body:
            return False
        try:
            found: Any = json.loads(body)
            for key in self.path.split("."):
                found = found[int(key)] if isinstance(found, list) else found[key]
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
        return self.equals == (found if isinstance(found, str) else json.dumps(found))


# A status says so by itself, or with a text in the body.
AnswerRule: TypeAlias = int | InBody


class Sense(Enum):
    """What an answer means for this proxy."""

    ORDINARY = "ordinary"
    THROTTLED = "throttled"  # too fast
    UNAUTHORIZED = "unauthorized"  # not with this token, or not any more


class Meaning(NamedTuple):
    """What an answer means, and whether it says that the call was not carried out and may be sent again."""

    sense: Sense
    not_carried_out: bool = False


ORDINARY: Final = Meaning(Sense.ORDINARY)


class Answers:
    """What a platform means by its answers; the first rule that fits counts, and 'too fast' comes first.

    `look_into_bodies` tells whether the body of any may matter.
    """

    __slots__ = ("_looked_into", "_rules", "_telling", "look_into_bodies")

    def __init__(self, throttled_when: tuple[AnswerRule, ...], unauthorized_when: tuple[AnswerRule, ...]) -> None:
        self._rules = [
            *((Sense.THROTTLED, rule) for rule in throttled_when),
            *((Sense.UNAUTHORIZED, rule) for rule in unauthorized_when),
        ]
        self._looked_into = frozenset(rule.status for _, rule in self._rules if isinstance(rule, InBody))
        self.look_into_bodies = bool(self._looked_into)
        self._telling = self._looked_into.union(rule for _, rule in self._rules if isinstance(rule, int))

    def tells_by(self, status: int) -> bool:
        """Tell whether an answer with this status may mean anything in particular."""
        return status in self._telling

    def looks_into(self, status: int) -> bool:
        """Tell whether the body of an answer with this status may matter."""
        return status in self._looked_into

    def meaning(self, status: int, body: bytes | None) -> Meaning:
        """Return what an answer means; `body` is `None` unless it is whole and within `MAX_LOOKED_INTO` bytes."""
        text = None if body is None else _unpacked(body)
        for sense, rule in self._rules:
            if isinstance(rule, InBody):
                if rule.status == status and text is not None and rule.matches(text):
                    return Meaning(sense, rule.not_carried_out or 400 <= status < 500)
            elif rule == status:
                return Meaning(sense, 400 <= status < 500)
        return ORDINARY


def _unpacked(body: bytes) -> bytes:
    """Return a body without its gzip or zlib packing, which clients may have asked for; nothing if it is too large."""
    if body[:2] == b"\x1f\x8b" or body[:1] == b"x":  # no JSON begins like that
        unpacker = zlib.decompressobj(wbits=47)  # either of the two
        try:
            body = unpacker.decompress(body, MAX_LOOKED_INTO + 1)
        except zlib.error:
            return b""
    return body if len(body) <= MAX_LOOKED_INTO else b""


# A batch's part has its status in a header of its own: {"header":{"statusCode":429}}, as a number or a text, or
# <header><statusCode>429</statusCode></header>, also in CDATA. White space is bounded, as is what stands beside it.
_INNER_STATUS: Final = (
    re.compile(rb'"header"\s{0,99}:\s{0,99}\{[^{}]{0,200}?"statusCode"\s{0,99}:\s{0,99}"?(401|429)["\s,}]'),
    re.compile(rb"<header>[^<>]{0,99}<statusCode>\s{0,99}(?:<!\[CDATA\[)?(401|429)[\s\]<]"),
)
_LONGEST_MATCH: Final = 1024  # bytes


class InnerStatuses:
    """Counts the 401s and 429s inside the answer of a batch, which is 200 outside whatever happened to its parts.

    The body, unpacked, is fed in pieces as it passes, and kept no longer than a status may be cut in two.
    """

    __slots__ = ("_rest", "counted")

    def __init__(self) -> None:
        self.counted: Counter[int] = Counter()
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        text = self._rest + piece
        end = 0
        for pattern in _INNER_STATUS:
            for found in pattern.finditer(text):
                self.counted[int(found[1])] += 1
                end = found.end()
        self._rest = text[max(end, len(text) - _LONGEST_MATCH) :]
