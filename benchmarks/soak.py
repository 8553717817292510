"""A proxy under all faults at once, beside a healthy shop: does that ever fail, and how slow does it get?

    python -m benchmarks.soak [--seconds 600] [--memory 268435456]

The faults: a shop that hangs, bodies that never come, answers that nobody reads, strangers with large heads, large
uploads, a disk that stands still at times, a token endpoint that grants words, three hundred hosts, a scan of made-up
shops, an admin port under load with silent connections, a configuration that changes, with a secret that is a pipe
without a writer at times, a log that nobody reads, and names whose name server is silent (where the proxy can have a
resolv.conf of its own: root on Linux).
All is on 127.0.0.1, bounded in number and rate. The healthy shop is called ten times a second, from a process that is
its platform too; each call is timed from when it was due.

The proxy runs in a memory cgroup of so many bytes where one can be had (root on Linux, version 1 or 2), else its peak
memory is compared with them. Prints figures; ends with 1 if the healthy shop failed, was slow, or memory ran out.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from statistics import quantiles

from benchmarks.processes import free_ports, memory_of, program, started

_SLOWEST = 0.05  # seconds: what 99 of 100 healthy calls may take
_HOSTS = 300
_FILES = 1024  # as `ulimit -n` says on many a machine
_PIECE = b"x" * (1 << 16)
_PIECES = 512  # of an answer, and of an upload: 32 MiB
_SILENT = 4  # names
_SECRET = "pipe.secret"  # is one at times
# The proxy with a disk that stands still for 10 s of each 30 s, for whoever uses a file of a large body.
_WITH_SLOW_DISK = """
import os, runpy, tempfile, time

def slow(work, concerns=lambda *_: True):
    def wait_and_do(*arguments, **named):
        while time.monotonic() % 30 < 10 and concerns(*arguments):
            time.sleep(0.1)
        return work(*arguments, **named)
    return wait_and_do

