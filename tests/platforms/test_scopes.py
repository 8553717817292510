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


OWN = Scopes({"orders": {"GET": "read_orders", "POST": "add_orders"}, "reports": {"*": "reports"}})


@pytest.mark.parametrize(
    ("method", "segment", "scope"),
    [
        ("HEAD", b"orders", "read_orders"),
        ("POST", b"orders", "add_orders"),
        ("DELETE", b"orders", ""),
        ("GET", b"reports", "reports"),
        ("PATCH", b"reports", "reports"),
    ],
)
def test_each_method_may_need_a_scope_of_its_own(method: str, segment: bytes, scope: str) -> None:
    assert OWN.needed(method, segment) == scope


def test_where_the_platform_does_not_say_so_it_is_allowed_with_the_api_client() -> None:
    words = "PATCH /reports needs reports: allow it in the settings of the API client"

    assert OWN.hint("PATCH", b"reports") == words
