"""Takes another configuration without a restart: when it is told to, and when a file of it has changed.

Rules: files are looked at every few seconds, by what `stat` says of them. That finds every change: a file written in
place or replaced, a secret that Kubernetes swaps by a symbolic link, a mount whose changes nobody reports. Files that
are being written are left alone until they rest, since the first half of a file may be a configuration too. One with
problems changes nothing; they are logged and counted, and the next change is looked for. Nothing ends the looking.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.app.lifecycle import RunningProxy
from proxy.app.outside import Outside, StartError, hosts_leading_here
from proxy.config import Config, ConfigError, FileStamp, stamp

LOOKUPS: Final = 1.0  # seconds for host names that may lead back here
_LOOK_EVERY: Final = 2.0  # seconds
_AT_REST: Final = 0.1  # seconds for which nobody has written
_Stamps = Mapping[Path, FileStamp]


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
        self._files: _Stamps = proxy.config.files
        self._asked = asked

    async def keep_fresh(
        self, every: float = _LOOK_EVERY, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Reload when asked, and whenever a file has changed, for ever; `every` in seconds."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            if self._asked.is_set() or await self._have_changed(sleep):
                self._asked.clear()  # before the files are read: whoever asks from now on may have changed one
                await self._reload()

    async def _have_changed(self, sleep: Callable[[float], Awaitable[None]]) -> bool:
        """Tell whether files are other ones than they were, when they rest or somebody asks for a reload."""
        if (seen := await asyncio.to_thread(_stamps, self._files)) == self._files:
            return False
        while not self._asked.is_set():
            await sleep(_AT_REST)
            before, seen = seen, await asyncio.to_thread(_stamps, self._files)
            if seen == before:
                break
        return True

    async def _reload(self) -> None:
        supervisor, log = self._outside.supervisor, self._outside.log
        supervisor.reloading("reading the configuration")
        try:
            problems = await self._take()
        except Exception:
            log.exception("configuration.reload_failed")
            self._files = await asyncio.to_thread(_stamps, self._files)  # or it would be tried again and again
            problems = ("the proxy made a mistake; its log says more",)
        self._proxy.process.reloaded(successful=not problems)
        if problems:
            log.error("configuration.not_reloaded", problems=problems, hint="the previous one stays in use")
        supervisor.ready(
            "the new configuration has problems, the previous one stays in use"
            if problems
            else "configuration reloaded"
        )

    async def _take(self) -> tuple[str, ...]:
        """Take the configuration; return its problems if it has any."""
        try:
            config = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._files = error.files
            return error.told
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


def _stamps(files: Iterable[Path]) -> _Stamps:
    return {path: stamp(path) for path in files}


def _difference(before: Config, after: Config) -> dict[str, list[str]]:
    """Return the names of shops and clients that are new, gone, or other than they were."""
    pairs: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
        "shops": (_shops(before), _shops(after)),
        "clients": (before.clients, after.clients),
    }
    difference = {}
    for what, (old, new) in pairs.items():
        difference[f"{what}_added"] = sorted(new.keys() - old.keys())
        difference[f"{what}_removed"] = sorted(old.keys() - new.keys())
        difference[f"{what}_changed"] = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
    return {what: names for what, names in difference.items() if names}


def _shops(config: Config) -> Mapping[str, object]:
    wildcard = config.shops.wildcard
    return config.shops.named if wildcard is None else {**config.shops.named, "*": wildcard}
