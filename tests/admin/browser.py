"""A real browser, where there is one: Debian's chromium, driven by playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium here to look at the page with; on Debian: apt-get install chromium"
)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run the browser, without a window."""
    async with async_playwright() as playwright:
        # Chromium's own sandbox works in few containers; and it sees nothing but our own pages.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking_at(
    browser: Browser, url: str, *, expected: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[Page]:
    """Open a page whose clock can be moved on.

    What the browser complains of fails the test, such as what the page's policy forbids; unless it holds one of
    `expected`.
    """
    context = await browser.new_context(**options)
    await context.clock.install()
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    await page.goto(url)
    yield page
    seen = list(complaints)  # closing it breaks off what it asks for
    await context.close()
    # What the page itself breaks off, since somebody types on, is no complaint.
    allowed = ("net::ERR_ABORTED", *expected)
    assert [complaint for complaint in seen if not any(words in complaint for words in allowed)] == []
