"""What is wrong with a file is told all at once, in its order, with the place and the fix, and without any value."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.loading import Loader
from proxy.config.problems import Problems
from proxy.config.schema import SECTIONS, setting_names
from proxy.config.values import ValueReader
from tests.config.written import DEMO, EXPOSED, load, problems

MINE = 'token_url = "https://a.example/token"\napi_url = "https://{shop}.a.example/api/"\n'
NAME_RULE = "a shop name has 1 to 63 of the characters a-z, 0-9 and hyphen, and no hyphen at either end"
KNOWN_SECTIONS = "(known: admin, clients, logging, pacing, platforms, server, shared, shops, tokens, upstream)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "shops: there is no shop: add [shops.NAME] with its client_id and client_secret"),
        ("[shops]", "shops: there is no shop: add [shops.NAME] with its client_id and client_secret"),
        ("shops = 3", "shops: must be tables, such as [shops.demo], not a number"),
        ("[[shops]]", "shops: must be tables, such as [shops.demo], not a list"),
        ('shops.demo = "s3cret"', "shops.demo: must be a table, [shops.demo], not a string"),
        (f"server = 8080\n{DEMO}", "server: must be a table, [server], not a number"),
        (f"platforms.mine = []\n{DEMO}", "platforms.mine: must be a table, [platforms.mine], not a list"),
        (
            f"{DEMO}[sever]\nport = 1",
            "sever: unknown setting: did you mean server?",
        ),
        (
            f"port = 8080\n{DEMO}",
            "port: unknown setting here: it belongs in [server] or [admin], below that line",
        ),
        (f"{DEMO}[server]\nprot = 1", "server.prot: unknown setting: did you mean port?"),
        (
            f"{DEMO}[server]\nmax_connections = 5\nmax_connections_per_address = 6",
            "server.max_connections_per_address: one address can't have more connections than all of them together:"
            " write 5 or less, or raise server.max_connections",
        ),
        (
            f"{DEMO}[server]\nmax_header_size = 1023",
            "server.max_header_size: must be a whole number of bytes, 1024 or more",
        ),
        (
            f"{DEMO}[server]\nmax_connections = 0\nmax_connections_per_address = 3000",
            "server.max_connections: must be a whole number, 1 or more",
        ),
        (f'{DEMO}secret = "s3cret"', "shops.demo.secret: unknown setting: did you mean client_secret?"),
        (
            f'{DEMO}"\\n" = 1',
            r'shops.demo."\n": unknown setting (known: batch, client_id, client_secret, platform, shop_name)',
        ),
        (f'{DEMO}platform = "shoprentr"', "shops.demo.platform: unknown platform: did you mean shoprenter?"),
        (
            f'{DEMO}platform = "s3cret"\n[platforms.mine]\n{MINE}',
            "shops.demo.platform: unknown platform (known: mine, shoprenter, toss-shopping, toss-shopping-alpha)",
        ),
        (f'{DEMO}shop_name = "Demo"', 'shops.demo.shop_name: shop names are lower case: write "demo"'),
        (f'{DEMO}shop_name = "a_b"', f"shops.demo.shop_name: {NAME_RULE}"),
        (DEMO.replace("demo", "Demo"), 'shops.Demo: shop names are lower case: write "demo"'),
        (DEMO.replace("demo", "my_shop"), f"shops.my_shop: {NAME_RULE}"),
        (DEMO.replace("demo", '"**"'), f'shops."**": {NAME_RULE}'),
        (DEMO.replace("demo", '""'), f'shops."": {NAME_RULE}'),
        (
            DEMO.replace("demo", '"*"') + 'shop_name = "demo"',
            'shops."*".shop_name: has no effect here, since the wildcard entry serves shops under their own names:'
            " remove it",
        ),
        (
            '[shops.demo]\nclient_secret = "s3cret"',
            "shops.demo.client_id: is missing: it must be a string, not empty and without control characters",
        ),
        (
            '[shops.demo]\nclient_id = "id"',
            'shops.demo.client_secret: is missing: it must be a string, { file = "…" } or { env = "NAME" }, and exactly'
            " one of them",
        ),
        (
            '[shops.demo]\nclient_id = "id"\nclient_secret = { file = "/run/x" }',
            "shops.demo.client_secret: the file /run/x does not exist",
        ),
        (
            f'{DEMO}[platforms.mine]\ntoken_url = "https://a.example/"',
            "platforms.mine.api_url: is missing: it must be a string, not empty and without control characters",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\ntoken_request = "xml"',
            'platforms.shoprenter.token_request: must be "form", "json", "basic" or "basic-raw"',
        ),
        (
            f'{DEMO}[platforms.shoprenter]\ntoken_header = "Content-Length"',
            "platforms.shoprenter.token_header: Content-Length already has a meaning of its own and can't carry the"
            " token",
        ),
        (
            f'{DEMO}[platforms.mine]\n{MINE}token_header = "X Token"',
            "platforms.mine.token_header: must be the name of a header field, such as X-Access-Token",
        ),
        (
            f'{DEMO}[platforms.mine]\n{MINE}throttled_when = [429, {{ status = 200, path = "error.code" }}]',
            "platforms.mine.throttled_when: must be a list of statuses from 400 to 599, or of values in JSON such"
            ' as { status = 200, path = "error.code", equals = "TOO_FAST" }; see entry 2',
        ),
        (
            f"""{DEMO.replace('"id"', '"i:d"')}[platforms.shoprenter]\ntoken_request = "basic-raw\"""",
            "shops.demo.client_id: must not contain a colon, which ends the user name in HTTP Basic (RFC 7617):"
            ' write token_request = "basic" if the platform decodes it',
        ),
        (
            f'{DEMO}[platforms.shoprenter]\ntoken_url = "s3cret"',
            "platforms.shoprenter.token_url: must be an absolute URL, such as https://{shop}.example.com/api/",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\ntoken_url = "http://a.example/"',
            "platforms.shoprenter.token_url: http:// would send the secret or the token in the clear: write https://,"
            " or set allow_private = true if the host is in your own network",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\napi_url = "https://10.0.0.1/"',
            "platforms.shoprenter.api_url: is a loopback or private address: set allow_private = true if that is meant",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\nhosts = ["{{shop}}.a.example", "*.a.example"]',
            "platforms.shoprenter.hosts: each must be a host name in lower case, such as {shop}.old.example.com",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\nhosts = "old.a.example"',
            "platforms.shoprenter.hosts: must be a list of strings, none of them empty, not a string: write it in"
            ' brackets, ["…"]',
        ),
        (
            f'{DEMO}[platforms.mine]\n{MINE}hosts = ["old.{{shop}}"]',
            "platforms.mine.hosts: a host name must not end with {shop}",
        ),
        (
            f"{DEMO}[platforms.mine]\n{MINE.replace('/api', '/%61pi')}rewrite_links = true",
            "platforms.mine.rewrite_links: for this, api_url must be http(s)://host[:port][/path], and the path of"
            " letters, digits and -._~",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\napi_url = "https://a.example/a%20b/"',
            "platforms.shoprenter.rewrite_links: for this, api_url must be http(s)://host[:port][/path], and the"
            " path of letters, digits and -._~",
        ),
        (
            f"""{DEMO}platform = "mine"\n{DEMO.replace("demo", "'*'")}platform = "mine"
                [platforms.mine]\n{MINE}hosts = ["{{shop}}.a.example", "old.a.example"]""",
            'platforms.mine.hosts: "old.a.example" could be any of the shops demo, *: put {shop} in it',
        ),
        (
            f"""{DEMO}platform = "mine"\n{DEMO.replace("demo", "other")}platform = "mine"
                [platforms.mine]\n{MINE}hosts = ["old.a.example"]""",
            'platforms.mine.hosts: "old.a.example" could be any of the shops demo, other: put {shop} in it',
        ),
        (
            f"""{DEMO.replace("demo", "'*'")}[platforms.shoprenter]\nhosts = ["old.a.example"]""",
            'platforms.shoprenter.hosts: "old.a.example" could be any of the shops *: put {shop} in it',
        ),
    ],
)
def test_a_problem_says_where_and_what_to_do(path: Path, text: str, expected: str) -> None:
    assert problems(path, text) == (expected,)


