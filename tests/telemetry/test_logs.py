"""Events become lines without secrets, libraries' records too, and a log call does not raise."""

import io
import itertools
import json
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import FilteringBoundLogger

from proxy.secret import HIDDEN
from proxy.telemetry.logs import Level, LogFormat, make_logger
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter

SECRET = "sEcReT-7b1c\\9/f'2"
NOW = 1_770_000_000.123456


@dataclass
class Log:
    """A logger, and what it wrote."""

    logger: FilteringBoundLogger
    redactor: Redactor
    stream: io.StringIO

    def text(self) -> str:
        return self.stream.getvalue()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


def make_log(log_format: LogFormat = "json", level: Level = "debug", secret: str = SECRET) -> Log:
    redactor = Redactor()
    redactor.add(secret)
    stream = io.StringIO()
    writer = LogWriter(stream)
    logger = make_logger(log_format=log_format, level=level, redactor=redactor, writer=writer, clock=lambda: NOW)
    return Log(logger, redactor, stream)


def test_a_json_event_begins_with_time_level_and_name() -> None:
    log = make_log()
    log.logger.bind(request_id="r1").info("request.forwarded", shop="demo", status=200, seconds=0.25, cached=None)
    assert log.text() == (
        '{"timestamp":"2026-02-02T02:40:00.123Z","level":"info","event":"request.forwarded",'
        '"request_id":"r1","shop":"demo","status":200,"seconds":0.25,"cached":null}\n'
    )


def test_a_console_event_is_one_aligned_line() -> None:
    log = make_log("console")
    log.logger.warning("token.refused", shop="demo", hint="no such client")
    assert (
        log.text() == '2026-02-02 02:40:00.123Z  warning   token.refused           shop=demo  hint="no such client"\n'
    )


def test_a_field_does_not_replace_time_or_level() -> None:
    log = make_log()
    log.logger.info("config.read", timestamp="never", level="none")
    assert log.events() == [
        {
            "timestamp": "2026-02-02T02:40:00.123Z",
            "level": "info",
            "event": "config.read",
            "timestamp~3": "never",
            "level~4": "none",
        }
    ]


class Line(msgspec.Struct):
    """A line as a summary has it."""

    timestamp: str
    level: str
    event: str
    path: str
    client: str = "erp"
    status: int | msgspec.UnsetType = msgspec.UNSET


class Told:
    """A summary: a path that others chose, and what is said besides."""

    def __init__(self, path: str, sure: bool = True) -> None:
        self.path, self.sure = path, sure

    def line(self, timestamp: str, level: str, event: str) -> tuple[Line, str | None]:
        return Line(timestamp, level, event, self.path), self.path if self.sure else None


@pytest.mark.parametrize("level", ["info", "warning"])
@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/orders/5", "/orders/5"),
        ("/caf\u00e9 5", "/caf\u00e9 5"),
        (f"/x/{SECRET}/y", f"/x/{HIDDEN}/y"),
        ("/?token=abcdefgh", f"/?token={HIDDEN}"),
        ("/" + "x" * 3000, "/" + "x" * 2047 + "…"),
    ],
)
def test_what_a_summary_says_is_a_line_like_others(path: str, shown: str, sure: bool, level: str) -> None:
    log = make_log()
    getattr(log.logger, level)("request.forwarded", summary=Told(path, sure))
    getattr(log.logger.bind(bound=SECRET), level)("request.forwarded", summary=Told(path, sure), also=1)

    line = {
        "timestamp": "2026-02-02T02:40:00.123Z",
        "level": level,
        "event": "request.forwarded",
        "client": "erp",
        "path": shown,
    }
    assert log.events() == [line, line | {"bound": HIDDEN, "also": 1}]


def test_of_a_level_that_is_not_written_no_summary_is_asked_for() -> None:
    log = make_log(level="warning")
    log.logger.info("request.forwarded", summary=None)
    assert log.text() == ""


@pytest.mark.parametrize(
    ("level", "seen"),
    [("debug", "dcweib"), ("info", "cweib"), ("warning", "cwe"), ("error", "ce"), ("critical", "c")],
)
def test_what_is_below_the_level_is_not_written(level: Level, seen: str) -> None:
    log = make_log(level=level)
    log.logger.debug("d")
    log.logger.info("i")
    log.logger.bind(x=1).info("b")
    log.logger.warning("w")
    log.logger.error("e")
    log.logger.critical("c")
    assert sorted(event["event"] for event in log.events()) == sorted(seen)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_shown_with_cause_and_notes_and_without_secrets(log_format: LogFormat) -> None:
    log = make_log(log_format)
    try:
        try:
            raise ValueError(f"cause {SECRET!r}")
        except ValueError as cause:
            error = RuntimeError(f"message {SECRET}", {"a": [SECRET]})
            error.add_note(f"note {SECRET}")
            raise error from cause
    except RuntimeError:
        log.logger.exception("request.refused", value=sys.exception())
    text = log.text()
    for word in ("cause", "message", "note", "ValueError", "direct cause", "RuntimeError", HIDDEN):
        assert word in text
    assert "sEcReT" not in text


