"""How what all requests share is divided: places, memory, room on the disk. Pure.

Rules:
- Whoever holds some of it gets more only while that is less than what is free; or than another part of that, by
  `share`. So one alone may have half, two a third each, and for the next one there is always something left.
- It counts for a client, by its name or, without credentials, its address; and for a shop. What is asked for on this
  machine or by a trusted proxy, which speaks for many, counts for the shop alone.
- Places count for the shop's platform too, where shops of another one are to be served beside it: what goes down is
  a platform more often than a shop, and its shops together would have every place.
- What is given out is not taken back: who has it would fail for others. It is given back soon, since all that requests
  do is bounded in time; so who is refused may try again in a second.
- What could not be had if nobody else had anything is refused for good, not for a moment.
- No step takes longer for there being many, and nothing is kept of who holds nothing.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from proxy.errors import BodyTooLarge, ClientOverloaded, Overloaded, ShopOverloaded

_TRY_AGAIN: Final = 1.0  # seconds


class Budget:
    """So much of something, and who holds how much of it. `what` names it to clients, with its setting.

    A client or shop that is `None` has no share to keep to. Where more than `plenty` is free, none has its whole share.
    `refused` counts by whose fault it was: all, client, or shop and its platform.
    """

    __slots__ = (
        "_of_clients",
        "_of_platforms",
        "_of_shops",
        "_setting",
        "_weight",
        "_what",
        "free",
        "plenty",
        "refused",
        "total",
    )

    def __init__(self, what: str, setting: str) -> None:
        self._what = what
        self._setting = setting
        self.total = self.free = 0
        self._of_clients: dict[Hashable, int] = {}
        self._of_shops: dict[Hashable, int] = {}
        self._of_platforms: dict[Hashable, int] = {}
        self.refused: Counter[str] = Counter()
        self.keep_to(0, 1.0)

    def keep_to(self, total: int, share: float) -> None:
        """Divide `total` from now on; `share` is the part of it that one alone may have, above 0 and up to 1."""
        self.free += total - self.total
        self.total = total
        self._weight = share / (1 - share) if share < 1 else float("inf")
        self.plenty = total * (1 - share)

    @property
    def taken(self) -> int:
        """How much is given out."""
        return self.total - self.free

    @property
    def of_one(self) -> int:
        """How much one client or shop has of it at the most, while nobody else has anything."""
        return self.total - int(self.plenty)

    def take(self, client: Hashable, shop: Hashable, amount: int = 1) -> None:
        """Give out so much, or nothing: raises `Overloaded`, `ClientOverloaded` and `ShopOverloaded`."""
        free = self.free
        if amount > free:
            self.refused["all"] += 1
            raise Overloaded(f"The proxy has used up {self._what} ({self._setting}).", retry_after=_TRY_AGAIN)
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

    def count_for(self, shop: Hashable, platform: Hashable = None, *, unasked: bool = False) -> None:
        """Count for a shop, and maybe its platform, what was given out before, 1. Raises `ShopOverloaded`.

        Not if that is `unasked`.
        """
        most = float("inf") if unasked else self._weight * (self.free + 1)
        of_shop = self._of_shops.get(shop, 0) + 1
        if of_shop > most:
            raise self._overloaded(ShopOverloaded, "shop")
        if platform is not None:
            of_platform = self._of_platforms.get(platform, 0) + 1
            if of_platform > most:
                raise self._overloaded(ShopOverloaded, "shop", "platform")
            self._of_platforms[platform] = of_platform
        self._of_shops[shop] = of_shop

    def count_no_more_for(self, shop: Hashable, platform: Hashable = None) -> None:
        """Take back `count_for`."""
        self.free -= 1
        self.give(None, shop, platform=platform)

    def count(self, client: Hashable, shop: Hashable, amount: int) -> None:
        """Take note of what is held already, however much that is."""
        self.free -= amount
        for held, holder in ((self._of_clients, client), (self._of_shops, shop)):
            if holder is not None:
                held[holder] = held.get(holder, 0) + amount

    def give(self, client: Hashable, shop: Hashable, amount: int = 1, *, platform: Hashable = None) -> None:
        """Take back what was given out for this client, and counted for this shop and this platform."""
        self.free += amount
        if client is not None:
            self._of_clients[client] = left = self._of_clients[client] - amount
            if not left:
                del self._of_clients[client]
        if shop is not None:
            self._of_shops[shop] = left = self._of_shops[shop] - amount
            if not left:
                del self._of_shops[shop]
        if platform is not None:
            self._of_platforms[platform] = left = self._of_platforms[platform] - amount
            if not left:
                del self._of_platforms[platform]

    def _overloaded(self, kind: type[Overloaded], whose: str, holder: str | None = None) -> Overloaded:
        self.refused[whose] += 1
        return kind(
            f"This {holder or whose} has used up its share of {self._what} ({self._setting}, server.max_share).",
            retry_after=_TRY_AGAIN,
        )


class Budgets:
    """What requests share: places, of which each has one, and bytes of memory and of the disk."""

    __slots__ = ("memory", "places", "spool")

    def __init__(self) -> None:
        self.places = Budget("the request slots", "server.max_requests")
        self.memory = Budget("the memory for requests", "server.memory_budget")
        self.spool = Budget("the disk space for large request bodies", "server.spool_budget")

    def keep_to(self, *, places: int, memory: int, spool: int, share: float) -> None:
        """Divide so much from now on; `share` is the part of each that one client or shop alone may have."""
        self.places.keep_to(places, share)
        self.memory.keep_to(memory, share)
        self.spool.keep_to(spool, share)


class Holding:
    """What one request holds of the budgets, a place first; it has to be given back.

    Bytes count for the client, and for the shop only where the client is nobody. `shop` is to be set before anything
    else is held, and `platform` where that has a share. Raises `Overloaded` and its kinds, as the methods do.
    """

    __slots__ = ("_begun", "_budgets", "_client", "_memory", "_spool", "platform", "shop")

    def __init__(self, budgets: Budgets, client: Hashable) -> None:
        memory = budgets.memory
        if memory.free <= memory.plenty:
            memory.take(client, None, 0)  # who has its share by what it does not read brings no more
        budgets.places.take(client, None)
        self._budgets = budgets
        self._client = client
        self._begun = False  # whether the place counts for the shop
        self._memory = self._spool = 0
        self.shop: Hashable = None
        self.platform: Hashable = None

    def begin(self, *, instead: bool = False) -> None:
        """Count the place for the shop too: from now on it is the shop that is waited for, no longer the client.

        So also if the shop has its share, where another request for it gives up its place `instead`.
        """
        self._budgets.places.count_for(self.shop, self.platform, unasked=instead)
        self._begun = True

    def memory(self, more: int) -> None:
        """Hold so many bytes more in memory, or less, below 0."""
        self._change(self._budgets.memory, more)
        self._memory += more

    def spool(self, more: int) -> None:
        """Hold so many bytes more on the disk, or less, below 0. Raises `BodyTooLarge` where there can't be room."""
        budget = self._budgets.spool
        if more > 0 and self._spool + more > budget.of_one:
            raise BodyTooLarge(
                f"The request body is larger than {budget.of_one} bytes, one client's share of the disk space"
                " (server.spool_budget, server.max_share)."
            )
        self._change(budget, more)
        self._spool += more

    @contextmanager
    def waiting_for_client(self, unread: int) -> Iterator[None]:
        """Hold so many bytes more since the client does not take them, as long as that is so; there is no choice.

        It is not the shop that is waited for meanwhile.
        """
        budgets, client, shop = self._budgets, self._client, self._shop_of_bytes
        released = client is not None and self._begun
        if released:
            budgets.places.count_no_more_for(self.shop, self.platform)
        budgets.memory.count(client, shop, unread)
        try:
            yield
        finally:
            budgets.memory.give(client, shop, unread)
            if released:
                budgets.places.count_for(self.shop, self.platform, unasked=True)

    def give_back(self) -> None:
        """Give back all of it."""
        budgets, client = self._budgets, self._client
        if self._begun:
            budgets.places.give(client, self.shop, platform=self.platform)
        else:
            budgets.places.give(client, None)
        if self._memory:
            self.memory(-self._memory)
        if self._spool:
            self.spool(-self._spool)

    def _change(self, budget: Budget, more: int) -> None:
        if more > 0:
            budget.take(self._client, self._shop_of_bytes, more)
        elif more:
            budget.give(self._client, self._shop_of_bytes, -more)

    @property
    def _shop_of_bytes(self) -> Hashable:
        return self.shop if self._client is None else None
