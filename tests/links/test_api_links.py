"""Links of this shop's API lead back through the proxy, and all else passes as it is, however a stream is cut."""

import json
import re
from collections.abc import Iterable
from itertools import chain
from urllib.parse import parse_qs, quote, urlencode
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.links.api_links import ApiLinks, LinkMap
from tests.links.rewriting import (
    API,
    BASE,
    CANONICAL,
    FORMS,
    OLD,
    OLDER,
    PERCENT_COLONS,
    SLASHES,
    TEXT_FORMS,
    Links,
    find,
    reference,
    write,
)

RESPONSES = ApiLinks(API).in_answers(BASE)
REQUESTS = ApiLinks(API).in_requests(BASE)
IN_ANSWERS = Links(API, TEXT_FORMS)
ENDS_OF_ESCAPES = [way[at:].encode() for _, way in FORMS for at in range(1, len(way))]
IN_REQUESTS = Links((BASE, *API), FORMS)


def streamed(links: LinkMap, chunks: Iterable[bytes]) -> bytes:
    rewriter = links.rewriter()
    return b"".join([rewriter.feed(chunk) for chunk in chunks]) + rewriter.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def rewritten(links: LinkMap, body: bytes) -> bytes:
    """The body rewritten, whole and in single bytes alike."""
    whole = links.rewrite(body)
    assert streamed(links, [body]) == whole
    assert streamed(links, bytewise(body)) == whole
    return whole


# What is a link of the shop's


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        (
            "https://demo.api2.myshoprenter.hu/api/products?page=1&limit=5",
            "http://proxy:8080/demo/products?page=1&limit=5",
        ),
        ("https://demo.api2.myshoprenter.hu/api/products/cHJvZA==", "http://proxy:8080/demo/products/cHJvZA=="),
        ("https://demo.api2.myshoprenter.hu/api", "http://proxy:8080/demo"),
        ("https://demo.api2.myshoprenter.hu/api?a=https", "http://proxy:8080/demo?a=https"),
        ("http://demo.api2.myshoprenter.hu/api/x", "http://proxy:8080/demo/x"),
        ("https://demo.api2.myshoprenter.hu:443/api/x", "http://proxy:8080/demo/x"),
        ("http://demo.api2.myshoprenter.hu:80/api/x", "http://proxy:8080/demo/x"),
        ("HTTPS://Demo.API2.myShoprenter.hu/api/X", "http://proxy:8080/demo/X"),
        ("https://demo.api.myshoprenter.hu/products", "http://proxy:8080/demo/products"),
        ("https://demo.api.myshoprenter.hu", "http://proxy:8080/demo"),
        ("https://demo.api.shoprenter.hu:443#top", "http://proxy:8080/demo#top"),
        ("http://demo.api.shoprenter.hu/api/x", "http://proxy:8080/demo/api/x"),
    ],
)
def test_a_link_in_an_answer_leads_to_the_proxy_in_the_form_it_has(url: str, becomes: str) -> None:
    for colon, slash in TEXT_FORMS:
        body = b'{"href":"%s","id":1}' % write(url, colon, slash)

        assert rewritten(RESPONSES, body) == b'{"href":"%s","id":1}' % write(becomes, colon, slash)


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        (rb"https:\u002F\u002Fdemo.api2.myshoprenter.hu\u002Fapi", rb"http:\u002F\u002Fproxy:8080\u002Fdemo"),
        (rb"https:\u002f\u002fdemo.api2.myshoprenter.hu\u002fapi", rb"http:\u002f\u002fproxy:8080\u002fdemo"),
        (rb"https\u003a\/\/demo.api2.myshoprenter.hu\u003a443\/api", rb"http\u003a\/\/proxy\u003a8080\/demo"),
        (rb"https\x3A\x2F\x2Fdemo.api2.myshoprenter.hu\x2Fapi", rb"http\x3A\x2F\x2Fproxy\x3A8080\x2Fdemo"),
        (b"https&#58;//demo.api2.myshoprenter.hu/api", b"http&#58;//proxy&#58;8080/demo"),
        (
            b"https&#x3a;&#x2f;&#x2f;demo.api2.myshoprenter.hu&#x2f;api",
            b"http&#x3a;&#x2f;&#x2f;proxy&#x3a;8080&#x2f;demo",
        ),
        (b"https:&#047;&#047;demo.api2.myshoprenter.hu&#047;api", b"http:&#047;&#047;proxy:8080&#047;demo"),
        (b"https&colon;&sol;&sol;demo.api2.myshoprenter.hu&sol;api", b"http&colon;&sol;&sol;proxy&colon;8080&sol;demo"),
        (b"//demo.api2.myshoprenter.hu/api", b"//proxy:8080/demo"),
        (rb"\/\/demo.api2.myshoprenter.hu\/api", rb"\/\/proxy:8080\/demo"),
        (b"&#x2F;&#x2F;demo.api2.myshoprenter.hu&#x2F;api", b"&#x2F;&#x2F;proxy:8080&#x2F;demo"),
    ],
)
def test_an_escape_is_kept_as_it_was_written(link: bytes, becomes: bytes) -> None:
    assert rewritten(RESPONSES, b'["%b","%b/x"]' % (link, link)) == b'["%b","%b/x"]' % (becomes, becomes)


