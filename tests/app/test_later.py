"""What is imported only once the proxy serves."""

import subprocess
import sys

import pytest
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from proxy.app.later import has_strict_parser

STARTED = """
import sys
import proxy.commands.serve
from proxy.app.later import has_strict_parser, import_the_rest
assert has_strict_parser()
assert "aiohttp" not in sys.modules, "something imports it at the start: see app/later.py"
import_the_rest()
assert "proxy.wire.dialing" in sys.modules
"""


def test_the_start_does_without_aiohttp() -> None:
    subprocess.run([sys.executable, "-c", STARTED], check=True)


def test_the_parser_in_c_is_found_where_aiohttp_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_strict_parser() is (HttpRequestParser is not HttpRequestParserPy)

    monkeypatch.setattr("proxy.app.later.find_spec", lambda _: None)
    assert not has_strict_parser()


def test_the_parser_in_c_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")

    assert not has_strict_parser()
