"""What is repaired in a head means what it meant, and what touches the end of a message is never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.wire.repair import broken_field, encoded_target, repaired_answer, without_upgrade

REST = b" HTTP/1.1\r\nHost: h\r\nX-Name: k\xe9k\r\n\r\n"


# Letters outside ASCII in a target (RFC 9112 §3.2)


@pytest.mark.parametrize(
    ("target", "encoded"),
    [
        ("/demo/kék".encode(), b"/demo/k%C3%A9k"),
        (b"/demo/k\xe9k", b"/demo/k%E9k"),
        (b"/demo/?q=\x80\xff&r=%e9", b"/demo/?q=%80%FF&r=%e9"),
        (b"/\xc3\xa9/x", b"/%C3%A9/x"),
        (b"/demo/\xe9\tx", b"/demo/%E9\tx"),  # still none
    ],
)
@pytest.mark.parametrize(
    "method",
    [
        *(b"GET ", b"POST  ", b"\r\nGET ", b"M-SEARCH "),
        *(b"GET http://h", b"POST HTTPS://h.example:8080", b"GET http://[::1]:80"),
    ],
)
def test_letters_in_path_and_query_are_percent_encoded(method: bytes, target: bytes, encoded: bytes) -> None:
    assert encoded_target(method + target + REST) == method + encoded + REST
    assert encoded_target(method + target) == method + encoded  # where no more of it has come yet


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET",
        b"GET ",
        b"GET /demo/x" + REST,
        b"GET /demo/%e9" + REST,
        b"GET http://h\xe9/\xe9" + REST,
        b"GET http://h\xe9?\xe9" + REST,
        b"GET ftp://h/\xe9" + REST,
        b"GET http:/\xe9" + REST,
        b"GET \xe9" + REST,
        b"G\xc9T /" + REST,
        b"\xe9\xe9 /\xe9" + REST,
        b"get /\xe9" + REST,
        b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03 /\xe9",
        b"GET /x HTTP/1.1\xe9\r\n\r\n",
        b"GET\t/\xe9" + REST,
    ],
)
def test_there_is_nothing_to_encode_elsewhere(raw: bytes) -> None:
    assert encoded_target(raw) is None


def test_behind_a_host_there_may_be_a_query_alone() -> None:
    assert encoded_target(b"GET http://h?q=\xe9" + REST) == b"GET http://h?q=%E9" + REST


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_only_letters_outside_ascii_change(path: bytes, behind: bytes) -> None:
    target = b"/" + path.translate(None, b" \r\n")
    raw = b"GET " + target + b" HTTP/1.1\r\nA: " + behind + b"\r\n\r\n"

    encoded = encoded_target(raw)
    if target.isascii():
        assert encoded is None
    else:
        expected = b"".join(b"%%%02X" % byte if byte > 0x7F else bytes([byte]) for byte in target)
        assert encoded == raw.replace(b"GET " + target, b"GET " + expected, 1)
        assert encoded_target(encoded) is None


# Another protocol that is not taken (RFC 9110 §7.8)


@pytest.mark.parametrize(
    "lines",
    [
        b"Upgrade: h2c\r\n",
        b"upgrade:websocket\r\n",
        b"UPGRADE:\r\n",
        b"Upgrade: h2c\r\nUpgrade: websocket\r\n",
        b"Upgrade: h2c, \xe9\r\n",
    ],
)
def test_the_wish_for_another_protocol_goes_and_nothing_else(lines: bytes) -> None:
    before, behind = (
        b"GET /upgrade: HTTP/1.1\r\nHost: h\r\nX-Upgrade: 1\r\n",
        b"Connection: Upgrade, X\r\nA: upgrade: x\r\n\r\n",
    )

    assert without_upgrade(before + lines + behind) == before + behind
    assert without_upgrade(before + behind) == before + behind


# Answers


def repaired(*lines: bytes) -> bytes | None:
    found = repaired_answer(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]))
    return None if found is None else found.raw


def answer(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"X-XSS-Protection : 1", b"A: b"], [b"X-XSS-Protection: 1", b"A: b"]),
        ([b"A: b", b"Set-Cookie \t : a=1 : 2"], [b"A: b", b"Set-Cookie: a=1 : 2"]),
        ([b"A(b): c", b"D: e"], [b"D: e"]),
        ([b": c", b"D: e"], [b"D: e"]),
        ([b"A b: c", b"D: e"], [b"D: e"]),
        ([b"Fehl\xe9r: c", b"D: e"], [b"D: e"]),
        ([b"A\0: c", b"D: e"], [b"D: e"]),
        ([b"X : 1", b"Content-Length: 5"], [b"X: 1", b"Content-Length: 5"]),
        ([b"A : b", b" c", b"\t d", b"E: f"], [b"A: b c d", b"E: f"]),
        ([b"A: b", b" c", b"D(e): f", b"\tContent-Length: 5", b"G: h"], [b"A: b c", b"G: h"]),
        ([b"Content-Length: 5,", b" 5"], [b"Content-Length: 5"]),
    ],
)
def test_what_platforms_are_known_for_is_repaired(lines: list[bytes], kept: list[bytes]) -> None:
    assert repaired(*lines) == answer(*kept)
    with_lf_alone = repaired_answer(answer(*lines).replace(b"\r\n", b"\n"))
    assert with_lf_alone is not None
    assert with_lf_alone.raw == answer(*kept)


def test_what_ends_in_lf_alone_is_a_line_and_not_lost_with_the_one_before() -> None:
    found = repaired_answer(b"HTTP/1.1 200 OK\r\nA(b): c\nContent-Length: 5\r\n@: d\nE: f\n\n")

    assert found == (answer(b"E: f", b"Content-Length: 5"), 2)


def test_fields_that_are_dropped_are_counted() -> None:
    found = repaired_answer(answer(b"A : b", b"A(b): c", b": d", b"E: f", b"@: g"))

    assert found == (answer(b"A: b", b"E: f"), 3)


@pytest.mark.parametrize(
    "lengths",
    [
        [b"Content-Length: 5, 5"],
        [b"Content-Length: 5", b"content-length:5"],
        [b"Content-Length: 5,5, 5", b"Content-Length:  5\t"],
    ],
)
def test_the_same_length_told_more_than_once_is_that_length(lengths: list[bytes]) -> None:
    assert repaired(b"A: b", *lengths, b"C: d") == answer(b"A: b", b"C: d", b"Content-Length: 5")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([b"Content-Length : 5"], "content-length: something"),
        ([b"content-length\t: 5"], "content-length: something"),
        ([b"Transfer-Encoding : chunked"], "transfer-encoding: something"),
        ([b"Connection : close"], "connection: something"),
        ([b"Content-Length\x00: 5"], "content-length: something"),
        ([b"\x01Transfer-\xe9Encoding: chunked"], "transfer-encoding: something"),
        ([b"Content-Length: 5, 6"], "Content-Length: given twice"),
        ([b"Content-Length: 5", b"Content-Length: 6"], "Content-Length: given twice"),
        ([b"Content-Length: 5", b"Content-Length:"], "Content-Length: given twice"),
        ([b"Content-Length: 5", b"Content-Length: 05"], "Content-Length: given twice"),
        ([b"Content-Length: 5,"], "Content-Length: given twice"),
        ([b"Content-Length: 5x"], "Content-Length: not a number"),
        ([b"Content-Length: -5"], "Content-Length: not a number"),
        ([b"Content-Length: 5", b" 5"], "Content-Length: not a number"),
        ([b"Content-Length:"], "Content-Length: not a number"),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], "Content-Length: together with Transfer-Encoding"),
        ([b"transfer-encoding: x", b"content-length: 5"], "Content-Length: together with Transfer-Encoding"),
    ],
)
def test_what_makes_the_end_unclear_is_an_error_that_names_the_field(lines: list[bytes], named: str) -> None:
    with pytest.raises(UpstreamProtocolError) as caught:
        repaired(b"A : b", *lines)

    assert caught.value.reason.startswith(named)


@pytest.mark.parametrize(
    "lines",
    [
        [b"A: b", b" c"],
        [b"A: b", b"\tc: d"],
        [b" A: b"],
        [b"A : b", b"no field at all"],
        [b"A : b", b"no field", b" c: d"],
        [b"A: b", b"Content-Length: 5"],  # there is nothing to repair
        [],
    ],
)
def test_what_can_not_be_repaired_stays_as_it_is(lines: list[bytes]) -> None:
    assert repaired(*lines) is None


LINES = st.sampled_from(
    [b"A: b", b"A : b", b"a\t:c", b"B(c): d", b"Content-Length: 5", b"Content-Length: 5, 5", b"Set-Cookie: a=1", b": x"]
)


@given(st.lists(LINES, max_size=6))
def test_a_repaired_head_needs_no_repair_and_lost_no_field_that_has_a_name(lines: list[bytes]) -> None:
    once = repaired(*lines)
    if once is None:
        return
    assert repaired_answer(once) is None
    names = [line.partition(b":")[0].strip().lower() for line in lines]
    kept = [line.partition(b":")[0].lower() for line in once.split(b"\r\n")[1:-2]]
    assert [name for name in kept if name != b"content-length"] == [
        name for name in names if name in (b"a", b"set-cookie")
    ]
    assert kept.count(b"content-length") == (1 if b"content-length" in names else 0)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"A: b"], ""),
        ([b"A: b", b"no field"], "a line that is not a header field"),
        ([b"A: b", b" folded: x"], "a line that is not a header field"),
        ([b"A: b", b"X-Secret: \x01s3cret"], "X-Secret: a control character in its value"),
        ([b"A: b\tc", b"Set-Cookie: s3cret\x7f"], "Set-Cookie: a control character in its value"),
        ([b"y" * 5000 + b": \0"], "y" * 64 + ": a control character in its value"),
    ],
)
def test_what_can_not_be_repaired_is_told_by_its_name(lines: list[bytes], expected: str) -> None:
    assert broken_field(answer(*lines)) == expected
    assert broken_field(answer(*lines).replace(b"\r\n", b"\n")) == expected
