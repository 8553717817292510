"""`serve` on a machine of its own whose name server is silent about some names; a program for `unshare -rmn`.

It has its own loopback, resolv.conf and port 53. Prints as JSON what a client and the operator saw.
"""

import asyncio
import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from tests.commands.processes import started
from tests.peers import answering, connected, request, response, serving, token_response

NAME_SERVER = "127.0.0.53"
SILENT = [f"{host}.silent{number}.example" for number in range(4) for host in ("token", "api")]


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS and IFF_UP | IFF_RUNNING, see netdevice(7).
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))


def ask_only(folder: Path, name_server: str) -> None:
    for name, content in (("resolv.conf", f"nameserver {name_server}\n"), ("nsswitch.conf", "hosts: files dns\n")):
        (folder / name).write_text(content)
        Path("/etc", name).touch()
        subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)


class NameServer(asyncio.DatagramProtocol):
    """Says of every name that it is 127.0.0.1 (RFC 1035 §4), but nothing of the silent ones."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        if b"silent" in data[12:end]:
            return
        is_a = data[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c" + struct.pack("!HHIH4B", 1, 1, 60, 4, 127, 0, 0, 1) if is_a else b""
        head = data[:2] + struct.pack("!5H", 0x8180, 1, int(is_a), 0, 0)
        self.transport.sendto(head + data[12:end] + answer, addr)


def configuration(hosts: Mapping[str, tuple[str, str]]) -> str:
    """Shops by name, each on a platform of its own with these places for tokens and API; they share a silent Redis."""
    shared = '[shared]\nurl = "redis://redis.silent4.example"\nplaintext = true\n'
    return (
        shared
        + "[server]\nport = 0\n[admin]\nenabled = false\n"
        + "".join(
            f'[platforms.of-{shop}]\ntoken_url = "http://{token}/"\napi_url = "http://{api}/"\nallow_private = true\n'
            f'[shops.{shop}]\nplatform = "of-{shop}"\nclient_id = "x"\nclient_secret = "s3cret-of-the-shop"\n'
            for shop, (token, api) in hosts.items()
        )
    )


async def status(port: int, shop: str) -> int:
    async with asyncio.timeout(20), connected(port) as client:
        return (await client.ask(request(target=f"/{shop}/x".encode()))).status


async def main(folder: Path) -> None:
    bring_loopback_up()
    ask_only(folder, NAME_SERVER)
    await asyncio.get_running_loop().create_datagram_endpoint(NameServer, (NAME_SERVER, 53))
    grant, answer = token_response(), response(fields=b"Connection: close\r\n")  # each call is a new connection
    async with serving(answering(grant)) as tokens, serving(answering(answer)) as api:
        config = folder / "config.toml"
        named, by_address = (f"host.fine.example:{api.port}", f"127.0.0.1:{api.port}")
        silent = {f"silent{number}": tuple(SILENT[number * 2 :][:2]) for number in range(4)}
        config.write_text(
            configuration(
                {
                    "named": (f"token.fine.example:{tokens.port}", named),
                    "addressed": (f"127.0.0.1:{tokens.port}", by_address),
                    **{shop: (token, api) for shop, (token, api) in silent.items()},
                }
            )
        )
        async with started("serve", "--config", str(config)) as serve:
            port = json.loads(await serve.line_with("proxy.started"))["port"]
            hanging = [asyncio.create_task(status(port, shop)) for shop in silent]
            meanwhile = [await status(port, shop) for _ in range(10) for shop in ("named", "addressed")]
            late = [await task for task in hanging]
            left = [asyncio.create_task(status(port, shop)) for shop in silent]
            serve.send_signal(signal.SIGTERM)
            ended = await serve.end()
            await asyncio.gather(*left, return_exceptions=True)
    reasons = [event["reason"] for line in ended.stdout.splitlines() if "reason" in (event := json.loads(line))]
    told = sum("no name server has answered within 4 s" in reason for reason in reasons)
    print(json.dumps({"meanwhile": meanwhile, "late": late, "told": told, "status": ended.status}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
