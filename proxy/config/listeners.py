"""What is to be checked about where the proxy listens, for whom, and for how many."""

from typing import Final

from proxy.config.problems import Problems
from proxy.config.schema import AdminConfig, ServerConfig
from proxy.platforms.addresses import is_loopback

_EVERY_ADDRESS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to compare with


def check_exposure(server: ServerConfig, problems: Problems, *, has_clients: bool) -> None:
    """Note a problem if others than this machine could use the shops, and nobody said that they may."""
    anonymous = ("server", "allow_anonymous")
    clients = problems.name(("clients",))
    if has_clients:
        if server.allow_anonymous:
            problems.add(
                anonymous,
                f"has no effect with {clients}, since every request then needs the credentials of a client: remove one"
                " of the two",
            )
    elif not (server.allow_anonymous or anonymous in problems or is_loopback(server.host)):
        problems.add(
            ("server", "host"),
            f"is {'not a loopback address' if server.host else 'every address'}, so anyone who can reach it could"
            f' use every shop with your credentials: write "127.0.0.1", or say who may call ({clients};'
            f" shop-auth-proxy new-client NAME makes one), or set {problems.name(anonymous)} = true if anyone may",
        )


def check_share(per_address: int, in_all: int, problems: Problems) -> None:
    """Note a problem if one address may have more connections than there are."""
    most = ("server", "max_connections")
    if per_address > in_all and most not in problems:
        problems.add(
            ("server", "max_connections_per_address"),
            f"one address can't have more connections than all of them together: write {in_all} or less, or raise"
            f" {problems.name(most)}",
        )


def check_ports(server: ServerConfig, admin: AdminConfig, problems: Problems) -> None:
    """Note a problem if both listeners would be at the same place."""
    same_address = server.host == admin.host or not {server.host, admin.host}.isdisjoint(_EVERY_ADDRESS)
    places = [(section, key) for section in ("server", "admin") for key in ("host", "port")]
    known = not any(place in problems for place in places)
    if known and admin.enabled and admin.port == server.port != 0 and same_address:
        problems.add(
            ("admin", "port"),
            f"is {problems.name(('server', 'port'))} too: choose another one, or 0 for any free port",
        )
