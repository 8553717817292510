"""What a configuration says, as the parts of the proxy want it."""

import pytest

from proxy.app.site import client_limits, who_may_call
from proxy.config import ClientConfig, ServerConfig
from proxy.secret import Secret
from tests.proxies import config

ERP = ClientConfig(secret=Secret("s3cret-of-the-client"))


@pytest.mark.parametrize(
    ("server", "clients", "phrase"),
    [
        (ServerConfig(), {}, "this machine only (loopback), without credentials"),
        (ServerConfig(host="::1"), {}, "this machine only (loopback), without credentials"),
        (ServerConfig(host=""), {"erp": ERP}, "1 client with credentials"),
        (ServerConfig(), {"erp": ERP, "feed": ERP}, "2 clients with credentials"),
        (
            ServerConfig(host="10.0.0.1", allow_anonymous=True),
            {},
            "anyone who can reach it, without credentials (allow_anonymous)",
        ),
    ],
)
def test_who_may_call_is_told_in_words(server: ServerConfig, clients: dict[str, ClientConfig], phrase: str) -> None:
    assert who_may_call(config(server=server, clients=clients)) == phrase


def test_each_limit_is_the_setting_of_its_name() -> None:
    limits = client_limits(config(server=ServerConfig(header_timeout=3.0, max_requests_per_connection=7)))

    assert (limits.header_timeout, limits.max_requests_per_connection, limits.max_request_line) == (3.0, 7, 16384)
