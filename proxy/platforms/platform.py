"""What the proxy must know of a platform, as plain values.

A platform is data: nothing elsewhere asks which one it is. The three built-in ones and those of the user's own
(`[platforms.NAME]`) are values of the same type.

Rules: the shop name becomes part of a host name, so one strict rule decides what a shop name is (`is_shop_name`), and
a URL is only ever made from a template and a name that passed it. URLs are checked when the `Platform` is made, so
that everything after can rely on them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from yarl import URL

from proxy.platforms.addresses import is_ip_address, is_public
from proxy.platforms.answers import AnswerRule, Answers
from proxy.platforms.batch import Batch
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.scopes import Scopes
from proxy.platforms.url_prefix import parse_prefix
from proxy.secret import Secret

SHOP_PLACEHOLDER: Final = "{shop}"

# A DNS label (RFC 1123 §2.1) in lower case: it becomes part of a host name, where case means nothing; two spellings
# of one shop would be two entries in the token cache.
_SHOP_NAME = re.compile(rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

# What a resolver takes: labels of up to 63 characters (RFC 1123 §2.1; underscores occur), or an IPv6 address.
_HOST = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*"
)

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
# What says where a message ends and whom it is for, and what this proxy sets itself.
_OWN_FIELDS: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("http2-settings", "host", "content-length", "content-encoding", "content-type", "expect", "cookie"),
        *("proxy-authorization", "via", "forwarded", "max-forwards", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    )
)

_SLASH: Final = re.compile(rb"[/\\]")
_BLANKS: Final = bytes(range(0x21))  # with NUL, and what is no visible letter either
_MORE_OF_A_NAME: Final = re.compile(rb"[\w-]")


def is_shop_name(raw: bytes) -> bool:
    """Tell whether `raw` is a shop name: 1 to 63 of a-z, 0-9 and hyphen, no hyphen at either end."""
    return _SHOP_NAME.fullmatch(raw) is not None


class TokenRequestForm(StrEnum):
    """How the token request carries the client's credentials."""

    FORM = "form"  # all in a form body (RFC 6749 §2.3.1, second way)
    JSON = "json"  # the same fields as a JSON object (Shoprenter)
    BASIC = "basic"  # HTTP Basic, the rest in a form body (RFC 6749 §2.3.1, first way)
    BASIC_RAW = "basic-raw"  # the same, for endpoints that don't form-decode client_id and client_secret, as it asks


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a shop, or an app for all shops, got from the platform to ask for tokens with (RFC 6749 §2.3.1)."""

    client_id: str
    client_secret: Secret


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in any `per` seconds, for one set of credentials and one shop.

    Raises `ValueError` with a sentence for the operator if that is no limit that can be kept.
    """

    requests: int
    per: float = 1.0

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError("rate_limit: requests must be 1 or more")
        if not 0 < self.per < math.inf:
            raise ValueError("rate_limit: per must be a number of seconds above 0")


class Origin(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int

    @property
    def host_header(self) -> bytes:
        """The value of `Host` for this origin: the port only if it is not the scheme's own (RFC 9110 §7.2)."""
        default_port = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == default_port else f"{host}:{self.port}").encode()


