"""Whatever bytes a client sends, the platform sees well-formed requests for configured shops, with the proxy's token.

What the platform gets is read by a parser of its own, stricter than any server: it takes exactly what the proxy is
meant to write, and shares no code with it. Examples are the same in each run.
"""

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from proxy.config import ServerConfig
from tests.clocks import counted_clock
from tests.peers import CHUNKED, Connection, answering, chunked, connected, request, response, serving, token_response
from tests.proxies import config, platform, proxying, shop

BASES: Final = {b"/api/one/": b"Bearer token-one", b"/api/two/": b"Bearer token-two"}
REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*) HTTP/1\.1")
FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ((?:[!-~\x80-\xff](?:[\t !-~\x80-\xff]*[!-~\x80-\xff])?)?)")
CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\r\n")


@dataclass
class StrictPeer:
    """An API that takes no request but a perfect one, and says what was wrong with others."""

    port: int = 0
    served: int = 0
    problems: list[str] = field(default_factory=list)

    async def __call__(self, connection: Connection) -> None:
        while head := await self._head(connection):
            method = self._check(head)
            await self._body(connection, head)
            self.served += 1
            await connection.send(response(b"" if method == b"HEAD" else b"ok"))

    async def _head(self, connection: Connection) -> bytes:
        try:
            return await connection.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            # The proxy leaves after whole requests alone; a head is written at once.
            if error.partial:
                self.problems.append(f"a head that ends early: {error.partial!r}")
            return b""

    def _check(self, head: bytes) -> bytes:
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        matched = REQUEST_LINE.fullmatch(line)
        fields = [FIELD.fullmatch(each) for each in lines]
        if matched is None or None in fields:
            self.problems.append(f"not well-formed: {head!r}")
            return b""
        named = [(found[1].lower(), found[2]) for found in fields if found is not None]

        def values(name: bytes) -> list[bytes]:
            return [value for known, value in named if known == name]

        expected = next((token for base, token in BASES.items() if matched[2].startswith(base)), None)
        framing = values(b"content-length") + values(b"transfer-encoding")
        checks = {
            "a target of no shop": expected is None,
            "a target that climbs": re.search(rb"(?:^|[/\\])\.\.?(?:[/\\;]|$)", _decoded(matched[2])) is not None,
            "authorization": values(b"authorization") != [expected],
            "host": values(b"host") != [b"127.0.0.1:%d" % self.port],
            "framing": len(framing) > 1 or (framing == [] and matched[1] == b"POST"),
            "length": any(not value.isdigit() for value in values(b"content-length")),
            "coding": any(value != b"chunked" for value in values(b"transfer-encoding")),
            "one hop's field": {name for name, _ in named} & {b"connection", b"upgrade", b"te", b"expect", b"cookie"},
            "underscores": [name for name, _ in named if name in (b"content_length", b"transfer_encoding")],
        }
        self.problems += [f"{what}: {head!r}" for what, wrong in checks.items() if wrong]
        return matched[1]

    async def _body(self, connection: Connection, head: bytes) -> None:
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head, re.IGNORECASE)
        if length is not None:
            await connection.reader.readexactly(int(length[1]))
        elif b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
            while True:
                line = await connection.reader.readuntil(b"\r\n")
                if CHUNK_SIZE.fullmatch(line) is None:
                    self.problems.append(f"a chunk size: {line!r}")
                    return
                data = await connection.reader.readexactly(int(line, 16) + 2)
                if not data.endswith(b"\r\n"):
                    self.problems.append(f"the end of a chunk: {data[-10:]!r}")
                if data == b"\r\n":
                    return


def _decoded(target: bytes) -> bytes:
    path = target.partition(b"?")[0]
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), path)


# What clients send


def any_of(common: tuple[bytes, ...], *rare: bytes) -> st.SearchStrategy[bytes]:
    """One of these; a rare one in one of seven, so that enough requests are clear."""
    return st.one_of(*[st.sampled_from(common)] * 6, st.sampled_from(rare))


