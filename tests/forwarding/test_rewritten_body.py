"""The links in a request's body reach the platform as the platform wrote them, with the right length."""

import gzip
from typing import Final

import pytest

from tests.forwarding.linking import BASE, JSON, linking, page
from tests.peers import CHUNKED, answering, chunked, request, response
from tests.proxies import WholePath

FORM: Final = b"Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART: Final = b"Content-Type: multipart/form-data; boundary=b\r\n"
LARGE: Final = 3 << 20


def canonical(path: WholePath) -> bytes:
    return b"http://127.0.0.1:%d/api" % path.api.port


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        (JSON, b'{"uri":"%s/products"}', b'{"uri":"%s/products"}'),
        (b"Content-Type: text/xml\r\n", b"<uri><![CDATA[%s?a&b]]></uri>", b"<uri><![CDATA[%s?a&b]]></uri>"),
        (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="data[x]"\r\n\r\n%s/x\r\n--b--\r\n', None),
        (FORM, b"data[x]=%s/x&y=1", None),
    ],
)
async def test_the_proxys_links_become_the_platforms(fields: bytes, body: bytes, expected: bytes | None) -> None:
    async with linking(answering(response())) as path:
        await path.ask(request(b"POST", fields=fields, body=body % BASE))

    [received] = path.api.received
    assert received.body == (expected or body) % canonical(path)
    assert received.values(b"Content-Length") == [b"%d" % len(received.body)]


async def test_a_form_body_may_have_its_links_escaped() -> None:
    async with linking(answering(response())) as path:
        await path.ask(
            request(b"POST", fields=FORM, body=b"u=http%3A%2F%2Fproxy%2Fdemo%2Fx&v=https%3a%2f%2fdemo.old.example")
        )

    to = canonical(path).replace(b":", b"%3A").replace(b"/", b"%2F")
    assert path.api.received[0].body == b"u=%s%%2Fx&v=%s" % (to, to)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Type: image/svg\r\n", BASE),
        (b"", BASE),
        (b"Content-Type: multipart/form-data\r\n", b"--b\r\n\r\n%s\r\n--b--\r\n" % BASE),
        (JSON + b"Content-Encoding: gzip\r\n", gzip.compress(BASE, mtime=0)),
        (JSON, b'["http://proxy/demon","http://proxy:8080/demo","https://other.old.example/"]'),
    ],
)
async def test_other_bodies_pass_byte_for_byte(fields: bytes, body: bytes) -> None:
    async with linking(answering(response())) as path:
        await path.ask(request(b"POST", fields=fields + b"Content-MD5: abc\r\n", body=body))

    [received] = path.api.received
    assert received.body == body
    assert received.values(b"Content-MD5") == [b"abc"]


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize(
    "head",
    [b'Content-Disposition: form-data; name="a"; filename="a.pdf"', b"Content-Type: application/pdf"],
)
async def test_a_file_in_a_form_passes_byte_for_byte(size: int, head: bytes) -> None:
    form = b"--b\r\n%s\r\n\r\n%%PDF /URI (%s/x)%s\r\n" % (head, BASE, b" " * size)
    field = b'--b\r\nContent-Disposition: form-data; name="u"\r\n\r\n%s/x\r\n--b--\r\n'
    async with linking(answering(response())) as path:
        await path.ask(request(b"POST", fields=MULTIPART, body=form + field % BASE))

    [received] = path.api.received
    assert received.body == form + field % canonical(path)
    assert received.values(b"Content-Length") == [b"%d" % len(received.body)]


async def test_a_digest_of_the_body_as_it_was_does_not_go_on() -> None:
    async with linking(answering(response())) as path:
        await path.ask(request(b"POST", fields=JSON + b"Content-MD5: abc\r\nDigest: x\r\n", body=b'"%s"' % BASE))

    assert path.api.received[0].values(b"Content-MD5") == path.api.received[0].values(b"Digest") == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("linked", [True, False])
async def test_a_large_body_is_sent_with_its_length_to_every_attempt(announced: bool, linked: bool) -> None:
    body = b'["%s/products",' % BASE * linked + b'"' + b"x" * LARGE + b'","%s"]' % BASE * linked
    framing = b"Content-Length: %d\r\n" % len(body) if announced else CHUNKED
    async with (
        linking(answering(page(b"{}", status=b"401 Unauthorized"), response())) as path,
        path.connect() as client,
    ):
        await client.send(request(b"POST", fields=JSON + framing))
        await client.send(body if announced else chunked(body[:LARGE], body[LARGE:]))
        assert (await client.read_answer()).status == 200

    first, second = path.api.received
    assert first.body == second.body == body.replace(BASE, canonical(path))
    if linked or announced:
        assert first.values(b"Content-Length") == second.values(b"Content-Length") == [b"%d" % len(first.body)]


@pytest.mark.parametrize("end", [BASE, b"h", b"http://pro", b'"'])
async def test_a_large_body_is_whole_whatever_it_ends_in(end: bytes) -> None:
    body = BASE + b"/" + b" " * LARGE + end
    async with linking(answering(response())) as path:
        await path.ask(request(b"POST", fields=JSON + b"Digest: x\r\n", body=body))

    [received] = path.api.received
    assert received.body == body.replace(BASE, canonical(path))
    assert received.values(b"Digest") == []


async def test_a_large_body_that_the_client_breaks_off_never_reaches_the_platform() -> None:
    async with linking(answering(response())) as path:
        async with path.connect() as client:
            await client.send(request(b"POST", fields=JSON + b"Content-Length: %d\r\n" % LARGE) + b"x" * (LARGE // 2))
            client.reset()
        await path.proxy.until_logged("request.abandoned")

    assert path.api.received == []