tempfile.TemporaryFile, os.pwrite, os.pread = map(slow, (tempfile.TemporaryFile, os.pwrite, os.pread))
os.close = slow(os.close, lambda file: not os.fstat(file).st_nlink)
runpy.run_module("proxy", run_name="__main__", alter_sys=True)
"""
_CLIENTS = ("healthy", "hung", "bodies", "unread", "upload", "hosts", "scan", "words", "names")
_CGROUPS = (
    # Where it is made; its files for the limit, the peak, and what went wrong.
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak", "memory.events", "oom_kill"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.oom_control",
        "oom_kill",
    ),
)


def _authorization(client: str) -> bytes:
    return b"Authorization: Bearer secret-of-%b-0123456789\r\n" % client.encode()


def _request(client: str, target: str, *, body: int | None = None) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % body
    method = b"GET" if body is None else b"POST"
    return b"%b %b HTTP/1.1\r\nHost: proxy\r\n%b%b\r\n" % (method, target.encode(), _authorization(client), length)


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read an answer with a length; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


# The platforms


@asynccontextmanager
async def _platforms(port: int = 0) -> AsyncIterator[int]:
    """Serve tokens and APIs on every address of this machine; what is asked for says how. Yield the port."""

    def answer(content: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        return head + content

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
                while length:
                    length -= len(await reader.read(min(length, 1 << 16)))
                target = head.split(b" ", 2)[1]
                if b"/hung/" in target:
                    await asyncio.sleep(3600)
                elif b"/token" in target:
                    token = b"test" if b"words" in target else b"0123456789abcdef0123456789abcdef"
                    writer.write(answer(b'{"access_token": "%b", "token_type": "Bearer", "expires_in": 3600}' % token))
                elif b"/large" in target:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (_PIECES * len(_PIECE)))
                    for _ in range(_PIECES):
                        writer.write(_PIECE)
                        await writer.drain()
                else:
                    writer.write(answer(b'{"ok": true}' * 100))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", port, limit=1 << 17)
    yield server.sockets[0].getsockname()[1]
    server.close()


def _configuration(port: int, admin: int, api: int, healthy_api: int) -> str:
    """A configuration with a client for each fault, and a platform for each kind of shop."""

    def place(name: str, host: str = "127.0.0.1", api_path: str = "", port: int = api) -> str:
        return (
            f'[platforms.{name}]\ntoken_url = "http://{host}:{port}/token/{name}"\n'
            f'api_url = "http://{host}:{port}/{api_path}"\nallow_private = true\n'
        )

    hosts = [(f"host{number}", f"127.0.{1 + number // 250}.{1 + number % 250}") for number in range(_HOSTS)]
    shops = [
        ("healthy", "healthy"),
        ("busy", "well"),
        ("hung", "hung"),
        ("words", "words"),
        *((name, name) for name, _ in hosts),
        *((f"silent{number}", f"silent{number}") for number in range(_SILENT)),
    ]
    return "".join(
        [
            f"[server]\nport = {port}\ndrain_timeout = 1.0\nspool_budget = 1_000_000_000\n[admin]\nport = {admin}\n",
            *(f'[clients.{name}]\nsecret = "secret-of-{name}-0123456789"\n' for name in _CLIENTS),
            place("well"),
            place("healthy", port=healthy_api),
            place("hung", api_path="hung/"),
            place("words"),
            *(place(name, host) for name, host in hosts),
            *(place(f"silent{number}", f"silent{number}.example") for number in range(_SILENT)),
            *(
                f'[shops.{name}]\nplatform = "{of}"\nclient_id = "x"\nclient_secret = "secret-0123456789"\n'
                for name, of in shops
            ),
            '[shops."*"]\nplatform = "well"\nclient_id = "x"\nclient_secret = "secret-0123456789"\n',
            f'[shops.pipe]\nplatform = "well"\nclient_id = "x"\nclient_secret = {{ file = "{_SECRET}" }}\n',
        ]
    )


# The faults


class Faults:
    """Who makes trouble; `seen` counts what became of it. Connections that stay open are `held`, for a time."""

    def __init__(self, port: int, admin: int, file: Path) -> None:
        self._port, self._admin, self._file = port, admin, file
        self.seen: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def all(self) -> None:
        """Make all of it, until cancelled."""
        await asyncio.gather(
            self._each(1 / 30, self._hold("hung", _request("hung", "/hung/x"), 70)),
            self._each(1 / 20, self._hold("bodies", _request("bodies", "/busy/x", body=5), 70)),
            self._each(1 / 5, self._hold("unread", _request("unread", "/busy/large"), 30, unread=True)),
            self._each(1 / 10, self._hold("strangers", _STRANGER * 100, 20, unread=True)),
            self._each(1.0, self._upload),
            self._each(1 / 5, self._call("words", "/words/test")),
            *(self._each(1 / 10, self._call("hosts", *(f"/host{n}/x" for n in range(i, _HOSTS, 3)))) for i in range(3)),
            self._each(1 / 20, self._call("scan", *(f"/made-up-{number}/x" for number in range(5000)))),
            self._each(1 / 5, self._call("names", *(f"/silent{number}/x" for number in range(_SILENT)))),
            self._each(1.0, self._page(b"/metrics")),
            self._each(1.0, self._page(b"/status?q=host")),
            self._each(0.5, self._silent_at_the_admin_port),
            self._each(10.0, self._change),
        )

    async def _each(self, every: float, fault: Callable[[], Awaitable[None]]) -> None:
        """Begin a fault so often, whatever becomes of it; not more than some hundred at once."""
        while True:
            if len(self._tasks) < 4000:
                task = asyncio.ensure_future(self._safely(fault))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(every)

    async def _safely(self, fault: Callable[[], Awaitable[None]]) -> None:
        try:
            await fault()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.seen[type(error).__name__] += 1

    @asynccontextmanager
    async def _open(self, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 17)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _hold(self, name: str, sent: bytes, seconds: float, *, unread: bool = False) -> Callable[[], Awaitable[None]]:
        async def hold() -> None:
            async with self._open(self._port) as (reader, writer):
                if unread:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # - it can be
                writer.write(sent)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        if unread:
                            await asyncio.sleep(seconds)
                        self.seen[f"{name} {await _answer(reader)}"] += 1

        return hold

    def _call(self, name: str, *targets: str) -> Callable[[], Awaitable[None]]:
        turns = cycle(targets)

        async def call() -> None:
            async with self._open(self._port) as (reader, writer):
                writer.write(_request(name, next(turns)))
                self.seen[f"{name} {await _answer(reader)}"] += 1

        return call

    async def _upload(self) -> None:
        async with self._open(self._port) as (reader, writer):
            writer.write(_request("upload", "/busy/files", body=_PIECES * len(_PIECE)))
            for _ in range(_PIECES):
                writer.write(_PIECE)
                await writer.drain()
            self.seen[f"upload {await _answer(reader)}"] += 1

    def _page(self, target: bytes) -> Callable[[], Awaitable[None]]:
        async def page() -> None:
            async with self._open(self._admin) as (reader, writer):
                writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
                status = (await reader.readuntil(b"\r\n")).split()[1].decode()
                while await reader.read(1 << 16):
                    pass
                self.seen[f"page {status}"] += 1

        return page

    async def _silent_at_the_admin_port(self) -> None:
        async with self._open(self._admin) as (reader, _):
            await reader.read()

    async def _change(self) -> None:
        with self._file.open("a") as file:
            file.write("# another line\n")
        secret = self._file.with_name(_SECRET)
        was_a_pipe = secret.is_fifo()
        secret.unlink()
        if was_a_pipe:
            secret.write_text("secret-0123456789")
        else:
            os.mkfifo(secret)


_STRANGER = b"GET /busy/x HTTP/1.1\r\nHost: proxy\r\nX-Large: " + b"x" * 30_000 + b"\r\n\r\n"


# The healthy shop


async def healthy(port: int, api: int, seconds: float) -> dict[str, float]:
    """Be the healthy shop's platform and its client, who calls ten times a second; return how that went."""
    async with _platforms(api):
        return await _calls(port, seconds)


