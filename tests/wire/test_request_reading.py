"""What is no clear request, as raw bytes: refused, the connection closed, nothing sent to any platform.

Below it, what looks odd but is clear by RFC 9112: served, and what the platform sees has nothing odd about it.
"""

import asyncio
import json
from typing import Final

import pytest

from tests.peers import CHUNKED, Connection, answering, chunked, connected, request, response, serving, token_response
from tests.proxies import config, platform, proxying, shop, whole_path

OK = answering(response(b"ok"))
SMUGGLED: Final = b"GET /demo/smuggled HTTP/1.1\r\nHost: proxy\r\n\r\n"


def get(line: bytes = b"GET /demo/x HTTP/1.1", fields: bytes = b"", *, host: bytes = b"Host: proxy\r\n") -> bytes:
    return line + b"\r\n" + host + fields + b"\r\n"


def field(line: bytes) -> bytes:
    return get(fields=line + b"\r\n")


def host(value: bytes) -> bytes:
    return get(host=b"Host: " + value + b"\r\n")


def length(value: bytes, body: bytes = b"abc") -> bytes:
    return get(b"POST /demo/x HTTP/1.1", b"Content-Length: " + value + b"\r\n") + body


def coding(value: bytes, body: bytes = chunked(b"abc") + SMUGGLED) -> bytes:
    return get(b"POST /demo/x HTTP/1.1", b"Transfer-Encoding: " + value + b"\r\n") + body


def chunks(body: bytes) -> bytes:
    return get(b"POST /demo/x HTTP/1.1", CHUNKED) + body


def post(fields: bytes, body: bytes) -> bytes:
    return get(b"POST /demo/x HTTP/1.1", fields) + body


BAD_REQUEST, BAD_TARGET = (400, "bad_request"), (400, "bad_target")
METHOD, TOO_LARGE = (501, "method_not_supported"), (413, "body_too_large")
LONG_LINE, LONG_FIELDS = (414, "request_too_large"), (431, "request_too_large")

