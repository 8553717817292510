"""Which scope of a platform a call needs, as far as the platform says so: for the log and the status page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_READING: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes that a platform lets an API client have.

    `areas` is by the first segment of the path; an area's name and what is done with it make a scope,
    `product.product:write`. `place` is where somebody allows them.
    """

    areas: Mapping[str, str]
    place: str

    def needed(self, method: str, segment: bytes) -> str:
        """Return the scope that a call needs; empty if the platform does not say."""
        area = self.areas.get(segment.decode("latin-1"))
        return "" if area is None else f"{area}:{'read' if method in _READING else 'write'}"

    def hint(self, method: str, segment: bytes) -> str:
        """Return what helps if a call is not permitted; empty if that is not known."""
        scope = self.needed(method, segment)
        return scope and f"{method} /{segment.decode('latin-1')} needs {scope}: allow it in {self.place}"


def by_segment(areas: Mapping[str, str]) -> dict[str, str]:
    """Return the area of each first segment, from the segments of each area, with spaces between."""
    return {segment: area for area, segments in areas.items() for segment in segments.split()}
