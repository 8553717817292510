"""HTML or JSON, as RFC 9110 §12.5.1 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.negotiation import prefers_json, quality

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),  # curl
        (FIREFOX, False),
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json, text/plain, */*", False),  # both at 1: no preference
        ("application/json, */*;q=0.5", True),
        ("application/*, text/*;q=0.9", True),
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("application/json;q=0.8, text/html;q=0.9", False),
        ("application/json;q=0, */*", False),
        ("text/html;q=0, */*", True),
        ("application/json ; charset=utf-8 ; q=0.7 , text/html;q=0.1", True),
        ("application/json;q=nan", False),
        ("application/json;q=1.5", False),
        ("application/json;q=-1", False),
        ("application/jsonp", False),
        (",,;q=1,", False),
    ],
)
def test_json_is_for_who_prefers_it(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


@given(st.text() | st.text(alphabet="*/;q=.,01 ajson"))
def test_whatever_is_sent_has_a_quality(accept: str) -> None:
    assert 0.0 <= quality(accept, "application/json") <= 1.0
