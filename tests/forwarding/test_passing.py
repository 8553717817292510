"""What passes from end to end, byte for byte, and what is neither lost nor made up on the way."""

import re
from ipaddress import ip_network

import pytest

from proxy.config import ServerConfig
from proxy.wire import listener
from tests.peers import answering, connected, request, response, serving, token_response
from tests.ports import free_port
from tests.proxies import config, platform, proxying, shop, whole_path

# What the proxy adds to a request, at its end and in this order.
ADDED = re.compile(
    rb"Via: 1\.1 shop-auth-proxy-[0-9a-f]{16}\r\nX-Request-ID: [0-9a-f]{32}\r\nAuthorization: Bearer token-1\r\n\r\n"
)


@pytest.mark.parametrize(
    ("target", "upstream_target"),
    [
        (b"/demo/products?full=1", b"/api/products?full=1"),
        (b"/demo", b"/api/"),
        (b"/demo/", b"/api/"),
        (b"/demo?", b"/api/?"),
        (b"/demo/products?", b"/api/products?"),
        (b"/demo?a=b", b"/api/?a=b"),
        (b"/demo/a%2Fb%2fc", b"/api/a%2Fb%2fc"),
        (b"/demo//a///b//", b"/api//a///b//"),
        (b"/demo/products/cHJvZHVjdC1wcm9kdWN0X2lkPTE=", b"/api/products/cHJvZHVjdC1wcm9kdWN0X2lkPTE="),
        (b"/demo/a;b=c,d+e%20%25%C3%A9?q=%2B+%26&&x=?/..", b"/api/a;b=c,d+e%20%25%C3%A9?q=%2B+%26&&x=?/.."),
        (b'/demo/[|]{}"<>^`\\?[|]"', b'/api/[|]{}"<>^`\\?[|]"'),
        (b"/demo/%zz%?%", b"/api/%zz%?%"),
        (b"/demo/...", b"/api/..."),
        (b"/demo/http://x/?y=http://z", b"/api/http://x/?y=http://z"),
    ],
)
async def test_path_and_query_reach_the_api_byte_for_byte(target: bytes, upstream_target: bytes) -> None:
    async with whole_path(answering(response())) as path:
        answer = await path.ask(request(target=target))

    assert answer.status == 200
    assert path.api.received[0].request_line == b"GET " + upstream_target + b" HTTP/1.1"


@pytest.mark.parametrize(
    ("api_path", "upstream_target"),
    [("", b"/x?y"), ("/", b"/x?y"), ("/api", b"/api/x?y"), ("/a/b%2F/", b"/a/b%2F/x?y")],
)
async def test_the_base_path_of_the_api_stands_before_the_rest(api_path: str, upstream_target: bytes) -> None:
    async with (
        serving(answering(token_response())) as tokens,
        serving(answering(response())) as api,
        proxying(
            config(shop("demo", platform(tokens.port, 0, api_url=f"http://127.0.0.1:{api.port}{api_path}")))
        ) as proxy,
        connected(proxy.port) as client,
    ):
        await client.ask(request(target=b"/demo/x?y"))

    assert api.received[0].request_line == b"GET " + upstream_target + b" HTTP/1.1"


async def test_request_headers_pass_in_order_and_unchanged_and_none_is_made_up() -> None:
    passing = (
        b"aCCept-language: hu\r\n"
        b"X-Repeated: 1\r\n"
        b"x-other: 2\r\n"
        b"X-REPEATED: 3\r\n"
        b"X-Latin: caf\xe9 \xff\r\n"
        b"X-Utf: \xc3\xa9\r\n"
        b"X-Empty: \r\n"
        b"X-Long: " + b"v" * 30_000 + b"\r\n"
        b"User-Agent: legacy/1.0\r\n"
        b"Via: 1.0 fred\r\n"
    )
    async with whole_path(answering(response())) as path:
        await path.ask(request(fields=passing))
        head = path.api.received[0].head

    start = b"GET /api/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % path.api.port
    assert head.startswith(start + passing)
    assert ADDED.fullmatch(head.removeprefix(start + passing))


