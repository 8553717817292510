"""The configuration without a file: one shop, from variables that begin with `SHOP_AUTH_PROXY_`.

    SHOP                                the shop's name
    CLIENT_ID                           its API client's id
    CLIENT_SECRET or CLIENT_SECRET_FILE the secret, or the name of a file that holds it; one of the two
    PLATFORM, HOST, PORT                as in the file, and with the same defaults
    ADMIN_HOST, ADMIN_PORT              the same
    LOG_FORMAT, LOG_LEVEL               the same
    ALLOW_ANONYMOUS                     true or false
    CLIENT_NAME                         the client that may call, and its secret:
    CLIENT_PASSWORD or CLIENT_PASSWORD_FILE

Rules: the form is for a whole configuration. It does not change settings of a file: such a variable beside a file is a
problem, unless the file itself names it (`{ env = "SHOP_AUTH_PROXY_CLIENT_SECRET" }`). `SHOP_AUTH_PROXY_CONFIG`, which
names the file, is none of them (location.py). An empty value is one only for a host. Without a file, unknown
variables of that prefix are problems; with one they may be the user's own, and only those that are nearly right are
told of. Those that Kubernetes sets in every pod for a Service called `shop-auth-proxy`
(`SHOP_AUTH_PROXY_PORT=tcp://10.0.0.1:8080`) are never looked at.
"""

import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from proxy.config.files import closest, shown
from proxy.config.problems import Place, Problems

PREFIX: Final = "SHOP_AUTH_PROXY_"
CONFIG: Final = f"{PREFIX}CONFIG"
SHOP: Final = f"{PREFIX}SHOP"
CLIENT_ID: Final = f"{PREFIX}CLIENT_ID"
CLIENT_SECRET: Final = f"{PREFIX}CLIENT_SECRET"
CLIENT_SECRET_FILE: Final = f"{PREFIX}CLIENT_SECRET_FILE"
CLIENT_NAME: Final = f"{PREFIX}CLIENT_NAME"
CLIENT_PASSWORD: Final = f"{PREFIX}CLIENT_PASSWORD"
CLIENT_PASSWORD_FILE: Final = f"{PREFIX}CLIENT_PASSWORD_FILE"

# Where in the file each variable would stand; `NAME` stands for the shop's name, or the client's.
_NAME: Final = "NAME"
VARIABLES: Final[Mapping[str, Place]] = MappingProxyType(
    {
        SHOP: ("shops", _NAME),
        CLIENT_ID: ("shops", _NAME, "client_id"),
        CLIENT_SECRET: ("shops", _NAME, "client_secret"),
        CLIENT_SECRET_FILE: ("shops", _NAME, "client_secret"),
        f"{PREFIX}PLATFORM": ("shops", _NAME, "platform"),
        f"{PREFIX}HOST": ("server", "host"),
        f"{PREFIX}PORT": ("server", "port"),
        f"{PREFIX}ALLOW_ANONYMOUS": ("server", "allow_anonymous"),
        CLIENT_NAME: ("clients", _NAME),
        CLIENT_PASSWORD: ("clients", _NAME, "secret"),
        CLIENT_PASSWORD_FILE: ("clients", _NAME, "secret"),
        f"{PREFIX}ADMIN_HOST": ("admin", "host"),
        f"{PREFIX}ADMIN_PORT": ("admin", "port"),
        f"{PREFIX}LOG_FORMAT": ("logging", "format"),
        f"{PREFIX}LOG_LEVEL": ("logging", "level"),
    }
)
_NEAR: Final = 0.9  # of 1: variables may be the user's own
_SECRETS: Final = frozenset({CLIENT_SECRET, CLIENT_PASSWORD})
_FILES: Final = frozenset({CLIENT_SECRET_FILE, CLIENT_PASSWORD_FILE})
_MAY_BE_EMPTY: Final = frozenset({f"{PREFIX}HOST", f"{PREFIX}ADMIN_HOST"})  # every address, as in the file

_KUBERNETES_NAME = re.compile(
    r".*_SERVICE_(?:HOST|PORT(?:_.*)?)|.*_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
)
_KUBERNETES_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


