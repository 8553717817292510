"""What is said of a value of another type than a setting may have."""

import datetime
from typing import Any

import pytest

from proxy.config.kinds import of_wrong_type, type_name
from proxy.config.rules import Duration, EncryptionKeys, Flag, Networks, Port, PortSource, RateLimitRule, StoreUrl, Text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "true"),
        (7, "a number"),
        (7.5, "a number"),
        ("7", "a string"),
        ([7], "a list"),
        ({"a": 7}, "a table"),
        (datetime.date(2026, 1, 1), "a date or time"),
    ],
)
def test_a_value_is_called_what_it_is_in_toml(value: object, name: str) -> None:
    assert type_name(value) == name


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (Port, 7),
        (Port, 7.5),  # what is wrong with it is said by the rule
        (PortSource, {"env": "PORT"}),
        (Flag, False),
        (Text, "x"),
        (Networks, []),
        (RateLimitRule, False),
        (RateLimitRule, {}),
        (StoreUrl, {"file": "url"}),
        (StoreUrl, "redis://redis"),
        (EncryptionKeys, "key"),
        (EncryptionKeys, {"env": "KEY"}),
        (EncryptionKeys, [{"env": "KEY"}]),
    ],
)
def test_a_value_of_the_right_type_passes(rule: Any, value: object) -> None:
    assert of_wrong_type(rule, value) == ""


@pytest.mark.parametrize(
    ("rule", "value", "sentence"),
    [
        (Port, "8080", "not a string: write it without quotes"),
        (Port, {"env": "PORT"}, "not a table"),
        (Port, True, "not true"),
        (PortSource, "8080", "not a string: write it without quotes"),
        (PortSource, [8080], "not a list"),
        (Flag, "true", "not a string: write it without quotes"),
        (Flag, "yes", "not a string"),
        (Port, "8080 tcp", "not a string: write just the number, without quotes and unit"),
        (Duration, "30s", "not a string: write just the number, without quotes and unit"),
        (Duration, "soon", "not a string"),
        (Text, 7, "not a number: write it in quotes"),
        (Networks, "10.0.0.0/8", 'not a string: write it in brackets, ["…"]'),
        (RateLimitRule, True, "not true"),
        (RateLimitRule, "3", "not a string"),
        (StoreUrl, 6379, "not a number: write it in quotes"),
        (StoreUrl, ["redis://redis"], "not a list"),
        (EncryptionKeys, 7, "not a number: write it in quotes"),
    ],
)
def test_a_value_of_another_type_is_told_with_what_was_probably_meant(rule: Any, value: object, sentence: str) -> None:
    assert of_wrong_type(rule, value) == sentence
