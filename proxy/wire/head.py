"""The head of a message, read once: its fields as they came, and the values of those that matter.

What becomes of a field is told by its name alone, in a table: it passes, or it stops here; and somebody asks for it
later, or nobody does. The one pass over the fields looks each line up, and keeps the values of the known ones. All else
reads from that. Most lines of most heads have been there before, so a table remembers what it found about a line.

Rules: names and values are `bytes`, in order, in the case they came in; they are never decoded to a mapping, which
would lose repeated fields and obs-text (RFC 9110 §5.5). A line that RFC 9110 §5 does not allow is no field. Where
fields become CGI variables, as in PHP, `X_Forwarded_For` is `X-Forwarded-For`: the twin of a name that stops here stops
too, but counts as nothing else.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

# What a table says of a name: whether its fields pass. Names that a table does not know pass, and nobody asks for them.
PASSES: Final = True
STOPS: Final = False

# RFC 9110 §5.1, §5.5, RFC 9112 §5: no blank before the colon, and no controls but the tab.
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_VARIABLE: Final = bytes.maketrans(b"-.", b"__")  # as PHP names variables
# Others choose the lines. So many are remembered before all are forgotten, and none that is longer, or may be secret.
_MAX_LEARNED: Final = 1000
_MAX_LEARNED_LENGTH: Final = 64  # bytes
_PRIVATE: Final = re.compile(rb"auth|cookie|key|pass|secret|session|token", re.IGNORECASE)
_NOMINATE_NOTHING: Final = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))

_T = TypeVar("_T")


class BrokenFieldError(ValueError):
    """A line is no field."""


class Field(NamedTuple):
    """A field: the name that the table knows it by, if it does; its line for the next hop, empty if it stops here."""

    known: bytes | None
    line: bytes
    name: bytes
    value: bytes


# What `Field(…)` does, without its own Python code in between: there are several for each call.
_field: Final = tuple.__new__


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
        self.learned: dict[bytes, Field] = {}  # by the line
        # By the name as it was written: what it is known by, whether it passes, and whether its lines are learned.
        self._names: dict[bytes, tuple[bytes | None, bool, bool]] = {}

    def learn(self, line: bytes) -> Field:
        """Return what a line is. Raises `BrokenFieldError`."""
        name, colon, value = line.partition(b":")
        known, passes, learns = self._names[name] if name in self._names else self._rule_for(name)
        if not colon or not is_text(value):
            raise BrokenFieldError
        value = value.strip(b" \t")
        field = _field(Field, (known, name + b": " + value + b"\r\n" if passes else b"", name, value))
        if learns and len(line) <= _MAX_LEARNED_LENGTH:
            _remember(self.learned, line, field)
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
            name = twin.replace(b"_", b"-")
        return None, not name.startswith(self._stops)

    def _rule_for(self, name: bytes) -> tuple[bytes | None, bool, bool]:
        if _NAME.fullmatch(name) is None:
            raise BrokenFieldError
        known, passes = self.rule(name.lower())
        rule = known, passes, known not in self._unlearned and _PRIVATE.search(name) is None
        if len(name) <= _MAX_LEARNED_LENGTH:
            _remember(self._names, name, rule)
        return rule


class Head:
    """The fields of a message, from its lines without their ends. Raises `BrokenFieldError`.

    `first` has the value of the first field of each known name; `repeated` tells whether one of them comes twice;
    `dropped` counts the fields that it had to lose to be one. `variant` is another head that somebody made of this one
    and may need again; it is forgotten when this one changes.
    """

    __slots__ = ("_passing", "dropped", "fields", "first", "repeated", "variant")

    def __init__(self, lines: Collection[bytes], table: FieldTable) -> None:
        learned = table.learned
        fields: list[Field] = []
        first: dict[bytes, bytes] = {}
        repeated = False
        for line in lines:
            field = learned[line] if line in learned else table.learn(line)
            known = field[0]
            if known is not None:
                if known in first:
                    repeated = True
                else:
                    first[known] = field[3]
            fields.append(field)
        self.fields = fields
        self.first = first
        self.repeated = repeated
        self.dropped = 0
        self._passing: bytes | None = None
        self.variant: Head | None = None
        if b"connection" in first and (repeated or first[b"connection"] not in _NOMINATE_NOTHING):
            # RFC 9110 §7.6.1: what any Connection line names belongs to this hop.
            self.stop([name for name in self.members(b"connection") if name and table.rule(name)[1]])

    @property
    def passing(self) -> bytes:
        """The lines that go on to the next hop."""
        if self._passing is None:
            self._passing = b"".join([field[1] for field in self.fields])
        return self._passing

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of the fields of a known name, in order."""
        if self.repeated:
            return [field.value for field in self.fields if field.known == name]
        return [self.first[name]] if name in self.first else []

    @property
    def closes(self) -> bool:
        """Whether the connection ends with the message, as a Connection field says (RFC 9112 §9.6)."""
        connection = self.first.get(b"connection")
        if connection is None or (connection == b"keep-alive" and not self.repeated):
            return False
        return b"close" in self.members(b"connection")

    def members(self, name: bytes) -> list[bytes]:
        """Return the members of a comma-separated list over all its lines, in lower case (RFC 9110 §5.6.1)."""
        return [member.strip(b" \t").lower() for value in self.values(name) for member in value.split(b",")]

    def copy(self) -> "Head":
        """Return the same head, which can be changed without changing this one."""
        other = Head.__new__(Head)
        other.fields, other.first = self.fields.copy(), self.first
        other.repeated, other.dropped, other._passing = self.repeated, self.dropped, self._passing
        other.variant = None
        return other

    def change(self, names: Collection[bytes], changed: Callable[[bytes, bytes], bytes | None]) -> None:
        """Have the fields of these known names that pass do so with what becomes of their values.

        `changed` gets name and value; a field for which it returns `None` stops.
        """
        for place, field in enumerate(self.fields):
            if field[0] in names and field[1]:
                known, _, name, value = field
                becomes = changed(known or b"", value)
                if becomes is not value:
                    line = b"" if becomes is None else name + b": " + becomes + b"\r\n"
                    self.fields[place] = _field(Field, (known, line, name, value))
        self._passing = self.variant = None

    def add(self, name: bytes, value: bytes) -> None:
        """Have one more field pass, behind the others."""
        self.fields.append(_field(Field, (None, name + b": " + value + b"\r\n", name, value)))
        self._passing = self.variant = None

    def stop(self, names: Iterable[bytes]) -> None:
        """Stop the fields of these names (lower case), known or not, and their twins."""
        stopped = set(map(as_variable, names))
        for place, field in enumerate(self.fields):
            if as_variable(field.name.lower()) in stopped:
                self.fields[place] = field._replace(line=b"")
        self._passing = self.variant = None


def _remember(memory: dict[bytes, _T], key: bytes, found: _T) -> None:
    """Remember what was found, in a memory that others may fill, but not keep full."""
    if len(memory) >= _MAX_LEARNED:
        memory.clear()
    memory[key] = found


def as_variable(name: bytes) -> bytes:
    """Return a field's name as programs see it whose fields become variables."""
    return name.translate(_VARIABLE)


def is_field(line: bytes) -> bool:
    """Tell whether a line, without its end, is a field."""
    return _FIELD.fullmatch(line) is not None


def is_text(line: bytes) -> bool:
    """Tell whether a text holds nothing that would let it break out of its line."""
    return len(line.translate(None, _CONTROLS)) == len(line)
