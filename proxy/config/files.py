"""Reads the files that a configuration names, and says in words why one can't be read and what to do.

What `stat` says of a file (`stamp`) tells later whether it was changed, or is another one by now.
"""

import codecs
import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from proxy.files import NotAFile, read_bounded

MAX_FILE: Final = 16 * 1024 * 1024  # bytes; all public certificate authorities together are below 1 MB
MAX_SECRET_FILE: Final = 64 * 1024  # bytes; far above any secret, far below what hurts
# Of a word that nobody made up: short pieces of small letters, capitals or digits, or very many letters.
_PIECE: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_MANY_PIECES: Final = 4
_LONG_WORD: Final = 24  # characters
_PASSWORD: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Z])(?=.*[a-z])[^./]{8,}")

_MANY: Final = 1000  # entries of a directory that are looked at for one with a similar name

VARIABLE_HIDDEN: Final = (
    "the environment variable named here is not set; its name is not shown, since it looks like a secret: the name of a"
    " variable belongs here, not what is in it"
)

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


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that was probably meant, if one is similar enough; letters count in either case."""
    from difflib import get_close_matches  # noqa: PLC0415 - for messages alone

    names = {each.lower(): each for each in known}
    meant = get_close_matches(name.lower(), names, n=1, cutoff=cutoff)
    return names[meant[0]] if meant else None


def is_there(path: Path) -> bool:
    """Tell whether there is something under this name; where that may not be known, whoever reads it will tell."""
    try:
        path.lstat()  # of a link itself: one that leads nowhere is told of, and not passed over
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def read_file(path: Path, max_size: int) -> bytes:
    """Return what is in a file of at most `max_size` bytes. Raises `Unusable`."""
    name = shown(path)
    try:
        content = read_bounded(path, max_size)
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable(_hidden(path) or f"the file {name} does not exist{_perhaps(path)}") from None
    except IsADirectoryError:
        raise Unusable(f"{name} is a directory, not a file: name a file in it") from None
    except PermissionError:
        inside = os.access(path.parent, os.X_OK)
        which = (
            "its owner or its mode"
            if inside
            else f"the owner or the mode of the directory {shown(path.parent.absolute())}"
        )
        raise Unusable(f"the file {name} can't be read by user {os.geteuid()}, who runs this: change {which}") from None
    except NotAFile as error:
        raise Unusable(f"the path {name} {error.strerror}") from None
    except TimeoutError:
        raise Unusable(f"the pipe {name} does not end: the program that writes to it has not closed it") from None
    except OSError as error:
        raise Unusable(_hidden(path) or f"the file {name} can't be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name, or characters that no file name can have
        raise Unusable(_hidden(path) or f"the file {name} can't be read: no file can have such a name") from None
    if len(content) > max_size:
        raise Unusable(f"the file {name} is larger than {max_size} bytes")
    return content


def read_text(path: Path, max_size: int) -> str:
    """Return the text of a file in UTF-8 of at most `max_size` bytes. Raises `Unusable`."""
    content = read_file(path, max_size)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or content.count(0) > len(content) // 3:
        raise Unusable(f"the file {shown(path)} is UTF-16, as some Windows programs write it: save it as UTF-8")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unusable(f"the file {shown(path)} is not UTF-8 (in its line {line}): save it as UTF-8") from None


def looks_like_secret(text: str) -> bool:
    """Tell whether what stands where a name belongs may be the secret itself: no person makes up such a name."""
    if "-----BEGIN" in text or re.search(r"[=+!#^*;&?]", text):
        return True
    for word in re.findall(r"[A-Za-z0-9]{8,}", text):
        pieces = _PIECE.findall(word)
        if len(pieces) >= _MANY_PIECES and len(word) < _MANY_PIECES * len(pieces):
            return True
        if len(word) >= _LONG_WORD and len(set(word)) > _MANY_PIECES and len(pieces) == 1:
            return True
    return False


def _hidden(path: Path) -> str:
    """Return what is said of a file that is not there, if its name may be a secret; empty if it is none.

    Directories that are there are no secrets.
    """
    there = next((parent for parent in path.parents if os.path.isdir(parent)), Path())
    name = str(path.relative_to(there))
    if not looks_like_secret(name) and not _PASSWORD.fullmatch(name):
        return ""
    return (
        f"there is no such file in {shown(there.absolute())}; its name is not shown, since it looks like a secret: the"
        " name of a file belongs here, not what is in it"
    )


def _perhaps(path: Path) -> str:
    """Return where a file was sought that isn't there, and what may be wrong with its name."""
    name = str(path)
    hints = (
        (
            not name.isprintable(),
            ": in double quotes a backslash begins an escape sequence, write / or single quotes",
        ),
        (any(part.endswith(":") and len(part) > 2 for part in path.parts), ": write a path, not a URL"),
        ("~" in path.parts, ": ~ is not replaced by the home directory here, write the full path"),
        ("$" in name or "%" in name, ": variables in a file's name are not replaced"),
        (name.strip() != name, ": its name begins or ends with a space"),
    )
    if hint := next((hint for applies, hint in hints if applies), ""):
        return hint
    if path.is_symlink():
        return f": it is a link to {shown(path.readlink())}, and nothing is there"
    try:
        there = [entry.name for entry in islice(path.parent.iterdir(), _MANY)]
    except (OSError, ValueError):
        return f": there is no directory {shown(path.parent)}"
    if meant := closest(path.name, there, cutoff=0.75):
        return f": did you mean {shown(path.with_name(meant))}?"
    return "" if path.is_absolute() else f" in {shown(Path.cwd())}"
