"""An answer's links lead back through the proxy, and its head says nothing that is not so of what the client gets."""

import asyncio
import gzip
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.forwarding import relay
from proxy.forwarding.relay import EditedBody
from proxy.links.answers import Edit
from proxy.links.body_editor import BodyEditor
from proxy.links.unpacking import PIECE_SIZE
from tests.forwarding.linking import BASE, JSON, OLD_HOST, linking, page
from tests.peers import (
    DATE,
    Answer,
    Connection,
    answering,
    chunked,
    closing,
    connected,
    request,
    response,
    serving,
    token_response,
)
from tests.proxies import config, platform, proxying, shop, whole_path

ETAG = b'ETag: "abc"\r\n'
VARY = b"Vary: Accept-Encoding\r\n"
LINKED = b'{"href":"https:\\/\\/demo.old.example\\/products\\/1","price":"1.0000"}'
REWRITTEN = b'{"href":"http:\\/\\/proxy\\/demo\\/products\\/1","price":"1.0000"}'


async def through(answer: bytes, asked: bytes | None = None) -> Answer:
    """What a client gets of an answer of the API."""
    async with linking(answering(answer)) as path:
        return await path.ask(asked or request())


async def test_links_become_those_of_the_proxy_and_the_length_is_exact() -> None:
    answer = await through(page(LINKED, fields=JSON + ETAG))

    assert answer.body == REWRITTEN
    assert answer.values(b"Content-Length") == [b"%d" % len(REWRITTEN)]
    assert answer.values(b"ETag") == [b'W/"abc"']


async def test_an_answer_without_a_link_passes_as_it_is() -> None:
    fields = JSON + ETAG + b"X-Own: 1\r\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
    body = b'{"href":"https:\\/\\/other.old.example\\/products","www":"https:\\/\\/demo.example\\/demo.old.example"}'

    answer = await through(page(body, fields=fields))

    assert answer.body == body
    assert answer.head == b"HTTP/1.1 200 OK\r\n" + fields + DATE + b"Content-Length: %d\r\n\r\n" % len(body)


async def test_where_the_api_is_at_the_root_relative_links_lead_to_the_shop() -> None:
    of = {"rewrite_links": True, "hosts": ("{shop}.old.example",)}
    answer = page(b"{}", fields=b"Location: /x\r\nContent-Location: //x/y\r\nLink: </x>, <//x>, <x>\r\n")
    async with serving(answering(answer)) as api, serving(answering(token_response())) as tokens:
        at_root = platform(tokens.port, api.port, api_url=f"http://127.0.0.1:{api.port}/", **of)
        async with proxying(config(shop("demo", at_root))) as proxy, connected(proxy.port) as client:
            got = await client.ask(request())

    assert got.values(b"Location") == [b"http://proxy/demo/x"]
    assert got.values(b"Content-Location") == [b"//x/y"]
    assert got.values(b"Link") == [b"<http://proxy/demo/x>, <//x>, <x>"]


async def test_what_says_something_of_the_bytes_goes_on_only_with_them() -> None:
    fields = JSON + b'ETag: W/"a"\r\nAccept-Ranges: bytes\r\nDigest: x\r\nVary: Accept-Encoding\r\n'

    changed = await through(page(LINKED, fields=fields))
    unpacked = await through(page(gzip.compress(b"{}"), fields=fields + b"Content-Encoding: gzip\r\n"))

    for answer in (changed, unpacked):
        assert [name for name, _ in answer.fields] == [b"Content-Type", b"ETag", b"Vary", b"Date", b"Content-Length"]
        assert answer.values(b"ETag") == [b'W/"a"']


async def test_an_answer_that_another_client_gets_otherwise_says_so() -> None:
    fields = JSON + b'ETag: "a"\r\nVary: Accept\r\n'
    packed = gzip.compress(b"{}")
    pdf = b'Content-Type: application/pdf\r\nETag: "a"\r\nContent-Encoding: gzip\r\n'

    changed = await through(page(LINKED, fields=fields))
    unpacked = await through(page(packed, fields=fields + b"Content-Encoding: gzip\r\n"))
    passed = await through(page(packed, fields=pdf), request(fields=b"Accept-Encoding: gzip\r\n"))

    for answer in (changed, unpacked):
        assert answer.values(b"ETag") == [b'W/"a"']
        assert answer.values(b"Vary") == [b"Accept, Accept-Encoding"]
    assert passed.body == packed
    assert passed.values(b"ETag") == [b'"a"']
    assert passed.values(b"Vary") == [b"Accept-Encoding"]