@pytest.mark.parametrize(
    "before",
    [
        *(b"", b"\xef\xbb\xbf", b" ", b"\t", b"\n", b'"', b"'", b"`", b"=", b"(", b"<", b">", b"[", b","),
        *(b'\\"', b"\\n", b"\\r\\n", b"\\t", b"\\u0022", b"\\u003D", b"\\u003c", b"\\x22", b"\\x27"),
        *(b"&quot;", b"&#34;", b"&#x22;", b"&apos;", b"&#039;", b"&lt;", b"&gt;", b"<![CDATA["),
    ],
)
def test_without_a_scheme_a_link_begins_behind_what_opens_a_value(before: bytes) -> None:
    assert rewritten(RESPONSES, before + b"//demo.api2.myshoprenter.hu/api/x") == before + b"//proxy:8080/demo/x"
    link, becomes = write("//proxy:8080/demo", slash="%2F"), write("//demo.api2.myshoprenter.hu/api", slash="%2F")
    if b"\\" not in before and b"&" not in before and not before.startswith(b"\xef"):
        escaped = b"".join(b"%%%02X" % byte for byte in before)
        assert rewritten(REQUESTS, escaped + link) == escaped + becomes


@pytest.mark.parametrize(
    "before",
    [
        *(b"a", b"0", b".", b"-", b"/", b":", b";", b"@", b"?", b"&", b"#", b"%", b"\\", b"|", b"]", b"}", b"*"),
        *(b"http:/", b"ftp:", b"https://other.example", b"\\u0041", b"\\u003A", b"\\x2F", b"&amp;", b"&#47;", b"%22"),
    ],
)
def test_without_a_scheme_nothing_is_a_link_behind_anything_else(before: bytes) -> None:
    for slash in SLASHES:
        link = write("//demo.api2.myshoprenter.hu/api/x", slash=slash)

        assert rewritten(RESPONSES, before + link) == before + link


@pytest.mark.parametrize(
    "link",
    [
        b"//demo.api2.myshoprenter.hu/apix",
        b"//demo.api2.myshoprenter.hu/",
        b"//demo.api2.myshoprenter.hu.evil.com/api/",
        b"//demo.api2.myshoprenter.hu:443/api/",
        b"//demo.api2.myshoprenter.hu:8443/api/",
        b"//user@demo.api2.myshoprenter.hu/api/",
        b"//other.api2.myshoprenter.hu/api/",
        b"///demo.api2.myshoprenter.hu/api/",
        b"/demo.api2.myshoprenter.hu/api/",
        b"/\\/demo.api2.myshoprenter.hu/api/",
        b"https:&#47;/demo.api2.myshoprenter.hu/api/",
        b"https:&#x2F;&#47;demo.api2.myshoprenter.hu&#x2F;api",
        b"https:\\u002F\\u002Fdemo.api2.myshoprenter.hu/api",
        b"https&#58;//demo.api2.myshoprenter.hu:443/api/",
        b"https&colon//demo.api2.myshoprenter.hu/api/",
        b"https:&#47&#47demo.api2.myshoprenter.hu/api/",
        b"https:&#00047;&#00047;demo.api2.myshoprenter.hu/api/",
        b"https:\\u02F\\u02Fdemo.api2.myshoprenter.hu\\u02Fapi",
    ],
)
def test_what_only_looks_like_one_of_these_stays(link: bytes) -> None:
    assert rewritten(RESPONSES, b'{"a":"%s"}' % link) == b'{"a":"%s"}' % link


