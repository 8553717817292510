"""What a batch's answer says of the calls in it is counted and shown, and the answer passes as it is, once."""

import gzip
import json
from typing import Any

import pytest

from tests.forwarding.linking import JSON, linking, page
from tests.peers import Connection, answering, chunked, request, response
from tests.proxies import whole_path


def batch(*statuses: int) -> bytes:
    parts = [{"response": {"header": {"statusCode": str(status)}, "body": {}}} for status in statuses]
    return json.dumps({"requests": {"request": parts}}).encode()


BODY = batch(200, 429, 401, 429, 404)
INNER = {"401": 1, "429": 2}
POST = request(b"POST", b"/demo/batch", body=b"{}")
OF: dict[str, Any] = {"batch_path": "batch"}
CHUNKS = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]
XML = b"<response><header><statusCode><![CDATA[429]]></statusCode></header></response>"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(BODY), INNER),
        (response(BODY, fields=JSON), INNER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*CHUNKS), INNER),
        (response(gzip.compress(BODY, mtime=0), fields=JSON + b"Content-Encoding: gzip\r\n"), INNER),
        (response(XML, fields=b"Content-Type: application/xml\r\n"), {"429": 1}),
        (response(batch(200, 404)), None),
        (response(BODY, fields=b"Content-Encoding: br\r\n"), None),
        (response(b"broken" + BODY, fields=b"Content-Encoding: gzip\r\n"), None),
    ],
)
async def test_inner_401s_and_429s_are_on_the_log_line_and_counted(answer: bytes, expected: Any) -> None:
    async with whole_path(answering(answer), of=OF) as path:
        got = await path.ask(POST)
        [line] = path.proxy.logged("request.forwarded")
        counted = path.proxy.running.forwarder._traffic.shops["demo"].inner

    assert got.status == 200
    assert line.get("inner_statuses") == expected
    assert dict(counted) == {int(status): count for status, count in (expected or {}).items()}
    assert len(path.api.received) == 1  # nothing is sent again


@pytest.mark.parametrize("accept", [b"", b"Accept-Encoding: gzip\r\n"])
async def test_so_where_links_are_rewritten_and_the_answer_is_unpacked(accept: bytes) -> None:
    packed = page(gzip.compress(BODY, mtime=0), fields=JSON + b"Content-Encoding: gzip\r\n")
    of = OF | {"hosts": ("{shop}.old.example",), "rewrite_links": True}
    async with whole_path(answering(packed), of=of) as path:
        got = await path.ask(request(b"POST", b"/demo/batch", fields=accept, body=b"{}"))
        [line] = path.proxy.logged("request.forwarded")

    assert got.body == BODY
    assert line["inner_statuses"] == INNER


async def test_other_calls_are_not_looked_into() -> None:
    async with whole_path(answering(response(BODY)), of=OF) as path:
        for sent in (request(target=b"/demo/batch"), request(b"POST", b"/demo/batches", body=b"{}")):
            assert (await path.ask(sent)).body == BODY
        lines = path.proxy.logged("request.forwarded")

    assert ["inner_statuses" in line for line in lines] == [False, False]


async def test_a_batch_that_breaks_off_is_counted_as_far_as_it_came() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + BODY)

    async with whole_path(api, of=OF) as path, path.connect() as client:
        await client.send(POST)
        await client.read_to_end()
        [line] = path.proxy.logged("request.forwarded")

    assert (line["code"], line["inner_statuses"]) == ("upstream_protocol_error", INNER)


@pytest.mark.parametrize("lines", [b"@: 1\r\nA b: 2\r\nA: b\r\n", b"A : b\r\n"])
async def test_fields_with_impossible_names_are_dropped_and_counted(lines: bytes) -> None:
    dropped = lines.count(b"\n") - 1
    async with linking(answering(response(fields=lines))) as path:
        for _ in range(2):
            assert (await path.ask(request())).values(b"A") == [b"b"]
        told = path.proxy.logged("request.forwarded")
        traffic = path.proxy.running.forwarder._traffic.shops["demo"]

    assert [line.get("dropped_fields", 0) for line in told] == [dropped, dropped]
    assert traffic.dropped_fields == 2 * dropped
