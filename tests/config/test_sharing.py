"""`[shared]`: what its URL and keys may be, and that none of them shows in a problem."""

import base64
from importlib.util import find_spec
from pathlib import Path

import pytest

from proxy.config import Config, SharedConfig
from proxy.config.sharing import read_key, secrets_of
from proxy.secret import Secret
from tests.config.written import DEMO, load, problems

KEY = base64.b64encode(bytes(range(32))).decode()
URL = 'url = "redis://redis:6379"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def shared(path: Path, text: str) -> SharedConfig:
    config: Config = load(path, f"{DEMO}[shared]\n{text}")
    return config.shared


def test_without_the_table_nothing_is_shared(path: Path) -> None:
    assert load(path, DEMO).shared == SharedConfig()


def test_every_setting_is_taken(path: Path, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("rediss://user:p%40ss@redis.internal:6380/3\n", encoding="utf-8")
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")

    found = shared(
        path,
        f'url = {{ file = "url" }}\nprefix = "shops:"\nencryption_key = [{{ file = "key" }}, "{KEY}"]\n'
        "command_timeout = 0.2\nfallback_share = 2\n",
    )

    assert found == SharedConfig(
        url=Secret("rediss://user:p%40ss@redis.internal:6380/3"),
        prefix="shops:",
        encryption_key=(Secret(KEY), Secret(KEY)),
        command_timeout=0.2,
        fallback_share=2.0,
    )
    assert set(secrets_of(found)) == {"p%40ss", "p@ss", KEY}


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://redis:6379/1",
        "redis://:pass@10.0.0.1:6379",
        "rediss://[::1]:6379",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://one,two:26380/mymaster",
        "rediss+sentinel://user:pass@one/mymaster/2",
        "redis+sentinel://[::1]:26379,[fe80::1]/mymaster",
        f"rediss://redis?ssl_ca_certs={__file__}&ssl_check_hostname=false&db=3",
        f"rediss+sentinel://one/mymaster?ssl_certfile={__file__}&ssl_keyfile={__file__}&ssl_cert_reqs=none",
    ],
)
def test_a_url_of_redis_is_taken(path: Path, url: str) -> None:
    found = shared(path, f'url = "{url}"\nplaintext = true\n').url

    assert found is not None
    assert found.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis:6379",
        "redis:redis",
        "http://redis:6379",
        "redis://",
        "redis://:6379",
        "redis://redis:port",
        "redis://redis:6379/zero",
        "redis://[::1",
        "unix://",
        "redis+sentinel://wrong",
        "redis+sentinel://wrong/",
        "redis+sentinel://wrong:x/mymaster",
        "redis+sentinel://wrong/mymaster/x",
        "redis+sentinel:///mymaster",
        "unix://run/redis.sock",
        "unix:///?db=1",
        "redis://:pa#ss@redis:6379",
        "redis://redis:6379#1",
        "redis://redis?db=one",
        "redis://redis?db=",
        "redis://redis?decode_responses=true",
        "redis://redis?password=s3cret",
        "redis://redis?ssl_ca_certs=/etc/ssl/ca.pem",
        "rediss://redis?ssl_ca_certs=ca.pem",
        "rediss://redis?ssl_ca_certs=/nowhere/ca.pem",
        "rediss://redis?ssl_ca_certs=/dev/zero",
        "rediss://redis?ssl_cert_reqs=never",
        "redis+sentinel://one/mymaster?nonsense",
    ],
)
def test_another_url_is_a_problem_that_does_not_show_it(path: Path, url: str) -> None:
    [problem] = problems(path, f'{DEMO}[shared]\nurl = "{url}"\nplaintext = true\n')

    assert problem.startswith("shared.url: ")
    assert url.endswith("://") or url not in problem


def test_without_a_key_it_has_to_be_said_that_tokens_are_stored_as_they_are(path: Path) -> None:
    [problem] = problems(path, f"{DEMO}[shared]\n{URL}")

    assert problem.startswith("shared.encryption_key: is missing")
    assert "openssl rand -base64 32" in problem
    assert shared(path, f"{URL}plaintext = true\n").plaintext


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'{URL}plaintext = true\nencryption_key = "{KEY}"\n', "shared.plaintext"),
        ("plaintext = true\n", "shared.url"),
        (f'{URL}encryption_key = "short-key"\n', "shared.encryption_key"),
        (f'{URL}encryption_key = ["{KEY}", "short-key"]\n', "shared.encryption_key"),
        (f"{URL}encryption_key = 7\n", "shared.encryption_key"),
        (f"{URL}plaintext = true\ncommand_timeout = 0\n", "shared.command_timeout"),
        (f"{URL}plaintext = true\nfallback_share = 0\n", "shared.fallback_share"),
        (f'{URL}plaintext = true\nprefix = ""\n', "shared.prefix"),
        (f'{URL}plaintext = true\nencrypt = "x"\n', "shared.encrypt"),
    ],
)
def test_what_can_not_be_used_is_one_problem_at_its_place(path: Path, text: str, place: str) -> None:
    [problem] = problems(path, f"{DEMO}[shared]\n{text}")

    assert problem.startswith(f"{place}: ")
    assert "short-key" not in problem


def test_without_the_libraries_it_is_said_how_to_get_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.config.sharing.find_spec", lambda name: None if name == "redis" else find_spec(name))

    [problem] = problems(path, f"{DEMO}[shared]\n{URL}plaintext = true\n")

    assert problem == "shared: needs redis: pip install 'shop-auth-proxy[shared]'"


def test_a_key_is_read_in_the_ways_that_tools_write_it() -> None:
    key = bytes(range(200, 232))

    for text in (base64.b64encode(key), base64.urlsafe_b64encode(key), key.hex().encode(), key.hex().upper().encode()):
        assert read_key(text.decode()) == key


@pytest.mark.parametrize("text", ["", "secret", "0123456789abcdef", "a" * 43, base64.b64encode(b"x" * 31).decode()])
def test_a_key_of_another_length_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a key of 32 bytes") as caught:
        read_key(text)
    assert not text or text not in str(caught.value)
