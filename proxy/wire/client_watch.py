"""How long a client may take, and for what: pure, the clock comes in.

    its headers     `header_timeout` for all of them, from the first byte, on a new connection from its beginning
    the next one    `keep_alive_timeout` until it begins
    its body        `min_body_rate`, over every `rate_window`
    the answer      `min_body_rate`, over every `rate_window` in which the client is slower than the proxy

Rules: what the proxy itself holds up is not the client's fault: a body is not measured while nobody reads it. A look at
a connection costs no more than at one that is well, and happens once every few seconds (`next_look`), never for each
byte. A wait is noticed when it begins or at the next look, so that no deadline is missed: there is a look at least in
every time as long as the shortest limit.
"""

from dataclasses import dataclass
from enum import Enum

# The request line beside the target, empty lines before it, spaces around values: what is no field but is kept too.
_AROUND_HEAD = 1024  # bytes
# Chunk sizes, extensions and trailers are never more than this for each byte of content: `1 CRLF x CRLF` takes six. On
# top of that come what the parser has not read yet, and trailers.
_FRAMING_PER_BYTE = 16
_FRAMING_AT_ALL = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What clients may do: sizes in bytes, times in seconds, the rate in bytes a second."""

    max_request_line: int
    max_header_size: int
    max_header_count: int
    header_timeout: float
    min_body_rate: float
    rate_window: float
    keep_alive_timeout: float
    max_requests_per_connection: int

    @property
    def next_look(self) -> float:
        """The longest time in seconds between two looks at a connection."""
        return min(self.header_timeout, self.rate_window, self.keep_alive_timeout)

    @property
    def due(self) -> float:
        """How many bytes have to pass in each window."""
        return self.min_body_rate * self.rate_window

    @property
    def too_slow(self) -> str:
        """What a client is told whose body did not come so fast."""
        return f"Fewer than {self.due:g} bytes of the request body arrived in {self.rate_window:g} seconds."


class Overdue(Enum):
    """What a client has not done in time."""

    NOTHING = "nothing"
    REQUEST = "request"  # not a byte of it came
    HEAD = "head"
    BODY = "body"
    READING = "reading"


class ClientWatch:
    """What one client does. Made when its connection is; times in seconds on one monotonic clock."""

    __slots__ = (
        "_body_bytes",
        "_body_on_wire",
        "_body_since",
        "_head_bytes",
        "_head_since",
        "_limits",
        "_unsent",
        "_unsent_since",
    )

    def __init__(self, limits: ClientLimits, now: float) -> None:
        self._limits = limits
        self._head_since: float | None = now
        self._head_bytes = 0
        self._body_since = now
        self._body_bytes = 0
        self._body_on_wire = 0
        self._unsent_since: float | None = None
        self._unsent = 0

    @property
    def head_bytes(self) -> int:
        """How much of a head has come."""
        return self._head_bytes

    def head_came(self, count: int, now: float) -> bool:
        """Take note of bytes between two requests; tell whether a head may be as large as they are."""
        if self._head_since is None:
            self._head_since = now
        self._head_bytes += count
        limits = self._limits
        return self._head_bytes <= limits.max_request_line + limits.max_header_size + _AROUND_HEAD

    def head_complete(self) -> None:
        """Take note that a whole head has come."""
        self._head_since = None
        self._head_bytes = 0
        self._body_on_wire = 0

    def body_came(self, count: int) -> None:
        """Take note of bytes of a body."""
        self._body_bytes += count
        self._body_on_wire += count

    def mostly_framing(self, content: int) -> bool:
        """Tell whether what came of a body is far more than its `content` bytes, so that it might never end."""
        return self._body_on_wire > _FRAMING_AT_ALL + _FRAMING_PER_BYTE * content

    def body_wanted(self, now: float) -> None:
        """Take note that the rest of a body is waited for from now on."""
        self._body_since = now
        self._body_bytes = 0

    def answer_taken(self) -> None:
        """Take note that the client has taken most of what it was sent."""
        self._unsent_since = None

    def overdue(self, now: float, *, head_wanted: float | None, body_wanted: bool, unsent: int) -> Overdue:
        """Tell what the client has not done in time.

        `head_wanted` is since when the next request is waited for, `None` if it is not; `unsent` is how many bytes of
        an answer have not reached it.
        """
        limits = self._limits
        if self._is_unread(now, unsent):
            return Overdue.READING
        if head_wanted is not None:
            if now >= self._head_due(head_wanted):
                return Overdue.HEAD if self._head_bytes else Overdue.REQUEST
        elif body_wanted and now >= self._body_since + limits.rate_window:
            if self._body_bytes < limits.due:
                return Overdue.BODY
            self.body_wanted(now)
        return Overdue.NOTHING

    def look_again(self, now: float, *, head_wanted: float | None, body_wanted: bool) -> float:
        """Return when to ask `overdue` again, if it found nothing just now."""
        limits = self._limits
        times = [now + limits.next_look]
        if head_wanted is not None:
            times.append(self._head_due(head_wanted))
        elif body_wanted:
            times.append(self._body_since + limits.rate_window)
        if self._unsent_since is not None:
            times.append(self._unsent_since + limits.rate_window)
        return min(times)

    def _head_due(self, head_wanted: float) -> float:
        if self._head_since is None:
            return head_wanted + self._limits.keep_alive_timeout
        # It may have begun to come behind an earlier request, while nobody waited for it.
        return max(self._head_since, head_wanted) + self._limits.header_timeout

    def _is_unread(self, now: float, unsent: int) -> bool:
        if not unsent:
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since, self._unsent = now, unsent
        elif now >= self._unsent_since + self._limits.rate_window:
            # Bytes written meanwhile hide some that were taken. But then it is far behind: were it not, there would
            # have been a look that found nothing unsent, or the client would have taken most of it (`answer_taken`).
            if self._unsent - unsent < min(self._limits.due, self._unsent):
                return True
            self._unsent_since, self._unsent = now, unsent
        return False
