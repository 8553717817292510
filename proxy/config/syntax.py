"""What is wrong with a text that is not TOML, in words for somebody who has never heard of TOML.

Python's parser says where it stopped. From that line the usual causes are told: a string without quotes, quotes from a
word processor, a table that is there twice. The line is shown with a caret below.

Rules: any value may be a secret, and this may end in a log. So of the line only names of settings, punctuation, and the
values of settings that can't hold a secret are shown; a dot stands for each other character. Loaded when it is needed.
"""

import re
import tomllib
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import fields

from proxy.config.lines import HEADER, SETTING, keys_of, lines_of
from proxy.config.problems import Place, Problems
from proxy.config.schema import NAMED_SECTIONS, SECTIONS

_PLACE: Final = re.compile(r"\s*\((?:at line (\d+), column (\d+)|at end of document)\)$")
TOO_MUCH: Final = "a number in the file is too large, or its tables are nested too deeply"
_DEEP: Final = 50  # tables and lists in each other
# A number of more digits than Python reads, or a bracket; what stands in quotes or a comment is passed over as a whole.
_EXCESS: Final = re.compile(r"""[0-9][0-9_]{4299,}|[\[\]{}]|"(?:[^"\\]|\\.)*"|'[^']*'|#.*""")
_WIDTH: Final = 100  # characters of a line that are shown

_HARMLESS: Final = {field.name for schema in SECTIONS.values() for field in fields(schema)} - {"proxy", "public_url"}
_WORDS: Final = frozenset(
    {*SECTIONS, *NAMED_SECTIONS, *_HARMLESS, "demo", "file", "env", "true", "false", "proxy", "export"}
    | {field.name for schema in NAMED_SECTIONS.values() for field in fields(schema)}
)

_TYPOGRAPHIC: Final = re.compile("[“”„‟‘’‚‛«»″′]")  # noqa: RUF001 - these very characters
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]"
)
_WORD: Final = re.compile(rf"""[^\s\[\]{{}}=:,"'#;/<>{_TYPOGRAPHIC.pattern[1:-1]}]+""")
_END: Final = re.compile(r"(.*?)([;,])\s*(?:#.*)?$")
_UNIT: Final = r"(?i:m?s|secs?|seconds?|min|minutes?|h|hours?|d|days?|[kmg]i?b?|bytes?|%)"
_STRING: Final = 'a string needs quotes around it: name = "…"'
_CR: Final = "a carriage return alone ends no line: save the file with the line ends of Linux or Windows"
_TOML: Final = "the file has to be TOML, with lines such as port = 8080 below a line [server]"

