"""What is done to an answer's body follows from its head and the request's; its head says what is so of the body."""

import pytest

from proxy.links.answers import ANSWER_FIELDS, UNTOUCHED, Edit, added_fields, edit_of, edited_field
from proxy.links.api_links import ApiLinks
from proxy.links.shop_links import ShopLinks
from tests.links.heads import head

LINKS = ShopLinks(ApiLinks(["https://demo.example/api"]), b"/api/", "http://proxy/demo")
JSON = b"Content-Type: application/json"
GZIP = b"Content-Encoding: gzip"
REWRITTEN = Edit(unpack=False, rewrite=True, packed=False)
UNPACKED = Edit(unpack=True, rewrite=False, packed=True)
BOTH = Edit(unpack=True, rewrite=True, packed=True)
PASSED_PACKED = Edit(unpack=False, rewrite=False, packed=True)
VARY = ((b"Vary", b"Accept-Encoding"),)


@pytest.mark.parametrize(
    ("status", "fields", "edit"),
    [
        (200, [JSON], REWRITTEN),
        (404, [JSON], REWRITTEN),
        (200, [JSON, b"Content-Encoding: identity"], REWRITTEN),
        (200, [JSON, GZIP], BOTH),
        (200, [b"Content-Type: application/x-ndjson", b"Content-Encoding: X-GZip"], BOTH),
        (200, [b"Content-Type: text/javascript", b"Content-Encoding: deflate"], BOTH),
        (200, [b"Content-Type: text/csv", GZIP], BOTH),
        (200, [b"Content-Type: application/pdf", GZIP], UNPACKED),
        (200, [b"Content-Type: application/pdf"], UNTOUCHED),
        (200, [JSON, JSON], UNTOUCHED),
        (200, [], UNTOUCHED),
        (200, [JSON, b"Content-Encoding: br"], UNTOUCHED),
        (200, [JSON, GZIP, GZIP], UNTOUCHED),
        (204, [JSON, GZIP], UNTOUCHED),
        (206, [JSON], UNTOUCHED),
        # Packed for itself, and not on its way.
        (200, [b"Content-Type: application/gzip", GZIP], PASSED_PACKED),
        (200, [b"Content-Type: application/octet-stream", b"Content-Encoding: x-gzip"], PASSED_PACKED),
        (200, [GZIP], PASSED_PACKED),
        (
            200,
            [b"Content-Type: application/vnd.ms-excel", b"Content-Disposition: x; filename=e.csv.gz", GZIP],
            PASSED_PACKED,
        ),
        (200, [b"Content-Type: text/csv", b"Content-Disposition: attachment; filename=e.csv.gz", GZIP], BOTH),
    ],
)
def test_what_is_done_for_a_client_that_names_no_coding(status: int, fields: list[bytes], edit: Edit) -> None:
    assert edit_of(status, head(*fields), head()) == edit


@pytest.mark.parametrize(
    ("accepted", "coding", "passes"),
    [
        ([b"gzip"], b"gzip", True),
        ([b"br", b"x-gzip"], b"gzip", True),
        ([b"deflate, gzip;q=1.0"], b"x-gzip", True),
        ([b"*"], b"gzip", True),
        ([b"deflate"], b"deflate", True),
        ([b"gzip"], b"deflate", False),
        ([b"deflate"], b"gzip", False),
        ([b"br"], b"gzip", False),
        ([b""], b"gzip", False),
        ([b"identity"], b"gzip", False),
        ([b"gzip;q=0"], b"gzip", False),
        ([b"*;q=0.000"], b"gzip", False),
        ([b"gzip;q=0, *"], b"gzip", False),
        ([b"*;q=0, gzip"], b"gzip", True),
    ],
)
@pytest.mark.parametrize("content_type", [b"application/pdf", b"application/gzip"])
def test_what_holds_no_links_stays_packed_for_a_client_that_takes_its_coding(
    accepted: list[bytes], coding: bytes, passes: bool, content_type: bytes
) -> None:
    answer = head(b"Content-Type: " + content_type, b"Content-Encoding: " + coding)

    edit = edit_of(200, answer, head(*(b"Accept-Encoding: " + value for value in accepted)))

    assert edit == (PASSED_PACKED if passes else UNPACKED)
    assert edit.passes == passes


