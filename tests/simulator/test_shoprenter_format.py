"""Bytes of Shoprenter's JSON and XML."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from proxy.simulator.shoprenter_format import json_as_php_writes_it, wants_json, write, xml_document


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", True),
        ("text/html, Application/JSON;q=0.9", True),
        ("", False),
        ("*/*", False),
        ("application/xml", False),
    ],
)
def test_json_is_written_only_for_those_who_ask(accept: str, expected: bool) -> None:
    assert wants_json(accept) is expected


def test_json_has_escaped_slashes_and_no_spaces() -> None:
    assert json_as_php_writes_it({"href": "https://a/b", "n": None, "é": ["1"]}) == (
        rb'{"href":"https:\/\/a\/b","n":null,"\u00e9":["1"]}'
    )


@pytest.mark.parametrize(
    ("data", "inside"),
    [
        ({"href": "http://a/?b=1&c=2"}, "<href><![CDATA[http://a/?b=1&c=2]]></href>"),
        ({"previous": None, "empty": ""}, "<previous/><empty/>"),
        ({"items": [{"id": "1"}, {}]}, "<items><item><id><![CDATA[1]]></id></item><item/></items>"),
        ({"items": []}, "<items></items>"),
        ({"request": ["a", "b"]}, "<request><![CDATA[a]]></request><request><![CDATA[b]]></request>"),
        ({"no element": "x", "1st": "y", "ok": "z"}, "<ok><![CDATA[z]]></ok>"),
    ],
)  # fmt: skip
def test_xml_holds_values_in_cdata(data: dict[str, Any], inside: str) -> None:
    expected = f'<?xml version="1.0" encoding="UTF-8"?>\n<response>{inside}</response>\n'
    assert xml_document(data) == expected.encode()


@pytest.mark.parametrize("text", ["a]]>b", "]]>", "é & <b>", "]]]]>>"])
def test_xml_gives_back_any_text(text: str) -> None:
    assert ET.fromstring(xml_document({"value": text})).findtext("value") == text  # noqa: S314 - our own text


def test_xml_leaves_out_what_it_cannot_write() -> None:
    document = xml_document({"value": "a\x00b\x1f\ufffec"})
    assert ET.fromstring(document).findtext("value") == "abc"  # noqa: S314 - our own text


def test_the_content_type_goes_with_the_format() -> None:
    assert write({}, as_json=True) == (b"{}", "application/json")
    assert write({}, as_json=False)[1] == "application/xml; charset=utf-8"