@pytest.mark.parametrize("content_type", [b"application/gzip", b"application/octet-stream"])
async def test_a_file_that_is_stored_packed_stays_so_for_a_client_that_names_no_coding(content_type: bytes) -> None:
    packed = gzip.compress(b"sku;url\n")
    answer = await through(
        page(packed, fields=b'Content-Type: %s\r\nContent-Encoding: gzip\r\nETag: "a"\r\n' % content_type)
    )

    assert answer.body == packed
    assert answer.values(b"Content-Encoding") == [b"gzip"]
    assert answer.values(b"ETag") == [b'"a"']


@pytest.mark.parametrize(
    ("target", "stays"), [(b"/demo/files/all.csv.gz", True), (b"/demo/ALL.TGZ?x=1", True), (b"/demo/all?f=a.gz", False)]
)
async def test_such_a_file_may_be_known_by_its_name_alone(target: bytes, stays: bool) -> None:
    packed = gzip.compress(b"sku;url\n")
    fields = b"Content-Type: application/vnd.ms-excel\r\nContent-Encoding: gzip\r\n"
    answer = await through(page(packed, fields=fields), request(target=target))

    assert answer.body == (packed if stays else b"sku;url\n")


async def test_where_links_are_not_rewritten_nothing_is_asked_or_changed() -> None:
    packed = gzip.compress(LINKED)
    fields = b"Content-Encoding: gzip\r\n" + JSON
    asked = b'Accept-Encoding: br, gzip\r\nRange: bytes=0-5\r\nIf-Match: W/"a"\r\n'

    async with whole_path(answering(page(packed, fields=fields))) as path:
        answer = await path.ask(request(fields=asked))

    assert answer.body == packed
    assert path.api.received[0].head.count(asked) == 1


async def test_the_platform_is_offered_gzip_alone_and_asked_for_no_range() -> None:
    async with linking(answering(page(b"{}"))) as path:
        await path.ask(request(fields=b'Accept-Encoding: br\r\nRange: bytes=0-5\r\nIf-Range: "a"\r\nIf_Range: "a"\r\n'))

    [received] = path.api.received
    assert received.values(b"Accept-Encoding") == [b"gzip"]
    assert received.values(b"Range") == received.values(b"If-Range") == []


async def test_an_etag_that_was_weakened_here_is_strong_again_where_it_has_to_match() -> None:
    async with linking(answering(page(b"{}"))) as path:
        await path.ask(request(b"PUT", fields=b'If-Match: W/"a", "b", "q1fYW/"\r\n'))

    assert path.api.received[0].values(b"If-Match") == [b'"a", "b", "q1fYW/"']


@pytest.mark.parametrize("coding", [b"gzip", b"x-gzip", b"GZIP", b"deflate"])
async def test_a_packed_body_arrives_plain(coding: bytes) -> None:
    packed = zlib.compress(LINKED) if coding == b"deflate" else gzip.compress(LINKED)
    digest = b"Content-Digest: sha-256=:abc=:\r\n"

    answer = await through(page(packed, fields=JSON + digest + b"Content-Encoding: %s\r\n" % coding))

    assert answer.body == REWRITTEN
    assert answer.values(b"Content-Length") == [b"%d" % len(REWRITTEN)]
    assert answer.values(b"Content-Encoding") == answer.values(b"Content-Digest") == []


