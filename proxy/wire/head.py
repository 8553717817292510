"""The head of a message, read once: its fields as they came, and where those are that matter.

What becomes of a field is told by its name alone, in a table: it passes, or it stops here; and somebody asks for it
later, or nobody does. The one pass over the fields looks each line up and notes where the known ones are. All else
reads from that, and nothing walks the fields again. Most lines of most heads have been there before, so a table
remembers what it found about a line.

Rules: names and values are `bytes`, in order, in the case they came in; they are never decoded to a mapping, which
would lose repeated fields and obs-text (RFC 9110 §5.5). A line that RFC 9110 §5 does not allow is no field. Where
fields become CGI variables, as in PHP, `X_Forwarded_For` is `X-Forwarded-For`: the twin of a name that stops here stops
too, but counts as nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

# What a table says of a name: whether its fields pass. Names that a table does not know pass, and nobody asks for them.
PASSES: Final = True
STOPS: Final = False

# RFC 9110 §5.1, §5.5, RFC 9112 §5: no blank before the colon, and no controls but the tab.
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_TEXT: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# Others choose the lines. So many are remembered before all are forgotten, and none that is longer, or may be secret.
_MAX_LEARNED: Final = 1000
_MAX_LEARNED_LENGTH: Final = 64  # bytes
_PRIVATE: Final = re.compile(rb"auth|cookie|key|pass|secret|session|token", re.IGNORECASE)


_NOMINATE_NOTHING: Final = ([b"keep-alive"], [b"close"], [b"Keep-Alive"])  # the usual lines


class BrokenFieldError(ValueError):
    """A line is no field."""


class Field(NamedTuple):
    """A field: the name that the table knows it by, if it does; its line for the next hop, empty if it stops here."""

    known: bytes | None
    line: bytes
    name: bytes
    value: bytes


class FieldTable:
    """What becomes of the fields of one kind of message.

    `known` says of names in lower case whether their fields pass; `stops` has beginnings of names that do not. With
    `twins`, the twin of a known name that passes is known by how it is written (`accept_encoding`). Lines of fields in
    `unlearned` are not remembered: they differ each time, or hold what should not lie about in memory.
    """

    def __init__(
        self,
        known: Mapping[bytes, bool],
        *,
        stops: tuple[bytes, ...] = (),
        twins: bool = False,
        unlearned: Iterable[bytes] = (),
    ) -> None:
        self._known = known
        self._stops = stops
        self._twins = {as_variable(name): passes for name, passes in known.items()} if twins else {}
        self._unlearned = frozenset(unlearned)
        self.learned: dict[bytes, Field] = {}

    def learn(self, line: bytes) -> Field:
        """Return what a line, without its end, is. Raises `BrokenFieldError`."""
        if not is_field(line):
            raise BrokenFieldError
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        known, passes = self.rule(name.lower())
        field = Field(known, name + b": " + value + b"\r\n" if passes else b"", name, value)
        if len(line) <= _MAX_LEARNED_LENGTH and known not in self._unlearned and _PRIVATE.search(name) is None:
            if len(self.learned) >= _MAX_LEARNED:
                self.learned.clear()
            self.learned[line] = field
        return field

    def rule(self, name: bytes) -> tuple[bytes | None, bool]:
        """Return by which name a field with this one (lower case) is known, if it is, and whether it passes."""
        passes = self._known.get(name)
        if passes is not None:
            return name, passes
        if self._twins:
            twin = as_variable(name)
            passes = self._twins.get(twin)
            if passes is not None:
                return twin, passes
            name = name.replace(b"_", b"-")
        return None, not name.startswith(self._stops)


class Head:
    """The fields of a message, from their `lines` without ends. Raises `BrokenFieldError`.

    `places` tells where in `fields` those of a known name are, `repeated` whether there is one that comes twice.
    """

    __slots__ = ("fields", "places", "repeated")

    def __init__(self, lines: Iterable[bytes], table: FieldTable) -> None:
        learned = table.learned
        fields: list[Field] = []
        places: dict[bytes, list[int]] = {}
        self.repeated = False
        for line in lines:
            field = learned[line] if line in learned else table.learn(line)
            known = field[0]
            if known is not None:
                if known in places:
                    places[known].append(len(fields))
                    self.repeated = True
                else:
                    places[known] = [len(fields)]
            fields.append(field)
        self.fields = fields
        self.places = places
        if b"connection" in places and self.values(b"connection") not in _NOMINATE_NOTHING:
            # RFC 9110 §7.6.1: what any Connection line names belongs to this hop.
            self.stop([name for name in self.members(b"connection") if name and table.rule(name)[1]])

    def passing(self) -> bytes:
        """Return the lines that go on to the next hop."""
        return b"".join([field[1] for field in self.fields])

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of the fields of a known name, in order."""
        places = self.places.get(name)
        return [] if places is None else [self.fields[place][3] for place in places]

    def first(self, name: bytes) -> bytes | None:
        """Return the value of the first field of a known name, if there is one."""
        places = self.places.get(name)
        return None if places is None else self.fields[places[0]][3]

    def members(self, name: bytes) -> list[bytes]:
        """Return the members of a comma-separated list over all its lines, in lower case (RFC 9110 §5.6.1)."""
        return [member.strip(b" \t").lower() for value in self.values(name) for member in value.split(b",")]

    def change(self, place: int, value: bytes | None) -> None:
        """Have a field that passes do so with another value; not at all if that is `None`."""
        field = self.fields[place]
        if field.line:
            self.fields[place] = field._replace(line=b"" if value is None else field.name + b": " + value + b"\r\n")

    def add(self, name: bytes, value: bytes) -> None:
        """Have one more field pass, behind the others."""
        self.fields.append(Field(None, name + b": " + value + b"\r\n", name, value))

    def stop(self, names: Iterable[bytes]) -> None:
        """Stop the fields of these names (lower case) and their twins; walks over all fields if there are any."""
        stopped = set(map(as_variable, names))
        if stopped:
            for place, field in enumerate(self.fields):
                if as_variable(field.name.lower()) in stopped:
                    self.change(place, None)


def as_variable(name: bytes) -> bytes:
    """Return a field's name as programs see it whose fields become variables."""
    return name.replace(b"-", b"_")


def is_field(line: bytes) -> bool:
    """Tell whether a line, without its end, is a field."""
    return _FIELD.fullmatch(line) is not None


def is_text(line: bytes) -> bool:
    """Tell whether a text holds nothing that would let it break out of its line."""
    return _TEXT.fullmatch(line) is not None
