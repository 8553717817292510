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
from tests.guards.replicas import TimedClient, World


@dataclass(slots=True)
class Opened:
    """A store as a replica has it, and what it said."""

    store: SharedStore
    client: RedisClient
    metrics: SharedMetrics
    events: list[dict[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def opened(
    url: str, *, identity: str = "a", prefix: str = "test:", world: World | None = None
) -> AsyncIterator[Opened]:
    """Open a store; with a `world`, its time and that of the scripts is set there."""
    events: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> str:
        events.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("debug"))
    client, metrics, tasks = RedisClient(url), SharedMetrics(), BackgroundTasks()
    store = SharedStore(
        client if world is None else TimedClient(client, world),
        metrics,
        log,
        tasks,
        prefix=prefix,
        identity=identity,
        timeout=10.0,
        clock=time.monotonic if world is None else lambda: world.now,
    )
    store.silence = 2.0  # as with a time-out of 0.1 s
    try:
        yield Opened(store, client, metrics, events)
    finally:
        await tasks.close()
        await client.close()
