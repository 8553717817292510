"""Every setting: its name, what it may hold, its default.

A section of the file is a struct here and a setting is a field of it. The field's annotation is its rule, checked by
msgspec for each value alone; the rule's `description` ends the sentence "must be …". Nothing else lists the settings:
`setting_names` takes them from here, and the tests hold the example file and docs/settings.md to that.
"""

from collections.abc import Mapping
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import fields

from proxy.certificate import Authorities, CertificateFiles
from proxy.config.files import FileStamp
from proxy.platforms.answers import AnswerRule
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Batch, Platform, RateLimit, TokenRequestForm
from proxy.platforms.shop import Shops
from proxy.secret import Secret

# Control characters, halves of surrogate pairs (bytes in the environment that are not UTF-8), the byte order mark.
UNCLEAN: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff"

Flag = Annotated[bool, Meta(description="true or false")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535 (0: any free port)")]
Size = Annotated[int, Meta(ge=0, description="a whole number of bytes, 0 or more")]
HeadSize = Annotated[int, Meta(ge=1024, description="a whole number of bytes, 1024 or more")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Rate = Annotated[float, Meta(gt=0, description="a number above 0")]
Part = Annotated[float, Meta(gt=0, le=1, description="a number above 0, up to 1")]
Duration = Annotated[float, Meta(gt=0, description="a number of seconds above 0")]
DurationOrZero = Annotated[float, Meta(ge=0, description="a number of seconds, 0 or more")]
Text = Annotated[
    str,
    Meta(min_length=1, pattern=rf"\A[^{UNCLEAN}]*\Z", description="a string, not empty and without control characters"),
]
# Looks like an IP address or a DNS name; "" is every address. Whether it exists shows itself when listening.
Host = Annotated[
    str,
    Meta(
        pattern=r"\A(?:|[0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?|(?=.*:.*:)[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?)\Z",
        description='an IP address or a host name, without a port, such as "127.0.0.1", or "" for every address',
    ),
]
PathPrefix = Annotated[
    str,
    Meta(
        pattern=r"\A(?:[!-.0-~](?:[!-~]*[!-.0-~])?)?\Z",
        description='a string in printable ASCII without "/" at its ends, such as "api/v1"',
    ),
]
Texts = Annotated[tuple[Text, ...], Meta(description="a list of strings, none of them empty")]
PublicUrl = Annotated[
    str, Meta(description='a URL with https:// or http://, such as "https://example.com/shops", without a query')
]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    Meta(description='a list of IP addresses and networks (without host bits), each a string such as "10.0.0.0/8"'),
]
CertificateFile = Annotated[Authorities, Meta(description="the name of a file, a string that is not empty")]
CertificateAndKey = Annotated[
    CertificateFiles, Meta(description='{ certificate = "cert.pem", private_key = "key.pem" }, the names of two files')
]
SecretSource = Annotated[
    Secret, Meta(description='a string, { file = "…" } or { env = "NAME" }, and exactly one of them')
]
Digest = Annotated[
    str,
    Meta(pattern=r"\A[0-9A-Fa-f]{64}\Z", description="the SHA-256 digest of a secret, 64 hexadecimal digits in quotes"),
]
# Which strings these lists may hold is checked in clients.py, which has better words for it.
ShopNames = Annotated[
    tuple[str, ...],
    Meta(min_length=1, description='a list of shops, such as ["demo"], or ["*"] for all; not empty'),
]
MethodNames = Annotated[
    tuple[str, ...],
    Meta(min_length=1, description='a list of methods, such as ["GET"], or ["*"] for all; not empty'),
]
# As a secret, since it may hold a password.
ProxyUrl = Annotated[
    EgressProxy,
    Meta(description='the URL of an HTTP proxy, "http://proxy.internal:3128", { file = "…" } or { env = "NAME" }'),
]
ProxyUrlOrFalse = Annotated[
    EgressProxy,
    Meta(
        description='the URL of an HTTP proxy, "http://proxy.internal:3128", { file = "…" } or { env = "NAME" },'
        " or false for none"
    ),
]
RateLimitRule = Annotated[
    RateLimit,
    Meta(description="{ requests = 3, per = 1.0 } (whole requests, in seconds above 0), or false for no limit"),
]
BatchRule = Annotated[
    Batch,
    Meta(description='{ path = "batch", form = "shoprenter", most = 200 } (most: 2 or more), or false for none'),
]
TokenScheme = Annotated[
    str,
    Meta(
        pattern=r"\A[!-~]*\Z",
        description='a string in printable ASCII without spaces, such as "Bearer", or "" for the token alone',
    ),
]
AnswerRules = Annotated[
    tuple[AnswerRule, ...],
    Meta(
        description="a list of statuses from 400 to 599, and of values in JSON such as"
        ' { status = 200, path = "error.code", equals = "TOO_FAST" }'
    ),
]
TokenParams = Annotated[Mapping[str, str], Meta(description="a table of strings, none of them with control characters")]


class ServerConfig(Struct, frozen=True, kw_only=True):
    """`[server]`: where clients reach the proxy, and what they may do. Times in seconds, sizes in bytes.

    `min_body_rate` in bytes a second, measured over `rate_window`. `max_request_line` is that of the target in it,
    `max_header_size` that of all header fields of a request together. `max_share` is the part of what all share that
    one client or shop alone may have.
    """

    host: Host = "127.0.0.1"
    port: Port = 8080
    trusted_proxies: Networks = ()
    public_url: PublicUrl | None = None
    route_by_host: Flag = True
    allow_anonymous: Flag = False
    tls: CertificateAndKey | None = None
    drain_delay: DurationOrZero = 0.0
    drain_timeout: DurationOrZero = 30.0
    max_request_line: HeadSize = 16384
    max_header_size: HeadSize = 32768
    max_header_count: Count = 128
    header_timeout: Duration = 10.0
    min_body_rate: Rate = 240.0
    rate_window: Duration = 60.0
    keep_alive_timeout: Duration = 75.0
    max_connections: Count = 2000
    max_connections_per_address: Count = 200
    max_requests: Count = 1000
    max_requests_per_connection: Count = 1000
    max_share: Part = 0.5


class AdminConfig(Struct, frozen=True, kw_only=True):
    """`[admin]`: where health, metrics and the status page are. It knows no secrets and needs no clients."""

    enabled: Flag = True
    host: Host = "127.0.0.1"
    port: Port = 9090


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """`[upstream]`: the way to the platforms. Timeouts in seconds, `max_body_size` in bytes.

    `ca_file` holds certificates (PEM) that are trusted besides the usual ones. With `trust_env`, HTTPS_PROXY and
    NO_PROXY count where no setting names a proxy.
    """

    connect_timeout: Duration = 5.0
    read_timeout: Duration = 60.0
    max_body_size: Size = 64 * 1024 * 1024
    ca_file: CertificateFile | None = None
    proxy: ProxyUrl | None = None
    trust_env: Flag = False


class TokensConfig(Struct, frozen=True, kw_only=True):
    """`[tokens]`: how long access tokens are used, and how the token endpoints are spared. Times in seconds."""

    refresh_margin: DurationOrZero = 60.0
    max_age: Duration = 86400.0
    fetch_timeout: Duration = 10.0
    unauthorized_pause: DurationOrZero = 30.0
    max_entries: Count = 20_000
    first_requests_per_second: Rate = 50.0


class PacingConfig(Struct, frozen=True, kw_only=True):
    """`[pacing]`: how requests wait in line for a platform's rate limit. `max_wait` in seconds."""

    max_wait: DurationOrZero = 30.0
    max_queue: Count = 1000
    collapse: Flag = True


class LoggingConfig(Struct, frozen=True, kw_only=True):
    """`[logging]`. As `format`, "auto" means "console" where the log goes to a terminal, else "json"."""

    format: Annotated[Literal["auto", "json", "console"], Meta(description='"auto", "json" or "console"')] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description='"debug", "info", "warning" or "error"'),
    ] = "info"


