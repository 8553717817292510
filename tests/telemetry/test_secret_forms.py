"""The ways in which a secret may come to be written."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.secret_forms import base64_forms, written_forms

SECRET = "pä'ss \"w/o+r\\d&"


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: json.dumps(json.dumps(text))[3:-3],
        lambda text: repr(text)[1:-1],
        lambda text: repr(text.encode())[2:-1],
        quote,
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: text.encode().decode("latin-1"),
    ],
)
def test_each_way_of_writing_is_known(write: Callable[[str], str]) -> None:
    assert write(SECRET) in written_forms(SECRET)


def test_an_ordinary_secret_is_written_in_one_way() -> None:
    assert written_forms("abcDEF-123._~") == {"abcDEF-123._~"}


def test_the_lines_of_a_secret_over_several_lines_are_secret_unless_they_are_short() -> None:
    forms = written_forms("-----BEGIN-----\nabcdefghij\nxyz")

    assert {"-----BEGIN-----", "abcdefghij"} <= forms
    assert "xyz" not in forms


@given(secret=st.text(min_size=6, alphabet=st.characters(codec="utf-8")), before=st.binary(max_size=9))
def test_base64_of_anything_with_the_secret_in_it_holds_a_known_form(secret: str, before: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode()).decode()

    assert any(form in encoded for form in base64_forms(secret))