@pytest.mark.parametrize(
    ("etag", "stored", "weak"),
    [
        (b'"a"', b'W/"a"', True),
        (b'"a"', b'"x", W/"a"', True),
        (b'"a"', b'"a"', False),
        (b'"a"', b'W/"aW/"', False),
        (b'"a"', b'"xW/", "a"', False),
        (b'"a"', b"*", False),
        (b'W/"a"', b'W/"a"', True),
    ],
)
def test_not_modified_names_the_tag_that_the_client_has(etag: bytes, stored: bytes, weak: bool) -> None:
    answer = head(b"ETag: " + etag, GZIP)

    edit = edit_of(304, answer, head(b"If-None-Match: " + stored))

    assert edit == Edit(unpack=True, rewrite=weak, packed=False)
    as_it_was = etag if etag.startswith(b"W/") else b"W/" * weak + etag
    assert edited_field(b"etag", etag, LINKS, edit, changed=edit.rewrite) == as_it_was
    assert edited_field(b"content-encoding", b"gzip", LINKS, edit, changed=edit.rewrite) is None
    assert added_fields(answer, edit, changed=edit.rewrite) == (VARY if weak else ())


@pytest.mark.parametrize(
    ("name", "value", "edit", "changed", "becomes"),
    [
        (b"location", b"/api/x", UNTOUCHED, False, b"http://proxy/demo/x"),
        (b"refresh", b"1; url=https://demo.example/api", UNTOUCHED, False, b"1; url=http://proxy/demo"),
        (b"etag", b'"a"', REWRITTEN, True, b'W/"a"'),
        (b"etag", b'"a"', REWRITTEN, False, b'"a"'),
        (b"etag", b'"a"', UNPACKED, False, b'W/"a"'),
        (b"etag", b'"a"', PASSED_PACKED, False, b'"a"'),
        (b"etag", b'"a"', UNTOUCHED, False, b'"a"'),
        (b"digest", b"x", REWRITTEN, True, None),
        (b"content-md5", b"x", UNPACKED, False, None),
        (b"repr-digest", b"x", REWRITTEN, False, b"x"),
        (b"content-digest", b"x", PASSED_PACKED, False, b"x"),
        (b"accept-ranges", b"bytes", UNTOUCHED, False, None),
        (b"content-encoding", b"gzip", BOTH, False, None),
        (b"content-encoding", b"gzip", PASSED_PACKED, False, b"gzip"),
        (b"content-encoding", b"identity", REWRITTEN, True, b"identity"),
        (b"vary", b"Accept", UNTOUCHED, False, b"Accept"),
        (b"vary", b"Accept", REWRITTEN, False, b"Accept"),
        (b"vary", b"Accept, Origin", REWRITTEN, True, b"Accept, Origin, Accept-Encoding"),
        (b"vary", b"Accept", UNPACKED, False, b"Accept, Accept-Encoding"),
        (b"vary", b"Accept", PASSED_PACKED, False, b"Accept, Accept-Encoding"),
        (b"vary", b"accept-encoding", BOTH, True, b"accept-encoding"),
        (b"vary", b"Origin,Accept-Encoding , X", BOTH, True, b"Origin,Accept-Encoding , X"),
        (b"vary", b"X-Accept-Encoding", BOTH, True, b"X-Accept-Encoding, Accept-Encoding"),
        (b"vary", b"*", BOTH, True, b"*"),
        (b"vary", b"", BOTH, True, b"Accept-Encoding"),
    ],
)
def test_a_field_says_what_is_so_for_the_client(
    name: bytes, value: bytes, edit: Edit, changed: bool, becomes: bytes | None
) -> None:
    assert name in ANSWER_FIELDS
    assert edited_field(name, value, LINKS, edit, changed=changed) == becomes


@pytest.mark.parametrize(
    ("edit", "changed", "varies"),
    [
        (UNTOUCHED, False, False),
        (REWRITTEN, False, False),
        (REWRITTEN, True, True),
        (UNPACKED, False, True),
        (BOTH, False, True),
        (PASSED_PACKED, False, True),
    ],
)
def test_an_answer_that_another_client_gets_otherwise_says_so(edit: Edit, changed: bool, varies: bool) -> None:
    assert added_fields(head(JSON), edit, changed=changed) == (VARY if varies else ())
    assert added_fields(head(JSON, b"Vary: Accept"), edit, changed=changed) == ()
