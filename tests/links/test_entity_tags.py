"""Entity tags are read as RFC 9110 §8.8.3 writes them: what stands within one is never taken for its beginning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.links.entity_tags import in_both_forms, strong_alone, tags_of, weakened


@pytest.mark.parametrize(
    ("etag", "weak"),
    [
        (b'"abc"', b'W/"abc"'),
        (b'""', b'W/""'),
        (b'W/"abc"', b'W/"abc"'),
        (b'"W/"', b'W/"W/"'),
        (b'"a, b"', b'W/"a, b"'),
        (b"abc", b"W/abc"),
        (b"", b""),
        (b'"abc', b'"abc'),
        (b'"a" "b"', b'"a" "b"'),
    ],
)
def test_a_tag_is_weakened_once(etag: bytes, weak: bytes) -> None:
    assert weakened(etag) == weak
    assert weakened(weak) == weak


@pytest.mark.parametrize(
    ("value", "strong", "both"),
    [
        (b'"a"', b'"a"', b'"a"'),
        (b'W/"a"', b'"a"', b'W/"a", "a"'),
        (b'W/"a", "b"', b'"a", "b"', b'W/"a", "a", "b"'),
        (b'"b",W/"a" ,  W/"c"', b'"b","a" ,  "c"', b'"b",W/"a", "a" ,  W/"c", "c"'),
        (b'W/"a", "a"', b'"a", "a"', b'W/"a", "a"'),
        (b'"q1fYW/"', b'"q1fYW/"', b'"q1fYW/"'),
        (b'"xW/", "y"', b'"xW/", "y"', b'"xW/", "y"'),
        (b'W/"xW/"', b'"xW/"', b'W/"xW/", "xW/"'),
        (b'"a,W/", W/"b"', b'"a,W/", "b"', b'"a,W/", W/"b", "b"'),
        (b"*", b"*", b"*"),
        (b"W/abc, def", b"abc, def", b"W/abc, abc, def"),
        (b' , W/"a",,', b' , "a",,', b' , W/"a", "a",,'),
        (b"", b"", b""),
        # No lists of tags.
        (b'w/"a"', b'w/"a"', b'w/"a"'),
        (b'W/"a" "b"', b'W/"a" "b"', b'W/"a" "b"'),
        (b'W/"a", "b', b'W/"a", "b', b'W/"a", "b'),
        (b'x W/"a"', b'x W/"a"', b'x W/"a"'),
    ],
)
def test_tags_of_a_condition_are_those_that_the_platform_may_know(value: bytes, strong: bytes, both: bytes) -> None:
    assert strong_alone(value) == strong
    assert in_both_forms(value) == both


_OPAQUE = st.text("aW/, *-é", max_size=6).map(lambda text: f'"{text}"'.encode())
_TAGS = st.lists(st.tuples(st.sampled_from([b"", b"W/"]), _OPAQUE), min_size=1, max_size=5)


@given(_TAGS)
def test_any_tags_come_through(tags: list[tuple[bytes, bytes]]) -> None:
    value = b", ".join(weak + opaque for weak, opaque in tags)

    assert tags_of(value) == [weak + opaque for weak, opaque in tags]
    assert tags_of(strong_alone(value)) == [opaque for _, opaque in tags]
    assert set(tags_of(in_both_forms(value))) == {weak + opaque for weak, opaque in tags} | {tag for _, tag in tags}


def test_a_long_list_that_is_none_is_told_soon() -> None:
    value = b"W/a," * 20_000 + b'"'

    assert strong_alone(value) == value
