"""An HTTP proxy that connections leave the own network through, by CONNECT (RFC 9110 §9.3.6).

Rules: its password is a `Secret`, and is in no sentence made here. Only `http://` proxies: what goes through is TLS to
the platform, whatever the way to the proxy is. It takes `https://` connections alone: an `http://` URL is allowed only
inside the own network, so that such a call goes directly.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from yarl import URL

from proxy import __version__
from proxy.secret import Secret

_HOST: Final = re.compile(r"[0-9a-z_](?:[0-9a-z._-]*[0-9a-z_])?|[0-9a-f:.]*:[0-9a-f:.]*")
_ENCODE: Final = "in its user name and password, percent-encode everything but letters and digits (@ is %40)"


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """Where the proxy is, and how to log on to it. `no_proxy` lists hosts that are called directly, as `NO_PROXY`."""

    host: str
    port: int
    username: str = ""
    password: Secret | None = None
    no_proxy: str = ""

    @property
    def url(self) -> str:
        """The proxy's URL, without user name and password."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def serves(self, host: str, port: int) -> bool:
        """Tell whether connections to `host` go through the proxy."""
        # Not imported above: it takes a dozen modules of mail and HTTP with it, and most have no such proxy.
        from urllib.request import (  # type: ignore[attr-defined]  # noqa: PLC0415 - typeshed forgets it
            proxy_bypass_environment,
        )

        return not proxy_bypass_environment(f"{host}:{port}", {"no": self.no_proxy})

    def connect_headers(self) -> dict[str, str]:
        """Return what a CONNECT request carries besides `Host`; the credentials among it (RFC 7617 §2)."""
        headers = {"User-Agent": f"shop-auth-proxy/{__version__}"}
        if self.password is not None:
            pair = f"{self.username}:{self.password.reveal()}"
            headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return headers

    def refusal(self, status: int, host: str | None, port: int | None) -> str:
        """Return what the log says when the proxy answers CONNECT with `status`, and what to do."""
        answer = f"the egress proxy {self.url} answered {status} to CONNECT {host}:{port}"
        if status != 407:
            return f"{answer}: check there whether this host and port are allowed and can be reached"
        if self.password is None:
            return f"{answer}: it needs a user name and a password, in its URL as http://user:password@…"
        return f"{answer}: it refuses the user name and password of its URL"


def parse_proxy(text: str) -> EgressProxy:
    """Return the proxy with this URL. Raises `ValueError` with the rest of a sentence, without the URL."""
    try:
        url = URL(text)
        host, port, username, password = url.host, url.explicit_port, url.user or "", url.password
    except (ValueError, IndexError):  # IndexError: yarl trips over "http://[]@"
        raise ValueError(f'must be a URL such as "http://proxy.internal:3128"; {_ENCODE}') from None
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    if url.scheme != "http":
        raise ValueError("must begin with http://: proxies of other kinds (https://, socks5://) are not supported")
    if not host or _HOST.fullmatch(host) is None or not port:
        raise ValueError(f'must name a host and a port, such as "http://proxy.internal:3128"; {_ENCODE}')
    if url.raw_path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError(f"must have nothing after the port; {_ENCODE}")
    if bool(username) != bool(password):
        raise ValueError("must have a user name and a password, or neither")
    if ":" in username or not (username + (password or "")).isprintable():  # RFC 7617 §2
        raise ValueError("must not contain a colon in the user name, nor control characters in it or in the password")
    return EgressProxy(host, port, username, Secret(password) if password else None)