async def test_a_request_without_headers_gets_only_what_the_proxy_must_add() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request())
        head = path.api.received[0].head

    assert ADDED.fullmatch(head.removeprefix(b"GET /api/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % path.api.port))


async def test_hop_by_hop_fields_and_client_credentials_stay_here() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(
            request(
                fields=b"Connection: X-Mine, keep-alive\r\nConnection: Authorization\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
                b"TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\n"
                b"Authorization: Basic b2xk\r\nAUTHORIZATION: Bearer mine\r\nProxy-Authorization: Basic b2xk\r\n"
                b"Cookie: a=b\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX-Kept: yes\r\n"
            )
        )
        received = path.api.received[0]

    assert [name for name, _ in received.fields] == [b"Host", b"X-Kept", b"Via", b"X-Request-ID", b"Authorization"]
    assert received.values(b"Authorization") == [b"Bearer token-1"]


async def test_the_answer_passes_in_order_and_unchanged_and_nothing_is_made_up() -> None:
    passing = (
        b"x-FIRST: 1\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\n"
        b"X-Latin: caf\xe9 \xff\r\nContent-Encoding: gzip\r\n"
        b'ETag: W/"1"\r\nX-Long: ' + b"v" * 30_000 + b"\r\nServer: apache\r\n"
    )
    body = bytes(range(256)) * 10  # no gzip at all: nobody may look
    upstream = response(body, status=b"299 Quite \xe9 OK", fields=passing)
    async with whole_path(answering(upstream)) as path, path.connect() as client:
        await client.send(request())
        got = await client.reader.readexactly(len(upstream))

    assert got == upstream


async def test_hop_by_hop_fields_of_the_answer_stay_here() -> None:
    fields = (
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
        b"Upgrade: h2c\r\nX-Kept: yes\r\n"
    )
    async with whole_path(answering(response(fields=fields))) as path:
        answer = await path.ask(request())

    assert [name for name, _ in answer.fields] == [b"X-Kept", b"Date", b"Content-Length"]


OF_THE_HOST = [
    b'Alt-Svc: h3=":443"; ma=86400',
    b"STRICT-TRANSPORT-SECURITY: max-age=31536000; includeSubDomains",
    b'Public-Key-Pins: pin-sha256="x"; max-age=1',
    b'Public-Key-Pins-Report-Only: pin-sha256="x"',
    b"Expect-CT: max-age=1",
    b'NEL: {"report_to":"x"}',
    b'Report-To: {"group":"x"}',
    b'Reporting-Endpoints: x="https://x.example/"',
    b'Clear-Site-Data: "cookies"',
    b"clear-site-data : *",
]


@pytest.mark.parametrize("line", OF_THE_HOST)
@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"429 Too Many Requests"])
async def test_what_the_platform_says_of_its_host_stays_here(line: bytes, status: bytes) -> None:
    fields = b"X-Kept: 1\r\n%b\r\n%b\r\nNEL-X: kept\r\n" % (line, line)
    async with whole_path(answering(response(status=status, fields=fields))) as path:
        answer = await path.ask(request())

    assert [name for name, _ in answer.fields] == [b"X-Kept", b"NEL-X", b"Date", b"Content-Length"]


@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"307 Temporary Redirect"])
async def test_a_redirect_is_relayed_and_not_followed(status: bytes) -> None:
    redirect = response(b"", status=status, fields=b"Location: /api/elsewhere\r\n")
    async with whole_path(answering(redirect)) as path:
        answer = await path.ask(request())

    assert answer.head == redirect
    assert len(path.api.received) == 1


