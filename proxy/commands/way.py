"""The way of a request to each shop, as far as it can be tried: a token, the API's host, a call if one is asked for.

Rules: shops are tried side by side, but not many at once; what is found is told at once. A call is made with the token
and nothing else that a client would send; of its answer a little is shown, without secrets.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from proxy.commands.advice import about_token
from proxy.commands.findings import Finding
from proxy.commands.reach import Answer, Unreachable, reach
from proxy.config import Config
from proxy.errors import TokenError, TokenRefused
from proxy.platforms.answers import MAX_LOOKED_INTO, Sense
from proxy.platforms.shop import Shop
from proxy.telemetry.redaction import Redactor
from proxy.tokens.endpoint import Client, TokenEndpoint, TokenGrant, token_request

_AT_ONCE: Final = 8  # shops; many may share one endpoint, which has its limits
_SHOWN: Final = 200  # characters of an answer
_ACCEPT: Final = "application/json, application/xml;q=0.9, */*;q=0.1"


class Way:
    """Tries the way to each shop; `show` is told each finding.

    `calls` has, for shops that are to be called, the path without the shop.
    """

    def __init__(
        self,
        config: Config,
        client: Client,
        redactor: Redactor,
        calls: Mapping[str, str],
        show: Callable[[Finding], None],
    ) -> None:
        self._config = config
        self._client = client
        self._redactor = redactor
        self._calls = calls
        self._show = show
        self._endpoint = TokenEndpoint(
            client,
            fetch_timeout=config.tokens.fetch_timeout,
            conceal=lambda token, _: redactor.add(token),  # however short: what is shown here is all that there will be
            redact=redactor.text,
        )
        self.open = True  # until an endpoint or an API could not be reached
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._apis: dict[str, asyncio.Task[tuple[bool, str]]] = {}

    async def try_all(self) -> bool:
        """Try each shop; return whether all got a token, and their calls good answers."""
        shops = self._config.shops
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._try(shop, group)) for shop in shops.named.values()]
        if shops.wildcard is not None:
            platform, _ = shops.wildcard
            self._show(
                Finding(
                    "*",
                    platform.name,
                    None,
                    "not asked",
                    "stands for every other shop; to try one: shop-auth-proxy token SHOP",
                )
            )
        return all(task.result() for task in tasks)

    async def _try(self, shop: Shop, group: asyncio.TaskGroup) -> bool:
        async with self._places:
            url = _api_url(shop, "")
            if url not in self._apis:  # shops of one platform may share it
                self._apis[url] = group.create_task(self._reach_api(shop, url))
            token = await self._token(shop)
            reached, explanation = await self._apis[url]
            outcome = "reached" if reached else "not reached"
            self.open &= reached
            self._show(Finding(shop.key, shop.platform.name, reached or None, outcome, explanation))
            if token is None or shop.key not in self._calls:
                return token is not None
            answered, explanation = await self._call(shop, token, self._calls[shop.key])
            outcome = "answered" if answered else "failed"
            self._show(Finding(shop.key, shop.platform.name, answered, outcome, explanation))
            return answered

    async def _token(self, shop: Shop) -> str | None:
        try:
            grant = await self._endpoint.fetch(token_request(shop))
        except TokenError as error:
            outcome = "refused" if isinstance(error, TokenRefused) else "unreachable"
            self.open &= outcome == "refused"
            why = await why_no_token(shop, error, self._client, within=self._config.tokens.fetch_timeout)
            self._show(Finding(shop.key, shop.platform.name, False, outcome, why))
            return None
        self._show(Finding(shop.key, shop.platform.name, True, "granted", _describe(grant)))
        return grant.access_token

    async def _reach_api(self, shop: Shop, url: str) -> tuple[bool, str]:
        within = 2 * self._config.upstream.connect_timeout
        try:
            answer = await reach(self._client, shop.platform, url, {}, within=within)
        except Unreachable as error:
            return False, f"warning: {error} (asked {url})"
        return True, f"{url} answers (status {answer.status}, in {answer.seconds:.2f} s)"

    async def _call(self, shop: Shop, token: str, path: str) -> tuple[bool, str]:
        platform = shop.platform
        headers = {platform.token_header: f"{platform.token_scheme} {token}".lstrip(" "), "Accept": _ACCEPT}
        called = f"GET /{shop.key}/{path}"
        within = self._config.upstream.read_timeout
        try:
            answer = await reach(self._client, shop.platform, _api_url(shop, path), headers, within=within)
        except Unreachable as error:
            return False, f"{called}: {error}"
        size = f"{len(answer.body):,} bytes of {answer.media_type or 'no Content-Type'}"
        told = f"{called}: status {answer.status}, {size}, in {answer.seconds:.2f} s"
        whole = answer.body if len(answer.body) <= MAX_LOOKED_INTO else None
        sense = platform.answers.meaning(answer.status, whole).sense
        if answer.status < 400 and sense is Sense.ORDINARY:
            return True, told
        return False, f"{told}; {_about_failure(answer, sense)}: {self._beginning(answer)}"

    def _beginning(self, answer: Answer) -> str:
        text = " ".join(self._redactor.text(answer.body.decode("utf-8", "replace")).split())
        return "".join(character if character.isprintable() else "·" for character in text[:_SHOWN])


async def why_no_token(shop: Shop, error: TokenError, client: Client, *, within: float) -> str:
    """Return why a token endpoint granted no token, and what helps; one that gave no answer is asked again."""
    url = shop.platform.token_url_for(shop.name)
    if not error.reason.startswith(("status ", "the answer ", "the token ", "expires_in ")):  # it gave no answer
        # Asked once more, without the secret, for the network's own words.
        try:
            await reach(client, shop.platform, url, {}, within=within)
        except Unreachable as unreachable:
            return f"{unreachable} (asked {url})"
    advice = about_token(error.reason, shop.platform, shop.fix)
    asked = "" if isinstance(error, TokenRefused) else f" (asked {url})"
    return f"{error.reason}{asked}{f'; {advice}' if advice else ''}"


def _api_url(shop: Shop, path: str) -> str:
    origin, base = shop.platform.api_base_for(shop.name)
    return f"{origin.scheme}://{origin.host_header.decode()}{base.decode()}{path}"


def _about_failure(answer: Answer, sense: Sense) -> str:
    if answer.status == 401 and b"40101" in answer.body:
        return (
            "the API client may not do this; allow it where the client was made (Shoprenter: Settings > API Settings)"
        )
    if sense is Sense.THROTTLED:
        return "the platform says that calls come too fast; try again in a while"
    if sense is Sense.UNAUTHORIZED:
        return "the token is fresh, so the API client may not do this, or it belongs to another shop"
    return "the API says"


def _describe(grant: TokenGrant) -> str:
    lifetime = "no lifetime given" if grant.lifetime is None else f"for {grant.lifetime:.0f} s"
    return lifetime if grant.scope is None else f"{lifetime}, scopes: {grant.scope}"
