"""What `check` finds, a line each, as it is shown."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from proxy.platforms.shop import Shop
from proxy.telemetry.logs import wants_color

_GREEN, _RED, _YELLOW, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_LONGEST_OUTCOME = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step on the way to a shop. `well` is `None` for what is neither well nor a problem."""

    shop: str
    platform: str
    well: bool | None
    outcome: str
    explanation: str


class Lines:
    """Shows findings in columns, as wide as the names of these shops want them."""

    def __init__(self, shops: Sequence[Shop], stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._color = wants_color(stream, environ)
        self._widths = (
            max((len(shop.key) for shop in shops), default=1),
            max((len(shop.platform.name) for shop in shops), default=1),
            len(_LONGEST_OUTCOME),
        )

    def show(self, finding: Finding) -> None:
        """Write what was found, at once."""
        row = (finding.shop, finding.platform, finding.outcome)
        cells = [cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)]
        if self._color:
            paint = {True: _GREEN, False: _RED, None: _YELLOW}[finding.well]
            cells[2] = f"{paint}{cells[2]}{_PLAIN}"
        print("  ".join([*cells, finding.explanation]).rstrip(), file=self._stream, flush=True)
