"""How an event becomes one line: JSON for programs, a console form for people.

Rules: what comes in is plain (see `redaction`), begins with `timestamp`, `level` and `event`, and holds no secret any
more; nothing here raises for it; whatever a client put into a value, it can't begin a new line, nor look like another
field, nor speak to the terminal. Only the traceback of an exception takes lines of its own in the console form, each
indented so that it can't be taken for an event.
"""

import json
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

# Some viewers end the line at them or obey them: DEL, the C1 controls, and Unicode's own line ends.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# A value with none but these needs no quotes.
_BARE = re.compile(r"[^\s\"'\\=\[\]{}]+")

_LEVEL_WIDTH: Final = 8
_EVENT_WIDTH: Final = 22
_INDENT: Final = "    "

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_CYAN: Final = "\x1b[36m"
_LEVEL_COLOURS: Final = {
    "debug": "\x1b[34m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}


class Renderer(Protocol):
    """Turns an event into a line, its end included."""

    def __call__(self, event: "Mapping[str, Any]") -> bytes: ...


_encode = msgspec.json.Encoder().encode


def json_line(event: "Mapping[str, Any] | msgspec.Struct") -> bytes:
    """Return the event as JSON in UTF-8."""
    try:
        line = _encode(event)
    except UnicodeEncodeError:
        # There is a lone surrogate, which JSON has no right way to write: shown as an escape of ours.
        text = json.dumps(msgspec.to_builtins(event), ensure_ascii=False, separators=(",", ":"))
        line = _LONE_SURROGATE.sub(lambda char: f"\\\\u{ord(char[0]):04x}", text).encode()
    if not line.isascii() or 0x7F in line:
        line = _UNSAFE_IN_JSON.sub(lambda char: f"\\u{ord(char[0]):04x}", line.decode()).encode()
    return line + b"\n"


def console_renderer(*, color: bool, encoding: str = "utf-8") -> Renderer:
    """Return the renderer for people: date and time, level, event, then `name=value` for what says something."""

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if color else text

    def render(event: "Mapping[str, Any]") -> bytes:
        fields = dict(event)
        time = str(fields.pop("timestamp", "")).replace("T", " ", 1)
        level = str(fields.pop("level", ""))
        name = escaped(str(fields.pop("event", "")))
        exception = fields.pop("exception", None)
        fields = {key: value for key, value in fields.items() if value is not None and value != ""}
        parts = [
            paint(_DIM, time),
            paint(_LEVEL_COLOURS.get(level, ""), level.ljust(_LEVEL_WIDTH)),
            paint(_BOLD, name.ljust(_EVENT_WIDTH) if fields else name),
            *(paint(_CYAN, _shown(key)) + "=" + _shown(value) for key, value in fields.items()),
        ]
        lines = ["  ".join(parts[:3]) + "".join("  " + part for part in parts[3:])]
        if exception is not None:
            lines += [_INDENT + escaped(line) for line in str(exception).rstrip("\n").split("\n")]
        return ("\n".join(lines) + "\n").encode(encoding, "backslashreplace")

    return render


def escaped(text: str) -> str:
    """Return `text` with all that is no visible character or plain space written as a Python escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def _shown(value: object) -> str:
    if not isinstance(value, str):
        return escaped(json.dumps(value, ensure_ascii=False))
    if _BARE.fullmatch(value) and value.isprintable():
        return value
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped(quoted)}"'
