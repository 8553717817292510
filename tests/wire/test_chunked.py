"""The chunked coding comes off, however it is cut; of requests strictly, of answers forgivingly."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import chunked as module
from proxy.wire.chunked import BrokenFramingError, Chunked, TrailersTooLargeError
from tests.peers import chunked

MAX_LINE = 1 << 15


def decoded(*data: bytes, lenient: bool = False, max_line: int = MAX_LINE, max_trailers: int = 128) -> bytes:
    """What is in one whole body that comes in these pieces."""
    coding = Chunked(lenient=lenient, max_line=max_line, max_trailers=max_trailers)
    content = b""
    for piece in data:
        pieces, rest = coding.feed(piece)
        content += b"".join(pieces)
        assert rest == b""
    assert coding.ended
    return content


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


RIGHT = [
    (b"0\r\n\r\n", b""),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
    (b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    (b'3;a=b;c="d e"\r\nabc\r\n0;f\r\n\r\n', b"abc"),
    (b"3;\xe9\t\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"abc"),
    (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
]
FORGIVEN = [
    (b"3 \r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\t \r\nabc\r\n0 \t\r\n\r\n", b"abc"),
    (b"3\nabc\n0\n\n", b"abc"),
    (b"3\r\nabc\n0\r\n\n", b"abc"),
    (b"3 ;a\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3;a\0b\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\r\nabc\r\n0\r\nX : y\r\nno field\n\r\n", b"abc"),
    (b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", b"abc"),
]
BROKEN = [
    *(b"\r\nabc\r\n0\r\n\r\n", b"ZZ\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n"),
    *(b"0x3\r\nabc\r\n0\r\n\r\n", b"1_0\r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n", b"F" * 16 + b"\r\nabc\r\n"),
    *(b"3\r\nabcd\r\n0\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3 4\r\nabc\r\n0\r\n\r\n"),
    *(b";a\r\n\r\n", b"3,\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\r\n0\r\n\r\n", b"3\r\nabc \r\n0\r\n\r\n"),
]
STRICTLY_BROKEN = [
    *(sent for sent, _ in FORGIVEN),
    *(b"3;a\rb\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\0\r\n\r\n"),
    *(b"3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\n\r\n", b"3\r\nabc\r\n0\r\nTRANSFER-encoding: x\r\n\r\n"),
]


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(("sent", "content"), RIGHT)
def test_what_the_rfc_writes_is_taken_from_all(sent: bytes, content: bytes, lenient: bool) -> None:
    assert decoded(sent, lenient=lenient) == content
    assert decoded(*one_by_one(sent), lenient=lenient) == content


@pytest.mark.parametrize(("sent", "content"), FORGIVEN)
def test_platforms_are_forgiven_what_they_are_known_for(sent: bytes, content: bytes) -> None:
    assert decoded(sent, lenient=True) == content
    assert decoded(*one_by_one(sent), lenient=True) == content


@pytest.mark.parametrize(
    ("sent", "lenient"),
    [*((sent, lenient) for sent in BROKEN for lenient in (False, True)), *((sent, False) for sent in STRICTLY_BROKEN)],
)
def test_all_else_is_broken_however_it_is_cut(sent: bytes, lenient: bool) -> None:
    for pieces in ([sent], one_by_one(sent)):
        with pytest.raises(BrokenFramingError):
            decoded(*pieces, lenient=lenient)


@pytest.mark.parametrize(
    "beginning", [b"z", b"-", b"\n", b"3 ", b"3x", b"3\rx", b"F" * 16, b"3\r\nabcd", b"3\r\nabc\rx", b"3;\0"]
)
def test_what_can_not_become_right_is_broken_at_once_in_a_request(beginning: bytes) -> None:
    """Its line might never end."""
    with pytest.raises(BrokenFramingError):
        Chunked(lenient=False).feed(beginning)


@pytest.mark.parametrize("beginning", [b"3\r\nabcd", b"3\r\nabc\rx", b"3\r\nabc "])
def test_what_is_behind_a_chunk_is_its_end_in_an_answer_too(beginning: bytes) -> None:
    with pytest.raises(BrokenFramingError):
        Chunked(lenient=True).feed(beginning)


def test_an_extension_that_comes_a_byte_at_a_time_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a long one so would else take the time of all others for it."""
    looked_at = 0

    class Counting:
        def __init__(self, expression: re.Pattern[bytes]) -> None:
            self._expression = expression

        def fullmatch(self, line: bytes, begin: int = 0) -> object:
            nonlocal looked_at
            looked_at += len(line) - begin
            return self._expression.fullmatch(line, begin)

    for name in ("_BEGINNING_OF_SIZE", "_MORE_OF_EXTENSION"):
        monkeypatch.setattr(module, name, Counting(getattr(module, name)))
    body = b"5;%b\r\nhello\r\n3;%b\r\nyou\r\n0\r\n\r\n" % (b"x" * 9000, b"y" * 50)

    assert decoded(*one_by_one(body)) == b"helloyou"
    assert 9000 < looked_at < 25_000


