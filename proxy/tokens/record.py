"""What is known for one set of credentials, as bytes that replicas share. Pure.

Rules: times are Redis's own, in microseconds; each replica knows them by `offset`, the seconds that Redis's clock is
ahead of its own. A token is the same object for as long as it is the same token.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Final

import msgspec

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.state import CallKind, TokenState
from proxy.tokens.token import AccessToken

_LOCAL: Final = frozenset({"fetch", "told_of_leaving_until"})  # what a process knows for itself
SHARED_FIELDS: Final = tuple(field.name for field in fields(TokenState) if field.name not in _LOCAL)
_NEVER: Final = float("-inf")

Kinds = list[tuple[str, bytes, int]]


class _Token(msgspec.Struct, array_like=True):
    authorization: bytes
    generation: int
    requested_at: int
    expires_at: int


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


def decode(content: bytes, offset: float, known: Iterable[AccessToken | None], make: MakeToken) -> TokenState:
    """Return what `encode` was given, in local times.

    Of the `known` tokens the one of the same generation is taken; else `make` makes one of its field's value, its
    generation, and when it was asked for and ends. Raises `ValueError` for what is no such record.
    """
    record = _decoder.decode(content)
    token = None
    if record.token is not None:
        parts = record.token
        same = (each for each in known if each is not None and each.generation == parts.generation)
        token = next(same, None) or make(
            parts.authorization, parts.generation, _local(parts.requested_at, offset), _local(parts.expires_at, offset)
        )
    return TokenState(
        token=token,
        ask_not_before=_local(record.ask_not_before, offset),
        error=_error(record.error),
        failures=record.failures,
        refused=record.refused,
        lease=record.lease,
        leased_until=_local(record.leased_until, offset),
        suspect=record.suspect,
        replaced=record.replaced,
        suspected_until=_local(record.suspected_until, offset),
        not_permitted_until=_local_kinds(record.not_permitted_until, offset),
        repeated_until=_local_kinds(record.repeated_until, offset),
    )


def _times(token: AccessToken, offset: float) -> tuple[int, int]:
    return round((token.requested_at + offset) * 1e6), round((token.expires_at + offset) * 1e6)


def _shared(moment: float, offset: float) -> int | None:
    return None if moment == _NEVER else round((moment + offset) * 1e6)


def _local(moment: int | None, offset: float) -> float:
    return _NEVER if moment is None else moment / 1e6 - offset


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
