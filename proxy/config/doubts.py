"""What is allowed, but is probably not meant: credentials in a form that no platform gives them out in.

Rules: told by their shape, and never shown. A doubt stops nothing, since any characters may be a secret.
"""

import re
from collections.abc import Iterator
from typing import Final

from proxy.platforms.shop import Shops

_NOT_REPLACED: Final = "looks like a variable or a command, which is not replaced"
_EXAMPLES: Final = frozenset({"0123456789abcdef", "fedcba9876543210"})  # of the example file and the guides

# The first that fits is told.
_OF_ANY: Final = (
    (r"(?P<quote>[\"'`]).*(?P=quote)|[“”„«»‘’].*", "has quotes around it, which would be part of it"),  # noqa: RUF001 - meant so
    (r"\s.*|.*\s", "begins or ends with a space, which would be part of it"),
    (
        r"<[^<>]*>|(?i:(?:change|replace|fill)[-_ ]?(?:me|this|in|with.*)|(?:insert|enter|put|your)[-_ ].*|todo|example"
        r"|dummy|secret|password|client[-_ ]?(?:id|secret))|(.)\1{2,}|…",
        "is a placeholder",
    ),
    (r"\s*<.*>\s*", "looks like HTML or XML"),
    (
        r"\$\{?\w+\}?|%\w+%|\{\{.*\}\}|\$\(.*\)|(?i:env):\w+|os\.environ.*|getenv.*",
        _NOT_REPLACED,
    ),
    (
        r"(?i:(?:bearer|basic|token)\s+\S.*)",
        "begins with the name of an HTTP authentication scheme, which is not part of it",
    ),
    (r"-----BEGIN .*", "is a certificate or key in PEM form"),
    (r"(?i:https?://\S*)", "is a URL"),
    (r"[{\[].*[}\]]", "looks like JSON: write only the value that is in there"),
    (
        r"(?i:(?:export\s+)?[a-z_.-]*(?:secret|password|passwd|token|client|api|key|id|user)[a-z_.-]*\s*[=:]\s*\S.*)",
        "looks like an assignment: write only what comes after the = or :",
    ),
    (
        r"eyJ[\w-]+\.[\w-]+\.[\w-]*",
        "looks like an access token: client id and secret are needed, the proxy gets tokens itself",
    ),
    (r"[\x21-\x7e]*\s.*", "has a space in it"),
    (r".*[^\x00-\x7f].*", "contains characters that are not ASCII"),
)
_OF_SECRET: Final = (
    (
        r"(?:\.{0,2}|~)/[\w.-]+(?:/[\w.-]+)+|\.{1,2}/[\w.-]+|[A-Za-z]:\\.*|[\w-]+\.(?:secret|txt|pem|key)|@.*|file:.*",
        'looks like the name of a file: if it is one, write { file = "…" } instead',
    ),
    (r".{1,7}", "is very short: is that all of it?"),
)
_OF_ID: Final = ((r"[^@\s]+@[^@\s]+\.[^@\s]+", "looks like an e-mail address: an API client has an id of its own"),)


def about_secret(secret: str, client_id: str) -> str:
    """Return what is doubtful about a client secret, the rest of a sentence; empty if nothing is."""
    if secret == client_id:
        return "is the same as client_id"
    if client_id and secret.startswith(f"{client_id}:"):
        return "has the client_id before it: write only what comes after the colon"
    found = _first_that_fits((*_OF_ANY, *_OF_SECRET), secret)
    return f'{found}: write {{ env = "NAME" }} instead' if found == _NOT_REPLACED else found


def about_id(client_id: str) -> str:
    """Return the same about a client id."""
    return "is the one from the example" if client_id in _EXAMPLES else _first_that_fits((*_OF_ANY, *_OF_ID), client_id)


def doubts(shops: Shops) -> Iterator[str]:
    """Yield a sentence for each client id and secret of the configuration that is probably not what it should be."""
    entries = [(shop.entry, shop.credentials) for shop in shops.named.values()]
    if shops.wildcard is not None:
        entries.append(('"*"', shops.wildcard[1]))
    for entry, credentials in entries:
        secret = credentials.client_secret.reveal()
        if found := about_id(credentials.client_id):
            yield f"shops.{entry}.client_id: {found}"
        if found := about_secret(secret, credentials.client_id):
            yield f"shops.{entry}.client_secret: {found}"


def _first_that_fits(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((sentence for pattern, sentence in table if re.fullmatch(pattern, text, re.DOTALL)), "")
