"""Faults a simulated platform can be given at run time: slow, wrong, or gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.simulator.calls import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the requests that arrive while it is set.

    `delay`: seconds to wait first, or an event to wait for (so that a test needs no sleep).
    `down`: close the connection without an answer.
    `status`, `body`: answer with these (status 200 when only a body is given) and do nothing else; with neither, the
    platform answers as it would.
    `headers`: added to whichever answer goes out; a `Content-Type` here replaces `text/html` for `body`.
    `times`: over after so many requests; None: until cleared.
    """

    delay: float | asyncio.Event = 0.0
    down: bool = False
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None

    async def wait(self) -> None:
        """Wait as long as `delay` says."""
        if isinstance(self.delay, asyncio.Event):
            await self.delay.wait()
        elif self.delay > 0:
            await asyncio.sleep(self.delay)

    def replacement(self) -> Answer | None:
        """The answer to give instead of the platform's own, if there is one; without the extra headers."""
        if self.status is None and not self.body:
            return None
        return Answer(self.status or 200, self.body, "text/html" if self.body else None)


class FaultSlot:
    """The fault set for one side of a platform, and how many more requests it holds for."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._left: int | None = None

    @property
    def current(self) -> Fault | None:
        """The fault that the next request will meet."""
        return self._fault

    def set(self, fault: Fault | None) -> None:
        """Set `fault`, or clear with None."""
        self._fault = fault if fault is None or fault.times != 0 else None
        self._left = None if fault is None else fault.times

    def take(self) -> Fault | None:
        """The fault for one request that has just arrived."""
        fault = self._fault
        if fault is not None and self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._fault = None
        return fault
