"""A single value: what it becomes, or which sentence says why it can't be used."""

import datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from msgspec.structs import fields

from proxy.config.files import Unusable
from proxy.config.schema import NAMED_SECTIONS, SECTIONS
from proxy.config.values import ValueReader
from proxy.platforms.answers import InBody
from proxy.platforms.platform import TokenRequestForm

TEXT = "must be a string, not empty and without control characters"
PORT = "must be a whole number from 0 to 65535 (0: any free port)"
SECONDS = "must be a number of seconds above 0"
NETWORKS = 'must be a list of IP addresses and networks (without host bits), each a string such as "10.0.0.0/8"'
PUBLIC_URL = 'must be a URL with https:// or http://, such as "https://example.com/shops", without a query'
DIGEST = "must be the SHA-256 digest of a secret, 64 hexadecimal digits in quotes"
SHOPS = 'must be a list of shops, such as ["demo"], or ["*"] for all; not empty'
METHODS = 'must be a list of methods, such as ["GET"], or ["*"] for all; not empty'
SCHEME = 'must be a string in printable ASCII without spaces, such as "Bearer", or "" for the token alone'
ANSWERS = (
    'must be a list of statuses from 400 to 599, or of values in JSON such as { status = 200, path = "error.code",'
    ' equals = "TOO_FAST" }'
)
HUGE = 10**5000

ANNOTATIONS = {
    f"{section}.{field.name}": field.type
    for section, schema in [*SECTIONS.items(), *NAMED_SECTIONS.items()]
    for field in fields(schema)
}


def read(setting: str, value: object, *, from_text: bool = False) -> object:
    return ValueReader(Path(), {}, from_text=from_text).read(ANNOTATIONS[setting], value)


