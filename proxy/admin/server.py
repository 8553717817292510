"""The pages of the admin port, who may ask for them, and how they are sent.

Rules: GET and HEAD, nothing else; no page is kept by anybody, framed by another or read by another site. What is no
HTTP request is told so in a fixed sentence, without repeating it to anybody: it may hold secrets. How pages are made,
and how often, is in `making.py`.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from structlog.typing import FilteringBoundLogger

from proxy.admin.codes import codes_page
from proxy.admin.connections import Connections, limits
from proxy.admin.exposition import CONTENT_TYPE, exposition
from proxy.admin.making import Answer, PageMaker, plain_page
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
from proxy.errors import MethodNotSupported, ProxyError, RequestTimeout
from proxy.platforms.platform import is_shop_name
from proxy.tasks import BackgroundTasks
from proxy.telemetry.labels import UNKNOWN
from proxy.wire.date import DateLine
from proxy.wire.head import FieldTable, Head
from proxy.wire.listener import ClientServer, close_listener
from proxy.wire.request import ClientRequest

_SHUTDOWN: Final = 1.0  # seconds that pages which are being made get at the end
_MAX_QUERY: Final = 100  # characters
_MAX_PAGE_DIGITS: Final = 6
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
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
}

Query = Mapping[str, str]


@asynccontextmanager
async def open_admin(
    sources: Sources, host: str, port: int, fields: FieldTable, log: FilteringBoundLogger, tasks: BackgroundTasks
) -> AsyncIterator[tuple[str, int]]:
    """Serve the pages while the context lasts; provide the address. Raises `OSError` if it can't be had.

    `fields` is what is known of the fields of requests.
    """
    connections = Connections()
    site = _Site(_Pages(sources, tasks), connections, log)
    server = ClientServer(site.handle, site.refuse, connections, limits(), fields, DateLine(time.time), tasks=tasks)
    listener = await asyncio.get_running_loop().create_server(server.door, host or None, port)
    try:
        address = listener.sockets[0].getsockname()
        yield address[0], address[1]
    finally:
        await close_listener(listener)
        connections.drop_silent()
        await server.shutdown(_SHUTDOWN)


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


class _Site:
    """Answers requests with pages."""

    def __init__(self, pages: "_Pages", connections: Connections, log: FilteringBoundLogger) -> None:
        self._pages = pages.by_path()
        self._connections = connections
        self._log = log

    async def handle(self, request: ClientRequest) -> bool:
        """Answer a request; tell that its connection is not kept."""
        request.connection.admitted()
        try:
            answer = await self._answer(request)
        except Exception:
            self._log.exception("admin.page_failed")
            answer = _text(500, "The page could not be rendered; the log says why.")
        return await self._send(request, answer)

    async def refuse(self, request: ClientRequest, error: ProxyError) -> bool:
        """Answer what is no request, unless that is since it has not come."""
        if isinstance(error, RequestTimeout):
            return False
        no_method = isinstance(error, MethodNotSupported)
        answer = _not_allowed() if no_method else _text(400, "This is not an HTTP request.")
        return await self._send(request, answer, whole=False)

    async def _answer(self, request: ClientRequest) -> Answer:
        # RFC 9112 §3.2.2: in a target with a host of its own, that counts, not the Host field.
        absolute = _ABSOLUTE.match(request.target)
        host = absolute[1] if absolute is not None else request.head.first.get(b"host", b"localhost")
        if not _is_for_us(request, host.decode("latin-1")):
            return _text(421, "This port does not answer under this host name: use its IP address, or localhost.")
        target = request.target if absolute is None else request.target[absolute.end() :] or b"/"
        path, _, query = target.decode("latin-1").partition("?")
        page = self._pages.get(path)
        if page is None:
            return _text(404, "There is no such page. The status page is at /status.")
        if request.method not in ("GET", "HEAD"):
            return _not_allowed()
        # Of a name that comes twice, the first counts.
        return await page(dict(reversed(parse_qsl(query, keep_blank_values=True))), request.head)

    async def _send(self, request: ClientRequest, answer: Answer, *, whole: bool = True) -> bool:
        return await self._connections.send(request, answer._replace(fields=_HEADERS | answer.fields), whole=whole)


class _Pages:
    """The pages that show how the proxy is."""

    def __init__(self, sources: Sources, tasks: BackgroundTasks) -> None:
        self._sources = sources
        self._overviews = Overviews(sources)
        self._maker = PageMaker(tasks)

    def by_path(self) -> dict[str, Callable[[Query, Head], Awaitable[Answer]]]:
        """Return what makes each page."""
        static = {
            f"/{name}": _static((_STATIC / name).read_bytes(), content_type)
            for name, content_type in _STATIC_TYPES.items()
        }
        return static | {
            "/": _to_status,
            "/livez": _live,
            "/readyz": self.ready,
            "/metrics": self.metrics,
            "/status": self.status,
            "/status.json": self.status_json,
            "/codes": _static(codes_page().encode(), "text/html"),
        }

    async def ready(self, query: Query, _: Head) -> Answer:
        """Say whether requests are welcome, or, with `?shop=`, whether that shop could be served now."""
        ready = process_readiness(self._sources.process.phase)
        key = query.get("shop")
        if key is None or ready.status != 200:
            return _text(*ready)
        if not is_shop_name(key.encode()):
            return _text(400, "A shop name has 1 to 63 of the characters a-z, 0-9 and hyphen.")
        asked = self._sources.find(key)
        if asked is None:
            return _text(404, f"There is no shop '{key}' here.")
        return _text(*shop_readiness(key, self._sources.tokens.status(asked), asked.shop.fix))

    async def metrics(self, _: Query, head: Head) -> Answer:
        """Show the numbers for Prometheus."""

        def pieces() -> Iterator[str]:
            sources = self._sources
            shops = glimpses(sources, names_now(sources))
            return exposition(process_now(sources), shops, counters_now(sources))

        made = await self._maker.page("metrics", None, pieces, good_for=good_for(self._sources), packed=True)
        return made.answer(CONTENT_TYPE, gzip=_accepts_gzip(head))

    async def status(self, query: Query, head: Head) -> Answer:
        """Show the status page, or the same as JSON to who prefers that."""
        if prefers_json(_list(head, b"accept")):
            answer = await self.status_json(query, head)
        else:
            wanted = _wanted(query)

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
            answer = made.answer("text/html; charset=utf-8")
        return answer._replace(fields=answer.fields | {"Vary": "Accept"})

    async def status_json(self, _: Query, head: Head) -> Answer:
        """Show the state of all shops as JSON."""

        def pieces() -> Iterator[str]:
            sources = self._sources
            every = yield from self._overviews.latest()
            now = partial(shop_now, sources, others_waiting=every.others_waiting)
            shops = (shop for name in every.names if (shop := now(name)) is not None)
            yield from as_json(process_now(sources), shops, clients_now(sources), now=sources.clock())

        made = await self._maker.page("json", None, pieces, good_for=good_for(self._sources), packed=True)
        return made.answer("application/json; charset=utf-8", gzip=_accepts_gzip(head))


def _wanted(query: Mapping[str, str]) -> Wanted:
    number = query.get("page", "")
    # A number of many digits takes Python long to read.
    page_number = int(number) if number.isdecimal() and len(number) <= _MAX_PAGE_DIGITS else 1
    sort = query.get("sort", "")
    words = query.get("q", "")[:_MAX_QUERY].strip()
    return Wanted(words, "trouble" in query, page_number, sort if sort in (NAME, *SORTS) else "")


def _accepts_gzip(head: Head) -> bool:
    return accepts_gzip(_list(head, b"accept-encoding"))


def _list(head: Head, name: bytes) -> str:
    return b",".join(head.values(name)).decode("latin-1")


async def _live(_query: Query, _head: Head) -> Answer:
    return _text(200, "The proxy is alive.")


async def _to_status(_query: Query, _head: Head) -> Answer:
    answer = _text(302, "The status page is at /status.")
    return answer._replace(fields=answer.fields | {"Location": "/status"})


def _static(body: bytes, content_type: str) -> Callable[[Query, Head], Awaitable[Answer]]:
    async def handler(_query: Query, _head: Head) -> Answer:
        return plain_page(body).answer(f"{content_type}; charset=utf-8")

    return handler


def _text(status: int, sentence: str) -> Answer:
    return plain_page(f"{sentence}\n".encode()).answer("text/plain; charset=utf-8", status=status)


def _not_allowed() -> Answer:
    answer = _text(405, "This port is for reading only: use GET or HEAD.")
    return answer._replace(fields=answer.fields | {"Allow": "GET,HEAD"})


def _is_for_us(request: ClientRequest, host: str) -> bool:
    """Tell whether a request may be meant for here, by the `host` that it asks for.

    If only this machine can reach the port, that is no other machine's: a web site could have its own name lead to
    127.0.0.1, and then read the page in the browser of whoever sits here (DNS rebinding). On other addresses names are
    in use that are not known here, and whoever is in that network can read the pages anyway.
    """
    if is_local_name(host):
        return True
    # A connection that is gone has no address any more, and gets no answer.
    own_address = (request.connection.local_address() or ("127.0.0.1", 0))[0]
    return not ip_address(own_address.partition("%")[0]).is_loopback
