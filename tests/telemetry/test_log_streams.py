"""How lines get into the stream, and what a stream that fails does to the caller: nothing."""

import io
import os
from contextlib import suppress
from typing import Any

import pytest

from proxy.telemetry.logs import LogFormat, make_logger, wants_color
from proxy.telemetry.metrics import LogMetrics
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return not self.closed or super().isatty()


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (_Terminal(), {}, True),
        (_Terminal(), {"NO_COLOR": "", "TERM": "xterm"}, True),
        (_Terminal(), {"NO_COLOR": "1"}, False),
        (_Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_wanted_on_a_terminal_alone(stream: io.StringIO, environ: dict[str, str], wanted: bool) -> None:
    assert wants_color(stream, environ) is wanted
    stream.close()
    assert wants_color(stream, environ) is False


@pytest.mark.parametrize(
    ("log_format", "encoding", "written"),
    [("json", "ascii", '"x":"é"'.encode()), ("console", "ascii", b"x=\\xe9"), ("console", "latin-1", b"x=\xe9")],
)
def test_a_line_is_in_the_stream_at_once_in_an_encoding_that_can_hold_it(
    log_format: LogFormat, encoding: str, written: bytes
) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    make_logger(log_format=log_format, level="info", redactor=Redactor(), writer=LogWriter(stream)).info("a.b", x="é")
    assert written in raw.getvalue()


def test_each_line_is_one_write() -> None:
    class Raw(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            writes.append(bytes(data))
            return len(data)

    writes: list[bytes] = []
    stream = io.TextIOWrapper(io.BufferedWriter(Raw()))
    logger = make_logger(log_format="json", level="info", redactor=Redactor(), writer=LogWriter(stream))
    logger.info("a.b", x="y" * 1000)
    logger.info("c.d")
    assert [write[-1:] for write in writes] == [b"\n", b"\n"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_stream_that_is_broken_or_closed_costs_the_line_alone(log_format: LogFormat) -> None:
    reader, pipe = os.pipe()
    stream = os.fdopen(pipe, "w")
    with LogWriter(stream) as writer:
        logger = make_logger(log_format=log_format, level="info", redactor=Redactor(), writer=writer)
        os.close(reader)
        logger.info("a.b")
        logger.info("a.b")
        with suppress(BrokenPipeError):
            stream.close()
        logger.info("a.b")
    assert stream.closed
    assert writer.metrics == LogMetrics(written=0, lost=3)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_stream_that_was_closed_from_the_beginning_costs_the_lines_alone(log_format: LogFormat) -> None:
    stream = io.StringIO()
    stream.close()
    with LogWriter(stream) as writer:
        make_logger(log_format=log_format, level="info", redactor=Redactor(), writer=writer).info("a.b")
    assert writer.metrics == LogMetrics(written=0, lost=1)
