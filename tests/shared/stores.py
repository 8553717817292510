"""A store in a real server, for each kind of server that is here.

A busy machine may need long for a command: what is to hang has its `timeout` set first.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from proxy.shared.client import RedisClient
from proxy.shared.store import SharedStore
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import SharedMetrics


@dataclass(slots=True)
class Opened:
    """A store as a replica has it, and what it said."""

    store: SharedStore
    client: RedisClient
    metrics: SharedMetrics
    events: list[dict[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def opened(url: str, *, identity: str = "a", prefix: str = "test:") -> AsyncIterator[Opened]:
    """Open a store."""
    events: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> str:
        events.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("debug"))
    client, metrics, tasks = RedisClient(url), SharedMetrics(), BackgroundTasks()
    store = SharedStore(
        client, metrics, log, tasks, prefix=prefix, identity=identity, timeout=10.0, clock=time.monotonic
    )
    store.silence = 2.0  # as with a time-out of 0.1 s
    try:
        yield Opened(store, client, metrics, events)
    finally:
        await tasks.close()
        await client.close()