@dataclass(frozen=True, slots=True)
class Platform:
    """A shop platform with an OAuth 2.0 client-credentials grant (RFC 6749 §4.4).

    `token_url` and `api_url` are templates: `{shop}` stands for the shop's name. Raises `ValueError` with a sentence
    for the operator if one of them can't be used; its text begins with the field's name.
    """

    name: str
    token_url: str
    api_url: str
    token_request: TokenRequestForm = TokenRequestForm.FORM
    scope: str | None = None
    token_params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # Where the token stands in API calls: the header field, and the scheme before it; "" for the token alone.
    token_header: str = "Authorization"
    token_scheme: str = "Bearer"
    # Where its users find client_id and client_secret; the end of the sentence "compare them with …".
    credentials_place: str = "what the platform gave you"
    # Host names, as templates, under which old apps know the API. There its paths begin at the root, or where `api_url`
    # has them begin.
    hosts: tuple[str, ...] = ()
    # Whether the API's URLs in answers become the proxy's, and the reverse in requests.
    rewrite_links: bool = False
    # Whether its API answers in XML unless asked for something else: so do the proxy's own errors then.
    answers_in_xml: bool = False
    # Path prefix that all of the platform's calls share, for telling kinds of calls apart.
    api_prefix: str = ""
    # Where several calls are sent as one, as a path from `api_url` on; "" if nowhere. Its answers have statuses inside.
    batch_path: str = ""
    # How the proxy may send calls together that wait in line; `None`: not.
    batch: Batch | None = None
    # Which answers say 'too fast', and which 'not with this token'.
    throttled_when: tuple[AnswerRule, ...] = (429,)
    unauthorized_when: tuple[AnswerRule, ...] = (401,)
    # Which scope a call needs, if the platform says so.
    scopes: Scopes | None = None
    # What the platform lets through; `None`: it says nothing of a limit, or the limit is not to be kept here.
    rate_limit: RateLimit | None = None
    # Whether the platform is told X-Forwarded-For, -Host and -Proto.
    forwarded_headers: bool = False
    # Whether its hosts may resolve to loopback or private addresses.
    allow_private: bool = False
    # What its API and token endpoint are reached through; `None`: directly.
    proxy: EgressProxy | None = None
    answers: Answers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", Answers(self.throttled_when, self.unauthorized_when))
        if _FIELD_NAME.fullmatch(self.token_header) is None:
            raise ValueError("token_header: must be the name of a header field, such as X-Access-Token")
        if self.token_field.decode() in _OWN_FIELDS:
            raise ValueError(
                f"token_header: {self.token_header} already has a meaning of its own and can't carry the token"
            )
        _check_template("token_url", self.token_url, allow_private=self.allow_private)
        _check_template("api_url", self.api_url, allow_private=self.allow_private)
        for host in self.hosts:
            _check_host_template(host)
        if self.rewrite_links:
            try:
                parse_prefix(self.api_url.replace(SHOP_PLACEHOLDER, "shop"))
            except ValueError as error:
                raise ValueError(f"rewrite_links: for this, api_url {error}") from None

    @property
    def token_field(self) -> bytes:
        """The name of the header field that holds the token, in lower case."""
        return self.token_header.lower().encode()

    def is_batch(self, path: bytes) -> bool:
        """Tell whether a call to `path`, raw and from the API's base on, is one for several.

        In whatever spelling a server may take for that path: this decides what a client may do.
        """
        wanted = _segments((self.batch_path or (self.batch.path if self.batch else "")).encode())
        found = _segments(path.partition(b"?")[0])
        return bool(wanted) and len(found) >= len(wanted) and all(map(_is_called, found, wanted))

    def token_url_for(self, shop_name: str) -> str:
        """Return the URL of the token endpoint for a shop."""
        return self.token_url.replace(SHOP_PLACEHOLDER, shop_name)

    def proxy_for(self, origin: Origin) -> EgressProxy | None:
        """Return the proxy that connections to `origin` go through; `None`: they go directly, as all `http://` ones."""
        if self.proxy is None or origin.scheme != "https" or not self.proxy.serves(origin.host, origin.port):
            return None
        return self.proxy

    def token_origin_for(self, shop_name: str) -> Origin:
        """Return where the token endpoint for a shop is."""
        return _origin(URL(self.token_url_for(shop_name), encoded=True))

    def api_base_for(self, shop_name: str) -> tuple[Origin, bytes]:
        """Return where a shop's API is: the origin, and the path that its API calls begin with (ends in `/`)."""
        url = URL(self.api_url.replace(SHOP_PLACEHOLDER, shop_name), encoded=True)
        path = url.raw_path if url.raw_path.endswith("/") else url.raw_path + "/"
        return _origin(url), path.encode()

    def hosts_for(self, shop_name: str) -> list[str]:
        """Return the host names under which apps know a shop's API: the old ones, and its own if it names the shop."""
        own = (URL(self.api_url, encoded=True).host or "").lower()  # yarl does not, for the sake of the braces
        templates = (*self.hosts, own) if SHOP_PLACEHOLDER in own else self.hosts
        return [template.replace(SHOP_PLACEHOLDER, shop_name) for template in templates]

    def api_urls_for(self, shop_name: str) -> list[str]:
        """Return the URLs that stand for a shop's API, the canonical one first."""
        canonical = self.api_url.replace(SHOP_PLACEHOLDER, shop_name)
        _, base_path = self.api_base_for(shop_name)
        hosts = [host.replace(SHOP_PLACEHOLDER, shop_name) for host in self.hosts]
        return [canonical, *(f"https://{host}{path}" for host in hosts for path in (base_path.decode(), "/"))]