@pytest.mark.parametrize(
    "body",
    [
        b"https://demo.api2.myshoprenter.hu.evil.com/api/x",
        b"https://demo.api2.myshoprenter.hu/apifoo",
        b"https://demo.api2.myshoprenter.hu/api2/x",
        b"https://demo.api2.myshoprenter.hu/api-x",
        b"https://demo.api2.myshoprenter.hu/api.json",
        b"https://demo.api2.myshoprenter.hu/api%2Fx",
        b"https://demo.api2.myshoprenter.hu/api%3Fx",
        b"https://demo.api2.myshoprenter.hu/api:x",
        b"https://demo.api2.myshoprenter.hu/api@x",
        b"https://demo.api2.myshoprenter.hu/api=x",
        b"https://demo.api2.myshoprenter.hu/api\xc5\x91/x",
        b"https://demo.api2.myshoprenter.hu/API/x",
        b"https://demo.api2.myshoprenter.hu/x",
        b"https://demo.api2.myshoprenter.hu//api/x",
        b"https://demo.api2.myshoprenter.hu/",
        b"https://demo.api2.myshoprenter.hu",
        b"https://xdemo.api2.myshoprenter.hu/api/x",
        b"https://x.demo.api2.myshoprenter.hu/api/x",
        b"https://x-demo.api2.myshoprenter.hu/api/x",
        b"https://other.api2.myshoprenter.hu/api/x",
        b"https://demo.api2.myshoprenter.com/api/x",
        b"https://demo.api2xmyshoprenter.hu/api/x",
        b"https://user@demo.api2.myshoprenter.hu/api/x",
        b"https://user:pass@demo.api2.myshoprenter.hu/api/x",
        b"https://demo.api.myshoprenter.hu@evil.com/x",
        b"https://demo.api.myshoprenter.hu:pass@evil.com/x",
        b"https://demo.api.myshoprenter.hu.",
        b"https://demo.api.shoprenter.hu-evil.com/x",
        b"https://demo.api.shoprenter.hu\xc5\x91.com/x",
        b"https://demo.api2.myshoprenter.hu:80/api/x",
        b"http://demo.api2.myshoprenter.hu:443/api/x",
        b"https://demo.api2.myshoprenter.hu:8443/api/x",
        b"https://demo.api2.myshoprenter.hu:4430/api/x",
        b"https://demo.api2.myshoprenter.hu:/api/x",
        b"https://demo.api2.myshoprenter.hu/api\\u003Ax",
        b"https://demo.api2.myshoprenter.hu/api&colon;x",
        b"https://demo.api.shoprenter.hu\\x3a8080/x",
        b"https://demo.api.shoprenter.hu&#x3A;pass@evil.com/x",
        b"https:\\/\\/demo.api2.myshoprenter.hu\\u003A8443\\/api",
        b"xhttps://demo.api2.myshoprenter.hu/api/x",
        b"git+https://demo.api2.myshoprenter.hu/api/x",
        b"x-https://demo.api2.myshoprenter.hu/api/x",
        b"x.https://demo.api2.myshoprenter.hu/api/x",
        b"2https://demo.api2.myshoprenter.hu/api/x",
        b"\\u0078https://demo.api2.myshoprenter.hu/api/x",
        b"ftp://demo.api2.myshoprenter.hu/api/x",
        b"httpss://demo.api2.myshoprenter.hu/api/x",
        b"https:/demo.api2.myshoprenter.hu/api/x",
        b"demo.api2.myshoprenter.hu/api/x",
        b"https:\\/\\/demo.api2.myshoprenter.hu/api/x",
        b"https:\\//demo.api2.myshoprenter.hu/api/x",
        b"https://demo.api2.myshoprenter.hu\\/api/x",
        b"https%3A%2F%2Fdemo.api2.myshoprenter.hu%2Fapi%2Fx",
        b"https://www.example.com/?shop=demo.api2.myshoprenter.hu/api",
        b"http://proxy:8080/demo/x",
    ],
)
def test_any_other_url_in_an_answer_stays(body: bytes) -> None:
    assert rewritten(RESPONSES, body) == body
    assert rewritten(RESPONSES, b'{"a":"%s"}' % body) == b'{"a":"%s"}' % body


@pytest.mark.parametrize("after", [bytes([byte]) for byte in b"/?#\"'<>&])},;\\| \t\r\n"])
def test_a_link_ends_where_a_url_or_its_segment_does(after: bytes) -> None:
    assert rewritten(RESPONSES, CANONICAL.encode() + after) == BASE.encode() + after


@pytest.mark.parametrize(
    "before",
    [
        *(b"", b" ", b'"', b"'", b"<", b">", b"(", b"=", b",", b"/", b"\n", b"\xc2\xa0"),
        *(b"\\n", b"\\r\\n", b"\\t", b"\\u0022", b"\\u003E", b"\\u00a0", b"\\u0151"),
        *(b"&quot;", b"&#34;", b"<![CDATA["),
    ],
)
def test_a_link_begins_after_whatever_is_no_part_of_a_scheme(before: bytes) -> None:
    assert rewritten(RESPONSES, before + CANONICAL.encode()) == before + BASE.encode()


