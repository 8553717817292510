"""What every simulated platform does over real sockets: record, fail on demand, and notice who leaves."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import shutil
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest

from proxy.simulator import Fault, ShoprenterSimulator, server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PRODUCTS = "/demo/api/products"
TOKEN = "/demo/app/token"
SIDES = [("api", PRODUCTS), ("token", TOKEN)]


@pytest.fixture
async def sim() -> AsyncIterator[ShoprenterSimulator]:
    async with ShoprenterSimulator(rate_limit=None) as started:
        yield started


def set_fault(sim: ShoprenterSimulator, side: str, fault: Fault | None) -> None:
    if side == "api":
        sim.api_fault = fault
    else:
        sim.token_fault = fault


async def exchange(sim: ShoprenterSimulator, request: bytes) -> bytes:
    """Everything the simulator sends for these bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_request_is_recorded_byte_for_byte(sim: ShoprenterSimulator) -> None:
    target = b"/demo/api/products//x%2Fy;a=%20?q=%C3%A9+z&&empty="
    await exchange(
        sim,
        b"PUT " + target + b" HTTP/1.1\r\nhost: x\r\nX-Twice: 1\r\nx-tWICE: \xe9\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\nabc",
    )
    (recorded,) = sim.api_requests
    assert recorded.method == "PUT"
    assert recorded.target.encode() == target
    assert recorded.raw_headers == (
        (b"host", b"x"),
        (b"X-Twice", b"1"),
        (b"x-tWICE", b"\xe9"),
        (b"Content-Length", b"3"),
        (b"Connection", b"close"),
    )
    assert recorded.header_values("X-TWICE") == [b"1", b"\xe9"]
    assert (recorded.body, recorded.body_length) == (b"abc", 3)
    assert recorded.body_sha256 == hashlib.sha256(b"abc").hexdigest()


