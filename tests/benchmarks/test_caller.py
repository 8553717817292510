"""Calls over a kept connection of our own."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from benchmarks.compare.caller import Caller, at_rate, percentile
from benchmarks.compare.contender import BASIC, Invalid

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{1}"


@contextmanager
def answering(connections: Sequence[Sequence[bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """A peer that answers each request of each connection with what stands here; the port, and the requests it got."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(16) as pool:
        server.settimeout(10)

        def serve(connection: socket.socket, answers: Sequence[bytes]) -> None:
            with connection:
                for answer in answers:
                    seen.append(connection.recv(65536))
                    for part in answer.split(b"|"):
                        connection.sendall(part)

        def accept() -> None:
            for answers in connections:
                pool.submit(serve, server.accept()[0], answers)

        accepting = pool.submit(accept)
        yield server.getsockname()[1], seen
        accepting.result()


def test_a_call_is_made_again_over_the_same_connection_and_its_answer_read_to_the_end() -> None:
    pieces = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n|\r\n{|1}"
    with answering([[pieces, OK]]) as (port, seen), closing(Caller(port, "/demo/page.json")) as caller:
        caller.call()
        caller.call()

    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0].startswith(b"GET /demo/page.json HTTP/1.1\r\n")
    assert f"\r\nAuthorization: {BASIC}\r\n".encode() in seen[0]


def test_a_connection_that_was_said_to_end_is_replaced() -> None:
    last = OK.replace(b"content-length", b"Connection: close\r\ncontent-length")
    with answering([[last], [OK]]) as (port, seen), closing(Caller(port, "/")) as caller:
        caller.call()
        caller.call()

    assert len(seen) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{1}",
        b"",
    ],
)
def test_any_other_answer_is_invalid(answer: bytes) -> None:
    with answering([[answer]]) as (port, _), closing(Caller(port, "/")) as caller, pytest.raises(Invalid):
        caller.call()


def test_calls_at_a_rate_are_all_made_and_timed() -> None:
    per_connection = [OK] * 4  # one to begin with, and three of the 24 over eight connections
    with answering([per_connection] * 8) as (port, seen):
        taken = at_rate(port, "/", BASIC, rate=400, seconds=0.06)

    assert len(seen) == 8 * 4
    assert len(taken) == 24
    assert all(seconds > 0 for seconds in taken)


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (0.1, 1)])
def test_a_percentile_is_what_so_many_percent_do_not_exceed(percent: float, value: int) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_a_percentile_of_one_value_is_that() -> None:
    assert percentile([7.0], 99) == 7.0
