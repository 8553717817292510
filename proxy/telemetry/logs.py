"""The log: events with dotted past-tense names and fields, one line each, without secrets.

    with LogWriter(sys.stdout) as writer:
        log = make_logger(log_format="json", level="info", redactor=redactor, writer=writer)
        log.info("request.forwarded", shop="demo", status=200)

Rules: there is no global logger, whoever logs is handed one; a log call does not raise, whatever its values are, and
never waits for who reads the log (`writing`). The name of an event is a constant with no arguments to format: what
varies is a field. structlog is the facade; what happens behind it for a line is one function, `_Lines.write`.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TextIO, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from proxy.telemetry.redaction import Redactor
from proxy.telemetry.rendering import Renderer, console_renderer, json_line
from proxy.telemetry.values import put
from proxy.telemetry.writing import LogWriter

Level = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["json", "console"]
Clock = Callable[[], float]

# Events of these levels are written at once: the process may be about to end.
_HURRY: Final = frozenset({"error", "critical"})

# A traceback: so many frames of each exception are shown, those nearest to where it was raised; so much of the text is
# searched for secrets; and so much of its beginning and its end is then shown.
_MAX_FRAMES: Final = 30
_MAX_TRACEBACK: Final = 65_536
_SHOWN_FIRST: Final = 4_096
_SHOWN_LAST: Final = 12_288

_BEGINNING: Final = ("timestamp", "level", "event")  # of each line

_LEVELS: Final[tuple[tuple[int, Level], ...]] = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
    (0, "debug"),
)


class Summary(Protocol):
    """What a line says, told when it is made: `log.info("request.forwarded", summary=summary)`.

    It does not change, and no other field is called so.
    """

    def line(self, timestamp: str, level: str, event: str) -> tuple[msgspec.Struct, str | None]:
        """Return the line, which begins with these, and in one text what of it others chose.

        `None` for that, if it is not sure: then all of it is searched for secrets.
        """


def told(line: msgspec.Struct) -> dict[str, Any]:
    """Return what a line says."""
    return {name: value for name, value in msgspec.structs.asdict(line).items() if value is not msgspec.UNSET}


def make_logger(
    *,
    log_format: LogFormat,
    level: Level,
    redactor: Redactor,
    writer: LogWriter,
    color: bool = False,
    clock: Clock = time.time,
) -> FilteringBoundLogger:
    """Return a logger whose lines go to `writer`; what is below `level` costs next to nothing."""
    render = json_line if log_format == "json" else console_renderer(color=color, encoding=writer.encoding)
    lines = _Lines(redactor, render, writer, clock)
    writer.tell_lost = lambda count: lines.line(clock(), "warning", "log.lost", {"lines": count})
    logger = structlog.wrap_logger(lines, processors=[], wrapper_class=_logger_class(level), context_class=dict)
    return cast("FilteringBoundLogger", logger.bind())


def wants_color(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether colours are welcome: on a terminal that knows them, unless `NO_COLOR` is set (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def route_library_logs(log: FilteringBoundLogger, *, level: Level) -> Callable[[], None]:
    """Make what libraries log through `logging` events of `log`, and nothing else; return what undoes it.

    Other handlers of the root logger are put aside: they would write it a second time, secrets included.
    """
    root = logging.getLogger()
    handlers_before, level_before = root.handlers[:], root.level
    root.handlers[:] = [_LibraryHandler(log)]
    root.setLevel(level.upper())

    def undo() -> None:
        root.handlers[:] = handlers_before
        root.setLevel(level_before)

    return undo


class _LibraryHandler(logging.Handler):
    """Logs each record as the event `library.logged`."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        try:
            fields["message"] = record.getMessage()
        except Exception:  # the arguments don't fit the message, or one can't be shown
            fields |= {"message": record.msg, "arguments": record.args}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        if record.stack_info:
            fields["stack"] = record.stack_info
        level = next(name for number, name in _LEVELS if record.levelno >= number)
        getattr(self._log, level)("library.logged", **fields)