def read_environment(environ: Mapping[str, str], problems: Problems) -> dict[str, Any] | None:
    """Return the tables that a file of the same meaning would have; `None` if no variable is there to make them from.

    A secret is not in them, only where to find it.
    """
    given = _given(environ)
    if not given:
        problems.add(
            (),
            "there is no configuration: create one with shop-auth-proxy init, name a file with --config FILE"
            f" (default: config.toml in the working directory), or, for one shop, set and export {SHOP},"
            f" {CLIENT_ID} and {CLIENT_SECRET} (or"
            f" {CLIENT_SECRET_FILE}){''.join(f'; {sentence}' for sentence in mistyped(environ))}",
        )
        return None
    for variable in given:
        if variable not in VARIABLES:
            problems.add((variable,), _unknown(variable))
    if not given.keys() & VARIABLES.keys():
        return None  # what would be missing is not meant to be here

    shop, client = (given.get(name, "") for name in (SHOP, CLIENT_NAME))
    tables: dict[str, dict[str, Any]] = {place[0]: {} for place in VARIABLES.values()}
    problems.rename(("clients",), CLIENT_NAME)
    for variable, template in VARIABLES.items():
        place = tuple({"shops": shop, "clients": client}[template[0]] if key == _NAME else key for key in template)
        if variable in given or variable not in _FILES:
            problems.rename(place, variable)
        if variable in given and not given[variable] and variable not in _MAY_BE_EMPTY:
            problems.add(place, "is empty: give it a value, or unset it")
        elif variable in given and variable != SHOP and (why := _around(variable, given[variable])):
            problems.add(place, why)
        elif variable in given and variable not in (SHOP, CLIENT_NAME):
            tables[place[0]][place[-1]] = _value(variable, given[variable])

    if shop == "*":
        problems.add(("shops", shop), 'these variables are for one shop; for all shops, write [shops."*"] in a file')
    _check_named(given, problems, ("shops", shop, "client_secret"), (SHOP, CLIENT_SECRET, CLIENT_SECRET_FILE))
    of_client_table, of_shop_table = tables.pop("clients"), tables.pop("shops")
    document = {"shops": {shop: of_shop_table}, **tables}
    of_client = (CLIENT_NAME, CLIENT_PASSWORD, CLIENT_PASSWORD_FILE)
    if given.keys() & set(of_client):
        _check_named(given, problems, ("clients", client, "secret"), of_client)
        document["clients"] = {client: of_client_table}
    return document


def _around(variable: str, text: str) -> str:
    """Return what stands around a value by mistake: files of variables, as Docker reads them, know no quotes."""
    if text.endswith("\r"):
        return "ends with a line end, as lines in files of Windows do: save that file with the line ends of Linux"
    if variable in _SECRETS:  # in which anything may be meant
        return ""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return "has quotes around it, which count as part of it here: write it without them"
    return "begins or ends with a space: remove it" if text != text.strip() else ""


def _unknown(variable: str) -> str:
    known = sorted({*VARIABLES, CONFIG})
    meant = closest(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known])
    if meant:
        return f"unknown variable: did you mean {PREFIX}{meant}?"
    return f"unknown variable; other settings than these need a configuration file: {', '.join(known)}"


def _check_named(
    given: Mapping[str, str], problems: Problems, secret_place: Place, variables: tuple[str, str, str]
) -> None:
    """Note a problem unless there is a name, and a secret in one of its two variables."""
    name, secret, secret_file = variables
    if name not in given:
        problems.add(secret_place[:2], f"is missing: set it to the {secret_place[0].removesuffix('s')}'s name")
    if secret in given and secret_file in given:
        problems.add(secret_place, f"is set as well as {secret}: remove one of the two")
    elif secret not in given and secret_file not in given:
        problems.add(secret_place, f"is missing: set it, or {secret_file}")


def refuse_beside_file(path: Path, environ: Mapping[str, str], named_in_file: set[str], problems: Problems) -> None:
    """Note a problem for each variable of this form that is set although there is a file, and the file names it not."""
    for variable in _given(environ):
        if variable in VARIABLES and variable not in named_in_file:
            problems.add(
                (variable,),
                f"has no effect next to the configuration file {shown(path)}: write the setting there and unset"
                " this, or do without the file",
            )


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX)
        and name != CONFIG
        and not _KUBERNETES_NAME.fullmatch(name)
        and not _KUBERNETES_VALUE.match(value)
    }


def mistyped(environ: Mapping[str, str], named_in_file: Container[str] = ()) -> Iterator[str]:
    """Yield a sentence for each variable that is nearly one of these, and is therefore probably meant for one."""
    known = {*VARIABLES, CONFIG}
    for name in sorted(environ):
        near = name.upper().startswith("SHOP") and name not in known and name not in named_in_file
        if not near or _KUBERNETES_NAME.fullmatch(name):
            continue
        if name.upper() in known:
            yield f"{name} is ignored: these names are in upper case"
        elif meant := closest(name, known, cutoff=_NEAR):
            yield f"{name} is set, but there is no such variable: did you mean {meant}?"


def _value(variable: str, text: str) -> object:
    if variable in _SECRETS:
        return {"env": variable}
    return {"file": text} if variable in _FILES else text
