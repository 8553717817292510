"""The admin port of a running proxy: what it shows, to whom, and that asking it changes nothing and asks nobody."""

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest

from proxy.admin import server
from proxy.admin.server import is_local_name
from proxy.app import StartError
from proxy.config import AdminConfig, ClientConfig
from proxy.secret import Secret
from proxy.telemetry.labels import MAX_WILDCARD_SHOPS
from proxy.telemetry.problems import EACH
from tests.admin.asking import admin_port, ask, samples, with_wildcard
from tests.peers import Connection, answering, connected, request, response, serving, token_response
from tests.proxies import SECRET, config, platform, proxying, shop, whole_path

REFUSAL = response(b'{"error":"invalid_client"}', status=b"401 Unauthorized")
PAGES = ["/livez", "/readyz", "/readyz?shop=demo", "/metrics", "/status", "/status?q=x&page=2", "/status.json"]
STATIC = ["/status.css", "/status.js", "/status.svg"]


# What there is


@pytest.mark.parametrize(
    ("target", "status", "content_type", "begins"),
    [
        ("/livez", 200, b"text/plain; charset=utf-8", b"The proxy is alive."),
        ("/readyz", 200, b"text/plain; charset=utf-8", b"The proxy is ready for requests."),
        ("/readyz?shop=demo", 200, b"text/plain; charset=utf-8", b"demo can be served"),
        ("/readyz?shop=other", 404, b"text/plain; charset=utf-8", b"There is no shop 'other' here."),
        ("/readyz?shop=", 400, b"text/plain; charset=utf-8", b"A shop name has"),
        ("/readyz?shop=%3Cb%3E", 400, b"text/plain; charset=utf-8", b"A shop name has"),
        ("/readyz?shop=%ED%A0%80", 400, b"text/plain; charset=utf-8", b"A shop name has"),
        ("/metrics", 200, b"text/plain; version=0.0.4; charset=utf-8", b"# HELP shop_auth_proxy_"),
        ("/status", 200, b"text/html; charset=utf-8", b"<!doctype html>"),
        ("/status?page=999999999999999999", 200, b"text/html; charset=utf-8", b"<!doctype html>"),
        ("/status?page=%C2%B2&q=%00", 200, b"text/html; charset=utf-8", b"<!doctype html>"),
        ("/status.json", 200, b"application/json; charset=utf-8", b"{"),
        ("/status.css", 200, b"text/css; charset=utf-8", b"/* The status page"),
        ("/status.js", 200, b"text/javascript; charset=utf-8", b"//"),
        ("/status.svg", 200, b"image/svg+xml; charset=utf-8", b"<svg"),
        ("/", 302, b"text/plain; charset=utf-8", b"The status page is at /status."),
        ("/demo/products", 404, b"text/plain; charset=utf-8", b"There is no such page."),
        ("/../etc/passwd", 404, b"text/plain; charset=utf-8", b"There is no such page."),
    ],
)
async def test_every_page_answers_get_and_head_and_asks_nobody(
    target: str, status: int, content_type: bytes, begins: bytes
) -> None:
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, target)
        head = await ask(path.proxy, target, method=b"HEAD")

        assert (answer.status, answer.values(b"Content-Type")) == (status, [content_type])
        assert answer.body.startswith(begins)
        assert (head.status, head.body) == (status, b"")
        assert path.tokens.received == path.api.received == []


async def test_the_root_leads_to_the_status_page() -> None:
    async with whole_path(answering(response())) as path:
        assert (await ask(path.proxy, "/")).values(b"Location") == [b"/status"]


