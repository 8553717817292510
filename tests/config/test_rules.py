"""A rule takes what its description says, and nothing else."""

from typing import Any

import msgspec
import pytest

from proxy.config import rules

_TAKEN: list[tuple[Any, object]] = [
    (rules.Port, 0),
    (rules.Port, 65_535),
    (rules.Budget, 1 << 20),
    (rules.HeadSize, 1_024),
    (rules.Part, 1.0),
    (rules.DurationOrZero, 0.0),
    (rules.Text, "kék"),
    (rules.Host, ""),
    (rules.Host, "127.0.0.1"),
    (rules.Host, "::1"),
    (rules.Host, "fe80::1%eth0"),
    (rules.Host, "shop-proxy.internal"),
    (rules.PathPrefix, ""),
    (rules.PathPrefix, "api/v1"),
    (rules.Digest, "0aF9" * 16),
    (rules.TokenScheme, ""),
    (rules.TokenScheme, "Bearer"),
    (rules.MethodNames, ["GET"]),
]
_REFUSED: list[tuple[Any, object]] = [
    (rules.Port, -1),
    (rules.Port, 65_536),
    (rules.Budget, (1 << 20) - 1),
    (rules.HeadSize, 1_023),
    (rules.Part, 0.0),
    (rules.Part, 1.1),
    (rules.Duration, 0.0),
    (rules.DurationOrZero, -0.1),
    (rules.Count, 0),
    (rules.Rate, 0.0),
    (rules.Text, ""),
    (rules.Text, "a\nb"),
    (rules.Text, "\ufeffa"),
    (rules.Host, "localhost:8080"),
    (rules.Host, "http://localhost"),
    (rules.Host, "-a"),
    (rules.PathPrefix, "/api"),
    (rules.PathPrefix, "api/"),
    (rules.PathPrefix, "a b"),
    (rules.Digest, "0aF9" * 15),
    (rules.TokenScheme, "My Token"),
    (rules.ShopNames, []),
]


@pytest.mark.parametrize(("rule", "value"), _TAKEN)
def test_what_keeps_to_a_rule_is_taken(rule: Any, value: object) -> None:
    msgspec.convert(value, rule)


@pytest.mark.parametrize(("rule", "value"), _REFUSED)
def test_what_does_not_keep_to_a_rule_is_refused(rule: Any, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, rule)
