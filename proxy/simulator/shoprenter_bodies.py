"""Reads the request bodies Shoprenter takes: JSON, multipart/form-data and urlencoded forms.

Forms carry `data[sku]=…`, which the vendor's own PHP client posts, or plain `sku=…`; brackets nest as in PHP.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.simulator.calls import Call

BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
PART_NAME = re.compile(rb'content-disposition:[^\r\n]*[; ]name="([^"]*)"', re.IGNORECASE)
MAX_DEPTH = 8  # of brackets in a field name; PHP has such a bound too


class UnreadableBody(Exception):
    """A body that is not what its content type says."""


def read_fields(call: Call) -> dict[str, Any]:
    """The fields in the body of `call`, without the `data` around them if there is one.

    Raises:
        UnreadableBody: it cannot be read.
    """
    if call.content_type == "multipart/form-data":
        fields = _nested(_multipart_pairs(call))
    elif call.content_type == "application/x-www-form-urlencoded":
        fields = _nested(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    else:
        fields = _json_object(call.body)
    data = fields.get("data")
    return data if isinstance(data, dict) else fields


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBody("The request body is not valid JSON") from error
    if not isinstance(value, dict):
        raise UnreadableBody("The request body must be a JSON object")
    return value


def _multipart_pairs(call: Call) -> list[tuple[str, str]]:
    boundary = BOUNDARY.search(call.headers.get("Content-Type", ""))
    if boundary is None:
        raise UnreadableBody("The multipart boundary is missing")
    delimiter = b"\r\n--" + boundary[1].encode()
    # The first delimiter has no line before it; with one put there, all are alike.
    sections = (b"\r\n" + call.body).split(delimiter)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise UnreadableBody("The multipart body has no end")
    return [_part(section) for section in sections[1:-1]]


def _part(section: bytes) -> tuple[str, str]:
    head, separator, value = section.partition(b"\r\n\r\n")
    name = PART_NAME.search(head)
    if not separator or name is None:
        raise UnreadableBody("A part of the multipart body has no name")
    return name[1].decode("utf-8", "replace"), value.decode("utf-8", "replace")


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a[b][c]=1` as `{"a": {"b": {"c": "1"}}}`; the last of equal names wins."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        keys = name.replace("]", "").split("[")
        if len(keys) > MAX_DEPTH:
            raise UnreadableBody("A field name is nested too deeply")
        place = result
        for key in keys[:-1]:
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner
        # `x[]` appends: the next free number is its key.
        place[keys[-1] or str(len(place))] = value
    return result
