"""Which form an error has is what `Accept` prefers, and all forms say the same. What they say: test_errors.py."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadTarget
from proxy.forwarding.problems import PAGE, form_for, problem, wants_page

P_JSON, P_XML = b"application/problem+json", b"application/problem+xml"
JSON, XML, TEXT_XML = b"application/json", b"application/xml", b"text/xml"
FORMS = [P_JSON, P_XML, JSON, XML, TEXT_XML]

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JAVA = b"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.mark.parametrize(
    ("accept", "expected", "with_xml"),
    [
        # Nothing is asked for, or nothing that there is: as the platform answers.
        ([], P_JSON, XML),
        ([b""], P_JSON, XML),
        ([b"*/*"], P_JSON, XML),
        ([b"application/*"], P_JSON, XML),
        ([b"*/*;q=0.1"], P_JSON, XML),
        ([b"text/html"], P_JSON, XML),
        ([b"text/html", b"image/png"], P_JSON, XML),
        ([JAVA], P_JSON, XML),
        ([b"nonsense, ,;q=1"], P_JSON, XML),
        ([b"*/*;q=0"], P_JSON, XML),
        # One form is asked for.
        ([JSON], JSON, JSON),
        ([b"APPLICATION/Json"], JSON, JSON),
        ([b"application/json; charset=utf-8"], JSON, JSON),
        ([b"application/json, text/javascript, */*; q=0.01"], JSON, JSON),
        ([b"application/json, text/plain, */*"], JSON, JSON),
        ([XML], XML, XML),
        ([TEXT_XML], TEXT_XML, TEXT_XML),
        ([b"text/xml;charset=utf-8, */*"], TEXT_XML, TEXT_XML),
        ([b"text/*"], TEXT_XML, TEXT_XML),
        ([P_JSON], P_JSON, P_JSON),
        ([P_XML], P_XML, P_XML),
        # Several, and the weights decide; of equals, the types of RFC 9457, then the order.
        ([b"application/json;q=0.5, application/xml"], XML, XML),
        ([b"application/json;q=0.5, application/xml;q=0.4"], JSON, JSON),
        ([b"application/json;q=0.5", b"application/xml;q=0.9"], XML, XML),
        ([b"application/json ; Q = 0.5 , text/xml ; q = 0.6"], TEXT_XML, TEXT_XML),
        ([b"application/json, application/xml"], JSON, JSON),
        ([b"application/xml, application/json"], XML, XML),
        ([b"application/json, application/problem+json"], P_JSON, P_JSON),
        ([b"application/json, application/problem+json;q=0.9"], JSON, JSON),
        ([b"text/xml, application/problem+xml"], P_XML, P_XML),
        ([BROWSER], XML, XML),
        # What is asked for less than all the rest.
        ([b"application/json;q=0.5, */*"], P_JSON, XML),
        ([b"application/xml;q=0, */*"], P_JSON, P_JSON),
        ([b"application/problem+json;q=0, */*"], P_XML, XML),
        ([b"application/*;q=0, */*"], TEXT_XML, TEXT_XML),
        ([b"application/xml;q=0.000, application/json;q=0"], P_JSON, XML),
        # Something else that is written in one of them.
        ([b"text/json"], JSON, JSON),
        ([b"application/vnd.api+json"], JSON, JSON),
        ([b"application/hal+json, */*;q=0.1"], JSON, JSON),
        ([b"application/atom+xml"], XML, XML),
        ([b"application/xhtml+xml"], P_JSON, XML),
        # Quoted, a comma or a weight is neither.
        ([b'text/html;a="b,application/json;q=1", */*;q=0.1'], P_JSON, XML),
        ([b'application/json;a="\\",text/xml"'], JSON, JSON),
        ([b'application/json;a="'], JSON, JSON),
        # Weights that are none.
        ([b"application/json;q=x, application/xml;q=0.9"], JSON, JSON),
        ([b"application/json;q=9, application/xml"], JSON, JSON),
        ([b"application/json;q=1., application/xml;q=.9"], JSON, JSON),
    ],
)
def test_the_form_is_what_accept_prefers(accept: list[bytes], expected: bytes, with_xml: bytes) -> None:
    assert form_for(accept, in_xml=False) == expected
    assert form_for(accept, in_xml=True) == with_xml


@given(st.lists(st.binary(max_size=60)), st.booleans())
def test_whatever_accept_is_there_is_a_form(accept: list[bytes], in_xml: bool) -> None:
    assert form_for(accept, in_xml=in_xml) in FORMS


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([BROWSER], True),
        ([b"text/html"], True),
        ([b"Text/HTML;q=0.9, application/xhtml+xml;q=0.9, */*;q=0.8"], True),
        ([JAVA], False),
        ([b"text/html;q=0"], False),
        # What programs send that pretend to be a browser of 2005, and read XML.
        ([b"text/xml,application/xml,application/xhtml+xml,text/html;q=0.9,*/*;q=0.5"], False),
        ([b"application/json, text/html"], False),
        ([b"*/*"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_a_page_is_for_browsers_alone(accept: list[bytes], expected: bool) -> None:
    assert wants_page(accept) is expected


def test_a_page_says_the_same_and_what_this_is_and_what_others_wrote_is_text_there() -> None:
    answer = problem(BadTarget("<script>ő</script>"), request_id="id-1", form=PAGE)
    said = answer.body.decode("ascii")

    for words in ("The path does not name a shop", "&lt;script&gt;&#337;&lt;/script&gt;", "This is Shop Auth Proxy."):
        assert words in said
    for words in ("400 <code>bad_target</code>", "<code>id-1</code>", "/&lt;shop&gt;/"):
        assert words in said
    assert "<script" not in said


def texts_of(body: bytes) -> dict[str, str]:
    """What an error says: the members of the JSON, or the elements of the XML."""
    if body.startswith(b"{"):
        return {name: str(value) for name, value in json.loads(body).items()}
    root = ElementTree.fromstring(body)  # noqa: S314 - our own
    assert root.tag == "{urn:ietf:rfc:7807}problem"
    return {child.tag.removeprefix("{urn:ietf:rfc:7807}"): child.text or "" for child in root}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("detail", ["A sentence.", "Not /<shop>/… & 'so' \"on\" ]]>", "ő 💶 \t\n"])
def test_all_forms_say_the_same(form: bytes, detail: str) -> None:
    answer = problem(BadTarget(detail), request_id="id-1", form=form)

    assert answer.headers[0] == (b"Content-Type", form)
    assert texts_of(answer.body) == {
        "type": "urn:problem-type:shop-auth-proxy:bad_target",
        "title": "The path does not name a shop",
        "status": "400",
        "detail": detail,
        "message": detail,
        "code": "bad_target",
        "request_id": "id-1",
    }
    assert answer.body.isascii()
    assert answer.body.endswith(b"\n")


@given(st.text())
def test_no_character_makes_xml_that_can_not_be_read(detail: str) -> None:
    answer = problem(BadTarget(detail), request_id="id-1", form=XML)

    assert texts_of(answer.body)["message"] == texts_of(answer.body)["detail"]


@pytest.mark.parametrize("character", ["\0", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_what_xml_can_not_hold_is_replaced(character: str) -> None:
    answer = problem(BadTarget(f"a{character}b"), request_id="id-1", form=XML)

    assert texts_of(answer.body)["detail"] == "a\ufffdb"
