"""HTML or JSON, packed or not: by what the client accepts (RFC 9110 §12.5.1, §12.5.3)."""

import re
from typing import Final

_QUALITY: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def prefers_json(accept: str) -> bool:
    """Tell whether a client with this Accept field would rather have JSON than HTML; `*/*` has no preference."""
    return quality(accept, "application/json") > quality(accept, "text/html")


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a client with this Accept-Encoding field takes gzip."""
    for member in accept_encoding.split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        if name in ("gzip", "x-gzip"):
            return _weight(parameters) > 0
    return False


def quality(accept: str, media_type: str) -> float:
    """Return the quality of a media type, from 0 to 1: that of the most specific range that it is in."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    best, found = len(ranges), 0.0
    for member in accept.split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        if name in ranges[:best]:
            best, found = ranges.index(name), _weight(parameters)
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _QUALITY.fullmatch(value.strip()) else 0.0
    return 1.0