@pytest.mark.parametrize("code", range(0x21, 0x7F))
def test_an_escape_before_a_link_counts_as_the_character_it_stands_for(code: int) -> None:
    begins = not re.fullmatch(r"[A-Za-z0-9+.-]", chr(code))
    json_body, form_body = b"\\u%04x" % code, b"%%%02X" % code

    assert (rewritten(RESPONSES, json_body + CANONICAL.encode()) == json_body + BASE.encode()) == begins
    link, becomes = write(BASE, "%3A", "%2F"), write(CANONICAL, "%3A", "%2F")
    assert (rewritten(REQUESTS, form_body + link) == form_body + becomes) == begins


@pytest.mark.parametrize("code", range(0x21, 0x7F))
def test_an_escape_after_a_link_in_a_form_body_counts_as_the_character_it_stands_for(code: int) -> None:
    link, becomes = write(BASE, "%3A", "%2F"), write(CANONICAL, "%3A", "%2F")
    ends = rewritten(REQUESTS, BASE.encode() + bytes([code])) == CANONICAL.encode() + bytes([code])

    assert (rewritten(REQUESTS, link + b"%%%02x" % code) == becomes + b"%%%02x" % code) == ends


# Bodies as they are sent


def test_json_as_php_writes_it_is_the_same_json_with_other_links() -> None:
    page = {
        "href": f"{CANONICAL}/products?page=0",
        "previous": None,
        "items": [{"href": f"{OLD}/products/1", "a": "ő/\n"}],
    }
    moved = {
        "href": f"{BASE}/products?page=0",
        "previous": None,
        "items": [{"href": f"{BASE}/products/1", "a": "ő/\n"}],
    }

    for escaped in (False, True):
        body = json.dumps(page).replace("/", "\\/" if escaped else "/").encode()

        answer = rewritten(RESPONSES, body)

        assert json.loads(answer) == moved
        assert (b"\\/" in answer) == escaped


def test_xml_keeps_its_cdata_attributes_and_entities() -> None:
    body = (
        f'<?xml version="1.0"?><r href="{CANONICAL}/a?x=1&amp;y=2" b=\'{OLD}\'><c><![CDATA[{CANONICAL}/c?x=1&y=2]]></c>'
        f"<d>{CANONICAL}</d><e><![CDATA[{OLDER}]]></e><f>&quot;{CANONICAL}&quot;</f><g>{CANONICAL}/g</g></r>"
    ).replace(f"{CANONICAL}/g", f"{CANONICAL}/g".replace("/", "&#x2F;"))

    root = ET.fromstring(rewritten(RESPONSES, body.encode()))  # noqa: S314 - the text is from above

    assert root.attrib == {"href": f"{BASE}/a?x=1&y=2", "b": BASE}
    assert [element.text for element in root] == [f"{BASE}/c?x=1&y=2", BASE, BASE, f'"{BASE}"', f"{BASE}/g"]


def test_a_batch_goes_out_with_the_platform_s_own_uris() -> None:
    uris = [f"{BASE}/productExtend?full=1", "HTTP://Proxy:8080/demo/x", f"{OLD}/y", f"{OLDER}/z", f"{CANONICAL}/same"]
    body = json.dumps({"data": {"requests": [{"method": "GET", "uri": uri} for uri in uris]}})

    sent = json.loads(rewritten(REQUESTS, body.replace("/", "\\/").encode()))

    assert [part["uri"] for part in sent["data"]["requests"]] == [
        f"{CANONICAL}/productExtend?full=1",
        f"{CANONICAL}/x",
        f"{CANONICAL}/y",
        f"{CANONICAL}/z",
        f"{CANONICAL}/same",
    ]


