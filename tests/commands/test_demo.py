"""`demo`, as a process."""

import asyncio
import os
import re
import shlex
import signal

import pytest

from tests.commands.processes import LIMIT, ran, started
from tests.peers import answering, connected, serving


async def test_demo_once_makes_its_calls_and_shows_what_came_back() -> None:
    ended = await ran("demo", "--once")

    assert (ended.status, ended.stderr) == (0, "")
    assert re.findall(r"^  (\d{3}) ", ended.stdout, re.MULTILINE) == ["200", "200", "201", "401", "200", "404"]
    assert "40101" in ended.stdout
    assert '"resultType":"SUCCESS"' in ended.stdout
    assert "secret" not in ended.stdout


async def test_the_printed_curl_lines_work_as_they_are() -> None:
    async with started("demo", "--port", "0") as command:
        await command.line_with("Try these in another terminal")
        curl_lines = [await command.line_with("curl ") for _ in range(6)]
        statuses = []
        for line in curl_lines:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(line), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            async with asyncio.timeout(LIMIT):
                output, _ = await process.communicate()
            statuses.append(int(output.split(b" ", 2)[1]))
            await command.line_with("request.")
        command.send_signal(signal.SIGINT)
        ended = await command.end()

    assert statuses == [200, 200, 201, 401, 200, 404]
    assert (ended.status, ended.stderr) == (0, "")


async def test_the_status_page_is_where_it_says() -> None:
    async with started("demo", "--port", "0") as command:
        line = await command.line_with("Status of the shops: ")
        found = re.search(r"http://127\.0\.0\.1:(\d+)/status$", line.strip())
        assert found is not None
        async with connected(int(found[1])) as client:
            answer = await client.ask(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.status == 200
    assert all(name in answer.body for name in (b"demo", b"reader", b"seoul"))


async def test_a_port_that_is_taken_is_told_with_the_way_out() -> None:
    async with serving(answering(b"")) as other:
        ended = await ran("demo", "--port", str(other.port))

    assert ended.status == 2
    assert "To use another port: shop-auth-proxy demo --port" in ended.stderr


async def test_for_a_container_it_listens_where_others_reach_it() -> None:
    # An address of this process alone, since the status page is at its usual port then.
    host = f"127.1.{os.getpid() // 256 % 256}.{os.getpid() % 256 or 1}"
    async with started("demo", "--host", host, "--port", "0") as command:
        line = await command.line_with("with the proxy in front of them: ")
        found = re.search(rf"http://{re.escape(host)}:(\d+)$", line.strip())
        assert found is not None
        status = await command.line_with("Status of the shops: ")
        async with connected(int(found[1]), host) as client:
            answer = await client.ask(b"GET /demo/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with connected(9090, host) as client:
            page = await client.ask(f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert status.strip().endswith(f"http://{host}:9090/status")
    assert (answer.status, page.status) == (200, 200)


async def test_every_address_is_told_as_the_one_of_this_machine() -> None:
    ended = await ran("demo", "--once", "--host", "")

    assert (ended.status, ended.stderr) == (0, "")
    assert "'http://localhost:" in ended.stdout


@pytest.mark.parametrize("port", ["70000", "-1", "http", "²"])
async def test_a_port_that_is_none_is_refused_in_plain_words(port: str) -> None:
    ended = await ran("demo", f"--port={port}")

    assert ended.status == 2
    assert "is not a port: write a number from 0 to 65535" in ended.stderr
