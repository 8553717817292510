"""What is to be checked about `[shared]`, and how its URL and its keys are read."""

import base64
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy.config.problems import Problems
from proxy.config.schema import SharedConfig
from proxy.files import read_bounded

_KEY_BYTES: Final = 32
_NEW_KEY: Final = "openssl rand -base64 32"
_LIBRARIES: Final = ("redis", "cryptography")
_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_SCHEMES: Final = ("redis", "rediss", "unix", *_SENTINEL)
_HOST: Final = r"(?:[^@:,\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_PLACES: Final = re.compile(rf"(?:[^@]*@)?{_HOST}(?:,{_HOST})*")
# What may stand behind the question mark, called as in the library. Others of its own would undo what the proxy needs.
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_PARAMETERS: Final = {
    "db": r"[0-9]+",
    "ssl_check_hostname": r"(?i:true|false)",
    "ssl_cert_reqs": r"required|none",
    **dict.fromkeys(_FILES, r"/.+"),
}


def check_shared(shared: SharedConfig, problems: Problems) -> None:
    """Note what is wrong with a `[shared]` that is written."""
    key = ("shared", "encryption_key")
    if shared.url is None and ("shared", "url") not in problems:
        problems.add(("shared", "url"), 'is missing: write the URL of Redis or Valkey, such as "redis://redis:6379"')
    if shared.plaintext and shared.encryption_key:
        problems.add(("shared", "plaintext"), "has no effect with shared.encryption_key: remove one of the two")
    elif not (shared.plaintext or shared.encryption_key or key in problems):
        problems.add(
            key,
            f"is missing, so access tokens would be stored unencrypted: make one with {_NEW_KEY}, or set"
            " shared.plaintext = true if everyone who can read that Redis may have them",
        )
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        problems.add(("shared",), f"needs {' and '.join(missing)}: pip install 'shop-auth-proxy[shared]'")


def read_key(text: str) -> bytes:
    """Return the key that stands in a text. Raises `ValueError` with the rest of a sentence, without the text."""
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text.strip())
        except ValueError:
            continue
        if len(key) == _KEY_BYTES:
            return key
    raise ValueError(f"is not a key of 32 bytes in Base64 or hexadecimal: make one with {_NEW_KEY}")


def read_store_url(text: str) -> None:
    """Check a URL of Redis. Raises `ValueError` with the rest of a sentence, without the URL."""
    try:
        parts = urlsplit(text)
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in _SCHEMES or not text.startswith(f"{parts.scheme}://"):
        raise ValueError(f"must begin with {', '.join(f'{scheme}://' for scheme in _SCHEMES[:3])} or {_SENTINEL[0]}://")
    if parts.scheme in _SENTINEL:
        service, _, database = parts.path.strip("/").partition("/")
        if not service or not _PLACES.fullmatch(parts.netloc) or not (not database or database.isdecimal()):
            raise ValueError(
                f'must name the Sentinels and the service: "{_SENTINEL[0]}://one:26379,two:26379/mymaster"'
            )
    else:
        try:
            place = parts.hostname is None and len(parts.path) > 1 if parts.scheme == "unix" else parts.hostname
            wrong = not place or parts.port == 0
        except ValueError:
            wrong = True
        if wrong or parts.fragment or (parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path)):
            raise ValueError(
                'must name a host, with or without a port, such as "redis://redis:6379", or a socket, such as'
                ' "unix:///run/redis.sock"; in a password, write / as %2F and # as %23, or put it in'
                " shared.password"
            )
    _check_parameters(parameters, tls=parts.scheme.startswith("rediss"))


def _check_parameters(parameters: Iterable[tuple[str, str]], *, tls: bool) -> None:
    for name, value in parameters:
        known = _PARAMETERS.get(name) if tls or name == "db" else None
        if known is None:
            names = _PARAMETERS if tls else ("db",)
            raise ValueError(f"has an unknown parameter; the known ones are {', '.join(names)}")
        if not re.fullmatch(known, value):
            raise ValueError(f"has an invalid {name}")
        if name in _FILES:
            try:
                read_bounded(Path(value), 0)
            except OSError as error:
                raise ValueError(f"names a file in {name} that can't be read: {error.strerror}") from None


def secrets_of(shared: SharedConfig) -> Iterator[str]:
    """Yield each text in `[shared]` that is to be kept out of the log."""
    for secret in (shared.password, *(shared.encryption_key or ())):
        if secret is not None:
            yield secret.reveal()
    if shared.url is not None:
        password = urlsplit(shared.url.reveal()).netloc.rpartition("@")[0].partition(":")[2]
        yield from {password, unquote(password)} - {""}


def _base64(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
