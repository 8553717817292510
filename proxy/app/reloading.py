"""Takes another configuration without a restart: when it is told to, and when a file of it has changed.

Rules: files are looked at every few seconds, by what `stat` says of them. That finds all there are: a file written in
place or replaced, a secret that Kubernetes swaps by a symbolic link, and a mount whose changes nobody reports. A
configuration with problems changes nothing; they are logged and counted, and the next change is looked for.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.app.lifecycle import RunningProxy
from proxy.app.outside import Outside, StartError, hosts_leading_here
from proxy.config import Config, ConfigError, FileStamp, stamp

LOOKUPS: Final = 1.0  # seconds for host names that may lead back here
_LOOK_EVERY: Final = 2.0  # seconds


class Reloader:
    """Gives `proxy` another configuration.

    `load` reads it, in a thread; `learn` is told of it before anything of it can get into the log. `asked` is set by
    whoever wants it done now.
    """

    def __init__(
        self,
        proxy: RunningProxy,
        outside: Outside,
        load: Callable[[], Config],
        learn: Callable[[Config], None],
        *,
        asked: asyncio.Event,
    ) -> None:
        self._proxy = proxy
        self._outside = outside
        self._load = load
        self._learn = learn
        self._files = proxy.config.files
        self._asked = asked

    async def keep_fresh(self, every: float = _LOOK_EVERY) -> None:
        """Reload when asked, and whenever a file has changed, for ever; `every` in seconds."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            if self._asked.is_set() or await asyncio.to_thread(_have_changed, self._files):
                self._asked.clear()
                await self._reload()

    async def _reload(self) -> None:
        supervisor, log = self._outside.supervisor, self._outside.log
        supervisor.reloading("reading the configuration")
        problems = await self._take()
        self._proxy.process.reloaded(successful=not problems)
        if problems:
            log.error("configuration.not_reloaded", problems=problems, hint="the one before stays in use")
        supervisor.ready(
            "the new configuration has problems, the one before stays in use" if problems else "configuration reloaded"
        )

    async def _take(self) -> tuple[str, ...]:
        """Take the configuration; return its problems if it has any."""
        try:
            config = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._files = error.files
            return error.problems
        self._files = config.files
        self._learn(config)
        if found := await hosts_leading_here(config, within=LOOKUPS, resolver=self._outside.resolver):
            return tuple(found)
        before = self._proxy.config
        try:
            needs_restart = await self._proxy.take(config)
        except StartError as error:
            return (str(error),)
        self._outside.log.info("configuration.reloaded", **_difference(before, config), needs_restart=needs_restart)
        return ()


def _have_changed(files: Mapping[Path, FileStamp]) -> bool:
    return any(stamp(path) != seen for path, seen in files.items())


def _difference(before: Config, after: Config) -> dict[str, list[str]]:
    old, new = before.shops.named, after.shops.named
    return {
        "shops_added": sorted(new.keys() - old.keys()),
        "shops_removed": sorted(old.keys() - new.keys()),
        "shops_changed": sorted(key for key in old.keys() & new.keys() if old[key] != new[key]),
    }
