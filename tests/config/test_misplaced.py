"""A name that is not known where it stands is told with what was meant, or where it belongs."""

from pathlib import Path

import pytest

from tests.config.written import DEMO, problems

RULE = "a shop name has 1 to 63 of the characters a-z, 0-9 and hyphen, and no hyphen at either end"
OWN_DOMAIN = f"{RULE}; for Shoprenter, write the first label of its ….myshoprenter.hu address, not its own domain"
OF_A_SHOP = 'client_id = "id"\nclient_secret = "s3cret"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[shop.demo]\n{OF_A_SHOP}", "shop: unknown setting: did you mean [shops.demo]?"),
        (f"[Shops.demo]\n{OF_A_SHOP}", "Shops: unknown setting: did you mean [shops.demo]?"),
        (f"{DEMO}[users.erp]\n", "users: unknown setting: did you mean clients?"),
        (f"{DEMO}[redis]\nurl = 1\n", "redis: unknown setting: did you mean shared?"),
        (f"{DEMO}[server]\nlisten = 1", "server.listen: unknown setting: did you mean host?"),
        (f"{DEMO}[server]\naddress = 1", "server.address: unknown setting: did you mean host?"),
        (f"{DEMO}[server]\ntls_key = 1", "server.tls_key: unknown setting: did you mean tls?"),
        (f'{DEMO}[tls]\ncertificate = "a"', "tls: unknown setting: did you mean server.tls?"),
        (
            f'include = ["a"]\n{DEMO}',
            'include: unknown setting: all stands in this one file; only secrets can be in others, { file = "…" }',
        ),
        (
            f'{DEMO}[clients.erp]\nusername = "erp"\nsecret = "long-enough-s3cret"',
            "clients.erp.username: unknown setting: the name stands in the line above, [clients.NAME]",
        ),
        (f"{DEMO}[server]\nssl = true", "server.ssl: unknown setting: did you mean tls?"),
        (f"{DEMO}[server]\nlog_level = 1", "server.log_level: unknown setting here: did you mean level, in [logging]?"),
        (f"{DEMO}[server]\nadmin_port = 1", "server.admin_port: unknown setting here: did you mean port, in [admin]?"),
        (
            f'{DEMO}client_secret_file = "s3cret"',
            'shops.demo.client_secret_file: unknown setting: write client_secret = { file = "…" }',
        ),
        (
            f'{DEMO}client_secret_env = "s3cret"',
            'shops.demo.client_secret_env: unknown setting: write client_secret = { env = "…" }',
        ),
        (f"[demo]\n{OF_A_SHOP}", "demo: unknown setting: did you mean [shops.demo]?"),
        (
            f"[shops]\n{OF_A_SHOP}",
            "shops: has client_id, client_secret, but no shop's name: write [shops.NAME], with the shop's name for"
            " NAME",
        ),
        (
            f"[shops.demo.myshoprenter.hu]\n{OF_A_SHOP}",
            "shops.demo.myshoprenter: is a table inside shops.demo, because of the dot: a shop's name has none,"
            " write [shops.demo]",
        ),
        (
            f'[shops."demo.myshoprenter.hu"]\n{OF_A_SHOP}',
            'shops."demo.myshoprenter.hu": only the first label of the address is the name: write "demo"',
        ),
        (
            f'[shops."https://demo.api2.myshoprenter.hu/api/"]\n{OF_A_SHOP}',
            'shops."https://demo.api2.myshoprenter.hu/api/": only the first label of the address is the name: write'
            ' "demo"',
        ),
        (f'[shops."www.myshop.hu"]\n{OF_A_SHOP}', f'shops."www.myshop.hu": {OWN_DOMAIN}'),
        (f'[shops."Demo "]\n{OF_A_SHOP}', 'shops."Demo ": shop names are lower case, without spaces: write "demo"'),
        (f"{DEMO}port = 80", "shops.demo.port: unknown setting here: it belongs in [server] or [admin]"),
        (
            f"{DEMO}rewrite_links = true",
            "shops.demo.rewrite_links: unknown setting here: it belongs in [platforms.NAME]",
        ),
        (
            f'{DEMO}[platforms.shoprenter]\nhost = "a"',
            "platforms.shoprenter.host: unknown setting here: it belongs in [server] or [admin]; or did you mean"
            " hosts?",
        ),
        (
            f"{DEMO}[server]\nproxy = 1",
            "server.proxy: unknown setting here: it belongs in [upstream] or [platforms.NAME]",
        ),
        (f"level = 1\n{DEMO}", "level: unknown setting here: it belongs in [logging], below that line"),
        (
            f"SHOP_AUTH_PROXY_PORT = 1\n{DEMO}",
            "SHOP_AUTH_PROXY_PORT: is an environment variable, which does not belong in the file",
        ),
        (f"{DEMO}id = 1", "shops.demo.id: unknown setting: did you mean client_id?"),
        (
            f'{DEMO}password = "s3cret"',
            "shops.demo.password: unknown setting: the client_id and client_secret of an API client are needed, not"
            " a user name, password, key or token",
        ),
        (f"{DEMO}clientId = 1", "shops.demo.clientId: unknown setting: did you mean client_id?"),
        (f"{DEMO}client-id = 1", "shops.demo.client-id: unknown setting: did you mean client_id?"),
        (f"{DEMO}[server]\nPORT = 1", "server.PORT: unknown setting: did you mean port?"),
        (
            f'[clients.erp.feed]\nsecret = "long-enough-s3cret"\n{DEMO}',
            'clients.erp.feed: is a table inside clients.erp, because of the dot: write [clients."erp.feed"]',
        ),
        (
            f'[clients.erp]\nsecert = "long-enough-s3cret"\n{DEMO}',
            "clients.erp.secert: unknown setting: did you mean secret?",
        ),
        (
            f'[clients]\nsecret = "long-enough-s3cret"\n{DEMO}',
            "clients: has secret, but no client's name: write [clients.NAME], with the client's name for NAME",
        ),
    ],
)
def test_it_is_told_with_what_was_meant_or_where_it_belongs(path: Path, text: str, expected: str) -> None:
    assert problems(path, text) == (expected,)
