"""How a URL prefix stands in each form."""

import pytest

from proxy.forwarding.link_forms import REQUEST_FORMS, TEXT_FORMS, Form
from proxy.platforms.url_prefix import parse_prefix
from tests.forwarding.rewriting import PERCENT_FORMS
from tests.forwarding.rewriting import TEXT_FORMS as WRITTEN_TEXT_FORMS


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (Form(":", "/"), "http://[::1]:8080/demo"),
        (Form(":", r"\/"), r"http:\/\/[::1]:8080\/demo"),
        (Form(":", "&#x2F;"), "http:&#x2F;&#x2F;[::1]:8080&#x2F;demo"),
        (Form("%3A", "%2F", percent=True), "http%3A%2F%2F%5B%3A%3A1%5D%3A8080%2Fdemo"),
        (Form("%3A", "%5C%2F", percent=True), "http%3A%5C%2F%5C%2F%5B%3A%3A1%5D%3A8080%5C%2Fdemo"),
    ],
)
def test_a_form_writes_a_prefix(form: Form, written: str) -> None:
    assert form.write("http://[::1]:8080/demo") == written


def test_the_forms_are_those_that_the_slow_rewriter_of_the_tests_knows() -> None:
    assert [(form.colon, form.slash) for form in TEXT_FORMS] == WRITTEN_TEXT_FORMS
    assert [(form.colon, form.slash) for form in REQUEST_FORMS] == WRITTEN_TEXT_FORMS + PERCENT_FORMS
    assert all(form.percent == ("%" in form.colon + form.slash) for form in REQUEST_FORMS)


def test_the_pattern_prefers_the_longer_path_and_falls_back_to_the_shorter() -> None:
    pattern = Form(":", "/").pattern((parse_prefix("http://a.example"), parse_prefix("http://a.example/api")))

    found = [match[0] for match in pattern.finditer(b"http://a.example/api/x http://a.example/apix ")]

    assert found == [b"http://a.example/api", b"http://a.example"]


@pytest.mark.parametrize(
    ("text", "cut"),
    [(b"", 0), (b"%", 1), (b"x%", 1), (b"%2", 2), (b"%f", 0), (b"%7", 2), (b"%2F", 0), (b"%x", 0), (b"2", 0)],
)
def test_only_in_a_form_body_an_escape_may_be_cut(text: bytes, cut: int) -> None:
    assert Form("%3A", "%2F", percent=True).end_is_cut(text) == cut
    assert Form(":", "/").end_is_cut(text) == 0
