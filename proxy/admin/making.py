"""Makes pages beside the traffic, which goes on meanwhile however long they are.

Rules:
- A page comes as an iterator over its pieces, each made quickly; some are empty. It is made in the event loop, for a
  millisecond at a time, and for twice as long no page is: all together take a third of the processor at most.
  (In a thread they would hold up each step of a call by 5 ms, after which Python has threads take turns.)
- Of each kind one page is made at a time, once for all who wait for it, until the last of them has left; and it may be
  served again for a while, which is the longer the more shops are on it.
- What may be long is packed as it is made: the metrics of 20,000 shops that are all called have more than 100 MB.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Final, NamedTuple

from proxy.tasks import BackgroundTasks

_AT_ONCE: Final = 0.001  # seconds
_MOST_AT_ONCE: Final = 131_072  # characters: to pack them takes time too
_REST: Final = 2  # times as long
_PIECE: Final = 65_536  # bytes
_GZIP: Final = 31  # of zlib's `wbits`


class Answer(NamedTuple):
    """An answer: its status, its header fields, and its body of `length` bytes, piece by piece."""

    status: int
    fields: dict[str, str]
    length: int
    body: AsyncGenerator[bytes, None]

    @property
    def reason(self) -> bytes:
        return HTTPStatus(self.status).phrase.encode()

    @property
    def lines(self) -> bytes:
        """The lines of its header fields."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.fields.items()).encode()


class Page(NamedTuple):
    """A page in parts, and its length when they are not packed."""

    parts: list[bytes]
    length: int
    packed: bool = False

    def answer(self, content_type: str, *, gzip: bool = False, status: int = 200) -> Answer:
        """Return an answer that is handed to the connection as the client takes it; `gzip`: it takes that."""
        as_it_is = gzip or not self.packed
        return Answer(
            status,
            {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if self.packed and gzip else {}),
            sum(map(len, self.parts)) if as_it_is else self.length,
            _pieces(self.parts) if as_it_is else _unpacked(self.parts),
        )


def plain_page(body: bytes) -> Page:
    """Return a page that is all there."""
    return Page([body], len(body))


@dataclass(slots=True)
class _Made:
    """A page that is there, or being made; by so many it is waited for."""

    key: object
    number: int
    begun_at: float
    page: asyncio.Task[Page]
    waiting: int = 0


class PageMaker:
    """Makes pages, each as one of the `tasks`. `clock` is monotonic, in seconds, and exact; `sleep` waits on it."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._sleep = sleep
        self._working = asyncio.Lock()
        self._rested_at = float("-inf")
        self._numbers = count()
        self._latest: dict[str, _Made] = {}  # by kind

    async def page(
        self, kind: str, key: object, pieces: Callable[[], Iterator[str]], *, good_for: float, packed: bool = False
    ) -> Page:
        """Return the page of this kind and key, begun from now on or `good_for` seconds ago at most."""
        asked, asked_at = next(self._numbers), self._clock()
        while True:
            made = self._latest.get(kind)
            if made is None:
                making = self._tasks.start(self._make(pieces(), packed=packed), name="page")
                made = self._latest[kind] = _Made(key, next(self._numbers), self._clock(), making)
            if made.key == key and (made.number > asked or made.begun_at > asked_at - good_for):
                return await self._shared(kind, made)
            await asyncio.wait((made.page,))
            self._forget(kind, made)

    async def _shared(self, kind: str, made: _Made) -> Page:
        """Wait for a page; who leaves last ends the making of it."""
        made.waiting += 1
        try:
            return await asyncio.shield(made.page)
        except BaseException:  # it can't be made, or who asked has left
            if made.waiting == 1:
                made.page.cancel()
                self._forget(kind, made)
            raise
        finally:
            made.waiting -= 1

    def _forget(self, kind: str, made: _Made) -> None:
        if self._latest.get(kind) is made:
            del self._latest[kind]

    async def _make(self, pieces: Iterator[str], *, packed: bool) -> Page:
        packer = zlib.compressobj(1, wbits=_GZIP)
        parts, length, done = [], 0, False
        while not done:
            async with self._working:
                wait = self._rested_at - self._clock()
                if wait > 0:
                    await self._sleep(wait)
                begun_at = self._clock()
                part, done = self._some(pieces, begun_at + _AT_ONCE)
                length += len(part)
                parts.append(packer.compress(part) + (packer.flush() if done else b"") if packed else part)
                now = self._clock()
                self._rested_at = now + _REST * (now - begun_at)
        return Page(parts, length, packed)

    def _some(self, pieces: Iterator[str], until: float) -> tuple[bytes, bool]:
        """Return the next pieces, and whether they were the last."""
        texts, length = [], 0
        for piece in pieces:
            texts.append(piece)
            length += len(piece)
            if length >= _MOST_AT_ONCE or self._clock() >= until:
                return "".join(texts).encode(), False
        return "".join(texts).encode(), True


async def _pieces(parts: list[bytes]) -> AsyncGenerator[bytes, None]:
    for part in parts:
        for start in range(0, len(part), _PIECE):
            await asyncio.sleep(0)  # who takes a piece at once is not waited for, and would hold up all others
            yield part[start : start + _PIECE]


async def _unpacked(parts: list[bytes]) -> AsyncGenerator[bytes, None]:
    unpacker = zlib.decompressobj(_GZIP)
    for part in parts:
        rest = part
        while rest:
            await asyncio.sleep(0)
            yield unpacker.decompress(rest, _PIECE)
            rest = unpacker.unconsumed_tail
    yield unpacker.flush()
