"""One shop without a file: from variables, whose names the problems bear."""

from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, load_config
from proxy.config.clients import NAME_RULE
from proxy.config.environment import CONFIG, VARIABLES, mistyped
from proxy.config.schema import AdminConfig, ClientConfig, LoggingConfig, ServerConfig, setting_names
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from proxy.secret import Secret

MINIMAL = {
    "SHOP_AUTH_PROXY_SHOP": "demo",
    "SHOP_AUTH_PROXY_CLIENT_ID": "id",
    "SHOP_AUTH_PROXY_CLIENT_SECRET": "s3cret",
}
PASSWORD = "s3cret-of-the-client"
NO_FILE = {name: value for name, value in MINIMAL.items() if name != "SHOP_AUTH_PROXY_CLIENT_SECRET"}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environ)
    assert "s3cret" not in str(caught.value)
    return caught.value.problems


def test_three_variables_are_enough() -> None:
    config = load_config(None, {**MINIMAL, "PATH": "/bin"})

    shop = Shop("demo", "demo", SHOPRENTER, Credentials("id", Secret("s3cret")))
    assert config.shops == Shops({"demo": shop})
    assert config.server == ServerConfig()


def test_every_variable_has_its_effect(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")

    config = load_config(
        None,
        {
            **NO_FILE,
            "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
            "SHOP_AUTH_PROXY_PLATFORM": "toss-shopping",
            "SHOP_AUTH_PROXY_HOST": "0.0.0.0",
            "SHOP_AUTH_PROXY_PORT": "0",
            "SHOP_AUTH_PROXY_ALLOW_ANONYMOUS": "true",
            "SHOP_AUTH_PROXY_ADMIN_HOST": "::",
            "SHOP_AUTH_PROXY_ADMIN_PORT": "9000",
            "SHOP_AUTH_PROXY_LOG_FORMAT": "json",
            "SHOP_AUTH_PROXY_LOG_LEVEL": "debug",
        },
    )

    assert config.shops.named["demo"].platform == TOSS_SHOPPING
    assert config.shops.named["demo"].credentials == Credentials("id", Secret("s3cret"))
    assert config.server == ServerConfig(host="0.0.0.0", port=0, allow_anonymous=True)
    assert config.admin == AdminConfig(host="::", port=9000)
    assert config.logging == LoggingConfig(format="json", level="debug")


def test_an_empty_host_is_every_address_as_in_the_file() -> None:
    every = {"SHOP_AUTH_PROXY_HOST": "", "SHOP_AUTH_PROXY_ADMIN_HOST": "", "SHOP_AUTH_PROXY_ALLOW_ANONYMOUS": "true"}

    config = load_config(None, MINIMAL | every)

    assert (config.server.host, config.admin.host) == ("", "")


def test_an_empty_host_wants_clients_or_a_word_that_anybody_may_call() -> None:
    [problem] = problems(MINIMAL | {"SHOP_AUTH_PROXY_HOST": ""})

    assert problem.startswith("SHOP_AUTH_PROXY_HOST: is every address, so anyone who can reach it could use every shop")


def test_names_in_lower_case_are_told_of() -> None:
    [problem] = problems({"shop_auth_proxy_shop": "demo"})

    assert problem.endswith("; shop_auth_proxy_shop is ignored: these names are in upper case")


def test_ports_that_are_the_same_are_told_by_the_names_of_their_variables() -> None:
    assert problems({**MINIMAL, "SHOP_AUTH_PROXY_PORT": "9090"}) == (
        "SHOP_AUTH_PROXY_ADMIN_PORT: is SHOP_AUTH_PROXY_PORT too: choose another one, or 0 for any free port",
    )


@pytest.mark.parametrize("in_file", [True, False])
def test_a_client_may_be_named_and_then_others_than_this_machine_may_call(tmp_path: Path, in_file: bool) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    password = {"_FILE": str(tmp_path / "password")} if in_file else {"": PASSWORD}

    config = load_config(
        None,
        {
            **MINIMAL,
            "SHOP_AUTH_PROXY_HOST": "0.0.0.0",
            "SHOP_AUTH_PROXY_CLIENT_NAME": "erp",
            **{f"SHOP_AUTH_PROXY_CLIENT_PASSWORD{ending}": value for ending, value in password.items()},
        },
    )

    assert config.clients == {"erp": ClientConfig(secret=Secret(PASSWORD))}


def test_a_secret_file_is_sought_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("s3cret")
    monkeypatch.chdir(tmp_path)

    config: Config = load_config(None, {**NO_FILE, "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE": "secret"})

    assert config.shops.named["demo"].credentials.client_secret == Secret("s3cret")


@pytest.mark.parametrize("environ", [{}, {"PATH": "/bin"}, {"SHOP_AUTH_PROXY_PORT": "tcp://10.0.0.1:8080"}])
def test_without_file_and_variables_both_ways_are_shown(environ: dict[str, str]) -> None:
    assert problems(environ) == (
        "there is no configuration: create one with shop-auth-proxy init, name a file with --config FILE (default:"
        " config.toml in the working directory), or, for one shop, set and export SHOP_AUTH_PROXY_SHOP,"
        " SHOP_AUTH_PROXY_CLIENT_ID and SHOP_AUTH_PROXY_CLIENT_SECRET (or SHOP_AUTH_PROXY_CLIENT_SECRET_FILE)",
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"SHOP": "Demo"}, 'SHOP_AUTH_PROXY_SHOP: shop names are lower case: write "demo"'),
        (
            {"SHOP": "a.b"},
            "SHOP_AUTH_PROXY_SHOP: a shop name has 1 to 63 of the characters a-z, 0-9 and hyphen, and no hyphen at"
            " either end; for Shoprenter, write the first label of its ….myshoprenter.hu address, not its own domain",
        ),
        (
            {"SHOP": '"demo"'},
            "SHOP_AUTH_PROXY_SHOP: has quotes around it, which count as part of it here: write demo without them",
        ),
        (
            {"SHOP": "*"},
            'SHOP_AUTH_PROXY_SHOP: these variables are for one shop; for all shops, write [shops."*"] in a file',
        ),
        ({"SHOP": ""}, "SHOP_AUTH_PROXY_SHOP: is empty: give it a value, or unset it"),
        ({"CLIENT_ID": ""}, "SHOP_AUTH_PROXY_CLIENT_ID: is empty: give it a value, or unset it"),
        ({"CLIENT_SECRET": ""}, "SHOP_AUTH_PROXY_CLIENT_SECRET: is empty: give it a value, or unset it"),
        (
            {"CLIENT_SECRET": "s3cret\n"},
            "SHOP_AUTH_PROXY_CLIENT_SECRET: the environment variable SHOP_AUTH_PROXY_CLIENT_SECRET has more"
            " than one line, or an empty line at its end: it must contain the secret and nothing else",
        ),
        (
            {"CLIENT_SECRET_FILE": "/none"},
            "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE: is set as well as SHOP_AUTH_PROXY_CLIENT_SECRET: remove one of the"
            " two",
        ),
        (
            {"HOST": "::"},
            "SHOP_AUTH_PROXY_HOST: is not a loopback address, so anyone who can reach it could use every shop with"
            ' your credentials: write "127.0.0.1", or say who may call (SHOP_AUTH_PROXY_CLIENT_NAME;'
            " shop-auth-proxy new-client NAME makes one), or set SHOP_AUTH_PROXY_ALLOW_ANONYMOUS = true if anyone"
            " may",
        ),
        (
            {"PORT": "http"},
            "SHOP_AUTH_PROXY_PORT: must be a whole number from 0 to 65535 (0: any free port)",
        ),
        (
            {"PORT": '"8080"'},
            "SHOP_AUTH_PROXY_PORT: has quotes around it, which count as part of it here: write it without them",
        ),
        (
            {"HOST": "localhost\r"},
            "SHOP_AUTH_PROXY_HOST: ends with a line end, as lines in files of Windows do: save that file with the line"
            " ends of Linux",
        ),
        ({"CLIENT_ID": " app"}, "SHOP_AUTH_PROXY_CLIENT_ID: begins or ends with a space: remove it"),
        (
            {"LOG_LEVEL": "WARN"},
            'SHOP_AUTH_PROXY_LOG_LEVEL: must be "debug", "info", "warning" or "error"; did you mean "warning"?',
        ),
        ({"ALLOW_ANONYMOUS": "yes"}, "SHOP_AUTH_PROXY_ALLOW_ANONYMOUS: must be true or false"),
        ({"PLATFORM": "shop-renter"}, "SHOP_AUTH_PROXY_PLATFORM: unknown platform: did you mean shoprenter?"),
        (
            {"CLIENT_NAME": "erp"},
            "SHOP_AUTH_PROXY_CLIENT_PASSWORD: is missing: set it, or SHOP_AUTH_PROXY_CLIENT_PASSWORD_FILE",
        ),
        ({"CLIENT_PASSWORD": PASSWORD}, "SHOP_AUTH_PROXY_CLIENT_NAME: is missing: set it to the client's name"),
        (
            {"CLIENT_NAME": "erp", "CLIENT_PASSWORD": PASSWORD, "CLIENT_PASSWORD_FILE": "/none"},
            "SHOP_AUTH_PROXY_CLIENT_PASSWORD_FILE: is set as well as SHOP_AUTH_PROXY_CLIENT_PASSWORD: remove one of the"
            " two",
        ),
        (
            {"CLIENT_NAME": "erp", "CLIENT_PASSWORD_FILE": "/none"},
            "SHOP_AUTH_PROXY_CLIENT_PASSWORD_FILE: the file /none does not exist",
        ),
        (
            {"CLIENT_NAME": "", "CLIENT_PASSWORD": PASSWORD},
            "SHOP_AUTH_PROXY_CLIENT_NAME: is empty: give it a value, or unset it",
        ),
        (
            {"CLIENT_NAME": "e:rp", "CLIENT_PASSWORD": PASSWORD},
            f"SHOP_AUTH_PROXY_CLIENT_NAME: {NAME_RULE}",
        ),
        (
            {"CLIENT_NAME": "erp", "CLIENT_PASSWORD": "s3cret"},
            "SHOP_AUTH_PROXY_CLIENT_PASSWORD: is shorter than 8 characters and could be guessed: make one with"
            " shop-auth-proxy new-client NAME",
        ),
        (
            {"CLIENT_NAME": "erp", "CLIENT_PASSWORD": PASSWORD, "ALLOW_ANONYMOUS": "true"},
            "SHOP_AUTH_PROXY_ALLOW_ANONYMOUS: has no effect with SHOP_AUTH_PROXY_CLIENT_NAME, since every request"
            " then needs the credentials of a client: remove one of the two",
        ),
        (
            {"TOKEN_URL": "https://a.example"},
            "SHOP_AUTH_PROXY_TOKEN_URL: unknown variable; other settings than these need a configuration file: "
            + ", ".join(sorted({*VARIABLES, CONFIG})),
        ),
        ({"SHOPS": "demo"}, "SHOP_AUTH_PROXY_SHOPS: unknown variable: did you mean SHOP_AUTH_PROXY_SHOP?"),
    ],
)
def test_a_problem_bears_the_name_of_its_variable(changed: dict[str, str], expected: str) -> None:
    assert problems(MINIMAL | {f"SHOP_AUTH_PROXY_{name}": value for name, value in changed.items()}) == (expected,)


