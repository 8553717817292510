"""`init`: asks for a shop's API client, writes the configuration and a file with the secret, and checks both.

Rules: nothing is overwritten. The secret is neither an argument, which a shell's history and a list of processes show,
nor echoed; its file is readable for its owner alone from the moment that it exists. What options don't answer is asked
at the terminal, before the event loop runs, so that Ctrl-C ends it; without a terminal, the secret is on stdin.
"""

import json
import os
import sys
from collections.abc import Callable, Coroutine
from getpass import getpass
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.commands.check import check
from proxy.commands.common import complain
from proxy.config.environment import CONFIG
from proxy.config.files import MAX_SECRET_FILE, Unusable, read_text, shown
from proxy.config.loading import BUILT_IN
from proxy.config.location import DEFAULT
from proxy.config.misplaced import about_shop_name, shop_name_in
from proxy.config.problems import unknown
from proxy.config.values import not_clean
from proxy.platforms.platform import is_shop_name
from proxy.platforms.shoprenter import SHOPRENTER

_TEXT: Final = """\
# docs/settings.md has every setting; "shop-auth-proxy check" tells whether this works, "shop-auth-proxy serve" runs it.

[shops.{shop}]    # called at http://localhost:8080/{shop}/
platform = "{platform}"
client_id = {client_id}
client_secret = {{ file = {file} }}
"""


class Answers(NamedTuple):
    """What the options answer; `None` is to be asked."""

    platform: str | None
    shop: str | None
    client_id: str | None
    secret_file: Path | None


class _Refused(Exception):
    """Nothing is written; the text says why."""


def init(answers: Answers, named: Path | None, *, offline: bool) -> Coroutine[Any, Any, int]:
    """Write the files, and return what is left to do: the check."""
    path = named or Path(os.environ.get(CONFIG) or DEFAULT)
    try:
        shop, written = _write(answers, path)
    except (_Refused, Unusable) as error:
        complain(str(error))
        return _ended(2)
    except PermissionError as error:  # of looking whether it is there
        complain(f"{shown(Path(error.filename))} can't be written: {error.strerror}")
        return _ended(2)
    except EOFError:
        complain("there was no answer; nothing was written")
        return _ended(2)
    print(f"Written: {', '.join(written)}.\n", flush=True)
    return _check(path, shop, named, offline=offline)


async def _ended(status: int) -> int:
    return status


async def _check(path: Path, shop: str, named: Path | None, *, offline: bool) -> int:
    status = await check(path, offline=offline)
    file = f" --config {shown(path)}" if named else ""
    if status or offline:
        what = "To try it" if offline else "When that is fixed"
        print(f"\n{what}: shop-auth-proxy check{file}")
        print(f"Then give your application: http://localhost:8080/{shop}/")
    print(f"Run it: shop-auth-proxy serve{file}")
    return status


def _write(answers: Answers, path: Path) -> tuple[str, list[str]]:
    """Write the files; return the shop's name and what was written. Raises `_Refused`, `Unusable`, `EOFError`."""
    if path.exists() or path.is_symlink():
        raise _Refused(
            f"{shown(path)} exists, and init overwrites nothing: add the shop to it, or name another file with --config"
        )
    if not path.parent.is_dir():
        raise _Refused(f"there is no directory {shown(path.parent)}: create it first")
    ask = input if sys.stdin.isatty() else None
    if ask is None and (missing := _missing(answers)):
        raise _Refused(f"without a terminal, {' and '.join(missing)} must be given")
    platform = _answer(answers.platform, ask, f"Platform ({', '.join(BUILT_IN)}) [{SHOPRENTER.name}]: ", _platform)
    of_shoprenter = platform == SHOPRENTER.name
    hint = "demo of demo.myshoprenter.hu, not the shop's own domain" if of_shoprenter else "the name to call it by here"
    shop = _answer(answers.shop, ask, f"Shop's name ({hint}): ", _shop)
    secret_file = answers.secret_file or path.parent / f"{shop}.secret"
    if answers.secret_file is None and (secret_file.exists() or secret_file.is_symlink()):
        raise _Refused(
            f"{shown(secret_file)} exists, and init overwrites nothing: remove it, or use it with --client-secret-file"
        )
    client_id = _answer(answers.client_id, ask, f"Client id ({BUILT_IN[platform].credentials_place}): ", _client_id)
    written = []
    if answers.secret_file is None:
        secret = (
            _from_terminal() if ask else _clean(sys.stdin.read(MAX_SECRET_FILE + 1), "the secret on standard input")
        )
        _create(secret_file, f"{secret}\n", 0o600)
        written.append(f"{shown(secret_file)} (which only you can read)")
    else:
        _clean(read_text(secret_file, MAX_SECRET_FILE), shown(secret_file))
    try:
        named = _quoted(_name_from(path.parent, secret_file))
        _create(path, _TEXT.format(shop=shop, platform=platform, client_id=_quoted(client_id), file=named), 0o644)
    except _Refused:
        if written:
            secret_file.unlink()
        raise
    return shop, [shown(path), *written]


def _name_from(directory: Path, file: Path) -> str:
    """Return the name of a file as it is written into a configuration in that directory."""
    name = os.path.relpath(file, directory)
    return str(file.absolute()) if name.startswith("..") else name


def _missing(answers: Answers) -> list[str]:
    return [name for name, value in (("--shop", answers.shop), ("--client-id", answers.client_id)) if value is None]


def _answer(given: str | None, ask: Callable[[str], str] | None, question: str, read: Callable[[str], str]) -> str:
    """Return the answer that was given, or else that to a question, asked until it can be used."""
    if given is not None or ask is None:
        try:
            return read(given or "")
        except Unusable as error:
            raise _Refused(f"{question.partition(' (')[0].partition(':')[0].lower()}: {error}") from None
    while True:
        try:
            return read(ask(question))
        except Unusable as error:
            print(f"  {error}")


def _platform(text: str) -> str:
    name = text.strip().lower() or SHOPRENTER.name
    if name not in BUILT_IN:
        raise Unusable(
            f"{unknown('platform', name, BUILT_IN)}; a platform of your own has to be written in the file by hand"
        )
    return name


def _shop(text: str) -> str:
    name = shop_name_in(text)
    if not is_shop_name(name.encode(errors="replace")):
        raise Unusable(about_shop_name(text))
    return name


def _client_id(text: str) -> str:
    if why := not_clean(text.strip()):
        raise Unusable(why)
    return text.strip()


def _from_terminal() -> str:
    while True:
        secret = getpass("Client secret (not shown): ").strip()
        if not (why := not_clean(secret)):
            return secret
        print(f"  {why}")


def _clean(text: str, source: str) -> str:
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if len(text) > MAX_SECRET_FILE:
        raise _Refused(f"{source} is too long for a secret")
    if why := not_clean(text):
        raise _Refused(f"{source} {why}")
    return text


def _create(path: Path, text: str, mode: int) -> None:
    """Write a file that is not there yet."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _Refused(f"{shown(path)} can't be written: {error.strerror}") from None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
