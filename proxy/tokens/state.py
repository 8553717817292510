"""What is known for one set of credentials, and what follows from it. Pure: clock and randomness come in.

Rules:
- A token serves until it ends, and not a second longer; what goes wrong when another is fetched never shortens that.
- The token endpoint is left alone for a while after each failure (`ask_not_before`): longer and longer after an outage
  (exponential back-off with full jitter, up to the old token's end, or what the endpoint's Retry-After says). A first
  refusal may be a mistake of the endpoint's, and is asked about once more after a few seconds; the next ones count for
  a minute each.
- A 401 says that a token is dead or that a call is not permitted, and platforms don't tell the two apart (Shoprenter
  answers 401 with the inner code 40101 to a perfectly good token). So a call of a kind that was refused with a fresh
  token is known for a while to be not permitted; for other kinds the token is suspect, but not too often.
"""

import asyncio
import copy
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.token import AccessToken

FIRST_BACKOFF: Final = 0.5  # seconds, doubled with each failure in a row
LONGEST_BACKOFF: Final = 30.0
LONGEST_RETRY_AFTER: Final = 60.0
FIRST_REFUSAL_PAUSE: Final = 5.0
REFUSAL_PAUSE: Final = 60.0
# How often a token may come under suspicion: five times at once, then once in ten seconds.
SUSPICIONS_AT_ONCE: Final = 5
SUSPICION_INTERVAL: Final = 10.0
MAX_KINDS: Final = 32  # remembered for one set of credentials; clients choose them


class CallKind(NamedTuple):
    """Calls that a platform permits or forbids together: the method, and the first segment of the path."""

    method: str
    segment: bytes


class Reaction(Enum):
    """What a 401 calls for."""

    USE_CACHED = "late"  # it came for a token that has been replaced: try the cached one
    REPLACE = "replace"  # the token is suspect: fetch another one
    NOT_PERMITTED = "not_permitted"  # the call is not permitted, with whatever token
    LATER = "later"  # the token is suspect, but the endpoint is to be left alone for now
    LEAVE = "leave"  # the token came under suspicion too often


