"""A client that may use some methods alone finds no way round that, and all that is harmless still passes."""

import gzip
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from proxy.config import ClientConfig
from proxy.secret import Secret
from tests.peers import CHUNKED, Answer, answering, chunked, request, response
from tests.proxies import WholePath, whole_path

CLIENTS = {
    "erp": ClientConfig(secret=Secret("secret-of-erp-0123456789")),
    "feed": ClientConfig(secret=Secret("secret-of-feed-0123456789"), methods=("GET", "POST")),
    "star": ClientConfig(secret=Secret("secret-of-star-0123456789"), methods=("*",)),
}
ALL, SOME = (
    b"Authorization: Bearer secret-of-erp-0123456789\r\n",
    b"Authorization: Bearer secret-of-feed-0123456789\r\n",
)
STAR = b"Authorization: Bearer secret-of-star-0123456789\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"
PARTS = b"Content-Type: multipart/form-data; boundary=x\r\n"


def path_with_clients(**of: Any) -> AbstractAsyncContextManager[WholePath]:
    return whole_path(answering(response(b"ok")), clients=CLIENTS, of={"batch_path": "batch"} | of)


def refused(answer: Answer) -> bool:
    """Tell whether the proxy has refused it, or the platform has answered."""
    if answer.status == 200:
        return False
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "client_forbidden")
    return True


FIELDS = [
    b"X-HTTP-Method-Override",
    b"x-http-method-override",
    b"X_HTTP_METHOD_OVERRIDE",
    b"X-HTTP-Method",
    b"X-Method-Override",
    b"X-Method_Override",
    b"X.HTTP.Method.Override",
    b"X-Override-Method",
    b"HTTP-Method-Override",
    b"X-Original-URL",
    b"X_Rewrite_Url",
]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("rewrite_links", [False, True])
async def test_a_field_that_names_a_method_stops_here_for_a_limited_client_alone(
    name: bytes, rewrite_links: bool
) -> None:
    fields = name + b": DELETE\r\nX-Other: 1\r\n"
    async with path_with_clients(rewrite_links=rewrite_links) as path, path.connect() as client:
        for who in (SOME, ALL, STAR, SOME):
            assert (await client.ask(request(b"POST", fields=who + fields, body=b"x"))).status == 200

    assert [seen.values(name) for seen in path.api.received] == [[], [b"DELETE"], [b"DELETE"], []]
    assert [seen.values(b"X-Other") for seen in path.api.received] == [[b"1"]] * 4
    assert [seen.request_line.split()[0] for seen in path.api.received] == [b"POST"] * 4


@pytest.mark.parametrize(
    "target",
    [
        b"/demo/x?_method=PUT",
        b"/demo/x?a=b&%5Fmethod=put",
        b"/demo?_method",
        b"/demo/x;_method=PUT",
        b"/demo/x?X-HTTP-Method-Override=PUT",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_parameter_that_names_a_method_is_refused(target: bytes, method: bytes) -> None:
    async with path_with_clients() as path:
        assert refused(await path.ask(request(method, target, fields=SOME)))
        assert path.api.received == []
        assert not refused(await path.ask(request(method, target, fields=ALL)))


BODIES: Mapping[str, tuple[bytes, bytes]] = {
    "form": (FORM, b"data[sku]=1&_method=DELETE"),
    "form, escaped": (FORM, b"data%5Bsku%5D=1&%5fm%65thod=DELETE"),
    "form without a type": (b"", b"_method=DELETE"),
    "form, said to be JSON too": (b"Content-Type: application/x-www-form-urlencoded; a=json\r\n", b"_method=DELETE"),
    "form, behind another type": (b"Content-Type: image/png, application/x-www-form-urlencoded\r\n", b"_method=DELETE"),
    "form, by the twin of a field": (
        b"Content-Type: text/xml\r\nContent_Type: application/x-www-form-urlencoded\r\n",
        b"_method=DELETE",
    ),
    "parts": (PARTS, b'--x\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--x--\r\n'),
    "JSON": (JSON, b'{"data": {}, "_method": "DELETE"}'),
    "JSON, escaped": (JSON, rb'{"\u005fmethod": "DELETE"}'),
    "packed, by the twin of a field": (FORM + b"Content_Encoding: gzip\r\n", gzip.compress(b"a=b", mtime=0)),
    "JSON, packed": (JSON + b"Content-Encoding: gzip\r\n", gzip.compress(b"{}", mtime=0)),
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("way", ["length", "chunked", "large"])
async def test_a_form_that_names_a_method_is_refused_before_anything_of_it_goes_on(what: str, way: str) -> None:
    fields, body = BODIES[what]
    if way == "large":
        filler = {
            FORM: b"a=%b&",
            b"": b"a=%b&",
            PARTS: b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n',
        }
        body = filler.get(fields, b"%b") % (b" " * 1_500_000) + body
    sent = request(b"POST", fields=SOME + fields, body=body)
    if way == "chunked":
        sent = request(b"POST", fields=SOME + fields + CHUNKED) + chunked(body[:7], body[7:])
    async with path_with_clients() as path:
        assert refused(await path.ask(sent))
        assert path.api.received == []
        assert not refused(await path.ask(sent.replace(SOME, ALL)))

    assert path.api.received[0].body == body


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (FORM, b"data[sku]=_method&method=x"),
        (JSON, b'{"method": "_method"}'),
        (JSON, b""),
        (b"Content-Type: text/xml\r\n", b'<a b="_method=">&_method=</a>'),
        (b"Content-Type: image/png\r\nContent-Encoding: gzip\r\n", b"&_method="),
        (PARTS, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n<input name="_method">\r\n--x--\r\n'),
        (JSON, b"[" + b" " * 1_500_000 + b"]"),
    ],
)
async def test_what_names_none_passes_as_it_is(fields: bytes, body: bytes) -> None:
    async with path_with_clients() as path:
        assert not refused(await path.ask(request(b"POST", fields=SOME + fields, body=body)))

    assert path.api.received[0].body == body


@pytest.mark.parametrize(
    "target",
    [
        b"/demo/batch",
        b"/demo/batch?x=1",
        b"/demo/batch/",
        b"/demo//batch",
        b"/demo/BATCH",
        b"/demo/b%61tch",
        b"/demo/batch.json",
        b"/demo/batch%00",
        b"/demo/;x/batch",
        b"/demo/%5Cbatch",
        b"/demo/index.php/batch",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_batch_is_refused(target: bytes, method: bytes) -> None:
    async with path_with_clients() as path:
        assert refused(await path.ask(request(method, target, fields=SOME)))
        assert path.api.received == []
        assert not refused(await path.ask(request(method, target, fields=ALL)))
        assert not refused(await path.ask(request(method, target, fields=STAR)))


@pytest.mark.parametrize("target", [b"/demo/batches", b"/demo/x/batch", b"/demo/x?batch"])
async def test_what_is_no_batch_passes(target: bytes) -> None:
    async with path_with_clients() as path:
        assert not refused(await path.ask(request(target=target, fields=SOME)))
        async with path_with_clients(batch_path="") as other:
            assert not refused(await other.ask(request(target=b"/demo/batch", fields=SOME)))


async def test_whoever_may_not_use_the_shop_learns_nothing_of_it_by_its_batches() -> None:
    async with path_with_clients() as path:
        answers = [
            await path.ask(request(target=target, fields=b"Authorization: Bearer x\r\n"))
            for target in (b"/demo/batch", b"/nobody/batch")
        ]

    assert [answer.status for answer in answers] == [401, 401]
