"""An access token, and when it may be used. Pure: clock and randomness come in.

Times are seconds on the monotonic clock, counted from before the token request was sent: the platform's clock is not
ours, and its answer takes its time.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

DEFAULT_LIFETIME: Final = 300.0  # seconds; what a token without `expires_in` is trusted for (RFC 6749 §5.1)
_LARGEST_MARGIN: Final = 0.2  # of the lifetime, so that a short-lived token is used at all
_JITTER: Final = 0.1  # of the margin, so that shops that started together don't refresh together


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """A token as it stands in a header field, and its times. Compared by identity.

    `authorization` is the field's value: the token behind its scheme. `line` is the whole field as it goes on the wire.
    `generation` tells it from the others for the same credentials, the later the larger: in one process when it was
    asked for, among replicas what they agreed on.
    """

    authorization: bytes = field(repr=False)
    requested_at: float
    refresh_at: float
    expires_at: float
    header: bytes = b"Authorization"
    generation: float = 0.0
    line: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", b"%s: %s\r\n" % (self.header, self.authorization))
        if not self.generation:
            object.__setattr__(self, "generation", self.requested_at)


class Another(NamedTuple):
    """Another token than the rejected one; `proves` if a 401 for it means that the call is not permitted."""

    token: AccessToken
    proves: bool


def access_token(  # noqa: PLR0913 - all but the first are keywords
    value: str,
    *,
    requested_at: float,
    lifetime: float | None,
    max_age: float,
    refresh_margin: float,
    chance: float,
    header: str = "Authorization",
    scheme: str = "Bearer",
    generation: float = 0.0,
) -> AccessToken:
    """Return the token granted for `lifetime` seconds, as it is to be used here.

    `max_age` bounds the lifetime: some platforms grant a year, and a token revoked meanwhile would live on. `chance`,
    from 0 to 1, shortens the margin by up to a tenth. It stands in the field called `header`, behind `scheme`, which
    may be empty. `generation` as `AccessToken` has it.
    """
    seconds = DEFAULT_LIFETIME if lifetime is None else lifetime
    authorization = f"{scheme} {value}".lstrip(" ").encode()
    return known_token(
        authorization,
        generation,
        requested_at,
        requested_at + seconds,
        max_age=max_age,
        refresh_margin=refresh_margin,
        chance=chance,
        header=header,
    )


def known_token(
    authorization: bytes,
    generation: float,
    requested_at: float,
    expires_at: float,
    *,
    max_age: float,
    refresh_margin: float,
    chance: float,
    header: str,
) -> AccessToken:
    """Return a token of which the field's value and the end are known; the rest as `access_token` has it."""
    seconds = min(expires_at - requested_at, max_age)
    margin = min(refresh_margin, seconds * _LARGEST_MARGIN) * (1 - _JITTER * chance)
    end = requested_at + seconds
    return AccessToken(authorization, requested_at, end - margin, end, header.encode(), generation)