def refusal(setting: str, value: object, *, from_text: bool = False) -> str:
    with pytest.raises(Unusable) as caught:
        read(setting, value, from_text=from_text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("server.port", 0, 0),
        ("server.port", 65535, 65535),
        ("server.allow_anonymous", True, True),
        ("server.public_url", "https://shops.example.com", None),
        ("server.public_url", "HTTP://Example.com:80/shops/", "http://example.com/shops"),
        ("server.public_url", "http://[::1]:8080/", "http://[::1]:8080"),
        ("server.route_by_host", False, False),
        ("platforms.hosts", ["{shop}.old.example.com"], ("{shop}.old.example.com",)),
        ("platforms.rewrite_links", True, True),
        ("platforms.answers_in_xml", True, True),
        ("server.drain_timeout", 0, 0.0),
        ("upstream.read_timeout", 1, 1.0),
        ("upstream.read_timeout", 0.001, 0.001),
        ("upstream.max_body_size", 0, 0),
        ("tokens.unauthorized_pause", 0, 0.0),
        ("tokens.max_entries", 1, 1),
        ("tokens.first_requests_per_second", 0.5, 0.5),
        ("logging.format", "console", "console"),
        ("platforms.token_request", "basic", TokenRequestForm.BASIC),
        ("platforms.token_request", "basic-raw", TokenRequestForm.BASIC_RAW),
        ("platforms.token_header", "X-Shopify-Access-Token", "X-Shopify-Access-Token"),
        ("platforms.token_scheme", "", ""),
        ("platforms.token_scheme", "Zoho-oauthtoken", "Zoho-oauthtoken"),
        ("platforms.batch_path", "", ""),
        ("platforms.batch_path", "v1/batch", "v1/batch"),
        ("platforms.throttled_when", [], ()),
        ("platforms.throttled_when", [400, 599], (400, 599)),
        (
            "platforms.unauthorized_when",
            [401, {"status": 200, "path": "a.b", "equals": "EXPIRED", "not_carried_out": True}],
            (401, InBody(200, "a.b", "EXPIRED", not_carried_out=True)),
        ),
        ("platforms.throttled_when", [{"status": 599, "path": "a", "equals": 5}], (InBody(599, "a", "5"),)),
        ("platforms.token_params", {"audience": "https://api.example.com", "empty": ""}, None),
        ("platforms.api_prefix", "", ""),
        ("platforms.api_prefix", "a", "a"),
        ("platforms.api_prefix", "api/v3/shopping-fep", "api/v3/shopping-fep"),
        ("shops.client_id", "ügyfél 1", "ügyfél 1"),
        ("clients.secret_sha256", "0aF9" * 16, "0aF9" * 16),
        ("clients.shops", ["demo", "*"], ("demo", "*")),
        ("clients.methods", ["GET"], ("GET",)),
    ],
)
def test_a_usable_value_is_taken_as_it_is(setting: str, value: object, expected: object) -> None:
    expected = value if expected is None else expected

    result = read(setting, value)

    assert result == expected
    assert not isinstance(expected, float) or type(result) is float


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("server.port", -1, PORT),
        ("server.port", 65536, PORT),
        pytest.param("server.port", HUGE, PORT, id="huge-port"),
        ("server.port", 80.0, PORT),
        ("server.port", "8080", f"{PORT}, not a string: write it without quotes"),
        ("server.port", True, f"{PORT}, not true"),
        ("server.port", [8080], f"{PORT}, not a list"),
        ("server.port", {}, f"{PORT}, not a table"),
        ("server.port", datetime.date(2026, 1, 1), f"{PORT}, not a date or time"),
        ("server.allow_anonymous", "true", "must be true or false, not a string: write it without quotes"),
        ("server.allow_anonymous", 1, "must be true or false, not a number"),
        ("server.public_url", "", PUBLIC_URL),
        ("server.public_url", "shops.example.com", PUBLIC_URL),
        ("server.public_url", "ftp://shops.example.com", PUBLIC_URL),
        ("server.public_url", "https://user@shops.example.com", PUBLIC_URL),
        ("server.public_url", "https://shops.example.com/?a", PUBLIC_URL),
        ("server.public_url", "https://shops.example.com/#", PUBLIC_URL),
        ("server.public_url", "https://shops.example.com/\n", PUBLIC_URL),
        ("server.public_url", 3, f"{PUBLIC_URL}, not a number: write it in quotes"),
        ("server.route_by_host", "no", "must be true or false, not a string"),
        ("platforms.hosts", [""], "must be a list of strings, none of them empty"),
        ("platforms.hosts", ["a\n"], "must be a list of strings, none of them empty"),
        ("platforms.hosts", [3], "must be a list of strings, none of them empty"),
        ("platforms.hosts", {}, "must be a list of strings, none of them empty, not a table"),
        ("server.drain_timeout", -0.1, "must be a number of seconds, 0 or more"),
        ("upstream.read_timeout", 0, SECONDS),
        ("upstream.read_timeout", True, f"{SECONDS}, not true"),
        ("upstream.read_timeout", float("inf"), SECONDS),
        ("upstream.read_timeout", float("nan"), SECONDS),
        pytest.param("upstream.read_timeout", HUGE, SECONDS, id="huge-timeout"),
        ("upstream.max_body_size", -1, "must be a whole number of bytes, 0 or more"),
        ("upstream.max_body_size", 1.5, "must be a whole number of bytes, 0 or more"),
        ("upstream.ca_file", "", "must be the name of a file, a string that is not empty"),
        (
            "upstream.ca_file",
            3,
            "must be the name of a file, a string that is not empty, not a number: write it in quotes",
        ),
        ("tokens.unauthorized_pause", -1, "must be a number of seconds, 0 or more"),
        ("tokens.max_entries", 0, "must be a whole number, 1 or more"),
        ("tokens.max_entries", 1.5, "must be a whole number, 1 or more"),
        ("tokens.first_requests_per_second", 0, "must be a number above 0"),
        ("tokens.first_requests_per_second", True, "must be a number above 0, not true"),
        ("logging.format", "xml", 'must be "auto", "json" or "console"'),
        ("logging.level", 3, 'must be "debug", "info", "warning" or "error", not a number: write it in quotes'),
        ("shops.client_id", "", TEXT),
        ("shops.client_id", "a\n", TEXT),
        ("shops.client_id", "a\x85", TEXT),
        ("shops.client_id", "\udc80", TEXT),
        ("shops.client_id", 12, f"{TEXT}, not a number: write it in quotes"),
        ("clients.secret_sha256", "0" * 63, f"{DIGEST}"),
        ("clients.secret_sha256", "0" * 65, f"{DIGEST}"),
        ("clients.secret_sha256", "g" * 64, f"{DIGEST}"),
        ("clients.secret_sha256", "0" * 64 + "\n", f"{DIGEST}"),
        ("clients.secret_sha256", 0, f"{DIGEST}, not a number: write it in quotes"),
        ("clients.shops", [], SHOPS),
        ("clients.shops", "demo", f'{SHOPS}, not a string: write it in brackets, ["…"]'),
        ("clients.shops", [1], SHOPS),
        ("clients.methods", [], METHODS),
        ("clients.methods", True, f"{METHODS}, not true"),
        ("platforms.token_request", "xml", 'must be "form", "json", "basic" or "basic-raw"'),
        ("platforms.token_header", "", TEXT),
        ("platforms.token_scheme", "a b", SCHEME),
        ("platforms.token_scheme", "a\r\nb", SCHEME),
        ("platforms.token_scheme", "é", SCHEME),
        ("platforms.token_scheme", 5, f"{SCHEME}, not a number: write it in quotes"),
        ("platforms.throttled_when", 429, f"{ANSWERS}, not a number"),
        ("platforms.throttled_when", {"status": 429}, f"{ANSWERS}, not a table"),
        (
            "platforms.throttled_when",
            [399, 429, 600, True, "429", 429.0, []],
            f"{ANSWERS}; see entry 1, 3, 4, 5, 6, 7",
        ),
        *(
            ("platforms.unauthorized_when", [401, table], f"{ANSWERS}; see entry 2")
            for table in (
                {},
                {"status": 200},
                {"status": 200, "path": "a"},
                {"status": 200, "path": "a", "equals": ""},
                {"status": 200, "path": "a", "equals": "b\n"},
                {"status": 200, "path": "a", "equals": True},
                {"status": 200, "path": "a", "equals": ["b"]},
                {"status": 200, "path": "", "equals": "b"},
                {"status": 200, "path": "a..b", "equals": "b"},
                {"status": 200, "path": ["a"], "equals": "b"},
                {"status": 199, "path": "a", "equals": "b"},
                {"status": True, "path": "a", "equals": "b"},
                {"status": "200", "path": "a", "equals": "b"},
                {"status": 200, "path": "a", "equals": "b", "not_carried_out": "yes"},
                {"status": 200, "path": "a", "equals": "b", "not_caried_out": True},
            )
        ),
        ("platforms.api_prefix", "/", 'must be a string in printable ASCII without "/" at its ends, such as "api/v1"'),
        ("platforms.api_prefix", "/a", 'must be a string in printable ASCII without "/" at its ends, such as "api/v1"'),
        ("platforms.api_prefix", "a/", 'must be a string in printable ASCII without "/" at its ends, such as "api/v1"'),
        (
            "platforms.api_prefix",
            "a b",
            'must be a string in printable ASCII without "/" at its ends, such as "api/v1"',
        ),
        ("platforms.token_params", {"a": 1}, "must be a table of strings, none of them with control characters"),
        ("platforms.token_params", {"a": "\n"}, "must be a table of strings, none of them with control characters"),
        ("platforms.token_params", {"\n": "a"}, "must be a table of strings, none of them with control characters"),
        ("platforms.token_params", [], "must be a table of strings, none of them with control characters, not a list"),
        (
            "platforms.token_params",
            {"scope": "a", "audience": "b", "client_id": "c"},
            "must not contain client_id, scope: the token request takes that from the other settings",
        ),
    ],
)
def test_an_unusable_value_is_answered_with_what_it_must_be(setting: str, value: object, sentence: str) -> None:
    assert refusal(setting, value) == sentence


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "",
        "::",
        "::1",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "localhost",
        "proxy.example.com",
        "a_b",
    ],
)
def test_a_host_may_be_an_address_or_a_name(host: str) -> None:
    assert read("server.host", host) == host


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1:80", "a b", "http://a", "a/b", "-a", "a.", "localhost\n", "ä.hu"])
def test_a_host_that_could_not_be_one_is_refused(host: str) -> None:
    assert (
        refusal("server.host", host)
        == 'must be an IP address or a host name, without a port, such as "127.0.0.1", or "" for every address'
    )


