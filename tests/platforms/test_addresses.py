"""Only addresses of the public internet are public, in whatever form they are written."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.platforms.addresses import ip_of, is_ip_address, is_loopback, is_public, source_of

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2606:4700::1%eth0",
    "::ffff:8.8.8.8",
    "2002:808:808::1",  # 6to4 of 8.8.8.8
    "64:ff9b::808:808",  # NAT64 of 8.8.8.8
]

INSIDE = [
    # loopback, unspecified
    "127.0.0.1",
    "127.255.255.255",
    "0.0.0.0",
    "0.1.2.3",
    "::1",
    "::",
    # private
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "fc00::1",
    "fdff::1",
    "fec0::1",  # site-local, before there was fc00::/7
    # link-local; the cloud's metadata service is one of them
    "169.254.0.0",
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::1%25",
    # of the provider's own network
    "100.64.0.0",
    "100.127.255.255",
    # multicast, broadcast, reserved
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "240.0.0.1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "4000::1",
    # documentation, benchmarks
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "2001:db8::1",
    # an IPv4 address inside: mapped, translated, compatible, 6to4, NAT64 (its local prefix too), Teredo
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::224.0.0.1",
    "64:ff9b:1::a00:1",
    "2001:0:7f00:1::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_the_own_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.builds(IPv4Address, st.integers(0, 2**32 - 1)))
def test_an_ipv4_address_is_judged_the_same_in_every_ipv6_form(address: IPv4Address) -> None:
    high, low = divmod(int(address), 1 << 16)
    expected = is_public(str(address))

    assert is_public(f"::ffff:{address}") == expected
    assert is_public(f"64:ff9b::{address}") == expected
    assert is_public(f"2002:{high:x}:{low:x}::1") == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2606:4700::1", "::ffff:10.0.0.1"])
def test_an_address_is_told_from_a_name(host: str) -> None:
    assert is_ip_address(host)


@pytest.mark.parametrize("host", ["", "localhost", "shop.example", "127.0.0.1.example", "1.2.3", "[::1]", "1.2.3.4.5"])
def test_a_name_is_no_address(host: str) -> None:
    assert not is_ip_address(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "::1", "localhost", "LocalHost"])
def test_what_listens_on_loopback_is_for_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "128.0.0.1", "::2", "localhost.example.com"])
def test_what_listens_elsewhere_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::", "2001:db8:0:1::"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
        ("2001:db8:0:2::", "2001:db8:0:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("", None),
        ("localhost", None),
        (None, None),
    ],
)
def test_a_source_is_an_ipv4_address_or_a_network_of_ipv6(address: str | None, source: str | None) -> None:
    assert source_of(address) == (source and ip_of(source))


@pytest.mark.parametrize(("address", "ip"), [("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")])
def test_an_address_is_taken_out_of_its_wrapping(address: str, ip: str) -> None:
    assert str(ip_of(address)) == ip
