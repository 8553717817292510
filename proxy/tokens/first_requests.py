"""Paces the first token requests of shops that only the wildcard entry serves.

Whoever can call the proxy can make up shop names, each of which would cost a token request: so the first ones, for
shops that have no token yet, are spread over time. Known shops are not touched by this.
"""

from typing import Final

from proxy.errors import Overloaded

TOO_MANY: Final = "Too many shops are called for the first time (tokens.first_requests_per_second)."


class FirstRequests:
    """Gives out turns, `per_second` of them at the most."""

    def __init__(self, per_second: float, *, longest_wait: float) -> None:
        self._interval = 1 / per_second
        self._longest_wait = longest_wait
        self._next_turn = float("-inf")

    def turn(self, now: float) -> float:
        """Return in how many seconds it is the caller's turn; raises `Overloaded` if that is too far off."""
        turn = max(self._next_turn, now)
        if turn - now > self._longest_wait:
            raise Overloaded(TOO_MANY, retry_after=turn - now - self._longest_wait)
        self._next_turn = turn + self._interval
        return turn - now
