"""For whom a request's place counts: its client, or else its address."""

from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.forwarding.admission import let_in
from proxy.forwarding.fields import Hop
from proxy.guards.access import Access, Client
from proxy.wire.head import FieldTable, Head
from proxy.wire.request import ClientRequest

TABLE = FieldTable({b"authorization": False})
BEARER = b"Authorization: Bearer 0123456789abcdef"
DIGEST = bytes.fromhex("9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f")


class Counting(Access):
    """Access that counts how often it is asked."""

    asked = 0

    def identify(self, *arguments: Any) -> Client | None:
        self.asked += 1
        return super().identify(*arguments)


def site(*clients: Client) -> Any:
    access = Counting(clients, clock=lambda: 0.0)
    return SimpleNamespace(access=access, hop=Hop(b"here", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))))


def from_(remote: str, *lines: bytes, connection: Any = None) -> ClientRequest:
    connection = connection or SimpleNamespace(note=None, remote=remote)
    return ClientRequest(connection, "GET", b"/", True, Head(lines, TABLE), True, b"", None)


@pytest.mark.parametrize(
    ("remote", "holder"),
    [
        ("192.0.2.1", ip_address("192.0.2.1")),
        ("::ffff:192.0.2.1", ip_address("192.0.2.1")),
        ("2001:db8:1:2:3:4:5:6", ip_address("2001:db8:1:2::")),
        ("2001:db8:1:2::9%eth0", ip_address("2001:db8:1:2::")),
        ("127.0.0.1", None),
        ("127.1.2.3", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.1.2.3", None),
        ("fd00::1", None),
        ("", None),
    ],
)
def test_without_clients_the_address_counts_unless_it_speaks_for_many(remote: str, holder: object) -> None:
    found = let_in(site(), from_(remote))

    assert (found.client, found.holder) == (None, holder)


@pytest.mark.parametrize("remote", ["192.0.2.1", "127.0.0.1", "10.1.2.3"])
def test_a_client_counts_by_its_name_wherever_it_calls_from(remote: str) -> None:
    found = let_in(site(Client("erp", DIGEST)), from_(remote, BEARER))

    assert found.client is not None
    assert found.holder == found.client.name == "erp"


def test_the_same_head_is_looked_at_once_and_another_one_anew() -> None:
    here = site(Client("erp", DIGEST))
    first = from_("192.0.2.1", BEARER)
    again = let_in(here, first)
    assert let_in(here, first) is again
    assert cast("Counting", here.access).asked == 1
    let_in(here, from_("", BEARER, connection=first.connection))
    assert cast("Counting", here.access).asked == 2
    other = site(Client("shop", DIGEST))
    assert let_in(other, first).holder == "shop"
