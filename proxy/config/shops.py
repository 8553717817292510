"""From the settings of shops to the shops, and what they mean together with their platforms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from proxy.config.problems import Problems
from proxy.config.schema import ShopSettings
from proxy.platforms.platform import Credentials, Platform
from proxy.platforms.shop import WILDCARD, Shop, Shops
from proxy.platforms.shoprenter import SHOPRENTER


def check_batches(
    platforms: Mapping[str, Platform], shops: Mapping[str, Mapping[str, Any]], problems: Problems
) -> None:
    """Note a problem for each shop whose `batch` would have no effect."""
    for key, shop in shops.items():
        platform = platforms.get(shop.get("platform", SHOPRENTER.name))
        if platform is not None and shop.get("batch") and not (platform.batch and platform.rate_limit):
            missing = "rate_limit, so no request waits in line" if platform.batch else "batch"
            problems.add(("shops", key, "batch"), f'has no effect: the platform "{platform.name}" has no {missing}')


def shops_of(shops: Mapping[str, Mapping[str, Any]], platforms: Mapping[str, Platform]) -> Shops:
    """Put shops together from settings that have no problem left."""
    complete = {key: ShopSettings(**settings) for key, settings in shops.items()}
    parts = {
        key: (platforms[shop.platform], Credentials(shop.client_id, shop.client_secret))
        for key, shop in complete.items()
    }
    wildcard = parts.pop(WILDCARD, None)
    named = {
        key: Shop(key, complete[key].shop_name or key, *part, batch=complete[key].batch) for key, part in parts.items()
    }
    return Shops(MappingProxyType(named), wildcard, WILDCARD in complete and complete[WILDCARD].batch)
