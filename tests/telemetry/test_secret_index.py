"""Known texts are found wherever they are, the longest at each place, and only as long as they are known."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.secret_index import SecretIndex

_TEXTS = st.text("ab", min_size=1, max_size=12)


@given(known=st.lists(_TEXTS), forgotten=st.lists(_TEXTS), text=st.text("ab", max_size=40), end=st.integers(0, 45))
def test_it_finds_what_a_plain_search_finds(known: list[str], forgotten: list[str], text: str, end: int) -> None:
    index = SecretIndex()
    for one in known + forgotten:
        index.insert(one)
    for one in forgotten:
        index.remove(one)
    expected = []
    for start in range(min(end, len(text))):
        lengths = [len(one) for one in known if text.startswith(one, start)]
        if lengths:
            expected.append((start, start + max(lengths)))
    longest: dict[int, int] = {}
    for start, stop in index.find(text, end):
        longest[start] = max(stop, longest.get(start, 0))
    assert sorted(longest.items()) == expected
    assert len(index) == len(set(known))