# What the whole line looks like, whether there is a = in it or not.
_LINES: Final = (
    (r"(?:<{7}|={7}|>{7})", "this is left over from a merge: keep one of the two versions, and remove this line"),
    (r"\s*(?:`{3}|~{3})", "this line is Markdown, from a text around the file: remove it"),
    (r"\s*(?://|;|--|/\*|%)", "a comment begins with #"),
    (
        r"\s*(?:export\s+|set\s+|\$env:)?SHOP_AUTH_PROXY_\w*\s*=",
        "this is an environment variable: set it in the shell or service, or write the setting that it stands for",
    ),
    (r"\s*export\s", "this is a line for a shell, not for this file"),
    (r"\s*[{}]", f"this looks like JSON: {_TOML}"),
    (r"\s*<", f"this looks like XML or HTML: {_TOML}"),
    (r"\s*-\s", f"this looks like YAML: {_TOML}"),
    (r"\s*[\w.-]+:\s*(?:#|$)", f"this looks like YAML: {_TOML}"),
)
_WITHOUT_EQUALS: Final = (
    (r"\s*\[[^\]]*\.\*", 'the * needs quotes: write [shops."*"]'),
    (r"\s*\[\[", "the name of a table goes in single brackets, such as [shops.demo]"),
    (r"\s*\[[^\]]*(?:#.*)?$", "the closing ] after the name of the table is missing"),
    (r"\s*\[\s*\]", "the name of the table between [ and ] is missing"),
    (r"\s*\[[^\]]*\]\s*[^\s#]", "what follows the name of the table belongs on a line of its own"),
    (r"\s*\[", "the name of a table can contain letters from A to Z, digits, - and _, with dots between its parts"),
    (r"[^=]*?\s*:\s*(?![^=]*=)", "write = instead of : between the name and the value"),
    (r"\s*[\w-]+[ \t]+[^\s=#]", "the = between the name and the value is missing (a name has no spaces)"),
    (r"\s*=", "the name before the = is missing"),
    (r"[^=]*$", "this is neither a [table], nor a setting (name = value), nor a comment (# …)"),
    (r"[^=]*[^\x00-\x7f=]", "a name can contain letters from A to Z, digits, - and _"),
)
# What follows the = of a line.
_VALUES: Final = (
    (r"(?:#|$)", "the value after the = is missing"),
    (r"[=>]", "write a single = between the name and the value"),
    (r"`", 'write " instead of `'),
    (
        r"""(?:(?:"(?:[^"\\]|\\.)*"|'[^']*')\s*[,;]?\s*|[\w.+-]+(?:\s*[,;]\s*|\s+))[\w-]+\s*=""",
        "the next setting belongs on a line of its own",
    ),
    (r"\(", "write the value without ( and )"),
    (r"\$\{?\w", 'variables are not replaced in this file; a secret can be { env = "NAME" }'),
    (r"(?i:true|false|yes|no|on|off)\b", "write true or false, in lower case and without quotes"),
    (r"(?i:none|null|nil|undefined)\b", "TOML has no such value: remove the line"),
    (
        r"""(?:"{3}(?!.*"{3})|'{3}(?!.*'{3}))""",
        "the closing quotes are missing",
    ),
    (r"""(?:"(?:[^"\\]|\\.)*|'[^']*)$""", "the closing quote is missing"),
    (
        r"""(?:"(?:[^"\\]|\\.)*"|'[^']*')\s*[^\s#]""",
        'something follows the closing quote (inside, write \\" for ")',
    ),
    (r"\{[^}]*$", "everything from { to } has to be on one line"),
    (r"\{.*;", "put a comma between two entries of { }, not ;"),
    (r"\{.*,\s*\}", "remove the comma before the closing }"),
    (r"\{[^=]*:", "inside { }, too, write = instead of : between a name and its value"),
    (r"""\{.*=\s*[^\s"'{\[\dtf]""", f"inside {{ }}, too, {_STRING}"),
    (r"\{", "put a comma between two entries of { }"),
    (r"""\[\s*[^\s"'\[{\]\dtf]""", "the strings in a list need quotes"),
    (r"\[", "the list lacks its closing ], or a comma between two entries"),
    (r"(?:file|env)\s*=", 'write { file = "…" } or { env = "…" }, in { }'),
    (rf"[\d.,_]+\s*{_UNIT}\s*(?:#|$)", "write just the number, without its unit"),
    (r"\d+(?:,\d+)+\s*(?:#|$)", "write the number without a comma"),
    (r"0\d+\s*(?:#|$)", "a number does not begin with 0; if it is not meant as a number, " + _STRING),
    (r"\+?\d+(?:\.\d+)?\s+\S", "there is more than one value"),
    (r"[+-]?[\d.][\d.,_]*\s*(?:#|$)", "write the number with digits and one point between digits, such as 1.5"),
    (r"", _STRING),
)


class Explanation(NamedTuple):
    """The number of the line, what is wrong there, and the line itself with a caret, in two lines to show."""

    line: int
    sentence: str
    excerpt: tuple[str, str]


def explain(text: str, error: tomllib.TOMLDecodeError) -> Explanation:
    """Return what to tell about a text that `tomllib` refuses."""
    # TOML knows no line ends but these two.
    lines = text.replace("\r\n", "\n").split("\n")
    found = _PLACE.search(str(error))
    message = str(error)[: found.start()] if found else str(error)
    if found and found[1]:
        number, column = int(found[1]), int(found[2])
    else:  # where the text ends; what is open began before
        number = _begin_of_open_string(lines) or max((n for n, line in enumerate(lines, 1) if line.strip()), default=1)
        column = len(lines[number - 1]) + 1
    if (begin := _begin_of_open_list(lines[:number])) and message in ("Invalid value", "Unclosed array"):
        number, column = begin, lines[begin - 1].index("=") + 3
        return _at(lines, number, column, "the list that begins here has no closing ], or a comma is missing in it")
    return _at(lines, number, column, _sentence(lines, number, message))


def find_excess(text: str) -> Explanation:
    """Return what to tell about a text that `tomllib` gives up on: where a number is too long, or nesting too deep."""
    lines = text.replace("\r\n", "\n").split("\n")
    depth = 0
    for number, line in enumerate(lines, 1):
        for found in _EXCESS.finditer(line):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            if depth > _DEEP or found[0][0].isdecimal():
                too_much = "tables and lists are nested too deeply" if depth > _DEEP else "this number is too large"
                return _at(lines, number, found.start() + 1, too_much)
    return _at(lines, 1, 1, TOO_MUCH)


