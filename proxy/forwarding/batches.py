"""What became of the calls in a batch: its answer is 200, whatever happened to each of them.

Rules: 401s and 429s inside are counted as the answer passes, and shown; nothing is sent again for them, since nobody
knows what the other calls of the batch have done.
"""

from collections import Counter

from proxy.links.unpacking import BrokenEncoding, Unpacker, can_unpack
from proxy.platforms.answers import InnerStatuses


class BatchAnswer:
    """The answer of a batch as it passes, with this Content-Encoding; one that can't be unpacked is not looked into."""

    def __init__(self, coding: bytes) -> None:
        self._unpacker = Unpacker(coding) if can_unpack(coding) else None
        self._statuses = InnerStatuses()

    @property
    def counted(self) -> Counter[int]:
        """How many 401s and 429s there were so far."""
        return self._statuses.counted

    def note(self, piece: bytes) -> None:
        """Take note of the next piece of the body."""
        if self._unpacker is not None:
            try:
                for unpacked in self._unpacker.feed(piece):
                    self._statuses.feed(unpacked)
            except BrokenEncoding:
                self._unpacker = None
