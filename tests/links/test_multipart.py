"""In a form the links of text fields become the platform's; files and all else pass byte for byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.links.api_links import ApiLinks
from proxy.links.multipart import FormLinks, boundary_of, is_multipart

BASE = b"http://proxy:8080/demo"
CANONICAL = b"https://demo.example/api"
LINKS = ApiLinks([CANONICAL.decode()]).in_requests(BASE.decode())
FIELD = b'Content-Disposition: form-data; name="data[x]"'
PDF = b"%PDF-1.4\n1 0 obj <</URI (http://proxy:8080/demo/x)>>\r\nxref\r\n0 1\r\n"


def rewritten(form: bytes, boundary: bytes = b"b") -> bytes:
    """The form rewritten, whole and in pieces alike."""
    links = FormLinks(LINKS, boundary)
    whole = links.rewrite(form)
    for size in (1, 2, 3, 7, 64) if len(form) < 4096 else (999, 1 << 13):
        rewriter = links.rewriter()
        pieces = [rewriter.feed(form[at : at + size]) for at in range(0, len(form), size)]
        assert b"".join([*pieces, rewriter.finish()]) == whole
        assert rewriter.changed == (whole != form)
    return whole


def part(head: bytes, content: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    "head",
    [
        FIELD,
        FIELD + b"\r\nContent-Type: text/plain; charset=utf-8",
        FIELD + b"\r\ncontent-type: application/json",
        b"Content-Type:application/xml\r\n" + FIELD,
        FIELD + b"\r\nContent-Transfer-Encoding: 8bit",
        FIELD + b"\r\nContent-Transfer-Encoding: BINARY",
        b'Content-Disposition: form-data; name="filename"',
        b'Content-Disposition: form-data; name="a filename=x"',
        b"Content-Disposition: form-data;\r\n name=x",
        b"X-Filename: ; filename=x\r\n" + FIELD,
    ],
)
@pytest.mark.parametrize(
    "content", [b"%b", b"%b/x", b'{"uri":"%b/x?a=b"}', b"\r\n%b\r\n\r\n", b"x\r\n--c\r\n%b", b"-- %b --"]
)
def test_the_links_of_a_text_field_become_the_platform_s(head: bytes, content: bytes) -> None:
    form = part(head, content) + b"--b--\r\n"

    assert rewritten(form % BASE) == form % CANONICAL


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="a"; filename="x.pdf"',
        b"Content-Disposition: form-data; filename=x.txt; name=a",
        b"content-disposition:form-data;name=a;FileName = x.txt",
        b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''x.txt\r\nContent-Type: text/plain",
        b'Content-Disposition: form-data; name="a";\r\n\tfilename="x.pdf"',
        b'Content-Disposition: form-data; name="a\\"; filename="x.pdf"',
        FIELD + b"\r\nContent-Type: application/pdf",
        FIELD + b"\r\nContent-Type: application/octet-stream",
        FIELD + b"\r\nContent-Type: text/plain; charset=utf-16",
        FIELD + b"\r\nContent-Type: multipart/mixed; boundary=c",
        FIELD + b"\r\nContent-Type:\r\n application/pdf",
        FIELD + b"\r\nContent-Transfer-Encoding: base64",
        FIELD + b"\r\nX-Long: " + b"x" * (1 << 14),
        FIELD.ljust((1 << 14) - 3),
    ],
)
def test_a_file_passes_byte_for_byte(head: bytes) -> None:
    form = part(head, PDF) + part(FIELD, b"%b/x" % BASE) + b"--b--\r\n"

    assert rewritten(form) == part(head, PDF) + part(FIELD, b"%b/x" % CANONICAL) + b"--b--\r\n"


def test_a_head_is_read_up_to_16_kib() -> None:
    form = b"--b" + b"\r\n" + FIELD.ljust((1 << 14) - 6) + b"\r\n\r\n%b\r\n--b--"

    assert rewritten(form % BASE) == form % CANONICAL


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"%b" % BASE,
        b"--c\r\n\r\n%b\r\n--c--\r\n" % BASE,
        b"--b%b\r\n\r\n" % BASE,
        b" --b\r\n\r\n%b" % BASE,
        b"x--b\r\n\r\n%b" % BASE,
        b"--b\r\nX-Head: %b\r\n\r\n\r\n--b--" % BASE,
        b"--b\r\nno end of the head: %b" % BASE,
        b"--b--\r\n\r\n%b\r\n--b\r\n\r\n%b" % (BASE, BASE),
        b"--b\r\n%b" % (b" " * 70 + BASE),
    ],
)
def test_what_is_no_field_passes(form: bytes) -> None:
    assert rewritten(form) == form


@pytest.mark.parametrize(
    ("form", "links"),
    [
        (b"preamble %b\r\n--b\r\n\r\n%b\r\n--b--\r\nepilogue %b", [BASE, CANONICAL, BASE]),
        (b"--b\r\n\r\n%b\r\n--b \t\r\n\r\n%b\r\n--b--", [CANONICAL, CANONICAL]),
        (b"--b\n" + FIELD + b"\n\n%b\n--b\n" + FIELD + b"; filename=x\n\n%b\n--b--\n", [CANONICAL, BASE]),
        (b"--b\r\n" + FIELD + b"\r\n\r\n%b", [CANONICAL]),
        (b"--b\r\n" + FIELD + b"\r\n\r\n--b\r\n\r\n%b\r\n--b--", [CANONICAL]),
        (b"--b\r\n" + FIELD + b"\r\n\r\n%b\r\n--bc\r\n\r\n%b\r\n--b--", [CANONICAL, CANONICAL]),
        (b"--b\r\n\r\n%b\r\n--b\r\n\r\nhttp://proxy:80\r\n--b\r\n\r\n80/demo\r\n--b--", [CANONICAL]),
    ],
)
def test_lines_that_divide_are_told_from_others(form: bytes, links: list[bytes]) -> None:
    assert rewritten(form % tuple([BASE] * len(links))) == form % tuple(links)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b"multipart/form-data;boundary=----WebKitFormBoundary7MA4", b"----WebKitFormBoundary7MA4"),
        (b'Multipart/Form-Data; charset=utf-8; BOUNDARY = "a b:\\"c"', b'a b:"c'),
        (b'multipart/form-data; x="; boundary=no"; boundary=yes; y=z', b"yes"),
        (b"multipart/form-data; boundary=a+b'()_,./:=?", b"a+b'()_,./:=?"),
        (b"multipart/form-data", None),
        (b"multipart/form-data; boundary", None),
        (b"multipart/form-data; boundary=", None),
        (b'multipart/form-data; boundary=""', None),
        (b"multipart/form-data; xboundary=a", None),
        (b"multipart/form-data; boundary=a; boundary=b", None),
    ],
)
def test_what_divides_the_parts_is_said_by_the_type(content_type: bytes, boundary: bytes | None) -> None:
    assert is_multipart(content_type)
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", [b"multipart/mixed; boundary=a", b"multipart/form-datax", b"text/plain", b""])
def test_no_other_type_is_a_form_with_parts(content_type: bytes) -> None:
    assert not is_multipart(content_type)


def test_any_boundary_is_itself() -> None:
    boundary = b"a+b'()_,./:=?*[x]|^$\\"
    form = b"--%b\r\n\r\n%b\r\n--%b--\r\n"

    assert rewritten(form % (boundary, BASE, boundary), boundary) == form % (boundary, CANONICAL, boundary)


def test_little_is_held_back() -> None:
    rewriter = FormLinks(LINKS, b"b").rewriter()
    form = part(FIELD + b"; filename=x", b"\r\n--" * 99 + b"--b" * 99 + PDF * 9) + part(FIELD, b"\r\n-x" * 99)

    sent = 0
    for came, byte in enumerate(form):
        sent += len(rewriter.feed(bytes([byte])))
        assert came - sent < 200


_HEADS = {FIELD: True, FIELD + b'; filename="x"': False, FIELD + b"\r\nContent-Type: image/png": False, b"X: y": True}
_CONTENTS = st.lists(
    st.sampled_from(
        [BASE, b"http://proxy:8080/de", b"\r\n", b"\r", b"\n", b"--", b"-", b"b", b" ", b"--c\r\n", b"/x", b'"']
    )
    | st.binary(max_size=5),
    max_size=8,
).map(b"".join)


@given(
    st.lists(st.tuples(st.sampled_from(list(_HEADS)), _CONTENTS), max_size=4),
    st.lists(st.integers(0, 300), max_size=8).map(sorted),
)
@example([(FIELD, BASE)], [1])
def test_any_form_is_its_parts_rewritten_one_by_one(parts: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    def form(contents: list[bytes]) -> bytes:
        fields = [
            b"--bound\r\n%b\r\n\r\n%b\r\n" % (head, text) for (head, _), text in zip(parts, contents, strict=True)
        ]
        return b"".join([*fields, b"--bound--\r\n"])

    came = form([content for _, content in parts])
    expected = form([LINKS.rewrite(content) if _HEADS[head] else content for head, content in parts])
    links = FormLinks(LINKS, b"bound")
    rewriter = links.rewriter()
    ends = [*cuts, len(came)]
    pieces = [rewriter.feed(came[begin:end]) for begin, end in zip([0, *cuts], ends, strict=True)]

    assert links.rewrite(came) == expected
    assert b"".join([*pieces, rewriter.finish()]) == expected
    assert rewriter.changed == (came != expected)
