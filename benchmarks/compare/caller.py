"""Calls from kept connections of our own: one after the other, or so many a second (wrk has no such rate).

Rules: a call at a rate is timed from when it was due, not from when it was sent: an answer that comes late makes the
next call late too, and whoever waits for that one waits for both.
"""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.compare.contender import BASIC, Invalid

_WORKERS = 8  # each with a connection: so many calls may be under way at once
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class Caller:
    """A connection over which the same call is made again and again. Raises `Invalid` for any answer but 200."""

    def __init__(self, port: int, target: str, authorization: str = BASIC) -> None:
        self._port = port
        self._connection = self._connect()
        self._last_call = False  # on this connection
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {authorization}\r\n"
            "Accept: application/json\r\nUser-Agent: erp-connector/2.3\r\n\r\n"
        ).encode()

    def call(self) -> None:
        """Make one call, and read the whole answer; over a new connection if that was said to end."""
        if self._last_call:
            self.close()
            self._connection = self._connect()
        self._connection.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise Invalid(f"not 200 with a Content-Length: {head[:200]!r}")
        self._last_call = _CLOSE.search(head + b"\r\n") is not None
        missing = int(length[1]) - len(body)
        while missing > 0:
            missing -= len(self._more())

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _more(self) -> bytes:
        received = self._connection.recv(65536)
        if not received:
            raise Invalid("the connection was closed within an answer")
        return received

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def one_after_the_other(caller: Caller, seconds: float) -> list[float]:
    """Return how long each call took, in seconds."""
    taken = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        caller.call()
        taken.append(time.perf_counter() - began)
    return taken


def at_rate(port: int, target: str, authorization: str, rate: float, seconds: float) -> list[float]:
    """Return how long each call took since it was due, in seconds; they are due `rate` times a second."""
    total = round(rate * seconds)
    taken = [0.0] * total
    callers = [Caller(port, target, authorization) for _ in range(_WORKERS)]
    for caller in callers:
        caller.call()  # the first one of a connection is not what is asked for
    begin = time.perf_counter() + 0.05

    def work(first: int) -> None:
        for number in range(first, total, _WORKERS):
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            callers[first].call()
            taken[number] = time.perf_counter() - due

    try:
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(work, range(_WORKERS)))
    finally:
        for caller in callers:
            caller.close()
    return taken


def percentile(values: list[float], percent: float) -> float:
    """Return the value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]
