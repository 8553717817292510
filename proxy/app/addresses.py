"""The URLs that people and applications are given: where the proxy is called, and where it shows how it is (pure)."""

from collections.abc import Sequence
from typing import Final

from proxy.config import Config
from proxy.platforms.addresses import is_ip_address

# Where somebody who listens is reached as localhost.
HERE: Final = frozenset({"", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost"})  # noqa: S104 - to compare with
_MANY: Final = 5


def url_of(host: str, port: int, *, scheme: str = "http") -> str:
    """Return the URL of what listens on `host`, as one writes it on this machine, with a slash at its end."""
    name = "localhost" if host in HERE else f"[{host}]" if ":" in host and is_ip_address(host) else host
    return (
        f"{scheme}://{name}/" if port == (443 if scheme == "https" else 80) else f"{scheme}://{name}:{port or 'PORT'}/"
    )


def base_url(config: Config, port: int | None = None, started_with: Config | None = None) -> str:
    """Return where applications call the proxy; `port` is the one it listens on, if that is known by now.

    `started_with` is the configuration that says where it listens, if that is another one.
    """
    server = config.server
    if server.public_url is not None:
        return f"{server.public_url}/"
    port = server.port if port is None else port
    host = server.host if started_with is None else started_with.server.host
    if server.tls is None:
        return url_of(host, port)
    return url_of("NAME" if host in HERE else host, port, scheme="https")


def for_applications(config: Config, shops: Sequence[str], port: int | None = None) -> list[str]:
    """Return lines that say what to give to the applications of these shops; of many, what is the same for all."""
    base = base_url(config, port)
    lines = [f"{base}{shop}/" for shop in shops] if len(shops) <= _MANY else [f"{base}SHOP/"]
    if config.shops.wildcard is not None and f"{base}SHOP/" not in lines:
        lines.append(f"{base}SHOP/ for any other shop")
    if config.server.public_url is None and config.server.tls is not None and "//NAME" in base:
        lines.append("(NAME: a host name that the certificate is for)")
    if config.server.public_url is None and "PORT" in base:
        lines.append("(PORT: a free one, since server.port is 0; the log says which)")
    if config.clients:
        names = sorted(config.clients)
        more = ", …" if len(names) > _MANY else ""
        lines.append(f"with the user name and password of a client: {', '.join(names[:_MANY])}{more}")
    return lines
