"""The pages of the admin port, who may ask for them, and how they are sent.

Rules: GET and HEAD, nothing else; no page is kept by anybody, framed by another or read by another site. How pages are
made, and how often, is in `making.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from proxy.admin.codes import codes_page
from proxy.admin.connections import Connections
from proxy.admin.exposition import CONTENT_TYPE, exposition
from proxy.admin.making import PageMaker
from proxy.admin.negotiation import accepts_gzip, prefers_json
from proxy.admin.overviews import Overviews, good_for
from proxy.admin.page import page
from proxy.admin.readiness import process_readiness, shop_readiness
from proxy.admin.report import NAME, SORTS, Wanted, as_json, report
from proxy.admin.sources import (
    Sources,
    clients_now,
    counters_now,
    glimpses,
    names_now,
    platform_now,
    problems_now,
    process_now,
    shop_now,
)
from proxy.platforms.platform import is_shop_name
from proxy.telemetry.labels import UNKNOWN

_SHUTDOWN: Final = 1.0  # seconds that pages which are being made get at the end
_MAX_QUERY: Final = 100  # characters
_MAX_PAGE_DIGITS: Final = 6
_STATIC: Final = Path(__file__).with_name("static")
_STATIC_TYPES: Final = {
    "status.css": "text/css",
    "status.js": "text/javascript",
    "status.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "shop-auth-proxy",
    "Connection": "close",
}
_SENTENCES: Final = {
    404: "There is no such page. The status page is at /status.",
    405: "Pages are read here, with GET or HEAD; nothing can be changed.",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def open_admin(sources: Sources, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve the pages while the context lasts; provide the address. Raises `OSError` if it can't be had."""
    runner = web.AppRunner(
        admin_application(sources),
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - for the type checker
    listener = None
    try:
        listener = await asyncio.get_running_loop().create_server(
            Connections(runner.server, _HEADERS), host or None, port
        )
        address = listener.sockets[0].getsockname()
        yield address[0], address[1]
    finally:
        if listener is not None:
            listener.close()
        await runner.cleanup()


def admin_application(sources: Sources) -> web.Application:
    """Return the application with all pages."""
    pages = _Pages(sources)
    application = web.Application(middlewares=[_only_for_us])
    application.on_response_prepare.append(_add_headers)
    application.router.add_get("/", _to_status)
    application.router.add_get("/livez", _live)
    application.router.add_get("/readyz", pages.ready)
    application.router.add_get("/metrics", pages.metrics)
    application.router.add_get("/status", pages.status)
    application.router.add_get("/status.json", pages.status_json)
    application.router.add_get("/codes", _static(codes_page().encode(), "text/html"))
    for name, content_type in _STATIC_TYPES.items():
        application.router.add_get(f"/{name}", _static((_STATIC / name).read_bytes(), content_type))
    return application


def is_local_name(host: str) -> bool:
    """Tell whether a Host field holds an address, or a name for this machine: nothing that needs DNS."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class _Pages:
    """The pages that show how the proxy is."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._overviews = Overviews(sources)
        self._maker = PageMaker()

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether requests are welcome, or, with `?shop=`, whether that shop could be served now."""
        ready = process_readiness(self._sources.process.phase)
        key = request.query.get("shop")
        if key is None or ready.status != 200:
            return _text(*ready)
        if not is_shop_name(key.encode()):
            return _text(400, "A shop name has 1 to 63 of the characters a-z, 0-9 and hyphen.")
        asked = self._sources.find(key)
        if asked is None:
            return _text(404, f"There is no shop '{key}' here.")
        return _text(*shop_readiness(key, self._sources.tokens.status(asked), asked.shop.fix))

    async def metrics(self, request: web.Request) -> web.Response:
        """Show the numbers for Prometheus."""

        def pieces() -> Iterator[str]:
            sources = self._sources
            shops = glimpses(sources, names_now(sources))
            return exposition(process_now(sources), shops, counters_now(sources))

        made = await self._maker.page("metrics", None, pieces, good_for=good_for(self._sources), packed=True)
        return made.answer(CONTENT_TYPE, gzip=_accepts_gzip(request))

    async def status(self, request: web.Request) -> web.Response:
        """Show the status page, or the same as JSON to who prefers that."""
        if prefers_json(",".join(request.headers.getall("Accept", ()))):
            response = await self.status_json(request)
        else:
            wanted = _wanted(request.query)

            def pieces() -> Iterator[str]:
                sources = self._sources
                every = yield from self._overviews.latest()
                shown = yield from report(
                    process_now(sources),
                    every,
                    wanted,
                    platform_of=partial(platform_now, sources),
                    now=partial(shop_now, sources, others_waiting=every.others_waiting),
                    clients=clients_now(sources),
                    astray=problems_now(sources, UNKNOWN),
                )
                yield from page(shown, now=sources.clock())

            made = await self._maker.page("status", wanted, pieces, good_for=good_for(self._sources))
            response = made.answer("text/html; charset=utf-8")
        response.headers["Vary"] = "Accept"
        return response

    async def status_json(self, request: web.Request) -> web.Response:
        """Show the state of all shops as JSON."""

        def pieces() -> Iterator[str]:
            sources = self._sources
            every = yield from self._overviews.latest()
            now = partial(shop_now, sources, others_waiting=every.others_waiting)
            shops = (shop for name in every.names if (shop := now(name)) is not None)
            yield from as_json(process_now(sources), shops, clients_now(sources), now=sources.clock())

        made = await self._maker.page("json", None, pieces, good_for=good_for(self._sources), packed=True)
        return made.answer("application/json; charset=utf-8", gzip=_accepts_gzip(request))


def _wanted(query: Mapping[str, str]) -> Wanted:
    number = query.get("page", "")
    # A number of many digits takes Python long to read.
    page_number = int(number) if number.isdecimal() and len(number) <= _MAX_PAGE_DIGITS else 1
    sort = query.get("sort", "")
    words = query.get("q", "")[:_MAX_QUERY].strip()
    return Wanted(words, "trouble" in query, page_number, sort if sort in (NAME, *SORTS) else "")


def _accepts_gzip(request: web.Request) -> bool:
    return accepts_gzip(",".join(request.headers.getall("Accept-Encoding", ())))


async def _live(_request: web.Request) -> web.Response:
    return _text(200, "The event loop turns.")


async def _to_status(_request: web.Request) -> web.Response:
    response = _text(302, "The status page is at /status.")
    response.headers["Location"] = "/status"
    return response


def _static(body: bytes, content_type: str) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return handler


def _text(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=sentence + "\n")


def _came_by_loopback(request: web.Request) -> bool:
    # A connection that is gone has no address any more, and gets no answer.
    own_address: str = request.get_extra_info("sockname", ("127.0.0.1",))[0]
    return ip_address(own_address.partition("%")[0]).is_loopback


@web.middleware
async def _only_for_us(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a name that somebody else's DNS leads here, if only this machine can reach the port.

    A web site could have its own name lead to 127.0.0.1, and then read the page in the browser of whoever sits here
    (DNS rebinding). On other addresses names are in use that are not known here, and whoever is in that network can
    read the pages anyway.
    """
    host = request.headers.get("Host", "localhost")
    if not is_local_name(host) and _came_by_loopback(request):
        return _text(421, "This port is asked for by an address or as localhost.")
    try:
        return await handler(request)
    except web.HTTPException as error:  # of the router
        error.text = _SENTENCES.get(error.status, error.reason) + "\n"
        raise


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.force_close()
