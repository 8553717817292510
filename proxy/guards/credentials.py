"""Reads the credentials of a client from its `Authorization` fields: HTTP Basic (RFC 7617) or Bearer (RFC 6750 §2.1).

Rules: bytes in, bytes out; what is not clearly one of the two is refused, and nothing that was sent is in the refusal.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field


class UnreadableCredentialsError(ValueError):
    """There are credentials, but not as they should be. The text says why, for the log, without any of theirs."""


@dataclass(frozen=True, slots=True)
class ShownCredentials:
    """What a client shows: its name, with HTTP Basic, and its secret. Neither shows itself."""

    name: bytes | None = field(repr=False)
    secret: bytes = field(repr=False)


def read_credentials(authorization: Sequence[bytes]) -> ShownCredentials | None:
    """Return the credentials in the values of all `Authorization` fields; `None` if there is no field.

    Raises `UnreadableCredentialsError`.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        # Which one counts? Another server may take another one.
        raise UnreadableCredentialsError("more than one Authorization field")
    scheme, _, rest = authorization[0].strip(b" \t").partition(b" ")
    rest = rest.strip(b" ")
    match scheme.lower():  # RFC 9110 §11.1: in any case
        case b"basic":
            return _basic(rest)
        case b"bearer":
            return ShownCredentials(None, rest)
    raise UnreadableCredentialsError("neither HTTP Basic nor Bearer")


def _basic(encoded: bytes) -> ShownCredentials:
    bare = encoded.rstrip(b"=")  # some programs write no padding
    try:
        pair = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        raise UnreadableCredentialsError("HTTP Basic that is not Base64") from None
    name, colon, secret = pair.partition(b":")  # RFC 7617 §2: a name has no colon, a secret may have
    if not colon:
        raise UnreadableCredentialsError("HTTP Basic without a colon between name and secret")
    return ShownCredentials(name, secret)
