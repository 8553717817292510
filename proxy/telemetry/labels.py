"""Under which name a shop is counted: there are never more of these names than are allowed, whatever clients call.

Rules: a shop that the configuration names is counted under its key. Of those that only the wildcard entry serves, the
first `MAX_WILDCARD_SHOPS` that got a token have names of their own; a made-up shop gets none. All others are `*`.
"""

from collections.abc import Iterator
from typing import Final

MAX_WILDCARD_SHOPS: Final = 100
UNKNOWN: Final = ""  # requests that were refused before a shop was found
NOBODY: Final = ""  # as the client of requests that were refused for want of one


class ShopLabels:
    """Remembers which shops of the wildcard entry have a name of their own."""

    def __init__(self) -> None:
        self._wildcard_shops: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield the shops of the wildcard entry that have a name of their own, in the order they came."""
        yield from self._wildcard_shops

    def of(self, key: str, entry: str) -> str:
        """Return the name for the shop `key`, which the configuration's `entry` serves."""
        return key if key == entry or key in self._wildcard_shops else entry

    def granted(self, key: str, entry: str) -> str:
        """Return the name for a shop that got a token, which may give it one of its own."""
        if key != entry and len(self._wildcard_shops) < MAX_WILDCARD_SHOPS:
            self._wildcard_shops[key] = None
        return self.of(key, entry)
