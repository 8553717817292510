"""What old HTTP clients send gets an answer that they can read, and reaches the platform as a request of today."""

import pytest

from tests.peers import CHUNKED, answering, chunked, request, response
from tests.proxies import whole_path


@pytest.mark.parametrize("host", [b"", b"Host: \r\n", b"Host: proxy\r\n", b"Host: proxy:8080\r\n"])
async def test_http_1_0_with_and_without_a_host(host: bytes) -> None:
    async with whole_path(answering(response(b"body"))) as path, path.connect() as client:
        await client.send(b"GET /demo/x HTTP/1.0\r\n%s\r\n" % host)
        answer = await client.read_answer()
        assert await client.at_end()

    assert answer.body == b"body"
    assert answer.values(b"Connection") == [b"close"]
    [received] = path.api.received
    assert received.request_line == b"GET /api/x HTTP/1.1"
    assert received.values(b"Host") == [b"127.0.0.1:%d" % path.api.port]


async def test_connection_close_ends_the_connection_of_the_client_alone() -> None:
    async with whole_path(answering(response(b"body"))) as path:
        for _ in range(2):
            async with path.connect() as client:
                answer = await client.ask(request(fields=b"Connection: close\r\n"))
                assert answer.body == b"body"
                assert await client.at_end()

    assert path.api.connections == 1
    assert [received.values(b"Connection") for received in path.api.received] == [[], []]


async def test_a_chunked_upload_that_fits_in_memory_gets_a_length() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(b"POST", fields=CHUNKED) + chunked(b"first", b"second"))

    [received] = path.api.received
    assert received.body == b"firstsecond"
    assert received.values(b"Content-Length") == [b"11"]
    assert received.values(b"Transfer-Encoding") == []


@pytest.mark.parametrize("method", [b"get", b"Get", b"post"])
async def test_a_method_in_lower_case_is_refused_and_told_why(method: bytes) -> None:
    async with whole_path(answering(response())) as path:
        answer = await path.ask(request(method))

    assert answer.status == 501
    assert b"methods are written in upper case" in answer.body
    assert path.api.received == []


async def test_an_empty_accept_stays_empty() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(fields=b"Accept: \r\n"))

    assert path.api.received[0].values(b"Accept") == [b""]


async def test_a_body_on_delete_goes_on() -> None:
    async with whole_path(answering(response(b"", status=b"204 No Content"))) as path:
        answer = await path.ask(request(b"DELETE", body=b'{"reason":"old"}'))

    assert answer.status == 204
    [received] = path.api.received
    assert received.body == b'{"reason":"old"}'
    assert received.values(b"Content-Length") == [b"16"]
