"""A file becomes a `Config`, or a list of all that is wrong with it, in its order."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, load_config
from proxy.config.loading import BUILT_IN
from proxy.config.schema import LoggingConfig, ServerConfig, TokensConfig, UpstreamConfig
from proxy.platforms.platform import Credentials, Platform, RateLimit, TokenRequestForm
from proxy.platforms.shop import Shop
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret

DEMO = '[shops.demo]\nclient_id = "id"\nclient_secret = "s3cret"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def load(path: Path, text: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def test_a_shop_is_enough(path: Path) -> None:
    config = load(path, DEMO)

    assert config.shops.named == {"demo": Shop("demo", "demo", SHOPRENTER, Credentials("id", Secret("s3cret")))}
    assert config.shops.wildcard is None
    assert config.platforms == BUILT_IN
    assert config.server == ServerConfig()
    assert config.upstream == UpstreamConfig()
    assert config.tokens == TokensConfig()
    assert config.logging == LoggingConfig()


def test_every_section_is_taken(path: Path) -> None:
    config = load(
        path,
        """
        [server]
        host = "0.0.0.0"
        port = 80
        public_url = "https://Example.com:443/shops/"
        route_by_host = false
        allow_anonymous = true
        drain_timeout = 1
        [upstream]
        connect_timeout = 2
        read_timeout = 3
        max_body_size = 4
        [tokens]
        refresh_margin = 5
        max_age = 6
        fetch_timeout = 7
        unauthorized_pause = 8
        max_entries = 9
        first_requests_per_second = 0.5
        [logging]
        format = "console"
        level = "debug"
        """
        + DEMO,
    )

    assert config.server == ServerConfig(
        host="0.0.0.0",
        port=80,
        public_url="https://example.com/shops",
        route_by_host=False,
        allow_anonymous=True,
        drain_timeout=1.0,
    )
    assert config.upstream == UpstreamConfig(connect_timeout=2.0, read_timeout=3.0, max_body_size=4)
    assert config.tokens == TokensConfig(
        refresh_margin=5.0,
        max_age=6.0,
        fetch_timeout=7.0,
        unauthorized_pause=8.0,
        max_entries=9,
        first_requests_per_second=0.5,
    )
    assert config.logging == LoggingConfig(format="console", level="debug")


def test_files_are_sought_from_the_directory_of_the_configuration(path: Path) -> None:
    (path.parent / "secrets").mkdir()
    (path.parent / "secrets" / "demo").write_text("from a file\n")

    config = load(path, DEMO.replace('"s3cret"', '{ file = "secrets/demo" }'))

    assert config.shops.named["demo"].credentials.client_secret == Secret("from a file")


def test_an_alias_keeps_the_platforms_own_name(path: Path) -> None:
    shop = load(path, DEMO + 'shop_name = "demo-2"\n').shops.named["demo"]

    assert (shop.key, shop.name) == ("demo", "demo-2")


def test_the_wildcard_serves_what_has_no_entry(path: Path) -> None:
    text = DEMO + '[shops."*"]\nplatform = "toss-shopping"\nclient_id = "app"\nclient_secret = "app-s3cret"\n'

    shops = load(path, text).shops

    assert list(shops.named) == ["demo"]
    assert shops.wildcard == (TOSS_SHOPPING, Credentials("app", Secret("app-s3cret")))


def test_a_platform_of_the_users_own_may_stand_below_its_shop(path: Path) -> None:
    config = load(
        path,
        DEMO
        + """
        platform = "mine"
        [platforms.mine]
        token_url = "https://auth.example.com/{shop}/token"
        api_url = "https://{shop}.example.com/api/"
        token_request = "basic"
        scope = "orders:read"
        token_params = { audience = "https://api.example.com" }
        hosts = ["{shop}.old.example.com", "old.example.com"]
        rewrite_links = true
        answers_in_xml = true
        api_prefix = "v1"
        forwarded_headers = true
        allow_private = true
        """,
    )

    mine = Platform(
        name="mine",
        token_url="https://auth.example.com/{shop}/token",
        api_url="https://{shop}.example.com/api/",
        token_request=TokenRequestForm.BASIC,
        scope="orders:read",
        token_params={"audience": "https://api.example.com"},
        hosts=("{shop}.old.example.com", "old.example.com"),
        rewrite_links=True,
        answers_in_xml=True,
        api_prefix="v1",
        forwarded_headers=True,
        allow_private=True,
    )
    assert config.platforms == {**BUILT_IN, "mine": mine}
    assert config.shops.named["demo"].platform == mine


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_platform_keeps_what_the_file_does_not_name(path: Path, name: str) -> None:
    built_in = BUILT_IN[name]

    config = load(path, DEMO + f'[platforms.{name}]\napi_url = "https://api.example.com/"\n')

    changed = replace(built_in, api_url="https://api.example.com/")
    assert config.platforms == {**BUILT_IN, name: changed}


def test_a_changed_built_in_platform_is_the_one_that_shops_use(path: Path) -> None:
    config = load(path, DEMO + "[platforms.shoprenter]\nforwarded_headers = true\n")

    assert config.shops.named["demo"].platform.forwarded_headers is True


def test_a_built_in_platform_may_leave_links_and_hosts_alone(path: Path) -> None:
    config = load(path, DEMO + "[platforms.shoprenter]\nrewrite_links = false\nhosts = []\n")

    assert config.shops.named["demo"].platform == replace(SHOPRENTER, rewrite_links=False, hosts=())


def test_a_file_that_is_missing_is_told(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    assert caught.value.problems == (f"the file {path} does not exist; shop-auth-proxy init makes one",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"client_secret = s3cret", 'line 1: not TOML: a string needs quotes around it: client_secret = "…"'),
        (b'[shops.demo]\nclient_secret = "s3cret', "line 2: not TOML: the closing quote is missing"),
        (b"a = 1\na = 2", "line 2: not TOML: a is set twice, first in line 1: remove one of the two"),
        (b"\xff", "the file FILE is not UTF-8 (in its line 1): save it as UTF-8"),
        (b"a = " + b"1" * 5000, "a number in the file is too large, or its tables are nested too deeply"),
        (b"a = " + b"[" * 5000, "a number in the file is too large, or its tables are nested too deeply"),
    ],
    ids=["bare", "unclosed", "twice", "not-utf-8", "number", "nesting"],
)
def test_a_file_that_is_not_toml_is_told_with_the_line(path: Path, content: bytes, expected: str) -> None:
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    [problem] = caught.value.problems
    assert problem.replace(str(path), "FILE") == expected
    assert "s3cret" not in "".join((problem, *caught.value.excerpt))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a = " + "1" * 5000, "line 2: this number is too large"),
        ('a = ["]", {c = ' + "1_0" * 5000, "line 2: this number is too large"),
        ("a = " + "[" * 5000, "line 2: tables and lists are nested too deeply"),
        ('a = "[[" # [[\nb = ' + "[\n" * 2000, "line 53: tables and lists are nested too deeply"),
    ],
    ids=["number", "number-in-a-table", "nesting", "strings"],
)
def test_what_is_too_much_for_the_parser_is_told_with_its_line(path: Path, line: str, told: str) -> None:
    path.write_text(f"# a comment\n{line}", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    assert caught.value.told == (told,)
    [line, caret] = caught.value.excerpt
    assert line[caret.index("^")] in "[·"  # digits may be a secret


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("read_timeout = 1e400", "must be a number of seconds above 0; this number is too large"),
        (f"read_timeout = 1{'0' * 400}", "must be a number of seconds above 0; this number is too large"),
        ("read_timeout = -inf", "must be a number of seconds above 0"),
    ],
)
def test_of_a_number_that_is_too_large_that_is_said(path: Path, setting: str, expected: str) -> None:
    path.write_text(f"{DEMO}[upstream]\n{setting}\n", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    assert caught.value.problems == (f"upstream.read_timeout: {expected}",)


def test_a_byte_order_mark_before_the_file_is_passed_over(path: Path) -> None:
    assert load(path, f"\ufeff{DEMO}").shops == load(path, DEMO).shops


def test_no_repr_shows_a_secret(path: Path) -> None:
    config = load(path, f'{DEMO}[shops."*"]\nclient_id = "app"\nclient_secret = "s3cret"\n')

    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config)
    assert "s3cret" not in f"{config}"


def test_an_error_carries_nothing_that_could_hold_a_secret(path: Path) -> None:
    (path.parent / "secret").write_bytes(b"s3cret\xff")

    with pytest.raises(ConfigError) as caught:
        load(path, DEMO.replace('"s3cret"', '{ file = "secret" }'))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ requests = 5, per = 2.5 }", RateLimit(5, 2.5)),
        ("{ requests = 5 }", RateLimit(5, 1.0)),
        ("false", None),
    ],
)
def test_a_rate_limit_may_be_changed_or_switched_off(path: Path, text: str, expected: RateLimit | None) -> None:
    config = load(path, DEMO + f"[platforms.shoprenter]\nrate_limit = {text}\n")

    assert config.platforms["shoprenter"].rate_limit == expected
    assert config.shops.named["demo"].platform.rate_limit == expected
