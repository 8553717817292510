"""`platforms.NAME.scopes`: which scope a call needs, for a platform of one's own and besides what is built in."""

from pathlib import Path

import pytest

from proxy.config.files import Unusable
from proxy.config.scopes import read_scopes
from proxy.platforms.shoprenter_scopes import SHOPRENTER_SCOPES
from tests.config.written import DEMO, load, problems

MUST: str = (
    "must be a table of scopes by the first segment of the path and by method, such as"
    ' { orders = { GET = "orders:read", "*" = "orders:write" } }'
)
MINE = """
[platforms.mine]
token_url = "https://auth.example.com/token"
api_url = "https://api.example.com/"
"""


def test_a_platform_of_the_users_own_has_its_scopes(path: Path) -> None:
    config = load(path, DEMO + MINE + 'scopes = { orders = { GET = "read", "*" = "write a" }, "my%20own" = "all" }')
    scopes = config.platforms["mine"].scopes

    assert scopes is not None
    called = [("GET", b"orders"), ("HEAD", b"orders"), ("PUT", b"orders"), ("PUT", b"my%20own"), ("GET", b"other")]
    assert [scopes.needed(*call) for call in called] == ["read", "read", "write a", "all", ""]


def test_those_of_shoprenter_can_be_added_to_and_changed(path: Path) -> None:
    config = load(path, DEMO + '[platforms.shoprenter.scopes]\nnewOnes = "new.new:read"\norders = { GET = "o:r" }')
    scopes = config.platforms["shoprenter"].scopes

    assert scopes is not None
    called = [("GET", b"newOnes"), ("GET", b"orders"), ("PUT", b"orders"), ("PUT", b"products")]
    assert [scopes.needed(*call) for call in called] == ["new.new:read", "o:r", "", "product.product:write"]
    assert scopes.place == SHOPRENTER_SCOPES.place


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('"orders:read"', ", not a string"),
        ('["orders:read"]', ", not a list"),
        ('{ "/orders" = "a" }', '; "/orders" is not the first segment of a path, without slashes'),
        ('{ "orders/v2" = "a" }', '; "orders/v2" is not the first segment of a path, without slashes'),
        ('{ "" = "a" }', '; "" is not the first segment of a path, without slashes'),
        (
            '{ orders = { get = "a" } }',
            '; get, of orders, is not a method in capitals, such as GET, or "*"',
        ),
        ("{ orders = 1 }", "; the value of orders is not a scope"),
        ('{ orders = "" }', "; the value of orders is not a scope"),
        ('{ orders = { GET = ["a"] } }', "; the value of orders is not a scope"),
        ('{ orders = { GET = "a\\tb" } }', "; the value of orders is not a scope"),
        ('{ orders = "scope «a»" }', "; the value of orders is not a scope"),
    ],
)
def test_what_is_none_is_told_with_its_place(path: Path, written: str, why: str) -> None:
    told = problems(path, f"{DEMO}{MINE}scopes = {written}\n")

    assert told == (f"platforms.mine.scopes: {MUST}{why}",)


def test_an_environment_has_no_tables() -> None:
    with pytest.raises(Unusable):
        read_scopes("orders", "must be a table")
