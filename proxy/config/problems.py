"""What is wrong with a configuration, gathered as it is read, to be reported all at once."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from proxy.config.files import FileStamp, closest

# Where a setting stands: the keys that lead to it.
Place: TypeAlias = tuple[str, ...]

_MOST: Final = 40  # known names that are all told; of more, only the first few are
_FEW: Final = 10
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(Exception):
    """The configuration can't be used. `problems` has a sentence for each thing to fix, without any secret.

    `told` are the same, each with the line of the file where it is; `excerpt` shows one line, if the file is not TOML.
    `files` are those that were read, or sought: a change of one may be what fixes it.
    """

    def __init__(
        self,
        problems: tuple[str, ...],
        files: Mapping[Path, FileStamp],
        *,
        told: tuple[str, ...] | None = None,
        excerpt: tuple[str, ...] = (),
    ) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.told = problems if told is None else told
        self.excerpt = excerpt
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

    def lines(self, line_of: Callable[[Place], int | None] = lambda _: None) -> tuple[str, ...]:
        """Return a line for each problem: `line 3: shops.demo.client_id: is missing …`, with its place if known."""
        return tuple(
            (f"line {number}: " if (number := line_of(place)) else "")
            + (f"{self.name(place)}: {sentence}" if place else sentence)
            for place, sentence in self._sentences.items()
        )


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return a sentence about an unknown name, with the known one that was probably meant, or else all of them."""
    known = sorted(known)
    if meant := closest(name, known):
        return f"unknown {what}: did you mean {_as_key(meant)}?"
    shown = (
        [*map(_as_key, known)] if len(known) <= _MOST else [*map(_as_key, known[:_FEW]), f"{len(known) - _FEW} more"]
    )
    return f"unknown {what} (known: {', '.join(shown)})"


def _as_key(key: str) -> str:
    # As TOML wants it written, and on one line whatever is in it.
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)
