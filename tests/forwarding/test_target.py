"""A raw request target is a shop and a rest that is not touched, or it is refused."""

import posixpath
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest, BadTarget
from proxy.forwarding.target import Target, call_segment, parse_hosted_target, parse_target, upstream_target

BASES = [b"/", b"/api/", b"/v1/shop/"]

# What the paths of attacks are made of, and of harmless ones.
PIECES = [
    *(b".", b"..", b"...", b"%2e", b"%2E", b"%2e%2E", b".%2e", b"%2E."),
    *(b"/", b"//", b"\\", b"%2f", b"%2F", b"%5c", b"%5C"),
    *(b";", b"%3b", b"%3B", b";a=1", b"%00", b"%", b"%25", b"%252e", b"%252f", b"%3f", b"%23"),
    *(b"a", b"products", b"x.y", b".x", b"x.", b"+", b"[", b"|", b'"', b"=", b"@", b":", b"~", b"?", b"?a=/../b"),
]
VISIBLE = st.binary(max_size=20).map(lambda raw: bytes(0x21 + byte % 0x5E for byte in raw if byte % 0x5E != 2))
RESTS = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join) | VISIBLE


@pytest.mark.parametrize(
    ("raw", "shop", "rest"),
    [
        (b"/demo", "demo", b""),
        (b"/demo/", "demo", b"/"),
        (b"/demo?", "demo", b"?"),
        (b"/demo?full=1", "demo", b"?full=1"),
        (b"/demo/products?full=1", "demo", b"/products?full=1"),
        (b"/demo/products?", "demo", b"/products?"),
        (b"/demo/products??", "demo", b"/products??"),
        (b"/demo//products//", "demo", b"//products//"),
        (b"/demo//evil.com/", "demo", b"//evil.com/"),
        (b"/demo/cHJvZHVjdA==", "demo", b"/cHJvZHVjdA=="),
        (b"/demo/a%2Fb%2fc", "demo", b"/a%2Fb%2fc"),
        (b"/demo/100%25", "demo", b"/100%25"),
        (b"/demo/%c3%A9", "demo", b"/%c3%A9"),
        (b"/demo/%7Ea%41", "demo", b"/%7Ea%41"),
        (b"/demo/%zz%", "demo", b"/%zz%"),
        (b"/demo/a;b=1;c", "demo", b"/a;b=1;c"),
        (b"/demo/a+b", "demo", b"/a+b"),
        (b"/demo/x?ids[]=1&ids[]=2", "demo", b"/x?ids[]=1&ids[]=2"),
        (b'/demo/x?a="b|c"{}^`\\', "demo", b'/x?a="b|c"{}^`\\'),
        (b"/demo/x?redirect=http://evil.com/", "demo", b"/x?redirect=http://evil.com/"),
        (b"/demo/demo/demo", "demo", b"/demo/demo"),
        (b"/d/x", "d", b"/x"),
        (b"/0/x", "0", b"/x"),
        (b"/a-b--c/x", "a-b--c", b"/x"),
        (b"/" + b"a" * 63 + b"/x", "a" * 63, b"/x"),
    ],
)
def test_the_rest_stays_as_it_came(raw: bytes, shop: str, rest: bytes) -> None:
    assert parse_target(raw) == Target(shop, rest, f"/{shop}")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"/",
        b"//",
        b"//demo/x",
        b"/?demo",
        b"*",
        b"demo/x",
        b"localhost:8080",
        b"http://localhost/demo/x",
        b"/-x/y",
        b"/x-/y",
        b"/-/y",
        b"/" + b"a" * 64 + b"/x",
        b"/Demo/x",
        b"/DEMO/x",
        b"/de_mo/x",
        b"/a.b/x",
        b"/demo./x",
        b"/.demo/x",
        b"/./x",
        b"/../x",
        b"/%2e%2e/x",
        b"/169.254.169.254%23/x",
        b"/169.254.169.254/x",
        b"/evil.com:80%2f/x",
        b"/evil.com%2f/x",
        b"/demo:80/x",
        b"/demo@evil.com/x",
        b"/demo%40evil.com/x",
        b"/demo%2fx",
        b"/demo%00/x",
        b"/demo%20/x",
        b"/%64emo/x",
        b"/demo;a=1/x",
        b"/demo\\x",
        b"/demo%5cx",
        b"/*/x",
        b"/{shop}/x",
        b"/[::1]/x",
        b"/%c3%bccher/x",
        b"/demo&x",
    ],
)
def test_what_does_not_begin_with_a_shop_name_is_refused(raw: bytes) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_target(raw)

    assert caught.value.code == "bad_target"


