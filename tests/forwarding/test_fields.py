"""What passes of the header fields, what stops here, what is added."""

from collections.abc import Callable, Sequence
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest, ExpectationFailed, Loop
from proxy.forwarding.fields import (
    Hop,
    answer_fields,
    check_for_loop,
    decrease_max_forwards,
    expects_continue,
    forwarded_lines,
    request_fields,
    request_id,
)
from proxy.wire.head import FieldTable, Head

Fields = list[tuple[bytes, bytes]]

REQUESTS, ANSWERS = request_fields(), answer_fields()
PSEUDONYM = b"shop-auth-proxy-0123456789abcdef"
OWN = [(b"Host", b"api.example"), (b"Via", b"1.1 " + PSEUDONYM), (b"X-Request-ID", b"id-1")]


def hop(*trusted: str) -> Hop:
    return Hop(PSEUDONYM, tuple(ip_network(network) for network in trusted))


def head(fields: Fields, table: FieldTable = REQUESTS) -> Head:
    return Head([name + b": " + value for name, value in fields], table)


def fields_of(lines: bytes) -> Fields:
    """Take lines of fields apart."""
    pairs = (line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, value in pairs]


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field.lower() == name]


def prepared(
    fields: Fields,
    *,
    trusted: Sequence[str] = (),
    remote: str = "192.0.2.7",
    scheme: bytes = b"http",
    modern: bool = True,
    forwarded: bool = False,
) -> Fields:
    """What goes to the platform, but for the framing and the token."""
    read, own = head(fields), hop(*trusted)
    lines = b"Host: api.example\r\n" + read.passing + own.via(modern=modern) + b"X-Request-ID: id-1\r\n"
    if forwarded:
        lines += forwarded_lines(read, remote=remote, scheme=scheme, trusted=own.trusts(remote))
    return fields_of(lines)


def passed(*fields: tuple[bytes, bytes]) -> Fields:
    """What is left of the client's own fields."""
    return [field for field in prepared(list(fields)) if field not in OWN]


# What passes of a request


def test_the_rest_passes_in_order_with_its_case_and_its_bytes() -> None:
    fields = [
        (b"accept", b"application/json"),
        (b"X-Twice", b"1"),
        (b"Accept-Encoding", b"gzip"),
        (b"x-tWICE", b"2"),
        (b"X-Twice", b"1"),
        (b"X-Latin-1", b"\xe1rv\xedz"),
        (b"X-Empty", b""),
        (b"User-Agent", b"PHP  with\ttab"),
        (b"Content-Encoding", b"gzip"),
        (b"Range", b"bytes=0-1"),
    ]

    assert prepared(fields) == [OWN[0], *fields, *OWN[1:]]


def test_nothing_is_invented() -> None:
    assert prepared([]) == OWN


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade"),
        *(b"HTTP2-Settings", b"Host", b"Content-Length", b"Expect"),
        *(b"Authorization", b"Proxy-Authorization", b"Cookie", b"Cookie2"),
        *(b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-Anything"),
        *(b"Forwarded", b"X-Request-ID"),
    ],
)
@pytest.mark.parametrize("spelling", [bytes, bytes.lower, bytes.upper, lambda name: name.replace(b"-", b"_")])
def test_what_belongs_to_this_hop_or_this_proxy_is_stripped(name: bytes, spelling: Callable[[bytes], bytes]) -> None:
    field = (spelling(name), b"something")

    assert passed((b"A", b"1"), field, (b"B", b"2"), field) == [(b"A", b"1"), (b"B", b"2")]


@pytest.mark.parametrize(
    "name", [b"Accept", b"Via-Something", b"X-Host", b"X-Api_Key", b"Authorization-Info", b"Cookies"]
)
def test_a_field_that_only_looks_like_one_of_these_passes(name: bytes) -> None:
    assert passed((name, b"1")) == [(name, b"1")]


def test_what_any_connection_line_names_is_stripped() -> None:
    assert passed(
        (b"Connection", b"close, X-One"),
        (b"X-One", b"1"),
        (b"x-one", b"1"),
        (b"X-Two", b"2"),
        (b"X-Three", b"3"),
        (b"connection", b",, \tx-TWO\t ,"),
        (b"X-Four", b"4"),
        (b"X_Four", b"4"),
        (b"CONNECTION", b"X-Four"),
    ) == [(b"X-Three", b"3")]


