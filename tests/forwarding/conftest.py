"""What all tests of this room have in common.

Each runs on asyncio's own event loop and on uvloop, which production uses: transports differ. And none may depend on
the time that a refused client is waited for, or an edited answer is held back for its length: that never ends here.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from proxy.forwarding import relay
from proxy.wire import lingering


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _endless_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "_SILENCE", 3600.0)


@pytest.fixture(autouse=True)
def _endless_holding_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_HELD_FOR", 3600.0)
