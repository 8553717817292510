"""The URLs that are given to people and applications."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from proxy.app.addresses import for_applications, url_of
from proxy.certificate import CertificateFiles
from proxy.config import ClientConfig, ServerConfig
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shops
from proxy.secret import Secret
from tests.proxies import config, platform, shop

TLS = CertificateFiles(Path("cert.pem"), Path("key.pem"))


@pytest.mark.parametrize(
    ("server", "port", "lines"),
    [
        (ServerConfig(), None, ["http://localhost:8080/demo/"]),
        (ServerConfig(host="", port=80), None, ["http://localhost/demo/"]),
        (ServerConfig(port=0), 4711, ["http://localhost:4711/demo/"]),
        (
            ServerConfig(port=0),
            None,
            ["http://localhost:PORT/demo/", "(PORT: a free one, since server.port is 0; the log says which)"],
        ),
        (ServerConfig(host="192.0.2.1"), None, ["http://192.0.2.1:8080/demo/"]),
        (ServerConfig(host="2001:db8::1"), None, ["http://[2001:db8::1]:8080/demo/"]),
        (ServerConfig(host="proxy.example", tls=TLS, port=443), None, ["https://proxy.example/demo/"]),
        (
            ServerConfig(tls=TLS, port=8443),
            None,
            ["https://NAME:8443/demo/", "(NAME: a host name that the certificate is for)"],
        ),
        (ServerConfig(public_url="https://shops.example/a", tls=TLS), None, ["https://shops.example/a/demo/"]),
    ],
)
def test_an_application_is_given_what_reaches_the_listener(
    server: ServerConfig, port: int | None, lines: list[str]
) -> None:
    assert for_applications(config(shop("demo", platform(1, 2)), server=server), ["demo"], port) == lines


def test_of_many_shops_what_they_share_is_told_and_of_clients_the_names() -> None:
    settings = config(server=ServerConfig())
    some, many = ["a", "b"], [f"shop-{number}" for number in range(6)]

    assert for_applications(settings, some) == ["http://localhost:8080/a/", "http://localhost:8080/b/"]
    assert for_applications(settings, many) == ["http://localhost:8080/SHOP/"]
    wildcard = replace(settings, shops=Shops({}, (platform(1, 2), Credentials("id", Secret("s3cret")))))
    assert for_applications(wildcard, []) == ["http://localhost:8080/SHOP/ for any other shop"]
    clients = replace(settings, clients={name: ClientConfig() for name in ("erp", "feed")})
    assert for_applications(clients, ["a"]) == [
        "http://localhost:8080/a/",
        "with the user name and password of a client: erp, feed",
    ]


def test_a_url_of_loopback_is_written_as_people_write_it() -> None:
    assert url_of("127.0.0.1", 9090) == url_of("", 9090) == "http://localhost:9090/"
    assert url_of("127.0.0.2", 9090) == "http://127.0.0.2:9090/"
