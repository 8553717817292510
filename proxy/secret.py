"""A text that must not be shown.

Everything secret is held in a `Secret`: its `repr`, `str` and `format` say nothing, so that a secret can't slip into a
log line or an error message by accident. Whoever really needs the text asks for it with `reveal()`, which is easy to
search for.
"""

from typing import Final

HIDDEN: Final = "[hidden]"


class Secret:
    """A secret text; equal to another one with the same text, and hashable."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled or copied")