async def _calls(port: int, seconds: float) -> dict[str, float]:
    loop, took, failed = asyncio.get_running_loop(), [], Counter[str]()

    async def call(due: float) -> None:
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(_request("healthy", "/healthy/x"))
                status = await _answer(reader)
                writer.close()
            if status != 200:
                failed[str(status)] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            failed[type(error).__name__] += 1
        took.append(loop.time() - due)

    begun, calls = loop.time(), []
    while (due := begun + len(calls) / 10) < begun + seconds:
        await asyncio.sleep(due - loop.time())
        calls.append(asyncio.ensure_future(call(due)))
    await asyncio.gather(*calls)
    cuts = quantiles(took, n=1000)
    return {
        "calls": len(took),
        "failed": failed.total(),
        "p50_ms": round(cuts[499] * 1000, 1),
        "p99_ms": round(cuts[989] * 1000, 1),
        "p999_ms": round(cuts[998] * 1000, 1),
        "max_ms": round(max(took) * 1000, 1),
    }


# The memory


class Cgroup:
    """A memory cgroup for a process."""

    def __init__(self, folder: Path, peak: str, events: str, killed: str) -> None:
        self.folder, self._peak, self._events, self._killed = folder, folder / peak, folder / events, killed

    def figures(self) -> dict[str, float | str]:
        """What it says of itself."""
        events = dict(line.split() for line in self._events.read_text().splitlines())
        return {
            "cgroup_peak_mib": round(int(self._peak.read_text()) / 2**20, 1),
            "cgroup_kills": int(events.get(self._killed, 0)),
        }


@contextmanager
def _cgroup(size: int) -> Iterator[Cgroup | None]:
    """Make a memory cgroup of so many bytes, if that can be done here."""
    for parent, limit, peak, events, killed in _CGROUPS:
        folder = parent / f"shop-auth-proxy-soak-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / limit).exists():
                (folder / limit).write_text(str(size))
                yield Cgroup(folder, peak, events, killed)
                return
        finally:
            with suppress(OSError):
                folder.rmdir()
    yield None


# The names


