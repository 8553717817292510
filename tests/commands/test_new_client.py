"""`new-client`: what it prints is a configuration that works, and the secret is nowhere but on the screen."""

import base64
import re
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.commands.new_client import new_client
from proxy.config import load_config
from tests.commands.processes import ran

SHOP = '[shops.demo]\nclient_id = "id"\nclient_secret = "s3cret"\n'


async def test_its_output_appended_to_a_file_is_a_client_with_that_secret(tmp_path: Path) -> None:
    ended = await ran("new-client", "erp@warehouse.1")
    file = tmp_path / "config.toml"
    file.write_text(SHOP + ended.stdout)

    [secret] = re.findall(r"^  password  (\S+)$", ended.stderr, re.MULTILINE)
    client = load_config(file, {}).clients["erp@warehouse.1"]

    assert ended.status == 0
    assert secret not in ended.stdout
    assert (client.secret, client.digest) == (None, sha256(secret.encode()).digest())
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert "user      erp@warehouse.1\n" in ended.stderr
    assert "curl -u erp@warehouse.1 http://localhost:8080/" in ended.stderr
    assert f"Authorization: Bearer {secret}" in ended.stderr


async def test_what_can_be_limited_is_shown_as_it_has_to_be_written(tmp_path: Path) -> None:
    ended = await ran("new-client", "erp")
    file = tmp_path / "config.toml"
    file.write_text(SHOP + re.sub(r"^# ", "", ended.stdout, flags=re.MULTILINE))

    client = load_config(file, {}).clients["erp"]

    assert (client.shops, client.methods) == (("demo",), ("GET",))


async def test_the_secret_is_made_of_256_bits_of_chance_and_is_another_one_each_time() -> None:
    assert (await ran("new-client", "erp")).stderr != (await ran("new-client", "erp")).stderr


async def test_the_secret_is_printed_where_no_file_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    asked_for = []

    def make(size: int) -> str:
        asked_for.append(size)
        return "the-secret"

    assert await new_client("erp", make_secret=make) == 0

    out, err = capsys.readouterr()
    assert asked_for == [32]
    assert "the-secret" not in out
    assert err.count("the-secret") == 2
    assert f'secret_sha256 = "{sha256(b"the-secret").hexdigest()}"' in out


@pytest.mark.parametrize("name", ["a:b", "", "ügyfél", "a\nb"])
async def test_a_name_that_none_can_have_is_told(name: str) -> None:
    ended = await ran("new-client", name)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("shop-auth-proxy: ")
    assert " can't be the name of a client: a client's name has 1 to 64 of the characters" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("named", [("--config", "config.toml"), ()])
async def test_a_name_that_the_configuration_has_is_told_with_its_line(tmp_path: Path, named: tuple[str, ...]) -> None:
    digest = "0a" * 32
    (tmp_path / "config.toml").write_text(f'{SHOP}[clients."erp"]\nsecret_sha256 = "{digest}"\n')

    taken = await ran("new-client", "erp", *named, directory=tmp_path)
    free = await ran("new-client", "feed", *named, directory=tmp_path)

    assert (taken.status, taken.stdout) == (2, "")
    assert taken.stderr == (
        "shop-auth-proxy: config.toml, line 4, already has a client erp: choose another name, or remove that table"
        " first\n"
    )
    assert free.status == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "the file config.toml does not exist"), ("[clients\n", "config.toml, line 1: not TOML: the closing ]")],
)
async def test_a_configuration_that_can_not_be_looked_into_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "config.toml").write_text(text)

    ended = await ran("new-client", "erp", "-c", "config.toml", directory=tmp_path)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("shop-auth-proxy: can't tell whether the configuration already has a client erp: ")
    assert told in ended.stderr
