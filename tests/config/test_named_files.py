"""Files and variables that settings name: what is taken from them, what is told when it can't be; never a secret."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from proxy.certificate import Authorities, CertificateFiles
from proxy.config.files import MAX_SECRET_FILE, Unusable
from proxy.config.rules import CertificateAndKey, CertificateFile, SecretSource
from proxy.config.values import ValueReader
from proxy.secret import Secret

SECRET = 'must be a string, { file = "…" } or { env = "NAME" }, and exactly one of them'
MORE_LINES = "has more than one line, or an empty line at its end: it must contain the secret and nothing else"
UNSEEN = "contains invisible characters (control characters): type it again"


def read(rule: object, value: object, *, directory: Path = Path(), environ: Mapping[str, str] | None = None) -> object:
    return ValueReader(directory, environ or {}, from_text=False).read(rule, value)


def refusal(rule: object, value: object, *, directory: Path = Path(), environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(Unusable) as caught:
        read(rule, value, directory=directory, environ=environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b" s3cret ", " s3cret "),
        ("titkos jelszó\n".encode(), "titkos jelszó"),
        pytest.param(b"x" * MAX_SECRET_FILE, "x" * MAX_SECRET_FILE, id="largest"),
    ],
)
def test_a_secret_file_loses_one_newline_at_its_end_and_nothing_else(
    tmp_path: Path, content: bytes, secret: str
) -> None:
    (tmp_path / "secret").write_bytes(content)

    assert read(SecretSource, {"file": "secret"}, directory=tmp_path) == Secret(secret)
    assert read(SecretSource, {"file": str(tmp_path / "secret")}) == Secret(secret)


def test_a_secret_may_stand_in_the_file_or_in_the_environment() -> None:
    assert read(SecretSource, "s3cret") == Secret("s3cret")
    assert read(SecretSource, {"env": "NAME"}, environ={"NAME": "s3cret"}) == Secret("s3cret")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file FILE is empty"),
        (b"\n", "the file FILE is empty"),
        (b"\r\n", "the file FILE is empty"),
        (b"s3cret\n\n", f"the file FILE {MORE_LINES}"),
        (b"s3cret\r", f"the file FILE {UNSEEN}"),
        (
            b"\xef\xbb\xbfs3cret",
            "the file FILE begins with a byte order mark, as some Windows editors write it: save it as UTF-8"
            " without BOM",
        ),
        (
            "s3cret\n".encode("utf-16-le"),
            "the file FILE is UTF-16, as some Windows programs write it: save it as UTF-8",
        ),
        ("s3cret".encode("utf-16"), "the file FILE is UTF-16, as some Windows programs write it: save it as UTF-8"),
        (b"s3cret\xff", "the file FILE is not UTF-8 (in its line 1): save it as UTF-8"),
        pytest.param(b"s3cret" + b"x" * MAX_SECRET_FILE, "the file FILE is larger than 65536 bytes", id="too-large"),
    ],
)
def test_a_secret_file_that_can_not_be_used_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)

    assert refusal(SecretSource, {"file": "secret"}, directory=tmp_path).replace(str(path), "FILE") == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "the string is empty"),
        ("s3cret\n", f"the string {MORE_LINES}"),
        (["s3cret"], f"{SECRET}, not a list"),
        (12345, f"{SECRET}, not a number: write it in quotes"),
        (True, f"{SECRET}, not true"),
        (datetime.date(2026, 1, 1), f"{SECRET}, not a date or time: write it in quotes"),
        ({}, SECRET),
        ({"text": "s3cret"}, SECRET),
        ({"s3cret": "s3cret"}, SECRET),
        ({"fiel": "s3cret"}, f"{SECRET}: did you mean file?"),
        ({"File": "s3cret"}, f"{SECRET}: did you mean file?"),
        ({"file": "f", "env": "E"}, SECRET),
        ({"file": ["s3cret"]}, SECRET),
        ({"file": ""}, SECRET),
        ({"env": "s3cret-text"}, "env must be the name of a variable: letters, digits and underscores"),
        ({"env": ""}, "env must be the name of a variable: letters, digits and underscores"),
        ({"env": "NONE"}, "the environment variable NONE is not set (or not exported)"),
        ({"env": "EMTPY"}, "the environment variable EMTPY is not set (or not exported): did you mean EMPTY?"),
        ({"env": "EMPTY"}, "the environment variable EMPTY is empty"),
        (
            {"env": "s3cr3tValueNot1nExampleX"},
            "the environment variable named here is not set; its name is not shown, since it looks like a secret: the"
            " name of a variable belongs here, not what is in it",
        ),
        (
            {"env": "RAW"},
            f"the environment variable RAW {UNSEEN}",
        ),
        ({"file": "missing"}, f"the file missing does not exist in {Path.cwd()}"),
        (
            {"file": "missing\n"},
            r"the file 'missing\n' does not exist: in double quotes a backslash begins an escape sequence,"
            " write / or single quotes",
        ),
        ({"file": "/dev/null/secret"}, "the file /dev/null/secret does not exist: there is no directory /dev/null"),
        ({"file": "/"}, "/ is a directory, not a file: name a file in it"),
        ({"file": "nul\0"}, r"the file 'nul\x00' can't be read: no file can have such a name"),
        pytest.param({"file": "x" * 5000}, f"the file {'x' * 5000} can't be read: File name too long", id="long-name"),
    ],
)
def test_a_secret_that_can_not_be_used_is_refused_without_being_told(value: object, sentence: str) -> None:
    told = refusal(SecretSource, value, environ={"EMPTY": "", "RAW": "s3cret\udcff"})

    assert told == sentence
    assert "s3cret" not in told


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, for whom no mode forbids anything.
    def forbidden(*_: object) -> None:
        raise PermissionError

    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    monkeypatch.setattr(os, "open", forbidden)

    told = refusal(SecretSource, {"file": str(secret)})
    assert told == (
        f"the file {secret} can't be read by user {os.geteuid()}, who runs this: change its owner or its mode"
    )


def test_what_is_no_file_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader, writer = os.pipe()
    monkeypatch.setattr("proxy.files._PIPE_WITHIN", 0.01)
    names = (tmp_path / "fifo", "/dev/null", f"/dev/fd/{reader}")
    sentences = [refusal(SecretSource, {"file": str(name)}) for name in names]
    os.close(reader)
    os.close(writer)

    assert sentences == [
        f"the path {tmp_path}/fifo is a named pipe (FIFO), not a file",
        "the path /dev/null is a device, not a file",
        f"the pipe /dev/fd/{reader} does not end: the program that writes to it has not closed it",
    ]


def test_the_variables_that_secrets_were_taken_from_are_known() -> None:
    reader = ValueReader(Path(), {"A": "s3cret"}, from_text=False)
    reader.read(SecretSource, {"env": "A"})

    assert reader.variables_used == {"A"}


# A certificate of a made-up authority, valid to 2126, whose key nobody has.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUYSm4DUVdvdPA8r0sJjzcXjGb3NcwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjExMjIxMTQxMzVaGA8yMTI2MTAyOTEx
NDEzNVowEjEQMA4GA1UEAwwHVGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABCSW8hCqrc0GkuoYXHl9rI0ht6usdisUS7QAnRBpaLzx+8+uCo32nWePAvW9
2+KQ+eNMSGn2ET456KJY9116qB2jUzBRMB0GA1UdDgQWBBQY89ACkTXgt6q1AHkI
oOAEodbMMTAfBgNVHSMEGDAWgBQY89ACkTXgt6q1AHkIoOAEodbMMTAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIBo8QFDG7mEZ3PPT5BQf6j/UnG7L
Q438L7jm0jvawpCPAiBT1IByAPxKKhwC3gQzGyYthBsqdOQI3XcXWybw5IqgMA==
-----END CERTIFICATE-----
"""