def _logger_class(threshold: Level) -> type[structlog.BoundLoggerBase]:
    """Return the class of loggers that let pass what is at least of this level."""

    class Logger(structlog.BoundLoggerBase):
        def exception(self: Any, event: object, /, **fields: Any) -> None:
            self.error(event, **{"exc_info": True, **fields})

    passes = True
    for _, level in _LEVELS:
        setattr(Logger, level, _method(level) if passes else _nothing)
        passes = passes and level != threshold
    return Logger


def _method(level: Level) -> Callable[..., None]:
    def write(self: Any, event: object, /, **fields: Any) -> None:
        self._logger.write(level, event, self._context, fields)

    return write


def _nothing(_self: object, _event: object, /, **_fields: object) -> None: ...


class _Lines:
    """Makes an event a line, and has it written."""

    def __init__(self, redactor: Redactor, render: Renderer, writer: LogWriter, clock: Clock) -> None:
        self._redactor = redactor
        self._render = render
        self._writer = writer
        self._clock = clock
        # Times in milliseconds and in seconds, as they were shown last.
        self._now = self._second = (0, "")

    def write(self, level: Level, event: object, context: dict[str, Any], fields: dict[str, Any]) -> None:
        """Write one event; `fields` may be changed."""
        if context:
            fields = {**context, **fields}
        if level == "info" and "exc_info" not in fields:
            self._writer.write_later(partial(self.line, self._clock(), level, event, fields))
        else:
            self._writer.write(self.line(self._clock(), level, event, fields), level in _HURRY)

    def line(self, now: float, level: Level, event: object, fields: dict[str, Any]) -> bytes:
        """Return the line of one event; `now` is the time of day, in seconds."""
        try:
            if "summary" in fields:
                return self._summed_up(now, level, event, **fields)
            exception = _exception(fields.pop("exc_info")) if "exc_info" in fields else None
            line = {"timestamp": self._timestamp(now), "level": level, "event": self._redactor.name(event)}
            self._redactor.fields(fields, line)
            if exception is not None:
                put(line, "exception", self._traceback(exception))
            return self._render(line)
        except Exception as error:  # a log line is never worth an error; what may have failed is not touched again
            return self._render({"timestamp": "", "level": level, "event": "log.failed", "why": type(error).__name__})

    def _summed_up(self, now: float, level: Level, event: Any, /, *, summary: Summary, **fields: Any) -> bytes:
        line, chosen = summary.line(self._timestamp(now), level, event)
        if self._render is json_line and not fields and chosen is not None and self._redactor.is_harmless(chosen):
            return json_line(line)
        said = told(line)
        for name in _BEGINNING:
            del said[name]
        return self.line(now, level, event, fields | said)

    def _timestamp(self, time_of_day: float) -> str:
        now = int(time_of_day * 1000)
        shown_at, shown = self._now
        if now != shown_at:
            second, millisecond = divmod(now, 1000)
            shown_at, beginning = self._second
            if second != shown_at:
                beginning = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                self._second = (second, beginning)
            shown = f"{beginning}.{millisecond:03d}Z"
            self._now = (now, shown)
        return shown

    def _traceback(self, exception: BaseException) -> str:
        try:
            lines = traceback.format_exception(exception, limit=-_MAX_FRAMES)
        except Exception:  # the exception's own code was run
            lines = [type(exception).__name__]
        text = self._redactor.redact("".join(lines), _MAX_TRACEBACK)
        if len(text) > _SHOWN_FIRST + _SHOWN_LAST:
            text = f"{text[:_SHOWN_FIRST]}\n…\n{text[-_SHOWN_LAST:]}"
        return text


def _exception(exc_info: object) -> BaseException | None:
    """Return the exception meant by `exc_info`, in all the ways `logging` and structlog take it."""
    match exc_info:
        case BaseException():
            return exc_info
        case (type(), BaseException() as exception, TracebackType() | None):
            return exception
        case None | False | (None, None, None):
            return None
        case _:
            return sys.exception()