def test_a_secret_file_that_is_missing_is_told_with_its_variable() -> None:
    assert problems({**NO_FILE, "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE": "/none"}) == (
        "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE: the file /none does not exist",
    )


def test_all_problems_are_told_at_once() -> None:
    assert problems({"SHOP_AUTH_PROXY_PORT": "x", "SHOP_AUTH_PROXY_HOTS": "::1"}) == (
        "SHOP_AUTH_PROXY_HOTS: unknown variable: did you mean SHOP_AUTH_PROXY_HOST?",
        "SHOP_AUTH_PROXY_SHOP: is missing: set it to the shop's name",
        "SHOP_AUTH_PROXY_CLIENT_SECRET: is missing: set it, or SHOP_AUTH_PROXY_CLIENT_SECRET_FILE",
        "SHOP_AUTH_PROXY_CLIENT_ID: is missing: it must be a string, not empty and without control characters",
        "SHOP_AUTH_PROXY_PORT: must be a whole number from 0 to 65535 (0: any free port)",
    )


def test_variables_that_kubernetes_makes_for_a_service_are_not_ours() -> None:
    service = {
        "SHOP_AUTH_PROXY_SERVICE_HOST": "10.0.0.1",
        "SHOP_AUTH_PROXY_SERVICE_PORT": "8080",
        "SHOP_AUTH_PROXY_SERVICE_PORT_HTTP": "8080",
        "SHOP_AUTH_PROXY_PORT": "tcp://10.0.0.1:8080",
        "SHOP_AUTH_PROXY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "SHOP_AUTH_PROXY_PORT_8080_TCP_PROTO": "tcp",
        "SHOP_AUTH_PROXY_PORT_8080_TCP_PORT": "8080",
        "SHOP_AUTH_PROXY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "SHOP_AUTH_PROXY_ADMIN_PORT": "tcp://10.0.0.1:9090",
        "SHOP_AUTH_PROXY_ADMIN_SERVICE_HOST": "10.0.0.1",
    }

    assert load_config(None, MINIMAL | service) == load_config(None, MINIMAL)


