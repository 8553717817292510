"""Lines get into the stream whole and in order, and a stream that takes none holds nobody up."""

import errno
import fcntl
import io
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest

from proxy.telemetry.logs import make_logger
from proxy.telemetry.metrics import LogMetrics
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe: the end to read from, and the stream to write to."""
    reader, writer = os.pipe()
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as stream:
        yield reader, stream
    with suppress(OSError):
        os.close(reader)


def read_until(reader: int, end: bytes) -> bytes:
    """What can be read, up to these bytes."""
    read = b""
    while not read.endswith(end):
        read += os.read(reader, 1 << 20)
    return read


def lines(numbers: range) -> list[bytes]:
    return [b"line %d, %s\n" % (number, b"x" * (number % 300)) for number in numbers]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "log"]


def test_lines_are_written_in_order_and_the_thread_ends_with_the_writer() -> None:
    with pipe() as (reader, stream):
        with LogWriter(stream) as writer:
            sent = lines(range(100))
            for line in sent:
                writer.write(line)
            assert read_until(reader, sent[-1]) == b"".join(sent)
            assert len(threads()) == 1
        assert threads() == []
        assert writer.metrics == LogMetrics(written=100, lost=0)


def test_the_end_writes_what_has_gathered(tmp_path: Path) -> None:
    sent = lines(range(20_000))
    with (tmp_path / "log").open("w") as stream, LogWriter(stream) as writer:
        for line in sent:
            writer.write(line)
    assert (tmp_path / "log").read_bytes() == b"".join(sent)
    assert writer.metrics == LogMetrics(written=len(sent), lost=0)


def test_a_reader_that_does_not_read_holds_nobody_up_and_is_told_where_how_many_are_missing() -> None:
    sent = lines(range(10_000))
    with pipe() as (reader, stream), LogWriter(stream, max_unwritten=100_000) as writer:
        writer.tell_lost = lambda count: b"%d are missing\n" % count
        for line in sent:
            writer.write(line)
        lost = writer.metrics.lost
        assert lost > 5_000
        place = told = 0
        with os.fdopen(os.dup(reader), "rb") as log:
            while place < len(sent):
                line = log.readline()
                missing = int(line.split()[0]) if line.endswith(b"missing\n") else 0
                assert missing or line == sent[place]
                place += missing or 1
                told += missing
            writer.write(b"and on it goes\n")
            assert log.readline() == b"and on it goes\n"
    assert told == writer.metrics.lost == lost


def test_the_end_waits_for_a_reader_that_is_late() -> None:
    with pipe() as (reader, stream):
        sent = lines(range(2_000))
        read: list[bytes] = []

        def read_late() -> None:
            until_closing.wait()
            read.append(read_until(reader, sent[-1]))

        until_closing = threading.Event()
        thread = threading.Thread(target=read_late)
        thread.start()
        with LogWriter(stream) as writer:
            for line in sent:
                writer.write(line)
            until_closing.set()
        thread.join()
    assert read == [b"".join(sent)]
    assert writer.metrics == LogMetrics(written=2_000, lost=0)


def test_the_end_does_not_wait_for_ever_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.writing._END_WAITS_FOR", 0.05)
    with pipe() as (reader, stream):
        sent = lines(range(2_000))
        with LogWriter(stream) as writer:
            for line in sent:
                writer.write(line)
        os.set_blocking(reader, False)
        read = os.read(reader, 1 << 20)
        assert threads() == []
        assert writer.metrics == LogMetrics(written=read.count(b"\n"), lost=2_000 - read.count(b"\n"))
        assert b"".join(sent).startswith(read)
        assert read.endswith(b"\n")
        writer.write(b"too late\n")
        writer.close()
        assert writer.metrics.lost == 2_001 - read.count(b"\n")


def test_lines_longer_than_a_pipe_takes_at_once_are_whole() -> None:
    sizes = {b"a": 9_000, b"b": 5, b"c": 4_095, b"d": 4_096, b"e": 100_000, b"f": 1}
    sent = [letter * size + b"\n" for letter, size in sizes.items()]
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        for line in sent:
            writer.write(line)
        assert read_until(reader, sent[-1]) == b"".join(sent)


def test_two_writers_to_one_pipe_do_not_mix_their_lines() -> None:
    with pipe() as (reader, stream), LogWriter(stream) as one, LogWriter(stream) as other:
        for number in range(5_000):
            one.write(b"1" * (number % 500) + b"\n")
            other.write(b"2" * (number % 500) + b"\n")
        read = b""
        while read.count(b"\n") < 10_000:
            read += os.read(reader, 1 << 20)
    assert all(len(set(line)) <= 1 for line in read.split(b"\n"))


def test_what_the_disk_had_no_room_for_is_written_once_it_has() -> None:
    sent = lines(range(10))
    with Path("/dev/full").open("w") as full, pipe() as (reader, stream), LogWriter(full) as writer:
        for line in sent:
            writer.write(line)
        while not writer._taken:
            time.sleep(0.001)
        assert writer._file is not None
        os.dup2(stream.fileno(), writer._file)  # now it has
        writer.write(b"an error\n", True)
        assert read_until(reader, b"an error\n") == b"".join(sent) + b"an error\n"
    assert writer.metrics == LogMetrics(written=11, lost=0)


def test_a_line_of_which_the_disk_took_a_part_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    took: list[int] = []

    def write_some(file: int, data: memoryview) -> int:
        took.append(len(data))
        if len(took) % 2:
            raise OSError(errno.ENOSPC, "")
        return write(file, data[:7])

    write = os.write
    monkeypatch.setattr(os, "write", write_some)
    monkeypatch.setattr("proxy.telemetry.writing._TRIED_AGAIN_AFTER", 0.0)
    sent = lines(range(50))
    with (tmp_path / "log").open("w") as stream, LogWriter(stream) as writer:
        for line in sent:
            writer.write(line)
        while writer.metrics.written < len(sent):
            time.sleep(0.001)
    assert (tmp_path / "log").read_bytes() == b"".join(sent)
    assert writer.metrics == LogMetrics(written=50, lost=0)


def test_a_full_disk_costs_the_lines_alone() -> None:
    with Path("/dev/full").open("w") as full, LogWriter(full, max_unwritten=1_000) as writer:
        for line in lines(range(100)):
            writer.write(line)
    assert writer.metrics == LogMetrics(written=0, lost=100)
    assert threads() == []


def test_a_reader_that_has_gone_costs_the_lines_alone() -> None:
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        os.close(reader)
        for line in lines(range(100)):
            writer.write(line)
    assert writer.metrics == LogMetrics(written=0, lost=100)


def test_without_a_thread_the_lines_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pipe() as (reader, stream), LogWriter(stream) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            writer.write(b"one\n")
        writer.write(b"two\n")
        assert read_until(reader, b"two\n") == b"one\ntwo\n"


def test_a_stream_that_was_closed_costs_the_lines_alone() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    with LogWriter(stream) as writer:
        writer.write(b"one\n")
        stream.close()
        writer.write(b"two\n")
    assert writer.metrics == LogMetrics(written=1, lost=1)


def test_the_file_stays_ours_when_the_stream_is_closed_and_its_number_is_taken(tmp_path: Path) -> None:
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        number = stream.fileno()
        stream.close()
        with (tmp_path / "other").open("w") as other:
            assert other.fileno() == number
            writer.write(b"a line\n")
            assert read_until(reader, b"a line\n") == b"a line\n"
        assert (tmp_path / "other").read_bytes() == b""


def test_the_pipe_is_not_made_non_blocking_for_who_shares_it() -> None:
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        writer.write(b"a line\n")
        read_until(reader, b"a line\n")
        assert not fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK


def test_errors_do_not_wait_for_others_to_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.writing._GATHERED_FOR", 3_600.0)
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        log = make_logger(log_format="json", level="info", redactor=Redactor(), writer=writer)
        log.info("a.first")
        read_until(reader, b"}\n")
        log.info("a.second")
        log.error("a.third")
        assert read_until(reader, b'"a.third"}\n').count(b"\n") == 2


def test_somebody_may_log_while_he_logs() -> None:
    """As a finalizer does that the garbage collector runs, at any place."""
    with pipe() as (reader, stream), LogWriter(stream, max_unwritten=1_000) as writer:

        def tell_lost(count: int) -> bytes:
            writer.write(b"told\n", True)
            return b"%d lost\n" % count

        writer.tell_lost = tell_lost
        writer.write(b"x" * 1_000 + b"\n")  # too long
        assert read_until(reader, b"lost\n") == b"told\n1 lost\n"


def test_threads_that_log_first_at_the_same_moment_start_one_that_writes() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(20):
            with pipe() as (reader, stream), LogWriter(stream) as writer:
                together = threading.Barrier(3)

                def write(letter: bytes, writer: LogWriter = writer, together: threading.Barrier = together) -> None:
                    together.wait()
                    writer.write(letter * 50 + b"\n")

                first = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
                for thread in first:
                    thread.start()
                for thread in first:
                    thread.join()
                assert len(threads()) == 1
                writer.close()
                assert os.read(reader, 1 << 16).count(b"\n") == 3
    finally:
        sys.setswitchinterval(interval)


def test_each_thread_may_log() -> None:
    with pipe() as (reader, stream), LogWriter(stream) as writer:

        def write(letter: bytes) -> None:
            for _ in range(1_000):
                writer.write(letter * 50 + b"\n")

        writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
        for thread in writers:
            thread.start()
        read = b""
        while read.count(b"\n") < 3_000:
            read += os.read(reader, 1 << 20)
        for thread in writers:
            thread.join()
    assert {bytes(set(line)) for line in read.split(b"\n")} == {b"a", b"b", b"c", b""}


def test_lines_that_come_after_the_end_are_lost_and_counted() -> None:
    with pipe() as (_, stream):
        with LogWriter(stream) as writer:
            pass
        for _ in range(3):
            writer.write_later(lambda: b"late\n")
        assert (writer.metrics.written, writer.metrics.lost) == (0, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_that_is_forked_off_writes_too() -> None:
    with pipe() as (reader, stream), LogWriter(stream) as writer:
        writer.write(b"parent\n")
        read_until(reader, b"parent\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and newer Pythons mind
            child = os.fork()
        if child == 0:
            try:
                writer.write(b"child\n")
                writer.close()
            finally:
                os._exit(0)
        assert read_until(reader, b"child\n") == b"child\n"
        os.waitpid(child, 0)
