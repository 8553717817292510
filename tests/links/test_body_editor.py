"""A body comes out the same whole and in pieces; a stream costs bounded memory, and a broken coding is told."""

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.links.answers import Edit
from proxy.links.api_links import ApiLinks
from proxy.links.body_editor import BodyEditor
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import PIECE_SIZE, BrokenEncoding

LINKS = ShopLinks(ApiLinks(["https://demo.example/api"]), b"/api/", "http://proxy/demo")
LINKED = b'{"href":"https:\\/\\/demo.example\\/api\\/products\\/1","price":"1.0000"}'
REWRITTEN = b'{"href":"http:\\/\\/proxy\\/demo\\/products\\/1","price":"1.0000"}'
LIMIT = 1 << 18


def editor(*, coding: bytes = b"", rewrite: bool = True) -> BodyEditor:
    return BodyEditor(LINKS, Edit(unpack=coding != b"", rewrite=rewrite, packed=coding != b""), coding)


def streamed(body_editor: BodyEditor, chunks: list[bytes]) -> bytes:
    pieces = [piece for chunk in chunks for piece in body_editor.feed(chunk)]
    assert all(pieces)
    return b"".join([*pieces, body_editor.finish()])


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"", LINKED),
        (b"gzip", gzip.compress(LINKED, mtime=0)),
        (b" X-GZIP", gzip.compress(LINKED, mtime=0)),
        (b"deflate", zlib.compress(LINKED)),
    ],
)
@pytest.mark.parametrize("rewrite", [True, False])
def test_a_body_comes_out_plain_and_with_its_links_rewritten(coding: bytes, packed: bytes, rewrite: bool) -> None:
    expected = REWRITTEN if rewrite else LINKED
    for edited, out in [
        (whole := editor(coding=coding, rewrite=rewrite), whole.whole(packed, LIMIT)),
        (stream := editor(coding=coding, rewrite=rewrite), streamed(stream, [packed])),
        (bytes_ := editor(coding=coding, rewrite=rewrite), streamed(bytes_, bytewise(packed))),
    ]:
        assert out == expected
        assert edited.changed == rewrite


@pytest.mark.parametrize("body", [b"", b"{}", b'"https://other.example/api"', b'"http://proxy/demo/x"'])
def test_without_a_link_nothing_is_changed(body: bytes) -> None:
    whole, stream = editor(), editor()

    assert whole.whole(body, LIMIT) == streamed(stream, [body]) == body
    assert not whole.changed
    assert not stream.changed


def test_a_stream_tells_when_a_link_was_rewritten() -> None:
    body_editor = editor()

    assert b"".join(body_editor.feed(b'["')) == b'["'
    assert not body_editor.changed
    assert b"".join(body_editor.feed(b"https://demo.example/api")) == b""
    assert not body_editor.changed
    assert body_editor.finish() == b"http://proxy/demo"
    assert body_editor.changed


def test_what_unpacks_to_more_than_can_be_held_is_left_to_be_streamed() -> None:
    body = b" " * LIMIT + b'"https://demo.example/api"'
    packed = gzip.compress(body)
    body_editor = editor(coding=b"gzip")

    assert body_editor.whole(packed, LIMIT) is None
    assert streamed(body_editor, [packed]) == body.replace(b"https://demo.example/api", b"http://proxy/demo")
    assert editor(coding=b"gzip").whole(gzip.compress(b" " * LIMIT), LIMIT) == b" " * LIMIT


WHOLE = gzip.compress(LINKED, mtime=0)


@pytest.mark.parametrize("packed", [b"no gzip", WHOLE[:-9], WHOLE[:12]])
def test_a_broken_coding_is_told(packed: bytes) -> None:
    with pytest.raises(BrokenEncoding):
        editor(coding=b"gzip").whole(packed, LIMIT)
    with pytest.raises(BrokenEncoding):
        streamed(editor(coding=b"gzip"), [packed])


@pytest.mark.parametrize("whole", [True, False])
def test_a_bomb_costs_no_memory(whole: bool) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    body_editor = editor(coding=b"gzip")

    tracemalloc.start()
    try:
        if whole:
            assert body_editor.whole(bomb, LIMIT) is None
        else:
            assert sum(map(len, body_editor.feed(bomb))) == 64 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * PIECE_SIZE + LIMIT


@given(st.lists(st.sampled_from([LINKED, b"x", b'"https://demo.example/ap', b"i", b"\n"])), st.integers(1, 99))
def test_chunks_make_no_difference(parts: list[bytes], size: int) -> None:
    body = b"".join(parts) + random.Random(size).randbytes(9)
    packed = gzip.compress(body)

    expected = editor().whole(body, LIMIT)

    assert streamed(editor(), [body[at : at + size] for at in range(0, len(body), size)]) == expected
    assert streamed(editor(coding=b"gzip"), [packed[at : at + size] for at in range(0, len(packed), size)]) == expected
