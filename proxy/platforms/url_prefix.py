"""What the URLs of one API, or of one shop at the proxy, begin with.

Rules: a prefix holds only characters that need no escaping in JSON, XML or text: others are refused, so that whoever
names the proxy in `Host` can't write markup into an answer. The host is no longer than one can be, for the same reason:
an answer must not grow without bound.
"""

import re
from typing import Final, NamedTuple

_MAX_HOST: Final = 253  # characters (RFC 1035 §2.3.4, without the root's dot)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_PREFIX: Final = re.compile(
    r"""(?P<scheme> (?i:https?) )://
        (?P<host> (?i: [a-z0-9_] (?:[a-z0-9_.-]*[a-z0-9_])? | \[[0-9a-f:.]+\] ))
        (?: : (?P<port> [0-9]{1,5} ))?
        (?P<path> (?: / (?! \.{1,2} (?: /|\Z )) [A-Za-z0-9._~-]+ )* ) /?""",
    re.VERBOSE,
)


class Prefix(NamedTuple):
    """What URLs begin with: scheme and host in lower case, the port unless it is the scheme's own, a path or nothing.

    The path begins with a slash and does not end in one.
    """

    scheme: str
    host: str
    port: str
    path: str

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{self.host}{port}{self.path}"

    def equals(self) -> list[str]:
        """Return the ways to write it: with either scheme, and with the scheme's own port or without one."""
        if self.port:
            return [str(self._replace(scheme=scheme)) for scheme in _DEFAULT_PORTS]
        written = [(scheme, port) for scheme, own_port in _DEFAULT_PORTS.items() for port in ("", own_port)]
        return [str(self._replace(scheme=scheme, port=port)) for scheme, port in written]


def parse_prefix(url: str) -> Prefix:
    """Take apart `http(s)://host[:port][/path][/]`.

    Raises `ValueError` for anything else: a user, a query, or a character that would need escaping somewhere.
    """
    found = _PREFIX.fullmatch(url)
    if found is None or len(found["host"]) > _MAX_HOST or int(found["port"] or 1) not in range(1, 1 << 16):
        raise ValueError("must be http(s)://host[:port][/path], and the path of letters, digits and -._~")
    scheme, host, port, path = found["scheme"].lower(), found["host"].lower(), found["port"] or "", found["path"]
    return Prefix(scheme, host, "" if port == _DEFAULT_PORTS[scheme] else port, path)