@pytest.mark.parametrize("pick", [lambda error: error, lambda error: (type(error), error, None), lambda _: True])
def test_an_exception_is_taken_in_every_form(pick: Any) -> None:
    log = make_log()
    try:
        raise ValueError("no")
    except ValueError as error:
        log.logger.error("a.b", exc_info=pick(error))
    log.logger.error("a.b", exc_info=True)
    log.logger.error("a.b", exc_info=(None, None, None))
    first, *others = log.events()
    assert first["exception"].endswith("ValueError: no\n")
    assert all("exception" not in event for event in others)


def test_a_long_exception_keeps_its_beginning_and_its_end() -> None:
    log = make_log()
    causes = [ValueError(f"number {number} " + "x" * 1000) for number in range(40)]
    for error, cause in itertools.pairwise(causes):
        error.__cause__ = cause
    log.logger.error("a.b", exc_info=causes[0])
    text = log.events()[0]["exception"]
    assert text.startswith("ValueError: number 39 ")
    assert "number 0 " in text
    assert "\n…\n" in text
    assert len(text) < 17_000


def test_of_a_deep_traceback_the_innermost_frames_are_shown() -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError("no")
        climb(depth)

    def climb(depth: int) -> None:
        sink(depth - 1)

    log = make_log()
    try:
        sink(40)
    except ValueError:
        log.logger.exception("a.b")
    text = log.events()[0]["exception"]
    assert text.count('  File "') == 30
    assert 'raise ValueError("no")' in text


class _NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __getattribute__(self, name: str) -> Any:
        if name == "__notes__":
            raise RuntimeError("no")
        return super().__getattribute__(name)


_KEYS = st.one_of(st.text(st.characters()), st.integers(), st.binary(), st.none())
_ANYTHING = st.recursive(
    st.one_of(
        _KEYS,
        st.floats(),
        st.datetimes(),
        st.builds(_NoText),
        st.just(5000).map(lambda digits: 10**digits),
        st.sampled_from([object(), ValueError, "\ud800", True, 1j, sys, Redactor]),
    ),
    lambda values: st.lists(values, max_size=3) | st.tuples(values) | st.dictionaries(_KEYS, values, max_size=3),
    max_leaves=5,
)


@given(
    fields=st.dictionaries(st.text(st.characters()), _ANYTHING, max_size=4),
    event=_ANYTHING,
    log_format=st.sampled_from(["json", "console"]),
)
def test_a_log_call_never_raises_and_writes_one_line(fields: dict[str, Any], event: Any, log_format: LogFormat) -> None:
    fields = {name: value for name, value in fields.items() if name not in {"event", "self", "exc_info", "exception"}}
    log = make_log(log_format)
    log.logger.info(event, **fields)
    assert log.text().endswith("\n")
    assert len(log.text().splitlines()) == 1


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_without_text_is_still_logged(log_format: LogFormat) -> None:
    log = make_log(log_format)
    log.logger.error("a.b", exc_info=_NoText())
    assert "_NoText" in log.text()


def test_a_fault_of_our_own_is_a_line_and_not_an_error() -> None:
    stream = io.StringIO()
    logger = make_logger(
        log_format="json", level="info", redactor=Redactor(), writer=LogWriter(stream), clock=lambda: float("nan")
    )
    logger.info("a.b", x=1)
    assert json.loads(stream.getvalue()) == {
        "timestamp": "",
        "level": "info",
        "event": "log.failed",
        "why": "ValueError",
    }


# No backslash in it and no quote: what is written then holds the secret as it is, if it holds it.
_VISIBLE = st.text(st.characters(categories=["L", "N", "S"], exclude_characters="`^$+<>|=~"), min_size=4)


_PRINTABLE = st.text(st.characters(categories=["L", "P", "Zs"]))


@given(
    secret=_VISIBLE,
    # Without what is written as an escape, which might happen to be the secret.
    around=st.tuples(_PRINTABLE, _PRINTABLE),
    log_format=st.sampled_from(["json", "console"]),
)
def test_no_line_has_a_secret_in_it_wherever_it_was(
    secret: str, around: tuple[str, str], log_format: LogFormat
) -> None:
    log = make_log(log_format, secret=secret)
    text = secret.join(around)
    name = text + "!"  # else it could be like a name of ours, and these are not searched
    try:
        raise ValueError(text)
    except ValueError:
        log.logger.exception(name, **{name: 1}, value=text, nested=[{text: (text, {"a": text.encode()})}])
    fields_of_ours = ("timestamp", "level", "event", "value", "nested", "exception", "error")
    line = log.text()
    if not any(secret in ours for ours in (*fields_of_ours, "2026-02-02T02:40:00.123Z")):
        assert all(secret not in part for part in _without_traceback(line).split(HIDDEN))


def _without_traceback(line: str) -> str:
    # The frames name this file and its code; what is tested of the exception is its message, at the end.
    before, _, exception = line.partition("Traceback")
    return before + exception.rpartition("ValueError: ")[2]
