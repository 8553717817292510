"""A request asks for what can be rewritten, with the tags that the platform knows, and its links are the platform's."""

import pytest

from proxy.links.api_links import ApiLinks
from proxy.links.requests import ADDED_REQUEST_FIELDS, REQUEST_FIELDS, edited_request_field, links_in_request
from proxy.links.shop_links import ShopLinks
from tests.links.heads import head

LINKS = ShopLinks(ApiLinks(["https://demo.example/api"]), b"/api/", "http://proxy/demo")
BODY = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nhttp://proxy/demo/x\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        (b"accept-encoding", b"br", None),
        (b"range", b"bytes=0-5", None),
        (b"if-range", b'"a"', None),
        (b"if-match", b'W/"a", "bW/"', b'"a", "bW/"'),
        (b"if-none-match", b'W/"a", "bW/"', b'W/"a", "a", "bW/"'),
    ],
)
def test_a_field_is_what_the_platform_may_know(name: bytes, value: bytes, becomes: bytes | None) -> None:
    assert name in REQUEST_FIELDS
    assert edited_request_field(name, value) == becomes


def test_gzip_alone_is_asked_for() -> None:
    assert ADDED_REQUEST_FIELDS == ((b"Accept-Encoding", b"gzip"),)


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Type: application/json"],
        [b"Content-Type: application/x-www-form-urlencoded", b"Content-Encoding: identity"],
        [b"Content-Type: application/x-ndjson"],
        [b"Content-Type: multipart/form-data; boundary=b"],
        [b'Content-Type: Multipart/Form-Data; charset=utf-8; Boundary="b"'],
    ],
)
def test_links_in_a_body_become_the_platform_s(fields: list[bytes]) -> None:
    links = links_in_request(head(*fields), LINKS)

    assert links is not None
    assert links.rewrite(BODY) == BODY.replace(b"http://proxy/demo", b"https://demo.example/api")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"Content-Type: image/png"],
        [b"Content-Type: application/json; charset=utf-16"],
        [b"Content-Type: application/json", b"Content-Type: application/json"],
        [b"Content-Type: application/json", b"Content-Encoding: gzip"],
        [b"Content-Type: multipart/form-data"],
        [b"Content-Type: multipart/form-data; boundary="],
        [b"Content-Type: multipart/form-data; boundary=b; boundary=c"],
        [b"Content-Type: multipart/mixed; boundary=b"],
    ],
)
def test_any_other_body_passes_as_it_is(fields: list[bytes]) -> None:
    assert links_in_request(head(*fields), LINKS) is None
