"""Faults: what replaces an answer, and for how many requests."""

from __future__ import annotations

import asyncio

import pytest

from proxy.simulator import Fault
from proxy.simulator.faults import FaultSlot


@pytest.mark.parametrize(
    ("fault", "status", "body", "content_type"),
    [
        (Fault(status=503), 503, b"", None),
        (Fault(body=b"<html>"), 200, b"<html>", "text/html"),
        (Fault(status=500, body=b"x"), 500, b"x", "text/html"),
    ],
)
def test_a_status_or_a_body_replaces_the_answer(
    fault: Fault, status: int, body: bytes, content_type: str | None
) -> None:
    answer = fault.replacement()
    assert answer is not None
    assert (answer.status, answer.body, answer.content_type) == (status, body, content_type)


def test_a_fault_that_is_only_slow_replaces_nothing() -> None:
    assert Fault(delay=1.0).replacement() is None


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_fault_is_over_after_its_times(times: int) -> None:
    slot = FaultSlot()
    fault = Fault(status=500, times=times)
    slot.set(fault)
    assert [slot.take() for _ in range(times + 1)] == [fault] * times + [None]
    assert slot.current is None


def test_a_fault_without_times_stays_until_cleared() -> None:
    slot = FaultSlot()
    fault = Fault(down=True)
    slot.set(fault)
    assert [slot.take() for _ in range(5)] == [fault] * 5
    slot.set(None)
    assert slot.take() is None


async def test_an_event_holds_the_request_until_it_is_set() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(Fault(delay=event).wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    event.set()
    await waiting


async def test_a_delay_in_seconds_is_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Fault(delay=2.5).wait()
    await Fault().wait()
    assert slept == [2.5]
