"""A request that has come to its end: what is counted of it, and what its line in the log says.

Rules: it is put together once, when the request ends, and holds neither bodies nor connections. Its line is made of it
later, off the path of who waits for an answer (`writing`).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType


class RequestLine(msgspec.Struct):
    """A line in the log about a request: what is unset is not told, the rest in this order."""

    timestamp: str
    level: str
    event: str
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    client: str | UnsetType | None = UNSET
    client_tried: str | UnsetType | None = UNSET
    address: str | UnsetType = UNSET
    shop: str | None = None
    method: str = ""
    path: str | None = None
    target: str | UnsetType = UNSET
    status: int | None = None
    upstream_status: int | None = None
    attempts: int = 0
    batch: str | UnsetType = UNSET
    batch_size: int | UnsetType = UNSET
    collapsed: str | UnsetType = UNSET
    collapsed_size: int | UnsetType = UNSET
    duration_ms: float = 0.0
    # Where the time went, but for the proxy's own work and for bodies on their way.
    waited_ms: float | UnsetType = UNSET
    token_ms: float | UnsetType = UNSET
    upstream_ms: float | UnsetType = UNSET
    bytes_in: int = 0
    bytes_out: int = 0
    inner_statuses: dict[str, int] | UnsetType = UNSET
    dropped_fields: int | UnsetType = UNSET
    request_id: str = ""
    trace_id: str | UnsetType = UNSET


class Failure(NamedTuple):
    """Why a request failed: a stable code, a sentence that may be shown, and what only the operator may see."""

    code: str
    detail: str
    reason: str = ""


class FinishedRequest(NamedTuple):
    """A request that has come to its end. Times in seconds, sizes in bytes, bodies only.

    `entry` is the configuration's entry that serves the shop `key`; both are empty if no shop was found. `status` is
    that of the answer to the client, `None` if there was none, `answered` that of the platform's, as it is meant.
    `failure` is an error of the proxy's own, for which an answer may have been broken off. `added` is what the proxy
    took until the answer began, `paced` what it waited for the platform's rate limit, `None` if there was nothing to
    wait for; `throttled` counts the platform's 429s, `dropped_fields` what the answer's head had to lose, `inner` the
    statuses in a batch that were 401 or 429. `client` is who called, if that is known, or who somebody wanted to be;
    `None` where nobody is asked. `upstream` is what was spent waiting for the platform, `None` if it was not asked.
    `target` is what was asked for, raw, behind the shop if one is named; `hint` what may help where the platform
    answered 401.

    For the log alone: `shop` is the one that is named, `upstream_status` that of the platform's answer as it came,
    `tokens` what was spent waiting for tokens, `trace` the one that the client named. `address` is `None` where the
    client is known. `error` are the fields that tell of an error, `besides` others that only few lines have. `id_given`
    if the client chose `request_id`.
    """

    key: str
    entry: str
    method: str
    status: int | None
    answered: int | None
    failure: Failure | None
    attempts: int
    bytes_in: int
    bytes_out: int
    duration: float
    added: float | None
    paced: float | None
    throttled: int
    dropped_fields: int = 0
    inner: Mapping[int, int] | None = None
    client: str | None = None
    upstream: float | None = None
    target: bytes = b""
    request_id: bytes = b""
    hint: str = ""
    shop: str | None = None
    upstream_status: int | None = None
    tokens: float = 0.0
    trace: str = ""
    address: str | None = None
    error: Mapping[str, Any] | None = None
    besides: Mapping[str, Any] | None = None
    id_given: bool = False

    def line(self, timestamp: str, level: str, event: str) -> tuple["RequestLine", str | None]:
        """Return the line in the log, and in one text what of it others chose; `None` if that may be all of it."""
        # fmt: off
        (
            _, _, method, status, _, _, attempts, bytes_in, bytes_out, duration, _, paced, _, dropped, inner, client,
            upstream, target, raw_id, _, shop, upstream_status, tokens, trace, address, error, besides, id_given,
        ) = self
        # fmt: on
        path = None if shop is None else target.partition(b"?")[0].decode()
        request_id = raw_id.decode()
        line = RequestLine(
            timestamp,
            level,
            event,
            client=client if address is None else UNSET,
            address=UNSET if address is None else address,
            shop=shop,
            method=method,
            path=path,
            status=status,
            upstream_status=upstream_status,
            attempts=attempts,
            duration_ms=_milliseconds(duration),
            upstream_ms=UNSET if upstream is None else _milliseconds(upstream),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            request_id=request_id,
        )
        if paced:
            line.waited_ms = _milliseconds(paced)
        if tokens:
            line.token_ms = _milliseconds(tokens)
        if inner:
            line.inner_statuses = {str(status): count for status, count in sorted(inner.items())}
        if dropped:
            line.dropped_fields = dropped
        if trace:
            line.trace_id = trace
        if error is not None or besides is not None or path is None:
            for name, value in {**(error or {}), **(besides or {})}.items():
                setattr(line, name, value)
            return line, None
        given = request_id if id_given else ""
        return line, f"{shop}/{method}/{path}/{given}/{trace}/{address or ''}"


# What `FinishedRequest(…)` does, without its own Python code in between: it takes half the time.
finished_request: Final = tuple.__new__


def _milliseconds(seconds: float) -> float:
    return int(seconds * 10_000 + 0.5) / 10  # `round` takes three times as long
