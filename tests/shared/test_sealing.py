"""What is sealed can be read in its own place, with a key that is known, and as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.shared.sealing import ForeignKey, Plain, Sealed, Unreadable

OLD, NEW = b"o" * 32, b"n" * 32


@given(content=st.binary(max_size=100), place=st.binary(max_size=40))
def test_what_is_sealed_is_read_in_its_own_place(content: bytes, place: bytes) -> None:
    assert Sealed([NEW]).open(Sealed([NEW]).seal(content, place), place) == content


def test_nothing_of_the_content_shows_and_no_two_are_alike() -> None:
    sealer = Sealed([NEW])

    first, second = (sealer.seal(b"live-token-of-the-shop", b"place") for _ in range(2))

    assert b"token" not in first
    assert first != second


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda sealed: (sealed, b"another place"), "moved here"),
        (lambda sealed: (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"place"), "damaged"),
        (lambda sealed: (sealed[:20], b"place"), "damaged"),
        (lambda sealed: (sealed[:4], b"place"), "damaged"),
        (lambda sealed: (b"", b"place"), "a key that is not in"),
        (lambda sealed: (b"plainlive-token", b"place"), "a key that is not in"),
    ],
)
def test_what_was_moved_or_changed_is_refused(change: object, why: str) -> None:
    sealer = Sealed([NEW])
    sealed, place = change(sealer.seal(b"live-token", b"place"))  # type: ignore[operator]

    with pytest.raises(Unreadable, match=why) as caught:
        sealer.open(sealed, place)
    assert "live-token" not in str(caught.value)


def test_keys_are_changed_one_replica_after_the_other() -> None:
    before, adding, turned = Sealed([OLD]), Sealed([OLD, NEW]), Sealed([NEW, OLD])

    for writer, readers in ((before, [before, adding, turned]), (adding, [before, turned]), (turned, [adding])):
        sealed = writer.seal(b"content", b"place")
        assert [reader.open(sealed, b"place") for reader in readers] == [b"content"] * len(readers)
    with pytest.raises(ForeignKey, match=r"not in shared\.encryption_key"):
        before.open(turned.seal(b"content", b"place"), b"place")


def test_plain_text_is_marked_so_that_nothing_sealed_is_taken_for_it() -> None:
    assert Plain().open(Plain().seal(b"content", b"place"), b"elsewhere") == b"content"
    with pytest.raises(ForeignKey, match="encryption_key is not set here"):
        Plain().open(Sealed([NEW]).seal(b"content", b"place"), b"place")
