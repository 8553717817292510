"""The same fields, however a client writes them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.simulator.calls import Call
from proxy.simulator.shoprenter_bodies import UnreadableBody, read_fields

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"


def call(content_type: str, body: bytes) -> Call:
    return Call("POST", (), {}, {"Content-Type": content_type}, body)


def part(name: str, value: str) -> bytes:
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


@pytest.mark.parametrize(
    ("content_type", "body", "fields"),
    [
        ("application/json", b'{"sku":"a"}', {"sku": "a"}),
        ("application/json", b'{"data":{"sku":"a"}}', {"sku": "a"}),
        ("", b'{"sku":"a"}', {"sku": "a"}),
        ("application/json", b"", {}),
        (FORM, b"sku=a&price=1", {"sku": "a", "price": "1"}),
        (FORM, b"data%5Bsku%5D=a+b&data[price]=1", {"sku": "a b", "price": "1"}),
        (FORM, b"data[tags][]=x&data[tags][]=y", {"tags": {"0": "x", "1": "y"}}),
        (FORM, b"a=1&a[b]=2", {"a": {"b": "2"}}),
        (MULTIPART, part("data[a]", "1") + part("data[b]", "é\r\n2") + b"--XX--\r\n", {"a": "1", "b": "é\r\n2"}),
        (MULTIPART, b"preamble\r\n" + part("sku", "") + b"--XX--", {"sku": ""}),
        ('multipart/form-data; boundary="XX"', part("sku", "a") + b"--XX--", {"sku": "a"}),
    ],
)  # fmt: skip
def test_fields_are_read(content_type: str, body: bytes, fields: dict[str, Any]) -> None:
    assert read_fields(call(content_type, body)) == fields


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b"\xff"),
        ("application/json", b"[" * 100_000),
        (FORM, b"a[b][c][d][e][f][g][h][i]=1"),
        (MULTIPART, b""),
        (MULTIPART, part("sku", "cut off")),
        (MULTIPART, b"--XX\r\nContent-Type: a/b\r\n\r\nno name\r\n--XX--"),
        ("multipart/form-data", part("sku", "a") + b"--XX--"),
    ],
)
def test_a_broken_body_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        read_fields(call(content_type, body))
