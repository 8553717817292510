"""Which scope a call needs: by method and first segment; nothing where the platform does not say."""

import pytest

from proxy.platforms.scopes import Scopes, by_segment

SCOPES = Scopes(by_segment({"product.product": "products productExtend", "order.order": "orders"}), place="the admin")


@pytest.mark.parametrize(
    ("method", "segment", "scope"),
    [
        ("GET", b"products", "product.product:read"),
        ("HEAD", b"productExtend", "product.product:read"),
        ("DELETE", b"products", "product.product:write"),
        ("POST", b"orders", "order.order:write"),
        ("GET", b"Products", ""),
        ("GET", b"", ""),
        ("GET", b"\xff", ""),
    ],
)
def test_a_call_needs_a_scope(method: str, segment: bytes, scope: str) -> None:
    assert SCOPES.needed(method, segment) == scope
    assert bool(SCOPES.hint(method, segment)) is bool(scope)


def test_the_hint_says_what_to_allow_and_where() -> None:
    words = SCOPES.hint("DELETE", b"products")

    assert words == "DELETE /products needs product.product:write: allow it in the admin"
