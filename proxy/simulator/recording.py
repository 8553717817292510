"""What a simulated platform remembers of each request: the bytes as they came, for tests to assert on.

A body is read to its end and hashed as it comes, so that a 32 MB upload costs no memory unless it is to be kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import StreamReader, web

RECORDED_BODY_SIZE = 64 * 1024  # bytes
RECORDED_REQUESTS = 10_000  # older ones are forgotten


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it was received.

    `target` is the request target and `raw_headers` the fields byte for byte, in order. `body` is the first 64 KiB,
    `body_length` (bytes) and `body_sha256` (hex) are those of the whole body.
    """

    method: str
    target: str
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    body_length: int
    body_sha256: str

    def header_values(self, name: str) -> list[bytes]:
        """All values of the field `name` (any case), in order."""
        wanted = name.lower().encode("ascii")
        return [value for field, value in self.raw_headers if field.lower() == wanted]


@dataclass(frozen=True)
class ReadBody:
    """A body that was read to its end: its first bytes, its length in bytes, its SHA-256 in hex."""

    start: bytes
    length: int
    sha256: str


async def read_body(stream: StreamReader, keep: int) -> ReadBody:
    """Read `stream` to its end, keeping the first `keep` bytes."""
    digest = hashlib.sha256()
    start = bytearray()
    length = 0
    async for chunk in stream.iter_any():
        digest.update(chunk)
        length += len(chunk)
        if len(start) < keep:
            start += chunk[: keep - len(start)]
    return ReadBody(bytes(start), length, digest.hexdigest())


def record(request: web.BaseRequest, body: ReadBody) -> RecordedRequest:
    """The record of `request`, whose body was `body`."""
    return RecordedRequest(
        method=request.method,
        target=request.raw_path,
        raw_headers=tuple(request.raw_headers),
        body=body.start[:RECORDED_BODY_SIZE],
        body_length=body.length,
        body_sha256=body.sha256,
    )
