"""Which scope of a platform a call needs, as far as the platform says so: for the log and the status page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ANY_METHOD: Final = "*"


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes that a platform lets an API client have.

    `needed_for` is by the first segment of the path, then by method: `HEAD` counts as `GET`, `ANY_METHOD` is for all
    that are not named. `place` is where somebody allows them.
    """

    needed_for: Mapping[str, Mapping[str, str]]
    place: str = "the settings of the API client"

    def needed(self, method: str, segment: bytes) -> str:
        """Return the scope that a call needs; empty if the platform does not say."""
        by_method = self.needed_for.get(segment.decode("latin-1"), {})
        return by_method.get("GET" if method == "HEAD" else method) or by_method.get(ANY_METHOD, "")

    def hint(self, method: str, segment: bytes) -> str:
        """Return what helps if a call is not permitted; empty if that is not known."""
        scope = self.needed(method, segment)
        return scope and f"{method} /{segment.decode('latin-1')} needs {scope}: allow it in {self.place}"


def by_segment(areas: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return what each first segment needs, from the segments of each area, with spaces between.

    An area's name and what is done with it make a scope, `product.product:write`.
    """
    needed: dict[str, Mapping[str, str]] = {}
    for area, segments in areas.items():
        by_method = {"GET": f"{area}:read", ANY_METHOD: f"{area}:write"}
        needed |= dict.fromkeys(segments.split(), by_method)
    return needed
