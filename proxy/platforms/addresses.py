"""What IP addresses say: which are of the public internet, which are this machine, which count as one caller."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

# Addresses that stand for an IPv4 address behind a translator (RFC 6052 §2.1).
_NAT64: Final = IPv6Network("64:ff9b::/96")
# What the addresses of the public internet are taken from (IANA's IPv6 address space; RFC 4291 §2.4). `is_global` takes
# much of the rest for public too: site-local addresses, an IPv4 address in old forms, and more in older Pythons.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

_IPV6_NETWORK: Final = 64  # bits: what a provider gives to one customer at least (RFC 6177 §2)

IpAddress = IPv4Address | IPv6Address


def ip_of(address: str | None) -> IpAddress | None:
    """Return the IP address that a text is, of an IPv4 address inside an IPv6 one the former; `None` if it is none."""
    try:
        ip = ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def source_of(address: str | None) -> IpAddress | None:
    """Return what callers at an address count as: it itself, or the beginning of the /64 around an IPv6 address.

    Whoever has one address of such a network has all of them. What is no IP address counts as one source, `None`.
    """
    ip = ip_of(address)
    if isinstance(ip, IPv6Address):
        below = 128 - _IPV6_NETWORK
        return IPv6Address(int(ip) >> below << below)
    return ip


def is_ip_address(host: str) -> bool:
    """Tell whether a URL's host is an address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Tell whether an IP address, given as text, is one of the public internet."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour
        if embedded is None and parsed in _NAT64:
            embedded = IPv4Address(int(parsed) & 0xFFFFFFFF)
        if embedded is None and parsed not in _GLOBAL_UNICAST:
            return False
        parsed = embedded or parsed
    return parsed.is_global and not parsed.is_multicast


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on `host`, an address or a name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
