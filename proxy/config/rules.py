"""What a setting may hold: the rules that the fields of `schema` are annotated with.

msgspec checks each value alone by its rule; the rule's `description` ends the sentence "must be …".
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final

from msgspec import Meta

from proxy.certificate import Authorities, CertificateFiles
from proxy.platforms.answers import AnswerRule
from proxy.platforms.batch import Batch
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import RateLimit
from proxy.platforms.scopes import Scopes
from proxy.secret import Secret

# Control characters, halves of surrogate pairs (bytes in the environment that are not UTF-8), the byte order mark.
UNCLEAN: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff"

Flag = Annotated[bool, Meta(description="true or false")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535 (0: any free port)")]
PortSource = Annotated[int, Meta(description='a whole number from 0 to 65535 (0: any free port), or { env = "NAME" }')]
Size = Annotated[int, Meta(ge=0, description="a whole number of bytes, 0 or more")]
Budget = Annotated[int, Meta(ge=1 << 20, description="a whole number of bytes, 1048576 (1 MiB) or more")]
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
StoreUrl = Annotated[Secret, Meta(description='a URL such as "redis://redis:6379", { file = "…" } or { env = "NAME" }')]
EncryptionKeys = Annotated[
    tuple[Secret, ...], Meta(description='{ file = "…" } or { env = "NAME" }, or a list of these')
]
Digest = Annotated[
    str,
    Meta(pattern=r"\A[0-9A-Fa-f]{64}\Z", description="the SHA-256 digest of a secret, 64 hexadecimal digits in quotes"),
]
# Which strings these lists may hold is checked in clients.py.
ShopNames = Annotated[
    tuple[str, ...], Meta(min_length=1, description='a list of shops, such as ["demo"], or ["*"] for all; not empty')
]
MethodNames = Annotated[
    tuple[str, ...], Meta(min_length=1, description='a list of methods, such as ["GET"], or ["*"] for all; not empty')
]
# As a secret, since it may hold a password.
ProxyUrl = Annotated[
    EgressProxy,
    Meta(
        description='the URL of an HTTP proxy such as "http://proxy.internal:3128", { file = "…" } or { env = "NAME" }'
    ),
]
ProxyUrlOrFalse = Annotated[
    EgressProxy,
    Meta(
        description='the URL of an HTTP proxy such as "http://proxy.internal:3128", { file = "…" } or { env = "NAME" },'
        " or false for none"
    ),
]
RateLimitRule = Annotated[
    RateLimit,
    Meta(
        description="{ requests = 3, per = 1.0 } (a whole number of requests, a number of seconds above 0), or false"
        " for no limit"
    ),
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
        description="a list of statuses from 400 to 599, or of values in JSON such as { status = 200,"
        ' path = "error.code", equals = "TOO_FAST" }'
    ),
]
ScopesRule = Annotated[
    Scopes,
    Meta(
        description="a table of scopes by the first segment of the path and by method, such as"
        ' { orders = { GET = "orders:read", "*" = "orders:write" } }'
    ),
]
TokenParams = Annotated[Mapping[str, str], Meta(description="a table of strings, none of them with control characters")]
