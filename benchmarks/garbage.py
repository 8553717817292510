"""Memory of the proxy while thousands of connections bring it garbage.

    python -m benchmarks.garbage [--connections 10000] [--at-once 500]

Starts the proxy as a process of its own and opens connections that send what is no request: noise, the beginning of a
TLS handshake, endless lines and fields, heads and bodies that never end, chunk extensions. Each stays open as long as
the proxy lets it, `--patience` seconds at the most; `--at-once` of them are open at any time. A healthy client asks
meanwhile. Prints the proxy's resident memory before, its peak (VmHWM of Linux) and what is left, and how long the
healthy client waited.
"""

import argparse
import asyncio
import json
import random
import time
from contextlib import suppress

from benchmarks.processes import memory_of, proxy_process

_CONFIG = """
[shops.demo]
client_id = "demo-id"
client_secret = "demo-secret"
"""
_HEAD = b"POST /demo/x HTTP/1.1\r\nHost: proxy\r\n"
_HEALTHY = b"GET /nobody/x HTTP/1.1\r\nHost: proxy\r\n\r\n"


def _garbage(chance: random.Random) -> bytes:
    kinds = (
        lambda: chance.randbytes(chance.randrange(1, 20_000)),
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
        lambda: b"GET /" + b"x" * 100_000,
        lambda: _HEAD + b"X: " + b"y" * 100_000,
        lambda: _HEAD + b"X: y\r\n" * 20_000,
        lambda: _HEAD + b"X: ",
        lambda: b"\r\n" * 10_000,
        lambda: _HEAD + b"Content-Length: 60000000\r\n\r\n" + b"x" * 200_000,
        lambda: _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000,
        lambda: _HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100,
        lambda: _HEALTHY * 500,
        lambda: b"",
    )
    return chance.choice(kinds)()


async def _bring(port: int, chance: random.Random, slots: asyncio.Semaphore, patience: float) -> None:
    async with slots:
        with suppress(ConnectionError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.timeout(patience):
                    writer.write(_garbage(chance))
                    await writer.drain()
                    while await reader.read(65_536):
                        pass
            finally:
                writer.transport.abort()


async def _healthy(port: int, waits: list[float]) -> None:
    while True:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEALTHY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = await reader.read()
        if not answer.startswith(b"HTTP/1.1 404 "):
            raise SystemExit(f"a healthy client was not served: {answer[:200]!r}")
        waits.append(time.monotonic() - began)
        writer.close()
        await asyncio.sleep(0.05)


async def main() -> None:
    """Bring the garbage and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--patience", type=float, default=1.0, help="seconds that each stays")
    options = parser.parse_args()
    chance = random.Random(0)
    async with proxy_process(_CONFIG) as proxy:
        before = memory_of(proxy.pid, "VmRSS")
        began = time.monotonic()
        slots = asyncio.Semaphore(options.at_once)
        waits: list[float] = []
        healthy = asyncio.create_task(_healthy(proxy.port, waits))
        half = None
        for part in range(2):
            count = options.connections // 2
            await asyncio.gather(*(_bring(proxy.port, chance, slots, options.patience) for _ in range(count)))
            if part == 0:
                half = memory_of(proxy.pid, "VmHWM")
        if healthy.done():
            healthy.result()
        healthy.cancel()
        figures = {
            "connections": options.connections,
            "at_once": options.at_once,
            "seconds": round(time.monotonic() - began, 1),
            "rss_before_mib": round(before, 1),
            "rss_peak_after_half_mib": round(half or 0, 1),
            "rss_peak_mib": round(memory_of(proxy.pid, "VmHWM"), 1),
            "rss_after_mib": round(memory_of(proxy.pid, "VmRSS"), 1),
            "healthy_requests": len(waits),
            "healthy_longest_wait_seconds": round(max(waits), 2),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