MALFORMED: Final[dict[tuple[int, str], dict[str, bytes]]] = {
    BAD_REQUEST: {
        # Two lengths, or none that all would read alike (RFC 9112 §6.3)
        "length and chunked": post(b"Content-Length: 3\r\n" + CHUNKED, chunked(b"abc")),
        "chunked and length": post(CHUNKED + b"Content-Length: 3\r\n", chunked(b"abc")),
        "CL.TE": post(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
        "TE.CL": post(CHUNKED + b"Content-Length: 4\r\n", b"2c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
        "TE.CL, folded": post(b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 3\r\n", b"abc" + SMUGGLED),
        "TE.TE": post(CHUNKED + b"Transfer-Encoding: x\r\n", chunked() + SMUGGLED),
        "TE.CL, space before the colon": post(b"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n", b"abc"),
        "length twice, the same": post(b"Content-Length: 3\r\n" * 2, b"abc"),
        "length twice, CL.CL": post(b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        "length as a list": length(b"3, 3"),
        "length as a list of two": length(b"3, 4"),
        "length with a comma": length(b"3,"),
        "length below zero": length(b"-1"),
        "length with a plus": length(b"+3"),
        "length in hexadecimal": length(b"0x3"),
        "length in letters": length(b"three"),
        "length without a number": length(b""),
        "length with an underscore": length(b"1_0"),
        "length as a fraction": length(b"3.0"),
        "length with a space": length(b"3 3"),
        "length in quotes": length(b'"3"'),
        "length in Arabic digits": length("٣".encode()),
        "length after a vertical tab": length(b"\x0b3"),
        "length before a form feed": length(b"3\x0c"),
        "length of 2^64": length(b"18446744073709551616"),
        "length of 300 digits": length(b"9" * 300),
        "length of 5000 zeros": length(b"0" * 5000 + b"3"),
        # Transfer codings (RFC 9112 §6.1, §7)
        "coding gzip": coding(b"gzip"),
        "coding that is empty": coding(b""),
        "coding identity": coding(b"identity"),
        "coding chunked twice": coding(b"chunked, chunked"),
        "coding chunked in two lines": post(CHUNKED * 2, chunked(b"abc")),
        "coding gzip, chunked": coding(b"gzip, chunked", chunked(b"abc")),
        "coding chunked, gzip": coding(b"chunked, gzip"),
        "coding gzip and chunked in two lines": post(b"Transfer-Encoding: gzip\r\n" + CHUNKED, chunked(b"abc")),
        "coding chunked, identity": coding(b"chunked, identity"),
        "coding after a vertical tab": coding(b"\x0bchunked"),
        "coding before a vertical tab": coding(b"chunked\x0b"),
        "coding after a form feed": coding(b"\x0cchunked"),
        "coding after a no-break space": coding(b"\xa0chunked"),
        "coding before NUL": coding(b"chunked\0"),
        "coding in quotes": coding(b'"chunked"'),
        "coding that only ends in chunked": coding(b"xchunked"),
        "coding with a parameter": coding(b"chunked;q=1"),
        "coding with a comma before it": coding(b",chunked", chunked(b"abc")),
        "coding with a comma behind it": coding(b"chunked,"),
        "chunked in HTTP/1.0": get(b"POST /demo/x HTTP/1.0", b"Connection: keep-alive\r\n" + CHUNKED) + chunked(),
        # Chunks (RFC 9112 §7.1)
        "chunk size in no digits": chunks(b"ZZ\r\nabc\r\n0\r\n\r\n"),
        "chunk size below zero": chunks(b"-3\r\nabc\r\n0\r\n\r\n"),
        "chunk size with a plus": chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
        "chunk size with 0x": chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
        "chunk size with an underscore": chunks(b"1_0\r\nabc\r\n0\r\n\r\n"),
        "chunk size after a space": chunks(b" 3\r\nabc\r\n0\r\n\r\n"),
        "chunk size before a space": chunks(b"3 \r\nabc\r\n0\r\n\r\n"),
        "chunk size before a tab": chunks(b"3\t\r\nabc\r\n0\r\n\r\n"),
        "chunk size missing": chunks(b"\r\nabc\r\n0\r\n\r\n"),
        "chunk size of 17 digits": chunks(b"F" * 17 + b"\r\nabc\r\n0\r\n\r\n"),
        "chunk size before a bare LF": chunks(b"3\nabc\r\n0\r\n\r\n"),
        "chunk size before a bare CR": chunks(b"3\rabc\r\n0\r\n\r\n"),
        "chunk before a bare LF": chunks(b"3\r\nabc\n0\r\n\r\n"),
        "chunk longer than its size": chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
        "chunk shorter than its size": chunks(b"5\r\nabc\r\n0\r\n\r\n"),
        "last chunk before bare LFs": chunks(b"3\r\nabc\r\n0\n\n"),
        "end of the body as a bare LF": chunks(b"3\r\nabc\r\n0\r\n\n"),
        "chunk extension before a bare LF": chunks(b"3;a\nabc\r\n0\r\n\r\n"),
        "chunk extension with a bare CR": chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
        "chunk extension with NUL": chunks(b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
        "length instead of chunks": post(CHUNKED, b"xyz\r\n" + SMUGGLED),
        # Trailers (RFC 9112 §7.1.2)
        "trailer with a space before the colon": chunks(b"3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
        "trailer before a bare LF": chunks(b"3\r\nabc\r\n0\r\nX: y\n\r\n"),
        "trailer folded": chunks(b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"),
        "trailer with NUL": chunks(b"3\r\nabc\r\n0\r\nX: y\0\r\n\r\n"),
        "trailer that is a request": chunks(b"3\r\nabc\r\n0\r\n" + SMUGGLED),
        "trailer that is a length": chunks(b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n" + SMUGGLED),
        "trailer that is a coding": chunks(b"3\r\nabc\r\n0\r\ntransfer-encoding: chunked\r\n\r\n" + SMUGGLED),
        # The ends of lines, and lines that go on (RFC 9112 §2.2, §5.2)
        "bare CR in the request line": get(b"GET /demo/x HTTP/1.1\rX: y"),
        "bare CR in a value": field(b"X: a\rb"),
        "bare CR in a name": field(b"X\rY: b"),
        "bare CR before a request": field(b"X: a\r" + SMUGGLED.rstrip()),
        "bare CR at the end of the head": get()[:-2] + b"\r\r\n",
        "bare CRs alone": get().replace(b"\r\n", b"\r"),
        "bare LFs alone": get().replace(b"\r\n", b"\n"),
        "bare LF behind the request line": get().replace(b"\r\n", b"\n", 1),
        "bare LF behind a field": b"GET /demo/x HTTP/1.1\r\nHost: proxy\nA: b\r\n\r\n",
        "bare LF at the end of the head": get()[:-2] + b"\n",
        "bare LF before a request": field(b"X: a\n\n" + SMUGGLED.rstrip()),
        "folded": field(b"A: b\r\n c"),
        "folded with a tab": field(b"A: b\r\n\tc"),
        "folded with nothing": field(b"A: b\r\n "),
        "folded before the first field": get(host=b" Host: proxy\r\n"),
        "folded before a second line": get(host=b" X: y\r\nHost: proxy\r\n"),
        # Field names (RFC 9110 §5.6.2)
        "space before the colon": field(b"A : b"),
        "tab before the colon": field(b"A\t: b"),
        "space before the colon of a length": post(b"Content-Length : 3\r\n", b"abc"),
        "no colon": field(b"A"),
        "no name": field(b": b"),
        "name with NUL": field(b"A\0: b"),
        "name with a control": field(b"A\x01b: c"),
        "name with DEL": field(b"A\x7fb: c"),
        "name after a vertical tab": post(b"\x0bTransfer-Encoding: chunked\r\n", chunked()),
        "name with parentheses": field(b"A(b): c"),
        "name with @": field(b"A@b: c"),
        "name with a slash": field(b"A/b: c"),
        "name with a quote": field(b'A"b: c'),
        "name with brackets": field(b"A[b]: c"),
        "name in UTF-8": field("Á: c".encode()),
        "name in Latin-1": field(b"\xc1: c"),
        # Values (RFC 9110 §5.5)
        "value with NUL": field(b"A: b\0c"),
        "value with SOH": field(b"A: b\x01c"),
        "value with ESC": field(b"A: b\x1bc"),
        "value with DEL": field(b"A: b\x7fc"),
        "value with a vertical tab": field(b"A: b\x0bc"),
        "value with a form feed": field(b"A: b\x0cc"),
        # Host (RFC 9112 §3.2)
        "no Host": get(host=b""),
        "no Host beside a URL": get(b"GET http://127.0.0.1/demo/x HTTP/1.1", host=b""),
        "Host twice, the same": field(b"Host: proxy"),
        "Host twice": field(b"Host: other"),
        "Host with a space": host(b"a b"),
        "Host with a path": host(b"a/b"),
        "Host with a user": host(b"u@a"),
        "Host with a query": host(b"a?b"),
        "Host with a fragment": host(b"a#b"),
        "Host as a list": host(b"a, b"),
        "Host in quotes": host(b'a";for=1'),
        "Host with NUL": host(b"a\0"),
        "Host in UTF-8": host("á".encode()),
        "Host with a port in letters": host(b"a:xx"),
        "Host with a port below zero": host(b"a:-1"),
        "Host with a port that is none": host(b"a:999999"),
        "Host with two ports": host(b"a:1:2"),
        "Host with half a bracket": host(b"[::1"),
        "Host with a name in brackets": host(b"[proxy]"),
        "Host with half an escape": host(b"a%2"),
        # The request line (RFC 9112 §3)
        "target with a space": get(b"GET /demo/a b HTTP/1.1"),
        "target with NUL": get(b"GET /demo/\0 HTTP/1.1"),
        "target with a control": get(b"GET /demo/\x01 HTTP/1.1"),
        "target with DEL": get(b"GET /demo/\x7f HTTP/1.1"),
        "target with a vertical tab": get(b"GET /demo/\x0bx HTTP/1.1"),
        "target with a bare CR": get(b"GET /demo/\rx HTTP/1.1"),
        "target with a bare LF": get(b"GET /demo/\nx HTTP/1.1"),
        "target in UTF-8 with a space": get("GET /demo/á b HTTP/1.1".encode()),
        "target in UTF-8 with NUL": get("GET /demo/á\0 HTTP/1.1".encode()),
        "target in UTF-8 for HTTP/2": get("GET /demo/á HTTP/2.0".encode()),
        "target in UTF-8 with a broken field": get("GET /demo/á HTTP/1.1".encode(), b"A : b\r\n"),
        "URL with a host in UTF-8": get("GET http://á/demo/á HTTP/1.1".encode()),
        "URL in UTF-8 with a space": get("GET http://127.0.0.1/demo/á b HTTP/1.1".encode()),
        "target is a lone star, not for OPTIONS": get(b"GET * HTTP/1.1"),
        "URL without a host": get(b"GET http:///demo/x HTTP/1.1"),
        "URL with a fragment for a path": get(b"GET http://127.0.0.1#/demo/x HTTP/1.1"),
        "URL with a backslash": get(b"GET http://127.0.0.1\\/demo/x HTTP/1.1"),
        "space behind the version": get(b"GET /demo/x HTTP/1.1 "),
        "HTTP/0.9": b"GET /demo/x\r\n\r\n",
        "HTTP/0.9, written": get(b"GET /demo/x HTTP/0.9"),
        "HTTP/1.2": get(b"GET /demo/x HTTP/1.2"),
        "HTTP/2.0": get(b"GET /demo/x HTTP/2.0"),
        "HTTP/1.10": get(b"GET /demo/x HTTP/1.10"),
        "HTTP/01.1": get(b"GET /demo/x HTTP/01.1"),
        "HTTP/1": get(b"GET /demo/x HTTP/1"),
        "HTTP/11": get(b"GET /demo/x HTTP/11"),
        "http/1.1": get(b"GET /demo/x http/1.1"),
        "HTTPS/1.1": get(b"GET /demo/x HTTPS/1.1"),
        "ICE/1.0": get(b"GET /demo/x ICE/1.0"),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        "Max-Forwards in letters": get(b"OPTIONS /demo/x HTTP/1.1", b"Max-Forwards: x\r\n"),
    },
    BAD_TARGET: {
        "URL of another host": get(b"GET http://evil.example/demo/x HTTP/1.1"),
        "URL of another host with TLS": get(b"GET https://evil.example/demo/x HTTP/1.1"),
        "URL of the metadata service": get(b"GET http://169.254.169.254/latest/meta-data HTTP/1.1"),
        "URL with a user": get(b"GET http://u:p@127.0.0.1/demo/x HTTP/1.1"),
        "URL in UTF-8 with another port": get("GET http://127.0.0.1/demo/á HTTP/1.1".encode()),
        "URL with another port": get(b"GET http://127.0.0.1:1/demo/x HTTP/1.1"),
        "URL with an escaped host": get(b"GET http://127.0.0.1%2f/demo/x HTTP/1.1"),
        "URL of another scheme": get(b"GET ftp://127.0.0.1/demo/x HTTP/1.1"),
        "authority": get(b"GET demo.api.myshoprenter.hu:443 HTTP/1.1"),
        "a star": get(b"OPTIONS * HTTP/1.1"),
        "no slash": get(b"GET demo/x HTTP/1.1"),
        "target with a tab": get(b"GET /demo/\tx HTTP/1.1"),
        "no target": b"GET \r\n\r\n",
    },
    METHOD: {
        "CONNECT": get(b"CONNECT evil.example:443 HTTP/1.1"),
        "CONNECT with a path": get(b"CONNECT /demo/x HTTP/1.1"),
        "TRACE": get(b"TRACE /demo/x HTTP/1.1"),
        "method unknown": get(b"BREW /demo/x HTTP/1.1"),
        "method in lower case": get(b"get /demo/x HTTP/1.1"),
        "method that is no token": get(b"G@T /demo/x HTTP/1.1"),
        "method of RTSP": get(b"DESCRIBE /demo/x RTSP/1.0"),
        "method of ICE": get(b"SOURCE /demo/x ICE/1.0"),
        "method of ICE in HTTP": get(b"SOURCE /demo/x HTTP/1.1"),
        "no method": get(b" /demo/x HTTP/1.1"),
        "space before the request": b" " + get(),
        "line of a space before the request": b" \r\n" + get(),
        "tabs for spaces": get(b"GET\t/demo/x\tHTTP/1.1"),
        "vertical tabs for spaces": get(b"GET\x0b/demo/x\x0bHTTP/1.1"),
        "nothing behind the method": b"GET\r\n\r\n",
        "an answer": b"HTTP/1.1 200 OK\r\n\r\n",
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "SMTP": b"EHLO mail.example\r\n",
        "the PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(),
        "JSON": b'{"jsonrpc":"2.0"}\r\n\r\n',
        "zeros": b"\0" * 100,
        "ones": b"\xff" * 100,
        "body without a length": post(b"", b"abc"),
        "body longer than its length": length(b"3", b"abcd\r\n" + SMUGGLED),
    },
    TOO_LARGE: {
        "length of 2^64 - 1": length(b"18446744073709551615"),
        "length of 20 digits": length(b"00000000009999999999"),
    },
    LONG_LINE: {"long target": get(b"GET /demo/" + b"x" * (1 << 14) + b" HTTP/1.1")},
    LONG_FIELDS: {
        "long value": field(b"A: " + b"x" * (1 << 15) + b"x"),
        "long name": field(b"x" * (1 << 15) + b"x: A"),
        "many fields": get(fields=b"A: b\r\n" * 200),
        "many trailers": chunks(b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 300 + b"\r\n"),
        "a long trailer": chunks(b"3\r\nabc\r\n0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    },
}


@pytest.mark.parametrize("expected", MALFORMED, ids=lambda expected: f"{expected[0]} {expected[1]}")
async def test_what_is_no_clear_request_is_refused_and_goes_nowhere(expected: tuple[int, str]) -> None:
    async with whole_path(OK) as path:
        for what, sent in MALFORMED[expected].items():
            path.proxy.events.clear()
            async with path.connect() as client, asyncio.timeout(10):
                answer = await client.ask(sent)
                rest = await client.read_to_end()
            assert (answer.status, json.loads(answer.body)["code"]) == expected, what
            assert answer.values(b"Content-Type") == [b"application/problem+json"], what
            assert answer.values(b"Connection") == [b"close"], what
            assert rest == (b"", True), what
            assert [(entry["event"], entry["code"]) for entry in path.proxy.events] == [
                ("request.refused", expected[1])
            ], what
            assert path.api.connections == path.tokens.connections == 0, what


def test_there_are_many_of_them_and_no_two_alike() -> None:
    every = [sent for of_a_kind in MALFORMED.values() for sent in of_a_kind.values()]
    assert len(every) == len(set(every)) > 150


async def test_what_is_sent_behind_a_request_that_is_none_is_not_served() -> None:
    sent = length(b"3, 3")
    async with whole_path(OK) as path, path.connect() as client:
        assert (await client.ask(sent + get())).status == 400
        await client.send(get() * 3)
        assert await client.read_to_end() == (b"", True)

    assert path.api.connections == 0


@pytest.mark.parametrize("beginning", [b"1;", b"1\r\nx\r\n0\r\n"], ids=["chunk extension", "trailers"])
async def test_a_body_that_is_all_framing_does_not_go_on_for_ever(beginning: bytes) -> None:
    """RFC 9112 §7.1.1 asks for a limit; an extension as such is allowed."""
    piece = b"a=b;" * 8000 if beginning == b"1;" else (b"X: " + b"y" * 31_000 + b"\r\n")
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(chunks(beginning))
        for _ in range(60):
            await client.send(piece)
        answer = await client.read_answer()
        assert await client.at_end()

    assert (answer.status, json.loads(answer.body)["code"]) == BAD_REQUEST
    assert path.api.connections == path.tokens.connections == 0


CLEAR: Final[dict[str, tuple[bytes, bytes]]] = {
    # Empty lines before a request line are ignored (RFC 9112 §2.2); llhttp takes CR or LF alone for such a line.
    "empty lines before the request": (b"\r\n\r\n" + get(), b""),
    "LF before the request": (b"\n" + get(), b""),
    "CR before the request": (b"\r" + get(), b""),
    # Recipients may take any run of spaces for one (RFC 9112 §3).
    "spaces in the request line": (get(b"GET   /demo/x  HTTP/1.1"), b""),
    # llhttp reads RTSP too and does not tell; its framing is that of HTTP.
    "RTSP/1.0": (get(b"GET /demo/x RTSP/1.0"), b""),
    "no Host in HTTP/1.0": (get(b"GET /demo/x HTTP/1.0", host=b""), b""),
    "an empty Host": (host(b""), b""),
    "Host of IPv6": (host(b"[::1]:8080"), b""),
    "Host with an empty port": (host(b"proxy:"), b""),
    "tab in a value": (field(b"A: b\tc"), b""),
    "Latin-1 in a value": (field(b"A: b\xe1c"), b""),
    "length with zeros": (length(b"0003"), b"abc"),
    "length between tabs": (length(b"\t3\t"), b"abc"),
    "coding in upper case": (coding(b"CHUNKED", chunked(b"abc")), b"abc"),
    "chunked GET": (get(fields=CHUNKED) + chunked(b"abc"), b"abc"),
    "chunk size with zeros": (chunks(b"0003\r\nabc\r\n000\r\n\r\n"), b"abc"),
    "chunk extensions": (chunks(b'3;a=b;c="d e"\r\nabc\r\n0;f\r\n\r\n'), b"abc"),
    "trailers": (chunks(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: Basic eDp5\r\n\r\n"), b"abc"),
    "request in a body": (length(b"%d" % len(SMUGGLED), SMUGGLED), SMUGGLED),
    "request in a chunk": (chunks(chunked(SMUGGLED)), SMUGGLED),
    "length that PHP would read": (post(b"Content_Length: 9\r\nTransfer_Encoding: chunked\r\n", b""), b""),
}


async def test_what_is_only_odd_is_served_and_goes_on_as_one_plain_request() -> None:
    async with whole_path(OK) as path:
        for what, (sent, body) in CLEAR.items():
            path.api.received.clear()
            async with path.connect() as client:
                assert (await client.ask(sent)).status == 200, what
            [seen] = path.api.received
            assert seen.request_line == sent.split()[0] + b" /api/x HTTP/1.1", what
            assert seen.body == body, what
            framing = [b"%d" % len(body)] if body or sent.startswith(b"POST") else []
            assert seen.values(b"Content-Length") == framing, what
            assert seen.values(b"Transfer-Encoding") == [], what
            assert seen.values(b"Host") == [b"127.0.0.1:%d" % path.api.port], what
            assert seen.values(b"Authorization") == [b"Bearer token-1"], what
            for dropped in (b"_Length", b"_Encoding", b"X-Sum", b"eDp5"):
                assert dropped not in seen.head, what


# Old programs send letters outside ASCII as they are. (RFC 9112 §3.2 wants them encoded.)

RAW_LETTERS: Final = (
    ("/demo/kék".encode(), b"/api/k%C3%A9k"),
    (b"/demo/k\xe9k", b"/api/k%E9k"),
    ("/demo/x?sku=kék&b=%E9".encode(), b"/api/x?sku=k%C3%A9k&b=%E9"),
    (b"/demo/?q=\xff\x80", b"/api/?q=%FF%80"),
    ("/demo/é/ü?á=í".encode(), b"/api/%C3%A9/%C3%BC?%C3%A1=%C3%AD"),
    ("/demo?é".encode(), b"/api/?%C3%A9"),
)


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 3\r\n", CHUNKED])
@pytest.mark.parametrize(("sent", "seen"), RAW_LETTERS)
async def test_letters_outside_ascii_go_on_encoded_byte_for_byte(sent: bytes, seen: bytes, framing: bytes) -> None:
    body = {b"": b"", CHUNKED: chunked(b"abc")}.get(framing, b"abc")
    whole = get(b"POST " + sent + b" HTTP/1.1", framing) + body
    async with whole_path(OK) as path:
        async with path.connect() as client:
            for _ in range(2):
                assert (await client.ask(whole)).status == 200
        async with path.connect() as client:  # a few bytes at a time, and the next request with it
            for start in range(0, len(whole), 7):
                await client.send(whole[start : start + 7])
                await asyncio.sleep(0)
            await client.send(get())
            assert [(await client.read_answer()).status for _ in range(2)] == [200, 200]

    *lettered, plain = path.api.received
    assert [each.request_line for each in lettered] == [b"POST " + seen + b" HTTP/1.1"] * 3
    assert [each.body for each in lettered] == [b"abc" if body else b""] * 3
    assert plain.request_line == b"GET /api/x HTTP/1.1"


@pytest.mark.parametrize("beginning", ["http://localhost:{}", "HTTP://127.0.0.1:{}"])
async def test_so_they_do_in_a_target_that_names_the_proxy_before(beginning: str) -> None:
    async with whole_path(OK) as path, path.connect() as client:
        origin = beginning.format(path.proxy.port).encode()
        for sent, _ in RAW_LETTERS:
            whole = get(b"GET " + origin + sent + b" HTTP/1.1")
            for cut in (len(whole), 9):
                for start in range(0, len(whole), cut):
                    await client.send(whole[start : start + cut])
                    await asyncio.sleep(0)
                assert (await client.read_answer()).status == 200

    seen = [each.request_line for each in path.api.received]
    assert seen == [b"GET " + there + b" HTTP/1.1" for _, there in RAW_LETTERS for _ in range(2)]


@pytest.mark.parametrize("target", ["/demó/x".encode(), b"/dem\xf3/x", "/é".encode()])
async def test_a_shop_has_no_letters_outside_ascii_in_its_name(target: bytes) -> None:
    async with whole_path(OK) as path:
        answer = await path.ask(request(target=target))

    assert (answer.status, json.loads(answer.body)["code"]) == BAD_TARGET
    assert path.api.connections == path.tokens.connections == 0


# One after the other, however they come

MIXED: Final[tuple[tuple[bytes, bytes, bytes], ...]] = (
    (get(b"GET /demo/1 HTTP/1.1"), b"GET /api/1", b""),
    (get(b"POST /demo/2 HTTP/1.1", b"Content-Length: 5\r\n") + b"hello", b"POST /api/2", b"hello"),
    (get(b"PUT /demo/3 HTTP/1.1", CHUNKED) + chunked(b"he", b"llo"), b"PUT /api/3", b"hello"),
    (b"\r\n" + get(b"DELETE /demo/4 HTTP/1.1", b"Connection: keep-alive\r\n"), b"DELETE /api/4", b""),
    (get("GET /demo/é HTTP/1.1".encode()), b"GET /api/%C3%A9", b""),
    (get(b"GET /demo/6 HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), b"GET /api/6", b""),
    (
        get(b"PUT /demo/7 HTTP/1.1", b"Content-Length: %d\r\n" % len(SMUGGLED)) + SMUGGLED,
        b"PUT /api/7",
        SMUGGLED,
    ),
    (get(b"POST /demo/8 HTTP/1.1", CHUNKED + b"Expect: 100-continue\r\n") + chunked(), b"POST /api/8", b""),
    (get(b"GET /demo/9 HTTP/1.1", b"Content-Length: 0\r\n"), b"GET /api/9", b""),
    (get(b"PUT /demo/10 HTTP/1.1", CHUNKED) + b"3;x\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"PUT /api/10", b"abc"),
    (get(b"PUT /demo/11 HTTP/1.1", b"Content-Length: 100000\r\n") + b"x" * 100_000, b"PUT /api/11", b"x" * 100_000),
    (get(b"GET /demo/12 HTTP/1.1"), b"GET /api/12", b""),
)


@pytest.mark.parametrize("size", [1, 7, 61, 1000, 1 << 20])
async def test_each_request_is_read_to_its_end_and_no_further_however_they_are_cut(size: int) -> None:
    expected = [each for each in MIXED if size > 1 or len(each[0]) < 1000]
    sent = b"".join(each for each, _, _ in expected)
    async with whole_path(OK) as path, path.connect() as client:
        for start in range(0, len(sent), size):
            client.writer.write(sent[start : start + size])
            await asyncio.sleep(0)
        for _ in expected:
            answer = await client.read_answer()
            while answer.status == 100:
                answer = await client.read_answer()
            assert (answer.status, answer.body) == (200, b"ok")
        seen = [(each.request_line.removesuffix(b" HTTP/1.1"), each.body) for each in path.api.received]

    assert seen == [(line, body) for _, line, body in expected]


async def test_what_comes_while_a_request_is_served_waits_in_bounded_memory() -> None:
    """The rest waits in the system, and with the client."""
    served, count = asyncio.Event(), 900

    async def api(connection: Connection) -> None:
        while await connection.read_request():
            await served.wait()
            await connection.send(response(b"ok"))

    async with whole_path(api) as path, path.connect() as client:
        await client.send(get())
        while not path.api.received:  # noqa: ASYNC110 - the peer is in this loop
            await asyncio.sleep(0)
        client.writer.write(get(fields=b"X: " + b"y" * 1000 + b"\r\n") * count)
        for _ in range(50):
            await path.ask(request(target=b"/nobody/"))
        held = [sum(map(len, connection._reader.ahead)) for connection in path.proxy.running._server._served]
        assert 0 < max(held) <= 200_000
        assert len(path.api.received) == 1
        served.set()
        for _ in range(1 + count):
            assert (await client.read_answer()).body == b"ok"


async def test_a_request_behind_one_that_closes_the_connection_is_not_served() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(get(fields=b"Connection: close\r\n") + get())
        data, orderly = await client.read_to_end()

    assert data.count(b"HTTP/1.1 ") == 1
    assert orderly
    assert len(path.api.received) == 1


# PHP, and whatever else reads fields as CGI variables, can't tell `-` from `_` (HTTP_X_FORWARDED_FOR).

TWINS: Final = (
    *("Content_Length", "Transfer_Encoding", "Proxy_Authorization", "Proxy_Connection", "Keep_Alive"),
    *("HTTP2_Settings", "X_Request_ID", "X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto"),
    *("X_Forwarded_Port", "x_forwarded-for", "CONTENT_LENGTH", "X-Forwarded_For"),
)
NO_TWINS: Final = ("_Authorization", "Authorization_", "Host_", "Content_Type", "X_Shop", "A_B", "_", "Cookie_")


@pytest.mark.parametrize("forwarded", [False, True])
async def test_a_name_with_underscores_passes_unless_its_twin_is_this_proxys_business(forwarded: bool) -> None:
    fields = "".join(f"{name}: of-the-client\r\n" for name in (*TWINS, *NO_TWINS)).encode()
    async with whole_path(OK, of={"forwarded_headers": forwarded}) as path, path.connect() as client:
        assert (await client.ask(get(fields=fields))).status == 200

    [seen] = path.api.received
    passed = [name.decode() for name, value in seen.fields if value == b"of-the-client"]
    assert passed == list(NO_TWINS)
    assert seen.values(b"Authorization") == [b"Bearer token-1"]


async def test_where_links_are_rewritten_the_underscore_twin_of_the_coding_that_is_asked_for_is_dropped_too() -> None:
    async with (
        serving(answering(token_response())) as tokens,
        serving(OK) as api,
        proxying(config(shop("demo", platform(tokens.port, api.port, rewrite_links=True)))) as proxy,
        connected(proxy.port) as client,
    ):
        assert (await client.ask(request(fields=b"Accept_Encoding: br\r\n"))).status == 200

    assert b"ccept_" not in api.received[0].head
