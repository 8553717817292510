"""A certificate with its key: how it is taken into use, and what is wrong with it.

Rules: who configures the proxy and who reloads the files hear the same sentences. They never hold anything that stands
in the files. OpenSSL would ask at the terminal for a passphrase; here nobody is asked.
"""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.files import read_bounded

_MAX_FILE: Final = 1 << 20  # bytes; a long chain is a hundredth of it
# OpenSSL's verify_code, see X509_STORE_CTX_get_error(3).
_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
_NOT_IN_USE: Final = {9: "is not valid yet", 10: "has expired"}
_ENCRYPTED: Final = (
    "the key is encrypted, and nobody is there to enter the passphrase; save it without one (openssl pkey -in KEY"
    " -out NEW_KEY), readable only by the proxy"
)
_KEY_WORDS: Final = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "KEY_TYPE_MISMATCH": "the key does not belong to the certificate",
}
_CERTIFICATE_WORDS: Final = {
    "EE_KEY_TOO_SMALL": "the certificate's key is too short to be safe",
    "CA_MD_TOO_WEAK": "the certificate is signed with an algorithm that is no longer safe",
}


class UnusableCertificate(Exception):
    """The files can't be used; `file` is which of the two, the text why."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(why)
        self.file = file


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate with its chain and the private key are, both in PEM form."""

    certificate: Path
    private_key: Path


class Authorities(NamedTuple):
    """Certificates that are trusted besides the usual ones: their file, and what was in it (PEM)."""

    file: Path
    pem: str

    def add_to(self, context: ssl.SSLContext) -> None:
        """Have `context` trust them. Raises `ssl.SSLError` or `ValueError` if there are none, or broken ones."""
        context.load_verify_locations(cadata=self.pem)


def read(files: CertificateFiles) -> tuple[bytes, bytes]:
    """Return what is in the files. Raises `UnusableCertificate` and `OSError`."""
    return _read(files.certificate, b"-----BEGIN CERTIFICATE-----"), _read(files.private_key, b"PRIVATE KEY-----")


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return a context for a server, TLS 1.2 or newer, that shows the certificate.

    Raises `UnusableCertificate` and `OSError`.
    """
    read(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    asked = False

    def no_passphrase() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        context.load_cert_chain(files.certificate, files.private_key, no_passphrase)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if asked:
            raise UnusableCertificate(files.private_key, _ENCRYPTED) from None
        if reason in _KEY_WORDS or (reason not in _CERTIFICATE_WORDS and _is_whole(files.certificate)):
            raise UnusableCertificate(files.private_key, _KEY_WORDS.get(reason, "the key is broken")) from None
        why = _CERTIFICATE_WORDS.get(reason, "the certificate is broken")
        raise UnusableCertificate(files.certificate, why) from None
    return context


def not_in_use(context: ssl.SSLContext, certificate: bytes) -> str:
    """Return why clients won't accept the certificate of `context` today; empty if its dates are right."""
    try:
        _tried(context, certificate)
    except ssl.SSLCertVerificationError as error:
        return _NOT_IN_USE.get(error.verify_code, "")
    except ssl.SSLError:
        return ""
    return ""


def expires_at(context: ssl.SSLContext, certificate: bytes) -> float | None:
    """Return until when the certificate of `context` is valid, in seconds since 1970; `None` if that can't be read."""
    try:
        shown = _tried(context, certificate, whenever=True)
        return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))
    except (ssl.SSLError, KeyError, ValueError):
        return None


def _tried(context: ssl.SSLContext, certificate: bytes, *, whenever: bool = False) -> dict[str, Any]:
    """Return what a client sees that trusts this very certificate: Python's `ssl` can't read one otherwise.

    `whenever`: also one that is not valid today. Raises `ssl.SSLError`.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if whenever:
        client.verify_flags |= _NO_CHECK_TIME
    client.load_verify_locations(cadata=certificate.decode("ascii", "ignore"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), context.wrap_bio(to_server, to_client, server_side=True))
    for end in ends * 2:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[0].getpeercert() or {}


def _is_whole(certificate: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        return False
    return True


def _read(path: Path, mark: bytes) -> bytes:
    content = read_bounded(path, _MAX_FILE)
    if len(content) > _MAX_FILE:
        raise UnusableCertificate(path, f"the file is larger than {_MAX_FILE} bytes")
    if mark not in content:
        what = "private key" if b"KEY" in mark else "certificate"
        swapped = b"PRIVATE KEY-----" in content or b"-----BEGIN CERTIFICATE-----" in content
        hint = "are the two files swapped?" if swapped else "it would have a line that begins with -----BEGIN"
        raise UnusableCertificate(path, f"the file contains no {what} in PEM format: {hint}")
    return content
