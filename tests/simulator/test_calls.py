"""Reading targets and headers of a call."""

from __future__ import annotations

import pytest

from proxy.simulator.calls import Call, split_target


@pytest.mark.parametrize(
    ("target", "segments", "query"),
    [
        ("/", (), {}),
        ("/demo/api/products", ("demo", "api", "products"), {}),
        ("/demo/api/products/", ("demo", "api", "products"), {}),
        ("/a//b", ("a", "", "b"), {}),
        ("/a%2Fb/c", ("a/b", "c"), {}),
        ("/a%252F", ("a%2F",), {}),
        ("/a?", ("a",), {}),
        ("/a?full=1&page=0&empty=", ("a",), {"full": "1", "page": "0", "empty": ""}),
        ("/a?b=x%26y+z?", ("a",), {"b": "x&y z?"}),
    ],
)
def test_a_target_is_split_and_then_decoded_once(target: str, segments: tuple[str, ...], query: dict[str, str]) -> None:
    assert split_target(target) == (segments, query)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("", None),
    ],
)
def test_the_bearer_token_is_found(value: str, token: str | None) -> None:
    assert Call("GET", (), {}, {"Authorization": value}).bearer_token == token


def test_the_content_type_comes_without_parameters() -> None:
    assert Call("GET", (), {}, {"Content-Type": "Application/JSON; charset=utf-8"}).content_type == "application/json"
    assert Call("GET", (), {}, {}).content_type == ""