def test_what_connection_names_is_not_taken_from_what_the_proxy_adds() -> None:
    fields = [
        (b"Connection", b"Authorization, Via, Host, X-Request-ID, Content-Length, X-Forwarded-For, Connection"),
        (b"Host", b"localhost"),
        (b"Via", b"1.0 other"),
        (b"X-Request-ID", b"theirs"),
        (b"Content-Length", b"5"),
        (b"X-Forwarded-For", b"198.51.100.9"),
    ]

    assert prepared(fields) == OWN
    assert prepared(fields, forwarded=True, trusted=["192.0.2.7"])[3:] == [
        (b"X-Forwarded-For", b"198.51.100.9, 192.0.2.7"),
        (b"X-Forwarded-Host", b"localhost"),
        (b"X-Forwarded-Proto", b"http"),
    ]


# What is added to a request


@pytest.mark.parametrize(("modern", "version"), [(False, b"1.0"), (True, b"1.1")])
def test_via_says_in_which_version_the_request_came(modern: bool, version: bytes) -> None:
    assert values(prepared([], modern=modern), b"via") == [version + b" " + PSEUDONYM]


def test_via_stands_behind_those_of_earlier_hops() -> None:
    fields = [(b"Via", b"1.0 one, 1.1 two (a, comment)"), (b"via", b"1.1 three")]

    assert values(prepared(fields), b"via") == [
        b"1.0 one, 1.1 two (a, comment)",
        b"1.1 three",
        b"1.1 " + PSEUDONYM,
    ]


@pytest.mark.parametrize(
    ("trusted", "remote", "believed"),
    [
        ([], "192.0.2.7", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.8"], "192.0.2.7", False),
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["10.0.0.0/8", "192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["192.0.2.0/24"], "::ffff:192.0.3.7", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["fe80::/10"], "fe80::1%25", True),
        (["2001:db8::/32"], "192.0.2.7", False),
        (["192.0.2.0/24"], "2001:db8::1", False),
        (["0.0.0.0/0"], "192.0.2.7", True),
        (["0.0.0.0/0", "::/0"], "", False),
    ],
)
def test_only_a_trusted_peer_may_say_who_it_speaks_for(trusted: list[str], remote: str, believed: bool) -> None:
    fields = [(b"X-Forwarded-For", b"198.51.100.9")]

    assert hop(*trusted).trusts(remote) is believed
    [value] = values(prepared(fields, trusted=trusted, remote=remote, forwarded=True), b"x-forwarded-for")
    assert value.startswith(b"198.51.100.9, ") is believed


CLAIMS = [
    (b"Host", b"shops.internal"),
    (b"X-Forwarded-For", b"198.51.100.9"),
    (b"x-forwarded-for", b"198.51.100.10"),
    (b"X-Forwarded-Host", b"shops.example.com"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Port", b"443"),
    (b"Forwarded", b"for=198.51.100.9"),
    (b"forwarded", b"for=198.51.100.10;proto=https"),
]


def test_a_platform_that_is_not_told_gets_nothing_even_from_a_trusted_peer() -> None:
    assert prepared(CLAIMS, trusted=["192.0.2.7"]) == OWN


def test_the_claims_of_a_peer_that_is_not_trusted_count_for_nothing() -> None:
    assert prepared(CLAIMS, forwarded=True) == [
        *OWN,
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"X-Forwarded-Host", b"shops.internal"),
        (b"X-Forwarded-Proto", b"http"),
    ]


def test_this_hop_is_appended_to_what_a_trusted_peer_says() -> None:
    assert prepared(CLAIMS, forwarded=True, trusted=["192.0.2.7"]) == [
        *OWN,
        (b"X-Forwarded-For", b"198.51.100.9, 198.51.100.10, 192.0.2.7"),
        (b"X-Forwarded-Host", b"shops.example.com"),
        (b"X-Forwarded-Proto", b"https"),
        (
            b"Forwarded",
            b'for=198.51.100.9, for=198.51.100.10;proto=https, for=192.0.2.7;proto=http;host="shops.internal"',
        ),
    ]


def test_a_trusted_peer_that_says_nothing_is_the_client_itself() -> None:
    assert prepared([], forwarded=True, trusted=["192.0.2.7"], scheme=b"https") == [
        *OWN,
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"X-Forwarded-Proto", b"https"),
    ]


@pytest.mark.parametrize(
    ("remote", "host", "element"),
    [
        ("2001:db8::1", b"shops.example", b'for="[2001:db8::1]";proto=http;host="shops.example"'),
        ("2001:db8::1", b"[::1]:8080", b'for="[2001:db8::1]";proto=http;host="[::1]:8080"'),
        ("192.0.2.7", b'a"b', b"for=192.0.2.7;proto=http"),
        ("192.0.2.7", b"a\\", b"for=192.0.2.7;proto=http"),
    ],
)
def test_an_element_of_forwarded_is_quoted_where_it_must_be(remote: str, host: bytes, element: bytes) -> None:
    fields = [(b"Host", host), (b"Forwarded", b"for=_first")]

    result = prepared(fields, forwarded=True, trusted=[remote], remote=remote)

    assert values(result, b"forwarded") == [b"for=_first, " + element]


def test_a_peer_without_an_address_is_unknown() -> None:
    assert (b"X-Forwarded-For", b"unknown") in prepared([], forwarded=True, remote="")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], None),
        ([b"abc-123_X.~+/=:@"], b"abc-123_X.~+/=:@"),
        ([b"a" * 128], b"a" * 128),
        ([b"a" * 129], None),
        ([b""], None),
        ([b"a b"], None),
        ([b'a"b'], None),
        ([b"a{b}"], None),
        ([b"\xe9"], None),
        ([b"", b"second"], b"second"),
        ([b"first", b"second"], b"first"),
    ],
)
def test_a_request_id_is_taken_if_it_is_fit_to_be_logged(ids: list[bytes], expected: bytes | None) -> None:
    assert request_id(head([(b"x-REQUEST-id", value) for value in ids])) == expected


