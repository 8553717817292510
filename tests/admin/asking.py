"""Asking the admin port of a running proxy, and reading what it counted."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.exposition import PREFIX
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop, Shops
from proxy.secret import Secret
from tests.peers import Answer, connected, request
from tests.proxies import SECRET, TestedProxy

# By the values of the labels: the shop first, the others in the order of their names.
Samples = dict[tuple[str, ...], float]


def admin_port(proxy: TestedProxy) -> int:
    assert proxy.running.admin is not None
    return proxy.running.admin[1]


async def ask(proxy: TestedProxy, target: str, *, method: bytes = b"GET", fields: bytes = b"") -> Answer:
    """Ask the admin port, over a connection of its own."""
    host = b"" if fields.startswith(b"Host:") else b"Host: 127.0.0.1:9090\r\n"
    data = request(method, target.encode(), fields=fields).replace(b"Host: proxy\r\n", host, 1)
    async with connected(admin_port(proxy)) as client:
        await client.send(data)
        return await client.read_answer(body=method != b"HEAD")


async def status_of(proxy: TestedProxy) -> dict[str, dict[str, Any]]:
    """What the status says of each shop."""
    return {shop["shop"]: shop for shop in (await status_json(proxy))["shops"]}


async def status_json(proxy: TestedProxy) -> dict[str, Any]:
    """What the status says of the process."""
    document: dict[str, Any] = json.loads((await ask(proxy, "/status.json")).body)
    return document


async def samples(proxy: TestedProxy) -> dict[str, Samples]:
    """What is counted, by name without the prefix."""
    answer = await ask(proxy, "/metrics")
    assert answer.status == 200
    return parsed(answer.body)


def parsed(body: bytes) -> dict[str, Samples]:
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                names = sorted(sample.labels, key=lambda name: (name != "shop", name))
                labels = tuple(sample.labels[name] for name in names)
                found.setdefault(sample.name.removeprefix(PREFIX), {})[labels] = sample.value
    return found


def with_wildcard(*shops: Shop) -> Shops:
    """These shops and, with the platform of the first one, a wildcard entry for all others."""
    return Shops({each.key: each for each in shops}, (shops[0].platform, Credentials("app-id", Secret(SECRET))))
