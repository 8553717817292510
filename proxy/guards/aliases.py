"""Finds platform hosts that were made to lead to this machine, where the requests for them would come round again.

Old apps reach the proxy through a line in `/etc/hosts`, or `hostAliases` in their pod, which holds for the whole pod
and so for a proxy beside them. Only the old hosts may stand there; the hosts that the proxy itself calls must not.

Rules: what can't be resolved in time is no finding, since a start must not depend on DNS: such a line is found without,
so names that stand in the hosts file come first. Which shops a wildcard entry will serve is not known, but what that
file has of them is.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

from proxy.guards.names import Resolver
from proxy.platforms.addresses import is_ip_address
from proxy.platforms.platform import SHOP_PLACEHOLDER, Platform
from proxy.platforms.shop import Shops
from proxy.platforms.shop_hosts import host_pattern

HOSTS_FILE: Final = Path("/etc/hosts")
_AT_ONCE: Final = 4  # lookups; requests need some too


class HostOfPlatform(NamedTuple):
    """A host that the proxy calls, and whether it may be on this machine."""

    host: str
    port: int
    allow_private: bool


class _Line(NamedTuple):
    """A line of the hosts file: its number, its text in one space each, the address and the names in lower case."""

    number: int
    text: str
    address: str
    names: tuple[str, ...]


def hosts_of_platforms(shops: Shops) -> list[HostOfPlatform]:
    """Return the host names that are called for these shops, each once; for the wildcard entry perhaps a template.

    Those behind an egress proxy are left out: what they resolve to here says nothing.
    """
    served = [(shop.platform, shop.name) for shop in shops.named.values()]
    if shops.wildcard is not None:
        served.append((shops.wildcard[0], SHOP_PLACEHOLDER))
    hosts = dict.fromkeys(host for platform, name in served for host in _hosts(platform, name))
    return [host for host in hosts if not is_ip_address(host.host)]


def _hosts(platform: Platform, shop_name: str) -> list[HostOfPlatform]:
    api, _ = platform.api_base_for(shop_name)
    return [
        HostOfPlatform(origin.host, origin.port, platform.allow_private)
        for origin in (api, platform.token_origin_for(shop_name))
        if platform.proxy_for(origin) is None
    ]


async def leading_here(
    hosts: Iterable[HostOfPlatform],
    resolver: Resolver,
    *,
    listener: tuple[str, int],
    within: float,
    hosts_file: Path = HOSTS_FILE,
) -> list[str]:
    """Return a sentence for each host that resolves to this machine; give up after `within` seconds.

    `listener` is the proxy's own host and port, as configured. Where a platform may be on this machine, that is no harm
    unless it is the listener itself.
    """
    lines = _read(hosts_file)
    named = {name for line in lines for name in line.names}
    places = asyncio.Semaphore(_AT_ONCE)
    found: set[str] = set()

    async def look_up(host: HostOfPlatform) -> None:
        async with places:
            try:
                results = await resolver.resolve(host.host, host.port, socket.AF_UNSPEC)
            except (OSError, UnicodeError):  # UnicodeError: a part of the name is too long for one
                return
        here = [result["host"] for result in results if _leads_here(result["host"], host, listener)]
        if here:
            found.add(_sentence(host.host, here[0], _where(host.host, here, lines, hosts_file)))

    with suppress(TimeoutError):
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            for host in sorted(_spelled_out(hosts, named), key=lambda host: host.host not in named):
                group.create_task(look_up(host))
    return sorted(found)


def _spelled_out(hosts: Iterable[HostOfPlatform], named: Iterable[str]) -> Iterator[HostOfPlatform]:
    """Yield the hosts; instead of a template, those of the names that it fits."""
    for host in hosts:
        if SHOP_PLACEHOLDER in host.host:
            pattern = host_pattern(host.host)
            yield from (host._replace(host=name) for name in named if pattern.fullmatch(name))
        else:
            yield host


def _leads_here(address: str, host: HostOfPlatform, listener: tuple[str, int]) -> bool:
    if host.allow_private and not _may_be(listener, address, host.port):
        return False
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return parsed.is_loopback or parsed.is_unspecified or _is_of_this_machine(address)


def _may_be(listener: tuple[str, int], address: str, port: int) -> bool:
    host, listener_port = listener
    elsewhere = is_ip_address(host) and not ip_address(host).is_unspecified and ip_address(host) != ip_address(address)
    return port == listener_port and not elsewhere


def _is_of_this_machine(address: str) -> bool:
    # What goes to an own address comes from it. To bind to it would tell less: `ip_nonlocal_bind` allows any.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # of a datagram socket: sends nothing
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False


def _sentence(host: str, address: str, where: str) -> str:
    return (
        f"{host} resolves to {address}, which is this machine, so the proxy's own calls would come back to it:"
        f" {where}. Only the old host names of the platform may lead here."
    )


def _where(host: str, addresses: Sequence[str], lines: Iterable[_Line], hosts_file: Path) -> str:
    naming = [line for line in lines if host in line.names]
    if not naming:
        return "remove it from the hosts file, the pod's hostAliases or the DNS server"
    # An address may be written in more ways than one, so that perhaps no line has it as it was resolved.
    line = min(naming, key=lambda line: line.address not in addresses)
    return (
        f'remove it from line {line.number} of {hosts_file}, "{line.text}" '
        "(in Kubernetes: from the hostAliases of the pod)"
    )


def _read(hosts_file: Path) -> list[_Line]:
    try:
        texts = hosts_file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    split = [(number, text.split(), text.partition("#")[0].lower().split()) for number, text in enumerate(texts, 1)]
    return [
        _Line(number, " ".join(words), entry[0], tuple(name.removesuffix(".") for name in entry[1:]))
        for number, words, entry in split
        if entry
    ]