@pytest.mark.parametrize(
    ("accepted", "plain"),
    [
        (b"", True),
        (b"Accept-Encoding: br\r\n", True),
        (b"Accept-Encoding: gzip;q=0\r\n", True),
        (b"Accept-Encoding: *;q=0.0\r\n", True),
        (b"Accept-Encoding: gzip;x=1;q=0, *\r\n", True),
        (b"Accept-Encoding: *;q=0, gzip\r\n", False),
        (b"Accept-Encoding: br, gzip; q=0.5\r\n", False),
        (b"Accept-Encoding: *\r\n", False),
    ],
)
async def test_what_holds_no_links_stays_packed_for_a_client_that_can_unpack_it(accepted: bytes, plain: bool) -> None:
    packed = gzip.compress(LINKED)

    answer = await through(
        page(packed, fields=b"Content-Type: application/pdf\r\nContent-Encoding: gzip\r\n"), request(fields=accepted)
    )

    assert answer.body == (LINKED if plain else packed)
    assert answer.values(b"Content-Encoding") == ([] if plain else [b"gzip"])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Content-Type: image/png\r\n", b"200 OK"),
        (JSON + b"Content-Encoding: br\r\n", b"200 OK"),
        (JSON + b"Content-Encoding: gzip, gzip\r\n", b"200 OK"),
        (b"Content-Type: application/json; charset=utf-16\r\n", b"200 OK"),
        (b"", b"200 OK"),
        (JSON + b"Content-Range: bytes 0-9/100\r\n", b"206 Partial Content"),
    ],
)
async def test_what_can_not_be_rewritten_passes_untouched(fields: bytes, status: bytes) -> None:
    answer = await through(page(LINKED, fields=fields, status=status))

    assert answer.body == LINKED
    assert answer.head == b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n" % (status, fields, DATE, len(LINKED))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Location: https://demo.old.example/products/1?a=b", b"http://proxy/demo/products/1?a=b"),
        (b"Location: //demo.old.example/products/1", b"//proxy/demo/products/1"),
        (b"Refresh: 5; url=https://demo.old.example/x", b"5; url=http://proxy/demo/x"),
        (b"Refresh: 0;//demo.old.example/x", b"0;//proxy/demo/x"),
        (b"Refresh: 0.5,'//demo.old.example/x'", b"0.5,'//proxy/demo/x'"),
        (b"Refresh: 0;URL='/api/x'", b"0;URL='http://proxy/demo/x'"),
        (b"Link: <//demo.old.example/p>; rel=next", b"<//proxy/demo/p>; rel=next"),
        (b"Location: HTTP://DEMO.old.example:80/products/1", b"http://proxy/demo/products/1"),
        (b"Location: /api/products/1", b"http://proxy/demo/products/1"),
        (b"Location: products/1", b"products/1"),
        (b"Location: //demo.example/api/", b"//demo.example/api/"),
        (b"Location: /api", b"http://proxy/demo"),
        (b"Location: /api?page=2", b"http://proxy/demo?page=2"),
        (b"Location: /apiary", b"/apiary"),
        (b"Location: ", b""),
        (b"Content-Location: /api/p#x", b"http://proxy/demo/p#x"),
        (b"Link: </api>; rel=start, <//api/x>; rel=x", b"<http://proxy/demo>; rel=start, <//api/x>; rel=x"),
        (b"Location: https://other.old.example/products/1", b"https://other.old.example/products/1"),
        (b"Content-Location: https://demo.old.example", b"http://proxy/demo"),
        (
            b'Link: <https://demo.old.example/p?page=2>; rel="next", </api/p?page=9>; rel="last", <p>; rel=x',
            b'<http://proxy/demo/p?page=2>; rel="next", <http://proxy/demo/p?page=9>; rel="last", <p>; rel=x',
        ),
        (b"X-Other: https://demo.old.example/products/1", b"https://demo.old.example/products/1"),
    ],
)
async def test_links_in_the_head_are_rewritten(value: bytes, expected: bytes) -> None:
    answer = await through(response(b"", status=b"201 Created", fields=value + b"\r\n"))

    assert answer.values(value.partition(b":")[0]) == [expected]