def test_all_problems_come_at_once_in_the_order_of_the_file(path: Path) -> None:
    text = """
        [platforms.mine]
        token_url = "nowhere"
        api_url = "http://{shop}.example.com/"
        allow_private = 1
        [platforms.other]
        token_url = "https://{shop}/"
        api_url = "http://other.example.com/"
        [shops.A]
        platform = "mini"
        client_id = ""
        [logging]
        level = "trace"
        [server]
        tls = { certificate = "s3cret.pem" }
        trusted_proxies = ["10.0.0.0/8", "x"]
        port = "80"
        host = "0.0.0.0"
        [nothing]
        """

    assert problems(path, text) == (
        "platforms.mine.allow_private: must be true or false, not a number",
        "platforms.mine.token_url: must be an absolute URL, such as https://{shop}.example.com/api/",
        "platforms.other.token_url: the host name must not end with {shop}",
        "platforms.other.api_url: http:// would send the secret or the token in the clear: write https://, or set"
        " allow_private = true if the host is in your own network",
        'shops.A: shop names are lower case: write "a"',
        "shops.A.client_id: must be a string, not empty and without control characters",
        'shops.A.client_secret: is missing: it must be a string, { file = "…" } or { env = "NAME" }, and exactly one of'
        " them",
        "shops.A.platform: unknown platform: did you mean mine?",
        'logging.level: must be "debug", "info", "warning" or "error"',
        'server.tls: must be { certificate = "cert.pem", private_key = "key.pem" }, the names of two files',
        "server.trusted_proxies: must be a list of IP addresses and networks (without host bits), each a string"
        ' such as "10.0.0.0/8"; see entry 2',
        "server.port: must be a whole number from 0 to 65535 (0: any free port), not a string: write it without quotes",
        EXPOSED,
        f"nothing: unknown setting {KNOWN_SECTIONS}",
    )


