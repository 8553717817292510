"""`platforms.NAME.scopes`: which scope a call needs, by the first segment of its path and its method. Pure.

scopes = { orders = { GET = "orders:read", "*" = "orders:write" }, reports = "reports" }
"""

import re
from typing import Final

from proxy.config.files import Unusable
from proxy.config.problems import Problems
from proxy.platforms.scopes import ANY_METHOD, Scopes

# RFC 6749 §3.3 says what a scope may be made of; RFC 3986 §3.3 what a segment may, which stands here as on the wire.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
_METHOD: Final = re.compile(r"[A-Z]+|\*")


def read_scopes(value: object, expected: str) -> Scopes:
    """Return the scopes that stand in the file. Raises `Unusable`; `expected` says what the setting must be."""
    if not isinstance(value, dict):
        raise Unusable(expected)
    return Scopes({segment: _by_method(segment, needed, expected) for segment, needed in value.items()})


def _by_method(segment: str, needed: object, expected: str) -> dict[str, str]:
    shown = Problems().name((segment,))
    if _SEGMENT.fullmatch(segment) is None:
        raise Unusable(f"{expected}; {shown} is not the first segment of a path, without slashes")
    made = {}
    for method, scope in (needed if isinstance(needed, dict) else {ANY_METHOD: needed}).items():
        if _METHOD.fullmatch(method) is None:
            named = Problems().name((method,))
            raise Unusable(f'{expected}; {named}, of {shown}, is not a method in capitals, such as GET, or "*"')
        if not isinstance(scope, str) or _SCOPE.fullmatch(scope) is None:
            raise Unusable(f"{expected}; the value of {shown} is not a scope")
        made[method] = scope
    return made
