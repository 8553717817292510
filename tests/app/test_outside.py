"""What must not lead back to the proxy is looked for with the resolver that it uses."""

import asyncio

from proxy.app import hosts_leading_here
from proxy.config import ServerConfig
from tests.names import Names
from tests.proxies import config, platform, shop


async def test_a_platform_host_on_this_machine_is_told_and_others_are_not() -> None:
    urls = {"token_url": "https://token.example/", "api_url": "https://{shop}.example/", "allow_private": False}
    settings = config(shop("demo", platform(1, 2, **urls)), server=ServerConfig(port=8080))
    names = Names("93.184.216.34", others={"demo.example": "127.0.0.1"})

    async with asyncio.timeout(20):
        [sentence] = await hosts_leading_here(settings, within=10.0, resolver=names)

    assert sentence.startswith("demo.example resolves to 127.0.0.1, which is this machine")
    assert not names.closed  # it belongs to whoever brought it
