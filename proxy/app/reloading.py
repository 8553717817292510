"""Takes another configuration without a restart: when it is told to, and when a file of it has changed.

Rules: files are looked at every few seconds, by what `stat` says of them. That finds every change: a file written in
place or replaced, a secret that Kubernetes swaps by a symbolic link, a mount whose changes nobody reports. What is
taken was still before it was read and after, since half of a file may be a configuration too. One with problems changes
nothing; they are logged and counted, and the next change is looked for. Nothing ends the looking: files are read in a
thread, and where a file system does not answer, that is a problem like others.
"""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from proxy.app.lifecycle import RunningProxy
from proxy.app.outside import Outside, StartError, hosts_leading_here
from proxy.config import Config, ConfigError, FileStamp, stamp
from proxy.config.files import shown
from proxy.threads import in_thread

LOOKUPS: Final = 1.0  # seconds for host names that may lead back here
_LOOK_EVERY: Final = 2.0  # seconds
_AT_REST: Final = 0.1  # seconds for which nobody has written
_MOST_READINGS: Final = 50  # of files that never rest
_READING: Final = 60.0  # seconds; more than a pipe that the process was started with may take
_Stamps = Mapping[Path, FileStamp]
_T = TypeVar("_T")


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
        self._reading: asyncio.Future[Any] | None = None  # in a thread; one at a time

    async def keep_fresh(
        self, every: float = _LOOK_EVERY, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Reload when asked, and whenever a file has changed, for ever; `every` in seconds."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            if self._asked.is_set() or await self._have_changed():
                self._asked.clear()  # before the files are read: whoever asks from now on may have changed one
                await self._reload(sleep)

    async def _have_changed(self) -> bool:
        """Tell whether files are other ones than they were, or can't be looked at, which then shows when reading."""
        try:
            return await self._look(self._files) != self._files
        except OSError:
            return True

    async def _reload(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        supervisor, log = self._outside.supervisor, self._outside.log
        supervisor.reloading("reading the configuration")
        try:
            problems = await self._take(sleep)
        except Exception:
            log.exception("configuration.reload_failed")
            problems = ("this is a bug in the proxy; its log says more",)
        self._proxy.process.reloaded(problems, time.time())
        if problems:
            log.error("configuration.not_reloaded", problems=problems, hint="the previous one stays in use")
        supervisor.ready(
            "the new configuration has problems, the previous one stays in use"
            if problems
            else "configuration reloaded"
        )

    async def _take(self, sleep: Callable[[float], Awaitable[None]]) -> tuple[str, ...]:
        """Take the configuration; return its problems if it has any."""
        try:
            config = await self._read_at_rest(sleep)
        except ConfigError as error:
            return error.told
        except OSError as error:
            self._files = dict.fromkeys(self._files)  # which is not so: the next look comes back to them
            return (f"its files can't be read: {error.strerror}",)
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

    async def _read_at_rest(self, sleep: Callable[[float], Awaitable[None]]) -> Config:
        """Read the configuration from files that nobody writes to meanwhile. Raises `ConfigError` and `OSError`."""
        before = self._files = await self._look(self._files)
        readings = 0
        while True:
            await sleep(_AT_REST)
            outcome = await self._in_thread(partial(_outcome, self._load))
            self._files = outcome.files
            now = await self._look(outcome.files)
            moving = [path for path in now if not before.get(path) == outcome.files[path] == now[path]]
            if not moving:
                break
            before = now
            readings += 1
            if readings == _MOST_READINGS:
                raise OSError(errno.EAGAIN, f"{', '.join(map(shown, moving))} keeps changing")
        if isinstance(outcome, ConfigError):
            raise outcome
        return outcome

    async def _look(self, files: Iterable[Path]) -> _Stamps:
        return await self._in_thread(partial(_stamps, files))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Return what comes of `work`, which reads files. Raises `TimeoutError` if that takes too long.

        Then it goes on, and the next work waits for it: whatever hangs has one thread.
        """
        await self._until_read()
        self._reading = reading = in_thread(work, name="configuration")
        await self._until_read()
        return reading.result()

    async def _until_read(self) -> None:
        if self._reading is not None:
            done, _ = await asyncio.wait([self._reading], timeout=_READING)
            if not done:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"it takes longer than {_READING:g} s; perhaps a mount does not answer"
                )


def _outcome(load: Callable[[], Config]) -> Config | ConfigError:
    try:
        return load()
    except ConfigError as error:
        return error


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
    shops = config.shops
    return shops.named if shops.wildcard is None else {**shops.named, "*": (shops.wildcard, shops.wildcard_batch)}
