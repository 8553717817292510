"""Tokens: how they look, when they end, and for whom they are good."""

from __future__ import annotations

import base64
import json
from random import Random, SystemRandom
from typing import TYPE_CHECKING

import pytest

from proxy.simulator import tokens
from proxy.simulator.tokens import TokenBook, TokenRefused

if TYPE_CHECKING:
    from tests.simulator.conftest import SettableClock


@pytest.fixture
def book(clock: SettableClock) -> TokenBook:
    return TokenBook(clock, Random(1))


def test_a_token_looks_like_a_signed_jwt(book: TokenBook) -> None:
    header, payload, signature = book.issue("id", "demo", None, 3600).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"typ": "JWT", "alg": "RS256"}
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["aud"] == "id"
    assert len(signature) == 342


def test_no_two_tokens_are_the_same(clock: SettableClock) -> None:
    book = TokenBook(clock, SystemRandom())
    assert len({book.issue("id", "demo", None, 3600) for _ in range(100)}) == 100


@pytest.mark.parametrize(("age", "valid"), [(0.0, True), (3599.999, True), (3600.0, False), (9999.0, False)])
def test_a_token_is_good_until_its_lifetime_is_over(
    book: TokenBook, clock: SettableClock, age: float, valid: bool
) -> None:
    token = book.issue("id", "demo", None, 3600)
    clock.now += age
    if valid:
        assert book.check(token, "demo").client_id == "id"
    else:
        with pytest.raises(TokenRefused, match="expired"):
            book.check(token, "demo")


@pytest.mark.parametrize("token", [None, "", "made-up"])
def test_a_token_that_was_never_issued_is_refused(book: TokenBook, token: str | None) -> None:
    with pytest.raises(TokenRefused):
        book.check(token, "demo")


def test_a_token_is_good_for_its_own_shop_only(book: TokenBook) -> None:
    token = book.issue("id", "demo", None, 3600)
    with pytest.raises(TokenRefused, match="another shop"):
        book.check(token, "other")


def test_a_new_token_leaves_the_old_one_valid(book: TokenBook) -> None:
    old = book.issue("id", "demo", None, 3600)
    book.issue("id", "demo", None, 3600)
    assert book.check(old, "demo").client_id == "id"


def test_revoking_a_shop_spares_the_others(book: TokenBook) -> None:
    mine, other = book.issue("id", "demo", None, 3600), book.issue("id", "other", None, 3600)
    assert book.revoke("demo") == 1
    with pytest.raises(TokenRefused, match="revoked"):
        book.check(mine, "demo")
    assert book.check(other, "other").client_id == "id"
    assert book.revoke() == 1, "only the other one was still valid"


def test_expiring_ends_all_tokens_now_and_none_that_come_later(book: TokenBook) -> None:
    token = book.issue("id", "demo", None, 3600)
    assert book.expire() == 1
    with pytest.raises(TokenRefused, match="expired"):
        book.check(token, "demo")
    assert book.check(book.issue("id", "demo", None, 3600), "demo").client_id == "id"


def test_the_oldest_tokens_are_forgotten(book: TokenBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    first, second, third = (book.issue("id", "demo", None, 3600) for _ in range(3))
    with pytest.raises(TokenRefused, match="unknown"):
        book.check(first, "demo")
    assert book.check(second, "demo").client_id == "id"
    assert book.check(third, "demo").client_id == "id"


@pytest.mark.parametrize(
    ("scopes", "scope", "allowed"),
    [(None, "any", True), (frozenset({"a"}), "a", True), (frozenset({"a"}), "b", False), (frozenset(), "a", False)],
)
def test_scopes_of_a_grant(book: TokenBook, scopes: frozenset[str] | None, scope: str, allowed: bool) -> None:
    assert book.check(book.issue("id", "demo", scopes, 60), "demo").allows(scope) is allowed
