"""One value as it stands in the file -> what the setting holds.

Whatever can't be used raises `Unusable` with the rest of a sentence that begins with the setting's name. The sentences
are our own: msgspec's would show values, and Python's could.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import isfinite
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from proxy.certificate import Authorities, CertificateFiles, UnusableCertificate, server_context
from proxy.config.files import (
    MAX_FILE,
    MAX_SECRET_FILE,
    FileStamp,
    Unusable,
    closest,
    read_file,
    read_text,
    shown,
    stamp,
)
from proxy.config.schema import (
    UNCLEAN,
    AnswerRules,
    BatchRule,
    CertificateAndKey,
    CertificateFile,
    Networks,
    ProxyUrl,
    ProxyUrlOrFalse,
    PublicUrl,
    RateLimitRule,
    SecretSource,
    TokenParams,
)
from proxy.platforms.answers import AnswerRule, InBody
from proxy.platforms.egress_proxy import EgressProxy, parse_proxy
from proxy.platforms.platform import Batch, RateLimit
from proxy.platforms.url_prefix import parse_prefix
from proxy.secret import Secret

_T = TypeVar("_T")
_UNCLEAN = re.compile(f"[{UNCLEAN}]")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE_NAMES: Final = (
    (bool, "true or false"),  # before int, which it is a kind of
    (int | float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
)
# What stands in quotes although it is no string.
_PLAIN = re.compile(r"true|false|[0-9]+(?:\.[0-9]+)?")
# The token request has these from elsewhere.
_OWN_TOKEN_PARAMS: Final = ("grant_type", "client_id", "client_secret", "scope")


def type_name(value: object) -> str:
    """Return what a TOML value is, in plain words."""
    return next((name for kind, name in _TYPE_NAMES if isinstance(value, kind)), "a date or time")


def expectation(annotation: Any) -> str:
    """Return what a setting with this annotation must be: `must be …`."""
    return f"must be {get_args(_rule(annotation))[1].description}"


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Reads values.

    Relative file names begin at `directory`. With `from_text`, numbers and flags are strings, as the environment
    has them. `variables_used` collects the names of variables that were asked for, `files` what was read.
    """

    directory: Path
    environ: Mapping[str, str]
    from_text: bool
    variables_used: set[str] = field(default_factory=set)
    files: dict[Path, FileStamp] = field(default_factory=dict)

    def note(self, path: Path) -> Path:
        """Take note of a file that is about to be read."""
        self.files[path] = stamp(path)
        return path

    def read(self, annotation: Any, value: object) -> object:
        """Return what a setting with this annotation holds when `value` stands in the file. Raises `Unusable`."""
        rule = _rule(annotation)
        expected = expectation(rule)
        readers: tuple[tuple[Any, Callable[[object, str], object]], ...] = (
            (SecretSource, self._secret),
            (ProxyUrl, self._proxy),
            (ProxyUrlOrFalse, self._proxy_or_false),
            (CertificateFile, self._certificate_file),
            (CertificateAndKey, self._certificate_and_key),
            (Networks, _networks),
            (TokenParams, _token_params),
            (PublicUrl, _public_url),
            (RateLimitRule, partial(_or_false, RateLimit)),
            (BatchRule, partial(_or_false, Batch)),
            (AnswerRules, lambda value, expected: _each(value, _answer_rule, expected)),
        )
        if not self.from_text and (why := _of_wrong_type(rule, value)):
            raise Unusable(f"{expected}, {why}")
        for own_rule, reader in readers:
            if rule == own_rule:
                return reader(value, expected)
        try:
            result = msgspec.convert(value, rule, strict=not self.from_text)
        except msgspec.ValidationError:
            raise Unusable(expected) from None
        if isinstance(result, float) and not isfinite(result):
            raise Unusable(expected)
        return result

    def _secret(self, value: object, expected: str) -> Secret:
        match value:
            case str():
                source, text = "the string", value
            case {"file": str(name), **rest} if name and not rest:
                path = self.note(self.directory / name)
                source, text = f"the file {shown(path)}", read_text(path, MAX_SECRET_FILE)
                # Editors and `echo` end a file with a newline. One, since a second is no habit but a mistake.
                text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
            case {"env": str(name), **rest} if not rest:
                if _VARIABLE_NAME.fullmatch(name) is None:
                    raise Unusable("env must be the name of a variable: letters, digits and underscores")
                self.variables_used.add(name)
                if name not in self.environ:
                    raise Unusable(f"the environment variable {name} is not set (or not exported)")
                source, text = f"the environment variable {name}", self.environ[name]
            case dict():
                meant = next((closest(key, ("file", "env")) for key in value if key not in ("file", "env")), None)
                raise Unusable(f"{expected}{f': did you mean {meant}?' if meant else ''}")
            case _:
                raise Unusable(expected)
        if why := not_clean(text):
            raise Unusable(f"{source} {why}")
        return Secret(text)

    def _proxy(self, value: object, expected: str) -> EgressProxy:
        try:
            return parse_proxy(self._secret(value, expected).reveal())
        except ValueError as error:
            raise Unusable(str(error)) from None

    def _proxy_or_false(self, value: object, expected: str) -> EgressProxy | None:
        return None if value is False else self._proxy(value, expected)

    def _certificate_file(self, value: object, expected: str) -> Authorities:
        if not isinstance(value, str) or not value:
            raise Unusable(expected)
        path = self.note(self.directory / value)
        authorities = Authorities(path, read_file(path, MAX_FILE).decode("ascii", "ignore"))
        try:
            authorities.add_to(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except (OSError, ValueError):
            raise Unusable(f"the file {shown(path)} has no certificates in PEM form in it, or broken ones") from None
        return authorities

    def _certificate_and_key(self, value: object, expected: str) -> CertificateFiles:
        match value:
            case {"certificate": str(certificate), "private_key": str(key), **rest} if certificate and key and not rest:
                files = CertificateFiles(self.directory / certificate, self.directory / key)
            case _:
                raise Unusable(expected)
        for path in (files.certificate, files.private_key):
            read_file(self.note(path), MAX_FILE)  # says in words why a file can't be read
        try:
            server_context(files)
        except UnusableCertificate as error:
            raise Unusable(f"{shown(error.file)}: {error}") from None
        except OSError:
            raise Unusable("the files can't be read") from None
        for path in (files.certificate, files.private_key):
            self.files.pop(path, None)  # the listener looks after these itself
        return files


def _rule(annotation: Any) -> Any:
    # A setting that may be absent is `rule | None`; TOML has no null.
    parts = get_args(annotation)
    return parts[0] if NoneType in parts else annotation


def _networks(value: object, expected: str) -> tuple[IPv4Network | IPv6Network, ...]:
    # ip_network takes numbers too, as addresses.
    return _each(value, lambda entry: ip_network(entry if isinstance(entry, str) else ""), expected)


def _token_params(value: object, expected: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise Unusable(expected)
    if own := [name for name in _OWN_TOKEN_PARAMS if name in value]:
        raise Unusable(f"must not have {', '.join(own)}: the token request takes that from the other settings")
    if not all(isinstance(entry, str) and not _UNCLEAN.search(key + entry) for key, entry in value.items()):
        raise Unusable(expected)
    return MappingProxyType(value)


def _public_url(value: object, expected: str) -> str:
    try:
        return str(parse_prefix(str(value)))
    except ValueError:
        raise Unusable(expected) from None


def _or_false(kind: type[_T], value: object, expected: str) -> _T | None:
    if value is False:
        return None
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, ValueError):
        raise Unusable(expected) from None


def _answer_rule(entry: object) -> AnswerRule:
    match entry:
        case int(status) if 400 <= status <= 599:
            return status
        case {"status": int(status), "path": str(path), "equals": str() | int() as text, **rest}:
            vouched = rest.pop("not_carried_out", False)
            clean = not isinstance(text, bool) and not _UNCLEAN.search(f"{path}{text}")
            if clean and not rest and isinstance(vouched, bool):
                return InBody(status, path, str(text), not_carried_out=vouched)
    raise ValueError


def _each(entries: object, read: Callable[[object], _T], expected: str) -> tuple[_T, ...]:
    """Return what `read` makes of each entry; those for which it raises `ValueError` are told by their numbers."""
    if not isinstance(entries, list):
        raise Unusable(expected)
    made, bad = [], []
    for number, entry in enumerate(entries, 1):
        try:
            made.append(read(entry))
        except ValueError:
            bad.append(str(number))
    if bad:
        raise Unusable(f"{expected}; look at entry {', '.join(bad)}")
    return tuple(made)


def not_clean(text: str) -> str:
    """Return why a text is no secret, if it is none."""
    if not text:
        return "is empty"
    if text.startswith("\ufeff"):
        return "begins with a byte order mark, as some editors of Windows write it: save it as UTF-8 without BOM"
    if "\n" in text:
        return "has more than one line, or an empty line at its end: it must hold the secret and nothing else"
    if _UNCLEAN.search(text):
        return "has characters in it that can't be seen (control characters): write it again"
    return ""


def _of_wrong_type(rule: Any, value: object) -> str:
    """Return what a value is instead, and how to write what was probably meant; empty if its type is right."""
    kinds = _kinds(rule)
    if value is False and rule in (ProxyUrlOrFalse, RateLimitRule, BatchRule):
        return ""
    if isinstance(value, kinds) and isinstance(value, bool) == (kinds == (bool,)):
        return ""
    sentence = f"not {type_name(value)}"
    if isinstance(value, str) and kinds == (list,):
        return f'{sentence}: write it in brackets, ["…"]'
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not {str, dict}.intersection(kinds):
        return f"{sentence}: write it without quotes"
    if str in kinds and not isinstance(value, bool | list | dict):
        return f"{sentence}: write it in quotes"
    return sentence


def _kinds(rule: Any) -> tuple[type, ...]:
    """Return which types of TOML a value for this rule may have."""
    base = get_args(rule)[0]
    base = get_origin(base) or base
    by_base: dict[Any, tuple[type, ...]] = {
        bool: (bool,),
        **dict.fromkeys((int, float), (int, float)),
        tuple: (list,),
        Secret: (str, dict),
        EgressProxy: (str, dict),
        CertificateFiles: (dict,),
        RateLimit: (dict,),
        Batch: (dict,),
        Mapping: (dict,),
    }
    return by_base.get(base, (str,))
