"""Asks the token endpoint, and reads its answer (RFC 6749 §4.4, §5).

Rules: the request holds the secret, so redirects are not followed and nothing of it is logged. The answer holds a
token, or, on an error, whatever a broken server says: it is read up to a bound, taken as JSON or not at all, and only
what is meant for people is passed on, to the log alone (`words.py`).
"""

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote_plus, urlencode

from yarl import URL

from proxy.errors import ProxyError, TokenRefused, TokenUnavailable
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import TokenRequestForm
from proxy.platforms.shop import Shop
from proxy.tokens.words import own_words

_MAX_ANSWER: Final = 1 << 16  # bytes
_MAX_TOKEN: Final = 1 << 14  # characters
_MAX_SCOPE: Final = 200  # characters of it in the log
_MAX_TYPE: Final = 30
_MOST_SECONDS: Final = 999_999_999.0  # that a Retry-After is taken for
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_GRANTS: Final = (200, 201)
_BEARER: Final = ("bearer", "bearertoken")  # RFC 6750 §6.1.1, and what some servers make of it
# RFC 6749 §5.2; access_denied from §4.1.2.1, which servers use here too; RFC 8707 §2.
_REFUSALS: Final = frozenset(
    (
        *("invalid_request", "invalid_client", "invalid_grant", "invalid_scope"),
        *("unauthorized_client", "unsupported_grant_type", "access_denied", "invalid_target"),
    )
)
_NOT_NOW: Final = (408, 425, 429)

_REFUSED: Final = "The platform's token endpoint refuses this shop's client_id and client_secret."
_UNAVAILABLE: Final = "The platform's token endpoint can't be reached or gives no usable answer."
_SILENT: Final = "The platform's token endpoint did not answer in time (tokens.fetch_timeout)."


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request for a shop. `key` is a digest of all that goes into it, the secret included, and of where the
    token is to stand. `application` is one of what a platform counts requests by: the endpoint and the client id.

    What goes on the wire is made when it is sent: there may be thousands of these.
    """

    shop: Shop
    key: bytes
    application: bytes


class WireRequest(NamedTuple):
    """A token request as it goes on the wire."""

    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"WireRequest(url={self.url!r})"


class TokenGrant(NamedTuple):
    """What the endpoint granted: the token, its lifetime in seconds (`None` if not said), the scopes if said."""

    access_token: str
    lifetime: float | None
    scope: str | None

    def __repr__(self) -> str:
        return f"TokenGrant(lifetime={self.lifetime}, scope={self.scope!r})"


def token_request(shop: Shop) -> TokenRequest:
    """Return the token request for a shop."""
    url, headers, body = wire_request(shop)
    proxy = shop.platform.proxy_for(shop.platform.token_origin_for(shop.name))
    way = [shop.platform.allow_private, proxy and proxy.url]
    place = [shop.platform.token_header, shop.platform.token_scheme]
    ingredients = json.dumps([url, way, place, headers, body.decode()])
    application = json.dumps([url, shop.credentials.client_id])
    return TokenRequest(shop, _digest(ingredients), _digest(application))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def wire_request(shop: Shop) -> WireRequest:
    """Return the token request for a shop as it goes on the wire, in the form its platform wants."""
    platform, credentials = shop.platform, shop.credentials
    client_id, client_secret = credentials.client_id, credentials.client_secret.reveal()
    fields = {"grant_type": "client_credentials"}
    headers = {"Accept": "application/json"}
    if platform.token_request in (TokenRequestForm.BASIC, TokenRequestForm.BASIC_RAW):
        if platform.token_request is TokenRequestForm.BASIC:
            client_id, client_secret = quote_plus(client_id), quote_plus(client_secret)
        pair = f"{client_id}:{client_secret}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        fields |= {"client_id": client_id, "client_secret": client_secret}
    if platform.scope is not None:
        fields["scope"] = platform.scope
    fields |= platform.token_params
    if platform.token_request is TokenRequestForm.JSON:
        headers["Content-Type"] = "application/json"
        body = json.dumps(fields).encode()
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(fields).encode()
    return WireRequest(platform.token_url_for(shop.name), headers, body)


def read_answer(
    status: int,
    body: bytes,
    *,
    scheme: str = "Bearer",
    retry_after: float | None = None,
    redact: Callable[[str], str] = str,
) -> TokenGrant:
    """Return what an answer of the endpoint grants; `retry_after` is what it says of trying again, in seconds.

    `scheme` is what the token is to stand behind: a token of that type is taken too. Raises `TokenRefused` for an error
    of OAuth's own, else `TokenUnavailable`: it may be a wall, or a service that is starting, which answers. Both have
    the endpoint's own words as the `reason`.
    """
    document = _json_object(body)
    error = document.get("error") if document else None
    if error or status not in _GRANTS:
        reason = f"status {status}{own_words(status, document, body, redact)}"
        if isinstance(error, str) and error in _REFUSALS and status < 500 and status not in _NOT_NOW:
            raise TokenRefused(_REFUSED, reason=reason)
        raise TokenUnavailable(_UNAVAILABLE, reason=reason, retry_after=retry_after)
    if document is None:
        raise TokenUnavailable(_UNAVAILABLE, reason="the answer is not a JSON object")
    token = document.get("access_token")
    if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN or not _is_visible_ascii(token):
        raise TokenUnavailable(_UNAVAILABLE, reason="the answer has no usable access_token")
    token_type = document.get("token_type")
    if token_type is not None and str(token_type).strip().lower() not in (*_BEARER, scheme.lower()):
        # RFC 6749 §7.1: a token of a type that one does not understand must not be used.
        shown = redact(str(token_type))[:_MAX_TYPE]
        raise TokenUnavailable(_UNAVAILABLE, reason=f"the token is not of the type Bearer, but {shown!r}")
    scope = document.get("scope")
    return TokenGrant(
        token, _lifetime(document.get("expires_in")), scope[:_MAX_SCOPE] if isinstance(scope, str) else None
    )


def read_retry_after(value: str | None, date: str | None, *, clock: Callable[[], float] = time.time) -> float | None:
    """Return in how many whole seconds to try again, if an answer's `Retry-After` says so (RFC 9110 §10.2.3).

    Where it names a time, that is compared with the `Date` of the same answer, since the endpoint's clock is not ours;
    without one with our own, `clock`, in seconds since 1970. A fraction, which RFC 9110 does not know, is rounded up.
    """
    value = (value or "").strip()
    if _DECIMAL.fullmatch(value):
        seconds = float(value)
    elif (then := _timestamp(value)) is not None:
        now = _timestamp(date or "")
        seconds = then - (clock() if now is None else now)
    else:
        return None
    return float(math.ceil(min(max(seconds, 0.0), _MOST_SECONDS)))


def _timestamp(text: str) -> float | None:
    """Return the time that an HTTP-date stands for, in any of its three forms (RFC 9110 §5.6.7)."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _lifetime(expires_in: object) -> float | None:
    """Return `expires_in` in seconds; some platforms send it as a string, some leave it out."""
    if expires_in is None:
        return None
    lifetime = math.nan
    if isinstance(expires_in, str) and not _DECIMAL.fullmatch(expires_in):
        pass  # Python would take spaces and underscores too
    elif isinstance(expires_in, int | float | str) and not isinstance(expires_in, bool):
        with suppress(OverflowError):
            lifetime = float(expires_in)
    if not math.isfinite(lifetime) or lifetime <= 0:
        raise TokenUnavailable(_UNAVAILABLE, reason="expires_in is not a positive number of seconds")
    return lifetime


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