TOKENS = st.sampled_from(
    [
        *(b"Host", b"Via", b"Authorization", b"Connection", b"Cookie", b"Content-Length", b"Transfer-Encoding"),
        *(b"X-Request-ID", b"X-Forwarded-For", b"Forwarded", b"Accept", b"X-A", b"X-B", b"X_A", b"Proxy_Authorization"),
    ]
)
NAMES = st.builds(lambda name, change: change(name), TOKENS, st.sampled_from([bytes, bytes.lower, bytes.upper]))
TEXTS = st.lists(st.sampled_from([*range(0x20, 0x7F), *range(0x80, 0x100), 0x09]), max_size=8).map(bytes)
OPTIONS = st.lists(NAMES | st.sampled_from([b"", b" ", b"close", b"\t"]), max_size=4).map(b" ,".join)
FIELDS = st.lists(st.tuples(NAMES, TEXTS) | st.tuples(st.just(b"Connection"), OPTIONS), max_size=12)


@given(fields=FIELDS, forwarded=st.booleans(), trusted=st.sampled_from([(), ("192.0.2.7",)]))
def test_whatever_the_client_sends_the_upstream_gets_a_clean_request(
    fields: Fields, forwarded: bool, trusted: Sequence[str]
) -> None:
    result = prepared(fields, forwarded=forwarded, trusted=trusted)

    assert values(result, b"host") == [b"api.example"]
    assert [value for value in values(result, b"via") if PSEUDONYM in value] == [b"1.1 " + PSEUDONYM]
    assert values(result, b"x-request-id") == [b"id-1"]
    names = {canonical(name) for name, _ in result}
    forbidden = {b"authorization", b"proxy-authorization", b"cookie", b"connection", b"content-length"}
    assert names.isdisjoint(forbidden | {b"transfer-encoding"})
    named = {
        canonical(option.strip(b" \t"))
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    ours = {
        b"host",
        b"via",
        b"x-request-id",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
    assert names.isdisjoint(named - ours)
    free = {b"accept", b"x-a", b"x-b"} - named
    assert [field for field in result if canonical(field[0]) in free] == [
        (name, value.strip(b" \t")) for name, value in fields if canonical(name) in free
    ]


def canonical(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


# Loops, Max-Forwards, Expect


@pytest.mark.parametrize(
    "via",
    [
        [b"1.1 " + PSEUDONYM],
        [b"1.0 " + PSEUDONYM],
        [b"HTTP/1.1 " + PSEUDONYM],
        [b"1.1\t" + PSEUDONYM],
        [b"1.1 " + PSEUDONYM.upper()],
        [b"1.1 one, 1.1 " + PSEUDONYM + b", 1.1 two"],
        [b"1.1 one,1.1 " + PSEUDONYM + b",1.1 two"],
        [b"1.1 one", b"1.1 two", b"1.1 " + PSEUDONYM],
        [b"1.1 " + PSEUDONYM + b" (a comment, with a comma)"],
        [b"1.1 one (a comment, with a comma), 1.1 " + PSEUDONYM],
    ],
)
def test_a_request_that_has_been_here_is_a_loop(via: list[bytes]) -> None:
    with pytest.raises(Loop):
        check_for_loop(head([(b"vIA", value) for value in via]), hop())


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Via", b"1.1 shop-auth-proxy")],
        [(b"Via", b"1.1 shop-auth-proxy-fedcba9876543210")],
        [(b"Via", b"1.1 " + PSEUDONYM + b"0")],
        [(b"Via", b"1.1 0" + PSEUDONYM)],
        [(b"Via", b"1.1 one (" + PSEUDONYM + b")")],
        [(b"X-Via", b"1.1 " + PSEUDONYM)],
        [(b"Via", b""), (b"Via", b" , ")],
    ],
)
def test_a_request_that_has_been_elsewhere_is_no_loop(fields: Fields) -> None:
    check_for_loop(head(fields), hop())


def test_what_this_proxy_sends_is_a_loop_when_it_comes_back() -> None:
    with pytest.raises(Loop):
        check_for_loop(head(prepared([(b"Via", b"1.1 one")])), hop())


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"1", b"0"), (b"10", b"9"), (b"007", b"6"), (b"999999999", b"999999998"), (b"9" * 40, b"999999999")],
)
def test_max_forwards_counts_this_hop(before: bytes, after: bytes) -> None:
    read = head([(b"A", b"1"), (b"MAX-forwards", before), (b"B", b"2")])

    assert decrease_max_forwards(read) is True
    assert fields_of(read.passing) == [(b"A", b"1"), (b"MAX-forwards", after), (b"B", b"2")]


