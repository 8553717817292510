"""One call of a platform from the command line: its answer, or in words why there is none.

The connections are those that the proxy itself would use: the same addresses are allowed, the same authorities trusted,
and the same egress proxy is gone through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from proxy.commands.advice import in_words
from proxy.platforms.platform import Origin, Platform

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
    sessions: Mapping[bool, ClientSession],
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
    way: dict[str, Any] = {"proxy": proxy.url, "proxy_headers": proxy.connect_headers()} if proxy else {}
    began = perf_counter()
    try:
        async with sessions[platform.allow_private or proxy is not None].get(
            target,
            headers=headers,
            allow_redirects=False,
            timeout=ClientTimeout(total=within),
            skip_auto_headers=("Accept-Encoding",),
            **way,
        ) as response:
            body = b""
            while len(body) < _MAX_BODY and (chunk := await response.content.readany()):
                body += chunk
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            return Answer(response.status, media_type, body[:_MAX_BODY], perf_counter() - began)
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(in_words(error, origin, platform, proxy, within)) from None