def test_trusted_proxies_may_be_single_addresses() -> None:
    assert read("server.trusted_proxies", ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]) == (
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.1/32"),
        ip_network("2001:db8::/32"),
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (["10.0.0.0/8", "10.0.0.1/8", "::1", "proxy", 5], f"{NETWORKS}; see entry 2, 4, 5"),
        ([["10.0.0.0/8"], ""], f"{NETWORKS}; see entry 1, 2"),
        ("10.0.0.0/8", f'{NETWORKS}, not a string: write it in brackets, ["…"]'),
        (5, f"{NETWORKS}, not a number"),
    ],
)
def test_trusted_proxies_that_are_none_are_counted_out(value: object, sentence: str) -> None:
    assert refusal("server.trusted_proxies", value) == sentence


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        ("server.port", "8080", 8080),
        ("server.allow_anonymous", "true", True),
        ("server.allow_anonymous", "false", False),
    ],
)
def test_numbers_and_flags_from_the_environment_are_read_from_text(setting: str, text: str, expected: object) -> None:
    assert read(setting, text, from_text=True) == expected


@pytest.mark.parametrize("text", ["", " 80", "80 ", "0x50", "eighty", "-1", "65536"])
def test_a_number_from_the_environment_that_is_none_is_refused(text: str) -> None:
    assert refusal("server.port", text, from_text=True) == PORT


def test_a_port_may_come_from_the_environment(tmp_path: Path) -> None:
    values = ValueReader(tmp_path, {"ADMIN_PORT": "9091", "WRONG": "nine", "HIGH": "65536"}, from_text=False)

    assert values.read(ANNOTATIONS["admin.port"], {"env": "ADMIN_PORT"}) == 9091
    assert values.variables_used == {"ADMIN_PORT"}
    for value in ({"env": "WRONG"}, {"env": "HIGH"}, {"file": "port"}, "9091", -1, 1.5, True):
        with pytest.raises(Unusable) as caught:
            values.read(ANNOTATIONS["admin.port"], value)
        assert "from 0 to 65535" in str(caught.value)
    with pytest.raises(Unusable, match="GONE is not set"):
        values.read(ANNOTATIONS["admin.port"], {"env": "GONE"})
    from_text = ValueReader(tmp_path, {}, from_text=True)
    assert from_text.read(ANNOTATIONS["admin.port"], "9091") == 9091
