"""Which egress proxy a platform gets: its own, that of all, or the environment's."""

from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, load_config
from proxy.config.proxies import has_no_effect
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Platform
from proxy.secret import Secret

SHOP = '[shops.demo]\nclient_id = "id"\nclient_secret = "s"\n'
MINE = '[platforms.mine]\ntoken_url = "https://a.example/"\napi_url = "https://b.example/"\n'
ALL = EgressProxy("all.internal", 3128)
ENVIRON = {"HTTPS_PROXY": "http://env.internal:3128", "NO_PROXY": "x.example", "HTTP_PROXY": "http://no.internal:1"}
FROM_ENVIRON = EgressProxy("env.internal", 3128, no_proxy="x.example")
TRUSTED = "[upstream]\ntrust_env = true\n"


def load(directory: Path, text: str, environ: dict[str, str]) -> Config:
    path = directory / "config.toml"
    path.write_text(text + SHOP, encoding="utf-8")
    return load_config(path, environ)


def problems(directory: Path, text: str, environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(directory, text, environ)
    assert "s3cret" not in str(caught.value)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("", {}, None),
        ("", ENVIRON, None),
        ("[upstream]\ntrust_env = false\n", ENVIRON, None),
        (TRUSTED, {}, None),
        (TRUSTED, ENVIRON, FROM_ENVIRON),
        (TRUSTED, {"https_proxy": "low.internal:1", **ENVIRON}, EgressProxy("low.internal", 1, no_proxy="x.example")),
        (TRUSTED, {"https_proxy": "", **ENVIRON}, None),
        (TRUSTED, {"no_proxy": "", **ENVIRON}, EgressProxy("env.internal", 3128)),
        (TRUSTED, {"NO_PROXY": "x.example", "ALL_PROXY": "http://no.internal:1"}, None),
        ('[upstream]\nproxy = "http://all.internal:3128"\n', ENVIRON, ALL),
        ('[upstream]\nproxy = "http://all.internal:3128"\ntrust_env = true\n', ENVIRON, ALL),
        ('[upstream]\nproxy = "http://all.internal:3128"\ntrust_env = true\n', {"HTTPS_PROXY": "ftp://"}, ALL),
    ],
)
def test_platforms_without_one_of_their_own_get_the_proxy_for_all(
    tmp_path: Path, text: str, environ: dict[str, str], expected: EgressProxy | None
) -> None:
    config = load(tmp_path, text + MINE, environ)

    assert {name: platform.proxy for name, platform in config.platforms.items()} == dict.fromkeys(
        config.platforms, expected
    )
    assert config.shops.named["demo"].platform.proxy == expected


def test_a_platform_keeps_to_its_own_setting(tmp_path: Path) -> None:
    text = f"""
        {MINE}proxy = false
        [platforms.shoprenter]
        proxy = "http://me:s3cret@own.internal:3128"
        [upstream]
        proxy = "http://all.internal:3128"
        """
    config = load(tmp_path, text, {})

    own = EgressProxy("own.internal", 3128, "me", Secret("s3cret"))
    assert config.shops.named["demo"].platform.proxy == config.platforms["shoprenter"].proxy == own
    assert config.platforms["mine"].proxy is None
    assert config.platforms["toss-shopping"].proxy == config.upstream.proxy == ALL
    assert "s3cret" not in repr(config)


def test_the_url_may_stand_in_a_file_or_a_variable(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("http://me:s3cret@file.internal:3128\n")
    text = f'{MINE}proxy = {{ file = "proxy" }}\n[upstream]\nproxy = {{ env = "HTTPS_PROXY" }}\n'

    config = load(tmp_path, text, ENVIRON)

    assert config.platforms["mine"].proxy == EgressProxy("file.internal", 3128, "me", Secret("s3cret"))
    assert config.platforms["shoprenter"].proxy == EgressProxy("env.internal", 3128)


URL = 'must be the URL of an HTTP proxy such as "http://proxy.internal:3128", { file = "…" } or { env = "NAME" }'


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("[upstream]\nproxy = false\n", {}, f"upstream.proxy: {URL}, not false"),
        ("[upstream]\nproxy = 3128\n", {}, f"upstream.proxy: {URL}, not a number: write it in quotes"),
        (f"{MINE}proxy = true\n", {}, f"platforms.mine.proxy: {URL}, or false for none, not true"),
        ('[upstream]\nproxy = ""\n', {}, "upstream.proxy: the string is empty"),
        (
            '[upstream]\nproxy = { file = "none" }\n',
            {},
            "upstream.proxy: the file {} does not exist",
        ),
        (
            '[upstream]\nproxy = "https://me:s3cret@p.internal:3128"\n',
            {},
            "upstream.proxy: must begin with http://: proxies of other kinds (https://, socks5://) are not supported",
        ),
        (
            TRUSTED,
            {"HTTPS_PROXY": "http://me:s3cret@p.internal:3128/x"},
            "upstream.trust_env: the environment variable HTTPS_PROXY must have nothing after the port; in its user"
            " name and password, percent-encode everything but letters and digits (@ is %40)",
        ),
        (
            '[platforms.mine]\ntoken_url = "http://a.internal/"\napi_url = "http://b.internal/"\n'
            'allow_private = true\nproxy = "http://p.internal:3128"\n',
            {},
            "platforms.mine.proxy: is not used for http:// URLs, which are called directly: remove it",
        ),
    ],
)
def test_a_problem_says_where_and_what_to_do(tmp_path: Path, text: str, environ: dict[str, str], expected: str) -> None:
    assert problems(tmp_path, text, environ) == (expected.replace("{}", str(tmp_path / "none")),)


def test_a_proxy_has_an_effect_where_one_url_is_https() -> None:
    of = Platform("mine", "https://a.example/", "http://b.internal/", allow_private=True, proxy=ALL)

    assert not has_no_effect(of)
