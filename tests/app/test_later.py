"""What is imported only where it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from proxy.app.later import has_strict_parser

ROOT = Path(__file__).resolve().parents[2]
SERVING = """
import asyncio, logging, sys
from pathlib import Path
import proxy.commands.serve
from proxy.app.later import has_strict_parser
assert has_strict_parser()
assert "aiohttp" not in sys.modules, "something imports it at the start: see app/later.py"

import structlog
from proxy.app import Outside, running
from proxy.config import load_config
from tests.commands.configurations import written
from tests.peers import answering, connected, request, response, serving, token_response

async def main():
    async with serving(answering(token_response())) as tokens, serving(answering(response(b"hello"))) as api:
        urls = {"token_url": f"http://localhost:{tokens.port}/", "api_url": f"http://localhost:{api.port}/"}
        config = load_config(written(Path(sys.argv[1]), port=0, **urls), {})
        log = structlog.make_filtering_bound_logger(logging.CRITICAL)(None, [], {})
        async with running(config, Outside(log, conceal=lambda *_: None, redact=str)) as proxy:
            for version, imported in (b"1.1", False), (b"1.0", True):
                async with connected(proxy.port) as client:
                    await client.send(request(b"POST", fields=b"Content-Length: 3\\r\\n", version=version))
                    await asyncio.sleep(0.01)  # so that the body comes apart from the head
                    answer = await client.ask(b"abc")
                assert answer.body == b"hello"
                assert api.received[-1].body == b"abc"
                assert ("aiohttp" in sys.modules) is imported, "an ordinary call imports it: see app/later.py"

asyncio.run(main())
"""


def test_neither_the_start_nor_an_ordinary_call_needs_aiohttp_and_another_head_has_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SERVING, str(tmp_path / "config.toml")], check=True, cwd=ROOT)


def test_the_parser_in_c_is_found_where_aiohttp_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_strict_parser() is (HttpRequestParser is not HttpRequestParserPy)

    monkeypatch.setattr("proxy.app.later.find_spec", lambda _: None)
    assert not has_strict_parser()


def test_the_parser_in_c_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")

    assert not has_strict_parser()
