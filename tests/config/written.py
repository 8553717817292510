"""Configuration files for tests: a shop that is all right, and what is told of a text."""

from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, load_config

DEMO = '[shops.demo]\nclient_id = "id"\nclient_secret = "s3cret"\n'
EXPOSED = (
    "server.host: is not a loopback address, so anyone who can reach it could use every shop with your credentials:"
    ' write "127.0.0.1", or say who may call (clients; shop-auth-proxy new-client NAME makes one), or set'
    " server.allow_anonymous = true if anyone may"
)


def load(path: Path, text: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def problems(path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, text)
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    return caught.value.problems
