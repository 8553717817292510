r"""Writes Shoprenter's answers as its PHP does.

JSON with every `/` as `\/` and non-ASCII as `\uXXXX`; XML in a `<response>` element, with every value in CDATA and so
with `&` as it is. The platform answers XML unless the caller accepts JSON; as `application/xml`, since the vendor's own
client knows no other type for it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = "application/json"
XML_TYPE = "application/xml; charset=utf-8"
ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# XML 1.0 has no way to write these, not even as entities.
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def wants_json(accept: str) -> bool:
    """Whether an `Accept` value asks for JSON."""
    return JSON_TYPE in accept.lower()


def write(data: Mapping[str, Any], *, as_json: bool) -> tuple[bytes, str]:
    """`data` as a body, and its content type."""
    if as_json:
        return json_as_php_writes_it(data), JSON_TYPE
    return xml_document(data), XML_TYPE


def json_as_php_writes_it(data: Mapping[str, Any]) -> bytes:
    r"""Compact JSON in ASCII with `\/` for `/`."""
    # A slash occurs in strings alone, so replacing it in the text is safe.
    return json.dumps(data, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def xml_document(data: Mapping[str, Any]) -> bytes:
    """A whole XML document with the root element `response`."""
    body = "".join(_element(name, value) for name, value in data.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<response>{body}</response>\n'.encode()


def _element(name: str, value: Any) -> str:
    # A field whose name a client made up may be no element name; the rest is still well-formed without it.
    if not ELEMENT_NAME.fullmatch(name):
        return ""
    if isinstance(value, list):
        return _list(name, value)
    if value is None or value in ({}, ""):
        return f"<{name}/>"
    return f"<{name}>{_content(value)}</{name}>"


def _content(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(_element(name, inner) for name, inner in value.items())
    text = NOT_IN_XML.sub("", str(value)).replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{text}]]>"


def _list(name: str, values: list[Any]) -> str:
    """`items` becomes `<items><item>…</item>…</items>`; a name without a plural `s` is repeated."""
    singular = name.removesuffix("s")
    members = "".join(_element(singular, value) for value in values)
    return members if singular == name else f"<{name}>{members}</{name}>"