@pytest.mark.parametrize(
    ("encoded", "becomes"),
    [
        (b"http%3A%2F%2Fproxy%3A8080%2Fdemo", b"https%3A%2F%2Fdemo.api2.myshoprenter.hu%2Fapi"),
        (b"http%3a%2f%2fproxy%3a8080%2fdemo", b"https%3A%2F%2Fdemo.api2.myshoprenter.hu%2Fapi"),
        (b"http%3a%2F%2fproxy%3A8080%2fdemo", b"https%3A%2F%2Fdemo.api2.myshoprenter.hu%2Fapi"),
        (b"https%3A%2F%2Fdemo.api.shoprenter.hu%3A443", b"https%3A%2F%2Fdemo.api2.myshoprenter.hu%2Fapi"),
        (b"http%3A//proxy%3A8080/demo", b"https%3A//demo.api2.myshoprenter.hu/api"),
        (b"http:%2F%2Fproxy:8080%2Fdemo", b"https:%2F%2Fdemo.api2.myshoprenter.hu%2Fapi"),
        (b"http%3A%5C%2F%5C%2Fproxy%3A8080%5C%2Fdemo", b"https%3A%5C%2F%5C%2Fdemo.api2.myshoprenter.hu%5C%2Fapi"),
        (b"http%3A%5C/%5C/proxy%3A8080%5C/demo", b"https%3A%5C/%5C/demo.api2.myshoprenter.hu%5C/api"),
        (
            b"http%3A%5cu002f%5cu002fproxy%3A8080%5cu002fdemo",
            b"https%3A%5Cu002f%5Cu002fdemo.api2.myshoprenter.hu%5Cu002fapi",
        ),
        (
            b"http%3A%26%2347%3b%26%2347%3Bproxy%3A8080%26%2347%3Bdemo",
            b"https%3A%26%2347%3B%26%2347%3Bdemo.api2.myshoprenter.hu%26%2347%3Bapi",
        ),
    ],
)
def test_a_link_in_a_form_body_leads_to_the_platform(encoded: bytes, becomes: bytes) -> None:
    for before in (b"", b"a=", b"a=x+", b"a=%22", b"a=%3E", b"a=%0A", b"a=%5Cn", b"a=%C5%91"):
        for after in (b"", b"&b=1", b"%2Fx", b"%3fa", b"%22", b"%5D", b"%20x", b"%5c%2Fx", b"+x"):
            assert rewritten(REQUESTS, before + encoded + after) == before + becomes + after


@pytest.mark.parametrize(
    "body",
    [
        b"a=http%3A%2F%2Fproxy%3A8080%2Fdemo%2Eevil",
        b"a=http%3A%2F%2Fproxy%3A8080%2Fdemox",
        b"a=http%3A%2F%2Fproxy%3A8080%2Fdemo%41",
        b"a=http%3A%2F%2Fproxy%3A8080%2Fdemo%2",
        b"a=http%3A%2F%2Fproxy%3A8080%2Fdemo%",
        b"a=http%3A%2F%2Fproxy%3A8080%2FDemo",
        b"a=http%3A%2F%2Fproxy%3A80801%2Fdemo",
        b"a=http%3A%2F%2Fproxy%2Fdemo",
        b"a=https%3A%2F%2Fdemo.api.shoprenter.hu%40evil.com",
        b"a=https%3A%2F%2Fdemo.api.shoprenter.hu%3A80",
        b"a=%78http%3A%2F%2Fproxy%3A8080%2Fdemo",
        b"a=%2Bhttp%3A%2F%2Fproxy%3A8080%2Fdemo",
        b"a=xhttp%3A%2F%2Fproxy%3A8080%2Fdemo",
        b"a=http%3A%2F%2Fuser%40proxy%3A8080%2Fdemo",
        b"a=http://proxy:8080/demo%2Fx",
        b"a=http%3A%2F%2Fproxy%3A8080/demo",
    ],
)
def test_any_other_url_in_a_form_body_stays(body: bytes) -> None:
    assert rewritten(REQUESTS, body) == body


def test_form_fields_and_json_in_one_are_the_same_but_for_their_links() -> None:
    fields = {
        "data[uri]": f"{BASE}/a?b=c",
        "json": json.dumps({"uri": f"{BASE}/x"}).replace("/", "\\/"),
        "sku": "a/b:c",
    }

    sent = parse_qs(rewritten(REQUESTS, urlencode(fields).encode()).decode())

    assert sent == {
        "data[uri]": [f"{CANONICAL}/a?b=c"],
        "json": [json.dumps({"uri": f"{CANONICAL}/x"}).replace("/", "\\/")],
        "sku": ["a/b:c"],
    }


def test_a_multipart_field_is_rewritten_and_a_file_passes() -> None:
    file = bytes(range(256)) * 20
    body = b'--x\r\nContent-Disposition: form-data; name="data[href]"\r\n\r\n%b\r\n--x\r\n\r\n%b\r\n--x--\r\n'

    assert rewritten(REQUESTS, body % (BASE.encode(), file)) == body % (CANONICAL.encode(), file)


# Bases of other kinds


