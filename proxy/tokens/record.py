"""What is known for one set of credentials, as bytes that replicas share. Pure.

Rules: times are Redis's own, in microseconds; each replica knows them by `offset`, the seconds that Redis's clock is
ahead of its own. A token is the same object for as long as it is the same token. What would last longer than anything
does is of a clock that was set back since, and does not count; a token lives from now on then. What can't stand in a
header field is no token.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Final

import msgspec

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.leases import LEASE
from proxy.tokens.state import (
    LONGEST_BACKOFF,
    LONGEST_RETRY_AFTER,
    REFUSAL_PAUSE,
    SUSPICION_INTERVAL,
    SUSPICIONS_AT_ONCE,
    CallKind,
    TokenState,
)
from proxy.tokens.token import AccessToken

_LOCAL: Final = frozenset({"fetch", "told_of_leaving_until"})  # what a process knows for itself
SHARED_FIELDS: Final = tuple(field.name for field in fields(TokenState) if field.name not in _LOCAL)
_NEVER: Final = float("-inf")
# From now on, in seconds, with what replicas may differ in what they take for Redis's time.
_INEXACT: Final = 1.0
_LONGEST_PAUSE: Final = max(LONGEST_BACKOFF, LONGEST_RETRY_AFTER, REFUSAL_PAUSE) + _INEXACT
_LONGEST_LEASE: Final = LEASE + _INEXACT
_LONGEST_SUSPICION: Final = SUSPICIONS_AT_ONCE * SUSPICION_INTERVAL + _INEXACT
_FIELD_VALUE: Final = re.compile(rb"[!-~]+(?: [!-~]+)*")

Kinds = list[tuple[str, bytes, int]]


class _Token(msgspec.Struct, array_like=True):
    authorization: bytes
    generation: int
    requested_at: int
    expires_at: int

    def __repr__(self) -> str:
        return f"_Token(generation={self.generation})"


class _Error(msgspec.Struct, array_like=True):
    refused: bool
    detail: str
    reason: str
    timed_out: bool


class _Record(msgspec.Struct, omit_defaults=True):
    token: _Token | None = None
    ask_not_before: int | None = None
    error: _Error | None = None
    failures: int = 0
    refused: bool = False
    lease: int = 0
    leased_until: int | None = None
    suspect: int | None = None
    replaced: int | None = None
    suspected_until: int | None = None
    not_permitted_until: Kinds | None = None
    repeated_until: Kinds | None = None


_decoder = msgspec.msgpack.Decoder(_Record)
MakeToken = Callable[[bytes, float, float, float], AccessToken]


def encode(state: TokenState, offset: float) -> bytes:
    """Return what others are to know of `state`."""
    token, error = state.token, state.error
    return msgspec.msgpack.encode(
        _Record(
            None if token is None else _Token(token.authorization, int(token.generation), *_times(token, offset)),
            _shared(state.ask_not_before, offset),
            None if error is None else _Error(*_words(error)),
            state.failures,
            state.refused,
            state.lease,
            _shared(state.leased_until, offset),
            None if state.suspect is None else int(state.suspect),
            None if state.replaced is None else int(state.replaced),
            _shared(state.suspected_until, offset),
            _shared_kinds(state.not_permitted_until, offset),
            _shared_kinds(state.repeated_until, offset),
        )
    )


def decode(
    content: bytes, offset: float, now: float, known: Iterable[AccessToken | None], make: MakeToken
) -> TokenState:
    """Return what `encode` was given, in local times; `now` is one.

    Of the `known` tokens the one of the same generation is taken; else `make` makes one of its field's value, its
    generation, and when it was asked for and ends. Raises `ValueError` for what is no such record.
    """
    record = _decoder.decode(content)
    token = None
    if record.token is not None:
        parts = record.token
        if not _FIELD_VALUE.fullmatch(parts.authorization):
            raise ValueError("not a value of a header field")
        same = (each for each in known if each is not None and each.generation == parts.generation)
        requested_at, expires_at = _local(parts.requested_at, offset), _local(parts.expires_at, offset)
        ahead = max(requested_at - now, 0.0)
        token = next(same, None) or make(
            parts.authorization, parts.generation, requested_at - ahead, expires_at - ahead
        )
    return TokenState(
        token=token,
        ask_not_before=_within(record.ask_not_before, offset, now + _LONGEST_PAUSE),
        error=_error(record.error),
        failures=record.failures,
        refused=record.refused,
        lease=record.lease,
        leased_until=_within(record.leased_until, offset, now + _LONGEST_LEASE),
        suspect=record.suspect,
        replaced=record.replaced,
        suspected_until=_within(record.suspected_until, offset, now + _LONGEST_SUSPICION),
        not_permitted_until=_local_kinds(record.not_permitted_until, offset),
        repeated_until=_local_kinds(record.repeated_until, offset),
    )


def _times(token: AccessToken, offset: float) -> tuple[int, int]:
    return round((token.requested_at + offset) * 1e6), round((token.expires_at + offset) * 1e6)


def _shared(moment: float, offset: float) -> int | None:
    return None if moment == _NEVER else round((moment + offset) * 1e6)


def _local(moment: int | None, offset: float) -> float:
    return _NEVER if moment is None else moment / 1e6 - offset


def _within(moment: int | None, offset: float, latest: float) -> float:
    local = _local(moment, offset)
    return local if local <= latest else _NEVER


def _shared_kinds(kinds: Mapping[CallKind, float] | None, offset: float) -> Kinds | None:
    return (
        None
        if kinds is None
        else [(kind.method, kind.segment, round((until + offset) * 1e6)) for kind, until in kinds.items()]
    )


def _local_kinds(kinds: Kinds | None, offset: float) -> dict[CallKind, float] | None:
    return (
        None if kinds is None else {CallKind(method, segment): until / 1e6 - offset for method, segment, until in kinds}
    )


def _words(error: TokenError) -> tuple[bool, str, str, bool]:
    return isinstance(error, TokenRefused), error.detail, error.reason, error.status == 504


def _error(error: _Error | None) -> TokenError | None:
    if error is None:
        return None
    if error.refused:
        return TokenRefused(error.detail, reason=error.reason)
    return TokenUnavailable(error.detail, reason=error.reason, timed_out=error.timed_out)
