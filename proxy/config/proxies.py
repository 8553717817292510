"""Which egress proxy each platform is reached through.

Rules: a platform's own setting comes first, then `upstream.proxy`, then, if `upstream.trust_env` allows it, the
environment. There HTTPS_PROXY and NO_PROXY count, since what goes through is `https://` alone; the name in lower case
comes before the one in upper case, even if it is empty (as curl and Python's urllib have it).
"""

from collections.abc import Mapping
from dataclasses import replace

from proxy.config.schema import UpstreamConfig
from proxy.platforms.egress_proxy import EgressProxy, parse_proxy
from proxy.platforms.platform import Platform


def proxy_for_all(upstream: UpstreamConfig, environ: Mapping[str, str]) -> EgressProxy | None:
    """Return the proxy of platforms without one of their own. Raises `ValueError` with a sentence, without the URL."""
    if upstream.proxy is not None or not upstream.trust_env:
        return upstream.proxy
    text = _variable(environ, "HTTPS_PROXY").strip()
    if not text:
        return None
    try:
        proxy = parse_proxy(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise ValueError(f"the environment variable HTTPS_PROXY {error}") from None
    return replace(proxy, no_proxy=_variable(environ, "NO_PROXY").strip())


def is_left_unused(upstream: UpstreamConfig, environ: Mapping[str, str]) -> bool:
    """Tell whether the environment names a proxy, but the configuration has none and does not allow that one."""
    return not upstream.trust_env and upstream.proxy is None and bool(_variable(environ, "HTTPS_PROXY").strip())


def has_no_effect(platform: Platform) -> bool:
    """Tell whether a platform has a proxy of its own for nothing, since all its URLs are `http://`."""
    urls = (platform.token_url, platform.api_url)
    return platform.proxy is not None and not any(url.lower().startswith("https:") for url in urls)


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name.lower())
    return environ.get(name, "") if value is None else value