METHODS: Final = any_of((b"GET", b"POST", b"PUT"), b"HEAD", b"OPTIONS", b"DELETE", b"TRACE", b"get", b"G T", b"")
STARTS: Final = any_of(
    (b"/one/", b"/two/"), b"/one", b"/three/", b"/One/", b"/o%6ee/", b"//one/", b"http://a/one/", b"*"
)
PARTS: Final = any_of(
    (b"/", b"x", b"?", b"%2F"),
    *(b"..", b".", b"%2e", b"\\", b"#", b"%00", b"\0", b" ", b"\xc3\xa9", b";", b"\t", b"\r", b"\n", b"\r\n"),
    *(b" HTTP/1.1\r\n", b"@", b":", b"%", b"%252e", b"&a=b", b"|", b'"'),
)
TARGETS: Final = st.builds(lambda start, parts: start + b"".join(parts), STARTS, st.lists(PARTS, max_size=4))
VERSIONS: Final = any_of((b"HTTP/1.1",), b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"")
NAMES: Final = any_of(
    (b"Connection", b"Authorization", b"Proxy-Authorization", b"X", b"Content_Length", b"Transfer_Encoding", b"Cookie"),
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"X-Forwarded-For", b"X_Forwarded_Host", b"Upgrade", b"TE"),
    *(
        b"Expect",
        b"Via",
        b"Forwarded",
        b"X-Request-ID",
        b"Max-Forwards",
        b"Content-Type",
        b"Trailer",
        b"A b",
        b"",
        b":",
    ),
)
WORDS: Final = any_of(
    (b"proxy", b"3", b"chunked", b"close", b"Basic eDp5", b"Authorization, Host, Content-Length, X-Request-ID"),
    *(b"+3", b"3, 3", b"gzip, chunked", b"\x0bchunked", b"100-continue", b"websocket", b"h2c", b"text/xml"),
    *(b"a\r\nAuthorization: b", b"a\nHost: b", b"a\rb", b"\0", b"\xe9", b"x" * 300),
)
VALUES: Final = st.one_of(*[WORDS] * 4, st.binary(max_size=12))
FIELDS: Final = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    NAMES,
    any_of((b": ",), b":", b" : ", b"", b":\r\n "),
    VALUES,
    any_of((b"\r\n",), b"\n", b"\r", b"\r\n ", b""),
)
BODIES: Final = st.one_of(
    st.just((b"", b"")),
    st.binary(max_size=40).map(lambda body: (b"Content-Length: %d\r\n" % len(body), body)),
    st.builds(
        lambda length, body: (b"Content-Length: %d\r\n" % length, body), st.integers(0, 60), st.binary(max_size=40)
    ),
    st.lists(st.binary(min_size=1, max_size=20), max_size=3).map(lambda parts: (CHUNKED, chunked(*parts))),
    st.binary(max_size=30).map(lambda body: (CHUNKED, body)),
    st.just((CHUNKED, b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n")),
)


def written(method: bytes, target: bytes, version: bytes, fields: list[bytes], body: tuple[bytes, bytes]) -> bytes:
    line = b" ".join((method, target, version))
    return line + b"\r\nHost: proxy\r\n" + b"".join(fields) + body[0] + b"\r\n" + body[1]


REQUESTS: Final = st.builds(written, METHODS, TARGETS, VERSIONS, st.lists(FIELDS, max_size=3), BODIES)
VALID: Final = st.sampled_from(
    [
        request(target=b"/one/products?full=1&x=%2F", fields=b"Accept: text/xml\r\nAuthorization: Basic eDp5\r\n"),
        request(b"POST", b"/two/orders", fields=b"Content-Type: application/json\r\n", body=b'{"a": "http://x/"}'),
        request(b"PUT", b"/one/files/1", fields=CHUNKED + b"Connection: keep-alive, X-A\r\nX-A: 1\r\n")
        + chunked(b"abc"),
        request(b"OPTIONS", b"/two/", fields=b"Max-Forwards: 3\r\nCookie: a=b\r\nX_Forwarded_For: 10.0.0.1\r\n"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests, one behind the other, after a few small accidents."""
    data = b"".join(draw(st.lists(VALID, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        lines = data.splitlines(keepends=True)
        line, byte = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(data) - 1))
        inserted = draw(
            st.one_of(st.binary(min_size=1, max_size=3), st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\0"]))
        )
        data = (
            draw(
                st.sampled_from(
                    [
                        data[:byte] + inserted + data[byte:],
                        data[:byte] + data[byte + len(inserted) :],
                        data[:byte] + data[byte:][:1] + data[byte:],
                        b"".join(lines[:line] + lines[line:][:1] + lines[line:]),
                        b"".join(lines[:line] + lines[line + 1 :]),
                        b"".join([*lines[line:][:1], *lines[:line], *lines[line + 1 :]]),
                    ]
                )
            )
            or b"\r\n"
        )
    return data


SENT: Final = st.one_of(
    mutated(),
    mutated(),
    st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join),
    st.binary(max_size=80),
)
# Cut in two anywhere, so that what belongs together arrives apart.
PIECES: Final = st.builds(
    lambda data, cut: (data[: cut % (len(data) + 1)], data[cut % (len(data) + 1) :]), SENT, st.integers(0, 400)
)


def tasks_of_the_proxy() -> int:
    """Count the tasks that are neither a peer's nor this test itself."""
    every = asyncio.all_tasks() - {asyncio.current_task()}
    return sum("serving" not in str(task.get_coro()) for task in every)


async def sent(port: int, pieces: tuple[bytes, bytes]) -> None:
    """Send these pieces over a connection of their own, and take what comes until the proxy has closed it."""
    async with connected(port) as client:
        with suppress(ConnectionError):
            for piece in pieces:
                await client.send(piece)
            await client.read_to_end()


async def test_the_platform_sees_well_formed_requests_with_the_proxys_own_token_whatever_clients_send(
    caplog: pytest.LogCaptureFixture,
) -> None:
    short = dict.fromkeys(("header_timeout", "rate_window", "keep_alive_timeout"), 0.08)  # a connection ends by itself
    limits = msgspec.structs.replace(ServerConfig(port=0, drain_timeout=1.0, min_body_rate=1e6), **short)
    loop = asyncio.get_running_loop()
    unhandled: list[object] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    strict = StrictPeer()
    async with (
        serving(answering(token_response("token-one"))) as first,
        serving(answering(token_response("token-two"))) as second,
        serving(strict) as api,
    ):
        strict.port = api.port
        base = f"http://127.0.0.1:{api.port}/api"
        shops = (
            shop("one", platform(first.port, 0, name="a", api_url=f"{base}/one/")),
            shop(
                "two",
                platform(second.port, 0, name="b", api_url=f"{base}/two/", rewrite_links=True, forwarded_headers=True),
            ),
        )
        async with proxying(config(*shops, server=limits)) as proxy:

            async def all_of(batch: list[tuple[bytes, bytes]]) -> None:
                with counted_clock():
                    await asyncio.gather(*(sent(proxy.port, pieces) for pieces in batch))

            @settings(
                max_examples=25,
                derandomize=True,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(st.lists(PIECES, min_size=20, max_size=40))
            def fuzz(batch: list[tuple[bytes, bytes]]) -> None:
                strict.problems.clear()
                asyncio.run_coroutine_threadsafe(all_of(batch), loop).result()
                assert strict.problems == []
                assert [entry for entry in proxy.events if entry["level"] in ("error", "critical")] == []

            with counted_clock():
                async with connected(proxy.port) as client:
                    assert (await client.ask(request(target=b"/one/x"))).status == 200
                    tasks = tasks_of_the_proxy()
            await asyncio.to_thread(fuzz)
            with counted_clock():
                async with connected(proxy.port) as client:
                    while proxy.running.connections.open > 1:
                        await client.ask(request(target=b"/nobody/"))
                    assert (await client.ask(request(target=b"/one/x"))).status == 200
                    assert tasks_of_the_proxy() == tasks
                    assert proxy.running.forwarder.in_flight == 0

    assert strict.served > 200
    assert strict.problems == []
    assert unhandled == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