@pytest.mark.parametrize(
    ("base", "written"),
    [
        ("https://shops.example.com/demo/", "https://shops.example.com/demo"),
        ("https://shops.example.com/a/b-c/demo", "https://shops.example.com/a/b-c/demo"),
        ("http://Localhost:80/demo", "http://localhost/demo"),
        ("http://[::1]:8080/demo", "http://[::1]:8080/demo"),
        ("http://[fd00::1]/demo", "http://[fd00::1]/demo"),
        ("http://10.1.2.3:81/http", "http://10.1.2.3:81/http"),
        ("http://demo.api.myshoprenter.hu", "http://demo.api.myshoprenter.hu"),
    ],
)
def test_a_base_of_any_kind_goes_there_and_back_in_every_form(base: str, written: str) -> None:
    there, back = ApiLinks(API).in_answers(base), ApiLinks(API).in_requests(base)

    assert rewritten(there, f"{CANONICAL}/x".encode()) == f"{written}/x".encode()
    for url in (written, base.rstrip("/")):
        body = b" ".join(write(f"{url}/x", colon, slash) for colon, slash in FORMS)
        expected = b" ".join(write(f"{CANONICAL}/x", colon, slash) for colon, slash in FORMS)
        assert back.rewrite(body) == expected
        assert streamed(back, [body[at : at + 23] for at in range(0, len(body), 23)]) == expected


def test_of_two_prefixes_on_a_host_the_longer_one_wins_where_it_is_whole() -> None:
    links = ApiLinks([CANONICAL, OLD, f"{OLD}/api"]).in_answers(BASE)

    assert rewritten(links, f"{OLD}/api/x {OLD}/apix {OLD}/ap".encode()) == f"{BASE}/x {BASE}/apix {BASE}/ap".encode()


def test_of_two_prefixes_on_a_host_the_longer_one_is_waited_for_as_long_as_it_may_come() -> None:
    rewriter = ApiLinks([OLD, f"{OLD}/api"]).in_answers(BASE).rewriter()

    assert rewriter.feed(f"{OLD}/ap".encode()) == b""
    assert rewriter.feed(b"p") == f"{BASE}/app".encode()
    assert rewriter.feed(f" {OLD}/A".encode()) == f" {BASE}/A".encode()


def test_a_full_stop_in_a_path_is_one() -> None:
    links = ApiLinks(["https://a.example/v1.2"]).in_answers(BASE)

    assert rewritten(links, b"https://a.example/v1x2/ https://a.example/v1.2/") == b"https://a.example/v1x2/ %b/" % (
        BASE.encode()
    )


def test_a_link_that_already_is_what_it_becomes_changes_nothing() -> None:
    rewriter = REQUESTS.rewriter()

    assert rewriter.feed(CANONICAL.encode() + b"/x ") == CANONICAL.encode() + b"/x "
    assert not rewriter.changed


@pytest.mark.parametrize("url", ['http://e"vil/demo', "http://proxy/d&mo", "proxy:8080/demo", ""])
def test_a_url_that_would_need_escaping_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http"):
        ApiLinks(API).in_answers(url)
    with pytest.raises(ValueError, match="must be http"):
        ApiLinks([url]).in_answers(BASE)


# Header fields


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (b"https://demo.api2.myshoprenter.hu/api/products/1", b"http://proxy:8080/demo/products/1"),
        (b"https://demo.api2.myshoprenter.hu/api", b"http://proxy:8080/demo"),
        (
            b'<https://demo.api.myshoprenter.hu/p?page=2>; rel="next", </x>',
            b'<http://proxy:8080/demo/p?page=2>; rel="next", </x>',
        ),
        (b"https://demo.api2.myshoprenter.hu/apix", b"https://demo.api2.myshoprenter.hu/apix"),
        (b"/api/products/1", b"/api/products/1"),
        (b"", b""),
        (b"\xff", b"\xff"),
    ],
)
def test_a_header_field_s_links_are_rewritten(value: bytes, becomes: bytes) -> None:
    assert RESPONSES.rewrite(value) == becomes