@pytest.mark.parametrize("target", [*PAGES, *STATIC, "/", "/nothing"])
async def test_every_answer_is_kept_from_other_sites_and_from_caches(target: str) -> None:
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, target, fields=b"Origin: https://evil.example\r\n")

    [policy] = answer.values(b"Content-Security-Policy")
    assert policy.startswith(b"default-src 'none';")
    assert b"unsafe" not in policy
    assert b"frame-ancestors 'none'" in policy
    assert answer.values(b"X-Content-Type-Options") == [b"nosniff"]
    assert answer.values(b"Referrer-Policy") == [b"no-referrer"]
    assert answer.values(b"Cache-Control") == [b"no-store"]
    assert answer.values(b"Server") == [b"shop-auth-proxy"]
    assert answer.values(b"Access-Control-Allow-Origin") == []


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"])
async def test_nothing_can_be_changed(method: bytes) -> None:
    async with whole_path(answering(response())) as path:
        answers = [await ask(path.proxy, target, method=method) for target in PAGES]

    assert {answer.status for answer in answers} == {405}
    assert {answer.values(b"Allow")[0] for answer in answers} == {b"GET,HEAD"}
    assert {answer.body for answer in answers} == {b"This port is for reading only: use GET or HEAD.\n"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"", b"text/html; charset=utf-8"),
        (b"Accept: */*\r\n", b"text/html; charset=utf-8"),
        (b"Accept: application/json\r\n", b"application/json; charset=utf-8"),
        (b"Accept: text/html;q=0.5\r\nAccept: application/json\r\n", b"application/json; charset=utf-8"),
    ],
)
async def test_the_status_is_json_for_who_prefers_it(accept: bytes, content_type: bytes) -> None:
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, "/status", fields=accept)

    assert answer.values(b"Content-Type") == [content_type]
    assert answer.values(b"Vary") == [b"Accept"]


# Who may ask


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LocalHost.:9090", True),
        ("status.localhost:9090", True),
        ("127.0.0.1:9090", True),
        ("10.0.0.7", True),
        ("[::1]:9090", True),
        ("[::1]", True),
        ("evil.example:9090", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("notlocalhost", False),
        ("", False),
        (":9090", False),
    ],
)
async def test_a_name_that_anybodys_dns_may_lead_here_is_refused_on_loopback(host: str, local: bool) -> None:
    assert is_local_name(host) is local
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, "/status.json", fields=b"Host: %s\r\n" % host.encode())

    assert answer.status == (200 if local else 421)
    assert (b"demo" in answer.body) is local


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost:9090/livez", "evil.example", 200),
        ("HTTP://127.0.0.1/livez?x=1", "localhost", 200),
        ("http://localhost", "localhost", 302),
        ("http://evil.example/livez", "localhost", 421),
        ("http://evil@localhost/livez", "localhost", 421),
        ("http:///livez", "localhost", 400),
        ("ftp://localhost/livez", "localhost", 404),
    ],
)
async def test_the_host_in_an_absolute_target_counts_and_not_the_field(target: str, host: str, status: int) -> None:
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, target, fields=b"Host: %s\r\n" % host.encode())

    assert answer.status == status


# Whether a shop could be served


async def test_readiness_of_a_shop_is_what_is_known_of_its_token() -> None:
    async with whole_path(answering(response()), tokens=answering(REFUSAL)) as path:
        before = await ask(path.proxy, "/readyz?shop=demo")
        refused = await path.ask(request())
        after = await ask(path.proxy, "/readyz?shop=demo")

        assert (before.status, refused.status, after.status) == (200, 502, 503)
        assert after.body.startswith(b"demo can't be served: The platform's token endpoint refuses")
        assert b"To fix it: compare client_id and client_secret of [shops.demo] with" in after.body
        assert (await ask(path.proxy, "/readyz")).status == 200  # one shop's secret is not the proxy's trouble
        assert len(path.tokens.received) == 1


async def test_a_shop_with_a_token_is_ready() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request())
        answer = await ask(path.proxy, "/readyz?shop=demo")

        assert (answer.status, answer.body[:50]) == (200, b"demo can be served: it has a token that is valid f")
        assert len(path.tokens.received) == 1


async def test_while_it_drains_it_is_not_ready_but_alive_and_seen() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await go_on.wait()
        await connection.send(response(b"in time"))

    async with whole_path(slow) as path, path.connect() as client:
        await client.send(request())
        await asked.wait()
        stopping = asyncio.ensure_future(path.stop())
        await path.proxy.until_logged("proxy.stopping")

        ready, of_shop, alive = [await ask(path.proxy, page) for page in ("/readyz", "/readyz?shop=demo", "/livez")]
        counted = await samples(path.proxy)
        go_on.set()
        answer = await client.read_answer()
        await stopping

    assert (ready.status, of_shop.status, alive.status) == (503, 503, 200)
    assert (counted["draining"], counted["requests_in_flight"]) == ({(): 1.0}, {(): 1.0})
    assert answer.body == b"in time"


# What is counted