class Client(Protocol):
    """Asks on a connection of its own; see `proxy.wire.asking`. Returns status, header fields and body."""

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        way: EgressProxy | None,
        any_address: bool,
        within: float,
        limit: int,
    ) -> tuple[int, Mapping[bytes, bytes], bytes]: ...


class TokenEndpoint:
    """Sends token requests by `client`.

    `conceal` is told each token, and its lifetime in seconds if that was granted, before anything else sees it, so that
    no log line can show it. `redact` takes secrets out of what an endpoint says: it may say what it was told.
    """

    def __init__(
        self,
        client: Client,
        *,
        fetch_timeout: float,
        conceal: Callable[[str, float | None], object],
        redact: Callable[[str], str] = str,
    ) -> None:
        self._client = client
        self._fetch_timeout = fetch_timeout
        self._conceal = conceal
        self._redact = redact

    async def fetch(self, request: TokenRequest) -> TokenGrant:
        """Ask once. Raises `TokenRefused` or `TokenUnavailable`."""
        url, headers, body = wire_request(request.shop)
        platform = request.shop.platform
        proxy = platform.proxy_for(platform.token_origin_for(request.shop.name))
        try:
            status, fields, answer = await self._client.ask(
                "POST",
                URL(url),
                headers,
                body,
                way=proxy,
                any_address=platform.allow_private or proxy is not None,
                within=self._fetch_timeout,
                limit=_MAX_ANSWER,
            )
        except TimeoutError:
            through = f"; asked through the egress proxy {proxy.url}" if proxy else ""
            raise TokenUnavailable(_SILENT, reason=f"no answer in time{through}", timed_out=True) from None
        except ProxyError as error:
            raise TokenUnavailable(_UNAVAILABLE, reason=error.reason or error.detail) from None
        if len(answer) > _MAX_ANSWER:
            raise TokenUnavailable(_UNAVAILABLE, reason=f"the answer is larger than {_MAX_ANSWER} bytes")
        retry_after, date = (fields.get(name, b"").decode("latin-1") for name in (b"retry-after", b"date"))
        grant = read_answer(
            status,
            answer,
            scheme=platform.token_scheme,
            retry_after=read_retry_after(retry_after, date),
            redact=self._redact,
        )
        self._conceal(grant.access_token, grant.lifetime)
        return grant