@dataclass(slots=True)
class TokenState:
    """The token of one set of credentials, and the past that counts. Times are seconds on the monotonic clock."""

    token: AccessToken | None = None
    fetch: asyncio.Task[None] | None = None  # the token request under way
    fetching_since: float = 0.0
    ask_not_before: float = float("-inf")
    error: TokenError | None = None
    failures: int = 0
    refused: bool = False  # since the last token
    # Which replica asks for a token, by the generation that this will have, and for how long it may; 0: none.
    lease: int = 0
    leased_until: float = float("-inf")
    # The generation of the token that is under suspicion now; and that of the suspect which `token` has replaced.
    suspect: float | None = None
    replaced: float | None = None
    # GCRA's theoretical arrival time: one number is enough to keep a rate with a burst.
    suspected_until: float = float("-inf")
    told_of_leaving_until: float = float("-inf")
    not_permitted_until: dict[CallKind, float] | None = None
    # Calls that are being repeated with this token, which was fetched for their sake, and until when it is fresh.
    repeated_until: dict[CallKind, float] | None = None

    def usable(self, now: float) -> AccessToken | None:
        """Return the token if it has not ended."""
        token = self.token
        return token if token is not None and now < token.expires_at else None

    def may_ask(self, now: float) -> bool:
        """Tell whether the endpoint may be asked now."""
        return now >= self.ask_not_before

    def fetched_by(self, fetch: asyncio.Task[None], now: float) -> asyncio.Task[None]:
        """Take note of a token request that begins."""
        self.fetch, self.fetching_since = fetch, now
        return fetch

    def granted(self, token: AccessToken) -> None:
        """Take a new token."""
        self.token = token
        self.ask_not_before = float("-inf")
        self.error = None
        self.failures = 0
        self.refused = False
        self.replaced, self.suspect = self.suspect, None
        self.repeated_until = None
        self._forget_kinds(token.requested_at)

    def failed(self, error: TokenError, now: float, chance: float) -> None:
        """Take note that no token was granted. `chance` is from 0 to 1."""
        if isinstance(error, TokenRefused):
            pause = REFUSAL_PAUSE if self.refused else FIRST_REFUSAL_PAUSE
            self.refused = True
        else:
            longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self.failures, 16))
            backoff = longest * chance
            if token := self.usable(now):
                # Without a token calls fail: that is no time to wait, the endpoint may have recovered.
                backoff = min(backoff, token.expires_at - now)
            pause = max(backoff, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
            self.failures += 1
        self.suspect = None
        self.error = copy.copy(error)  # without its traceback, which holds on to the whole fetch
        self.ask_not_before = now + pause

    def failure(self, now: float) -> TokenError:
        """Return why there is no token, and when it makes sense to ask again."""
        error = copy.copy(self.error) if self.error else TokenUnavailable("The access token has expired.")
        error.reason = ""  # told once, when it came
        error.retry_after = max(self.ask_not_before - now, 0.0)
        return error

    def react(self, rejected: AccessToken, kind: CallKind, now: float) -> Reaction:
        """Tell what a 401 for `rejected` calls for. `REPLACE` counts as a suspicion, unless a fetch is under way."""
        current = self.usable(now)
        if current is not None and current is not rejected:
            return Reaction.USE_CACHED
        if not self.permitted(kind, now):
            return Reaction.NOT_PERMITTED
        if self.fetch is not None or now < self.leased_until:
            return Reaction.REPLACE
        if self.repeated_until is not None and now < self.repeated_until.get(kind, now):
            return Reaction.NOT_PERMITTED  # it has overtaken the repeated call, and adds nothing to what that will tell
        if not self.may_ask(now):
            return Reaction.LATER
        if self.suspected_until - now > (SUSPICIONS_AT_ONCE - 1) * SUSPICION_INTERVAL:
            return Reaction.LEAVE
        self.suspected_until = max(self.suspected_until, now) + SUSPICION_INTERVAL
        self.suspect = rejected.generation
        return Reaction.REPLACE

    def permitted(self, kind: CallKind, now: float) -> bool:
        """Tell whether a kind of call was not refused of late with a fresh token."""
        return self.not_permitted_until is None or now >= self.not_permitted_until.get(kind, now)

    def replaced_for(self, rejected: AccessToken) -> bool:
        """Tell whether the token was asked for because `rejected` came under suspicion.

        If so, and if it has not had the time to die too, a 401 for it says that the call is not permitted. A token that
        came for another reason may have been revoked together with the rejected one.
        """
        return self.replaced == rejected.generation

    def repeats(self, kind: CallKind, now: float, pause: float) -> None:
        """Take note that a call is repeated with the token, which counts as fresh for `pause` seconds."""
        if self.repeated_until is None:
            self.repeated_until = {}
        self.repeated_until[kind] = now + pause

    def repeated(self, kind: CallKind) -> None:
        """Take note that the repeated call has come to its end."""
        if self.repeated_until is not None:
            self.repeated_until.pop(kind, None)

    def tells_of_leaving(self, now: float) -> bool:
        """Tell whether it is time to say that the token came under suspicion too often."""
        if now < self.told_of_leaving_until:
            return False
        self.told_of_leaving_until = now + SUSPICION_INTERVAL
        return True

    def refused_again(self, kind: CallKind, now: float, pause: float) -> bool:
        """Take note for `pause` seconds that a kind of call is not permitted; tell whether that is news."""
        self._forget_kinds(now)
        known = self.not_permitted_until or {}
        if kind in known or len(known) >= MAX_KINDS or not pause:
            return False
        known[kind] = now + pause
        self.not_permitted_until = known
        return True

    def _forget_kinds(self, now: float) -> None:
        if self.not_permitted_until is not None:
            still = {kind: until for kind, until in self.not_permitted_until.items() if now < until}
            self.not_permitted_until = still or None
