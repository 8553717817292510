"""The time of an answer, as its `Date` tells it (RFC 9110 §6.6.1).

Rules: it is written once a second, however many answers there are.
"""

from collections.abc import Callable
from email.utils import formatdate


class DateLine:
    """The line with the time of `clock`, in seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second: int | None = None
        self._line = b""

    def now(self) -> bytes:
        """Return the line, its end included."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line
