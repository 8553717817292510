"""Ports that are chosen before they are listened on, or that nobody is to listen on."""

import random
import socket
from pathlib import Path

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port of loopback that nothing listens on.

    It is none of those that the system gives to whoever takes any: else other tests would get it in the meantime.
    """
    first, last = map(int, _GIVEN_OUT.read_text().split()) if _GIVEN_OUT.exists() else (32_768, 65_535)
    others = [port for port in range(10_000, 65_536) if not first <= port <= last]
    while others:
        port = random.choice(others)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            others.remove(port)
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