def test_a_certificate_file_is_named_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"Beh\xf6rde:\n" + CERTIFICATE.encode())

    assert read(CertificateFile, "ca.pem", directory=tmp_path) == Authorities(
        tmp_path / "ca.pem", "Behrde:\n" + CERTIFICATE
    )


@pytest.mark.parametrize("content", ["", "no certificate", "ü", CERTIFICATE[:200], CERTIFICATE.replace("M", "!")])
def test_a_certificate_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)

    assert refusal(CertificateFile, "ca.pem", directory=tmp_path) == (
        f"the file {tmp_path / 'ca.pem'} contains no certificates in PEM format, or broken ones"
    )


def test_a_missing_certificate_file_is_refused(tmp_path: Path) -> None:
    assert (
        refusal(CertificateFile, "/none/ca.pem") == "the file /none/ca.pem does not exist: there is no directory /none"
    )


TLS = 'must be { certificate = "cert.pem", private_key = "key.pem" }, the names of two files'
PAIR = {"certificate": "cert.pem", "private_key": "key.pem"}


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    leaf = trustme.CA().issue_cert("localhost")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path


def test_a_certificate_and_its_key_are_named_relative_to_the_configuration(pair: Path) -> None:
    assert read(CertificateAndKey, PAIR, directory=pair) == CertificateFiles(pair / "cert.pem", pair / "key.pem")


def test_a_certificate_and_its_key_may_stand_in_one_file(pair: Path) -> None:
    both = {"certificate": "both.pem", "private_key": "both.pem"}

    assert read(CertificateAndKey, both, directory=pair) == CertificateFiles(pair / "both.pem", pair / "both.pem")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (True, f"{TLS}, not true"),
        ("cert.pem", f"{TLS}, not a string"),
        ({}, TLS),
        ({"certificate": "cert.pem"}, TLS),
        (PAIR | {"password": "s3cret"}, TLS),
        (PAIR | {"private_key": ["key.pem"]}, TLS),
        (PAIR | {"private_key": ""}, TLS),
        (PAIR | {"certificate": "none.pem"}, "the file DIR/none.pem does not exist"),
        (PAIR | {"private_key": "none.pem"}, "the file DIR/none.pem does not exist"),
        (
            PAIR | {"private_key": "cert.pem"},
            "DIR/cert.pem: the file contains no private key in PEM format: are the two files swapped?",
        ),
        (PAIR | {"private_key": "other.pem"}, "DIR/other.pem: the key does not belong to the certificate"),
    ],
)
def test_a_certificate_or_key_that_can_not_be_used_is_refused(pair: Path, value: object, sentence: str) -> None:
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(pair / "other.pem")

    assert refusal(CertificateAndKey, value, directory=pair).replace(str(pair), "DIR") == sentence
