"""The answers of a token endpoint as they come over the wire: slow, endless, broken, packed."""

import asyncio
import base64
import gzip
import json
import traceback

import pytest

from proxy.errors import TokenUnavailable
from proxy.platforms.platform import TokenRequestForm
from proxy.tokens.endpoint import TokenGrant, token_request
from tests.peers import Connection, Script, answering, request, response, serving
from tests.proxies import SECRET, whole_path
from tests.tokens.asking import GRANTED, INVALID_CLIENT, NO_JSON, TOKEN, answer, asking, refused, shop


async def test_a_token_is_concealed_with_its_lifetime_before_anyone_else_sees_it() -> None:
    async with serving(answering(GRANTED)) as peer, asking() as ask:
        granted = await ask.endpoint.fetch(token_request(shop(token_port=peer.port)))

    assert granted == TokenGrant(TOKEN, 3600.0, None)
    assert ask.concealed == [(TOKEN, 3600.0)]
    assert TOKEN not in repr(granted)


@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"302 Found", b"307 Temporary Redirect", b"308 Moved"])
async def test_a_redirect_is_not_followed(status: bytes) -> None:
    async with serving(answering(GRANTED)) as elsewhere:
        location = b"Location: http://127.0.0.1:%d/\r\n" % elsewhere.port
        error = await refused(answering(response(b"", status=status, fields=location)))

    assert error.reason == f"status {status[:3].decode()}, no JSON"
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked", b"Content-Length: 2000000000", b"Connection: close"]
)
async def test_an_endless_answer_is_not_read_to_its_end(framing: bytes) -> None:
    stopped = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        piece = b" " * 4096
        try:
            while True:
                await connection.send(b"1000\r\n%s\r\n" % piece if b"chunked" in framing else piece)
        finally:
            stopped.set()

    async with serving(stream) as peer, asking() as ask:
        error = await ask.refusal(token_request(shop(token_port=peer.port)))
        await stopped.wait()

    assert error.reason == "the answer is larger than 65536 bytes"


@pytest.mark.parametrize(("size", "accepted"), [(65536, True), (65537, False)])
async def test_an_answer_may_be_as_large_as_the_bound(size: int, accepted: bool) -> None:
    body = answer().ljust(size)

    async with serving(answering(response(body))) as peer, asking() as ask:
        asked = token_request(shop(token_port=peer.port))
        if accepted:
            assert (await ask.endpoint.fetch(asked)).access_token == TOKEN
        else:
            assert (await ask.refusal(asked)).reason == "the answer is larger than 65536 bytes"


async def silent(connection: Connection) -> None:
    await connection.read_request()
    await connection.reader.read()


async def silent_in_the_middle(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"access_token": "')
    await connection.reader.read()


@pytest.mark.parametrize("script", [silent, silent_in_the_middle])
async def test_a_silent_endpoint_is_given_up_on_in_time(script: Script) -> None:
    error = await refused(script, fetch_timeout=0.05)

    assert isinstance(error, TokenUnavailable)
    assert (error.status, error.proxy_status) == (504, "http_response_timeout")
    assert "tokens.fetch_timeout" in error.detail


async def test_an_endpoint_that_trickles_is_given_up_on_in_time() -> None:
    async def trickle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            await connection.send(b" ")
            await asyncio.sleep(0)

    error = await refused(trickle, fetch_timeout=0.05)

    assert error.status == 504


async def test_an_endpoint_that_nobody_serves_is_unreachable() -> None:
    async with serving(answering(GRANTED)) as peer:
        port = peer.port
    async with asking() as ask:
        error = await ask.refusal(token_request(shop(token_port=port)))

    assert isinstance(error, TokenUnavailable)
    assert (error.status, error.proxy_status) == (502, "destination_unavailable")
    assert f"127.0.0.1:{port}" in error.reason


def broken_off(sent: bytes, *, reset: bool = False) -> Script:
    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(sent)
        if reset:
            connection.reset()
        else:
            connection.close()

    return script


WHOLE = answer()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(broken_off(b""), id="closed before the answer"),
        pytest.param(broken_off(b"", reset=True), id="reset before the answer"),
        pytest.param(broken_off(b"HTTP/1.1 200 OK\r\nContent-Le"), id="closed in the head"),
        pytest.param(
            broken_off(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE) + 1, WHOLE)),
            id="closed in the body, though the document is whole",
        ),
        pytest.param(
            broken_off(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(WHOLE), WHOLE)),
            id="closed before the last chunk",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + WHOLE + b"\r\n"), id="no chunks at all"
        ),
        pytest.param(answering(WHOLE + b"\r\n\r\n"), id="not HTTP"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nX-Token: %s\0\r\n\r\n" % TOKEN.encode()), id="a broken field"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n"), id="an endless field"),
    ],
)
async def test_a_broken_answer_is_no_token_and_is_not_quoted(script: Script) -> None:
    error = await refused(script)

    assert isinstance(error, TokenUnavailable)
    assert error.status == 502
    assert TOKEN not in error.reason
    assert 0 < len(error.reason) < 200
    assert error.reason.isprintable()