# Streams


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (b"x h", 1),
        (b"x H", 1),
        (b"x ht", 2),
        (b"x https", 5),
        (b"x https:\\", 7),
        (b"x https:&#4", 9),
        (b"x https://demo.api", 16),
        (b"x https://demo.api2.myshoprenter.hu/ap", 36),
        (b"x https://demo.api2.myshoprenter.hu:4", 35),
        (b"x https://demo.api2.myshoprenter.hu/api", 37),
        (b"\\nhttps", 5),
        (b"\\u0022https", 5),
        (b"\\x22https", 5),
        (b"x https:\\u002F\\u00", 16),
        (b"x https&#5", 8),
        (b"x https&colon;&so", 15),
        (b"x https:&#x00", 11),
        (b"x &", 1),
        (b"x \\u00", 4),
        (b"x /", 1),
        (b'"//demo', 6),
        (b'"\\/\\/demo', 8),
        (b"&quot;&sol;&so", 8),
        (b"/", 1),
        (b"\xef\xbb\xbf/", 1),
        # These can't become links any more.
        (b"", 0),
        (b"x", 0),
        (b"xh", 0),
        (b"xhttps", 0),
        (b"\\u0078https", 0),
        (b"x httpx", 0),
        (b"x https://demo.api3", 0),
        (b"x https://www.example.com/", 0),
        (b"x https://demo.api2.myshoprenter.hu/AP", 0),
        (b"x https://demo.api2.myshoprenter.hu:8", 0),
        (b"x http://demo.api2.myshoprenter.hu:4", 0),
        (b"x https://demo.api2.myshoprenter.hu/api/", 0),
        (b"x https://demo.api.shoprenter.hu%", 0),
        (b"x https%3", 0),
        (b"x https://demo.api2.myshoprenter.hu/api\\u00", 41),
        (b"x https://demo.api2.myshoprenter.hu/api&colo", 42),
        (b"x https:\\u003", 0),
        (b"x https:&#58", 0),
        (b"x https:&#47;&#x", 0),
        (b"x/", 0),
        (b":/", 0),
        (b"x //d/", 0),
        (b'"///', 0),
        (b'"\\//', 0),
        (b"\\u0041/", 0),
        (b"x &a", 0),
        (b"x \\n", 0),
        (b"x\\", 0),
    ],
)
def test_only_what_may_become_a_link_is_held_back(text: bytes, held: int) -> None:
    for chunks in ([text], bytewise(text)):
        rewriter = RESPONSES.rewriter()
        for chunk in chunks:
            rewriter.feed(chunk)
        assert rewriter.held == held
        rewriter.finish()
        assert rewriter.held == 0


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (b"x https%3", 7),
        (b"x http%3A%2f%", 11),
        (b"x http%3A%2F%2Fproxy%3A8080%2Fdemo", 32),
        (b"x http%3A%2F%2Fproxy%3A8080%2Fdemo%", 33),
        (b"x http%3A%2F%2Fproxy%3A8080%2Fdemo%2", 34),
        (b"x http%3A%2F%2Fproxy%3A8080%2Fdemo%7", 34),
        (b"x https%3A%5C%2F%5C%2Fdemo.api2.myshoprenter.hu%3A443%5C%2Fapi%2", 62),
        (b"x http%3A%2F%2Fproxy%3A8080%2Fdemo%4", 0),
        (b"x http%3A%2F%2Fproxy%3A8080%2FDemo%2", 0),
        (b"x http%3A%2F%2Fproxy%3A8080%2FDe", 0),
        (b"x http://proxy:8080/demo%", 0),
    ],
)
def test_in_requests_the_escape_that_ends_a_link_may_still_be_coming(text: bytes, held: int) -> None:
    rewriter = REQUESTS.rewriter()
    rewriter.feed(text)

    assert rewriter.held == held


def test_a_stream_tells_whether_anything_was_replaced_so_far() -> None:
    rewriter = RESPONSES.rewriter()

    assert rewriter.feed(b"https://www.example.com/ ") == b"https://www.example.com/ "
    assert not rewriter.changed
    assert rewriter.feed(b"https://demo.api.shoprenter.hu") == b""
    assert not rewriter.changed
    assert rewriter.finish() == b"http://proxy:8080/demo"
    assert rewriter.changed


# Properties

_LINKS = [link.text for link in IN_REQUESTS.all]
_LOOK_ALIKES = [
    write(url, colon, slash)
    for colon, slash in FORMS
    for url in (
        "https://other.api2.myshoprenter.hu/api",
        "https://xdemo.api2.myshoprenter.hu/api",
        "https://demo.api2.myshoprenter.hu.evil.com/api",
        "https://demo.api2.myshoprenter.hu/apifoo",
        "https://user@demo.api2.myshoprenter.hu/api",
        "https://demo.api.shoprenter.hu:8080",
        "xhttps://demo.api.shoprenter.hu",
        "http://proxy:8080/demos",
        "http://proxy/demo",
        "//demo.api.shoprenter.hu:8080",
        "a//demo.api.shoprenter.hu",
        "//proxy:8080/demos",
        "https://www.example.com/h",
    )
]
_AROUND = (
    [bytes([byte]) for byte in b"/?#\"'<>&])},;\\| \t\r\n.-+=:@%2FhHx0"]
    + [
        b"\\n",
        b"\\t",
        b"\\u0022",
        b"\\u0078",
        b"\\u",
        b"%22",
        b"%2F",
        b"%5C",
        b"%5Cn",
        b"%78",
        b"%2",
        b"%C5%91",
        b"&#47;",
        b"&#",
        b"&quot;",
        b"\\u002F",
        b"\\u00",
        b"\\x2",
        b"//",
        b"\xef\xbb\xbf",
    ]
    + [b"\xc5\x91", b"http", b"https:", b"<![CDATA[", b"]]>", b"&amp;"]
)


def cut(text: bytes, at: int) -> bytes:
    return text[: at % (len(text) + 1)]


