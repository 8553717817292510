"""The status page in a real browser: it refreshes in place, finds shops, fits, and works without JavaScript."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from tests.admin.asking import admin_port
from tests.peers import Connection, connected, request, response, serving, token_response
from tests.proxies import TestedProxy, config, platform, proxying, shop

pytest.importorskip("playwright", reason="playwright is not installed: it is one of the development tools")

from playwright.async_api import Browser, Page, expect

from tests.admin.browser import browsing, looking_at, needs_chromium

pytestmark = needs_chromium
SHOPS = [f"shop-{number:03}" for number in range(150)]
LONG = "a" * 63


@pytest.fixture
async def proxy() -> AsyncIterator[TestedProxy]:
    """A proxy with many shops; `refused` is refused by its platform, `forbidden` gets a 401 for each call."""

    async def tokens(connection: Connection) -> None:
        received = await connection.read_request()
        refused = received is not None and b"refused-id" in received.body
        words = b'{"error":"invalid_client","error_description":"<img src=x onerror=alert(1)>"}'
        await connection.send(response(words, status=b"401 No") if refused else token_response())

    async def api(connection: Connection) -> None:
        while received := await connection.read_request():
            forbidden = b"/forbidden" in received.request_line
            await connection.send(response(status=b"401 No") if forbidden else response())

    async with asyncio.timeout(60), serving(tokens) as token_peer, serving(api) as api_peer:
        of = platform(token_peer.port, api_peer.port)
        shops = [shop(name, of) for name in ("refused", "fine", "forbidden", LONG, *SHOPS)]
        async with proxying(config(*shops)) as running:
            yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        yield opened


async def call(proxy: TestedProxy, *targets: bytes) -> None:
    async with connected(proxy.port) as client:
        for target in targets:
            await client.ask(request(target=target))


def url(proxy: TestedProxy, target: str = "/status") -> str:
    return f"http://127.0.0.1:{admin_port(proxy)}{target}"


async def names(page: Page) -> list[str]:
    return await page.locator("tbody th .name").all_inner_texts()


async def test_trouble_is_at_the_top_and_the_page_refreshes_in_place(proxy: TestedProxy, browser: Browser) -> None:
    await call(proxy, b"/fine/x", b"/forbidden/forbidden")
    async with looking_at(browser, url(proxy)) as page:
        first = page.locator("tbody tr").first
        await expect(first).to_contain_text("forbidden")
        await page.evaluate("document.querySelector('header').dataset.kept = 'yes'")
        await page.locator("#page\\+1").focus()

        await call(proxy, b"/refused/x")
        await page.clock.fast_forward(2000)

        await expect(first).to_contain_text("refused")
        await expect(first).to_contain_text("✕ Refused")
        await expect(first).to_contain_text("To fix it: compare client_id and client_secret of [shops.refused]")
        await expect(first).to_contain_text("<img src=x onerror=alert(1)>")
        assert (await names(page))[:2] == ["refused", "forbidden"]
        assert await page.locator("header[data-kept=yes]").count() == 1  # it was not loaded anew
        assert await page.evaluate("document.activeElement.id") == "page+1"
        await expect(page).to_have_title("(2) Shop Auth Proxy")


async def test_shops_are_found_while_one_types(proxy: TestedProxy, browser: Browser) -> None:
    async with looking_at(browser, url(proxy)) as page:
        box = page.get_by_label("Find a shop")
        await box.press_sequentially("shop-14")
        await expect(page.locator("tbody tr")).to_have_count(10)

        assert (await names(page))[0] == "shop-140"
        await expect(box).to_be_focused()
        await expect(box).to_have_value("shop-14")
        assert page.url.endswith("/status?q=shop-14")

        await box.fill("no such shop")
        await expect(page.locator("main")).to_contain_text("No shop is called “no such shop”.")


async def test_shops_in_trouble_are_shown_alone_while_one_looks_for_some_of_them(
    proxy: TestedProxy, browser: Browser
) -> None:
    await call(proxy, b"/fine/x", b"/forbidden/forbidden", b"/refused/x")
    async with looking_at(browser, url(proxy)) as page:
        await page.locator("#trouble").click()
        assert await names(page) == ["refused", "forbidden"]
        await page.get_by_label("Find a shop").press_sequentially("forb")
        await expect(page.locator("tbody tr")).to_have_count(1)
        assert page.url.endswith("/status?trouble=1&q=forb")
        await page.get_by_role("link", name="Show all").click()
        await page.get_by_label("Find a shop").fill("")
        await expect(page.locator("tbody tr")).to_have_count(100)


async def test_without_javascript_all_but_the_refresh_works(proxy: TestedProxy, browser: Browser) -> None:
    async with looking_at(browser, url(proxy), java_script_enabled=False) as page:
        assert await page.locator("tbody tr").count() == 100
        await page.get_by_role("link", name="Next").click()
        assert await page.locator("tbody tr").count() == 54
        await page.get_by_label("Find a shop").fill("shop-149")
        await page.get_by_role("button", name="Find").click()

        assert await names(page) == ["shop-149"]
        await expect(page.get_by_label("Find a shop")).to_have_value("shop-149")


async def test_it_says_so_when_the_proxy_does_not_answer_any_more(proxy: TestedProxy, browser: Browser) -> None:
    async with looking_at(browser, url(proxy), expected=("503",)) as page:
        note = page.get_by_role("status")
        await expect(note).to_be_empty()
        await page.route("**/status", lambda route: route.fulfill(status=503, body=""))
        await page.clock.fast_forward(10_000)
        await expect(note).to_contain_text(re.compile(r"The proxy does not answer\. What you see is [1-4]\d s old\."))

        await page.unroute("**/status")
        await page.clock.fast_forward(2000)
        await expect(note).to_be_empty()


async def test_it_waits_while_text_is_selected_and_says_so(proxy: TestedProxy, browser: Browser) -> None:
    async with looking_at(browser, url(proxy)) as page:
        note, first = page.get_by_role("status"), page.locator("tbody tr").first
        await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody tr'))")
        await call(proxy, b"/refused/x")
        await page.clock.fast_forward(10_000)
        await expect(note).to_contain_text(
            re.compile(r"The page waits while text is selected\. What you see is [1-4]\d s old\.")
        )
        await expect(first).not_to_contain_text("refused")

        await page.evaluate("getSelection().removeAllRanges()")
        await page.clock.fast_forward(2000)
        await expect(note).to_be_empty()
        await expect(first).to_contain_text("refused")


async def test_it_fits_light_and_dark_and_is_a_table_to_who_does_not_see_it(
    proxy: TestedProxy, browser: Browser
) -> None:
    await call(proxy, b"/refused/x", b"/forbidden/forbidden")
    for width, scheme, ground in (
        (320, "dark", "rgb(18, 21, 28)"),
        (400, "light", "rgb(245, 246, 248)"),
        (1280, "light", "rgb(245, 246, 248)"),
    ):
        viewport = {"width": width, "height": 800}
        async with looking_at(browser, url(proxy), viewport=viewport, color_scheme=scheme) as page:
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
            row = page.get_by_role("table", name="Shops, trouble first").get_by_role("row").nth(1)
            await expect(row.get_by_role("rowheader")).to_contain_text("refused")
