"""A name that is not known where it stands: which one was probably meant, or where it belongs.

Pure: from names to sentences. Values are looked at for their type alone, and never shown.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import fields

from proxy.config.environment import PREFIX
from proxy.config.files import closest
from proxy.config.problems import Place, Problems, unknown
from proxy.config.schema import NAMED_SECTIONS, SECTIONS
from proxy.platforms.platform import is_shop_name

_NAME_RULE: Final = "a shop name has 1 to 63 of the characters a-z, 0-9 and hyphen, and no hyphen at either end"
_OF_SHOPRENTER: Final = re.compile(r"(?:https?://)?([a-z0-9-]+)\.(?:api2?\.)?(?:my)?shoprenter\.(?:hu|net)(?:/.*)?")
_SIMILAR: Final = 0.8  # of 1: nearly sure
_OF_BASIC: Final = frozenset(
    [
        "username",
        "user",
        "login",
        "password",
        "passwd",
        "pass",
        "api_key",
        "apikey",
        "api_user",
        "token",
        "access_token",
    ]
)
_OF_NAMES: Final = frozenset(["username", "user", "login", "api_user"])
_OF_INCLUDES: Final = frozenset(["import", "imports", "include", "includes"])
# What other programs call it.
_OTHER_SECTIONS: Final = {
    **dict.fromkeys(("user", "users"), "clients"),
    **dict.fromkeys(("redis", "valkey"), "shared"),
    **dict.fromkeys(("https", "ssl", "tls"), "server.tls"),
}
_OTHER_WORDS: Final = {
    **dict.fromkeys(("address", "bind", "bind_address", "interface", "ip", "listen", "listen_address"), "host"),
    **dict.fromkeys(("cert", "certificate", "https", "private_key", "ssl", "ssl_certificate", "ssl_key"), "tls"),
    **dict.fromkeys(("cert_file", "key_file", "ssl_cert", "tls_cert", "tls_certificate", "tls_key"), "tls"),
    **dict.fromkeys(("access_key", "accesskey", "api_id", "app_id", "appkey", "app_key", "consumer_key"), "client_id"),
    **dict.fromkeys(("secret_key", "secretkey", "api_secret", "app_secret", "consumer_secret"), "client_secret"),
    **dict.fromkeys(("ca", "ssl_verify", "verify", "verify_ssl"), "ca_file"),
    "ttl": "max_age",
}
_OF_SECRETS: Final = ("client_secret", "secret", "encryption_key")


def unknown_section(name: str, value: object) -> str:
    """Return a sentence about a name that is no section of the file."""
    if name.startswith(PREFIX):
        return "is an environment variable, which does not belong in the file"
    if name.lower() in _OF_INCLUDES:
        return 'unknown setting: all stands in this one file; only secrets can be in others, { file = "…" }'
    if name.lower() in _OTHER_SECTIONS:
        return f"unknown setting: did you mean {_OTHER_SECTIONS[name.lower()]}?"
    if isinstance(value, dict):
        inner = next((key for key, table in value.items() if isinstance(table, dict)), None)
        meant = closest(name, NAMED_SECTIONS)
        if inner is not None and meant:
            return f"unknown setting: did you mean [{Problems().name((meant, inner))}]?"
        if {"client_id", "client_secret"} & value.keys():
            return f"unknown setting: did you mean [{Problems().name(('shops', name))}]?"
    elif homes := _homes(name):
        return f"unknown setting here: it belongs in {homes}, below that line"
    return unknown("setting", name, {*SECTIONS, *NAMED_SECTIONS})


def unknown_setting(table: Place, key: str, value: object, known: Iterable[str]) -> str:
    """Return a sentence about a name that is no setting of this table."""
    known = sorted(known)
    if isinstance(value, dict) and table[0] == "shops":
        name = Problems().name(table)
        return f"is a table inside {name}, because of the dot: a shop's name has none, write [{name}]"
    if isinstance(value, dict) and table[0] == "clients":
        return f'is a table inside {Problems().name(table)}, because of the dot: write [clients."{table[1]}.{key}"]'
    if table[0] == "clients" and key.lower() in _OF_NAMES:
        return "unknown setting: the name stands in the line above, [clients.NAME]"
    if table[0] == "shops" and key.lower() in _OF_BASIC:
        return (
            "unknown setting: the client_id and client_secret of an API client are needed, not a user name, password,"
            " key or token"
        )
    if found := _other_word(table, key.lower(), known):
        return found
    parts = [each for each in known if key.lower() in each.split("_")]
    if len(parts) == 1:
        return unknown("setting", parts[0], known)
    if key.lower() not in _OF_BASIC and (homes := _homes(key)):
        meant = closest(key, known, cutoff=_SIMILAR)
        return f"unknown setting here: it belongs in {homes}" + (f"; or did you mean {meant}?" if meant else "")
    return unknown("setting", key, known)


def meant_setting(key: str, known: Collection[str]) -> str | None:
    """Return the setting that was probably meant, so that it is not said to be missing too."""
    other = _OTHER_WORDS.get(key.lower())
    return other if other in known else closest(key, known)


def _other_word(table: Place, key: str, known: Iterable[str]) -> str:
    """Return what somebody meant who writes settings as other programs have them; empty if that is not known."""
    head, _, tail = key.partition("_")
    if _OTHER_WORDS.get(key, "") in known:
        return f"unknown setting: did you mean {_OTHER_WORDS[key]}?"
    section = closest(head, SECTIONS)
    if section and (section,) != table and tail in SECTIONS[section].__struct_fields__:
        return f"unknown setting here: did you mean {tail}, in [{section}]?"
    stem, _, kind = key.rpartition("_")
    if kind in ("file", "env") and (meant := closest(stem, set(_OF_SECRETS).intersection(known))):
        return f'unknown setting: write {meant} = {{ {kind} = "…" }}'
    return ""


def without_name(section: str, table: Mapping[str, Any]) -> str:
    """Return what is wrong with `[shops]` where settings of one shop stand in it; empty if there are none."""
    settings = {field.name for field in fields(NAMED_SECTIONS[section])}
    found = [key for key, value in table.items() if key in settings and not isinstance(value, dict)]
    if not found:
        return ""
    whose = section.removesuffix("s")
    return f"has {', '.join(found)}, but no {whose}'s name: write [{section}.NAME], with the {whose}'s name for NAME"


def shop_name_in(text: str) -> str:
    """Return the name of the shop that somebody wrote, be it in upper case or as a Shoprenter address."""
    lower = text.strip().lower()
    address = _OF_SHOPRENTER.fullmatch(lower)
    return address[1] if address else lower


def about_shop_name(name: str) -> str:
    """Return what is wrong with a name that is no shop's, and what to write."""
    lower, meant = name.strip().lower(), shop_name_in(name)
    if is_shop_name((bare := lower.strip("\"'")).encode(errors="replace")) and bare != lower:
        return f"has quotes around it, which count as part of it here: write {bare} without them"
    if is_shop_name(lower.encode(errors="replace")):
        return f'shop names are lower case{"" if lower == name.lower() else ", without spaces"}: write "{lower}"'
    if is_shop_name(meant.encode(errors="replace")):
        return f'only the first label of the address is the name: write "{meant}"'
    if "." in name:
        return (
            f"{_NAME_RULE}; for Shoprenter, write the first label of its ….myshoprenter.hu address, not its own domain"
        )
    return _NAME_RULE


def _homes(key: str) -> str:
    """Return the tables that have a setting of this name: `[server] or [admin]`; empty if none has."""
    homes = [f"[{section}]" for section, schema in SECTIONS.items() if key in schema.__struct_fields__]
    homes += [f"[{section}.NAME]" for section, schema in NAMED_SECTIONS.items() if key in schema.__struct_fields__]
    return " or ".join(homes)
