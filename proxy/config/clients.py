"""What is to be checked about `[clients.NAME]`, beyond what each value may be.

Rules: a secret is for programs that may know HTTP Basic or Bearer alone, so that it consists of characters that both
can carry. Letters outside ASCII are among them, which programs send in UTF-8 or Latin-1. Right credentials are never
slowed down, so that a secret of less than `_SHORTEST` characters is refused: it could be found by trying. From
`LONG_ENOUGH` on it can't, if it was made by chance; one in between is for the password fields of old programs, and
`check` and `serve` say that it is short.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, Final

from proxy.config.files import closest
from proxy.config.problems import Problems, unknown
from proxy.config.schema import ClientConfig
from proxy.platforms.platform import is_shop_name
from proxy.platforms.shop import WILDCARD
from proxy.secret import Secret

NAME_RULE: Final = "a client's name has 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_', '@' and hyphen"
LONG_ENOUGH: Final = 16  # characters
_SHORTEST: Final = 8

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
# What the platforms' APIs know. Clients without a list may use whatever HTTP knows.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What people write who think of rights, or of SQL.
_MEANT_BY: Final = {
    **dict.fromkeys(("READ", "READ-ONLY", "READONLY", "VIEW", "LIST", "FETCH", "SELECT"), '"GET", "HEAD"'),
    "WRITE": '"POST", "PUT", "PATCH", "DELETE"',
    **dict.fromkeys(("CREATE", "INSERT", "ADD"), '"POST"'),
    **dict.fromkeys(("UPDATE", "EDIT", "MODIFY"), '"PUT", "PATCH"'),
    **dict.fromkeys(("REMOVE", "DEL", "DESTROY"), '"DELETE"'),
    **dict.fromkeys(("ALL", "ANY"), '"*"'),
}
_MOST: Final = 10  # wrong entries of one list that are told
_NEW_CLIENT: Final = "shop-auth-proxy new-client NAME"


def is_client_name(name: str) -> bool:
    """Tell whether a client may be called so. A colon would end the name in HTTP Basic (RFC 7617 §2)."""
    return _NAME.fullmatch(name) is not None


def short_secrets(clients: Mapping[str, ClientConfig]) -> list[str]:
    """Return the names of the clients whose secret is rather short. Of a digest, that is not known."""
    return [
        name
        for name, client in clients.items()
        if client.secret is not None and len(client.secret.reveal()) < LONG_ENOUGH
    ]


def check_client(
    name: str, table: Mapping[str, Any], settings: Mapping[str, Any], known_shops: set[str], problems: Problems
) -> None:
    """Note what is wrong with a client: `table` is what is written, `settings` what of it could be read."""
    place = ("clients", name)
    if not is_client_name(name):
        problems.add(place, NAME_RULE)
    if "secret" in table and "secret_sha256" in table:
        problems.add((*place, "secret_sha256"), "is given as well as secret: remove one of the two")
    elif not any(closest(key, ("secret", "secret_sha256")) or isinstance(table[key], dict) for key in table):
        problems.add((*place, "secret"), f"is missing: set it, or secret_sha256 ({_NEW_CLIENT} makes both)")
    if "secret" in settings and (sentence := _what_is_wrong_with_secret(settings["secret"])):
        problems.add((*place, "secret"), sentence)
    if sentence := _about_entries(settings.get("methods", ()), _what_is_wrong_with_method):
        problems.add((*place, "methods"), sentence)
    if known_shops and (
        sentence := _about_entries(settings.get("shops", ()), lambda shop: _what_is_wrong_with_shop(shop, known_shops))
    ):
        problems.add((*place, "shops"), sentence)


def check_digests(clients: Mapping[str, ClientConfig], problems: Problems) -> None:
    """Note which clients have a secret that is no secret, or that another one has too."""
    no_secrets = {sha256(text.encode()).digest() for text in ("", "\n", *clients)}
    first_with: dict[bytes, str] = {}
    for name, client in clients.items():
        if client.secret is None and client.secret_sha256 is None:
            continue
        place = ("clients", name, "secret" if client.secret is not None else "secret_sha256")
        if client.digest in no_secrets:
            problems.add(
                place, f"is the digest of an empty string or of a client's name: make another with {_NEW_CLIENT}"
            )
        first = first_with.setdefault(client.digest, name)
        if first != name:
            problems.add(
                place,
                f"is the same as that of {problems.name(('clients', first))}, so a Bearer token would not tell the"
                f" two apart: make another with {_NEW_CLIENT}",
            )


def _what_is_wrong_with_secret(secret: Secret) -> str | None:
    text = secret.reveal()
    if not text.isprintable() or " " in text:
        return "must consist of visible characters, without spaces: programs differ in how they send anything else"
    if len(text) < _SHORTEST:
        return f"is shorter than {_SHORTEST} characters and could be guessed: make one with {_NEW_CLIENT}"
    return None


def _what_is_wrong_with_method(method: str) -> str | None:
    if method in _METHODS:
        return None
    if method.upper() in _METHODS:
        return f'methods are written in upper case: write "{method.upper()}"'
    if meant := _MEANT_BY.get(method.strip().upper()):
        return f"unknown method: write {meant}"
    several = re.split(r"[\s,;|/+]+", method.strip().upper())
    if len(several) > 1 and _METHODS.issuperset(several):
        return f"write each method in quotes of its own: {', '.join(map(json.dumps, several))}"
    return unknown("method", method, _METHODS)


def _what_is_wrong_with_shop(shop: str, known: set[str]) -> str | None:
    if shop in known:
        return None
    if WILDCARD not in known:
        return unknown("shop", shop, known)
    return None if is_shop_name(shop.encode(errors="replace")) else "is not a shop's name as it is written in a path"


def _about_entries(entries: Iterable[str], what_is_wrong: Callable[[str], str | None]) -> str:
    """Return what is wrong with the entries of a list, each with its number; empty if nothing is."""
    found = (
        f"entry {number}: {sentence}"
        for number, entry in enumerate(entries, 1)
        if entry != WILDCARD and (sentence := what_is_wrong(entry))
    )
    told = list(islice(found, _MOST))
    return "; ".join([*told, "and more"] if any(found) else told)
