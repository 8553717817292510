"""Packed bodies come out as they went in, whatever their chunks; what is broken is told, and a bomb costs no memory."""

import gzip
import io
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.links.unpacking import PIECE_SIZE, BrokenEncoding, Unpacker, can_unpack, is_packed, unpack

TEXT = b'{"href":"https:\\/\\/demo.api2.myshoprenter.hu\\/api"}' * 100


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def identity(data: bytes) -> bytes:
    return data


PACKERS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"x-gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"identity", identity),
]


def unpacked(coding: bytes, chunks: Iterable[bytes]) -> bytes:
    unpacker = Unpacker(coding)
    pieces = [piece for chunk in chunks for piece in unpacker.feed(chunk)]
    unpacker.finish()
    assert all(0 < len(piece) <= PIECE_SIZE for piece in pieces)
    return b"".join(pieces)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (b"gzip", True),
        (b"GZip", True),
        (b" gzip\t", True),
        (b"x-gzip", True),
        (b"deflate", True),
        (b"identity", True),
        (b"", True),
        (b"br", False),
        (b"zstd", False),
        (b"compress", False),
        (b"gzip, gzip", False),
        (b"identity, gzip", False),
        (b"gzip,", False),
        (b"gzip;q=1", False),
        (b"gz", False),
        (b"\xff", False),
    ],
)
def test_one_known_coding_alone_can_be_unpacked(value: bytes, known: bool) -> None:
    assert can_unpack(value) == known
    if known:
        Unpacker(value)
    else:
        with pytest.raises(ValueError, match="only gzip"):
            Unpacker(value)


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (b"gzip", True),
        (b" Deflate", True),
        (b"br", True),
        (b"gzip, identity", True),
        (b"", False),
        (b" Identity ", False),
    ],
)
def test_what_is_packed_is_told_from_what_is_not(value: bytes, packed: bool) -> None:
    assert is_packed(value) == packed


@pytest.mark.parametrize(("coding", "pack"), PACKERS)
@pytest.mark.parametrize("data", [b"", b"a", TEXT, bytes(3 * PIECE_SIZE), bytes(range(256)) * 1024])
def test_a_body_comes_out_as_it_went_in(coding: bytes, pack: Callable[[bytes], bytes], data: bytes) -> None:
    packed = pack(data)

    assert unpacked(coding, [packed]) == data
    assert unpacked(coding, bytewise(packed)) == data
    assert unpack(packed, coding, limit=len(data)) == data
    assert data == b"" or unpack(packed, coding, limit=len(data) - 1) is None


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"identity", b""])
def test_no_byte_at_all_is_an_empty_body(coding: bytes) -> None:
    assert unpacked(coding, []) == b""
    assert unpacked(coding, [b"", b""]) == b""


def test_what_has_come_is_not_kept_for_what_comes() -> None:
    data = bytes(2 * PIECE_SIZE + 999)
    packed = zlib.compress(data)

    for end in range(len(packed)):
        came = b"".join(Unpacker(b"deflate").feed(packed[:end]))
        assert len(came) == len(zlib.decompressobj().decompress(packed[:end]))


def test_the_members_of_a_gzip_body_follow_one_another() -> None:
    packed = gzip.compress(b"one, ") + gzip.compress(b"") + gzip.compress(b"two")

    assert unpacked(b"gzip", [packed]) == b"one, two"
    assert unpacked(b"gzip", bytewise(packed)) == b"one, two"


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 600, b"\x8b", b"\r\n", b"garbage" * 10_000])
@pytest.mark.parametrize(("coding", "pack"), PACKERS[:-1])
def test_what_follows_the_end_is_dropped(coding: bytes, pack: Callable[[bytes], bytes], garbage: bytes) -> None:
    packed = pack(TEXT) + garbage

    assert unpacked(coding, [packed]) == TEXT
    assert unpacked(coding, [pack(TEXT), garbage, gzip.compress(b"no member any more")]) == TEXT
    assert unpacked(coding, bytewise(packed[:2000])) == TEXT


def test_after_deflate_there_is_no_second_stream() -> None:
    assert unpacked(b"deflate", [zlib.compress(b"one") + zlib.compress(b"two")]) == b"one"


@pytest.mark.parametrize(("coding", "pack"), PACKERS[:-1])
def test_a_body_that_ends_early_is_told_wherever_it_is_cut(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)

    for end in range(1, len(packed)):
        unpacker = Unpacker(coding)
        got = b"".join(unpacker.feed(packed[:end]))
        with pytest.raises(BrokenEncoding, match=rf"ends before its {coding.decode()} stream"):
            unpacker.finish()
        assert TEXT.startswith(got)


