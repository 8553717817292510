"""The last things that went wrong with each shop's calls, for the status page.

Rules: so many for each shop and so many in all, whatever clients send. Where there is no more room, the shop whose last
problem is the oldest loses its own. What is kept holds no query and no credentials, and is not long.
"""

import re
from collections import deque
from typing import Final, NamedTuple

EACH: Final = 20
IN_ALL: Final = 5_000  # of less than a kilobyte each
_LONGEST: Final = 200  # bytes
_LONGEST_REASON: Final = 400  # characters
_USER_INFO: Final = re.compile(rb"//[^/]*@")


class Problem(NamedTuple):
    """What went wrong with a call, when, in seconds on the monotonic clock, and which call it was.

    `path` is without query; `status` is that of the answer to the client, `None` if there was none; `client` is its
    name, or empty; `reason` is what the client was not told, or empty. `path` and `reason` are still to be searched for
    secrets.
    """

    code: str
    detail: str
    at: float
    method: str = ""
    path: str = ""
    status: int | None = None
    client: str = ""
    request_id: str = ""
    reason: str = ""


class Problems:
    """Keeps the last problems of each shop, by the name that it is counted under."""

    def __init__(self, *, each: int = EACH, in_all: int = IN_ALL) -> None:
        self._each = each
        self._in_all = in_all
        self._count = 0
        self._of: dict[str, deque[Problem]] = {}  # the shop with the latest one last

    def add(self, shop: str, problem: Problem) -> None:
        """Keep a problem, in place of the oldest one if there are too many."""
        kept = self._of.pop(shop, None)
        if kept is None:
            kept = deque(maxlen=self._each)
        self._of[shop] = kept
        self._count += len(kept) < self._each
        kept.append(problem)
        while self._count > self._in_all:
            self._count -= len(self._of.pop(next(iter(self._of))))

    def of(self, shop: str) -> tuple[Problem, ...]:
        """Return the problems of a shop, the latest first."""
        return tuple(reversed(self._of.get(shop, ())))


def kept_reason(reason: str) -> str:
    """Return a reason if it is short; a longer one is only in the log, since a cut could leave half a secret."""
    return reason if len(reason) <= _LONGEST_REASON else ""


def shown_target(target: bytes) -> str:
    """Return what was asked for, as others may read it: without user name, password and query, and not long."""
    return _USER_INFO.sub(b"//", target).partition(b"?")[0][:_LONGEST].decode("utf-8", "replace")