def write_file(directory: Path, secret: str) -> Path:
    path = directory / "config.toml"
    path.write_text(f'[shops.demo]\nclient_id = "id"\nclient_secret = {secret}\n')
    return path


def test_a_variable_of_this_form_beside_a_file_is_refused_since_it_would_have_no_effect(tmp_path: Path) -> None:
    path = write_file(tmp_path, '"s3cret"')

    with pytest.raises(ConfigError) as caught:
        load_config(path, {"SHOP_AUTH_PROXY_PORT": "9000", "SHOP_AUTH_PROXY_ADMIN_PORT": "1"})

    sentence = (
        f"has no effect next to the configuration file {path}: write the setting there and unset this, or do"
        " without the file"
    )
    assert caught.value.problems == (f"SHOP_AUTH_PROXY_ADMIN_PORT: {sentence}", f"SHOP_AUTH_PROXY_PORT: {sentence}")


def test_a_file_may_take_its_secret_from_a_variable_of_any_name(tmp_path: Path) -> None:
    path = write_file(tmp_path, '{ env = "SHOP_AUTH_PROXY_CLIENT_SECRET" }')

    config = load_config(path, {"SHOP_AUTH_PROXY_CLIENT_SECRET": "s3cret", "SHOP_AUTH_PROXY_OTHER_SECRET": "x"})

    assert config.shops.named["demo"].credentials.client_secret == Secret("s3cret")