async def test_a_bare_question_mark_is_recorded(sim: ShoprenterSimulator) -> None:
    await exchange(sim, b"GET /demo/api/products? HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert sim.api_requests[0].target == "/demo/api/products?"


async def test_a_large_body_is_recorded_in_part_and_hashed_whole(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    body = b"0123456789abcdef" * (2 * 1024 * 1024)
    token = sim.issue_token("demo")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with session.post(sim.url + "/demo/api/files", data=io.BytesIO(body), headers=headers) as response:
        assert response.status == 201
        assert (await response.json())["sha256"] == hashlib.sha256(body).hexdigest()
    (recorded,) = sim.api_requests
    assert (len(recorded.body), recorded.body_length) == (64 * 1024, 32 * 1024 * 1024)
    assert recorded.body_sha256 == hashlib.sha256(body).hexdigest()


async def test_a_compressed_request_body_is_recorded_as_it_came(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    packed = gzip.compress(b"{}")
    async with session.post(sim.url + PRODUCTS, data=packed, headers={"Content-Encoding": "gzip"}):
        assert sim.api_requests[0].body == packed


async def test_token_requests_and_api_requests_are_kept_apart(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    async with session.post(sim.url + TOKEN), session.get(sim.url + PRODUCTS), session.get(sim.url + "/"):
        pass
    assert [recorded.target for recorded in sim.token_requests] == [TOKEN]
    assert [recorded.target for recorded in sim.api_requests] == [PRODUCTS, "/"]
    assert (sim.counts.token_requests, sim.counts.api_requests) == (1, 2)


@pytest.mark.parametrize(("side", "path"), SIDES)
async def test_a_fault_answers_instead_of_the_platform(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, side: str, path: str
) -> None:
    fault = Fault(status=503, body=b"<html>", headers={"Retry-After": "7"})
    set_fault(sim, side, fault)
    assert fault in (sim.api_fault, sim.token_fault)
    async with session.post(sim.url + path) as response:
        assert (response.status, await response.read()) == (503, b"<html>")
        assert (response.headers["Retry-After"], response.content_type) == ("7", "text/html")
    set_fault(sim, side, None)
    async with session.post(sim.url + path) as response:
        assert response.status in (400, 401)


@pytest.mark.parametrize(("side", "other_path"), [("api", TOKEN), ("token", PRODUCTS)])
async def test_a_fault_of_one_side_spares_the_other(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession, side: str, other_path: str
) -> None:
    set_fault(sim, side, Fault(status=503))
    async with session.post(sim.url + other_path) as response:
        assert response.status in (400, 401)


async def test_headers_alone_are_added_to_the_platforms_own_answer(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    sim.api_fault = Fault(headers={"X-Extra": "1"}, times=1)
    async with session.get(sim.url + PRODUCTS) as response:
        assert (response.status, response.headers["X-Extra"]) == (401, "1")
    async with session.get(sim.url + PRODUCTS) as response:
        assert "X-Extra" not in response.headers


@pytest.mark.parametrize(("side", "path"), SIDES)
async def test_down_closes_the_connection_without_an_answer(sim: ShoprenterSimulator, side: str, path: str) -> None:
    set_fault(sim, side, Fault(down=True))
    request = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert await exchange(sim, request) == b""
    assert sim.counts.token_requests + sim.counts.api_requests == 1


async def test_an_event_holds_the_answer_but_not_the_record(
    sim: ShoprenterSimulator, session: aiohttp.ClientSession
) -> None:
    event = asyncio.Event()
    sim.api_fault = Fault(delay=event)
    held = [asyncio.create_task(session.get(sim.url + PRODUCTS)) for _ in range(3)]
    await sim.wait_until(lambda: sim.counts.api_requests == 3)
    assert not any(task.done() for task in held)
    event.set()
    for response in await asyncio.gather(*held):
        assert response.status == 401
        response.close()


async def test_waiting_for_what_never_happens_ends(sim: ShoprenterSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.0)
    with pytest.raises(TimeoutError):
        await sim.wait_until(lambda: sim.counts.api_requests == 1)


async def test_a_caller_who_leaves_is_counted(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    sim.api_fault = Fault(delay=asyncio.Event())
    call = asyncio.create_task(session.get(sim.url + PRODUCTS))
    await sim.wait_until(lambda: sim.counts.api_requests == 1)
    call.cancel()
    await sim.wait_until(lambda: sim.counts.aborted == 1)


async def test_a_caller_who_leaves_in_the_middle_of_a_body_is_counted(sim: ShoprenterSimulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(b"POST /demo/api/files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await sim.wait_until(lambda: sim.counts.aborted == 1)
    assert sim.counts.api_requests == 0


async def test_expect_100_continue_is_answered_before_the_body(sim: ShoprenterSimulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(b"POST /demo/api/files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_an_http_1_0_caller_gets_no_100_continue(sim: ShoprenterSimulator) -> None:
    answer = await exchange(sim, b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na")
    assert answer.startswith(b"HTTP/1.0 404 ")


async def test_a_thousand_callers_at_once_are_answered(sim: ShoprenterSimulator) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        responses = await asyncio.gather(*(session.get(sim.url + PRODUCTS) for _ in range(1000)))
        assert {response.status for response in responses} == {401}
        for response in responses:
            await response.read()
    assert sim.counts.api_requests == 1000


async def test_a_simulator_that_is_left_refuses_connections_and_comes_back_as_it_was() -> None:
    sim = ShoprenterSimulator()
    async with sim:
        url, token = sim.url, sim.issue_token("demo")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url + PRODUCTS)
        async with sim, session.get(url + PRODUCTS) as response:
            assert response.status == 200


async def test_leaving_does_not_wait_for_held_requests(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(10):
        async with ShoprenterSimulator() as sim:
            sim.api_fault = Fault(delay=asyncio.Event())
            call = asyncio.create_task(session.get(sim.url + PRODUCTS))
            await sim.wait_until(lambda: sim.counts.api_requests == 1)
        with pytest.raises(aiohttp.ClientError):
            await call


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("br", None), ("", None)])
async def test_answers_are_compressed_for_those_who_accept_it(
    session: aiohttp.ClientSession, accepted: str, encoding: str | None
) -> None:
    async with ShoprenterSimulator(compress=True) as sim:
        headers = {"Authorization": f"Bearer {sim.issue_token('demo')}", "Accept-Encoding": accepted}
        async with session.get(sim.url + PRODUCTS, headers=headers) as response:
            body = await response.read()
            assert response.headers.get("Content-Encoding") == encoding
            assert (gzip.decompress(body) if encoding else body).startswith(b"<?xml")


async def test_answers_are_plain_by_default(sim: ShoprenterSimulator, session: aiohttp.ClientSession) -> None:
    async with session.get(sim.url + PRODUCTS, headers={"Accept-Encoding": "gzip"}) as response:
        assert "Content-Encoding" not in response.headers
        assert response.headers["Server"] == "nginx"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with the openssl command")
async def test_a_simulator_may_serve_https(tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=demo", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)
    async with ShoprenterSimulator(ssl_context=context) as sim, aiohttp.ClientSession() as session:
        assert sim.api_url.startswith("https://127.0.0.1:")
        async with session.get(sim.url + PRODUCTS, ssl=trusting) as response:
            assert response.status == 401
