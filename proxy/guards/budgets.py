"""How what all requests share is divided: the places for requests. Pure.

Rules:
- Whoever holds some of it gets more only while that is less than what is free; or than another part of that, by
  `share`. So one alone may have half, two a third each, and for the next one there is always something left.
- It counts for a client, by its name or, without credentials, its address; and for a shop. What is asked for on this
  machine or by a trusted proxy, which speaks for many, counts for the shop alone.
- What is given out is not taken back: who has it would fail for others. It is given back soon, since all that requests
  do is bounded in time; so who is refused may try again in a second.
- No step takes longer for there being many, and nothing is kept of who holds nothing.
"""

from collections.abc import Hashable
from typing import Final

from proxy.errors import ClientOverloaded, Overloaded, ShopOverloaded

_TRY_AGAIN: Final = 1.0  # seconds


class Budget:
    """So much of something, and who holds how much of it. `what` names it to clients, with its setting.

    A client or shop that is `None` has no share to keep to.
    """

    __slots__ = ("_of_clients", "_of_shops", "_setting", "_total", "_weight", "_what", "free")

    def __init__(self, what: str, setting: str) -> None:
        self._what = what
        self._setting = setting
        self._total = self.free = 0
        self._of_clients: dict[Hashable, int] = {}
        self._of_shops: dict[Hashable, int] = {}
        self.keep_to(0, 1.0)

    def keep_to(self, total: int, share: float) -> None:
        """Divide `total` from now on; `share` is the part of it that one alone may have, above 0 and up to 1."""
        self.free += total - self._total
        self._total = total
        self._weight = share / (1 - share) if share < 1 else float("inf")

    @property
    def taken(self) -> int:
        """How much is given out."""
        return self._total - self.free

    def take(self, client: Hashable, shop: Hashable, amount: int = 1) -> None:
        """Give out so much, or nothing: raises `Overloaded`, `ClientOverloaded` and `ShopOverloaded`."""
        free = self.free
        if amount > free:
            raise Overloaded(f"No more is left of {self._what} ({self._setting}).", retry_after=_TRY_AGAIN)
        most = self._weight * (free - amount + 1)  # for 1: what is free before
        of_client = 0 if client is None else self._of_clients.get(client, 0) + amount
        if of_client > most:
            raise self._overloaded(ClientOverloaded, "client")
        if shop is not None:
            of_shop = self._of_shops.get(shop, 0) + amount
            if of_shop > most:
                raise self._overloaded(ShopOverloaded, "shop")
            self._of_shops[shop] = of_shop
        if client is not None:
            self._of_clients[client] = of_client
        self.free = free - amount

    def count_for(self, shop: Hashable, *, unasked: bool = False) -> None:
        """Count for a shop too what was given out before, 1. Raises `ShopOverloaded` unless that is `unasked`."""
        of_shop = self._of_shops.get(shop, 0) + 1
        if of_shop > self._weight * (self.free + 1) and not unasked:
            raise self._overloaded(ShopOverloaded, "shop")
        self._of_shops[shop] = of_shop

    def give(self, client: Hashable, shop: Hashable, amount: int = 1) -> None:
        """Take back what was given out for this client, and counted for this shop."""
        self.free += amount
        for holder, held in ((client, self._of_clients), (shop, self._of_shops)):
            if holder is not None:
                left = held[holder] - amount
                if left:
                    held[holder] = left
                else:
                    del held[holder]

    def _overloaded(self, kind: type[Overloaded], whose: str) -> Overloaded:
        return kind(
            f"This {whose} has its share of {self._what} ({self._setting}, server.max_share).", retry_after=_TRY_AGAIN
        )


class Holding:
    """The place that one request holds; it has to be given back. `shop` is to be set before it begins.

    Raises `Overloaded` and its kinds, as the methods do.
    """

    __slots__ = ("_begun", "_client", "_places", "shop")

    def __init__(self, places: Budget, client: Hashable) -> None:
        places.take(client, None)
        self._places = places
        self._client = client
        self._begun = False  # whether the place counts for the shop
        self.shop: Hashable = None

    def begin(self, *, instead: bool = False) -> None:
        """Count the place for the shop too: from now on it is the shop that is waited for, no longer the client.

        So also if the shop has its share, where another request for it gives up its place `instead`.
        """
        self._places.count_for(self.shop, unasked=instead)
        self._begun = True

    def give_back(self) -> None:
        """Give the place back."""
        self._places.give(self._client, self.shop if self._begun else None)
