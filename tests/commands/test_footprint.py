"""What `serve` leaves on the disk and keeps in memory, whatever its clients send."""

import asyncio
import json
import os
import re
import signal
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands.configurations import written
from tests.commands.processes import Command, listening, started
from tests.peers import CHUNKED, Connection, answering, connected, request, response, serving, token_response
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PROC = Path("/proc")
pytestmark = pytest.mark.skipif(not (PROC / "self" / "fd").is_dir(), reason="Linux alone tells this of a process")
LARGE = 3_000_000  # bytes; more than is kept in memory


async def port_of(command: Command) -> int:
    return int(json.loads(await command.line_with("proxy.started"))["port"])


def open_files(command: Command) -> list[tuple[str, int, bool]]:
    """The regular files that the process has open: name, mode, and whether they are open for writing."""
    found = []
    for link in (PROC / str(command.pid) / "fd").iterdir():
        with suppress(FileNotFoundError):
            about = link.stat()
            flags = re.search(r"flags:\s*([0-7]+)", (link.parents[1] / "fdinfo" / link.name).read_text())
            assert flags is not None
            if stat.S_ISREG(about.st_mode):
                writing = int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY
                found.append((str(link.readlink()), stat.S_IMODE(about.st_mode), writing))
    return found


def written_to(command: Command) -> list[str]:
    """The names of the regular files that the process has open for writing."""
    return [name for name, _, writing in open_files(command) if writing]


def resident(command: Command) -> int:
    """The process's memory in bytes."""
    status = (PROC / str(command.pid) / "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def test_a_large_body_is_the_only_thing_written_and_has_no_name(tmp_path: Path) -> None:
    """So a read-only root with a writable temp directory is all it needs, and nothing is left however it ends."""
    halfway = asyncio.Event()

    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        await connection.reader.readexactly(LARGE // 2)
        halfway.set()
        await connection.reader.readexactly(LARGE - LARGE // 2)
        await connection.send(response(b"ok"))

    temporary, home, here = tmp_path / "temporary", tmp_path / "home", tmp_path / "here"
    temporary.mkdir()
    home.mkdir(mode=0o555)
    here.mkdir()
    async with serving(answering(token_response())) as tokens, serving(api) as peer:
        url = f"http://127.0.0.1:{peer.port}/"
        file = written(tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/t", api_url=url)
        # Where it lies and where it runs; beside the program itself, other tests write what they cover.
        before = {path: path.stat().st_mtime_ns for path in (tmp_path, home, here, ROOT / "proxy")}
        environ = {"TMPDIR": str(temporary), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        async with started("serve", "--config", str(file), environ=environ, directory=here) as command:
            async with connected(await port_of(command)) as client:
                written_at_first = written_to(command)
                await client.send(request(b"PUT", fields=b"Content-Length: %d\r\n" % LARGE) + b"x" * (LARGE // 2))
                await halfway.wait()
                during, listed = open_files(command), list(temporary.iterdir())
                await client.send(b"x" * (LARGE - LARGE // 2))
                answer = await client.read_answer()
                async with asyncio.timeout(20):
                    while written_to(command) != written_at_first:  # it is closed beside the loop
                        await client.ask(request(target=b"/nobody/x"))
            command.send_signal(signal.SIGKILL)
            await command.end()

    assert answer.body == b"ok"
    [(name, mode, _)] = [opened for opened in during if opened[2] and opened[0] not in written_at_first]
    assert name.startswith(str(temporary))
    assert name.endswith(" (deleted)")
    assert mode == 0o600
    assert listed == []
    assert list(temporary.iterdir()) == list(home.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


async def test_garbage_from_thousands_of_connections_is_not_kept(tmp_path: Path) -> None:
    head = b"POST /demo/x HTTP/1.1\r\nHost: proxy\r\n"
    garbage = [
        b"\0" * 100_000,
        b"GET /" + b"x" * 100_000,
        head + b"X: " + b"y" * 100_000,
        head + b"X: y\r\n" * 20_000,
        head + b"Content-Length: 9000000\r\n\r\n" + b"x" * 100_000,
        head + CHUNKED + b"\r\n1;" + b"x" * 100_000,
        head + CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 20_000,
        b"\r\n" * 50_000,
    ]

    async def bring(port: int, data: bytes) -> None:
        async with connected(port) as client:
            with suppress(ConnectionError):
                await client.send(data)
                client.writer.write_eof()
                await client.read_to_end()

    async def bring_many(port: int, count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(bring(port, data) for data in garbage * 5))

    port, nowhere = free_port(), "http://127.0.0.1:9/"
    # Nobody reads its log here, which would fill up the pipe.
    file = written(tmp_path / "config.toml", port=port, token_url=nowhere, api_url=nowhere, level="error")
    async with asyncio.timeout(60), started("serve", "--config", str(file)) as command:
        await listening(port)
        await bring_many(port, 5)
        at_first = resident(command)
        await bring_many(port, 60)
        grown = resident(command) - at_first
        async with connected(port) as client:
            healthy = await client.ask(request(target=b"/nobody/"))
        files = len(list((PROC / str(command.pid) / "fd").iterdir()))
        command.send_signal(signal.SIGTERM)
        ended = await command.end()

    assert healthy.status == 404
    assert grown < 80_000_000  # of 230 MB that came, 4 MB at any time; the allocator takes its share
    assert files < 50
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


def test_the_image_runs_without_root_and_compiles_nothing_when_it_runs() -> None:
    *_, final = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    instructions = dict(re.findall(r"^(USER|WORKDIR|ENV) (.+)$", final, flags=re.MULTILINE))

    uid, _, gid = instructions["USER"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert instructions["WORKDIR"] == "/etc/shop-auth-proxy"  # where config.toml is looked for
    assert "PYTHONDONTWRITEBYTECODE=1" in instructions["ENV"]
