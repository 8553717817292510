"""What the system itself bounds: file descriptors and memory, with a process of its own for each test."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from tests.commands.configurations import SECRET, written
from tests.commands.processes import Command, listening, started
from tests.commands.test_footprint import port_of, resident
from tests.peers import RawClient, answering, connected, read_head, request, response, serving, token_response
from tests.ports import free_port

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="127.0.0.0/8 is this machine, and /proc tells the memory"
)
HOSTS = 120


@asynccontextmanager
async def api_on_all_hosts() -> AsyncIterator[int]:
    """An API on every address of this machine, which keeps connections open; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_head(reader):
            writer.write(response(b"ok"))
        writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def with_many_hosts(path: Path, api_port: int, token_port: int) -> Path:
    """A configuration of `HOSTS` shops, each on a platform with a host of its own."""
    file = written(path, token_url=f"http://127.0.0.1:{token_port}/t", api_url=f"http://127.0.0.1:{api_port}/")
    with file.open("a") as more:
        for number in range(HOSTS):
            more.write(
                f'[shops.s{number}]\nplatform = "p{number}"\nclient_id = "x"\nclient_secret = "{SECRET}"\n'
                f'[platforms.p{number}]\ntoken_url = "http://127.0.0.1:{token_port}/t"\n'
                f'api_url = "http://127.0.1.{number + 1}:{api_port}/"\nallow_private = true\n'
            )
    return file


def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        process.kill()


async def test_kept_connections_to_many_hosts_leave_descriptors_for_whoever_calls(tmp_path: Path) -> None:
    """More hosts than the system lets us have files open: each call is served, and none is told that it failed."""
    async with api_on_all_hosts() as api_port, serving(answering(token_response())) as tokens:
        file = with_many_hosts(tmp_path / "c.toml", api_port, tokens.port)
        serve = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", 'ulimit -n 120 && exec "$@"', "sh", *serve, stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(process.wait)
            stack.callback(end, process)
            command = Command(process)
            port = await port_of(command)
            clients = [await stack.enter_async_context(connected(port)) for _ in range(10)]
            statuses: list[int] = []

            async def call(client: RawClient, numbers: range) -> None:
                for number in numbers:
                    answer = await client.ask(request(target=b"/s%d/x" % number))
                    statuses.append(answer.status)

            reading = asyncio.ensure_future(process.stdout.read())  # type: ignore[union-attr]
            for _ in range(2):
                await asyncio.gather(*(call(client, range(start, HOSTS, 10)) for start, client in enumerate(clients)))
            process.terminate()
            log = [json.loads(line) for line in (await reading).splitlines()]

    assert statuses == [200] * HOSTS * 2
    assert [entry["event"] for entry in log if entry["level"] in ("error", "critical")] == []


async def test_strangers_with_large_heads_who_read_nothing_hold_little_memory(tmp_path: Path) -> None:
    strangers, port = 60, free_port()
    nowhere = "http://127.0.0.1:9/"
    clients = '[clients.erp]\nsecret = "0123456789abcdef0123456789abcdef"\n'
    file = written(tmp_path / "c.toml", port=port, token_url=nowhere, api_url=nowhere, level="error", shops=clients)
    head = b"GET /demo/x HTTP/1.1\r\nHost: proxy\r\nX-Large: " + b"x" * 30_000 + b"\r\n\r\n"
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        command = await stack.enter_async_context(started("serve", "--config", str(file)))
        await listening(port)

        async def flood() -> None:
            client = await stack.enter_async_context(connected(port))
            client.stop_reading()
            client.writer.write(head * 100)

        for _ in range(5):
            async with connected(port) as client:
                assert (await client.ask(head)).status == 401
        before = resident(command)
        for _ in range(strangers):
            await flood()
        for _ in range(200):
            async with connected(port) as client:
                assert (await client.ask(request())).status == 401
        held = resident(command) - before

    assert held / strangers < 200_000


async def test_clients_with_tls_that_sent_and_read_much_hold_little_memory(tmp_path: Path) -> None:
    """Neither what they were sent, nor what they sent, with room beside; it is all given back when they are idle."""
    clients, port, authority = 50, free_port(), trustme.CA()
    leaf = authority.issue_cert("localhost")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    much = b"x" * 600_000
    async with (
        asyncio.timeout(60),
        AsyncExitStack() as stack,
        serving(answering(token_response())) as tokens,
        serving(answering(response(much))) as api,
    ):
        file = written(
            tmp_path / "c.toml",
            port=port,
            token_url=f"http://127.0.0.1:{tokens.port}/t",
            api_url=f"http://127.0.0.1:{api.port}/",
            level="error",
        )
        tls = f'[server.tls]\ncertificate = "{tmp_path}/cert.pem"\nprivate_key = "{tmp_path}/key.pem"\n'
        file.write_text(file.read_text() + tls)
        command = await stack.enter_async_context(started("serve", "--config", str(file)))
        await listening(port)

        async def call(within: AsyncExitStack) -> None:
            client = await within.enter_async_context(connected(port, tls=context))
            assert (await client.ask(request(b"POST", body=much))).body == much

        for _ in range(5):
            async with AsyncExitStack() as before_that:
                await call(before_that)
        before = resident(command)
        for _ in range(clients):
            await call(stack)
        held = resident(command) - before

    assert held / clients < 200_000