def test_max_forwards_that_connection_names_stops_here() -> None:
    read = head([(b"Connection", b"Max-Forwards"), (b"Max-Forwards", b"5"), (b"A", b"1")])

    assert decrease_max_forwards(read) is True
    assert fields_of(read.passing) == [(b"A", b"1")]


@pytest.mark.parametrize("value", [b"0", b"00", b"0" * 40])
def test_a_request_at_its_last_hop_goes_no_further(value: bytes) -> None:
    assert decrease_max_forwards(head([(b"Max-Forwards", value)])) is False


def test_a_request_without_max_forwards_goes_on() -> None:
    read = head([(b"A", b"1")])

    assert decrease_max_forwards(read) is True
    assert fields_of(read.passing) == [(b"A", b"1")]


@pytest.mark.parametrize(
    "numbers",
    [[b""], [b"-1"], [b"+1"], [b"1.0"], [b"0x1"], [b"1, 2"], [b"\xb2"], [b"1 1"], [b"x"], [b"1", b"2"], [b"1", b"0"]],
)
def test_max_forwards_must_be_one_number(numbers: list[bytes]) -> None:
    with pytest.raises(BadRequest, match="Max-Forwards"):
        decrease_max_forwards(head([(b"Max-Forwards", value) for value in numbers]))


@pytest.mark.parametrize(
    ("expectations", "expected"),
    [
        ([], False),
        ([b""], False),
        ([b" , "], False),
        ([b"100-continue"], True),
        ([b"100-Continue"], True),
        ([b"100-continue, 100-continue"], True),
        ([b"", b"100-continue"], True),
    ],
)
def test_the_client_waits_for_continue_if_it_says_so(expectations: list[bytes], expected: bool) -> None:
    assert expects_continue(head([(b"EXPECT", value) for value in expectations])) is expected


@pytest.mark.parametrize(
    "expectations",
    [[b"200-ok"], [b"100-continue, x"], [b"100-continue", b"x"], [b"100-continue;a=1"], [b"100"], [b"\xe9"]],
)
def test_other_expectations_cannot_be_met(expectations: list[bytes]) -> None:
    with pytest.raises(ExpectationFailed):
        expects_continue(head([(b"Expect", value) for value in expectations]))


# What passes of an answer


def test_an_answer_loses_what_belongs_to_its_hop_and_nothing_else() -> None:
    kept = [
        (b"content-TYPE", b"application/json"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"Server", b"nginx"),
        (b"Date", b"\xe1"),
        (b"Content-Encoding", b"gzip"),
        (b"WWW-Authenticate", b"Bearer"),
        (b"Location", b"https://elsewhere.example/"),
        (b"Via", b"1.1 theirs"),
    ]
    stripped = [
        (b"Connection", b"keep-alive, X-Hop"),
        (b"connection", b"x-other"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-HOP", b"1"),
        (b"X-Other", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X-Sum"),
        (b"Upgrade", b"h2"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Content-Length", b"5"),
    ]
    mixed = [field for pair in zip(stripped, [*kept, kept[0]], strict=True) for field in pair]

    assert fields_of(head(mixed, ANSWERS).passing) == [*kept, kept[0]]
