"""W3C Trace Context: what passes to the upstream, and which trace stands in the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.fields import request_fields
from proxy.forwarding.tracing import trace_id
from proxy.wire.head import Head
from tests.peers import answering, request, response
from tests.proxies import whole_path

TRACE = "0af7651916cd43dd8448eb211c80319c"
REST = f"-{TRACE}-b7ad6b7169203331-01"


def named(*fields: bytes) -> str | None:
    """The trace that a request with these lines belongs to."""
    return trace_id(Head(fields, request_fields()))


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (f"00{REST}", True),
        (f"00-{TRACE}-b7ad6b7169203331-ff", True),
        (f"cc{REST}", True),
        (f"cc{REST}-what-the-future-brings", True),
        (f"cc{REST}-", True),
        (f"cc{REST}.what-the-future-brings", False),
        (f"00{REST}-", False),
        (f"00{REST}-more", False),
        (f"ff{REST}", False),
        (f"ff{REST}-more", False),
        (f"0{REST}", False),
        (f"0g{REST}", False),
        (f"CC{REST}", False),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-B7AD6B7169203331-01", False),
        (f"00-{TRACE}-b7ad6b7169203331-0A", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE}-{'0' * 15}1-01", True),
        (f"00-{TRACE[:-1]}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}0-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-b7ad6b716920333-01", False),
        (f"00-{TRACE}-b7ad6b7169203331", False),
        (f"00-{TRACE}-b7ad6b7169203331-1", False),
        (f"00-{TRACE}-b7ad6b7169203331-001", False),
        (f"00 {REST}", False),
        (f"00{REST} ", True),  # the blank belongs to the line, not to the value
        (f" 00{REST}", True),
        (f"00{REST.replace('-', '_')}", False),
        ("", False),
    ],
)
def test_a_traceparent_is_valid_or_not(value: str, valid: bool) -> None:
    assert named(b"Accept: */*", b"TraceParent:" + value.encode()) == (TRACE if valid else None)


def test_an_id_that_is_nearly_all_zeros_is_one() -> None:
    assert named(f"traceparent: 00-{'0' * 31}1-b7ad6b7169203331-01".encode()) == "0" * 31 + "1"


def test_of_two_none_is_believed() -> None:
    assert named(*[b"traceparent: " + f"00{REST}".encode()] * 2) is None


@given(st.binary(max_size=80).map(lambda value: value.translate(None, bytes([*range(0x20), 0x7F]))))
def test_whatever_comes_is_a_plain_id_or_none(value: bytes) -> None:
    for text in (value, b"00-" + value, f"01{REST}".encode() + value):
        found = named(b"traceparent: " + text)

        assert found is None or (len(found) == 32 and set(found) <= set("0123456789abcdef"))


@pytest.mark.parametrize("value", [f"00{REST}".encode(), f"cc{REST}-\xff".encode("latin-1"), b"nonsense  %00"])
async def test_the_trace_passes_as_it_came_valid_or_not(value: bytes) -> None:
    fields = [
        (b"TRACEPARENT", value),
        (b"tracestate", b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (b"TraceState", b"a@b= \t,,=,z=\xe9~"),
    ]
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    async with whole_path(answering(response())) as path:
        answer = await path.ask(request(fields=lines))
        [line] = path.proxy.logged("request.forwarded")

    assert answer.status == 200
    assert [field for field in path.api.received[0].fields if field[0].lower().startswith(b"trace")] == fields
    assert line.get("trace_id") == (None if value.startswith(b"nonsense") else TRACE)


async def test_a_refused_request_tells_its_trace_and_one_without_tells_none() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(target=b"/nobody/", fields=f"traceparent: 00{REST}\r\n".encode()))
        await path.ask(request())

        assert path.proxy.logged("request.refused")[0]["trace_id"] == TRACE
        assert "trace_id" not in path.proxy.logged("request.forwarded")[0]
