"""Who is next: the clients in turn, and of each client who came first. Pure.

A client that joins goes to the end of the round, and so has its turn after one of each other's at the latest, however
many those have waiting.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

_W = TypeVar("_W")
_number = itemgetter(0)


class Place(NamedTuple):
    """A place in line: of which client, and its number; the lower the earlier the request came in."""

    client: str
    number: int


class Rotation(Generic[_W]):
    """Those who wait, by client. Each has a number of its own, the lower the earlier it came."""

    __slots__ = ("_count", "_lines")

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, _W]]] = {}  # in the order of their turns; no line is empty
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_W]:
        return (waiter for line in self._lines.values() for _, waiter in line)

    def join(self, client: str, number: int, waiter: _W) -> None:
        """Add who waits."""
        insort(self._lines.setdefault(client, []), (number, waiter), key=_number)
        self._count += 1

    def leave(self, client: str, number: int) -> bool:
        """Remove who waits; others keep their turns. Tell whether there was such a one."""
        line = self._lines.get(client, [])
        index = bisect_left(line, number, key=_number)
        if index == len(line) or line[index][0] != number:
            return False
        del line[index]
        self._count -= 1
        if not line:
            del self._lines[client]
        return True

    def first(self) -> _W:
        """Return whose turn it is. Raises `StopIteration` if nobody waits."""
        return next(iter(self._lines.values()))[0][1]

    def advance(self) -> None:
        """Remove whose turn it was; the client's next turn comes after those of all others."""
        client = next(iter(self._lines))
        line = self._lines.pop(client)
        del line[0]
        self._count -= 1
        if line:
            self._lines[client] = line

    def in_turn(self) -> Iterator[_W]:
        """Yield those who wait in the order in which they will have their turns."""
        for turn in range(max(map(len, self._lines.values()), default=0)):
            yield from [line[turn][1] for line in self._lines.values() if turn < len(line)]

    def served(self, places: Iterable[tuple[str, int]]) -> None:
        """Remove those who were served out of turn; the next turns of their clients come after those of all others."""
        for client, number in places:
            if self.leave(client, number) and client in self._lines:
                self._lines[client] = self._lines.pop(client)

    def ahead_of(self, client: str, number: int) -> int:
        """Return how many have their turn before one of `client` with this number, which need not wait yet."""
        own = bisect_left(self._lines.get(client, []), number, key=_number)
        ahead, turns = own, own + 1  # those before it in the round have one more turn
        for other, line in self._lines.items():
            if other == client:
                turns = own
            else:
                ahead += min(len(line), turns)
        return ahead

    def line_length(self, client: str) -> int:
        """Return how many of `client` wait."""
        return len(self._lines.get(client, ()))

    def longest_line(self) -> list[_W]:
        """Return those who wait of the client that has the most, who came first first."""
        return [waiter for _, waiter in max(self._lines.values(), key=len, default=[])]