class ShopSettings(Struct, frozen=True, kw_only=True):
    """`[shops.NAME]`, as written; `Config` has it as a `Shop`."""

    platform: Text = "shoprenter"
    client_id: Text
    client_secret: SecretSource
    shop_name: Text | None = None
    batch: Flag = False


class ClientConfig(Struct, frozen=True, kw_only=True):
    """`[clients.NAME]`: who may call. Of `secret` and `secret_sha256` exactly one is there; `"*"` means all."""

    secret: SecretSource | None = None
    secret_sha256: Digest | None = None
    shops: ShopNames = ("*",)
    methods: MethodNames = ("*",)

    @property
    def digest(self) -> bytes:
        """The SHA-256 digest of the secret."""
        if self.secret is not None:
            return sha256(self.secret.reveal().encode()).digest()
        return bytes.fromhex(self.secret_sha256 or "")


class PlatformSettings(Struct, frozen=True, kw_only=True):
    """`[platforms.NAME]`, as written; `Config` has it as a `Platform`, whose defaults are the same."""

    token_url: Text
    api_url: Text
    token_request: Annotated[TokenRequestForm, Meta(description='"form", "json", "basic" or "basic-raw"')] = (
        TokenRequestForm.FORM
    )
    scope: Text | None = None
    token_params: TokenParams = field(default_factory=dict)
    token_header: Text = "Authorization"
    token_scheme: TokenScheme = "Bearer"
    hosts: Texts = ()
    rewrite_links: Flag = False
    answers_in_xml: Flag = False
    api_prefix: PathPrefix = ""
    batch_path: PathPrefix = ""
    batch: BatchRule | None = None
    throttled_when: AnswerRules = (429,)
    unauthorized_when: AnswerRules = (401,)
    rate_limit: RateLimitRule | None = None
    forwarded_headers: Flag = False
    allow_private: Flag = False
    proxy: ProxyUrlOrFalse | None = None


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration, checked. `platforms` has the built-in ones too, each as the file changed it.

    Each has its proxy, wherever that was set. `files` are those that it was read from, as they were then.
    """

    server: ServerConfig
    admin: AdminConfig
    upstream: UpstreamConfig
    tokens: TokensConfig
    pacing: PacingConfig
    logging: LoggingConfig
    shops: Shops
    platforms: Mapping[str, Platform]
    clients: Mapping[str, ClientConfig] = field(default_factory=dict)
    files: Mapping[Path, FileStamp] = field(default_factory=dict)


SECTIONS: Final[Mapping[str, type[Struct]]] = MappingProxyType(
    {
        "server": ServerConfig,
        "admin": AdminConfig,
        "upstream": UpstreamConfig,
        "tokens": TokensConfig,
        "pacing": PacingConfig,
        "logging": LoggingConfig,
    }
)
# Sections whose tables the user names: [shops.demo].
NAMED_SECTIONS: Final[Mapping[str, type[Struct]]] = MappingProxyType(
    {"shops": ShopSettings, "clients": ClientConfig, "platforms": PlatformSettings}
)


def setting_names() -> tuple[str, ...]:
    """Name every setting by its path, such as `server.host`; `NAME` stands for what the user names."""
    plain = [f"{section}.{field.name}" for section, schema in SECTIONS.items() for field in fields(schema)]
    named = [f"{section}.NAME.{field.name}" for section, schema in NAMED_SECTIONS.items() for field in fields(schema)]
    return (*plain, *named)
