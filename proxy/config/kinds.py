"""Which types of TOML a setting may have, and what is said of a value of another one. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

from proxy.certificate import CertificateFiles
from proxy.config.files import closest
from proxy.config.rules import BatchRule, EncryptionKeys, PortSource, ProxyUrlOrFalse, RateLimitRule
from proxy.platforms.batch import Batch
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import RateLimit
from proxy.platforms.scopes import Scopes
from proxy.secret import Secret

_NAMES: Final = (
    (int | float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
)
_LARGEST: Final = 1e300  # more digits than anybody counts; such a number may read as infinite
# What stands in quotes although it is no string.
_PLAIN: Final = re.compile(r"true|false|[0-9]+(?:\.[0-9]+)?")
_WITH_UNIT: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?\s*(?:[a-zA-Z]+|%)")


def type_name(value: object) -> str:
    """Return what a TOML value is, in plain words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "a date or time")


def of_wrong_type(rule: Any, value: object) -> str:
    """Return what a value is instead, and how to write what was probably meant; empty if its type is right."""
    kinds = _kinds(rule)
    if value is False and rule in (ProxyUrlOrFalse, RateLimitRule, BatchRule):
        return ""
    if isinstance(value, kinds) and isinstance(value, bool) == (kinds == (bool,)):
        return ""
    sentence = f"not {type_name(value)}"
    if isinstance(value, str) and kinds == (list,):
        return f'{sentence}: write it in brackets, ["…"]'
    if isinstance(value, str) and _PLAIN.fullmatch(value) and kinds != (dict,) and str not in kinds:
        return f"{sentence}: write it without quotes"
    if isinstance(value, str) and _WITH_UNIT.fullmatch(value) and int in kinds:
        return f"{sentence}: write just the number, without quotes and unit"
    if str in kinds and not isinstance(value, bool | list | dict):
        return f"{sentence}: write it in quotes"
    return sentence


def what_is_seen(value: object) -> str:
    """Return what can be seen of a value that can't be used, for the end of the sentence; empty if nothing can."""
    if isinstance(value, str) and value != value.strip(" \t"):
        return "; this one begins or ends with a space"
    return "; this number is too large" if isinstance(value, int | float) and value > _LARGEST else ""


def choice_meant(rule: Any, value: object) -> str:
    """Return which of the few values that a setting may have was probably meant; empty if that is not known."""
    choice = get_args(rule)[0]
    meant = closest(str(value), get_args(choice)) if get_origin(choice) is Literal else None
    return f'; did you mean "{meant}"?' if meant else ""


def _kinds(rule: Any) -> tuple[type, ...]:
    if rule == PortSource:
        return (int, float, dict)
    if rule == EncryptionKeys:
        return (str, dict, list)
    base = get_args(rule)[0]
    by_base: dict[Any, tuple[type, ...]] = {
        bool: (bool,),
        int: (int, float),
        float: (int, float),
        tuple: (list,),
        Secret: (str, dict),
        EgressProxy: (str, dict),
        CertificateFiles: (dict,),
        RateLimit: (dict,),
        Batch: (dict,),
        Mapping: (dict,),
        Scopes: (dict,),
    }
    return by_base.get(get_origin(base) or base, (str,))