def _segments(path: bytes) -> list[bytes]:
    """Return the segments of a path as a server may see them that forgives much: without what means nothing to it.

    Parameters (`;x=1`) and blanks may, an empty segment, and the name of the script that serves them all (PHP).
    """
    parts = [part.partition(b";")[0].strip(_BLANKS) for part in _SLASH.split(unquote_to_bytes(path).lower())]
    return [part for part in parts if part and not part.endswith(b".php")]


def _is_called(segment: bytes, name: bytes) -> bool:
    """Tell whether a segment is this name, maybe with something behind it that may mean nothing (`.json`)."""
    return segment.startswith(name) and _MORE_OF_A_NAME.match(segment, len(name)) is None


def _origin(url: URL) -> Origin:
    # _check_template has seen to scheme, host and port.
    assert url.host is not None and url.port is not None  # noqa: S101, PT018 - for the type checker
    return Origin(url.scheme, url.host, url.port)


def _check_host_template(template: str) -> None:
    host = template.replace(SHOP_PLACEHOLDER, "shop")
    if _HOST.fullmatch(host) is None or ":" in host:
        raise ValueError(f"hosts: each must be a host name in lower case, such as {SHOP_PLACEHOLDER}.old.example.com")
    if SHOP_PLACEHOLDER in template.rpartition(".")[2]:
        raise ValueError(f"hosts: a host name must not end with {SHOP_PLACEHOLDER}")


def _check_template(name: str, template: str, *, allow_private: bool) -> None:
    sample = template.replace(SHOP_PLACEHOLDER, "shop")
    if "{" in sample or "}" in sample:
        raise ValueError(f"{name}: the only placeholder is {SHOP_PLACEHOLDER}")
    if not sample.isascii() or any(character <= " " or character == "\x7f" for character in sample):
        raise ValueError(f"{name}: must have no spaces or letters outside ASCII: write %20 in a path, xn--… in a host")
    try:
        url = URL(sample, encoded=True)
        other = URL(template.replace(SHOP_PLACEHOLDER, "other"), encoded=True)
        host, other_host = url.host or "", other.host or ""
        usable = url.scheme in ("http", "https") and bool(host and url.port)
    except (ValueError, IndexError):  # IndexError: yarl trips over "https://[]@"
        raise ValueError(f"{name}: is not a URL: check its port, and the brackets of an IPv6 address") from None
    if not usable:
        raise ValueError(f"{name}: must be an absolute URL, such as https://{SHOP_PLACEHOLDER}.example.com/api/")
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"{name}: the host must be a DNS name, with {SHOP_PLACEHOLDER} for the shop, or an IP address")
    if host in ("http", "https"):
        raise ValueError(f"{name}: begins with {host}:// twice")
    # Else whoever names the shop would choose the host: `localhost`, a neighbour in the cluster, 10.0.0.1.
    if host.rpartition(".")[2] != other_host.rpartition(".")[2]:
        raise ValueError(f"{name}: the host name must not end with {SHOP_PLACEHOLDER}")
    # Names are checked when they are resolved (guards/egress.py); addresses are never resolved.
    if is_ip_address(host) and not is_public(host) and not allow_private:
        raise ValueError(f"{name}: is a loopback or private address: set allow_private = true if that is meant")
    if url.user is not None or url.password is not None:
        raise ValueError(f"{name}: must not contain a user name or password")
    if "#" in sample:
        raise ValueError(f"{name}: must not contain a fragment")
    if "?" in sample and name == "api_url":  # a token endpoint may have a query (RFC 6749 §3.2)
        raise ValueError(f"{name}: must not contain a query")
    if any(segment in (".", "..") for segment in url.raw_path.lower().replace("%2e", ".").split("/")):
        raise ValueError(f"{name}: must not contain '.' or '..' segments")
