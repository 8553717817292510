"""A body on its way in: how it ends, who waits for it, and that no byte is lost or held without bound."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.chunked import BrokenFramingError, Chunked
from proxy.wire.incoming import HIGH_WATER, Incoming
from tests.peers import chunked


class Sender:
    """Whoever sends the body, and whether it is listened to."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    def __call__(self, on: bool) -> None:
        self.told.append(on)


def incoming(length: int | None, *, coding: Chunked | None = None) -> Incoming:
    return Incoming(length, Sender(), chunked=coding)


async def all_of(body: Incoming) -> bytes:
    content = b""
    while piece := await body.read():
        content += piece
    return content


async def waiting(body: Incoming) -> asyncio.Task[bytes]:
    """A reader that waits for more."""
    reader = asyncio.get_running_loop().create_task(body.read())
    await asyncio.sleep(0)
    assert not reader.done()
    return reader


# How it ends


async def test_a_body_with_a_length_ends_there_and_hands_back_the_rest() -> None:
    body = incoming(5)

    assert body.feed(b"abc") == b""
    assert body.wanted
    assert body.feed(b"deGET /") == b"GET /"
    assert (body.ended, body.complete, body.total) == (True, False, 5)
    assert await all_of(body) == b"abcde"
    assert body.complete


async def test_a_chunked_body_ends_with_its_last_chunk_and_hands_back_the_rest() -> None:
    body = incoming(0, coding=Chunked(lenient=False))

    assert body.wanted
    assert body.feed(b"3\r\nabc\r\n2\r\nde\r\n0\r\n") == b""
    assert (body.ended, body.total) == (False, 5)
    assert body.feed(b"\r\nGET /") == b"GET /"
    assert body.ended
    assert await all_of(body) == b"abcde"
    assert body.complete


async def test_a_body_without_a_length_ends_when_that_is_told() -> None:
    body = incoming(None)

    assert body.feed(b"abc") == b""
    assert body.feed(b"de") == b""
    assert body.wanted
    body.end()
    assert body.ended
    assert await all_of(body) == b"abcde"
    assert body.complete


def test_an_empty_body_has_ended_before_anything_came() -> None:
    body = incoming(0)

    assert (body.ended, body.complete, body.wanted) == (True, True, False)
    assert body.read_nowait() == b""


@pytest.mark.parametrize(("length", "coding"), [(5, None), (0, Chunked(lenient=True))], ids=["length", "chunked"])
def test_a_body_that_ends_early_is_broken(length: int, coding: Chunked | None) -> None:
    body = incoming(length, coding=coding)
    body.feed(b"3\r\n")

    with pytest.raises(BrokenFramingError):
        body.end()


def test_the_end_of_what_has_ended_is_no_news() -> None:
    body = incoming(3)
    body.feed(b"abc")
    body.end()

    assert body.ended


def test_broken_chunks_are_told_to_who_brings_them() -> None:
    with pytest.raises(BrokenFramingError):
        incoming(0, coding=Chunked(lenient=False)).feed(b"ZZ\r\n")


# Who waits for it


async def test_a_reader_gets_what_came_since_the_last_time_in_one_piece() -> None:
    body = incoming(None)
    for piece in (b"a", b"b", b"c"):
        body.feed(piece)

    assert await body.read() == b"abc"
    body.feed(b"d")
    assert body.read_nowait() == b"d"
    assert body.read_nowait() == b""


async def test_a_reader_waits_for_a_byte_and_gets_it() -> None:
    body = incoming(None)
    reader = await waiting(body)
    body.feed(b"a")

    assert await reader == b"a"


async def test_framing_alone_does_not_look_like_the_end() -> None:
    body = incoming(0, coding=Chunked(lenient=False))
    reader = await waiting(body)
    body.feed(b"3\r\n")
    await asyncio.sleep(0)
    assert not reader.done()
    body.feed(b"abc")

    assert await reader == b"abc"


async def test_a_reader_hears_of_the_end() -> None:
    body = incoming(None)
    reader = await waiting(body)
    body.end()

    assert await reader == b""
    assert await body.read() == b""


async def test_a_reader_hears_of_an_error_at_once() -> None:
    body = incoming(5)
    reader = await waiting(body)
    body.fail(ConnectionResetError("gone"))

    with pytest.raises(ConnectionResetError):
        await reader
    with pytest.raises(ConnectionResetError):  # and whoever comes later
        await body.read()


async def test_what_came_before_an_error_comes_before_it_and_the_first_error_counts() -> None:
    body = incoming(5)
    body.feed(b"abc")
    body.fail(ConnectionResetError("gone"))
    body.fail(TimeoutError())

    assert await body.read() == b"abc"
    with pytest.raises(ConnectionResetError):
        await body.read()
    assert not body.complete


