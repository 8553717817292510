"""One call of a platform from the command line: its answer, or in words why there is none.

The connections are those that the proxy itself would use: the same addresses are allowed, the same authorities trusted,
and the same egress proxy is gone through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from yarl import URL

from proxy.commands.advice import in_words
from proxy.errors import ProxyError
from proxy.platforms.platform import Origin, Platform
from proxy.tokens.endpoint import Client

_MAX_BODY: Final = 1 << 20  # bytes that are read


class Unreachable(Exception):
    """There was no answer; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, media type, body (no more than 1 MiB of it), and the seconds it took."""

    status: int
    media_type: str
    body: bytes
    seconds: float


async def reach(
    client: Client,
    platform: Platform,
    url: str,
    headers: Mapping[str, str],
    *,
    within: float,
) -> Answer:
    """GET a URL of a platform, in at most `within` seconds. Raises `Unreachable`."""
    target = URL(url, encoded=True)
    assert target.host is not None and target.port is not None  # noqa: S101, PT018 - made of a platform's template
    origin = Origin(target.scheme, target.host, target.port)
    proxy = platform.proxy_for(origin)
    began = perf_counter()
    try:
        status, fields, body = await client.ask(
            "GET",
            target,
            {"Accept": "*/*", **headers},
            way=proxy,
            any_address=platform.allow_private or proxy is not None,
            within=within,
            limit=_MAX_BODY,
        )
    except (ProxyError, TimeoutError) as error:
        raise Unreachable(in_words(error, origin, platform, proxy, within)) from None
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().decode("latin-1")
    return Answer(status, media_type, body[:_MAX_BODY], perf_counter() - began)
