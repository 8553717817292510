"""Whatever known text is in another one, is among the candidates; and nothing is kept of what is forgotten."""

from hashlib import sha256

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.telemetry.secret_index import SecretIndex

_TEXTS = st.text("abé\ud800", min_size=1, max_size=40)


@given(
    known=st.lists(_TEXTS, max_size=5),
    forgotten=st.lists(_TEXTS, max_size=5),
    around=st.lists(_TEXTS | st.sampled_from(["", "a" * 4_000]), min_size=6, max_size=6),
)
def test_every_known_text_is_found_wherever_it_stands(
    known: list[str], forgotten: list[str], around: list[str]
) -> None:
    index: SecretIndex[str] = SecretIndex()
    for one in known + forgotten:
        index.insert(one, one)
    for one in forgotten:
        index.remove(one, one)
    text = "".join(before + one for before, one in zip(around, [*known, *forgotten, ""], strict=False))
    assert {one for one in known if one in text} <= set(index.candidates(text)) <= set(known)


@given(known=st.lists(st.text("abé", min_size=1, max_size=20), min_size=15, max_size=40, unique=True), before=_TEXTS)
def test_many_short_texts_are_found_as_well_as_a_few(known: list[str], before: str) -> None:
    index: SecretIndex[str] = SecretIndex()
    for one in known:
        index.insert(one, one)
    for one in known:
        text = f"{before}{one}{before}"
        assert {each for each in known if each in text} <= set(index.candidates(text)) <= set(known)


@given(texts=st.lists(_TEXTS))
@example(texts=[f"{number}-of-the-same-series" for number in range(40)] * 2)
def test_what_is_removed_leaves_nothing_behind(texts: list[str]) -> None:
    index: SecretIndex[str] = SecretIndex()
    for one in texts:
        index.insert(one, one)
    assert (len(index) > 0) == bool(texts)
    for one in texts:
        index.remove(one, one)
    assert len(index) == 0


@given(beginning=_TEXTS, end=st.text("abc", min_size=1, max_size=30))
def test_a_text_is_found_by_its_end(beginning: str, end: str) -> None:
    index: SecretIndex[str] = SecretIndex()
    index.insert(beginning + end, end)
    assert set(index.candidates("b" + end + "b")) == {beginning + end}


def test_texts_that_only_begin_alike_are_not_candidates() -> None:
    index: SecretIndex[str] = SecretIndex()
    texts = [f"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{sha256(b'%d' % number).hexdigest()}" for number in range(1_000)]
    for text in texts:
        index.insert(text, text)
    assert all(set(index.candidates(f"x{text}y")) == {text} for text in texts)
    assert not index.candidates("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.something-else")


def test_of_many_that_end_alike_each_is_added_and_removed_without_looking_at_the_others() -> None:
    compared = 0

    class Text(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    index: SecretIndex[Text] = SecretIndex()
    texts = [Text(f"{number}-of-the-same-series") for number in range(1_000)]
    for text in texts:
        index.insert(text, text)
    assert set(index.candidates(f"x{texts[500]}y")) == set(texts)
    compared = 0
    for text in texts[:-1]:
        index.remove(text, text)
    assert compared < 50 * len(texts)
    assert set(index.candidates(f"x{texts[-1]}y")) == {texts[-1]}
