"""Reads the files that a configuration names, and says in words why one can't be read.

What `stat` says of a file (`stamp`) tells later whether it was changed, or is another one by now.
"""

from pathlib import Path
from typing import Final

from proxy.files import NotAFile, read_bounded

MAX_FILE: Final = 16 * 1024 * 1024  # bytes; all public certificate authorities together are below 1 MB
MAX_SECRET_FILE: Final = 64 * 1024  # bytes; far above any secret, far below what hurts

# Device, inode, size and time of the last change; `None`: there is no such file, or it can't be looked at.
FileStamp = tuple[int, int, int, int] | None


class Unusable(Exception):
    """A value can't be used; the text says why, and never holds the value."""


def stamp(path: Path) -> FileStamp:
    """Return what tells a file from what it is later."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def shown(path: Path) -> str:
    """Return a file's name for a message: on one line, whatever characters are in it."""
    return str(path) if str(path).isprintable() else ascii(str(path))


def read_file(path: Path, max_size: int) -> bytes:
    """Return what is in a file of at most `max_size` bytes. Raises `Unusable`."""
    name = shown(path)
    try:
        content = read_bounded(path, max_size)
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable(f"the file {name} does not exist") from None
    except IsADirectoryError:
        raise Unusable(f"{name} is a directory, not a file") from None
    except PermissionError:
        raise Unusable(f"the file {name} may not be read by the user that runs this") from None
    except NotAFile as error:
        raise Unusable(f"the path {name} {error.strerror}") from None
    except TimeoutError:
        raise Unusable(f"the pipe {name} does not end: whoever writes to it has not closed it") from None
    except (OSError, ValueError):  # ValueError: a NUL in the name, or characters that no file name can have
        raise Unusable(f"the file {name} can't be read") from None
    if len(content) > max_size:
        raise Unusable(f"the file {name} is larger than {max_size} bytes")
    return content


def read_text(path: Path, max_size: int) -> str:
    """Return the text of a file in UTF-8 of at most `max_size` bytes. Raises `Unusable`."""
    try:
        return read_file(path, max_size).decode()
    except UnicodeDecodeError:
        raise Unusable(f"the file {shown(path)} is not UTF-8") from None
