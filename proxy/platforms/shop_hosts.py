"""Which shop a host name stands for: apps that can't change their URL reach the proxy under the platform's old names.

Rules: a shop that is named in the configuration comes before what the wildcard entry serves; a shop of the latter
whose name is the key of another one can't be reached, as in the path. Where two entries stand for the same shop of a
platform, its own name counts before an alias, and the earlier one before the later.
"""

import re
from typing import Final, NamedTuple

from proxy.platforms.platform import SHOP_PLACEHOLDER, is_shop_name
from proxy.platforms.shop import Shops

# The shop's name as a part of a host name.
_NAME: Final = "(?P<shop>[a-z0-9-]{1,63})"
_SAME_NAME: Final = "(?P=shop)"  # not by number, since a digit may follow


class HostedShop(NamedTuple):
    """A shop's key, and the path that its API calls begin with (ends in `/`): apps may write it or not."""

    key: str
    base_path: bytes


class ShopHosts:
    """Finds shops by host name."""

    def __init__(self, shops: Shops) -> None:
        self._keys = shops.named.keys()
        self._named: dict[str, HostedShop] = {}
        for shop in sorted(shops.named.values(), key=lambda shop: shop.key != shop.name):
            for host in shop.platform.hosts_for(shop.name):
                _, base_path = shop.platform.api_base_for(shop.name)
                self._named.setdefault(host, HostedShop(shop.key, base_path))
        self._others = shops.wildcard[0] if shops.wildcard else None
        templates = self._others.hosts_for(SHOP_PLACEHOLDER) if self._others else []
        self._patterns = [host_pattern(template) for template in templates if SHOP_PLACEHOLDER in template]

    def find(self, host: str) -> HostedShop | None:
        """Return the shop that a host name (lower case, without a port) stands for, if any."""
        named = self._named.get(host)
        if named is not None or self._others is None:
            return named
        for pattern in self._patterns:
            found = pattern.fullmatch(host)
            if found is not None and is_shop_name(found["shop"].encode()) and found["shop"] not in self._keys:
                return HostedShop(found["shop"], self._others.api_base_for(found["shop"])[1])
        return None


def host_pattern(template: str) -> re.Pattern[str]:
    """Return what matches the host names of a template with a placeholder; its group `shop` may be a shop's name."""
    before, *between = map(re.escape, template.split(SHOP_PLACEHOLDER))
    return re.compile(before + _NAME + _SAME_NAME.join(between))
