"""The defaults are those of the plan, and every setting has a rule with words."""

import dataclasses

import msgspec
import pytest
from msgspec.structs import fields

from proxy.config.schema import (
    NAMED_SECTIONS,
    SECTIONS,
    AdminConfig,
    ClientConfig,
    LoggingConfig,
    PlatformSettings,
    ServerConfig,
    SharedConfig,
    ShopSettings,
    TokensConfig,
    UpstreamConfig,
    setting_names,
)
from proxy.config.values import expectation
from proxy.platforms.platform import Platform
from proxy.secret import Secret


def test_what_is_not_set_has_these_defaults() -> None:
    assert ServerConfig() == ServerConfig(
        host="127.0.0.1",
        port=8080,
        trusted_proxies=(),
        public_url=None,
        route_by_host=True,
        allow_anonymous=False,
        tls=None,
        drain_timeout=30.0,
        max_request_line=16384,
        max_header_size=32768,
        max_header_count=128,
        header_timeout=10.0,
        min_body_rate=240.0,
        rate_window=60.0,
        keep_alive_timeout=75.0,
        max_connections=2000,
        max_connections_per_address=200,
        max_requests=1000,
        max_requests_per_connection=1000,
        reuse_port=False,
    )
    assert AdminConfig() == AdminConfig(enabled=True, host="127.0.0.1", port=9090)
    assert UpstreamConfig() == UpstreamConfig(
        connect_timeout=5.0, read_timeout=60.0, max_body_size=67108864, ca_file=None
    )
    assert TokensConfig() == TokensConfig(
        refresh_margin=60.0,
        max_age=86400.0,
        fetch_timeout=10.0,
        unauthorized_pause=30.0,
        max_entries=20_000,
        first_requests_per_second=50.0,
    )
    assert SharedConfig() == SharedConfig(
        url=None,
        password=None,
        prefix="shop-auth-proxy:",
        encryption_key=None,
        plaintext=False,
        command_timeout=0.1,
        fallback_share=None,
    )
    assert LoggingConfig() == LoggingConfig(format="auto", level="info")
    assert ShopSettings(client_id="a", client_secret=Secret("b")) == ShopSettings(
        platform="shoprenter", client_id="a", client_secret=Secret("b"), shop_name=None
    )
    assert ClientConfig() == ClientConfig(secret=None, secret_sha256=None, shops=("*",), methods=("*",))


def test_a_clients_secret_and_its_digest_are_the_same_to_whoever_compares() -> None:
    # The first value of NIST's examples for SHA-256.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert ClientConfig(secret=Secret("abc")).digest.hex() == digest
    assert ClientConfig(secret_sha256=digest.upper()).digest.hex() == digest


def test_the_defaults_of_a_platform_are_those_of_the_type_that_is_made_of_it() -> None:
    platform = Platform(name="mine", token_url="https://a.example/", api_url="https://b.example/")
    settings = PlatformSettings(token_url="https://a.example/", api_url="https://b.example/")

    # The name stands above the settings; what is known of a built-in platform's admin is not for the file.
    beside = {"name", "credentials_place"}
    given = {field.name for field in dataclasses.fields(Platform) if field.init}
    assert {field.name for field in fields(settings)} | beside == given
    for field in fields(settings):
        assert getattr(settings, field.name) == getattr(platform, field.name), field.name


def test_sections_do_not_change() -> None:
    with pytest.raises(AttributeError):
        ServerConfig().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("schema", [*SECTIONS.values(), *NAMED_SECTIONS.values()])
def test_every_setting_says_what_it_must_be(schema: type[msgspec.Struct]) -> None:
    for field in fields(schema):
        assert expectation(field.type).startswith("must be "), field.name


def test_settings_are_named_by_their_path() -> None:
    names = list(setting_names())

    assert len(names) == len(set(names))
    assert {"server.host", "upstream.ca_file", "shops.NAME.client_secret", "platforms.NAME.token_params"} <= set(names)