async def test_a_body_that_takes_its_time_streams_with_a_weak_etag_and_no_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "_HELD_FOR", 0.05)
    head_arrived = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(page(LINKED, fields=JSON + ETAG)[:-40])
        await head_arrived.wait()
        await connection.send(LINKED[-40:])

    async with linking(api) as path, path.connect() as client:
        await client.send(request())
        head = await client.reader.readuntil(b"\r\n\r\n")
        head_arrived.set()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head
        assert b'\r\nETag: W/"abc"\r\n' in head
        assert b"Content-Length" not in head
        body = b""
        while size := int(await client.reader.readline(), 16):
            body += (await client.reader.readexactly(size + 2))[:-2]
        assert body == REWRITTEN


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_body_too_large_to_be_held_back_streams(version: bytes) -> None:
    # Without a pause, so that its size alone makes it stream.
    body = b"[" + b",".join([LINKED] * 20_000) + b"]"
    answer = await through(page(body, fields=JSON + ETAG), request(version=version))

    assert answer.body == body.replace(LINKED, REWRITTEN)
    assert answer.values(b"Content-Length") == []
    assert answer.values(b"ETag") == [b'W/"abc"']
    assert answer.values(b"Transfer-Encoding") == ([b"chunked"] if version == b"1.1" else [])
    assert answer.values(b"Connection") == ([] if version == b"1.1" else [b"close"])


@pytest.mark.parametrize(
    ("content_type", "body", "rewritten"),
    [
        (b"application/json", LINKED, REWRITTEN),
        (
            b"application/x-ndjson",
            rb'{"a":"https\u003a\u002f\u002fdemo.old.example\u002fx"}',
            rb'{"a":"http\u003a\u002f\u002fproxy\u002fdemo\u002fx"}',
        ),
        (
            b"application/xml",
            b"\xef\xbb\xbf<a>https&#58;&sol;&sol;demo.old.example&sol;x</a>",
            b"\xef\xbb\xbf<a>http&#58;&sol;&sol;proxy&sol;demo&sol;x</a>",
        ),
        (b"application/javascript", b"f('//demo.old.example/x', a//demo\n)", b"f('//proxy/demo/x', a//demo\n)"),
    ],
)
async def test_a_link_may_be_cut_anywhere(content_type: bytes, body: bytes, rewritten: bytes) -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        fields = b"Content-Type: %s\r\nTransfer-Encoding: chunked\r\n" % content_type
        await connection.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        for number in range(len(body)):
            await connection.send(chunked(body[number : number + 1]).removesuffix(b"0\r\n\r\n"))
        await connection.send(b"0\r\n\r\n")

    async with linking(api) as path:
        assert (await path.ask(request())).body == rewritten


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        (JSON + ETAG + b"Content-Encoding: gzip\r\n", JSON + b'ETag: W/"abc"\r\n' + VARY + b"\r\n"),
        (JSON, JSON + VARY + b"\r\n"),
        (b"Content-Type: image/png\r\n" + ETAG, b"Content-Type: image/png\r\n" + ETAG + b"Content-Length: 70\r\n\r\n"),
    ],
)
async def test_an_answer_to_head_has_no_length_that_may_be_wrong(fields: bytes, passes: bytes) -> None:
    async def api(connection: Connection) -> None:
        while await connection.read_request():
            await connection.send(b"HTTP/1.1 200 OK\r\n" + DATE + fields + b"Content-Length: 70\r\n\r\n")

    async with linking(api) as path, path.connect() as client:
        for _ in range(2):  # over one connection
            await client.send(request(b"HEAD"))
            assert (await client.read_answer(body=False)).head == b"HTTP/1.1 200 OK\r\n" + DATE + passes


@pytest.mark.parametrize(
    ("stored", "asked", "etag", "vary"),
    [
        (b'"abc"', b'"abc"', b'"abc"', b""),
        (b'W/"abc"', b'W/"abc", "abc"', b'W/"abc"', VARY),
        (b'"x", W/"abc"', b'"x", W/"abc", "abc"', b'W/"abc"', VARY),
        (b'"abcW/"', b'"abcW/"', b'"abc"', b""),
        (b"*", b"*", b'"abc"', b""),
    ],
)
async def test_not_modified_says_what_fits_the_answer_that_the_client_has(
    stored: bytes, asked: bytes, etag: bytes, vary: bytes
) -> None:
    fields = b'ETag: "abc"\r\nContent-Encoding: gzip\r\nContent-Length: 70\r\nX-Own: 1\r\n\r\n'
    async with linking(closing(b"HTTP/1.1 304 Not Modified\r\n" + DATE + fields)) as path:
        answer = await path.ask(request(fields=b"If-None-Match: %s\r\n" % stored))

    assert answer.head == b"HTTP/1.1 304 Not Modified\r\n%sETag: %s\r\nX-Own: 1\r\n%s\r\n" % (DATE, etag, vary)
    assert path.api.received[0].values(b"If-None-Match") == [asked]


