"""`[clients.NAME]`: what becomes a client, and what is wrong with the others."""

from hashlib import sha256
from pathlib import Path

import pytest

from proxy.config import ClientConfig, Config, ConfigError, load_config
from proxy.config.clients import NAME_RULE, is_client_name, short_secrets
from proxy.secret import Secret

DEMO = '[shops.demo]\nclient_id = "id"\nclient_secret = "s3cret"\n'
OTHERS = '[shops."*"]\nclient_id = "id"\nclient_secret = "s3cret"\n'
SECRET = "s3cret-of-erp"
DIGEST = sha256(SECRET.encode()).hexdigest()
ERP = f'[clients.erp]\nsecret = "{SECRET}"\n'
SHORT = "is shorter than 8 characters and could be guessed: make one with shop-auth-proxy new-client NAME"
NOT_SENDABLE = "must consist of visible characters, without spaces: programs differ in how they send anything else"
MISSING = "is missing: set it, or secret_sha256 (shop-auth-proxy new-client NAME makes both)"
KNOWN_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def load(path: Path, text: str, **environ: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ)


def problems(path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, text)
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'secret = "{SECRET}"', ClientConfig(secret=Secret(SECRET))),
        ('secret = { file = "erp" }', ClientConfig(secret=Secret(SECRET))),
        ('secret = { env = "ERP" }', ClientConfig(secret=Secret(SECRET))),
        (f'secret_sha256 = "{DIGEST}"', ClientConfig(secret_sha256=DIGEST)),
        (f'secret_sha256 = "{DIGEST.upper()}"', ClientConfig(secret_sha256=DIGEST.upper())),
    ],
)
def test_a_secret_is_a_text_a_file_a_variable_or_a_digest(path: Path, text: str, expected: ClientConfig) -> None:
    (path.parent / "erp").write_text(f"{SECRET}\n")

    config = load(path, f"[clients.erp]\n{text}\n{DEMO}", ERP=SECRET)

    assert config.clients == {"erp": expected}
    assert config.clients["erp"].digest.hex() == DIGEST
    assert SECRET not in repr(config)


def test_a_secret_may_have_letters_outside_ascii(path: Path) -> None:
    config = load(path, f'[clients.erp]\nsecret = "jelszó-ő-パス"\n{DEMO}')

    assert config.clients["erp"].digest == sha256("jelszó-ő-パス".encode()).digest()


def test_shops_and_methods_are_all_unless_they_are_named(path: Path) -> None:
    text = f'{ERP}[clients.feed]\nsecret = "s3cret-of-feed"\nshops = ["demo"]\nmethods = ["GET", "POST"]\n{DEMO}'

    clients = load(path, text).clients

    assert (clients["erp"].shops, clients["erp"].methods) == (("*",), ("*",))
    assert (clients["feed"].shops, clients["feed"].methods) == (("demo",), ("GET", "POST"))


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "proxy.example.com"])
def test_with_clients_the_proxy_may_listen_anywhere_wherever_they_stand_in_the_file(path: Path, host: str) -> None:
    server = f'[server]\nhost = "{host}"\n'

    for text in (server + ERP + DEMO, DEMO + ERP + server):
        assert load(path, text).server.host == host


def test_anonymous_callers_beside_clients_are_a_contradiction(path: Path) -> None:
    assert problems(path, f"{ERP}{DEMO}[server]\nallow_anonymous = true") == (
        "server.allow_anonymous: has no effect with clients, since every request then needs the credentials of a"
        " client: remove one of the two",
    )
    assert load(path, f"{ERP}{DEMO}[server]\nallow_anonymous = false").clients


@pytest.mark.parametrize("name", ["erp", "E-R_P", "1", "a.b@c", "a" * 64])
def test_a_name_that_http_basic_can_carry_is_one(name: str) -> None:
    assert is_client_name(name)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ügyfél", "a" * 65, "*", "a\n", "a/b", '"'])