async def test_a_packed_answer_that_nobody_asked_for_is_no_token() -> None:
    packed = response(gzip.compress(WHOLE), fields=b"Content-Encoding: gzip\r\n")

    assert (await refused(answering(packed))).reason == NO_JSON


async def test_the_token_is_taken_out_of_a_chunked_answer_without_a_content_type() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in WHOLE)
    script = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunks)

    async with serving(script) as peer, asking() as ask:
        granted = await ask.endpoint.fetch(token_request(shop(token_port=peer.port)))

    assert granted.access_token == TOKEN


async def test_a_cookie_of_the_endpoint_is_not_kept() -> None:
    script = answering(response(WHOLE, fields=b"Set-Cookie: session=1; Path=/\r\n"))

    async with serving(script) as peer, asking() as ask:
        asked = token_request(shop(token_port=peer.port))
        await ask.endpoint.fetch(asked)
        await ask.endpoint.fetch(asked)

    assert [received.values(b"Cookie") for received in peer.received] == [[], []]


@pytest.mark.parametrize("form", TokenRequestForm)
@pytest.mark.parametrize(
    "script",
    [
        answering(response(json.dumps(INVALID_CLIENT).encode(), status=b"401 Unauthorized")),
        answering(response(b"<html>", status=b"500 Internal Server Error")),
        broken_off(b"", reset=True),
        broken_off(b"nonsense\r\n\r\n"),
    ],
)
async def test_the_secret_is_in_no_error(form: TokenRequestForm, script: Script) -> None:
    async with serving(script) as peer, asking() as ask:
        asked = token_request(shop(token_port=peer.port, token_request=form))
        error = await ask.refusal(asked)

    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    shown += error.reason + error.detail + repr(error) + repr(asked)
    assert "my-secret" not in shown
    assert base64.b64encode(b"my-id:my-secret").decode() not in shown
    assert error.__cause__ is None


async def test_a_host_name_that_cannot_be_one_is_no_token() -> None:
    async with asking() as ask:
        error = await ask.refusal(token_request(shop(name="a" * 63, token_url="http://shop-{shop}.invalid/")))

    assert isinstance(error, TokenUnavailable)
    assert "label" in error.reason


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (b"Retry-After: 7\r\n", 7.0),
        (b"Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 60.0),
        (b"Retry-After: Sun, 06 Nov 1994 08:50:37 +%s\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" % (b"9" * 30), None),
        (b"", None),
    ],
    ids=["seconds", "a time", "nonsense", "nothing"],
)
async def test_an_endpoint_says_when_to_try_again(fields: bytes, seconds: float | None) -> None:
    error = await refused(answering(response(b"", status=b"503 Service Unavailable", fields=fields)))

    assert (error.retry_after, error.reason) == (seconds, "status 503, no JSON")


@pytest.mark.parametrize(
    "odd",
    [
        response(WHOLE, fields=b"X-XSS-Protection : 1\r\n"),
        response(WHOLE, fields=b"A(b): c\r\n"),
        response(WHOLE, fields=b"Content-Length: %d\r\n" % len(WHOLE)),
        response(WHOLE) + b"\r\n<!-- served by -->",
        response(WHOLE, fields=b"Content-Security-Policy: " + b"x" * 20_000 + b"\r\n"),
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + response(WHOLE),
    ],
)
async def test_what_is_forgiven_of_answers_of_the_api_is_so_of_the_endpoint_s(odd: bytes) -> None:
    async with whole_path(answering(response(b"ok")), tokens=answering(odd)) as path:
        assert (await path.ask(request())).body == b"ok"

    assert path.api.received[0].values(b"Authorization") == [b"Bearer " + TOKEN.encode()]


async def test_a_wall_in_front_is_passing_trouble_and_the_log_says_who_speaks_without_the_secret() -> None:
    wall = response(b"<title>Wall</title><p>%s was blocked" % SECRET.encode(), status=b"403 Forbidden")
    async with whole_path(answering(response(b"ok")), tokens=answering(wall)) as path:
        answer = await path.ask(request())

        [told] = path.proxy.logged("token.unavailable")
        assert told["reason"] == "status 403, no JSON: 'Wall [hidden] was blocked'"
    assert (answer.status, b"token_unavailable" in answer.body) == (502, True)
    assert answer.values(b"Retry-After") == [b"1"]


async def test_a_refusal_in_a_200_is_one() -> None:
    refusing = answering(response(b'{"error":"invalid_client","error_description":"who?"}'))
    async with whole_path(answering(response(b"ok")), tokens=refusing) as path:
        answer = await path.ask(request())

        [told] = path.proxy.logged("token.refused")
        assert told["reason"] == "status 200, error: 'invalid_client', error_description: 'who?'"
    assert (answer.status, answer.values(b"Retry-After")) == (502, [b"5"])


async def test_a_token_that_was_created_serves() -> None:
    created = response(answer(token_type="BearerToken"), status=b"201 Created")
    async with whole_path(answering(response(b"ok")), tokens=answering(created)) as path:
        assert (await path.ask(request())).body == b"ok"
