"""What stands under a file's name may be something else: it is read, or refused, and nobody is waited for."""

import errno
import os
import socket
import subprocess
import sys
import threading
import tty
from pathlib import Path

import pytest

from proxy import files
from proxy.files import NotAFile, read_bounded


def test_a_file_is_read_and_no_more_of_it_than_tells_that_it_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")

    assert [read_bounded(tmp_path / "link", size) for size in (3, 5, 9)] == [b"1234", b"12345", b"12345"]


def test_a_fifo_is_refused_with_and_without_a_writer(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for written_to in (False, True):
        writer = os.open(fifo, os.O_RDWR) if written_to else None
        with pytest.raises(NotAFile, match=r"is a named pipe \(FIFO\), not a file"):
            read_bounded(fifo, 10)
        if writer is not None:
            os.close(writer)


def test_devices_sockets_and_directories_are_refused_without_opening_them(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    master, slave = os.openpty()
    tty.setraw(slave)
    refused = {}
    for name in (tmp_path / "socket", Path("/dev/zero"), Path(os.ttyname(slave)), tmp_path):
        with pytest.raises(OSError, match="not a file") as caught:
            read_bounded(name, 10)
        refused[caught.value.filename] = caught.value.strerror
    os.close(master)
    os.close(slave)

    assert list(refused.values()) == [
        "is a socket, not a file",
        "is a device, not a file",
        "is a device, not a file",
        "is a directory, not a file",
    ]


def test_what_becomes_a_fifo_between_the_look_and_the_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opened = tmp_path / "secret", os.open
    file.write_text("secret")

    def too_late(*args: object, **more: object) -> int:
        file.unlink()
        os.mkfifo(file)
        return opened(*args, **more)  # type: ignore[arg-type]  # - whatever it was called with

    monkeypatch.setattr(os, "open", too_late)

    with pytest.raises(NotAFile):
        read_bounded(file, 10)


def test_a_pipe_of_the_start_is_read_to_its_end_as_slowly_as_it_comes() -> None:
    reader, writer = os.pipe()
    go_on = threading.Event()

    def write() -> None:
        os.write(writer, b"first,")
        go_on.wait(10)
        os.write(writer, b"second")
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    threading.Timer(0.02, go_on.set).start()

    assert read_bounded(Path(f"/dev/fd/{reader}"), 100) == b"first,second"
    assert read_bounded(Path(f"/dev/fd/{reader}"), 100) == b""  # it can be read once
    thread.join()
    os.close(reader)


def test_a_pipe_that_does_not_end_is_given_up_and_one_that_holds_too_much_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PIPE_WITHIN", 0.01)
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    with pytest.raises(TimeoutError) as caught:
        read_bounded(Path(f"/proc/self/fd/{reader}"), 100)
    os.write(writer, b"12345")
    content = read_bounded(Path(f"/dev/fd/{reader}"), 3)
    os.close(reader)
    os.close(writer)

    assert caught.value.errno == errno.ETIMEDOUT
    assert content == b"1234"


def test_the_shells_pipes_of_commands_may_be_the_configuration_and_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[shops.demo]\nclient_id = "x"\nclient_secret = { file = "/dev/fd/9" }\n')
    command = """
        exec 9< <(echo s3cret-of-the-shop)
        exec "$0" -m proxy check --offline --config <(cat "$1/config.toml")
    """
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The configuration is valid: 1 shop.")
