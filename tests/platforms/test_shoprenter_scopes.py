"""The scopes of Shoprenter's API clients, for some of the resources that integrations call."""

import pytest

from proxy.platforms.shoprenter_scopes import SHOPRENTER_SCOPES


@pytest.mark.parametrize(
    ("method", "segment", "scope"),
    [
        ("DELETE", b"products", "product.product:write"),
        ("GET", b"orders", "order.order:read"),
        ("PUT", b"orderStatuses", "order.status:write"),
        ("GET", b"categories", "product.category:read"),
        ("POST", b"webhooks", "store.webhook:write"),
        ("POST", b"batch", ""),
    ],
)
def test_calls_need_what_is_documented(method: str, segment: bytes, scope: str) -> None:
    assert SHOPRENTER_SCOPES.needed(method, segment) == scope


def test_no_resource_belongs_to_two_areas() -> None:
    assert len(SHOPRENTER_SCOPES.needed_for) == 100
    assert SHOPRENTER_SCOPES.hint("GET", b"orders").endswith("allow it in the shop's admin, Settings > API Settings")
