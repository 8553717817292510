"""What libraries log through `logging` becomes events: once each, and without secrets."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from proxy.secret import HIDDEN
from proxy.telemetry.logs import Level, make_logger, route_library_logs
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter

SECRET = "sEcReT-7b1c\\9/f'2"


@contextmanager
def routed(level: Level = "debug") -> Iterator[list[dict[str, Any]]]:
    """Route the logs within the block, and fill the list at its end with the events.

    Not a fixture: pytest's own handlers, which stumble over bad records, are put aside only if they are there already.
    """
    redactor = Redactor()
    redactor.add(SECRET)
    stream = io.StringIO()
    writer = LogWriter(stream)
    log = make_logger(log_format="json", level="debug", redactor=redactor, writer=writer, clock=lambda: 1_770_000_000)
    undo = route_library_logs(log, level=level)
    events: list[dict[str, Any]] = []
    try:
        yield events
    finally:
        undo()
    events += map(json.loads, stream.getvalue().splitlines())


@pytest.mark.parametrize(
    ("level", "shown"), [(5, "debug"), (10, "debug"), (25, "info"), (30, "warning"), (40, "error"), (99, "critical")]
)
def test_a_librarys_record_is_one_event_without_secrets(level: int, shown: str) -> None:
    with routed() as events:
        logging.getLogger().setLevel(1)
        logging.getLogger("some.library").log(level, "called with %s", SECRET)
    assert events == [
        {
            "timestamp": "2026-02-02T02:40:00.000Z",
            "level": shown,
            "event": "library.logged",
            "logger": "some.library",
            "message": "called with [hidden]",
        }
    ]


def test_a_librarys_exception_and_stack_are_shown() -> None:
    with routed() as events:
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("x").exception("failed", stack_info=True)
    (event,) = events
    assert event["exception"].endswith("ValueError: [hidden]\n")
    assert event["stack"].startswith("Stack (most recent call last):")


def test_a_record_whose_arguments_do_not_fit_is_shown_all_the_same() -> None:
    with routed() as events:
        logging.getLogger("x").warning("%d of %d", SECRET)  # noqa: PLE1206 - that is the point
    (event,) = events
    assert event["message"] == "%d of %d"
    assert event["arguments"] == [HIDDEN]


async def test_an_exception_that_nobody_fetched_from_a_task_is_an_event() -> None:
    async def fail() -> None:
        raise ValueError(f"with {SECRET}")

    with routed() as events:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        gc.collect()
    errors = [event for event in events if event["level"] == "error"]
    assert [event["logger"] for event in errors] == ["asyncio"]
    assert errors[0]["message"].startswith("Task exception was never retrieved")
    assert errors[0]["exception"].endswith("ValueError: with [hidden]\n")
    assert "sEcReT" not in str(events)


def test_routing_puts_other_handlers_aside_and_can_be_undone() -> None:
    root = logging.getLogger()
    other = io.StringIO()
    handler = logging.StreamHandler(other)
    root.addHandler(handler)
    before = root.handlers[:], root.level
    try:
        with routed("warning") as events:
            logging.getLogger("x").warning("one")
            logging.getLogger("x").info("below the level")
        assert (root.handlers, root.level) == before
        logging.getLogger("x").warning("two")
    finally:
        root.removeHandler(handler)
    assert [event["message"] for event in events] == ["one"]
    assert other.getvalue() == "two\n"
