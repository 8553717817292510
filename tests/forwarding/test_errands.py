"""Requests that wait in line for the same are answered by one call: what each client got, what the platform saw."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.config import ClientConfig, PacingConfig, ServerConfig
from proxy.forwarding import errands
from proxy.forwarding.errands import Member, Running
from proxy.guards.errands import Outcome
from proxy.guards.pacing import UNPACED
from proxy.platforms.platform import RateLimit
from proxy.secret import Secret
from tests.forwarding.lines import ask_in_line, clock_of, in_line, set_clock, take_slot, waiting
from tests.forwarding.linking import JSON, page
from tests.forwarding.test_exchange import Parts
from tests.peers import Answer, Connection, Script, answering, request, response, token_response
from tests.proxies import WholePath, whole_path

LIMIT: dict[str, Any] = {"rate_limit": RateLimit(1, per=0.4)}
CLIENTS = {name: ClientConfig(secret=Secret(f"secret-of-{name}-0123456789")) for name in ("erp", "feed")}
FIRST = b"/demo/first"


def as_client(name: str) -> bytes:
    return f"Authorization: Bearer secret-of-{name}-0123456789\r\n".encode()


def numbered(*, fields: bytes = b"", body: bytes = b"") -> Script:
    """An API whose answers say the how many-th each is."""
    count = 0

    async def api(connection: Connection) -> None:
        nonlocal count
        while await connection.read_request() is not None:
            count += 1
            await connection.send(response(b"%d" % count + body, fields=fields))

    return api


@asynccontextmanager
async def with_a_line(api: Script, of: dict[str, Any] | None = None, **sections: Any) -> AsyncIterator[WholePath]:
    """A proxy whose only slot was just taken, so that all who come wait for the next one."""
    async with whole_path(api, of=LIMIT | (of or {}), **sections) as path:
        fields = as_client("erp") if "clients" in sections else b""
        set_clock(path)
        await take_slot(path, request(target=FIRST, fields=fields))
        yield path


def targets(path: WholePath) -> list[bytes]:
    """What the platform was asked for, after the request that took the first slot."""
    return [each.request_line.split(b" ")[1] for each in path.api.received][1:]


async def test_those_who_wait_for_the_same_are_answered_by_one_call_that_begins_after_they_came() -> None:
    async with with_a_line(numbered()) as path:
        answers = await ask_in_line(path, *[request()] * 8)
        told = path.proxy.logged("request.forwarded")[1:]
        collapsed = path.proxy.running._errand_metrics.collapsed

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"2")] * 8
    assert targets(path) == [b"/api/x"]
    assert sorted(line["attempts"] for line in told) == [0] * 7 + [1]
    [sent_as] = path.api.received[1].values(b"X-Request-ID")
    assert {(line["collapsed"], line["collapsed_size"]) for line in told} == {(sent_as.decode(), 8)}
    assert collapsed == 7


async def test_who_finds_a_slot_or_waits_alone_is_not_told_of() -> None:
    async with with_a_line(numbered()) as path:
        await ask_in_line(path, request())
        told = path.proxy.logged("request.forwarded")

    assert not any("collapsed" in line for line in told)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request(target=b"/demo/y"), id="target"),
        pytest.param(request(target=b"/demo/x?"), id="query"),
        pytest.param(request(fields=b"Accept: application/json\r\n"), id="fields"),
        pytest.param(request(body=b"1"), id="body"),
        pytest.param(request(b"DELETE"), id="method"),
    ],
)
async def test_who_asks_for_something_else_goes_alone(other: bytes) -> None:
    async with with_a_line(numbered()) as path:
        answers = await ask_in_line(path, request(), other)

    assert sorted(answer.body for answer in answers) == [b"2", b"3"]
    assert len(targets(path)) == 2


async def test_two_writes_are_two_writes() -> None:
    async with with_a_line(numbered()) as path:
        answers = await ask_in_line(path, *[request(b"PUT", body=b"")] * 2)

    assert sorted(answer.body for answer in answers) == [b"2", b"3"]


async def test_ids_and_traces_make_no_difference() -> None:
    trace = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b%d-01\r\nX-Request-ID: mine-%d\r\n"
    async with with_a_line(numbered()) as path:
        answers = await ask_in_line(path, *[request(fields=trace % (number, number)) for number in range(3)])
        told = path.proxy.logged("request.forwarded")[1:]

    assert [answer.body for answer in answers] == [b"2"] * 3
    assert {line["request_id"] for line in told} == {"mine-0", "mine-1", "mine-2"}


async def test_http_1_0_and_1_1_share_an_answer_each_with_its_own_framing() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with with_a_line(answering(response(b"first"), chunks)) as path:
        new, old = await ask_in_line(path, request(), request(version=b"1.0"))

    assert (new.body, old.body) == (b"abcde", b"abcde")
    assert old.values(b"Transfer-Encoding") == []
    assert targets(path) == [b"/api/x"]


async def test_each_gets_heads_bodies_and_framing_of_its_own() -> None:
    body = json.dumps({"href": "https://demo.old.example/products"}).encode()
    packed = page(gzip.compress(body, mtime=0), fields=JSON + b'Content-Encoding: gzip\r\nETag: "1"\r\n')
    linked = {"hosts": ("{shop}.old.example",), "rewrite_links": True}
    async with with_a_line(answering(packed), of=linked) as path:
        one, other, plain = await ask_in_line(
            path,
            request(),
            request(fields=b"Accept-Encoding: br\r\n").replace(b"Host: proxy", b"Host: other.example:81"),
            request(fields=b"Connection: close\r\n"),
        )

    assert [json.loads(answer.body)["href"] for answer in (one, other, plain)] == [
        "http://proxy/demo/products",
        "http://other.example:81/demo/products",
        "http://proxy/demo/products",
    ]
    assert [answer.values(b"Connection") for answer in (one, other, plain)] == [[], [], [b"close"]]
    assert all(answer.values(b"ETag") == [b'W/"1"'] for answer in (one, other, plain))
    assert targets(path) == [b"/api/x"]


async def test_heads_are_shared_too() -> None:
    async with with_a_line(answering(response(b"ok"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as path:

        async def ask() -> Answer:
            async with path.connect() as client:
                await client.send(request(b"HEAD"))
                return await client.read_answer(body=False)

        asked = asyncio.gather(ask(), ask())
        await in_line(path, 2)
        answers = await asked

    assert [(answer.status, answer.values(b"Content-Length")) for answer in answers] == [(200, [b"5"])] * 2
    assert len(targets(path)) == 1


@pytest.mark.parametrize(
    ("fields", "calls"),
    [
        (b"", 1),
        (b"Cache-Control: max-age=60\r\n", 1),
        (b"Cache-Control: private\r\n", 3),
        (b"Cache-Control: no-store\r\n", 3),
        (b"Set-Cookie: a=b\r\n", 3),
    ],
)
async def test_an_answer_for_one_client_is_no_other_ones(fields: bytes, calls: int) -> None:
    async with with_a_line(numbered(fields=fields), clients=CLIENTS) as path:
        names = ["erp", "feed", "erp", "feed"]
        answers = await ask_in_line(path, *[request(fields=as_client(name)) for name in names])

    assert len(targets(path)) == calls
    of_erp, of_feed = ([answers[at].body for at in places] for places in ((0, 2), (1, 3)))
    first, other = (of_erp, of_feed) if of_erp[0] == b"2" else (of_feed, of_erp)
    assert first == [b"2", b"2"]  # they are the same client
    assert sorted(other) == ([b"2", b"2"] if calls == 1 else [b"3", b"4"])  # each by itself


async def test_an_answer_that_does_not_fit_is_the_first_ones_and_the_others_go_alone() -> None:
    large = b"x" * (1 << 20)
    async with with_a_line(numbered(body=large)) as path:
        answers = await ask_in_line(path, *[request()] * 3)

    assert sorted(answer.body for answer in answers) == [b"%d" % number + large for number in (2, 3, 4)]
    assert len(targets(path)) == 3


async def test_an_answer_that_comes_slowly_is_the_first_ones_and_the_others_go_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errands, "SHARED_WITHIN", 0.05)
    ended = asyncio.Event()
    count = 0

    async def events(connection: Connection) -> None:
        nonlocal count
        while await connection.read_request() is not None:
            count += 1
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%d" % count)
            if count > 1:
                await ended.wait()
            await connection.send(b"!")

    async with with_a_line(events) as path:
        asked = asyncio.gather(ask_in_line(path, *[request()] * 2))
        while count < 3:  # noqa: ASYNC110 - the API is in this loop
            await asyncio.sleep(0.001)
        ended.set()
        [answers] = await asked

    assert sorted(answer.body for answer in answers) == [b"2!", b"3!"]


async def test_an_answer_that_just_fits_is_shared() -> None:
    large = b"x" * ((1 << 20) - 1)
    async with with_a_line(numbered(body=large)) as path:
        answers = await ask_in_line(path, *[request()] * 3)

    assert [answer.body for answer in answers] == [b"2" + large] * 3


async def test_who_leaves_does_not_disturb_the_others_and_with_the_last_one_the_call_ends() -> None:
    asked, answer, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if received.request_line.split(b" ")[1] == b"/api/x":
                asked.set()
                await answer.wait()
            elif b"/api/hangs" in received.request_line:
                asked.set()
                assert await connection.reader.read() == b""
                ended.set()
                return
            await connection.send(response(b"ok"))

    async with with_a_line(api) as path:
        async with path.connect() as first, path.connect() as second, path.connect() as third:
            for client in (first, second, third):
                await client.send(request())
            await in_line(path, 3)
            await asked.wait()
            first.close()
            await path.proxy.until_logged("request.abandoned")
            third.close()
            await path.proxy.until_logged("request.abandoned", 2)
            answer.set()
            assert (await second.read_answer()).body == b"ok"
        asked.clear()
        async with path.connect() as first, path.connect() as second:
            for client in (first, second):
                await client.send(request(target=b"/demo/hangs"))
            await asked.wait()
        await ended.wait()
        await path.proxy.until_logged("request.abandoned", 4)
        abandoned = path.proxy.logged("request.abandoned")

    assert targets(path) == [b"/api/x", b"/api/hangs"]
    assert sum(line["attempts"] for line in abandoned[2:]) == 1


async def test_who_is_gone_at_the_very_moment_of_the_answer_is_no_trouble_for_the_others() -> None:
    nothing: Any = None
    members = [Member(nothing, Parts().exchange(), nothing, nothing, "the same", None) for _ in range(2)]
    errand = Running(UNPACED, members)
    waiting = [asyncio.ensure_future(member.outcome()) for member in members]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert errand.members() == members[1:]
    errand.settle(Outcome.ALONE)
    members[0].leave()

    errand.answer(members[0], nothing)
    assert await waiting[1] is Outcome.ALONE
    assert (await asyncio.gather(waiting[0], return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_a_401_has_one_cycle_for_all() -> None:
    api = answering(response(b"first"), response(b"no", status=b"401 Unauthorized"), response(b"ok"))
    async with with_a_line(api, tokens=answering(token_response("1"), token_response("2"))) as path:
        answers = await ask_in_line(path, *[request()] * 4)

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 4
    assert [each.values(b"Authorization") for each in path.api.received[1:]] == [[b"Bearer 1"], [b"Bearer 2"]]
    assert len(path.tokens.received) == 2


async def test_a_call_that_is_forbidden_is_told_of_once_and_passes_to_all() -> None:
    api = answering(response(b"first"), response(b"40101", status=b"401 Unauthorized"))
    async with with_a_line(api, tokens=answering(token_response("1"), token_response("2"))) as path:
        answers = await ask_in_line(path, *[request()] * 4)
        told = path.proxy.logged("call.not_permitted")

    assert [(answer.status, answer.body) for answer in answers] == [(401, b"40101")] * 4
    assert all(answer.values(b"WWW-Authenticate") == [b'Bearer realm="demo"'] for answer in answers)
    assert len(targets(path)) == 2
    assert [line["inner_code"] for line in told] == [40101]


async def test_a_429_has_one_pause_for_all() -> None:
    too_fast = response(b"slow", status=b"429 Too Many Requests", fields=b"Retry-After: 1\r\n")
    async with with_a_line(answering(response(b"first"), too_fast, response(b"ok"))) as path:
        answers = await ask_in_line(path, *[request()] * 4)
        throttled = path.proxy.running.forwarder._traffic.shops["demo"].throttled

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 4
    assert len(targets(path)) == 2
    assert throttled == 1


async def test_a_429_that_is_not_waited_out_is_everybodys_once() -> None:
    too_fast = response(b"slow", status=b"429 Too Many Requests", fields=b"Retry-After: 3000\r\n")
    async with with_a_line(answering(response(b"first"), too_fast)) as path:
        answers = await ask_in_line(path, *[request()] * 4)
        throttled = path.proxy.running.forwarder._traffic.shops["demo"].throttled

    assert [(answer.status, answer.body) for answer in answers] == [(429, b"slow")] * 4
    assert len(targets(path)) == throttled == 1


async def test_what_goes_wrong_goes_wrong_for_all() -> None:
    count = 0

    async def breaking(connection: Connection) -> None:
        nonlocal count
        while await connection.read_request() is not None:
            count += 1
            if count > 1:
                await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                return
            await connection.send(response(b"first"))

    async with with_a_line(breaking) as path:
        answers = await ask_in_line(path, *[request()] * 3)

    assert [(answer.status, json.loads(answer.body)["code"]) for answer in answers] == [
        (502, "upstream_protocol_error")
    ] * 3
    assert len(targets(path)) == 1


async def test_who_can_wait_no_longer_is_refused_alone() -> None:
    count = 0

    async def api(connection: Connection) -> None:
        nonlocal count
        while await connection.read_request() is not None:
            count += 1
            if count == 2:
                return  # which takes another slot
            await connection.send(response(b"ok"))

    async with with_a_line(api, pacing=PacingConfig(max_wait=0.5)) as path:
        clock = clock_of(path)
        first = asyncio.ensure_future(path.ask(request()))
        await waiting(path, 1)
        clock.skip(0.41)  # the next slot comes up after 0.42, and one more after twice as long
        other = asyncio.ensure_future(path.ask(request()))
        await in_line(path, 2)
        refused, answer = await first, await other

    assert (refused.status, json.loads(refused.body)["code"]) == (503, "paced_out")
    assert (answer.status, answer.body) == (200, b"ok")


async def test_without_memory_for_a_common_answer_each_goes_alone() -> None:
    async with with_a_line(numbered(), server=ServerConfig(port=0, memory_budget=1 << 20)) as path:
        answers = await ask_in_line(path, *[request()] * 2)
        memory = path.proxy.running.budgets.memory

    assert [answer.status for answer in answers] == [200] * 2
    assert {answer.body for answer in answers} == {b"2", b"3"}
    assert targets(path) == [b"/api/x"] * 2
    assert (memory.taken, memory.refused["shop"]) == (0, 1)


async def test_the_memory_of_a_common_answer_is_given_back() -> None:
    async with with_a_line(numbered(), server=ServerConfig(port=0, memory_budget=1 << 24)) as path:
        await ask_in_line(path, *[request()] * 2)
        memory = path.proxy.running.budgets.memory

    assert targets(path) == [b"/api/x"]
    assert (memory.taken, memory.refused) == (0, {})


async def test_it_can_be_switched_off() -> None:
    async with with_a_line(numbered(), pacing=PacingConfig(collapse=False)) as path:
        answers = await ask_in_line(path, *[request()] * 2)

    assert sorted(answer.body for answer in answers) == [b"2", b"3"]
    assert len(targets(path)) == 2
