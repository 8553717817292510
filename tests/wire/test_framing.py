"""Where a message ends: what all who read it take for the same passes, all else is refused."""

import pytest

from proxy.errors import BadRequest, UpstreamProtocolError
from proxy.forwarding.fields import answer_fields, request_fields
from proxy.wire.framing import CHUNKED, answer_length, check_request, is_host
from proxy.wire.head import Head

REQUESTS, ANSWERS = request_fields(), answer_fields()


def asked(*lines: bytes) -> Head:
    return Head(lines, REQUESTS)


def answered(*lines: bytes) -> Head:
    return Head(lines, ANSWERS)


# Requests


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Host: h"],
        [b"Host: h", b"Content-Length: 0"],
        [b"content-length: 0003"],
        [b"Content-Length:\t3\t"],
        [b"Content-Length: " + b"9" * 20],
        [b"Host:"],
        [b"Content_Length: x", b"Transfer_Encoding: x"],  # they stop here
    ],
)
def test_a_clear_request_passes(lines: list[bytes], modern: bool) -> None:
    check_request(asked(*lines), modern=modern)


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b"\tChunked "])
def test_a_request_may_be_chunked_if_it_is_http_1_1(coding: bytes) -> None:
    head = asked(b"Host: h", b"Transfer-Encoding: " + coding)

    check_request(head, modern=True)
    with pytest.raises(BadRequest, match=r"HTTP/1\.0 has no Transfer-Encoding"):
        check_request(head, modern=False)


@pytest.mark.parametrize(
    "codings",
    [
        [b""],
        [b"gzip"],
        [b"identity"],
        [b"chunked, chunked"],
        [b"chunked", b"chunked"],
        [b"gzip, chunked"],
        [b"chunked", b"gzip"],
        [b"chunked,"],
        [b",chunked"],
        [b"xchunked"],
        [b"chunked;q=1"],
        [b'"chunked"'],
        [b"\xa0chunked"],
    ],
)
def test_other_codings_of_a_request_are_refused(codings: list[bytes]) -> None:
    with pytest.raises(BadRequest, match="only transfer coding"):
        check_request(asked(*(b"Transfer-Encoding: " + coding for coding in codings)), modern=True)


@pytest.mark.parametrize(
    "lengths",
    [
        *([b""], [b"-1"], [b"+3"], [b"0x3"], [b"3.0"], [b"1_0"], [b"3 3"], [b"3, 3"], [b'"3"'], [b"\xd9\xa3"]),
        *([b"9" * 21], [b"0" * 5000 + b"3"], [b"3", b"x"]),
    ],
)
def test_a_length_is_a_number_that_everybody_reads_alike(lengths: list[bytes]) -> None:
    with pytest.raises(BadRequest, match="Content-Length"):
        check_request(asked(*(b"Content-Length: " + length for length in lengths)), modern=True)


@pytest.mark.parametrize(
    "host",
    [
        *(b"", b"proxy", b"proxy:8080", b"proxy:", b"192.0.2.7:80", b"[::1]", b"[::1]:8080", b"[::ffff:192.0.2.7]"),
        *(b"a_b.example", b"xn--bcher-kva.example.", b"a%20b", b"a~b!$&'()*+,;=c", b":80"),
    ],
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host: bytes) -> None:
    assert is_host(host)
    check_request(asked(b"Host: " + host), modern=True)


@pytest.mark.parametrize(
    "host",
    [
        *(b"a b", b"a/b", b"u@a", b"a?b", b"a#b", b"a, b", b'a"', b"a\\b", b"\xc3\xa1", b"a\tb", b"a<b", b"a[b"),
        *(b"a:xx", b"a:-1", b"a:999999", b"a:1:2", b"[::1", b"::1", b"[proxy]", b"[]", b"[::1]x", b"a%2", b"a%zz"),
    ],
)
def test_what_names_no_host_is_refused(host: bytes) -> None:
    assert not is_host(host)
    with pytest.raises(BadRequest, match="Host"):
        check_request(asked(b"Host: " + host), modern=True)


# Answers


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], None),
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length: 5"], 5),
        ([b"content-length:\t0005 "], 5),
        ([b"Content-Length: " + b"9" * 18], 10**18 - 1),
        ([b"Transfer-Encoding: chunked"], CHUNKED),
        ([b"transfer-encoding: CHUNKED"], CHUNKED),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], CHUNKED),  # RFC 9112 §6.3
    ],
)
def test_an_answer_is_as_long_as_it_says(lines: list[bytes], length: int | None) -> None:
    assert answer_length(answered(*lines)) == length


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+5", b"5.0", b"0x5", b"5 5", b"5, 5", b"\xb2", b"9" * 19, b"0" * 18 + b"5"]
)
def test_a_length_that_can_not_be_is_an_error(value: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="length"):
        answer_length(answered(b"Content-Length: " + value))


@pytest.mark.parametrize("codings", [[b"gzip"], [b"gzip, chunked"], [b"chunked", b"chunked"], [b"identity"], [b""]])
def test_a_coding_that_was_not_asked_for_is_an_error(codings: list[bytes]) -> None:
    with pytest.raises(UpstreamProtocolError, match="transfer coding"):
        answer_length(answered(*(b"Transfer-Encoding: " + coding for coding in codings)))
