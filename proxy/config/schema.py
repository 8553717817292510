"""Every setting: its name, what it may hold, its default.

A section of the file is a struct here and a setting is a field of it. The field's annotation is its rule (`rules`).
Nothing else lists the settings: `setting_names` takes them from here, and the tests hold the example file and
docs/settings.md to that.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import fields

from proxy.config.files import FileStamp
from proxy.config.rules import (
    AnswerRules,
    BatchRule,
    Budget,
    CertificateAndKey,
    CertificateFile,
    Count,
    Digest,
    Duration,
    DurationOrZero,
    EncryptionKeys,
    Flag,
    HeadSize,
    Host,
    MethodNames,
    Networks,
    Part,
    PathPrefix,
    Port,
    PortSource,
    ProxyUrl,
    ProxyUrlOrFalse,
    PublicUrl,
    Rate,
    RateLimitRule,
    ScopesRule,
    SecretSource,
    ShopNames,
    Size,
    StoreUrl,
    Text,
    Texts,
    TokenParams,
    TokenScheme,
)
from proxy.platforms.platform import Platform, TokenRequestForm
from proxy.platforms.shop import Shops


class ServerConfig(Struct, frozen=True, kw_only=True):
    """`[server]`: where clients reach the proxy, and what they may do. Times in seconds, sizes in bytes.

    `min_body_rate` in bytes a second, measured over `rate_window`. `max_request_line` is that of the target in it,
    `max_header_size` that of all header fields of a request together. `max_share` is the part of what all share that
    one client or shop, of places also one of several platforms, alone may have. Without the budgets, they are what the
    machine has room for.
    """

    host: Host = "127.0.0.1"
    port: Port = 8080
    reuse_port: Flag = False
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
    memory_budget: Budget | None = None
    spool_budget: Budget | None = None
    max_share: Part = 0.5


class AdminConfig(Struct, frozen=True, kw_only=True):
    """`[admin]`: where health, metrics and the status page are. It knows no secrets and needs no clients."""

    enabled: Flag = True
    host: Host = "127.0.0.1"
    port: PortSource = 9090


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


class SharedConfig(Struct, frozen=True, kw_only=True):
    """`[shared]`: what replicas know in common, with `url`. Time in seconds, `fallback_share` in requests a second."""

    url: StoreUrl | None = None
    password: SecretSource | None = None
    prefix: Text = "shop-auth-proxy:"
    encryption_key: EncryptionKeys | None = None
    plaintext: Flag = False
    command_timeout: Duration = 0.1
    fallback_share: Rate | None = None


class LoggingConfig(Struct, frozen=True, kw_only=True):
    """`[logging]`. As `format`, "auto" means "console" where the log goes to a terminal, else "json"."""

    format: Annotated[Literal["auto", "json", "console"], Meta(description='"auto", "json" or "console"')] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description='"debug", "info", "warning" or "error"')
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
    scopes: ScopesRule | None = None
    rate_limit: RateLimitRule | None = None
    forwarded_headers: Flag = False
    allow_private: Flag = False
    proxy: ProxyUrlOrFalse | None = None


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration, checked; `platforms` with the built-in ones and each its proxy, `files` as when read.

    `variables` are the names of the environment variables that it names.
    """

    server: ServerConfig
    admin: AdminConfig
    upstream: UpstreamConfig
    tokens: TokensConfig
    pacing: PacingConfig
    logging: LoggingConfig
    shared: SharedConfig = field(default_factory=SharedConfig)
    shops: Shops
    platforms: Mapping[str, Platform]
    clients: Mapping[str, ClientConfig] = field(default_factory=dict)
    files: Mapping[Path, FileStamp] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()


SECTIONS: Final[Mapping[str, type[Struct]]] = MappingProxyType(
    {
        "server": ServerConfig,
        "admin": AdminConfig,
        "upstream": UpstreamConfig,
        "tokens": TokensConfig,
        "pacing": PacingConfig,
        "shared": SharedConfig,
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
