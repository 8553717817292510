"""What asks for another method is found in whatever spelling, however it is cut; what only looks like it is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.overrides import OverrideSearch, names_method

FORM, JSON, PARTS = b"application/x-www-form-urlencoded", b"application/json", b"multipart/form-data; boundary=x"

NAMES = [
    b"_method",
    b"_METHOD",
    b"%5fmethod",
    b"%5Fm%65tho%64",
    b"%5F%4D%45%54%48%4F%44",
    b".method",
    b"%2emethod",
    b"[method",
    b"%5Bmethod",
    b" method",
    b"++_method",
    b"%20_method",
    b"_method[]",
    b"_method%5B0%5D",
    b"_method%00x",
    b"X-HTTP-Method-Override",
    b"x_http_method_override",
    b"x%2Dhttp-%6Dethod",
]
OTHERS = [
    b"method",
    b"__method",
    b"x_method",
    b"_methods",
    b"_metho",
    b"a%5f_method",
    b"%255fmethod",
    b"_method.x",
    b"x-http-methods",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", [b"%b=PUT", b"%b", b"a=b&%b=PUT", b"a=b;%b=PUT&c=d", b"a=b&%b&c=d"])
def test_a_form_that_names_a_method_is_found(name: bytes, pattern: bytes) -> None:
    form = pattern % name

    assert names_method(b"/x?" + form)
    assert OverrideSearch([FORM]).found(form + b"&")


@pytest.mark.parametrize("name", OTHERS)
def test_another_field_of_a_form_is_not(name: bytes) -> None:
    form = b"a=_method&%b=PUT&b=x" % name

    assert not names_method(b"/_method/x?" + form)
    assert not OverrideSearch([FORM]).found(form + b"&")


def test_a_parameter_in_the_path_is_found() -> None:
    assert names_method(b"/x;_method=DELETE")
    assert not names_method(b"/x/_method")
    assert not names_method(b"")


def parts(head: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x\r\n%b\r\n\r\nPUT\r\n--x--\r\n' % head


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="_method"',
        b"content-disposition:form-data;name=_method",
        b"CONTENT-DISPOSITION : form-data ; NAME = '_Method' ; x=y",
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="_method[]"',
        b'Content-Disposition: form-data;\r\n name="_method"',
        b'Content-Disposition: form-data; a="b";\n\tname="_method"',
        b"Content-Disposition: form-data; name*=UTF-8''%5Fmethod",
        b"Content-Disposition: form-data; name*=\"utf-8'en'_method\"",
        b'Content-Disposition: form-data; name=".method"',
        b'Content-Disposition: form-data; name="_method\0x"',
        b'Content-Disposition: form-data; name="\\_met\\hod"',
        b'Content-Disposition: form-data; name="X-HTTP-Method-Override"',
        b'Content-Disposition: form-data; name="=?utf-8?B?X21ldGhvZA==?="',
    ],
)
def test_a_part_that_names_a_method_is_found(head: bytes) -> None:
    assert OverrideSearch([PARTS]).found(parts(head))
    assert OverrideSearch([PARTS]).found(parts(head).replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="method"',
        b'Content-Disposition: form-data; filename="_method"; name="x"',
        b'Content-Disposition: form-data; name="a"\r\n\r\n<input name="_method" value="PUT">',
        b'Content-Disposition: form-data; name="a"\r\n\r\n{"_method": 1}&_method=x',
        b'X-Content-Disposition: form-data; name="_method"',
    ],
)
def test_another_part_is_not(head: bytes) -> None:
    assert not OverrideSearch([PARTS]).found(parts(head) + b"&")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"_method":"PUT"}', True),
        (b'{"a":1, "_METHOD" \r\n\t:\n"PUT"}', True),
        (rb'{"\u005fme\u0074hod":1}', True),
        (rb'{"\u005F\u004dethod":1}', True),
        (b'{"data":{"_method":"PUT"}}', True),
        (b'{"a":"_method"}', False),
        (b'{"method":"PUT"}', False),
        (b'{"__method":"PUT"}', False),
        (rb'{"a":"\"_method\":"}', False),
        (b"_method=PUT", False),
    ],
)
@pytest.mark.parametrize("kind", [JSON, b"Application/JSON;charset=utf-8", b"application/vnd.api+json", b"text/json"])
def test_a_key_of_json_that_names_a_method_is_found(body: bytes, expected: bool, kind: bytes) -> None:
    assert OverrideSearch([kind]).found(body + b"&") is expected


@pytest.mark.parametrize(
    ("types", "needed"),
    [
        ([], True),
        ([b""], True),
        ([b"text/plain"], True),
        ([b"application/octet-stream"], True),
        ([b"image/png"], False),
        ([b"application/xml"], False),
        ([b"text/xml; charset=utf-8"], False),
        ([b"application/atom+xml"], False),
        ([b"application/x-www-form-urlencoded; x=xml"], True),
        ([b"image/png", FORM], True),
        ([FORM + b"; charset=json"], True),
        ([FORM + b"; x=image/png"], True),
        ([FORM + b", application/json"], True),
        ([FORM + b", application/xml"], True),
        ([FORM + b" xml"], True),
        ([FORM + b"\tjson"], True),
        ([b"image/png, " + FORM], True),
        ([b"multipart/mixed," + FORM], True),
        ([b'text/xml; a=",' + FORM], True),
        ([b" Application/XML ;charset=utf-8"], False),
    ],
)
def test_what_is_no_form_is_not_searched(types: list[bytes], needed: bool) -> None:
    search = OverrideSearch(types)

    assert search.needed is needed
    assert search.found(b"_method=PUT&") is needed


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-be", "utf-32-le"])
def test_json_of_wide_letters_is_searched_too(coding: str) -> None:
    assert OverrideSearch([JSON]).found('{"a": 1, "_method": "PUT"}'.encode(coding))
    assert not OverrideSearch([JSON]).found('{"a": 1, "method": "_method"}'.encode(coding))


BODIES = [
    (FORM, b"a=" + b"b" * 40_000 + b"&" + b"+" * 100 + b"%5fmethod=PUT&"),
    (JSON, json.dumps({"a": "b" * 40_000, "_method": "PUT"}).encode()),
    (PARTS, parts(b"X-A: " + b"b" * 1000 + b'\r\nContent-Disposition: form-data; a="b"; name="_method"')),
]


@pytest.mark.parametrize(("kind", "body"), BODIES)
@given(data=st.data())
def test_cuts_make_no_difference(kind: bytes, body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(len(body) - 1500, len(body)), max_size=8)))
    search = OverrideSearch([kind])

    assert any(search.found(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True))


def test_little_of_a_body_is_kept() -> None:
    search = OverrideSearch([FORM])
    for _ in range(100):
        assert not search.found(b"x" * 100_000)

    assert len(search._rest) <= 1 << 14