@pytest.mark.parametrize("dots", [b".", b"..", b"%2e", b"%2E", b"%2e%2e", b"%2E%2e", b".%2e", b"%2e."])
@pytest.mark.parametrize("before", [b"/", b"/a/", b"//", b"/a%2f", b"/a%2F", b"/a\\", b"/a%5c", b"/a%5C", b"/a;b=1/"])
def test_a_dot_segment_in_any_encoding_is_refused(before: bytes, dots: bytes) -> None:
    for after in b"|/|/x|?q|%2f|%2Fx|\\|%5c|%5C|;|;a=1/x|%3b|%00|%20|%3F".split(b"|"):
        with pytest.raises(BadTarget, match=r"'\.' or '\.\.' segments"):
            parse_target(b"/demo" + before + dots + after)


@pytest.mark.parametrize(
    "rest",
    [
        b"/...",
        b"/....//x",
        b"/.x/..x/x./x..",
        b"/a.b/%2ehidden",
        b"/x%2e",
        b"/.well-known/x",
        b"/x?path=../../etc/passwd",
        b"/x?%2e%2e/",
        b"?..",
        b"?/../",
        b"/x?a=1?/..",
        b"/%252e%252e/x",
    ],
)
def test_dots_that_are_no_segment_of_the_path_pass(rest: bytes) -> None:
    assert parse_target(b"/demo" + rest) == Target("demo", rest, "/demo")


@pytest.mark.parametrize("template", [b"/de%smo/x", b"/demo/%sx", b"/demo/x?a=%s", b"/demo/x%s", b"%s/demo/x"])
def test_a_byte_that_must_be_percent_encoded_is_named_as_the_trouble(template: bytes) -> None:
    for byte in (*range(0x21), *range(0x7F, 0x100)):
        with pytest.raises(BadRequest, match="percent-encode the rest, a space as %20"):
            parse_target(template % bytes([byte]))


@pytest.mark.parametrize("raw", [b"/demo/x#y", b"/demo#", b"/demo/x?a=#", b"/#demo"])
def test_a_fragment_is_refused(raw: bytes) -> None:
    with pytest.raises(BadTarget, match="%23"):
        parse_target(raw)


@pytest.mark.parametrize(
    ("rest", "path"), [(b"/x?secret=1", b"/x"), (b"/x", b"/x"), (b"?secret=1", b""), (b"", b""), (b"/x?a?b", b"/x")]
)
def test_the_path_to_be_logged_has_no_query(rest: bytes, path: bytes) -> None:
    assert Target("demo", rest, "").path == path


@pytest.mark.parametrize(
    ("base", "rest", "expected"),
    [
        (b"/api/", b"/products?full=1", b"/api/products?full=1"),
        (b"/api/", b"", b"/api/"),
        (b"/api/", b"/", b"/api/"),
        (b"/api/", b"?", b"/api/?"),
        (b"/api/", b"?full=1", b"/api/?full=1"),
        (b"/api/", b"//x", b"/api//x"),
        (b"/", b"/api/v3/orders?a=%2F", b"/api/v3/orders?a=%2F"),
        (b"/", b"", b"/"),
    ],
)
def test_the_upstream_gets_the_base_and_the_rest(base: bytes, rest: bytes, expected: bytes) -> None:
    assert upstream_target(base, rest) == expected


TOSS = "api/v3/shopping-fep"


