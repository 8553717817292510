"""Bodies are read to their end, hashed whole and kept in part."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from proxy.simulator import RecordedRequest
from proxy.simulator.recording import ReadBody, read_body


@pytest.mark.parametrize(
    ("chunks", "keep", "start"),
    [
        ([], 5, b""),
        ([b"abc"], 5, b"abc"),
        ([b"abcde"], 5, b"abcde"),
        ([b"abcdef"], 5, b"abcde"),
        ([b"abc", b"def", b"ghi"], 5, b"abcde"),
        ([b"abc", b"def"], 0, b""),
    ],
)
async def test_a_body_is_kept_up_to_a_bound_and_hashed_whole(chunks: list[bytes], keep: int, start: bytes) -> None:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=1024, loop=loop)
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    whole = b"".join(chunks)
    assert await read_body(stream, keep) == ReadBody(start, len(whole), hashlib.sha256(whole).hexdigest())


def test_values_of_a_field_are_found_in_any_case_and_in_order() -> None:
    fields = ((b"X-A", b"1"), (b"x-b", b"2"), (b"x-a", b"3"))
    recorded = RecordedRequest("GET", "/", fields, b"", 0, "")
    assert recorded.header_values("x-A") == [b"1", b"3"]
    assert recorded.header_values("x-c") == []
