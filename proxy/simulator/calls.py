"""One call and its answer, as the simulated platforms' own code sees them: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Call:
    """A request, read: path segments and query are percent-decoded exactly once.

    `body` may be cut to what the platform has use for; `body_length` (bytes) and `body_sha256` (hex) are of all of it.
    """

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    body_length: int = 0
    body_sha256: str = ""

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without its parameters; empty when there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def bearer_token(self) -> str | None:
        """The token of `Authorization: Bearer …`, or None."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None


@dataclass(frozen=True)
class Answer:
    """A response; `content_type` None means that there is no body."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def split_target(target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split a raw request target into decoded path segments and query; one slash at the end does not count.

    The split comes before the decoding, so that `%2F` stays inside its segment.
    """
    path, _, query = target.partition("?")
    segments = path.split("/")[1:]
    if segments and segments[-1] == "":
        segments.pop()
    return tuple(unquote(segment) for segment in segments), dict(parse_qsl(query, keep_blank_values=True))