async def test_calls_are_counted_as_the_client_saw_them() -> None:
    api = answering(response(b"12345"), response(b"", status=b"404 Not Found"), response(status=b"429 Too Many"))
    async with whole_path(api) as path:
        async with path.connect() as client:
            await client.ask(request(b"POST", body=b"abc"))
            await client.ask(request())
            await client.ask(request())
            await client.ask(request(target=b"/nobody/x"))
            await client.ask(request(b"MKCOL"))
        counted = await samples(path.proxy)

    assert counted["requests_total"] == {
        ("demo", "POST", "2xx"): 1.0,
        ("demo", "GET", "4xx"): 2.0,
        ("demo", "other", "4xx"): 1.0,
        ("", "GET", "4xx"): 1.0,
    }
    assert counted["request_body_bytes_total"]["demo",] == 3.0
    assert counted["response_body_bytes_total"]["demo",] == 9.0
    assert counted["upstream_attempts_total"]["demo",] == 4.0
    assert counted["throttled_total"]["demo",] == 2.0
    assert counted["errors_total"] == {("", "unknown_shop"): 1.0}
    assert counted["token_requests_total"] == {("demo", "granted"): 1.0}
    assert counted["token_state"]["demo", "good"] == 1.0
    assert counted["request_duration_seconds_count"] == {("demo",): 4.0, ("",): 1.0}
    assert "pacing_wait_seconds_count" not in counted  # there is no rate limit to wait for


async def test_what_is_no_request_is_counted_too() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(b"nonsense\r\n\r\n")
        counted = await samples(path.proxy)

    assert counted["requests_total"] == {("", "other", "5xx"): 1.0}
    assert counted["errors_total"] == {("", "method_not_supported"): 1.0}


async def test_a_scan_of_shop_names_and_methods_makes_no_series() -> None:
    odd_methods = (b"MKCOL", b"PROPFIND", b"LOCK", b"REPORT")
    async with serving(answering(REFUSAL)) as tokens, serving(answering(response())) as api:
        of = platform(tokens.port, api.port, token_url=f"http://127.0.0.1:{tokens.port}/{{shop}}/token")
        for shops in ({"shops": with_wildcard(shop("demo", of))}, {}):
            async with proxying(config(shop("demo", of), **shops)) as proxy, connected(proxy.port) as client:
                for number in range(40):
                    await client.ask(request(odd_methods[number % 4], b"/scan-%d/x" % number))
                counted = await samples(proxy)

            assert {labels[0] for name in counted for labels in counted[name] if "requests_total" in name} <= {"*", ""}
            assert sum(counted["requests_total"].values()) == 40
            assert len(counted["requests_total"]) == 1
            assert {labels[0] for labels in counted["token_state"]} == {"demo"}


async def test_shops_of_the_wildcard_entry_have_a_bounded_number_of_series() -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        of = platform(tokens.port, api.port, token_url=f"http://127.0.0.1:{tokens.port}/{{shop}}/token")
        settings = config(shops=with_wildcard(shop("demo", of)))
        async with proxying(settings) as proxy, connected(proxy.port) as client:
            first = [await client.ask(request(target=b"/s%d/x" % number)) for number in range(3)]
            for number in range(MAX_WILDCARD_SHOPS):  # as if as many had got their tokens meanwhile
                proxy.running.tokens._metrics.labels.granted(f"other-{number}", "*")
            late = await client.ask(request(target=b"/late/x"))
            counted = await samples(proxy)

    assert {answer.status for answer in (*first, late)} == {200}
    assert counted["requests_total"] == {
        ("s0", "GET", "2xx"): 1.0,
        ("s1", "GET", "2xx"): 1.0,
        ("s2", "GET", "2xx"): 1.0,
        ("*", "GET", "2xx"): 1.0,
    }
    assert len({labels[0] for labels in counted["token_state"]}) == MAX_WILDCARD_SHOPS + 1  # and `demo`


async def test_the_last_problems_of_a_shop_and_calls_without_one_are_shown() -> None:
    async with whole_path(answering(response(status=b"503 No"))) as path:
        for number in range(EACH + 1):
            await path.ask(request(target=b"/demo/orders/%d?key=ABSENT" % number))
        await path.ask(request(target=b"/Products?key=ABSENT"))
        [demo] = json.loads((await ask(path.proxy, "/status.json")).body)["shops"]
        page = (await ask(path.proxy, "/status")).body

    assert [each["path"] for each in demo["problems"]] == [f"/orders/{number}" for number in range(EACH, 0, -1)]
    assert {(each["method"], each["status"], each["code"]) for each in demo["problems"]} == {("GET", 503, "http_503")}
    assert b"the last 20 problems" in page
    assert b"Calls that named no shop: the last 1" in page
    assert b"/Products</code>" in page
    assert b"ABSENT" not in page


