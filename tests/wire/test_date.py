"""Every answer tells its time: that of the platform if it does, else that of this clock, written once a second."""

import re
import time
from email.utils import parsedate_to_datetime

import pytest

from proxy.wire.date import DateLine
from tests.peers import answering, request, response
from tests.proxies import whole_path


class Clock:
    """A clock that is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_line_is_the_time_as_http_writes_it() -> None:
    assert DateLine(Clock(784111777.9)).now() == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_it_is_written_once_a_second() -> None:
    clock = Clock(784111777.0)
    date = DateLine(clock)
    first = date.now()
    clock.now += 0.9
    assert date.now() is first
    clock.now += 0.1
    assert date.now() == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
    clock.now -= 10  # it was set
    assert date.now() == b"Date: Sun, 06 Nov 1994 08:49:28 GMT\r\n"


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        (response(date=b""), b"GET"),
        (response(b"x" * 200_000, date=b""), b"GET"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"DELETE"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"GET"),
        (response(b"gone", status=b"404 Not Found", date=b""), b"GET"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD"),
    ],
)
@pytest.mark.parametrize("rewrite_links", [False, True])
async def test_an_answer_without_a_date_gets_one(answer: bytes, method: bytes, rewrite_links: bool) -> None:
    before = int(time.time())
    async with whole_path(answering(answer), of={"rewrite_links": rewrite_links}) as path, path.connect() as client:
        await client.send(request(method))
        got = await client.read_answer(body=method != b"HEAD")

    [value] = got.values(b"Date")
    assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", value)
    assert before <= parsedate_to_datetime(value.decode()).timestamp() <= time.time()


@pytest.mark.parametrize("value", [b"Tue, 07 Jul 2026 10:00:00 GMT", b"Tuesday, 07-Jul-26 10:00:00 GMT", b"now"])
async def test_the_date_of_the_platform_is_left_as_it_is(value: bytes) -> None:
    async with whole_path(answering(response(fields=b"dATE:" + value + b"\r\n", date=b""))) as path:
        got = await path.ask(request())

    assert got.values(b"Date") == [value]


@pytest.mark.parametrize(
    "sent", [request(target=b"/nobody/x"), b"garbage\r\n\r\n", request(b"OPTIONS", fields=b"Max-Forwards: 0\r\n")]
)
async def test_what_the_proxy_answers_itself_has_a_date(sent: bytes) -> None:
    async with whole_path(answering(response())) as path:
        assert len((await path.ask(sent)).values(b"Date")) == 1
