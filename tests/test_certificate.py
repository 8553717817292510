"""A certificate and its key: what can be used, and what is said of what can't; nothing that stands in the files."""

import datetime
import ssl
from pathlib import Path

import pytest
import trustme

from proxy.certificate import CertificateFiles, UnusableCertificate, expires_at, not_in_use, read, server_context

AUTHORITY = trustme.CA()
GOOD = AUTHORITY.issue_cert("localhost")
ANOTHER = AUTHORITY.issue_cert("localhost")
DAY = datetime.timedelta(days=1)


def written(folder: Path, certificate: bytes, key: bytes) -> CertificateFiles:
    files = CertificateFiles(folder / "cert.pem", folder / "key.pem")
    files.certificate.write_bytes(certificate)
    files.private_key.write_bytes(key)
    return files


def chain(leaf: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


KEY = GOOD.private_key_pem.bytes()


# A key that nobody uses.
ENCRYPTED = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiEEcnfPRsKBwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEMAurE/Q5F9R8VeBBZbJGtAEgZCq
uUAI49Z9/fPMV1Q9Ltl08bbC/bcJkuWp8hoYr12Ldl+AXs1le0cVBBYcKjUKEBi0
N+UfizL9cv7PFANUKFL1jInD0ccyIez1GzrCgiI7K7PQg7DlCqwY0icW+CxadMXI
VHoOQCqC2QzDQ7AhLd8NIbJboBgBS51XUmAoXDLtC5OZImyywQ2kbRWpnubPlvE=
-----END ENCRYPTED PRIVATE KEY-----
"""


def test_a_certificate_with_its_key_makes_a_context_for_tls_1_2_and_newer(tmp_path: Path) -> None:
    files = written(tmp_path, chain(GOOD), KEY)

    context = server_context(files)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ssl.OP_NO_RENEGOTIATION in context.options  # Python's clients could not try
    assert not_in_use(context, read(files)[0]) == ""


@pytest.mark.parametrize(
    ("certificate", "key", "file", "sentence"),
    [
        (b"", KEY, "cert.pem", "the file contains no certificate in PEM format"),
        (KEY, KEY, "cert.pem", "the file contains no certificate in PEM format"),
        (chain(GOOD), b"", "key.pem", "the file contains no private key in PEM format"),
        (chain(GOOD), chain(GOOD), "key.pem", "the file contains no private key in PEM format"),
        (chain(GOOD)[:200], KEY, "cert.pem", "the certificate is broken"),
        (chain(GOOD), KEY[:100], "key.pem", "the key is broken"),
        (chain(GOOD), ANOTHER.private_key_pem.bytes(), "key.pem", "the key does not belong to the certificate"),
        (chain(GOOD), b"x" * (1 << 20) + KEY, "key.pem", "the file is larger than 1048576 bytes"),
        (chain(GOOD), ENCRYPTED, "key.pem", "the key is encrypted, and nobody is there to enter the passphrase"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isprintable() else "file",  # not what is in it
)
def test_what_can_not_be_used_is_told_by_its_file(
    tmp_path: Path, certificate: bytes, key: bytes, file: str, sentence: str
) -> None:
    with pytest.raises(UnusableCertificate) as caught:
        server_context(written(tmp_path, certificate, key))

    assert (caught.value.file.name, str(caught.value)[: len(sentence)]) == (file, sentence)


@pytest.mark.parametrize(
    ("begins", "ends", "why"),
    [(-2 * DAY, -DAY, "has expired"), (-DAY, DAY, ""), (DAY, 2 * DAY, "is not valid yet")],
)
def test_a_certificate_out_of_its_time_is_seen(
    tmp_path: Path, begins: datetime.timedelta, ends: datetime.timedelta, why: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    leaf = AUTHORITY.issue_cert("localhost", not_before=now + begins, not_after=now + ends)
    files = written(tmp_path, chain(leaf), leaf.private_key_pem.bytes())

    assert not_in_use(server_context(files), read(files)[0]) == why


@pytest.mark.parametrize("days", [30, -3])
def test_until_when_a_certificate_is_valid_is_read_also_when_that_is_over(tmp_path: Path, days: int) -> None:
    end = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + days * DAY
    leaf = AUTHORITY.issue_cert("localhost", not_before=end - 60 * DAY, not_after=end)
    files = written(tmp_path, chain(leaf), leaf.private_key_pem.bytes())

    assert expires_at(server_context(files), read(files)[0]) == end.timestamp()
    assert expires_at(server_context(files), read(written(tmp_path, chain(GOOD), KEY))[0]) is None
