"""Finds thousands of known texts in another text, at a cost that depends on that other text alone.

Each known text is filed under its first eight characters (all of them, if there are fewer). To find them, every window
of that width is looked up; only where one is known, the texts behind it are compared. Those are filed by length, so
that ten thousand tokens which begin alike (JWTs do) cost no more than the few lengths they have.

Rules: one thread adds and removes; others may search meanwhile (a library may log from a thread), and find what was
added before they began.
"""

from typing import Final

WIDTH: Final = 8


class SecretIndex:
    """The known texts. One that is inserted several times is known until it is removed as often."""

    __slots__ = ("_tables", "_texts", "longest")

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        # (width, {first characters: {length: how many known texts begin so and have that length}}). Nearly always
        # there is just one, of full width. Replaced as a whole when there is a new width, for searches under way.
        self._tables: tuple[tuple[int, dict[str, dict[int, int]]], ...] = ()
        # The length of the longest text there has ever been.
        self.longest = 0

    def insert(self, text: str) -> None:
        """Make `text`, which is not empty, known."""
        count = self._texts.get(text, 0)
        self._texts[text] = count + 1
        if count:
            return
        width = min(WIDTH, len(text))
        if width not in dict(self._tables):
            self._tables = (*self._tables, (width, {}))
        lengths = dict(self._tables)[width].setdefault(text[:width], {})
        lengths[len(text)] = lengths.get(len(text), 0) + 1
        self.longest = max(self.longest, len(text))

    def remove(self, text: str) -> None:
        """Undo one `insert`."""
        count = self._texts[text] - 1
        if count:
            self._texts[text] = count
            return
        del self._texts[text]
        width = min(WIDTH, len(text))
        table = dict(self._tables)[width]
        lengths = table[text[:width]]
        lengths[len(text)] -= 1
        if not lengths[len(text)]:
            del lengths[len(text)]
        if not lengths:
            del table[text[:width]]

    def find(self, text: str, end: int) -> list[tuple[int, int]]:
        """Return where the known texts are that begin before `end`, also if they overlap; per place the longest."""
        found: list[tuple[int, int]] = []
        for width, table in self._tables:
            windows = [text[start : start + width] for start in range(min(end, len(text) - width + 1))]
            if table.keys().isdisjoint(windows):
                continue
            for start, window in enumerate(windows):
                # `sorted` copies the lengths in one go, so that another thread can't change them half-way.
                for length in sorted(table.get(window, ()), reverse=True):
                    # Where the text ends early, a shorter one may be found.
                    piece = text[start : start + length]
                    if piece in self._texts:
                        found.append((start, start + len(piece)))
                        break
        return found

    def __len__(self) -> int:
        return len(self._texts)
