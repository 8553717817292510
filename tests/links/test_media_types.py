"""What may hold links is told by its Content-Type, and so is a file that is packed for itself."""

import pytest

from proxy.links.media_types import is_packed_file, is_rewritable


@pytest.mark.parametrize(
    ("content_type", "in_answers", "in_requests"),
    [
        (b"application/json", True, True),
        (b"Application/JSON; charset=utf-8", True, True),
        (b" application/json ;charset=UTF-8", True, True),
        (b"application/problem+json", True, True),
        (b"application/vnd.api+json;version=1", True, True),
        (b"application/xml", True, True),
        (b"text/xml; charset=utf-8", True, True),
        (b"application/atom+xml", True, True),
        (b"image/svg+xml", True, True),
        (b"text/plain", True, True),
        (b"text/html;charset=iso-8859-2", True, True),
        (b"text/csv; header=present; charset=windows-1250", True, True),
        (b"application/x-www-form-urlencoded", False, True),
        (b"application/x-www-form-urlencoded; charset=UTF-8", False, True),
        (b"multipart/form-data; boundary=x", False, True),
        (b'Multipart/Form-Data; boundary="a;b"', False, True),
        (b"application/json; charset=utf-16", False, False),
        (b"application/json; charset=UTF-16LE", False, False),
        (b'text/xml; charset="utf-32"', False, False),
        (b"text/xml; charset = utf16", False, False),
        (b"text/plain; a=b; charset=ISO-10646-UCS-2", False, False),
        (b"application/x-www-form-urlencoded; charset=utf-16", False, False),
        (b"", False, False),
        (b"json", False, False),
        (b"text", False, False),
        (b"text/", False, False),
        (b"application/jsonp", False, False),
        (b"application/json-seq", True, True),
        (b"application/geo+json-seq", True, True),
        (b"application/x-ndjson", True, True),
        (b"application/ndjson; charset=utf-8", True, True),
        (b"application/jsonl", True, True),
        (b"application/jsonlines", True, True),
        (b"application/x-json-lines", True, True),
        (b"application/x-json-stream", True, True),
        (b"application/stream+json", True, True),
        (b"application/x-json", True, True),
        (b"text/javascript", True, True),
        (b"application/javascript", True, True),
        (b"application/x-javascript; charset=utf-8", True, True),
        (b"application/ecmascript", True, True),
        (b"application/javascript; charset=utf-16", False, False),
        (b"application/x-ndjson+zip", False, False),
        (b"application/javascripts", False, False),
        (b"application/xml-dtd", False, False),
        (b"application/pdf", False, False),
        (b"application/octet-stream; was=text/plain", False, False),
        (b"image/png", False, False),
        (b"multipart/mixed; boundary=x", False, False),
        (b"application/x-json+zip", False, False),
        (b"application/json, text/plain", False, False),
        (b"\xff/json", False, False),
    ],
)
def test_which_bodies_may_hold_links(content_type: bytes, in_answers: bool, in_requests: bool) -> None:
    assert is_rewritable(content_type) == in_answers
    assert is_rewritable(content_type, request=True) == in_requests


@pytest.mark.parametrize(
    ("content_types", "dispositions", "packed"),
    [
        ([b"application/gzip"], [], True),
        ([b"application/x-gzip; x=y"], [], True),
        ([b"Application/Octet-Stream"], [], True),
        ([b"binary/octet-stream"], [], True),
        ([b"application/x-tar"], [], True),
        ([], [], True),
        ([b"application/vnd.ms-excel"], [b'attachment; filename="export.csv.gz"'], True),
        ([b"application/vnd.ms-excel"], [b"attachment; filename=export.TGZ; x=y"], True),
        ([b"application/vnd.ms-excel"], [b"attachment; filename=export.gz.csv"], False),
        ([b"application/pdf"], [], False),
        ([b"application/gzipx"], [], False),
        ([b"image/png", b"application/gzip"], [], False),
    ],
)
def test_a_file_that_is_packed_for_itself(content_types: list[bytes], dispositions: list[bytes], packed: bool) -> None:
    assert is_packed_file(content_types, dispositions) == packed
