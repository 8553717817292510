"""The status page as HTML: all that matters is on it, and nothing on it is anything but text."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.page import page
from proxy.admin.report import PAGE_SIZE
from proxy.admin.rows import duration
from proxy.admin.sources import ProcessNow, ShopNow
from proxy.telemetry.metrics import SharedMetrics
from proxy.telemetry.problems import Problem
from tests.admin.shops import GOOD, NOW, PROBLEM, PROCESS, REFUSED, UNREACHABLE, minutes, shop
from tests.admin.shops import shown as wanted

NASTY = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Reads a page: which elements it has, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(*shops: ShopNow, number: int = 1, process: ProcessNow = PROCESS, **more: Any) -> str:
    return "".join(page(wanted(*shops, process=process, page=number, **more), now=NOW))


def text(html: str) -> str:
    return " ".join(Reader(html).text.split())


def test_a_refused_shop_says_why_and_how_to_fix_it() -> None:
    said = text(shown(shop(token=REFUSED, problem=PROBLEM, minutes=minutes((12, 12, 0)))))

    assert "✕ Refused" in said
    assert "The credentials are refused. status 401: invalid_client" in said
    assert "To fix it: look at demo's secret." in said
    assert "Next attempt in 42 s." in said
    assert "75 s ago upstream_timeout The shop's API did not answer in time." in said


def test_an_old_token_that_still_serves_is_told() -> None:
    said = text(shown(shop(token=UNREACHABLE)))

    assert "! Unreachable" in said
    assert "9 min" in said
    assert "The old token still works. Next attempt in 7 s." in said
    assert "To fix it" not in said


def test_a_sentence_is_not_said_twice() -> None:
    html = shown(shop(token=REFUSED, problem=Problem("token_refused", REFUSED.detail, NOW - 5)))

    assert html.count(REFUSED.detail) == 1


def test_what_others_wrote_is_text() -> None:
    token = REFUSED._replace(detail=NASTY, reason=NASTY)
    problem = Problem(NASTY, NASTY, NOW)
    process = PROCESS._replace(version=NASTY)
    html = shown(shop(NASTY, platform=NASTY, token=token, fix=NASTY, problem=problem), query="script", process=process)

    assert Reader(html).elements.count("script") == 1  # the page's own
    assert text(html).count("<script>alert(1)</script>") >= 6


@given(st.text(max_size=50))
def test_whatever_is_looked_for_makes_no_element(query: str) -> None:
    plain, looked_for = Reader(shown(shop(), query="no such shop")), Reader(shown(shop(), query=f"zz{query}"))

    assert looked_for.elements == plain.elements


def test_nothing_stands_in_the_page_that_the_content_security_policy_forbids() -> None:
    html = shown(*(shop(f"s{n}", token=REFUSED, minutes=minutes((3, 1, 1))) for n in range(250)))
    reader = Reader(html)

    assert "style" not in reader.elements
    assert not [name for name, _ in reader.attributes if name == "style" or name.startswith("on")]
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not [
        value for name, value in reader.attributes if name in ("src", "href") and not str(value).startswith("/")
    ]


@pytest.mark.parametrize(("count", "query", "hidden"), [(10, "", True), (11, "", False), (1, "x", False)])
def test_there_is_a_box_to_find_a_shop_when_there_are_many(count: int, query: str, hidden: bool) -> None:
    html = shown(*(shop(f"s{n}") for n in range(count)), query=query)

    assert ('method="get" hidden' in html) is hidden


def test_many_shops_have_pages_that_keep_what_was_looked_for() -> None:
    html = shown(*(shop(f"s&{n}") for n in range(2 * PAGE_SIZE + 1)), query="s& o", number=2)
    html_all = shown(*(shop(f"s{n}") for n in range(2 * PAGE_SIZE + 1)), number=2)

    assert 'href="/status?q=s%26+o&amp;page=1"' in html
    assert 'href="/status?q=s%26+o&amp;page=3"' in html
    assert 'href="/status?page=1"' in html_all
    assert "Page 2 of 3: 201 shops" in text(html)
    assert "<nav" not in shown(shop())


def test_those_in_trouble_are_shown_alone_on_request() -> None:
    shops = [shop("fine", token=GOOD), *(shop(f"refused-{n:03}", token=REFUSED) for n in range(PAGE_SIZE + 1))]
    every, troubled = shown(*shops, query="shop"), shown(*shops, query="shop", troubled=True)

    assert '<a id="trouble" href="/status?q=shop&amp;trouble=1">101</a>' in every
    assert '101 <a id="all" href="/status?q=shop">Show all</a>' in troubled
    assert '<input type="hidden" name="trouble" value="1">' in troubled
    assert 'href="/status?q=shop&amp;trouble=1&amp;page=2"' in troubled
    assert "Page 1 of 2: 101 shops" in text(troubled)
    assert "No shop is in trouble." in text(shown(shop(), troubled=True))
    assert "No shop in trouble is called “x”." in text(shown(shop(token=REFUSED), troubled=True, query="x"))
    assert "<a id=" not in shown(shop())


def test_the_title_tells_how_many_are_in_trouble() -> None:
    assert "<title>(1) Shop Auth Proxy</title>" in shown(shop(token=REFUSED), shop("fine", token=GOOD))
    assert "<title>Shop Auth Proxy</title>" in shown(shop(token=GOOD))


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (PROCESS, "Serving"),
        (PROCESS._replace(phase="draining"), "Stopping"),
        (PROCESS._replace(last_reload_successful=False), "Configuration Has problems"),
        (PROCESS._replace(shared=SharedMetrics(replicas=3)), "Replicas 3"),
        (PROCESS._replace(shared=SharedMetrics(replicas=3, away=True)), "Replicas 3, each on its own: no Redis"),
        (PROCESS._replace(shared=SharedMetrics(replicas=3, away=True, why="<full>")), "own: no Redis (<full>)"),
        (PROCESS._replace(shared=SharedMetrics(replicas=3, deaf="<no>")), "Replicas 3; can't hear each other: <no>"),
    ],
)
def test_it_says_how_the_process_is(process: ProcessNow, words: str) -> None:
    html = shown(shop(), process=process).replace("<dd>", " <dd>").replace("<div", " <div")

    assert words in text(html)


def test_an_empty_page_says_so() -> None:
    assert "No shop yet." in text(shown())
    assert "No shop is called “x”." in text(shown(shop(), query="x"))


def test_the_rest_of_the_wildcard_entry_is_named() -> None:
    said = text(shown(shop("*", token=None)))

    assert "Every other shop shoprenter" in said
    assert "One for each" in said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1.0, "0 s"),
        (119.9, "119 s"),
        (120.0, "2 min"),
        (7199.0, "119 min"),
        (7200.0, "2 h"),
        (12_000.0, "3 h 20 min"),
        (172_799.0, "47 h 59 min"),
        (172_800.0, "2 d"),
        (31_536_000.0, "365 d"),
        (180_000.0, "2 d 2 h"),
    ],
)
def test_times_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words