async def test_clients_are_shown_with_what_they_were_refused() -> None:
    clients = {"erp": ClientConfig(secret=Secret("old-erp-password-12")), "idle": ClientConfig(secret=Secret("x" * 20))}
    right = b"Authorization: Bearer old-erp-password-12\r\n"
    async with whole_path(answering(response()), clients=clients) as path:
        await path.ask(request(fields=right))
        await path.ask(request(fields=b"Authorization: Bearer wrong\r\n"))
        document = json.loads((await ask(path.proxy, "/status.json")).body)
        counted = await samples(path.proxy)

    assert {each["client"]: (each["calls"], each["refused"]) for each in document["clients"]} == {
        "erp": (1, 0),
        "": (1, 1),
        "idle": (0, 0),
    }
    assert counted["client_requests_total"] == {("erp", "2xx"): 1.0, ("", "4xx"): 1.0}
    assert counted["client_errors_total"] == {("", "client_unauthenticated"): 1.0}


async def test_shops_are_sorted_by_what_somebody_wants() -> None:
    shops = [shop(name, platform(1, 1)) for name in ("a", "b", "c")]
    async with asyncio.timeout(20), proxying(config(*shops)) as proxy, connected(proxy.port) as client:
        for name in (b"b", b"c", b"c"):
            await client.ask(request(target=b"/%b/x" % name))
        orders = {}
        for sort in ("calls", "name", "nonsense"):
            page = (await ask(proxy, f"/status?sort={sort}")).body.decode()
            orders[sort] = re.findall(r'<span class="name">(\w)</span>', page)

    assert orders == {"calls": ["c", "b", "a"], "name": ["a", "b", "c"], "nonsense": ["c", "b", "a"]}


async def test_a_configuration_that_was_not_taken_is_shown_with_its_problems() -> None:
    async with whole_path(answering(response())) as path:
        path.proxy.running.process.reloaded(("line 7: <no shop>",), 5.0)
        page = (await ask(path.proxy, "/status")).body

    assert b"The changed configuration was not loaded" in page
    assert b"<li><code>line 7: &lt;no shop&gt;</code></li>" in page


async def test_reloads_are_seen() -> None:
    async with whole_path(answering(response())) as path:
        path.proxy.running.process.reloaded(("no shop",), 5.0)
        counted = await samples(path.proxy)
        document = json.loads((await ask(path.proxy, "/status.json")).body)

    assert counted["config_reloads_total"] == {("failed",): 1.0, ("successful",): 0.0}
    assert (counted["config_last_reload_successful"], document["config_last_reload_successful"]) == ({(): 0.0}, False)


async def test_no_page_holds_a_secret() -> None:
    echo = response(
        b'{"error":"invalid_client","error_description":"no client with %s"}' % SECRET.encode(), status=b"400 Bad"
    )
    async with whole_path(answering(response()), tokens=answering(token_response("t0ken-in-use"))) as path:
        await path.ask(request())
        shown = b"".join([(await ask(path.proxy, page)).body for page in PAGES])
    async with whole_path(answering(response()), tokens=answering(echo)) as path:
        await path.ask(request())
        shown += b"".join([(await ask(path.proxy, page)).body for page in PAGES])

    assert b"no client with [hidden]" in shown  # the endpoint's words are shown, as the log shows them
    assert SECRET.encode() not in shown
    assert b"t0ken-in-use" not in shown
    assert b"demo-id" not in shown


# Where there are many shops


class Press:
    """Makes pages in place of the real one, once it may; counts them, and how many were made at once."""

    def __init__(self) -> None:
        self.go_on, self.began = False, asyncio.Event()
        self.made = self.at_once = self.most = 0

    def __call__(self, *_: object, **__: object) -> Iterator[str]:
        self.made += 1
        number = self.made
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.began.set()
        while not self.go_on:
            yield ""
        self.at_once -= 1
        yield f"page {number}"