def _at(lines: list[str], number: int, column: int, sentence: str) -> Explanation:
    shown = _masked(re.sub(r"[\t\r]", " ", lines[number - 1]))
    begin = max(0, min(column - _WIDTH // 2, len(shown) - _WIDTH))
    margin = " " * len(str(number))
    excerpt = (f"{number} | {shown[begin : begin + _WIDTH]}", f"{margin} | {' ' * (column - 1 - begin)}^")
    return Explanation(number, sentence, excerpt)


def _sentence(lines: list[str], number: int, message: str) -> str:
    line = lines[number - 1]
    if quote := _TYPOGRAPHIC.search(line):
        return f'{quote[0]} is a typographic quote, as word processors write it: write a straight one, "'
    if blank := _INVISIBLE.search(line):
        character = f"there is an invisible character on the line, U+{ord(blank[0]):04X}: type the line again"
        return _CR if blank[0] == "\r" else character
    if "twice" in message or "overwrite" in message or "Duplicate" in message:
        return _twice(lines, number)
    if message.startswith(("Unescaped", "Invalid hex", "Escaped")):
        return "in double quotes a backslash begins an escape sequence: write single quotes, 'C:\\folder', or / instead"
    if (end := _END.match(line)) and _is_toml(end[1]):
        return f"remove the {end[2]} at the end"
    if general := _first_that_fits(_LINES, line):
        return general
    if setting := SETTING.match(line):
        name = setting[1] if setting[1] in _WORDS else "name"
        return _first_that_fits(_VALUES, line[setting.end() :].strip()).replace("name = ", f"{name} = ")
    return _first_that_fits(_WITHOUT_EQUALS, line) or message


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return bool(text.strip())


def _first_that_fits(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((sentence for pattern, sentence in table if re.match(pattern, text)), "")


def _twice(lines: list[str], number: int) -> str:
    line = lines[number - 1]
    above = "\n".join(lines[: number - 1])
    if header := HEADER.match(line):
        place: Place = keys_of(header[1])
        first = lines_of(above)
        closed = next((place[:length] for length in range(1, len(place)) if first.get(place[:length])), None)
        if place in first or closed is None:
            again = (
                f"[{Problems().name(place)}] appears twice{_first(place, above)}: put all its settings below one of the"
                " two"
            )
        else:
            again = f"{Problems().name(closed)} is written as a whole{_first(closed, above)}: write this table in there"
    elif setting := SETTING.match(line):
        table = next(
            (keys_of(found[1]) for above_it in lines[number - 1 :: -1] if (found := HEADER.match(above_it))), ()
        )
        place = table + keys_of(setting[1])
        again = f"{Problems().name(place)} is set twice{_first(place, above)}: remove one of the two"
    else:
        again = "this appears twice: remove one of the two"
    return again


def _first(place: Place, above: str) -> str:
    first = lines_of(above).get(place)
    return f", first in line {first}" if first else ""


def _begin_of_open_string(lines: list[str]) -> int | None:
    """Return the line of a string that is never closed."""
    opened = _first_where(lines, lambda rest: bool(re.match(r"""'[^']*$|"{3}(?!.*"{3})|'{3}(?!.*'{3})""", rest)))
    return opened[-1] if opened else None


def _begin_of_open_list(lines: list[str]) -> int | None:
    """Return the line, above the last one, of a list that is not closed by then."""
    opened = _first_where(lines[:-1], lambda rest: rest.startswith("["))
    if not opened or "]" in "".join(re.sub(r'"[^"]*"|#.*', "", line) for line in lines[opened[-1] - 1 : -1]):
        return None
    return opened[-1]


def _first_where(lines: list[str], holds: Callable[[str], bool]) -> list[int]:
    numbered = ((number, SETTING.match(line), line) for number, line in enumerate(lines, 1))
    return [number for number, setting, line in numbered if setting and holds(line[setting.end() :].strip())]


def _masked(line: str) -> str:
    """Return a line of the same length that shows no value that may be a secret."""
    setting = SETTING.match(line)
    if setting and setting[1] in _HARMLESS and "#" not in line and line.count("=") == 1:
        return line
    # The names of tables are shown: they are in other messages too.
    header = HEADER.match(line) or re.match(r"\s*\[[\w\s.*\"'-]*\]?\s*$", line)
    shown = header.end() if header else 0
    return line[:shown] + _WORD.sub(_dotted, line[shown:])


def _dotted(word: re.Match[str]) -> str:
    return word[0] if word[0] in _WORDS else "·" * len(word[0])