def test_another_name_is_none(path: Path, name: str) -> None:
    assert not is_client_name(name)
    if name.isprintable() and '"' not in name:
        place = f'clients."{name}"' if name.isascii() else r'clients."\u00fcgyf\u00e9l"'
        [problem] = problems(path, f'[clients."{name}"]\nsecret = "{SECRET}"\n{DEMO}')
        assert problem in {f"{place}: {NAME_RULE}", f"clients.{name}: {NAME_RULE}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clients = 3", "clients: must be tables, such as [clients.demo], not a number"),
        (
            "[clients]",
            "clients: there is no client: add [clients.NAME] with its secret, or remove [clients] if anyone may call",
        ),
        ("clients.erp = 3", "clients.erp: must be a table, [clients.erp], not a number"),
        ("[clients.erp]", f"clients.erp.secret: {MISSING}"),
        (
            f'{ERP}secret_sha256 = "{DIGEST}"',
            "clients.erp.secret_sha256: is given as well as secret: remove one of the two",
        ),
        (
            f'{ERP}password = "s3cret"',
            "clients.erp.password: unknown setting (known: methods, secret, secret_sha256, shops)",
        ),
        ('[clients.erp]\nsecret = { file = "/run/none" }', "clients.erp.secret: the file /run/none does not exist"),
        ('[clients.erp]\nsecret = "s3crets"', f"clients.erp.secret: {SHORT}"),
        ('[clients.erp]\nsecret = "s3cret with spaces"', f"clients.erp.secret: {NOT_SENDABLE}"),
        ('[clients.erp]\nsecret = "s3cret-jelszó\\u00a0"', f"clients.erp.secret: {NOT_SENDABLE}"),
        ('[clients.erp]\nsecret = "s3cret\\u2028jelszó"', f"clients.erp.secret: {NOT_SENDABLE}"),
        (
            '[clients.warehouse]\nsecret = "warehouse"',
            "clients.warehouse.secret: is the digest of an empty string or of a client's name: make another with"
            " shop-auth-proxy new-client NAME",
        ),
        (
            f'[clients.erp]\nsecret_sha256 = "{sha256().hexdigest()}"',
            "clients.erp.secret_sha256: is the digest of an empty string or of a client's name: make another with"
            " shop-auth-proxy new-client NAME",
        ),
        (
            f'[clients.erp]\nsecret_sha256 = "{sha256(b"erp").hexdigest()}"',
            "clients.erp.secret_sha256: is the digest of an empty string or of a client's name: make another with"
            " shop-auth-proxy new-client NAME",
        ),
        (
            f'{ERP}[clients.feed]\nsecret_sha256 = "{DIGEST}"',
            "clients.feed.secret_sha256: is the same as that of clients.erp, so a Bearer token would not tell the"
            " two apart: make another with shop-auth-proxy new-client NAME",
        ),
        (f'{ERP}methods = ["get"]', 'clients.erp.methods: entry 1: methods are written in upper case: write "GET"'),
        (
            f'{ERP}methods = ["GET", "GTE", "*", "s3cret"]',
            "clients.erp.methods: entry 2: unknown method: did you mean GET?; entry 4: unknown method (known: "
            + f"{KNOWN_METHODS})",
        ),
        (
            f'{ERP}methods = ["READ", "write", "GET, POST"]',
            'clients.erp.methods: entry 1: unknown method: write "GET", "HEAD"; entry 2: unknown method: write "POST",'
            ' "PUT", "PATCH", "DELETE"; entry 3: write each method in quotes of its own: "GET", "POST"',
        ),
        (
            f"{ERP}shops = {['demi'] * 100}",
            "clients.erp.shops: "
            + "; ".join(f"entry {number}: unknown shop: did you mean demo?" for number in range(1, 11))
            + "; and more",
        ),
        (
            f'{ERP}methods = ["TRACE"]',
            f"clients.erp.methods: entry 1: unknown method (known: {KNOWN_METHODS})",
        ),
        (f'{ERP}shops = ["demo", "demi"]', "clients.erp.shops: entry 2: unknown shop: did you mean demo?"),
        (f'{ERP}shops = ["s3cret"]', "clients.erp.shops: entry 1: unknown shop (known: demo)"),
        (
            f'{ERP}shops = ["elsewhere", "s3cret."]\n{OTHERS}',
            "clients.erp.shops: entry 2: is not a shop's name as it is written in a path",
        ),
        (
            f"{ERP}shops = []",
            'clients.erp.shops: must be a list of shops, such as ["demo"], or ["*"] for all; not empty',
        ),
    ],
)
def test_a_problem_says_where_and_what_to_do(path: Path, text: str, expected: str) -> None:
    assert problems(path, f"{text}\n{DEMO}") == (expected,)


def test_a_shop_that_only_the_wildcard_entry_serves_can_be_a_clients(path: Path) -> None:
    assert load(path, f'{ERP}shops = ["elsewhere"]\n{OTHERS}').clients["erp"].shops == ("elsewhere",)


def test_where_there_is_no_shop_at_all_that_is_the_only_problem(path: Path) -> None:
    [problem] = problems(path, f'{ERP}shops = ["demo"]')

    assert problem.startswith("shops: there is no shop")


def test_all_problems_of_all_clients_come_at_once(path: Path) -> None:
    text = (
        f'[clients."a:b"]\nshops = ["x"]\nmethods = ["get"]\n[clients.feed]\nsecret = "s3crets"\nshops = "demo"\n{DEMO}'
    )

    assert [line.partition(": ")[0] for line in problems(path, text)] == [
        'clients."a:b"',
        'clients."a:b".secret',
        'clients."a:b".methods',
        'clients."a:b".shops',
        "clients.feed.shops",
        "clients.feed.secret",
    ]


@pytest.mark.parametrize(("length", "short"), [(8, True), (15, True), (16, False), (43, False)])
def test_a_secret_below_16_characters_is_short(length: int, short: bool) -> None:
    assert short_secrets({"erp": ClientConfig(secret=Secret("x" * length))}) == (["erp"] if short else [])


def test_of_a_digest_nobody_knows_how_long_the_secret_is() -> None:
    assert short_secrets({"erp": ClientConfig(secret_sha256=DIGEST)}) == []
