"""Tells systemd how the service fares: ready, reloading, stopping, still alive.

The protocol is a datagram of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names; see sd_notify(3) and
sd_watchdog_enabled(3). Other supervisors and container engines speak it too.

Rules: without `NOTIFY_SOCKET` nothing happens. What can't be told is told to nobody: no call raises or blocks. The
variables are taken out of the environment, so that a child process can't speak in our name.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_MICROSECONDS: Final = 1_000_000
# In microseconds some 30,000 years, and no event loop trips over it. systemd writes what is "infinity" with 20 digits.
_MAX_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The one who started the process and wants to hear from it.

    `address` is that of its socket, `None` if it wants to hear nothing. `watchdog_timeout` is in seconds: it takes the
    process for dead if it hears nothing for so long; `None` if it doesn't watch.
    """

    address: bytes | None = None
    watchdog_timeout: float | None = None

    def ready(self, status: str) -> bool:
        """Tell that start-up, or a reload, is done; `status` is shown by `systemctl status`."""
        return self._tell("READY=1", _status(status))

    def reloading(self, status: str) -> bool:
        """Tell that a reload has begun; `ready` has to follow, also if it failed."""
        # Type=notify-reload compares this time with its own. Both are CLOCK_MONOTONIC.
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", _status(status))

    def stopping(self, status: str) -> bool:
        """Tell that the end has begun."""
        return self._tell("STOPPING=1", _status(status))

    async def keep_alive(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Tell twice in each `watchdog_timeout` that the event loop turns; never returns if the supervisor watches.

        A callback that blocks the loop blocks this too. That is the point: the supervisor then starts the service anew.
        """
        while self.watchdog_timeout is not None:
            self._tell("WATCHDOG=1")
            await sleep(self.watchdog_timeout / 2)

    def _tell(self, *lines: str) -> bool:
        """Return whether the supervisor was told all it wants to hear."""
        if self.address is None:
            return True
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(errors="replace"), self.address)
            return True
        return False


def take_supervisor(environ: MutableMapping[str, str], pid: int) -> Supervisor:
    """Return the supervisor that `environ` names, and take its variables out; `pid` is our own process id."""
    path = os.fsencode(environ.pop("NOTIFY_SOCKET", ""))
    timeout = environ.pop("WATCHDOG_USEC", "")
    watched = environ.pop("WATCHDOG_PID", str(pid)) == str(pid)
    if path[:1] not in {b"/", b"@"}:  # vsock:, for virtual machines, is not ours to speak
        return Supervisor()
    # "@" stands for the zero byte that an abstract address begins with, see unix(7).
    address = b"\0" + path[1:] if path[:1] == b"@" else path
    usable = watched and timeout.isascii() and timeout.isdecimal() and len(timeout) <= _MAX_DIGITS and int(timeout) > 0
    return Supervisor(address, int(timeout) / _MICROSECONDS if usable else None)


def _status(text: str) -> str:
    """A line of its own: whatever stands in `text`, it ends with the line."""
    return "STATUS=" + " ".join(text.split())
