"""Links that look alike are replaced at once, and what comes out is what one would make of them one by one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.links import finder
from proxy.links.finder import Finder
from proxy.links.forms import PERCENT, TEXT
from tests.links.rewriting import FORMS, Links, reference, write

# On one host two prefixes, one the longer: as a platform has them that moved its API to a path.
SOURCES = ("https://demo.example/api", "https://demo.old.example/api", "https://demo.old.example")
IN_TEXTS = Links(SOURCES, FORMS)
TARGETS = [
    *("http://proxy/demo", "https://demo.old.example", "https://demo.example/api", "http://demo.exam/http"),
    *("http://demo.example:8080/api", "http://demo.example:443/api/v2", "https://demo.old.example:80/x"),
]


def replaced(text: bytes, target: str) -> bytes:
    links = Finder(SOURCES, [TEXT, PERCENT])
    return links.replace(text, links.target(target), around=b"\n")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "text",
    [
        b'["%b/x","%b/y","%b/z"]'
        % (b"https://demo.example/api", b"https://demo.example/api", b"https://demo.example/api"),
        b'["https://demo.old.example/x","https://demo.old.example/api/x","https://demo.old.example/y"]',
        b'["https://demo.old.example/api/x","https://demo.old.example/x","https://demo.old.example/api"]',
        b"[\"https://demo.example/api/x\",https://demo.example/api/y,'https://demo.example/api/z']",
        b'["https://demo.example/api/x","https://demo.example/apis","https://demo.example/api"]',
        b'"https://demo.example/api""https://demo.example/api""https://demo.example/api"',
        b'"https://demo.example/api\\/x" "https://demo.example/api\\u003Ax" "https://demo.example/api\\u002Fx"',
        b'"https://demo.example/api&amp;" "https://demo.example/api&colon;" "https://demo.example/api&#47;"',
        rb'"https:\u002F\u002Fdemo.example\u002Fapi\u002Fx" "https:\u002F\u002Fdemo.example\u002Fapi\u003Ax"',
        b'"//demo.example/api/x" "https://demo.example/api/x" "//demo.example/api/y" a//demo.example/api/z',
        b"u=https%3A%2F%2Fdemo.example%2Fapi%2Fx&v=https%3A%2F%2Fdemo.example%2Fapi&w=//demo.example/api/",
        b'"https://DEMO.example/api/x" "https://demo.example/api/x" "demo.example"',
        b'"https://demo.old.example\\u003A\\u002F\\u002Fdemo.example\\u002Fapi"',
        b"https://demo.example/api",
        b"",
    ],
)
def test_it_is_what_the_slow_rewriter_makes_of_it(text: bytes, target: str) -> None:
    assert replaced(text, target) == reference(text, IN_TEXTS, target)


_LINKS = [
    write(f"{url}{rest}", colon, slash)
    for colon, slash in FORMS[:40:3] + FORMS[-9::4]
    for url in (*SOURCES, "//demo.example/api", "//demo.old.example")
    for rest in ("", "/x", "s", ":81/")
]
_BETWEEN = [b'"', b'","', b" ", b"<", b">", b"a", b"\\n", b"%22", b"&quot;", b"\\u003A", b"demo.", b"=", b"?"]


@given(
    st.lists(st.sampled_from(_LINKS), min_size=1, max_size=3).flatmap(
        lambda few: st.lists(st.sampled_from(few + _BETWEEN), max_size=30)
    ),
    st.sampled_from(TARGETS),
)
@example([b'"', b"https://demo.old.example/x", b'"', b"https://demo.old.example/api/x"], TARGETS[0])
def test_however_many_look_alike(pieces: list[bytes], target: str) -> None:
    text = b"".join(pieces)

    assert replaced(text, target) == reference(text, IN_TEXTS, target)


def test_most_links_are_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    links = Finder(SOURCES, [TEXT])
    monkeypatch.setattr(finder.Finder, "_each_replaced", None)  # would be an error
    for link, kind in [(rb"https:\/\/demo.example\/api", "%b\\/x"), (b"//demo.old.example/api", "%b?x")]:
        page = b'["%b","%b"]' % (kind.encode(), kind.encode()) % (link, link)

        assert b"demo.e" not in links.replace(page, links.target("http://proxy/demo"))


def test_a_host_whose_name_is_all_colons_is_found_too() -> None:
    links = Finder(["http://[::]/api"], [TEXT, PERCENT])

    assert links.replace(b'"http://[::]/api" %2F%2F%5B%3A%3A%5D%2Fapi ', links.target("http://proxy")) == (
        b'"http://proxy" %2F%2Fproxy '
    )
