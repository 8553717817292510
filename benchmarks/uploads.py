"""Peak memory of the proxy while many large uploads run at once.

    python -m benchmarks.uploads [--uploads 50] [--size 33554432]

Starts a simulated Shoprenter, the proxy as a process of its own, and the uploading clients; prints the proxy's
resident memory before, and the peak during the uploads (VmHWM of Linux). The simulator tells size and SHA-256 of what
it got, and each must be right.
"""

import argparse
import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator

import aiohttp

from benchmarks.processes import memory_of, proxy_process
from proxy.simulator import ShoprenterSimulator

_CONFIG = """
[shops.demo]
client_id = "demo-id"
client_secret = "demo-secret"
[platforms.shoprenter]
rate_limit = false
token_url = "{token_url}"
api_url = "{api_url}"
allow_private = true
"""
_CHUNK = bytes(range(256)) * 256


async def _body(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(_CHUNK)):
        yield _CHUNK[: size - start]


async def _upload(session: aiohttp.ClientSession, port: int, size: int, digest: str) -> None:
    headers = {"Accept": "application/json", "Content-Length": str(size), "Content-Type": "image/jpeg"}
    url = f"http://127.0.0.1:{port}/demo/files"
    async with session.post(url, data=_body(size), headers=headers) as response:
        answer = await response.json(content_type=None)
        if response.status != 201 or answer["sha256"] != digest:
            raise SystemExit(f"an upload went wrong: {response.status} {answer}")


async def main() -> None:
    """Run the uploads and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--size", type=int, default=32 * 1024 * 1024, help="bytes of each")
    options = parser.parse_args()
    digest = hashlib.sha256(b"".join([chunk async for chunk in _body(options.size)])).hexdigest()
    async with ShoprenterSimulator(rate_limit=None) as simulator:
        configuration = _CONFIG.format(token_url=simulator.token_url, api_url=simulator.api_url)
        async with proxy_process(configuration) as proxy:
            before = memory_of(proxy.pid, "VmRSS")
            began = time.monotonic()
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                uploads = (_upload(session, proxy.port, options.size, digest) for _ in range(options.uploads))
                await asyncio.gather(*uploads)
            figures = {
                "uploads": options.uploads,
                "bytes_each": options.size,
                "seconds": round(time.monotonic() - began, 1),
                "rss_before_mib": round(before, 1),
                "rss_peak_mib": round(memory_of(proxy.pid, "VmHWM"), 1),
            }
            print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
