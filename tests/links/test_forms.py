"""How a URL prefix stands in each form, and what is found of it."""

import pytest

from proxy.links.forms import PERCENT, TEXT, Form
from proxy.platforms.url_prefix import parse_prefix
from tests.links.rewriting import COLONS, PERCENT_COLONS, PERCENT_FORMS, PERCENT_SLASHES, SLASHES, TEXT_FORMS, write


@pytest.mark.parametrize(
    ("form", "like", "written"),
    [
        (TEXT, b"https://", "http://[::1]:8080/demo"),
        (TEXT, rb"https:\/\/", r"http:\/\/[::1]:8080\/demo"),
        (TEXT, b"https:&#x2F;&#x2F;", "http:&#x2F;&#x2F;[::1]:8080&#x2F;demo"),
        (TEXT, rb"HTTPS\u003a\u002f", r"http\u003a\u002f\u002f[\u003a\u003a1]\u003a8080\u002fdemo"),
        (TEXT, b"", "http://[::1]:8080/demo"),
        (PERCENT, b"https%3A%2F%2F", "http%3A%2F%2F%5B%3A%3A1%5D%3A8080%2Fdemo"),
        (PERCENT, b"https%3a%5c%2f", "http%3A%5C%2F%5C%2F%5B%3A%3A1%5D%3A8080%5C%2Fdemo"),
        (PERCENT, b"https%3A//", "http%3A//%5B%3A%3A1%5D%3A8080/demo"),
        (PERCENT, b"https:%2F%2F", "http:%2F%2F%5B::1%5D:8080%2Fdemo"),
        (PERCENT, b"%2F%2F", "http%3A%2F%2F%5B%3A%3A1%5D%3A8080%2Fdemo"),
    ],
)
def test_a_form_writes_a_prefix_like_a_link(form: Form, like: bytes, written: str) -> None:
    assert form.write("http://[::1]:8080/demo", like=like) == written.encode()


@pytest.mark.parametrize(
    ("form", "pairs", "colons", "slashes"),
    [(TEXT, TEXT_FORMS, COLONS, SLASHES), (PERCENT, PERCENT_FORMS, PERCENT_COLONS, PERCENT_SLASHES)],
)
def test_the_ways_to_write_are_those_that_the_slow_rewriter_of_the_tests_knows(
    form: Form, pairs: list[tuple[str, str]], colons: list[str], slashes: list[str]
) -> None:
    links = form.with_scheme([parse_prefix("http://a.example:81/x")])

    assert all(links.fullmatch(write("http://a.example:81/x", *pair)) is None for pair in pairs)  # nothing ends it
    found = [links.match(write("http://a.example:81/x", *pair) + b"?") for pair in pairs]
    assert [link and (link["colon"], link["slash"]) for link in found] == [
        (colon.encode(), slash.encode()) for colon, slash in pairs
    ]
    assert form.longest("http://a.example:81/x") == len(
        write("http://a.example:81/x", max(colons, key=len), max(slashes, key=len)) + max(colons, key=len).encode()[1:]
    )


def test_of_two_prefixes_the_longer_path_is_found_where_it_is_whole() -> None:
    pattern = TEXT.with_scheme([parse_prefix("http://a.example"), parse_prefix("http://a.example/api")])

    found = [match[0] for match in pattern.finditer(b"http://a.example/api/x http://a.example/apix ")]

    assert found == [b"http://a.example/api", b"http://a.example"]


def test_what_is_escaped_in_no_way_is_no_link_of_a_form_body_s_own() -> None:
    prefix = parse_prefix("http://a.example")

    assert PERCENT.with_scheme([prefix]).search(b"http://a.example%2Fx") is None
    assert PERCENT.without_scheme([prefix]).search(b"//a.example ") is None
    assert PERCENT.without_scheme([prefix]).search(b"%2F%2Fa.example ") is not None


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        *((b"", []), (b"%", [1, 1]), (b"x%", [1, 1]), (b"%2", [2, 2]), (b"%f", []), (b"%7", [2]), (b"%2F", [])),
        *((b"%x", []), (b"2", []), (b"%3", [2, 2]), (b"%26%2", [5, 2]), (b"%26%235", [7]), (b"%5cU00", [6])),
    ],
)
def test_in_a_form_body_the_escape_that_ends_a_url_may_be_cut(text: bytes, sizes: list[int]) -> None:
    assert PERCENT.cut_ends(text) == sizes


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        *((b"", []), (b"\\", [1]), (b"x\\u00", [4]), (b"\\u003", [5]), (b"\\u003a", []), (b"\\u002", []), (b"&", [1])),
        *((b"&#", [2]), (b"&#00", [4]), (b"&#000", []), (b"&colon", [6]), (b"&am", []), (b"%", []), (b"%2", [])),
    ],
)
def test_in_a_text_only_an_escaped_colon_may_be_cut(text: bytes, sizes: list[int]) -> None:
    assert TEXT.cut_ends(text) == sizes