def test_every_variable_stands_for_a_setting() -> None:
    names = {*setting_names(), "shops.NAME", "clients.NAME"}

    assert {".".join(place) for place in VARIABLES.values()} <= names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SHOP_AUTH_PROXY_CLEINT_ID", "SHOP_AUTH_PROXY_CLIENT_ID"),
        ("SHOP_AUTH_PROXY_CONFG", "SHOP_AUTH_PROXY_CONFIG"),
        ("SHOP_AUTHPROXY_PORT", "SHOP_AUTH_PROXY_PORT"),
        ("shop_auth_proxy_prot", "SHOP_AUTH_PROXY_PORT"),
    ],
)
def test_a_variable_that_is_nearly_one_of_these_is_told_of(name: str, meant: str) -> None:
    sentence = f"{name} is set, but there is no such variable: did you mean {meant}?"

    assert list(mistyped({name: "s3cret", "SHOPPING": "x"})) == [sentence]
    assert list(mistyped({name: "s3cret"}, {name})) == []


@pytest.mark.parametrize(
    "name",
    [
        "SHOP_AUTH_PROXY_CONFIG",
        "SHOP_AUTH_PROXY_CLIENT_ID",
        "SHOP_AUTH_PROXY_OTHER_SECRET",
        "SHOP_AUTH_PROXY_SERVICE_PORT",
        "SHOP_AUTH_PROXY_SERVICE_HOST",
        "SHOPS",
        "XSHOP_AUTH_PROXY_PORT",
    ],
)
def test_others_are_the_users_own(name: str) -> None:
    assert list(mistyped({name: "x"})) == []


def test_where_only_the_name_of_the_file_is_mistyped_nothing_else_is_asked_for() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"SHOP_AUTH_PROXY_CONFG": "/etc/x.toml"})

    assert caught.value.problems == ("SHOP_AUTH_PROXY_CONFG: unknown variable: did you mean SHOP_AUTH_PROXY_CONFIG?",)
