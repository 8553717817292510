"""Why nothing can listen at a place, in words, and what to do (pure)."""

import errno
import os
import socket
from typing import Final

# A machine, a service and a container each have a way of their own to allow it.
_LOW_PORT: Final = """ports below 1024 need a privilege; any one of these grants it:
  for all programs on this machine: sysctl -w net.ipv4.ip_unprivileged_port_start={port} (in /etc/sysctl.d/, to keep it)
  with systemd, for this service alone: AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit
  in a container or pod: the same sysctl there (docker run --sysctl …; in Kubernetes, securityContext.sysctls)"""


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Return `can't listen on …: …` for an error of the system."""
    return f"can't listen on {host or 'every address'} port {port}: {_reason(port, error)}"


def _reason(port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host can't be resolved ({error.strerror})"
    text = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM) and port < 1024:
        return f"{text}; {_LOW_PORT.format(port=port)}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{text}: another program already listens there, perhaps an earlier start of this one (ss -ltnp shows"
            " which)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{text}: this machine has no such address"
    return text
