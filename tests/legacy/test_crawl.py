"""An application that starts at the products and follows every link it finds stays on its way through the proxy."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from proxy.simulator.calls import Call, split_target
from proxy.simulator.catalogue import Catalogue
from proxy.simulator.server import Counts
from proxy.simulator.shoprenter_api import ShoprenterApi
from proxy.simulator.shoprenter_format import write
from proxy.simulator.tokens import Grant
from tests.legacy.shops import (
    API_URL,
    OLD_API_URL,
    OLD_HOST,
    LegacyShop,
    assert_signed_in_with_one_token,
    legacy_shop,
)
from tests.peers import Answer, RawClient, connected

PRODUCTS = 200  # with their descriptions, manufacturers and pages there is more to find than is looked for
GOAL = 500  # resources
CONNECTIONS = 4
ANY_SHOP_API = re.compile(r"https?://[^/\"'<>\]\s]*(?:shoprenter\.hu|127\.0\.0\.1)[^/\"'<>\]\s]*(?:/demo\b)?")


@dataclass(slots=True)
class Crawler:
    """An application whose `Host` is `host`, and which takes all links for its own that begin with `base`."""

    host: str
    base: str
    as_json: bool
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The origin of the base: what a request target begins after."""
        return re.match(r"http://[^/]*", self.base)[0]  # type: ignore[index]

    async def crawl(self, port: int) -> None:
        """Follow links until there are enough answers, each of them a 200, or no link is left."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(port)) for _ in range(CONNECTIONS)]
            found = [f"{self.base}/products"]
            while found and len(self.answers) < GOAL:
                urls = found[: GOAL - len(self.answers)]
                shares = [self._fetch(client, urls[place::CONNECTIONS]) for place, client in enumerate(clients)]
                await asyncio.gather(*shares)
                links = itertools.chain.from_iterable(self.links(self.answers[url]) for url in urls)
                found = [link for link in dict.fromkeys(links) if link not in self.answers]

    async def _fetch(self, client: RawClient, urls: list[str]) -> None:
        for url in urls:
            answer = await client.ask(self._request(url))
            assert answer.status == 200, f"{url}: {answer.head!r}"
            self.answers[url] = answer

    def _request(self, url: str) -> bytes:
        assert url.startswith(f"{self.base}/"), f"this link leads away from {self.base}: {url}"
        accept = "Accept: application/json\r\n" if self.as_json else ""
        return f"GET {url.removeprefix(self.root)} HTTP/1.1\r\nHost: {self.host}\r\n{accept}\r\n".encode()

    def links(self, answer: Answer) -> Iterator[str]:
        """The links in an answer, as an application finds them: every `href`."""
        if self.as_json:
            return _hrefs(json.loads(answer.body))
        tree = ElementTree.fromstring(answer.body)  # noqa: S314 - our own simulator's
        return (element.text for element in tree.iter("href") if element.text)


def _hrefs(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_hrefs, value))
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "href":
                yield inner
            else:
                yield from _hrefs(inner)


def as_the_platform_would_answer_here(target: str, base: str, *, as_json: bool) -> bytes:
    """What the platform would say if its API were at `base`: the same, and only the links are others."""
    api = ShoprenterApi(Catalogue(PRODUCTS, seed=1), Counts(), (f"{base}/",))
    segments, query = split_target(target)
    status, data = api.answer("demo", Call("GET", segments, query, {}), Grant("demo-id", "demo", None, 1.0))
    assert (status, data is not None) == (200, True)
    return write(data or {}, as_json=as_json)[0]


def assert_only_the_links_were_changed(crawler: Crawler) -> None:
    """Each answer can be read as it is, and says what the platform said."""
    assert len(crawler.answers) == GOAL
    assert not any(answer.values(b"Content-Encoding") for answer in crawler.answers.values())
    # Also those that are no `href`: in texts, in whatever form.
    bodies = "".join(answer.body.decode() for answer in crawler.answers.values()).replace("\\/", "/")
    assert set(ANY_SHOP_API.findall(bodies)) == {crawler.base}
    # A link that only looks like one of ours.
    assert "https://demo.example/" in bodies
    for url, answer in crawler.answers.items():
        target = url.removeprefix(crawler.base)
        expected = as_the_platform_would_answer_here(target, crawler.base, as_json=crawler.as_json)
        if crawler.as_json:
            assert json.loads(answer.body) == json.loads(expected)
        else:
            assert answer.body == expected


def assert_asked_for_in_gzip(site: LegacyShop, *, compress: bool) -> None:
    """Whatever the application accepts: this hop is the long one, and the proxy can unpack it."""
    assert site.platform.counts.compressed == (GOAL if compress else 0)
    calls = list(site.platform.api_requests)
    assert len(calls) == GOAL
    assert all(b"gzip" in b",".join(call.header_values("Accept-Encoding")) for call in calls)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("as_json", [False, True], ids=["XML", "JSON"])
async def test_a_crawl_never_leaves_the_proxy(tmp_path: Path, as_json: bool, compress: bool) -> None:
    async with legacy_shop(tmp_path, compress=compress, products=PRODUCTS) as site:
        host = f"127.0.0.1:{site.proxy.port}"
        crawler = Crawler(host, f"http://{host}/demo", as_json)
        await crawler.crawl(site.proxy.port)

    assert_only_the_links_were_changed(crawler)
    assert_signed_in_with_one_token(site)
    assert_asked_for_in_gzip(site, compress=compress)


@pytest.mark.parametrize(
    ("as_json", "compress", "links"),
    [(False, True, API_URL), (True, False, OLD_API_URL)],
    ids=["XML in gzip, new links", "JSON, old links"],
)
async def test_a_crawl_from_an_old_host_stays_there(tmp_path: Path, as_json: bool, compress: bool, links: str) -> None:
    async with legacy_shop(tmp_path, links=links, compress=compress, products=PRODUCTS) as site:
        crawler = Crawler(OLD_HOST, f"http://{OLD_HOST}", as_json)
        await crawler.crawl(site.proxy.port)

    assert_only_the_links_were_changed(crawler)
    assert_signed_in_with_one_token(site)
    assert_asked_for_in_gzip(site, compress=compress)