@contextmanager
def _silent_name_server(folder: Path) -> Iterator[list[str]]:
    """Be a name server that never answers; yield what begins a command that asks it alone, nothing if it can't be."""
    resolver, names = folder / "resolv.conf", folder / "nsswitch.conf"
    resolver.write_text("nameserver 127.0.0.54\n")
    names.write_text("hosts: files dns\n")
    mounts = " && ".join(f"mount --bind {file} /etc/{file.name}" for file in (resolver, names))
    begin = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.54", 53))
            subprocess.run([*begin, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            begin = []
        yield begin


async def soak(seconds: float, memory: int) -> int:
    """Run it; return 0 if all went well."""
    (port, admin, healthy_api), begun = free_ports(3), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as made,
        _cgroup(memory) as cgroup,
        _silent_name_server(Path(made)) as ask_it,
    ):
        file = Path(made, "config.toml")
        file.with_name(_SECRET).write_text("secret-0123456789")
        async with _platforms() as api:
            file.write_text(_configuration(port, admin, api, healthy_api))
            join = "" if cgroup is None else f"echo $$ > {cgroup.folder}/cgroup.procs && "
            shell = f'ulimit -n {_FILES}; {join}exec "$@"'
            serve = [*ask_it, "sh", "-c", shell, "sh", sys.executable, "-c", _WITH_SLOW_DISK]
            serve += ["serve", "--config", str(file)]
            unread, log = os.pipe()  # nobody reads it
            with os.fdopen(log, "wb") as stdout, program(serve, stdout=stdout) as proxy:
                await started(proxy, port)
                caller = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "benchmarks.soak", "--seconds", str(seconds)),
                    *("--healthy", str(port), str(healthy_api)),
                    stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                faults = Faults(port, admin, file)
                making = asyncio.ensure_future(faults.all())
                told, _ = await caller.communicate()
                alive = proxy.poll() is None
                figures = json.loads(told)
                figures["seconds"] = round(time.monotonic() - begun)
                if alive:
                    figures["resident_peak_mib"] = round(memory_of(proxy.pid, "VmHWM"), 1)
                if cgroup is not None:
                    figures |= cgroup.figures()
                making.cancel()
                ending = time.monotonic()
            figures["end_s"] = round(time.monotonic() - ending, 1)
            os.close(unread)
    figures["silent_names"] = _SILENT if ask_it else "none: no resolv.conf of its own"
    figures["memory_in"] = "no cgroup: compared with the peak" if cgroup is None else "a cgroup"
    fits = cgroup is not None or figures.get("resident_peak_mib", 0) <= memory / 2**20
    well = alive and not figures["failed"] and figures["p99_ms"] <= _SLOWEST * 1000 and fits
    print(json.dumps(figures | {"faults": dict(sorted(faults.seen.items())), "well": well}, indent=1))
    print(_table(figures))
    return 0 if well else 1


def _table(figures: dict[str, float | str]) -> str:
    """Return the figures as docs/performance.md has them."""
    rows = (
        ("healthy calls, and how many failed", "{calls}, {failed}"),
        ("p50, p99, longest", "{p50_ms} ms, {p99_ms} ms, {max_ms} ms"),
        (
            "memory: the process, and the cgroup with the pages of files",
            "{resident_peak_mib} MiB, {cgroup_peak_mib} MiB",
        ),
        ("processes that the kernel ended", "{cgroup_kills}"),
        ("SIGTERM to the end, with requests in flight (`drain_timeout` 1 s)", "{end_s} s"),
    )
    known = defaultdict(lambda: "–", figures)
    title = f"| {figures['seconds']} s, {os.cpu_count()} cores for all of it | |\n| --- | --- |\n"
    return title + "\n".join(f"| {what} | {form.format_map(known)} |" for what, form in rows)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--memory", type=int, default=256 << 20, help="bytes that the proxy may have")
    parser.add_argument("--healthy", type=int, nargs=2, help=argparse.SUPPRESS)  # the ports; this is its process then
    options = parser.parse_args()
    if options.healthy is not None:
        print(json.dumps(asyncio.run(healthy(*options.healthy, options.seconds))))
    else:
        sys.exit(asyncio.run(soak(options.seconds, options.memory)))


if __name__ == "__main__":
    main()