@pytest.mark.parametrize(("more", "exact"), [(0, True), (1 << 16, False)])
async def test_so_much_is_held_back_and_no_more(more: int, exact: bool) -> None:
    body = b" " * ((1 << 18) + more + (1 if more else 0))
    answer = await through(page(body))

    assert answer.body == body
    assert answer.values(b"Content-Length") == ([b"%d" % len(body)] if exact else [])


@pytest.mark.parametrize(
    "packed", [b"no gzip at all", gzip.compress(LINKED, mtime=0)[:-9], gzip.compress(LINKED, mtime=0)[:30]]
)
async def test_a_small_answer_that_can_not_be_unpacked_is_an_error(packed: bytes) -> None:
    async with linking(answering(page(packed, fields=JSON + b"Content-Encoding: gzip\r\n"))) as path:
        answer = await path.ask(request())

    assert answer.status == 502
    assert b'"upstream_protocol_error"' in answer.body
    [refused] = path.proxy.logged("request.refused")
    assert "gzip" in refused["reason"]


async def test_a_large_answer_that_can_not_be_unpacked_to_its_end_breaks_off() -> None:
    packed = gzip.compress(LINKED * 10_000)[:-9]
    async with (
        linking(answering(page(packed, fields=JSON + b"Content-Encoding: gzip\r\n"))) as path,
        path.connect() as client,
    ):
        await client.send(request())
        data, in_order = await client.read_to_end()

    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in data
    assert not data.endswith(b"0\r\n\r\n")
    assert in_order


async def test_an_answer_that_ends_early_while_it_is_held_back_is_an_error() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(page(LINKED)[:-10])
        connection.close()

    async with linking(api) as path:
        answer = await path.ask(request())

    assert answer.status == 502
    assert b"demo.old.example" not in answer.body


async def test_a_bomb_is_passed_on_in_pieces() -> None:
    size = 30 << 20
    async with linking(
        answering(page(gzip.compress(b" " * size), fields=JSON + b"Content-Encoding: gzip\r\n"))
    ) as path:
        answer = await path.ask(request())

    assert len(answer.body) == size


async def test_what_the_platform_refuses_is_rewritten_and_understood_too() -> None:
    body = b'{"code":40101,"href":"https://demo.old.example/x"}'
    fields = JSON + b"Content-Encoding: gzip\r\n"
    async with linking(answering(page(gzip.compress(body), fields=fields, status=b"401 Unauthorized"))) as path:
        answer = await path.ask(request())

    assert answer.status == 401
    assert answer.body == body.replace(OLD_HOST, BASE)
    [warning] = path.proxy.logged("call.not_permitted")
    assert warning["inner_code"] == 40101


def unpacked(content: bytes) -> EditedBody:
    """The body of an answer that came packed, all of it at once."""
    no_links: Any = None
    came: Any = SimpleNamespace(content=gzip.compress(content), body=None)
    return EditedBody(came, BodyEditor(no_links, Edit(unpack=True, rewrite=False, packed=True), b"gzip"))


async def test_others_are_served_while_an_answer_unpacks_to_a_thousand_times_as_much() -> None:
    """All of it came at once, and the client takes it at once: nothing else would have it wait."""
    body = unpacked(b"\0" * 10 * PIECE_SIZE)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not body.complete:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others())
    size = 0
    while piece := await body.read():
        size += len(piece)
    await counting
    assert size == 10 * PIECE_SIZE
    assert turns >= 9


async def test_no_piece_is_lost_when_a_reader_is_cancelled() -> None:
    """As when an answer is sent before it is whole, because it came too slowly to be held back."""
    whole = b"".join(b"%d" % (number % 10) for number in range(10 * PIECE_SIZE))
    body = unpacked(whole)

    got = await body.read()
    while not body.complete:
        cancelled = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        got += b"" if cancelled.cancelled() else cancelled.result()
        got += await body.read()

    assert got == whole