async def test_cookies_of_the_api_are_not_kept() -> None:
    async with whole_path(answering(response(fields=b"Set-Cookie: session=1\r\n"))) as path, path.connect() as client:
        await client.ask(request())
        await client.ask(request())

    assert path.api.received[1].values(b"Cookie") == []


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"REPORT"])
async def test_every_method_passes_with_and_without_a_body(method: bytes) -> None:
    async with whole_path(answering(response(b"ok"))) as path, path.connect() as client:
        without, with_body = await client.ask(request(method)), await client.ask(request(method, body=b"\x00body\xff"))

    assert (without.body, with_body.body) == (b"ok", b"ok")
    assert [each.request_line for each in path.api.received] == [method + b" /api/x HTTP/1.1"] * 2
    assert [each.body for each in path.api.received] == [b"", b"\x00body\xff"]


async def test_x_forwarded_goes_only_to_platforms_that_want_it() -> None:
    fields = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\n"
    async with whole_path(answering(response())) as path:
        await path.ask(request(fields=fields))
    async with whole_path(answering(response()), of={"forwarded_headers": True}) as telling_path:
        await telling_path.ask(request(fields=fields))

    def forwarded(head: bytes) -> list[bytes]:
        return [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-forwarded-")]

    assert forwarded(path.api.received[0].head) == []
    assert forwarded(telling_path.api.received[0].head) == [
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Host: proxy",
        b"X-Forwarded-Proto: http",
    ]


async def test_a_trusted_proxy_is_believed_and_this_hop_appended() -> None:
    fields = (
        b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\n"
        b"Forwarded: for=203.0.113.9\r\n"
    )
    async with whole_path(
        answering(response()),
        of={"forwarded_headers": True},
        server=ServerConfig(port=0, trusted_proxies=(ip_network("127.0.0.0/8"),)),
    ) as path:
        await path.ask(request(fields=fields))
        received = path.api.received[0]

    assert received.values(b"X-Forwarded-For") == [b"203.0.113.9, 127.0.0.1"]
    assert received.values(b"X-Forwarded-Host") == [b"shop.example"]
    assert received.values(b"X-Forwarded-Proto") == [b"https"]
    assert received.values(b"Forwarded") == [b'for=203.0.113.9, for=127.0.0.1;proto=http;host="proxy"']


async def test_a_platform_that_leads_back_to_the_proxy_is_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LAST_WORDS", 0.05)  # it is its own client, and keeps the connection
    port = free_port()
    async with serving(answering(token_response())) as tokens:
        looping = shop("demo", platform(tokens.port, 0, api_url=f"http://127.0.0.1:{port}/demo/"))
        async with proxying(config(looping, server=ServerConfig(port=port))) as proxy, connected(port) as client:
            answer = await client.ask(request())

    assert answer.status == 508
    assert b'"code": "loop"' in answer.body
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=proxy_loop_detected"]
    assert [entry["status"] for entry in proxy.events if entry["event"].startswith("request.")] == [508, 508]


async def test_max_forwards_counts_down_for_options_alone() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        await client.ask(request(b"OPTIONS", fields=b"Max-Forwards: 2\r\n"))
        await client.ask(request(b"GET", fields=b"Max-Forwards: 2\r\n"))
        last = await client.ask(request(b"OPTIONS", fields=b"Max-Forwards: 0\r\n"))

    assert [each.values(b"Max-Forwards") for each in path.api.received] == [[b"1"], [b"2"]]
    assert re.fullmatch(rb"HTTP/1.1 204 No Content\r\nDate: [^\r]+ GMT\r\n\r\n", last.head)


async def test_the_clients_request_id_is_passed_on_and_logged_and_a_bad_one_replaced() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        await client.ask(request(fields=b"X-Request-ID: order-4711\r\n"))
        await client.ask(request(fields=b"X-Request-ID: has spaces\r\n"))

    given, made = [each.values(b"X-Request-ID") for each in path.api.received]
    assert given == [b"order-4711"]
    assert re.fullmatch(rb"[0-9a-f]{32}", made[0])
    assert [entry["request_id"].encode() for entry in path.proxy.logged("request.forwarded")] == given + made
