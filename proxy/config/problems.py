"""What is wrong with a configuration, gathered as it is read, to be reported all at once."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from proxy.config.files import FileStamp

# Where a setting stands: the keys that lead to it.
Place: TypeAlias = tuple[str, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(Exception):
    """The configuration can't be used. `problems` has a line for each thing to mend, without any secret.

    `files` are those that were read, or sought: a change of one may be the mend.
    """

    def __init__(self, problems: tuple[str, ...], files: Mapping[Path, FileStamp]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.files = files


class Problems:
    """The problems found so far: one per place, the first one, in the order they were found."""

    def __init__(self) -> None:
        self._sentences: dict[Place, str] = {}
        self._names: dict[Place, str] = {}

    def __bool__(self) -> bool:
        return bool(self._sentences)

    def __contains__(self, place: Place) -> bool:
        return place in self._sentences

    def in_table(self, table: Place) -> bool:
        """Tell whether there is a problem with a table or with anything in it."""
        return any(place[: len(table)] == table for place in self._sentences)

    def add(self, place: Place, sentence: str) -> None:
        """Note what is wrong at a place, unless something already is."""
        self._sentences.setdefault(place, sentence)

    def rename(self, place: Place, name: str) -> None:
        """Have a place called by another name: that of the environment variable that it was taken from."""
        self._names[place] = name

    def name(self, place: Place) -> str:
        """Return what the user calls a place, such as `shops."*".client_id`."""
        return self._names.get(place) or ".".join(map(_as_key, place))

    def lines(self) -> tuple[str, ...]:
        """Return a line for each problem: `shops.demo.client_id: is missing …`."""
        return tuple(
            f"{self.name(place)}: {sentence}" if place else sentence for place, sentence in self._sentences.items()
        )


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return a sentence about an unknown name, with the known one that was probably meant, or else all of them."""
    known = sorted(known)
    if meant := get_close_matches(name, known, n=1):
        return f"unknown {what}: did you mean {_as_key(meant[0])}?"
    return f"unknown {what}: known are {', '.join(map(_as_key, known))}"


def _as_key(key: str) -> str:
    # As TOML wants it written, and on one line whatever is in it.
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)