@pytest.mark.parametrize("lenient", [False, True])
def test_a_chunk_extension_may_be_so_long_and_no_longer(lenient: bool) -> None:
    longest = b"3;".ljust((1 << 14) - 2, b"a")
    assert decoded(longest + b"\r\nabc\r\n0\r\n\r\n", lenient=lenient) == b"abc"

    for too_long in (longest + b"a\r\n", longest + b"aaa"):
        with pytest.raises(BrokenFramingError):
            Chunked(lenient=lenient).feed(too_long)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_trailer_fields_may_be_so_long_and_so_many_and_no_more(lenient: bool, cut: bool) -> None:
    def feed(trailers: bytes) -> None:
        data = b"0\r\n" + trailers + b"\r\n"
        decoded(*(one_by_one(data) if cut else [data]), lenient=lenient, max_line=20, max_trailers=3)

    feed(b"X: ".ljust(18, b"y") + b"\r\n")
    feed(b"X: y\r\n" * 3)
    for trailers in (b"X: ".ljust(19, b"y") + b"\r\n", b"X: y\r\n" * 4):
        with pytest.raises(TrailersTooLargeError):
            feed(trailers)


def test_a_trailer_without_an_end_is_not_kept_for_ever() -> None:
    coding = Chunked(lenient=True, max_line=20)
    coding.feed(b"0\r\n")
    with pytest.raises(TrailersTooLargeError):
        coding.feed(b"x" * 21)


@pytest.mark.parametrize("lenient", [False, True])
def test_what_is_behind_the_end_is_handed_back(lenient: bool) -> None:
    coding = Chunked(lenient=lenient)

    assert coding.feed(b"3\r\nabc\r\n0\r\n\r") == ([b"abc"], b"")
    assert not coding.ended
    assert coding.feed(b"\nGET / HTTP/1.1\r\n\r\n0\r\n") == ([], b"GET / HTTP/1.1\r\n\r\n0\r\n")
    assert coding.ended


def test_content_is_handed_out_as_it_comes() -> None:
    coding = Chunked(lenient=False)

    assert coding.feed(b"5\r\nab") == ([b"ab"], b"")
    assert coding.feed(b"c") == ([b"c"], b"")
    assert coding.feed(b"de\r\n1;x\r\nf\r\n") == ([b"de", b"f"], b"")
    assert not coding.ended


CONTENTS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b';a="b\t"', b";\xff"])
TRAILERS = st.lists(st.sampled_from([b"A: 1\r\n", b"B:\r\n", b"X-Sum: \xe9\r\n"]), max_size=3).map(b"".join)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body in the coding, and what is in it."""
    contents = draw(CONTENTS)
    lines = [(b"0" * draw(st.integers(0, 2)) + b"%x" % len(each), each) for each in contents]
    chunks = [size + draw(EXTENSIONS) + b"\r\n" + each + b"\r\n" for size, each in lines]
    return b"".join(chunks) + b"0" + draw(EXTENSIONS) + b"\r\n" + draw(TRAILERS) + b"\r\n", b"".join(contents)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


PLACES = st.lists(st.integers(0, 400), max_size=8)


@given(body=bodies(), places=PLACES, lenient=st.booleans())
def test_it_is_the_same_wherever_it_is_cut(body: tuple[bytes, bytes], places: list[int], lenient: bool) -> None:
    sent, content = body

    assert decoded(*cut(sent, places), lenient=lenient) == content


@given(contents=CONTENTS, places=PLACES, lenient=st.booleans())
def test_what_is_encoded_is_decoded(contents: list[bytes], places: list[int], lenient: bool) -> None:
    assert decoded(*cut(chunked(*contents), places), lenient=lenient) == b"".join(contents)


SCRAPS = st.lists(
    st.sampled_from(
        [b"0", b"3", b"a", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"abc", b" ", b";", b"X: y", b":", b"\0", b"f" * 9]
    ),
    max_size=12,
).map(b"".join)


@given(
    sent=SCRAPS | st.builds(lambda start, scraps: start + scraps, st.just(b"3\r\nabc\r\n0\r\n"), SCRAPS), places=PLACES
)
@pytest.mark.parametrize("lenient", [False, True])
def test_whatever_comes_is_taken_or_refused_the_same_wherever_it_is_cut(
    sent: bytes, places: list[int], lenient: bool
) -> None:
    def outcome(pieces: list[bytes]) -> tuple[str, bytes, bytes]:
        coding = Chunked(lenient=lenient, max_line=20, max_trailers=2)
        content = rest = b""
        for piece in pieces:
            if coding.ended:
                rest += piece
                continue
            try:
                came, rest = coding.feed(piece)
            except BrokenFramingError:
                return "broken", b"", b""
            content += b"".join(came)
        return ("ended" if coding.ended else "open"), content, rest

    assert outcome(cut(sent, places)) == outcome([sent])


@given(sent=SCRAPS, places=PLACES)
def test_what_is_taken_strictly_is_taken_leniently_and_reads_the_same(sent: bytes, places: list[int]) -> None:
    strict, lenient = Chunked(lenient=False), Chunked(lenient=True)
    for piece in cut(sent, places):
        try:
            taken = strict.feed(piece)
        except BrokenFramingError:
            return
        assert lenient.feed(piece) == taken
        if strict.ended:
            break
    assert strict.ended is lenient.ended