async def test_an_error_behind_the_end_changes_nothing() -> None:
    body = incoming(3)
    body.feed(b"abc")
    body.fail(ConnectionResetError("gone"))

    assert await all_of(body) == b"abc"
    assert body.complete


async def test_a_reader_that_is_cancelled_takes_nothing_with_it() -> None:
    body = incoming(None)
    for late in (False, True):
        reader = await waiting(body)
        if late:
            body.feed(b"ab")  # it would have got this
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    body.feed(b"cd")
    body.end()

    assert await all_of(body) == b"abcd"


# How much of it is held


def test_who_sends_too_much_is_not_listened_to_until_it_was_read() -> None:
    sender = Sender()
    body = Incoming(None, sender)
    body.feed(b"x" * HIGH_WATER)
    body.feed(b"x")
    body.feed(b"x")  # was on its way

    assert sender.told == [False]
    assert not body.wanted
    assert len(body.read_nowait()) == HIGH_WATER + 2
    assert sender.told == [False, True]
    assert body.wanted


def test_what_is_within_bounds_is_listened_to_all_the_time() -> None:
    sender = Sender()
    body = Incoming(None, sender)
    for _ in range(10):
        body.feed(b"x" * (HIGH_WATER // 2))
        body.read_nowait()

    assert sender.told == []


def test_single_bytes_cost_more_than_their_size() -> None:
    sender = Sender()
    body = Incoming(None, sender)
    count = 0
    while not sender.told:
        body.feed(b"x")
        count += 1

    assert 1000 < count < HIGH_WATER // 10


@pytest.mark.parametrize("sent", [b"x" * (2 * HIGH_WATER), b"x" * (2 * HIGH_WATER) + b"rest"])
def test_who_has_sent_all_of_it_may_go_on(sent: bytes) -> None:
    sender = Sender()
    body = Incoming(2 * HIGH_WATER, sender)

    assert body.feed(sent) == sent[2 * HIGH_WATER :]
    assert sender.told == []


def test_what_is_discarded_is_counted_to_its_end_and_not_held() -> None:
    sender = Sender()
    body = Incoming(10 * HIGH_WATER, sender)
    body.feed(b"x")
    body.discard()
    for _ in range(9):
        body.feed(b"x" * HIGH_WATER)
    assert (body.read_nowait(), body.ended, sender.told) == (b"", False, [])

    assert body.feed(b"x" * (HIGH_WATER - 1) + b"rest") == b"rest"
    assert (body.ended, body.complete, body.total) == (True, True, 10 * HIGH_WATER)


# Whether more of it could be taken


def test_a_body_is_wanted_while_something_is_missing_and_could_come() -> None:
    body = incoming(3)
    assert body.wanted
    body.feed(b"ab")
    assert body.wanted
    body.feed(b"c")
    assert not body.wanted


def test_a_broken_body_is_not_wanted() -> None:
    body = incoming(3)
    body.fail(ConnectionResetError())

    assert not body.wanted


@given(
    contents=st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    places=st.lists(st.integers(0, 300), max_size=6),
    reads=st.sets(st.integers(0, 8)),
    kind=st.sampled_from(["length", "chunked", "end"]),
)
def test_no_byte_is_lost_however_it_comes_and_is_read(
    contents: list[bytes], places: list[int], reads: set[int], kind: str
) -> None:
    content = b"".join(contents)
    body = {
        "length": lambda: incoming(len(content)),
        "chunked": lambda: incoming(0, coding=Chunked(lenient=False)),
        "end": lambda: incoming(None),
    }[kind]()
    sent = chunked(*contents) if kind == "chunked" else content
    behind = b"" if kind == "end" else b"HTTP"
    data = sent + behind
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    got = rest = b""
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        rest += data[start:end] if body.ended else body.feed(data[start:end])
        if number in reads:
            got += body.read_nowait()
    if kind == "end":
        body.end()
    got += body.read_nowait()

    assert (got, rest, body.complete, body.total) == (content, behind, True, len(content))


async def test_a_body_of_tiny_chunks_is_taken_a_little_at_a_time() -> None:
    """To take a chunk takes as long for one byte as for many: others are to be served in between."""
    sender = Sender()
    body = Incoming(0, sender, chunked=Chunked(lenient=False))

    body.feed(b"1\r\nx\r\n" * 1000)
    assert (body.dense, sender.told) == (True, [False])
    assert await body.read() == b"x" * 1000
    assert sender.told == [False, True]
    body.feed(b"400\r\n" + b"y" * 1024 + b"\r\n")
    assert (body.dense, sender.told) == (False, [False, True])
    body.discard()
    body.feed(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
    assert (body.ended, sender.told) == (True, [False, True])
