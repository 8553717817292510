"""Why nothing can listen at a place is told with what to do."""

import errno
import socket

import pytest

from proxy.app.listening import cannot_listen


@pytest.mark.parametrize(
    ("host", "port", "error", "told"),
    [
        (
            "127.0.0.1",
            80,
            OSError(errno.EACCES, "no"),
            (
                "can't listen on 127.0.0.1 port 80: Permission denied; ports below 1024 need a privilege",
                "net.ipv4.ip_unprivileged_port_start=80",
                "AmbientCapabilities=CAP_NET_BIND_SERVICE",
                "docker run --sysctl",
                "securityContext.sysctls",
            ),
        ),
        (
            "",
            8080,
            OSError(errno.EADDRINUSE, "no"),
            (
                "can't listen on every address port 8080: Address already in use: another program already listens"
                " there",
                "ss -ltnp shows which",
            ),
        ),
        ("192.0.2.1", 8080, OSError(errno.EADDRNOTAVAIL, "no"), ("this machine has no such address",)),
        (
            "nowhere.example",
            8080,
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            ("can't listen on nowhere.example port 8080: the host can't be resolved (Name or service not known)",),
        ),
        ("::1", 8080, OSError("odd"), ("can't listen on ::1 port 8080: odd",)),
        ("::1", 8080, OSError(errno.EACCES, "no"), ("can't listen on ::1 port 8080: Permission denied",)),
    ],
)
def test_it_is_told_in_words_with_what_helps(host: str, port: int, error: OSError, told: tuple[str, ...]) -> None:
    sentence = cannot_listen(host, port, error)

    assert [part for part in told if part not in sentence] == []
    assert ("sysctl" in sentence) == (port < 1024)