def test_a_second_member_that_ends_early_is_told_too() -> None:
    unpacker = Unpacker(b"gzip")

    assert b"".join(unpacker.feed(gzip.compress(b"one") + gzip.compress(b"two")[:-1])) == b"onetwo"
    with pytest.raises(BrokenEncoding, match="ends before"):
        unpacker.finish()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", b"not packed at all"),
        (b"gzip", zlib.compress(TEXT)),
        (b"gzip", gzip.compress(TEXT)[:-8] + bytes(8)),
        (b"gzip", gzip.compress(TEXT) + b"\x1f\x8bnot a member"),
        (b"gzip", gzip.compress(TEXT) + b"\x1fnot a member"),
        (b"deflate", b"not packed at all"),
        (b"deflate", gzip.compress(TEXT)),
        (b"deflate", zlib.compress(TEXT)[:-4] + bytes(4)),
        (b"deflate", zlib.compress(TEXT)[:2] + b"\xff" * 20),
    ],
)
def test_a_body_that_is_not_what_it_is_said_to_be_is_told(coding: bytes, packed: bytes) -> None:
    for chunks in ([packed], bytewise(packed)):
        with pytest.raises(
            BrokenEncoding, match=rf"is not valid {coding.decode()}, although its Content-Encoding says so"
        ):
            unpacked(coding, chunks)


@pytest.mark.parametrize(("coding", "pack"), PACKERS[:-1])
def test_a_bomb_costs_no_memory(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    size = 64 << 20
    bomb = pack(bytes(size))
    assert len(bomb) < size // 500
    unpacker = Unpacker(coding)
    came = 0

    tracemalloc.start()
    try:
        for piece in unpacker.feed(bomb):
            came += len(piece)
            assert len(piece) <= PIECE_SIZE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    unpacker.finish()

    assert came == size
    assert peak < 8 * PIECE_SIZE


def test_a_large_chunk_is_not_copied_for_every_piece() -> None:
    chunk = gzip.compress(random.randbytes(4 << 20))
    unpacker = Unpacker(b"gzip")

    tracemalloc.start()
    try:
        assert sum(map(len, unpacker.feed(chunk))) == 4 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * PIECE_SIZE


def test_pieces_come_one_by_one_as_they_are_asked_for() -> None:
    pieces = Unpacker(b"gzip").feed(gzip.compress(bytes(1 << 20)) + b"\x1f\x8bbroken")

    assert sum(len(next(pieces)) for _ in range(16)) == 1 << 20
    with pytest.raises(BrokenEncoding):
        next(pieces)


# Of letters and of chance: the one packs well, the other not at all; and over the size of a piece.
_DATA = st.one_of(
    st.binary(max_size=500),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=40), st.integers(1, 5000)),
)
_MEMBERS = st.lists(_DATA, min_size=1, max_size=3)
_CUTS = st.lists(st.integers(0, 3000), max_size=10).map(sorted)


def chunked(body: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*cuts, max(len(body), *cuts, 0)]
    return [body[start:end] for start, end in zip([0, *cuts], ends, strict=True)]


@given(_DATA, _CUTS, st.sampled_from(PACKERS), st.binary(max_size=3))
def test_any_body_in_any_chunks_comes_out_as_it_went_in(
    data: bytes, cuts: list[int], packer: tuple[bytes, Callable[[bytes], bytes]], rest: bytes
) -> None:
    coding, pack = packer
    if coding == b"identity" or rest.startswith(b"\x1f"):
        rest = b""

    assert unpacked(coding, chunked(pack(data) + rest, cuts)) == data


@given(_MEMBERS, _CUTS)
def test_any_members_in_any_chunks_come_out_as_the_library_has_them(members: list[bytes], cuts: list[int]) -> None:
    packed = b"".join(map(gzip.compress, members))

    assert unpacked(b"gzip", chunked(packed, cuts)) == gzip.GzipFile(fileobj=io.BytesIO(packed)).read()


@given(st.binary(max_size=60), _CUTS, st.sampled_from([b"gzip", b"deflate"]))
@example(b"\x1f\x8b\x08\x00", [1], b"gzip")
@example(b"\x78", [], b"deflate")
@example(b"\x03\x00", [1], b"deflate")
def test_chunks_make_no_difference_to_whether_a_body_is_broken(body: bytes, cuts: list[int], coding: bytes) -> None:
    assert outcome(coding, chunked(body, cuts)) == outcome(coding, [body])


def outcome(coding: bytes, chunks: list[bytes]) -> bytes | str:
    try:
        return unpacked(coding, chunks)
    except BrokenEncoding as error:
        return str(error)
