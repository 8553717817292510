"""Different questions that wait for one shop go as one batch: what each client got, what the platform saw."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from proxy.config import ClientConfig, PacingConfig, ServerConfig
from proxy.forwarding import batch_size, batching
from proxy.platforms.batch import Batch
from proxy.platforms.platform import RateLimit
from proxy.platforms.shop import Shops
from proxy.secret import Secret
from tests.forwarding.lines import ask_in_line, clock_of, in_line, set_clock, take_slot, waiting
from tests.peers import Answer, Connection, Received, Script, request, response, token_response
from tests.proxies import WholePath, whole_path

JSON = b"Accept: application/json\r\n"
TYPE = b"Content-Type: application/json\r\n"
OF: dict[str, Any] = {
    "rate_limit": RateLimit(1, per=0.4),
    "batch": Batch("batch", most=50),
    "batch_path": "batch",
    "answers_in_xml": True,
}
Reply = Callable[[list[str]], bytes]


def single(target: bytes) -> bytes:
    """What the API says to one GET: nothing that another JSON writer would write like that."""
    return b'{"at": "%b" , "price":139900.0000,\n"name":"\\u0150r\\/\xc5\x91"}' % target.replace(b'"', b"")


def part(uri: str, *, status: object = "200", body: bytes | None = None, method: str = "GET") -> bytes:
    path = uri.partition("://")[2].partition("/")[2]
    own = single(b"/" + path.encode()) if body is None else body
    head = json.dumps({"method": method, "uri": uri}).replace("/", "\\/").encode()[:-1]
    return head + b', "response": {"header": {"statusCode": %s}, "body": %s}}' % (json.dumps(status).encode(), own)


def parts(*each: bytes) -> bytes:
    return b'{"requests": {"request": [%b]}}' % b",".join(each)


def good(uris: list[str]) -> bytes:
    return response(parts(*map(part, uris)), fields=TYPE)


def shop_api(*replies: Reply) -> Script:
    """An API that answers batches with `replies` in turn, the last one again and again."""
    left = list(replies)

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST /api/batch "):
                reply = left.pop(0) if len(left) > 1 else left[0]
                await connection.send(reply(uris_of(received)))
            else:
                await connection.send(response(single(received.request_line.split(b" ")[1]), fields=TYPE))

    return api


def uris_of(received: Received) -> list[str]:
    asked = json.loads(received.body)["data"]["requests"]
    assert all(each["method"] == "GET" and each.keys() == {"method", "uri"} for each in asked)
    return [each["uri"] for each in asked]


@asynccontextmanager
async def with_a_line(
    api: Script, of: dict[str, Any] | None = None, *, speed: float = 10, **sections: Any
) -> AsyncIterator[WholePath]:
    """A proxy whose only slot is to be taken, so that all who come wait for the next one."""
    async with whole_path(api, of=OF | (of or {}), batch=True, **sections) as path:
        set_clock(path, speed)
        yield path


async def first(path: WholePath, fields: bytes = b"") -> None:
    """Take the slot."""
    await take_slot(path, request(b"PUT", b"/demo/first", body=b"x", fields=fields))


async def ask_all(path: WholePath, *requests: bytes) -> list[Answer]:
    await first(path)
    return await ask_in_line(path, *requests)


def get(name: object, fields: bytes = JSON) -> bytes:
    return request(target=f"/demo/{name}".encode(), fields=fields)


def seen(path: WholePath) -> list[tuple[str, int]]:
    """What the platform was asked for, but for what took slots: the path, and the number of parts."""
    asked = [each for each in path.api.received if not each.request_line.startswith(b"PUT")]
    sizes = [len(uris_of(each)) if each.request_line == b"POST /api/batch HTTP/1.1" else 1 for each in asked]
    return [(each.request_line.split(b" ")[1].decode(), size) for each, size in zip(asked, sizes, strict=True)]


def told(path: WholePath) -> list[dict[str, Any]]:
    return [line for line in path.proxy.logged("request.forwarded") if line["method"] != "PUT"]


NAMES = ("a", "b?x=1", "c/d=", "e?")


async def test_what_waits_goes_as_one_batch_and_each_gets_its_part_byte_for_byte() -> None:
    async with with_a_line(shop_api(good)) as path:
        answers = await ask_all(path, *map(get, NAMES))
        lines = told(path)
        metrics = path.proxy.running._errand_metrics

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in NAMES]
    assert [(answer.status, answer.values(b"Content-Type")) for answer in answers] == [(200, [b"application/json"])] * 4
    assert all(len(answer.values(b"Date")) == 1 for answer in answers)
    assert seen(path) == [("/api/batch", 4)]
    batch = path.api.received[-1]
    assert sorted(uris_of(batch)) == sorted(f"http://127.0.0.1:{path.api.port}/api/{name}" for name in NAMES)
    assert batch.values(b"Accept") == [b"application/json"]
    assert batch.values(b"Content-Type") == [b"application/json"]
    assert batch.values(b"Authorization") == [b"Bearer token-1"]
    [sent_as] = batch.values(b"X-Request-ID")
    assert {(line["batch"], line["batch_size"]) for line in lines} == {(sent_as.decode(), 4)}
    assert sorted(line["attempts"] for line in lines) == [0, 0, 0, 1]
    assert (metrics.batches, metrics.batched, metrics.collapsed) == (1, 4, 0)


async def test_without_being_asked_for_there_is_no_batch() -> None:
    async with whole_path(shop_api(good), of=OF) as path:
        set_clock(path)
        answers = await ask_all(path, *map(get, "ab"))

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert sorted(seen(path)) == [("/api/a", 1), ("/api/b", 1)]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request(target=b"/demo/b"), id="no Accept"),
        pytest.param(get("b", b"Accept: */*\r\n"), id="anything"),
        pytest.param(get("b", b"Accept: application/json, */*;q=0.1\r\n"), id="JSON or anything"),
        pytest.param(get("b", b"Accept: application/xml\r\n"), id="XML"),
        pytest.param(get("b", b"Accept: application/json;q=0\r\n"), id="no JSON"),
        pytest.param(get("b", JSON + b"Range: bytes=0-1\r\n"), id="range"),
        pytest.param(get("b", JSON + b'If-None-Match: "1"\r\n'), id="condition"),
        pytest.param(get("b", JSON + b"If_Modified_Since: x\r\n"), id="condition for PHP"),
        pytest.param(get("b", JSON + b"X-HTTP-Method-Override: DELETE\r\n"), id="another method by a field"),
        pytest.param(get("b?_method=DELETE"), id="another method by a parameter"),
        pytest.param(get("batch/"), id="a batch"),
        pytest.param(get("b", JSON + b"X-Lang: hu\r\n"), id="other fields"),
        pytest.param(request(b"HEAD", b"/demo/b", fields=JSON), id="HEAD"),
        pytest.param(request(b"POST", b"/demo/b", fields=JSON, body=b"{}"), id="a write"),
        pytest.param(request(b"GET", b"/demo/b", fields=JSON, body=b"{}"), id="a body"),
    ],
)
async def test_what_a_batch_might_change_goes_alone(other: bytes) -> None:
    async with with_a_line(shop_api(good)) as path:

        async def ask(sent: bytes) -> Answer:
            async with path.connect() as client:
                await client.send(sent)
                return await client.read_answer(body=not sent.startswith(b"HEAD"))

        await first(path)
        asked = asyncio.gather(ask(get("a")), ask(other))
        await in_line(path, 2)
        answers = await asked

    assert [answer.status for answer in answers] == [200, 200]
    assert ("/api/a", 1) in seen(path)
    assert [size for _, size in seen(path)] == [1, 1]


@pytest.mark.parametrize(
    "fields",
    [
        JSON + b"Content-Type: application/json\r\n",
        JSON + b"Accept-Encoding: br\r\n",
        JSON + b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    ],
)
async def test_fields_that_only_frame_or_name_a_request_keep_nobody_apart(fields: bytes) -> None:
    async with with_a_line(shop_api(good)) as path:
        answers = await ask_all(path, get("a"), get("b", fields))

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert seen(path) == [("/api/batch", 2)]


async def test_http_1_0_and_1_1_go_in_one_batch() -> None:
    async with with_a_line(shop_api(good)) as path:
        answers = await ask_all(path, get("a"), get("b").replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert seen(path) == [("/api/batch", 2)]


async def test_those_who_ask_the_same_share_a_part() -> None:
    async with with_a_line(shop_api(good)) as path:
        answers = await ask_all(path, *[get(name) for name in "abab"])

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abab"]
    assert seen(path) == [("/api/batch", 2)]
    assert [line["batch_size"] for line in told(path)] == [4] * 4


async def test_without_collapse_each_has_a_part_of_its_own() -> None:
    async with with_a_line(shop_api(good), pacing=PacingConfig(collapse=False)) as path:
        answers = await ask_all(path, *[get(name) for name in "aab"])

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "aab"]
    assert seen(path) == [("/api/batch", 3)]


async def test_links_are_those_of_each_client() -> None:
    def linked(uris: list[str]) -> bytes:
        body = gzip.compress(parts(*(part(uri, body=b'{"href":"https:\\/\\/demo.old.example\\/x"}') for uri in uris)))
        return response(body, fields=TYPE + b"Content-Encoding: gzip\r\n")

    of = {"hosts": ("{shop}.old.example",), "rewrite_links": True}
    async with with_a_line(shop_api(linked), of) as path:
        one, other = await ask_all(path, get("a"), get("b").replace(b"Host: proxy", b"Host: other.example"))

    assert one.body == b'{"href":"http:\\/\\/proxy\\/demo\\/x"}'
    assert other.body == b'{"href":"http:\\/\\/other.example\\/demo\\/x"}'
    assert path.api.received[-1].values(b"Accept-Encoding") == [b"gzip"]
    assert seen(path) == [("/api/batch", 2)]


# Parts


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"status": "404", "body": b'"no such resource"'}, id="404"),
        pytest.param({"status": 301, "body": b"{}"}, id="301"),
        pytest.param({"status": "401", "body": b'"no permission"'}, id="401"),
        pytest.param({"status": "500", "body": b"{}"}, id="500"),
        pytest.param({"status": "204", "body": b"[]"}, id="204"),
        pytest.param({"body": b'"a text"'}, id="text"),
        pytest.param({"body": b"null"}, id="null"),
        pytest.param({"body": b'""'}, id="nothing"),
        pytest.param({"body": b'{"name": "\xd5r"}'}, id="Latin-2"),
        pytest.param({"body": b'{"weight": NaN, "size": -Infinity}'}, id="NaN"),
        pytest.param({"body": b'{"name": "\\ud800"}'}, id="half of a pair of surrogates"),
        pytest.param({"body": b'{"name": "a\tb"}'}, id="a raw tab"),
        pytest.param({"body": b'{"x": 1}, "body": {"x": 2}'}, id="two bodies"),
        pytest.param({"body": b'{"x": 1}, "header": {"statusCode": "404"}'}, id="two heads"),
        pytest.param({"status": "200 OK"}, id="a status in words"),
        pytest.param({"status": 200.0}, id="a status with a fraction"),
        pytest.param({"status": {"code": 200}}, id="a status that is an object"),
        pytest.param({"status": None}, id="no status"),
        pytest.param({"method": "HEAD"}, id="another method"),
    ],
)
async def test_a_part_that_is_no_answer_goes_again_alone(bad: dict[str, Any]) -> None:
    def one_bad(uris: list[str]) -> bytes:
        return response(parts(*(part(uri, **(bad if uri.endswith("/bad") else {})) for uri in uris)))

    async with with_a_line(shop_api(one_bad)) as path:
        answers = await ask_all(path, get("a"), get("bad"), get("c"))
        lines = {line["path"]: line for line in told(path)}

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/bad"), single(b"/api/c")]
    assert seen(path) == [("/api/batch", 3), ("/api/bad", 1)]
    assert "batch" not in lines["/bad"]
    assert lines["/bad"]["attempts"] == 1 + (lines["/a"]["attempts"] + lines["/c"]["attempts"] == 0)


async def test_a_kind_that_is_known_to_be_forbidden_goes_in_no_batch() -> None:
    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            target = received.request_line.split(b" ")[1]
            if target.startswith(b"/api/orders"):
                await connection.send(response(b"40101", status=b"401 Unauthorized"))
            elif target == b"/api/batch":
                assert not any("/orders" in uri for uri in uris_of(received))
                await connection.send(good(uris_of(received)))
            else:
                await connection.send(response(single(target)))

    async with with_a_line(api) as path:
        [refused] = await ask_in_line(path, get("orders/1"), wait=0)
        assert refused.status == 401
        answers = await ask_all(path, get("orders/2"), get("a"), get("b"))

    assert [answer.status for answer in answers] == [401, 200, 200]
    assert ("/api/batch", 2) in seen(path)


# The whole


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda uris: response(b"<html>"), id="no JSON"),
        pytest.param(lambda uris: response(b'{"requests": {}}'), id="no parts"),
        pytest.param(lambda uris: response(parts(*map(part, uris[1:]))), id="one missing"),
        pytest.param(lambda uris: response(parts(*map(part, [*uris, uris[0]]))), id="one too many"),
        pytest.param(lambda uris: response(parts(*map(part, reversed(uris)))), id="another order"),
        pytest.param(lambda uris: response(parts(*(part(uri, method="POST") for uri in uris))), id="another method"),
        pytest.param(lambda uris: response(parts(*(part(uri, status="") for uri in uris))), id="no status"),
        pytest.param(lambda uris: response(parts(*(part(uri, status=None) for uri in uris))), id="null for a status"),
        pytest.param(lambda uris: response(b"{}", fields=b"Content-Encoding: gzip\r\n"), id="broken gzip"),
        pytest.param(lambda uris: response(b"{}", fields=b"Content-Encoding: br\r\n"), id="unknown coding"),
        pytest.param(lambda uris: response(b"no", status=b"404 Not Found"), id="404"),
        pytest.param(lambda uris: response(b"no", status=b"403 Forbidden"), id="403"),
        pytest.param(lambda uris: response(b"no", status=b"500 X"), id="500"),
        pytest.param(
            lambda uris: response(b"<html>", status=b"502 X", fields=b"Content-Type: text/html\r\n"), id="502"
        ),
        pytest.param(lambda uris: response(b"no", status=b"503 X", fields=b"Retry-After: 60\r\n"), id="503"),
        pytest.param(lambda uris: response(b"no", status=b"301 X", fields=b"Location: /\r\n"), id="301"),
        pytest.param(
            lambda uris: b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\nConnection: close\r\n\r\n", id="broken off"
        ),
        pytest.param(lambda uris: b"HTTP/nonsense\r\n\r\n", id="no HTTP"),
    ],
)
async def test_an_answer_that_makes_no_sense_sends_all_singly_and_ends_batches_for_a_while(reply: Reply) -> None:
    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST"):
                data = reply(uris_of(received))
                await connection.send(data)
                if b"99999" in data:
                    return
            else:
                await connection.send(response(single(received.request_line.split(b" ")[1])))

    async with with_a_line(api, {"rate_limit": RateLimit(1, per=0.15)}) as path:
        answers = await ask_all(path, get("a"), get("b"))
        later = await ask_all(path, get("c"), get("d"))
        [given_up] = path.proxy.logged("batch.given_up")
        failed = path.proxy.running._errand_metrics.failed_batches

    assert [answer.body for answer in answers + later] == [single(f"/api/{name}".encode()) for name in "abcd"]
    assert seen(path)[0] == ("/api/batch", 2)
    assert sorted(seen(path)[1:]) == [(f"/api/{name}", 1) for name in "abcd"]
    assert (given_up["shop"], given_up["calls"], bool(given_up["why"])) == ("demo", 2, True)
    assert failed == {"unreadable": 1}


@pytest.mark.parametrize("status", [b"504 Gateway Time-out", b"413 Content Too Large"])
async def test_what_was_too_much_goes_in_halves(status: bytes) -> None:
    def reply(uris: list[str]) -> bytes:
        return response(b"too much", status=status) if len(uris) > 3 else good(uris)

    async with with_a_line(shop_api(reply)) as path:
        answers = await ask_all(path, *map(get, "abcdef"))
        failed = path.proxy.running._errand_metrics.failed_batches

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcdef"]
    assert seen(path) == [("/api/batch", 6), ("/api/batch", 3), ("/api/batch", 3)]
    assert failed == {"too_much": 1}


async def test_halves_stay_together_although_there_are_slots_for_each() -> None:
    """As when a batch was given up after seconds: who comes back first does not go alone."""

    def reply(uris: list[str]) -> bytes:
        if len(uris) <= 3:
            return good(uris)
        clock_of(path).skip(15.0)
        clock_of(path).go()
        return response(b"too slow", status=b"504 Gateway Time-out")

    async with with_a_line(shop_api(reply), {"rate_limit": RateLimit(3, per=0.4)}) as path:
        for _ in range(2):
            await first(path)
        answers = await ask_all(path, *map(get, "abcdef"))

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcdef"]
    assert seen(path) == [("/api/batch", 6), ("/api/batch", 3), ("/api/batch", 3)]


async def test_an_answer_that_is_too_large_is_asked_for_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "HOLD", 60.0)  # however long a busy machine takes for so much

    def reply(uris: list[str]) -> bytes:
        return response(parts(*(part(uri, body=b'{"x":"%b"}' % (b"x" * 2_500_000)) for uri in uris)))

    async with with_a_line(shop_api(reply), {"rate_limit": RateLimit(1, per=0.1)}, speed=1) as path:
        answers = await ask_all(path, *map(get, "abcd"))

    assert [len(answer.body) for answer in answers] == [2_500_008] * 4
    assert seen(path) == [("/api/batch", 4), ("/api/batch", 2), ("/api/batch", 2)]


async def test_a_batch_that_takes_too_long_is_ended_and_goes_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LONGEST", 0.1)
    hung = asyncio.Event()

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST") and len(uris_of(received)) > 2:
                assert await connection.reader.read() == b""
                monkeypatch.setattr(batching, "LONGEST", 60.0)  # a busy machine may take longer for the halves
                hung.set()
                return
            reply = good(uris_of(received)) if received.request_line.startswith(b"POST") else response(b"ok")
            await connection.send(reply)

    async with with_a_line(api, speed=2) as path:
        answers = await ask_all(path, *map(get, "abcd"))
        await hung.wait()

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcd"]
    assert seen(path) == [("/api/batch", 4), ("/api/batch", 2), ("/api/batch", 2)]


async def test_a_401_for_the_whole_is_tried_once_more_with_another_token() -> None:
    refused = response(b"no", status=b"401 Unauthorized")
    script = shop_api(lambda uris: refused, good)
    tokens = shop_tokens()
    async with with_a_line(script, tokens=tokens) as path:
        answers = await ask_all(path, *map(get, "ab"))

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert seen(path) == [("/api/batch", 2)] * 2
    assert [each.values(b"Authorization") for each in path.api.received[1:]] == [
        [b"Bearer token-1"],
        [b"Bearer token-2"],
    ]


async def test_a_401_that_stays_sends_all_singly() -> None:
    refused = response(b"no", status=b"401 Unauthorized")
    async with with_a_line(shop_api(lambda uris: refused), tokens=shop_tokens()) as path:
        answers = await ask_all(path, *map(get, "ab"))
        not_permitted = path.proxy.logged("call.not_permitted")

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert seen(path)[:2] == [("/api/batch", 2)] * 2
    assert not_permitted == []


def shop_tokens() -> Script:
    count = 0

    async def tokens(connection: Connection) -> None:
        nonlocal count
        while await connection.read_request() is not None:
            count += 1
            await connection.send(token_response(f"token-{count}"))

    return tokens


TOO_FAST = response(b"slow", status=b"429 Too Many Requests", fields=b"Retry-After: 1\r\n")


async def test_too_fast_sends_all_back_to_the_line_after_one_pause() -> None:
    async with with_a_line(shop_api(lambda uris: TOO_FAST, good)) as path:
        answers = await ask_all(path, *map(get, "abc"))
        throttled = path.proxy.running.forwarder._traffic.shops["demo"].throttled

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abc"]
    assert seen(path) == [("/api/batch", 3)] * 2
    assert throttled == 1


async def test_again_and_again_too_fast_ends_batches_for_the_shop_with_a_line_in_the_log() -> None:
    soon = TOO_FAST.replace(b"Retry-After: 1", b"Retry-After: 0")
    async with with_a_line(shop_api(lambda uris: soon), {"rate_limit": RateLimit(3, per=0.05)}) as path:
        size = path.proxy.running.forwarder._errands._batching
        await path.ask(get("w"))
        shop = path.proxy.running.forwarder.site.routes.find("demo")
        assert shop is not None
        for _ in range(2):
            assert not size.size(shop).throttled(size.clock(), inside=False)
        for _ in range(2):
            await first(path)
        answers = await ask_in_line(path, *map(get, "ab"))
        [off] = path.proxy.logged("batch.off")

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert [size for _, size in seen(path)].count(2) == 1
    assert "batch = false" in off["why"]


async def test_parts_that_came_too_fast_go_alone_and_end_batches_for_the_shop() -> None:
    def counting(uris: list[str]) -> bytes:
        return response(parts(part(uris[0]), *(part(uri, status=429, body=b'"slow"') for uri in uris[1:])))

    async with with_a_line(shop_api(counting), {"rate_limit": RateLimit(3, per=0.1)}) as path:
        for _ in range(2):
            await first(path)
        answers = await ask_all(path, *map(get, "abc"))
        throttled = path.proxy.running._pacing_metrics.throttled
        [_] = path.proxy.logged("batch.off")

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abc"]
    assert seen(path)[0] == ("/api/batch", 3)
    assert [size for _, size in seen(path)[1:]] == [1, 1]
    assert throttled == 1


# Side by side


async def test_a_kept_connection_that_is_lost_ends_no_batches() -> None:
    lost = 0

    async def api(connection: Connection) -> None:
        nonlocal lost
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST") and not lost:
                lost += 1
                return
            uris = uris_of(received) if received.request_line.startswith(b"POST") else []
            await connection.send(good(uris) if uris else response(b"ok"))

    async with with_a_line(api) as path:
        answers = await ask_all(path, *map(get, "ab"))
        given_up = path.proxy.logged("batch.given_up")

    assert [answer.body for answer in answers] == [single(b"/api/a"), single(b"/api/b")]
    assert seen(path) == [("/api/batch", 2)] * 2
    assert given_up == []


async def test_a_shop_with_a_batch_under_way_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MAX_SHOPS", 1)

    def route(key: bytes, most: int = 50) -> Any:
        platform = SimpleNamespace(batch=Batch("batch", most=most))
        return SimpleNamespace(token_request=SimpleNamespace(application=key), shop=SimpleNamespace(platform=platform))

    async with with_a_line(shop_api(good)) as path:
        known = path.proxy.running.forwarder._errands._batching
        busy = known.size(route(b"busy"))
        busy.begun_at = 1.0
        idle = known.size(route(b"idle"))
        known.size(route(b"another"))

        assert known.size(route(b"busy", most=4)) is busy
        assert busy.most(1.0) == 4
        assert known.size(route(b"idle")) is not idle


async def test_batches_of_a_shop_go_one_after_the_other() -> None:
    under_way = most = 0

    async def api(connection: Connection) -> None:
        nonlocal under_way, most
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST"):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.05)
                under_way -= 1
                await connection.send(good(uris_of(received)))
            else:
                await connection.send(response(single(received.request_line.split(b" ")[1])))

    of = {"rate_limit": RateLimit(4, per=0.2), "batch": Batch("batch", most=2)}
    async with with_a_line(api, of, speed=4) as path:
        for _ in range(3):
            await first(path)
        answers = await ask_all(path, *map(get, "abcdef"))

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcdef"]
    assert [size for _, size in seen(path)] == [2, 2, 2]
    assert most == 1


async def two_and_two_behind(
    path: WholePath, asked: asyncio.Event
) -> tuple["asyncio.Future[list[Answer]]", "asyncio.Future[list[Answer]]"]:
    """Have a batch of two under way, and two who wait behind it while the clock stands."""
    together = asyncio.gather(*(path.ask(get(name)) for name in "ab"))
    await in_line(path, 2)
    await asked.wait()
    clock_of(path).stand()
    behind = asyncio.gather(*(path.ask(get(name)) for name in "cd"))
    await waiting(path, 2)
    return together, behind


def holding_batches(asked: asyncio.Event, answer: asyncio.Event) -> Script:
    """An API that tells when it is `asked` for a batch, and has it wait until it is to `answer`."""

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST"):
                asked.set()
                await answer.wait()
                await connection.send(good(uris_of(received)))
            else:
                await connection.send(response(single(received.request_line.split(b" ")[1]), fields=TYPE))

    return api


async def test_while_a_batch_takes_long_others_go_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "HOLD", 0.1)
    asked, answer = asyncio.Event(), asyncio.Event()

    async with with_a_line(holding_batches(asked, answer), {"rate_limit": RateLimit(2, per=0.2)}) as path:
        await first(path)
        slow = asyncio.gather(ask_all(path, get("a"), get("b")))
        await asked.wait()
        alone = await ask_in_line(path, *map(get, "cd"))
        answer.set()
        [together] = await slow

    assert [each.body for each in [*together, *alone]] == [single(f"/api/{name}".encode()) for name in "abcd"]
    assert sorted(seen(path)) == [("/api/batch", 2), ("/api/c", 1), ("/api/d", 1)]


async def test_who_leaves_does_not_disturb_the_others_and_with_the_last_one_the_batch_ends() -> None:
    asked, answer, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.startswith(b"POST"):
                asked.set()
                if any(uri.endswith("hangs") for uri in uris_of(received)):
                    assert await connection.reader.read() == b""
                    ended.set()
                    return
                await answer.wait()
                await connection.send(good(uris_of(received)))
            else:
                await connection.send(response(b"ok"))

    async with with_a_line(api) as path:
        await first(path)
        async with path.connect() as leaving, path.connect() as staying:
            await leaving.send(get("a"))
            await staying.send(get("b"))
            await in_line(path, 2)
            await asked.wait()
            leaving.close()
            await path.proxy.until_logged("request.abandoned")
            answer.set()
            assert (await staying.read_answer()).body == single(b"/api/b")
        asked.clear()
        await first(path)
        async with path.connect() as one, path.connect() as other:
            await one.send(get("hangs"))
            await other.send(get("c"))
            await in_line(path, 2)
            await asked.wait()
        await ended.wait()
        await path.proxy.until_logged("request.abandoned", 3)
        lines = path.proxy.logged("request.abandoned")

    assert seen(path) == [("/api/batch", 2)] * 2
    assert sum(line["attempts"] for line in lines[1:]) == 1


CLIENTS = {
    "erp": ClientConfig(secret=Secret("secret-of-erp-0123456789")),
    "feed": ClientConfig(secret=Secret("secret-of-feed-0123456789"), methods=("GET",), shops=("demo",)),
}


async def test_clients_keep_their_rules_and_get_nothing_that_is_meant_for_one_of_them() -> None:
    erp, feed = (f"Authorization: Bearer secret-of-{name}-0123456789\r\n".encode() for name in CLIENTS)

    def for_one(uris: list[str]) -> bytes:
        return response(parts(*map(part, uris)), fields=b"Set-Cookie: session=1\r\nCache-Control: private\r\n")

    async with with_a_line(shop_api(for_one), clients=CLIENTS) as path:
        await first(path, erp)
        answers = await ask_in_line(
            path,
            get("a", erp + JSON),
            get("b", feed + JSON),
            get("b", erp + JSON),
            request(b"POST", b"/demo/batch", fields=feed + JSON, body=b"{}"),
            wait=3,
        )

    assert [answer.status for answer in answers] == [200, 200, 200, 403]
    assert [answer.body for answer in answers[:3]] == [single(b"/api/a"), single(b"/api/b"), single(b"/api/b")]
    assert not any(answer.values(b"Set-Cookie") for answer in answers[:3])
    assert seen(path) == [("/api/batch", 2), ("/api/b", 1)]


@pytest.mark.parametrize("removed", [False, True], ids=["batches switched off", "shop removed"])
async def test_a_configuration_that_is_taken_in_the_middle_of_a_batch_disturbs_nobody(*, removed: bool) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async with with_a_line(holding_batches(asked, answer)) as path:
        await first(path)
        running = path.proxy.running
        together, behind = await two_and_two_behind(path, asked)
        shops = {} if removed else {key: replace(shop, batch=False) for key, shop in running.config.shops.named.items()}
        await running.take(msgspec.structs.replace(running.config, shops=Shops(shops)))
        clock_of(path).go()
        answer.set()
        answers = [*await together, *await behind]
        later = await path.ask(get("e"))

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcd"]
    assert later.status == (404 if removed else 200)


async def test_who_leaves_the_line_is_in_no_batch_and_who_leaves_with_its_answer_disturbs_nobody() -> None:
    async with with_a_line(shop_api(good)) as path:
        await first(path)
        async with path.connect() as leaving:
            await leaving.send(get("a"))
            await waiting(path, 1)
        await path.proxy.until_logged("request.abandoned")
        async with path.connect() as deaf:
            await deaf.send(get("b"))
            answers = asyncio.gather(*(path.ask(get(name)) for name in "cd"))
            await in_line(path, 3)
            await path.proxy.until_logged("request.forwarded", 2)
        others = await answers

    assert [answer.body for answer in others] == [single(b"/api/c"), single(b"/api/d")]
    assert [size for _, size in seen(path)] == [3]
    assert not any(uri.endswith("/a") for uri in uris_of(path.api.received[-1]))


async def test_a_proxy_that_is_stopped_answers_those_in_a_batch_and_those_who_wait_for_the_next_one() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    patient = ServerConfig(port=0, drain_timeout=60.0)
    async with with_a_line(holding_batches(asked, answer), server=patient) as path:
        await first(path)
        together, behind = await two_and_two_behind(path, asked)
        stopping = asyncio.ensure_future(path.stop())
        await path.proxy.until_logged("proxy.stopping")
        clock_of(path).go()
        answer.set()
        answers = [*await together, *await behind]
        await stopping

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abcd"]
    assert seen(path) == [("/api/batch", 2)] * 2


async def test_a_pause_that_is_too_long_for_those_in_a_batch_is_told_to_them() -> None:
    long = response(b"slow", status=b"429 Too Many Requests", fields=b"Retry-After: 900\r\n")
    async with with_a_line(shop_api(lambda uris: long)) as path:
        answers = await ask_all(path, *map(get, "abc"))

    assert seen(path) == [("/api/batch", 3)]
    assert [answer.status for answer in answers] == [503] * 3
    assert all(int(answer.values(b"Retry-After")[0]) > 0 for answer in answers)


async def test_two_names_of_one_shop_share_batches() -> None:
    async with with_a_line(shop_api(good)) as path:
        await first(path)
        running = path.proxy.running
        demo = running.config.shops.named["demo"]
        shops = Shops({"demo": demo, "other": replace(demo, key="other")})
        await running.take(msgspec.structs.replace(running.config, shops=shops))
        other = [get(name).replace(b"/demo/", b"/other/") for name in "bc"]
        answers = await ask_in_line(path, get("a"), *other)

    assert [answer.body for answer in answers] == [single(f"/api/{name}".encode()) for name in "abc"]
    assert seen(path) == [("/api/batch", 3)]