@pytest.mark.parametrize(
    ("rest", "prefix", "segment"),
    [
        (b"/products", "", b"products"),
        (b"/products/5/images", "", b"products"),
        (b"/products?full=1", "", b"products"),
        (b"/products?of=/orders", "", b"products"),
        (b"//products//5", "", b"products"),
        (b"/products/", "", b"products"),
        (b"/productClasses", "", b"productClasses"),
        (b"/%70roducts", "", b"%70roducts"),
        (b"", "", b""),
        (b"/", "", b""),
        (b"?full=1", "", b""),
        (b"/api/v3/shopping-fep/orders/v2", TOSS, b"orders"),
        (b"/api/v3/shopping-fep/orders?a=/b", TOSS, b"orders"),
        (b"//api/v3/shopping-fep//orders", TOSS, b"orders"),
        (b"/api/v3/shopping-fep/", TOSS, b""),
        pytest.param(b"/api/v3/shopping-fep", TOSS, b"api", id="the prefix is not whole without its slash"),
        pytest.param(b"/api/v3/shopping-fep-2/orders", TOSS, b"api", id="another prefix that begins alike"),
        pytest.param(b"/orders", TOSS, b"orders", id="without the prefix"),
        pytest.param(b"/api/v3/shopping-fep/api/v3/shopping-fep/x", TOSS, b"api", id="the prefix counts once"),
    ],
)
def test_calls_are_of_a_kind_by_their_first_segment_after_the_platforms_prefix(
    rest: bytes, prefix: str, segment: bytes
) -> None:
    assert call_segment(rest, prefix) == segment


@given(st.binary(max_size=70))
def test_a_first_segment_is_taken_if_and_only_if_it_is_a_dns_label(name: bytes) -> None:
    letters = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
    is_label = 1 <= len(name) <= 63 and set(name) <= letters | {ord("-")} and {name[0], name[-1]} <= letters

    try:
        taken = parse_target(b"/" + name + b"/x")[:2] == (name.decode("ascii", "replace"), b"/x")
    except (BadRequest, BadTarget):
        taken = False

    assert taken == is_label


def readings(path: bytes) -> list[bytes]:
    """The path as servers may read it: as it is, with its dots decoded, with everything decoded once."""
    dots_decoded = re.sub(rb"%2e", b".", path, flags=re.IGNORECASE)
    return [path, dots_decoded, unquote_to_bytes(path)]


def normalised(path: bytes) -> bytes:
    """The path as a server resolves it that takes a backslash for a slash and leaves out `;` parameters."""
    segments = path.replace(b"\\", b"/").split(b"/")
    return posixpath.normpath(b"/".join(segment.partition(b";")[0] for segment in segments))


@given(base=st.sampled_from(BASES), tail=st.just(b"") | st.builds(bytes.__add__, st.sampled_from([b"/", b"?"]), RESTS))
def test_no_accepted_target_climbs_out_of_the_base_or_is_changed(base: bytes, tail: bytes) -> None:
    try:
        target = parse_target(b"/demo" + tail)
    except BadTarget:
        return

    assert target == Target("demo", tail, "/demo")
    sent = upstream_target(base, target.rest)
    assert sent == base + tail.removeprefix(b"/")
    for reading in readings(sent.partition(b"?")[0]):
        assert (normalised(reading) + b"/").startswith(base)


def test_a_call_segment_is_kept_short() -> None:
    assert call_segment(b"/" + b"x" * 5000 + b"/y", "") == b"x" * 64


@pytest.mark.parametrize(
    ("raw", "base_path", "rest", "base"),
    [
        (b"/products", b"/api/", b"/products", ""),
        (b"/", b"/api/", b"/", ""),
        (b"/?a=1", b"/api/", b"/?a=1", ""),
        (b"/api/products?full=1", b"/api/", b"/products?full=1", "/api"),
        (b"/api", b"/api/", b"", "/api"),
        (b"/api?a=1", b"/api/", b"?a=1", "/api"),
        (b"/api/", b"/api/", b"/", "/api"),
        (b"/apiary", b"/api/", b"/apiary", ""),
        (b"/API/products", b"/api/", b"/API/products", ""),
        (b"/products?x=/api/", b"/api/", b"/products?x=/api/", ""),
        (b"/v1/shop/x", b"/v1/shop/", b"/x", "/v1/shop"),
        (b"/products", b"/", b"/products", ""),
        (b"//products", b"/", b"//products", ""),
    ],
)
def test_where_the_host_names_the_shop_the_base_path_may_be_written_or_not(
    raw: bytes, base_path: bytes, rest: bytes, base: str
) -> None:
    assert parse_hosted_target(raw, "demo", base_path) == Target("demo", rest, base, hosted=True)


@pytest.mark.parametrize("raw", [b"/..", b"/api/../x", b"/%2e%2e/x", b"/x#y", b"/\xff", b"*", b"products"])
def test_what_no_path_may_hold_is_refused_there_too(raw: bytes) -> None:
    with pytest.raises((BadTarget, BadRequest)):
        parse_hosted_target(raw, "demo", b"/api/")
