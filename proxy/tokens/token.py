"""An access token, and when it may be used. Pure: the clock comes in.

Times are seconds on the monotonic clock, counted from before the token request was sent: the platform's clock is not
ours, and the answer takes its time.
"""

from dataclasses import dataclass, field
from typing import Final

DEFAULT_LIFETIME: Final = 300.0  # seconds; what a token without `expires_in` is trusted for (RFC 6749 §5.1)
_LARGEST_MARGIN: Final = 0.2  # of the lifetime, so that a short-lived token is used at all


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as it stands in `Authorization`, and the times when it should be renewed and when it ends."""

    authorization: bytes = field(repr=False)
    renew_at: float
    expires_at: float

    def is_fresh(self, now: float) -> bool:
        """Tell whether the token can be used without a thought of renewing it."""
        return now < self.renew_at


def access_token(
    value: str, *, requested_at: float, lifetime: float | None, max_age: float, refresh_margin: float
) -> AccessToken:
    """Return the token granted for `lifetime` seconds, as it is to be used here.

    `max_age` bounds the lifetime: some platforms grant a year, and a token revoked meanwhile would live on.
    """
    seconds = min(DEFAULT_LIFETIME if lifetime is None else lifetime, max_age)
    margin = min(refresh_margin, seconds * _LARGEST_MARGIN)
    expires_at = requested_at + seconds
    return AccessToken(b"Bearer " + value.encode(), expires_at - margin, expires_at)
