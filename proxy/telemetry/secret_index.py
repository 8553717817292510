"""Finds thousands of known texts in another text, at a cost that depends on that other text alone.

A known text is filed under its last eight pieces of eight bytes (of UTF-8), each a byte before the next. Wherever it
stands in another text, one of them is found by looking up every eighth piece of that. One that is too short is filed
under its last characters alone; a few of these are searched for one by one, and for more every piece is looked up. Only
texts of which a piece was found are searched for. (Tokens of one server begin alike, if they are JWTs, but end
differently.)

Rules: one thread adds and removes, at a cost that does not grow with how many end alike; others may search meanwhile (a
library may log from a thread), and find what was added before they began.
"""

import struct
from collections.abc import Collection
from typing import Final, Generic, TypeVar

_WIDTH: Final = 8
_FEW: Final = 16
# Per number of pieces that lie one behind the other: what makes a number of each.
_PIECES: Final = tuple(struct.Struct(f"={count}Q").unpack_from for count in range(129))

Known = TypeVar("Known")


class SecretIndex(Generic[Known]):
    """What is known, by the texts that it is to be found in. What is inserted several times is removed as often."""

    __slots__ = ("_filed", "_pieces", "_short", "_widths")

    def __init__(self) -> None:
        # {piece: what is filed under it}; the pieces of short texts are no numbers.
        self._filed: dict[int | str, tuple[Known, ...] | dict[Known, int]] = {}
        self._pieces = self._filed.keys()
        # The pieces of short texts, and how long they are. Replaced as a whole, for searches under way.
        self._short: tuple[str, ...] = ()
        self._widths: tuple[int, ...] = ()

    def insert(self, known: Known, end: str) -> None:
        """Let it be found in texts that hold `end`."""
        alone = (known,)
        for piece in _last_pieces(end):
            self._filed[piece] = _with(self._filed[piece], known) if piece in self._filed else alone
            if isinstance(piece, str) and len(self._short) <= _FEW and piece not in self._short:
                self._short = (*self._short, piece)
            if isinstance(piece, str) and len(piece) not in self._widths:
                self._widths = (*self._widths, len(piece))

    def remove(self, known: Known, end: str) -> None:
        """Undo one `insert`."""
        for piece in _last_pieces(end):
            others = _without(self._filed[piece], known)
            if others:
                self._filed[piece] = others
            else:
                del self._filed[piece]

    def candidates(self, text: str) -> Collection[Known]:
        """Return what may be in `text`: all that is, and hardly ever anything else."""
        data = text.encode() if text.isascii() else text.encode("utf-8", "surrogatepass")
        count = len(data) // _WIDTH
        pieces: tuple[int | str, ...]
        pieces = _PIECES[count](data) if count < len(_PIECES) else struct.unpack_from(f"={count}Q", data)
        if not self._short:
            pass
        elif len(self._short) <= _FEW:
            pieces += tuple([piece for piece in self._short if piece in text])
        else:
            for width in self._widths:
                pieces += tuple([text[start : start + width] for start in range(len(text) - width + 1)])
        if self._pieces.isdisjoint(pieces):
            return ()
        return set[Known]().union(*[self._filed.get(piece, ()) for piece in pieces])

    def __len__(self) -> int:
        """Return how many pieces there are; 0 if nothing is known."""
        return len(self._filed)


def _with(filed: tuple[Known, ...] | dict[Known, int], known: Known) -> tuple[Known, ...] | dict[Known, int]:
    """Return what is filed under a piece, and one more. A few are a tuple, the smallest; many are counted in place.

    CPython reads a whole `dict` in one step, so that a search under way sees it as it was or as it will be.
    """
    if isinstance(filed, tuple):
        if len(filed) < _FEW:
            return (*filed, known)
        filed = {each: filed.count(each) for each in filed}
    filed[known] = filed.get(known, 0) + 1
    return filed


def _without(filed: tuple[Known, ...] | dict[Known, int], known: Known) -> tuple[Known, ...] | dict[Known, int]:
    """Return what is filed under a piece without one that is there."""
    if isinstance(filed, tuple):
        place = filed.index(known)
        return filed[:place] + filed[place + 1 :]
    filed[known] -= 1
    if not filed[known]:
        del filed[known]
    return filed


def _last_pieces(end: str) -> set[int | str]:
    data = end.encode("utf-8", "surrogatepass")[-(2 * _WIDTH - 1) :]
    if len(data) < 2 * _WIDTH - 1:
        return {end[-_WIDTH:]}
    return {_PIECES[1](data, start)[0] for start in range(_WIDTH)}
