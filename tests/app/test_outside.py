"""What must not lead back to the proxy is looked for with the resolver that it uses."""

import asyncio

import pytest

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


@pytest.mark.parametrize(
    ("port", "allow_private", "told"),
    [
        (8080, True, "a platform's URL leads to localhost port 8080, which is this proxy itself (server.port)"),
        (8081, True, ""),
        (
            8081,
            False,
            "a platform's URL leads to localhost, which is this machine: if the platform runs here, set allow_",
        ),
    ],
)
async def test_of_localhost_the_platform_is_told_of_and_no_hosts_file(
    port: int,
    allow_private: bool,
    told: str,
) -> None:
    url = f"https://localhost:{port}/"
    own = platform(1, 2, token_url=url, api_url=url, allow_private=allow_private)

    sentences = await hosts_leading_here(config(shop("demo", own), server=ServerConfig(port=8080)), within=10.0)

    assert [sentence[: len(told)] for sentence in sentences] == ([told] if told else [])
    assert "hosts" not in "".join(sentences)
