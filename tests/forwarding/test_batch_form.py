"""What goes into a batch, and what is taken out of its answer."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.batch_form import (
    Part,
    UnreadableBatch,
    batch_body,
    batch_start,
    common_fields,
    is_batchable,
    read_parts,
    request_uri,
)
from proxy.forwarding.fields import request_fields
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.wire.head import Head

START = b"GET /api/products?x=1 HTTP/1.1\r\nHost: demo.example\r\nAccept: application/json\r\nX-Request-ID: 1\r\n"


def batchable(*accept: bytes, start: bytes = START, rest: bytes = b"/products", platform: object = SHOPRENTER) -> bool:
    lines = [b"Accept: " + value for value in accept]
    return is_batchable(Head(lines, request_fields()), start, rest, platform)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accept", "in_xml", "in_json"),
    [
        ([b"application/json"], True, True),
        ([b"Application/JSON; charset=utf-8"], True, True),
        ([b"application/json, text/json;q=0.5", b"application/hal+json"], True, True),
        ([], False, False),
        ([b""], False, False),
        ([b"*/*"], False, False),
        ([b"text/json"], False, False),
        ([b"application/json;q=0"], False, False),
        ([b"application/json;q=0.0, text/json"], False, False),
        ([b"application/json;q=0.5"], True, True),
        ([b"application/json, */*"], False, True),
        ([b"application/json, text/plain, */*;q=0.1"], False, True),
        ([b"application/json", b"application/xml;q=0.1"], False, False),
        ([b"application/json, text/html"], False, True),
        ([b"application/jsonx"], False, False),
    ],
)
def test_who_certainly_gets_json_can_go_in_a_batch(accept: list[bytes], in_xml: bool, in_json: bool) -> None:
    assert batchable(*accept) is in_xml
    assert batchable(*accept, platform=TOSS_SHOPPING) is in_json


@pytest.mark.parametrize(
    "line",
    [
        b"If-Match: *",
        b"if-unmodified-since: x",
        b"If_None_Match: x",
        b"Range: bytes=0-",
        b"X-Method-Override: PUT",
        b"X_HTTP_METHOD: x",
        b"Content-MD5: x",
        b"Content-Encoding: gzip",
        b"A: \xc5\x91",
    ],
)
def test_some_fields_go_in_no_batch(line: bytes) -> None:
    assert not batchable(b"application/json", start=START + line + b"\r\n")


def test_what_a_batch_has_in_common_is_all_but_what_frames_and_names() -> None:
    own = b"Content-Type: a\r\nAccept-Encoding: br\r\nContent-Length: 0\r\ntraceparent: x\r\n"

    fields = common_fields(START + own + b"X-Lang: hu\r\n")

    assert fields == b"Host: demo.example\r\nAccept: application/json\r\nX-Lang: hu\r\n"
    assert batch_start(b"/api/batch", fields, b"id", 5) == (
        b"POST /api/batch HTTP/1.1\r\nHost: demo.example\r\nAccept: application/json\r\nX-Lang: hu\r\n"
        b"X-Request-ID: id\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: 5\r\n"
    )


def test_a_batch_holds_absolute_uris_as_they_would_be_asked_for() -> None:
    uri = request_uri(START, "https://demo.example")

    assert uri == "https://demo.example/api/products?x=1"
    assert json.loads(batch_body([uri, 'https://x/"'])) == {
        "data": {"requests": [{"method": "GET", "uri": uri}, {"method": "GET", "uri": 'https://x/"'}]}
    }


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=9), _json, st.sampled_from(["200", 200, "404", 401, 500]), st.booleans(), st.booleans()
        ),
        max_size=5,
    )
)
def test_each_body_comes_out_byte_for_byte_however_it_is_written(
    each: list[tuple[str, object, object, bool, bool]],
) -> None:
    written = []
    expected = []
    for uri, value, status, ascii_only, spaced in each:
        body = json.dumps(value, ensure_ascii=ascii_only, indent=1 if spaced else None).replace("/", "\\/")
        head = json.dumps({"method": "GET", "uri": uri}).replace("/", "\\/")[1:-1]
        written.append(
            f'{{"more": 1, {head}, "response": {{"body": {body}, "header": {{"statusCode": {json.dumps(status)}}}}}}}'
        )
        taken = str(status) == "200" and isinstance(value, dict | list)
        expected.append(Part(int(str(status)), body.encode("utf-8", "surrogatepass") if taken else None))
    text = f'{{"requests": {{"request": [{", ".join(written)}]}}}}'.encode("utf-8", "surrogatepass")

    assert read_parts(text, [uri for uri, *_ in each]) == expected


def written(uri: str, more: bytes = b'{"statusCode": "200"}', body: bytes = b'{"a": 1}') -> bytes:
    return b'{"method": "GET", "uri": "%b", "response": {"header": %b, "body": %b}}' % (uri.encode(), more, body)


def answer(*parts: bytes) -> bytes:
    return b' {"requests" : {"request" :[ %b ] } }\n' % b" ,\n".join(parts)


TOLD = Part(200, b'{"a": 1}')


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (written("/b", b'{"statusCode": 200, "headers": ["A: b", "A: c"]}'), TOLD),
        (written("/b", b'{"statusCode": "200", "headers": {"A": "b"}}, "time": 1'), TOLD),
        (written("/b", body=b'{"n": %b}' % (b"1" * 9999)), Part(200, b'{"n": %b}' % (b"1" * 9999))),
        (written("/b", body=b'{"a": 1, "a": 2}'), Part(200, b'{"a": 1, "a": 2}')),
        (written("/b", body=b'""'), Part(200, None)),
        (written("/b", b'{"statusCode": 304}', b"null"), Part(304, None)),
        (b'{"method": "GET", "uri": "/b", "response": {"header": {"statusCode": "204"}}}', Part(204, None)),
        (written("/b", b'[{"statusCode": "200"}]'), Part(0, None)),
        (written("/b", b"{}"), Part(0, None)),
        (written("/b", b'{"statusCode": "404", "statusCode": "200"}'), Part(0, None)),
        (written("/z"), Part(0, None)),
        (written('/a", "uri": "/b'), Part(0, None)),
        (written("/b", body=b'{"a": [NaN, Infinity, -Infinity]}'), Part(0, None)),
        (written("/b", body=b'{"a": "\\udcff"}'), Part(0, None)),
        (written("/b", body=b'{"a": "\x01"}'), Part(0, None)),
        (written("/b", body=b'{"a": "\xff"}'), Part(200, None)),
        (b"null", Part(0, None)),
    ],
)
@pytest.mark.parametrize("almost", [b'{"a": 1}', b'{"a": NaN}'], ids=["JSON", "almost JSON"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "marked"])
def test_one_odd_part_leaves_the_others_as_they_are(odd: bytes, told: Part, almost: bytes, mark: bytes) -> None:
    text = mark + answer(written("/a"), odd, written("/c"), written("/d", body=almost))

    last = TOLD if almost == TOLD.body else Part(0, None)
    assert read_parts(text, ["/a", "/b", "/c", "/d"]) == [TOLD, told, TOLD, last]


@pytest.mark.parametrize(
    "text",
    [
        answer(written("/a")),
        answer(written("/a"), written("/b"), written("/c")),
        answer(written("/b"), written("/a")),
        answer(written("/b"), written("/c", body=b"NaN")),
        answer(written("/x"), written("/y")),
        answer(written("/a"), written("/b", body=b"{x}")),
        answer(written("/a"), written("/b"))[:-4],
        answer(written("/a"), written("/b")) + b"<br>",
        answer(written("/a"), written("/b", body=b"NaN"))[:-4],
        b'{"requests": {"request": [%b, %b], "request": [1, 2]}}' % (written("/a"), written("/b")),
        b'{"requests": {"request": [1, 2], "request": [%b, %b]}}' % (written("/a"), written("/b")),
    ],
)
def test_an_answer_that_is_not_for_these_calls_in_order_tells_nothing(text: bytes) -> None:
    with pytest.raises(UnreadableBatch):
        read_parts(text, ["/a", "/b"])


@given(st.binary(max_size=60))
def test_whatever_else_comes_is_told_in_one_way(body: bytes) -> None:
    with pytest.raises(UnreadableBatch):
        read_parts(body, ["https://demo.example/x"])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param('{"requests":{"request":[%s1]}}' % ("1," * 500_000), id="parts without number"),
        pytest.param('{"requests":{"request":[NaN%s]}}' % (",1" * 500_000), id="parts without number, and no JSON"),
        pytest.param('{"x":[%s1],"requests":{"request":[{},{}]}}' % ("[]," * 500_000), id="much beside the parts"),
        pytest.param('{"requests":{"request":[{"x":[%s1]},{}]}}' % ("[]," * 500_000), id="much beside a body"),
        pytest.param('{"requests":{"request":[NaN,[%s1]]}}' % ("[]," * 500_000), id="much in a part, and no JSON"),
    ],
)
def test_an_answer_that_would_be_large_in_memory_is_not_read(answer: str) -> None:
    body = answer.encode()
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBatch):
            read_parts(body, ["/a", "/b"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(body)