async def test_pages_are_made_one_at_a_time_and_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    press = Press()
    monkeypatch.setattr(server, "page", press)
    async with asyncio.timeout(10), whole_path(answering(response())) as path, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(admin_port(path.proxy))) for _ in range(11)]
        for client in clients[:10]:
            await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await press.began.wait()
        assert (await ask(path.proxy, "/livez")).status == 200  # so that all of them have come, and wait
        await clients[10].send(b"GET /status?q=other HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await ask(path.proxy, "/livez")).status == 200
        press.go_on = True
        bodies = [(await client.read_answer()).body for client in clients]

        # What the first one got began before the others asked, and would show them what is over.
        assert bodies == [b"page 1", *[b"page 2"] * 9, b"page 3"]
        assert press.most == 1
        assert (await ask(path.proxy, "/status")).body == b"page 4"


async def test_who_asked_first_may_leave_without_the_page_being_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    press = Press()
    monkeypatch.setattr(server, "page", press)
    monkeypatch.setattr(server, "good_for", lambda _: 60.0)
    get = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with asyncio.timeout(10), whole_path(answering(response())) as path, AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(connected(admin_port(path.proxy))) for _ in range(2)]
        await first.send(get)
        await press.began.wait()
        await second.send(get)
        assert (await ask(path.proxy, "/livez")).status == 200  # so that the second has come, and waits
        first.reset()
        while sum(task.get_name() == "client" for task in asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        press.go_on = True

        assert (await second.read_answer()).body == b"page 1"


async def test_thousands_of_shops_are_shown_a_page_at_a_time_and_what_is_long_is_packed_for_who_takes_that() -> None:
    shops = [shop(f"shop-{number:04}", platform(1, 1)) for number in range(3000)]
    async with asyncio.timeout(20), proxying(config(*shops)) as proxy:
        page, last = await ask(proxy, "/status?page=30"), await ask(proxy, "/status?q=shop-2999")
        plain = [await ask(proxy, target) for target in ("/metrics", "/status.json")]
        packed = [
            await ask(proxy, target, fields=b"Host: localhost\r\nAccept-Encoding: br, gzip\r\n")
            for target in ("/metrics", "/status.json")
        ]

    assert page.body.count(b"<tr ") == 101
    assert b"Page 30 of 30: 3,000 shops" in page.body
    assert last.body.count(b"<tr ") == 2
    assert plain[0].body.count(b"shop_auth_proxy_token_state{") == 5 * 3000
    assert len(json.loads(plain[1].body)["shops"]) == 3000
    for unpacked, answer in zip(plain, packed, strict=True):
        assert (unpacked.values(b"Content-Encoding"), answer.values(b"Content-Encoding")) == ([], [b"gzip"])
        assert len(answer.body) < len(unpacked.body) / 10
        assert gzip.decompress(answer.body)[:200] == unpacked.body[:200]


async def test_shops_in_trouble_are_shown_alone_on_request() -> None:
    async with whole_path(answering(response(status=b"503 No"))) as path:
        before = await ask(path.proxy, "/status?trouble=1")
        await path.ask(request())
        after = await ask(path.proxy, "/status?trouble=1")

    assert b"No shop is in trouble." in before.body
    assert after.body.count(b"<tr ") == 2


async def test_a_token_that_is_being_fetched_for_the_first_call_is_seen() -> None:
    asked = asyncio.Event()

    async def silent(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await connection.reader.read()

    async with whole_path(answering(response()), tokens=silent) as path, path.connect() as client:
        await client.send(request())
        await asked.wait()
        document = json.loads((await ask(path.proxy, "/status.json")).body)
        counted = await samples(path.proxy)

    assert document["shops"][0]["token"]["state"] == "refreshing"
    assert counted["token_state"]["demo", "refreshing"] == 1.0


# Where it listens


async def test_a_port_that_is_taken_is_a_sentence() -> None:
    async with serving(answering(b"")) as other:
        with pytest.raises(
            StartError, match=rf"^admin\.host, admin\.port: can't listen on 127\.0\.0\.1 port {other.port}"
        ):
            async with proxying(config(admin=AdminConfig(port=other.port))):
                pass


async def test_it_can_be_switched_off() -> None:
    async with whole_path(answering(response()), admin=AdminConfig(enabled=False)) as path:
        assert path.proxy.running.admin is None
        assert path.proxy.logged("admin.started") == []
        assert (await path.ask(request())).status == 200


async def test_it_says_where_it_listens() -> None:
    async with whole_path(answering(response()), admin=AdminConfig(host="localhost", port=0)) as path:
        [started] = path.proxy.logged("admin.started")

        assert ip_address(started["host"]).is_loopback
        assert started["port"] == admin_port(path.proxy)


async def test_an_open_connection_does_not_hold_up_the_end() -> None:
    async with whole_path(answering(response())) as path, connected(admin_port(path.proxy)) as silent:
        await path.stop()

        assert await silent.at_end()
