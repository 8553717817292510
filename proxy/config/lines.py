"""In which line of a TOML text each setting stands; Python's parser does not tell.

Rules: for messages alone, and for texts that could be read. The few ways to write a key are looked for line by line; a
setting that is not found so has the line of its table, or none.
"""

import json
import re
from typing import Final

from proxy.config.problems import Place

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEYS: Final = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
HEADER: Final = re.compile(rf"[ \t]*\[\[?[ \t]*({_KEYS})[ \t]*\]")
SETTING: Final = re.compile(rf"[ \t]*({_KEYS})[ \t]*=")
_LONG_STRING: Final = re.compile(r'"""|' + "'''")


def lines_of(text: str) -> dict[Place, int]:
    """Return the number of the line where each table and setting of a TOML text first stands."""
    found: dict[Place, int] = {}
    table: Place = ()
    until = ""  # the quotes that end a string of several lines
    for number, line in enumerate(text.split("\n"), 1):
        begin = 0
        if until:
            if until not in line:
                continue
            begin, until = line.index(until) + 3, ""
        elif header := HEADER.match(line):
            table = keys_of(header[1])
            _note(found, table, number)
        elif setting := SETTING.match(line):
            _note(found, table + keys_of(setting[1]), number)
        for quotes in _LONG_STRING.findall(line, begin):
            until = "" if until == quotes else until or quotes
    return found


def line_of(place: Place, lines: dict[Place, int]) -> int | None:
    """Return the line of a setting, or of the table that it is missing in."""
    return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)


def keys_of(written: str) -> Place:
    """Return the keys of a dotted key, without their quotes."""
    return tuple(_unquoted(key) for key in re.findall(_KEY, written))


def _unquoted(key: str) -> str:
    if not key.startswith('"'):
        return key.strip("'")
    try:
        return str(json.loads(key))
    except ValueError:  # an escape that only TOML has
        return key[1:-1]


def _note(found: dict[Place, int], place: Place, number: int) -> None:
    for end in range(1, len(place) + 1):
        found.setdefault(place[:end], number)
