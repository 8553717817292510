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
from typing import Any, Final, TypeVar, get_args

import msgspec

from proxy.certificate import Authorities, CertificateFiles, UnusableCertificate, server_context
from proxy.config.files import (
    MAX_FILE,
    MAX_SECRET_FILE,
    VARIABLE_HIDDEN,
    FileStamp,
    Unusable,
    closest,
    looks_like_secret,
    read_file,
    read_text,
    shown,
    stamp,
)
from proxy.config.kinds import choice_meant, of_wrong_type
from proxy.config.rules import (
    UNCLEAN,
    AnswerRules,
    BatchRule,
    CertificateAndKey,
    CertificateFile,
    EncryptionKeys,
    Networks,
    Port,
    PortSource,
    ProxyUrl,
    ProxyUrlOrFalse,
    PublicUrl,
    RateLimitRule,
    ScopesRule,
    SecretSource,
    StoreUrl,
    TokenParams,
)
from proxy.config.scopes import read_scopes
from proxy.config.sharing import read_key, read_store_url
from proxy.platforms.answers import AnswerRule, InBody
from proxy.platforms.batch import Batch
from proxy.platforms.egress_proxy import EgressProxy, parse_proxy
from proxy.platforms.platform import RateLimit
from proxy.platforms.url_prefix import parse_prefix
from proxy.secret import Secret

_T = TypeVar("_T")
_UNCLEAN = re.compile(f"[{UNCLEAN}]")
_SIMILAR: Final = 0.8  # of 1: the environment has many variables
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The token request has these from elsewhere.
_OWN_TOKEN_PARAMS: Final = ("grant_type", "client_id", "client_secret", "scope")


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
            (StoreUrl, self._store_url),
            (PortSource, self._port),
            (EncryptionKeys, self._encryption_keys),
            (ProxyUrl, self._proxy),
            (ProxyUrlOrFalse, self._proxy_or_false),
            (CertificateFile, self._certificate_file),
            (CertificateAndKey, self._certificate_and_key),
            (Networks, _networks),
            (TokenParams, _token_params),
            (ScopesRule, read_scopes),
            (PublicUrl, _public_url),
            (RateLimitRule, partial(_or_false, RateLimit)),
            (BatchRule, partial(_or_false, Batch)),
            (AnswerRules, lambda value, expected: _each(value, _answer_rule, expected)),
        )
        if not self.from_text and (why := of_wrong_type(rule, value)):
            raise Unusable(f"{expected}, {why}")
        for own_rule, reader in readers:
            if rule == own_rule:
                return reader(value, expected)
        try:
            result = msgspec.convert(value, rule, strict=not self.from_text)
        except msgspec.ValidationError:
            raise Unusable(f"{expected}{choice_meant(rule, value)}") from None
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
                if name not in self.environ and looks_like_secret(name):
                    raise Unusable(VARIABLE_HIDDEN)
                if name not in self.environ:
                    meant = closest(name, self.environ, cutoff=_SIMILAR)
                    hint = f": did you mean {meant}?" if meant else ""
                    raise Unusable(f"the environment variable {name} is not set (or not exported){hint}")
                source, text = f"the environment variable {name}", self.environ[name]
            case dict():
                meant = next((closest(key, ("file", "env")) for key in value if key not in ("file", "env")), None)
                raise Unusable(f"{expected}{f': did you mean {meant}?' if meant else ''}")
            case _:
                raise Unusable(expected)
        if why := not_clean(text):
            raise Unusable(f"{source} {why}")
        return Secret(text)

    def _port(self, value: object, expected: str) -> int:
        text = self._secret(value, expected).reveal() if isinstance(value, dict) and "env" in value else value
        try:
            return msgspec.convert(text, Port, strict=text is value and not self.from_text)
        except msgspec.ValidationError:
            raise Unusable(expected) from None

    def _store_url(self, value: object, expected: str) -> Secret:
        return self._checked(value, expected, read_store_url)

    def _encryption_keys(self, value: object, expected: str) -> tuple[Secret, ...]:
        if isinstance(value, list):
            return tuple(self._checked(entry, expected, read_key) for entry in value)
        return (self._checked(value, expected, read_key),)

    def _checked(self, value: object, expected: str, check: Callable[[str], object]) -> Secret:
        secret = self._secret(value, expected)
        try:
            check(secret.reveal())
        except ValueError as error:
            raise Unusable(str(error)) from None
        return secret

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
            raise Unusable(f"the file {shown(path)} contains no certificates in PEM format, or broken ones") from None
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
        raise Unusable(f"must not contain {', '.join(own)}: the token request takes that from the other settings")
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
        raise Unusable(f"{expected}; see entry {', '.join(bad)}")
    return tuple(made)


def not_clean(text: str) -> str:
    """Return why a text is no secret, if it is none."""
    if not text:
        return "is empty"
    if text.startswith("\ufeff"):
        return "begins with a byte order mark, as some Windows editors write it: save it as UTF-8 without BOM"
    if "\n" in text:
        return "has more than one line, or an empty line at its end: it must contain the secret and nothing else"
    if _UNCLEAN.search(text):
        return "contains invisible characters (control characters): type it again"
    return ""
