"""A shop that the proxy serves, and how one is found by the name in the request.

A shop is named in the configuration, or is served by the wildcard entry (`[shops."*"]`): a platform app's credentials,
which work for every shop that installed the app.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.platforms.platform import Credentials, Platform

WILDCARD: Final = "*"


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop as the proxy serves it.

    `key` is what clients write in the path and operators read in the log; `name` is the platform's own name for it,
    which stands in URLs. They differ where the key is an alias. `by_wildcard` if no entry names it; `batch` if its
    calls may be sent together when they wait in line.
    """

    key: str
    name: str
    platform: Platform
    credentials: Credentials
    by_wildcard: bool = False
    batch: bool = False

    @property
    def entry(self) -> str:
        """The entry of the configuration that serves it: its key, or `*`. There are few of these; shops may be many."""
        return WILDCARD if self.by_wildcard else self.key

    @property
    def fix(self) -> str:
        """What to do when the platform refuses the credentials."""
        place = self.platform.credentials_place
        return f"compare client_id and client_secret of [shops.{self.entry}] with {place}"


@dataclass(frozen=True, slots=True)
class Shops:
    """Every shop that can be reached: the named ones, and what serves the rest, if anything does, and how."""

    named: Mapping[str, Shop]
    wildcard: tuple[Platform, Credentials] | None = None
    wildcard_batch: bool = False

    def find(self, key: str) -> Shop | None:
        """Return the shop for a valid shop name, or `None` if there is none."""
        shop = self.named.get(key)
        if shop is None and self.wildcard is not None:
            platform, credentials = self.wildcard
            shop = Shop(key, key, platform, credentials, by_wildcard=True, batch=self.wildcard_batch)
        return shop

    def all_credentials(self) -> Iterator[Credentials]:
        """Yield the credentials of every entry."""
        yield from (shop.credentials for shop in self.named.values())
        if self.wildcard is not None:
            yield self.wildcard[1]

    def all_platforms(self) -> Iterator[Platform]:
        """Yield the platform of every entry."""
        yield from (shop.platform for shop in self.named.values())
        if self.wildcard is not None:
            yield self.wildcard[0]
