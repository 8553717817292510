"""The log: events with dotted past-tense names and fields, one line each, without secrets.

    log = make_logger(log_format="json", level="info", redactor=redactor, stream=sys.stdout)
    log.info("request.forwarded", shop="demo", status=200)

Rules: there is no global logger, whoever logs is handed one; a log call does not raise, whatever its values are, and a
stream that is closed or broken costs the line and nothing else. The name of an event is a constant with no arguments
to format: what varies is a field. Lines are written at once and by the caller: a reader that does not read (a full
pipe) stops the proxy, as it would stop any program that logs to its standard output.
"""

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from proxy.telemetry.redaction import Redactor, put
from proxy.telemetry.rendering import Renderer, console_renderer, json_line

Level = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["json", "console"]
Clock = Callable[[], float]

# A traceback: so many frames of each exception are shown, those nearest to where it was raised; so much of the text is
# searched for secrets; and so much of its beginning and its end is then shown.
_MAX_FRAMES: Final = 30
_MAX_TRACEBACK: Final = 65_536
_SHOWN_FIRST: Final = 4_096
_SHOWN_LAST: Final = 12_288

_LEVELS: Final[tuple[tuple[int, Level], ...]] = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)


def make_logger(
    *,
    log_format: LogFormat,
    level: Level,
    redactor: Redactor,
    stream: TextIO,
    color: bool = False,
    clock: Clock = time.time,
) -> FilteringBoundLogger:
    """Return a logger that writes to `stream`; what is below `level` costs next to nothing."""
    if log_format == "json":
        render: Renderer = json_line
        encoding = "utf-8"
    else:
        render = console_renderer(color=color)
        encoding = getattr(stream, "encoding", None) or "utf-8"
    logger = structlog.wrap_logger(
        _Lines(stream, encoding),
        processors=[_Line(redactor, render, clock)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    )
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
        level = next((name for number, name in _LEVELS if record.levelno >= number), "debug")
        getattr(self._log, level)("library.logged", **fields)


class _Line:
    """The structlog processor that turns an event into a line."""

    def __init__(self, redactor: Redactor, render: Renderer, clock: Clock) -> None:
        self._redactor = redactor
        self._render = render
        self._clock = clock

    def __call__(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        try:
            return self._line(level, event)
        except Exception as error:  # a log line is never worth an error; what may have failed is not touched again
            return self._render({"timestamp": "", "level": level, "event": "log.failed", "why": type(error).__name__})

    def _line(self, level: str, event: MutableMapping[str, Any]) -> str:
        now = datetime.fromtimestamp(self._clock(), UTC)
        exception = _exception(event.pop("exc_info", None))
        line: dict[str, Any] = {
            "timestamp": now.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z",
            "level": level,
            "event": self._redactor.text(event.pop("event", "")),
        }
        for name, value in self._redactor(None, level, event).items():
            put(line, name, value)
        if exception is not None:
            put(line, "exception", self._traceback(exception))
        return self._render(line)

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


class _Lines:
    """Writes each line in one go. structlog calls the method that is named like the level."""

    def __init__(self, stream: TextIO, encoding: str) -> None:
        self._stream = stream
        # Past the text layer, which could refuse characters.
        self._buffer = getattr(stream, "buffer", None)
        self._encoding = encoding

    def write(self, line: str) -> None:
        # OSError: the reader has gone (a broken pipe) or the disk is full. ValueError: the stream is closed.
        with contextlib.suppress(OSError, ValueError):
            if self._buffer is None:
                self._stream.write(line)
            else:
                self._buffer.write(line.encode(self._encoding, "backslashreplace"))
            self._stream.flush()

    debug = info = warning = error = critical = write