def shouted(text: bytes, which: int) -> bytes:
    """The text with some of its letters in the other case."""
    return b"".join(bytes([byte]).swapcase() if which >> at & 1 else bytes([byte]) for at, byte in enumerate(text))


_URLS = st.sampled_from(_LINKS) | st.sampled_from(_LOOK_ALIKES)
_PIECES = st.one_of(
    _URLS,
    st.sampled_from(_AROUND),
    st.builds(cut, _URLS, st.integers(0, 99)),
    st.builds(shouted, _URLS, st.integers(0, 1 << 20)),
    st.builds(shouted, _URLS, st.sampled_from([1, 1 << 25, 1 << 32, 1 << 36])),
    st.binary(max_size=5),
)
_BODIES = st.lists(_PIECES, max_size=12).map(b"".join)
_CUTS = st.lists(st.integers(0, 400), max_size=12).map(sorted)


def chunked(body: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*cuts, max(len(body), *cuts, 0)]
    return [body[start:end] for start, end in zip([0, *cuts], ends, strict=True)]


@given(_BODIES)
@example(b"https://demo.api2.myshoprenter.hu/api" * 2)
def test_a_whole_body_is_rewritten_as_the_slow_rewriter_does(body: bytes) -> None:
    assert RESPONSES.rewrite(body) == reference(body, IN_ANSWERS, BASE)
    assert REQUESTS.rewrite(body) == reference(body, IN_REQUESTS, CANONICAL)


@given(_BODIES, _CUTS)
@example(b"xhttps://demo.api.shoprenter.hu/", [7])
@example(b"hhttps://demo.api.shoprenter.hu/", [1])
@example(b"\\u0022https://demo.api.shoprenter.hu", [4, 6])
def test_a_stream_comes_out_as_the_whole_wherever_it_is_cut(body: bytes, cuts: list[int]) -> None:
    for links in (RESPONSES, REQUESTS):
        whole = links.rewrite(body)

        assert streamed(links, chunked(body, cuts)) == whole
        assert streamed(links, bytewise(body)) == whole


@given(_BODIES, _CUTS)
def test_little_is_held_back_and_never_without_need(body: bytes, cuts: list[int]) -> None:
    for links, written in ((RESPONSES, IN_ANSWERS), (REQUESTS, IN_REQUESTS)):
        rewriter = links.rewriter()
        came = b""
        for chunk in chunked(body, cuts):
            rewriter.feed(chunk)
            came += chunk
            assert rewriter.held <= links.longest < written.longest + max(map(len, PERCENT_COLONS))
            if rewriter.held:
                begin, held = len(came) - rewriter.held, came[len(came) - rewriter.held :]
                rests = (link.text[len(held) :] for link in written.begun(held))
                futures = (came + rest for rest in chain(rests, ENDS_OF_ESCAPES))
                assert any(begin == at for future in futures for at, _ in find(future, written))


@given(_BODIES, _CUTS)
def test_changed_tells_whether_another_body_came_out(body: bytes, cuts: list[int]) -> None:
    rewriter = RESPONSES.rewriter()
    out = b"".join([rewriter.feed(chunk) for chunk in chunked(body, cuts)]) + rewriter.finish()

    assert rewriter.changed == (out != body)


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_a_body_without_a_link_passes_at_once(chunks: list[bytes]) -> None:
    rewriter = REQUESTS.rewriter()

    for chunk in chunks:
        quiet = chunk.translate(bytes.maketrans(b"hH/\\&%", b"gG----"))  # none may begin a link
        assert rewriter.feed(quiet) == quiet
    assert rewriter.finish() == b""
    assert not rewriter.changed


_CANONICAL_LINKS = [write(CANONICAL + rest, *form) for form in TEXT_FORMS for rest in ("", "/products?full=1", "?a=b")]
_NOT_OURS = [text for text in _LOOK_ALIKES if b"proxy" not in text]


@given(st.lists(st.sampled_from(_CANONICAL_LINKS + _NOT_OURS + _AROUND), max_size=12).map(b"".join))
def test_canonical_links_come_back_as_they_went_out(body: bytes) -> None:
    assert REQUESTS.rewrite(RESPONSES.rewrite(body)) == body


@given(st.text('/:?=&[] ahő\\"', max_size=8), st.text('/:?=&[] ahő\\"', max_size=8))
def test_any_value_of_a_form_field_keeps_what_is_around_its_link(before: str, after: str) -> None:
    value = f"{before} {BASE}/{after}"
    sent = REQUESTS.rewrite(quote(value, safe="").encode()).decode()

    assert sent == quote(f"{before} {CANONICAL}/{after}", safe="")
