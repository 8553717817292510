"""The process: its signals, who started it, and the proxy that runs in it."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from proxy.app.lifecycle import RunningProxy, running
from proxy.app.outside import Outside, StartError, hosts_leading_here
from proxy.app.reloading import LOOKUPS, Reloader
from proxy.config import Config
from proxy.tasks import BackgroundTasks

# Seconds. A thread that reads a large configuration gives the interpreter back to the loop after so long, each time
# that there is something to do; it is 5 ms if nobody says otherwise, and a call waits several times.
_THREADS_RUN_FOR: Final = 0.0005


async def serve(
    config: Config,
    outside: Outside,
    *,
    load: Callable[[], Config],
    learn: Callable[[Config], None],
    greet: Callable[[RunningProxy], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once. Raises `StartError`.

    SIGHUP, or a change of a file, has the configuration read anew: `load` does that, and `learn` hears of it first.
    `greet` is called once it serves.
    """
    sys.setswitchinterval(_THREADS_RUN_FOR)
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    if found := await hosts_leading_here(config, within=LOOKUPS, resolver=outside.resolver):
        raise StartError("\n".join(found))
    async with AsyncExitStack() as stack:
        tasks = BackgroundTasks()
        stack.push_async_callback(tasks.close)
        proxy = await stack.enter_async_context(running(config, outside))
        if not outside.supervisor.ready(f"listening on {proxy.host} port {proxy.port}"):
            outside.log.warning("proxy.supervisor_not_told", hint="can't write to NOTIFY_SOCKET")
        greet(proxy)
        tasks.start(outside.supervisor.keep_alive(), name="watchdog")
        reloader = Reloader(proxy, outside, load, learn, asked=reload)
        reloading = tasks.start(reloader.keep_fresh(), name="reload")
        await stop.wait()
        reloading.cancel()
        outside.supervisor.stopping("finishing the requests in flight")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # Python's own for SIGINT, an exception, would be lost in uvloop