def test_a_host_without_a_placeholder_is_for_the_one_shop_of_its_platform(path: Path) -> None:
    text = f"""
        {DEMO}platform = "mine"
        {DEMO.replace("demo", "other")}
        [platforms.mine]
        {MINE}hosts = ["old.a.example"]
        """

    assert load(path, text).shops.named["demo"].platform.hosts == ("old.a.example",)


def test_a_problem_elsewhere_keeps_none_of_a_platform_from_being_told(path: Path) -> None:
    text = f"""
        [server]
        port = "80"
        {DEMO}
        [platforms.mine]
        {MINE}hosts = ["*"]
        [platforms.shoprenter]
        api_url = "https://a.example/a%20b/"
        """

    assert [problem.partition(":")[0] for problem in problems(path, text)] == [
        "server.port",
        "platforms.mine.hosts",
        "platforms.shoprenter.rewrite_links",
    ]


@pytest.mark.parametrize("clients", ["[clients.erp]\nsecret = 1", "clients = 1", "[clients]"])
def test_where_the_clients_have_a_problem_the_host_is_none(path: Path, clients: str) -> None:
    [problem] = problems(path, f'{clients}\n{DEMO}[server]\nhost = "0.0.0.0"\n')

    assert problem.startswith("clients")


def test_an_unclear_allow_anonymous_is_the_only_problem(path: Path) -> None:
    text = f'{DEMO}[server]\nhost = "0.0.0.0"\nallow_anonymous = "yes"'

    assert problems(path, text) == ("server.allow_anonymous: must be true or false, not a string",)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081/", "http://localhost/", "http://{shop}.intern.example/"])
def test_plain_http_is_allowed_to_a_platform_in_the_own_network(path: Path, url: str) -> None:
    text = f'{DEMO}[platforms.mine]\ntoken_url = "{url}"\napi_url = "{url}"\n'

    assert len(problems(path, text)) == 2
    assert load(path, f"{text}allow_private = true").platforms["mine"].api_url == url


# Whatever is written


MARKER = "s3cret-marker"
# Without the settings that name files: those names are the values that are shown.
KEYS = sorted(
    {part for name in setting_names() for part in name.split(".")} - {"ca_file"}
    | {"demo", "*", "env", "", "admin", "tls"}
)
LEAVES = st.one_of(
    st.just(MARKER),
    st.sampled_from(["demo", "mine", "shoprenter", "0.0.0.0", "https://{shop}.example.com/", "http://[::1/", "json"]),
    st.text(max_size=5),
    st.integers(),
    st.sampled_from([10**4000, -(10**4000), math.inf, -math.inf, math.nan, 0.5]),
    st.booleans(),
    st.datetimes(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
DOCUMENTS = st.dictionaries(
    st.sampled_from([*SECTIONS, "shops", "platforms", "admin", "clients", "else"]),
    TABLES | st.dictionaries(st.sampled_from(["demo", "*", "mine", "shoprenter"]), TABLES) | VALUES,
)


@settings(deadline=None)
@given(document=DOCUMENTS)
def test_any_document_is_a_configuration_or_a_config_error_and_shows_no_value(document: dict[str, Any]) -> None:
    # As load_config does it, past the parser.
    found = Problems()
    values = ValueReader(Path(), {"A": MARKER}, from_text=False)

    config = Loader(values, found).load(document)

    assert (config is None) == bool(found)
    assert all("\n" not in line and MARKER not in line for line in found.lines())
    if config is not None:
        assert MARKER not in repr(config.shops)


def test_fewer_connections_in_all_than_an_address_may_have_by_default_are_no_problem(path: Path) -> None:
    assert load(path, f"{DEMO}[server]\nmax_connections = 5\n").server.max_connections == 5
