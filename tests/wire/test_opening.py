"""What comes over a connection before it carries requests: the answer to CONNECT, however it is cut."""

import asyncio

import pytest

from proxy.wire.opening import Opening, connect_request
from proxy.wire.upstream_errors import ClientResponseError, ServerDisconnectedError

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
LONG = 1 << 14  # bytes


def test_the_request_for_a_tunnel_names_host_and_port_twice() -> None:
    asked = connect_request("api.example", 443, {"User-Agent": "me", "Proxy-Authorization": "Basic x"})

    assert asked == (
        b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
        b"User-Agent: me\r\nProxy-Authorization: Basic x\r\n\r\n"
    )
    assert connect_request("::1", 8443, {}) == b"CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n"


async def status_of(sent: bytes, cut: int, *, end: bool = False) -> tuple[int, bytes]:
    """The status that is read of what comes piece by piece, and what is left for others."""
    async with asyncio.timeout(20):
        opening = Opening()
        reading = asyncio.create_task(opening.status())
        for start in range(0, len(sent), cut):
            opening.data_received(sent[start : start + cut])
            await asyncio.sleep(0)
        if end:
            opening.connection_lost(None)
        return await reading, opening.came


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (OK, 200),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.1 200 \r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\nVia: x\n\n", 200),
        (b"\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nX : y\r\nno colon\r\n z\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", 407),
        (b"HTTP/1.1 299 Odd\r\n\r\n", 299),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (LONG - 100) + b"\r\n\r\n", 200),
    ],
)
async def test_of_the_answer_the_status_alone_counts(sent: bytes, status: int, cut: int) -> None:
    if len(sent) > 1000:
        cut = max(cut, 500)
    assert await status_of(sent, cut) == (status, b"")


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nnonsense\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_none(sent: bytes, cut: int) -> None:
    with pytest.raises(ClientResponseError):
        await status_of(sent, cut, end=True)


@pytest.mark.parametrize("cut", [500, 1 << 20])
@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONG,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONG + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * LONG,
        b"HTTP/1.1 100 Continue\r\n\r\n" * LONG,
        b"\r\n" * LONG,
    ],
)
async def test_an_answer_without_an_end_is_given_up(endless: bytes, cut: int) -> None:
    with pytest.raises(ClientResponseError):
        await status_of(endless, cut)


@pytest.mark.parametrize("sent", [b"", b"HTT", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_end_before_the_answer_is_told(sent: bytes) -> None:
    with pytest.raises(ServerDisconnectedError):
        await status_of(sent, 1 << 20, end=True)


async def test_what_comes_behind_the_answer_is_left_for_others() -> None:
    opening = Opening()
    opening.data_received(OK + b"more")

    assert (await opening.status(), opening.came, opening.ended) == (200, b"more", False)
    opening.data_received(b" and more")
    opening.connection_lost(None)
    assert (opening.came, opening.ended) == (b"more and more", True)
