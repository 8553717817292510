"""TLS between clients and the proxy: the certificate in use, its renewal, and the way to it for a new connection.

Rules: files that changed are taken into use without a restart, for connections that are made from then on. What is in
them decides, since Kubernetes swaps a directory under their names and others write them anew; to see whether a look is
worth it costs two calls of `stat`. That is done in a thread: a mount that does not answer holds up the next certificate
alone. New files that can't be used leave the old certificate in use, and are complained of once. A connection counts as
one from its first packet on, not only when TLS stands. A client that speaks plain HTTP is told so.
"""

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, cast

from structlog.typing import FilteringBoundLogger

from proxy.certificate import CertificateFiles, UnusableCertificate, expires_at, not_in_use, read, server_context
from proxy.tasks import BackgroundTasks
from proxy.threads import in_thread
from proxy.wire.tls_transport import serve_tls

_LOOK_EVERY: Final = 5.0  # seconds
_TLS_HANDSHAKE: Final = b"\x16"  # the first byte of a TLS connection (RFC 8446 §5.1, ContentType)
_Stat = tuple[int, int, int, int, int]


class _Made(NamedTuple):
    """A certificate to be used: its context, a digest of its files, until when it is valid, and why it is not now."""

    context: ssl.SSLContext
    digest: bytes
    expires_at: float | None
    not_in_use: str


class ListenerTls:
    """The certificate in use. Raises `UnusableCertificate` and `OSError`."""

    def __init__(self, files: CertificateFiles, log: FilteringBoundLogger) -> None:
        self._files = files
        self._log = log
        self._stats = self._look()
        self._take(self._make(read(files)))

    async def reload(self) -> bool:
        """Take the files into use if they have changed; tell whether new ones are in use. Never raises."""
        try:
            made = await in_thread(self._make_new, name="certificate")
            if made is None:
                return False
            self._take(made)
        except (UnusableCertificate, OSError) as error:
            file = error.file if isinstance(error, UnusableCertificate) else error.filename
            why = str(error) if isinstance(error, UnusableCertificate) else error.strerror
            self._log.warning("tls.not_reloaded", file=str(file), reason=f"{why}; the old certificate stays in use")
            return False
        self._log.info("tls.reloaded", certificate=str(self._files.certificate))
        return True

    async def keep_fresh(self, every: float = _LOOK_EVERY) -> None:
        """Reload whenever the files have changed, for ever; `every` in seconds."""
        while True:
            await asyncio.sleep(every)
            await self.reload()

    def _take(self, made: _Made) -> None:
        self.context = made.context  # for the next connection
        self._digest = made.digest
        self.expires_at = made.expires_at  # in seconds since 1970
        if made.not_in_use:
            certificate = str(self._files.certificate)
            self._log.warning("tls.certificate_not_valid", certificate=certificate, reason=made.not_in_use)

    def _make_new(self) -> _Made | None:
        """Return what is in the files now, `None` if that is in use."""
        stats = self._look()
        if stats == self._stats:
            return None
        self._stats = stats
        content = read(self._files)
        return None if _digest(content) == self._digest else self._make(content)

    def _make(self, content: tuple[bytes, bytes]) -> _Made:
        # A context of its own, not a change to the one in use: that would be broken if this goes wrong half-way.
        context = server_context(self._files)
        if read(self._files) != content:
            self._stats = ()  # They change at this moment. The next look finds them as they are then.
            raise UnusableCertificate(self._files.certificate, "the files were changed while they were read")
        return _Made(context, _digest(content), expires_at(context, content[0]), not_in_use(context, content[0]))

    def _look(self) -> tuple[_Stat | None, ...]:
        return _stat(self._files.certificate), _stat(self._files.private_key)


class TlsDoor(asyncio.Protocol):
    """What a new connection meets before TLS stands.

    `connection` is what it meets then; `enter` asks for a place for it, with the way to take it back, and `leave` gives
    the place back; `failed` is told of an address with which TLS did not come about, and why. The client has `timeout`
    seconds for the handshake, and `closing` for its part in the end.
    """

    def __init__(
        self,
        connection: asyncio.BaseProtocol,
        enter: Callable[[asyncio.Transport, Callable[[], object]], bool],
        leave: Callable[[], None],
        failed: Callable[[str, str], None],
        tls: ListenerTls,
        tasks: BackgroundTasks,
        *,
        timeout: float,
        closing: float,
    ) -> None:
        self._connection = connection
        self._enter = enter
        self._leave = leave
        self._failed = failed
        self._tls = tls
        self._tasks = tasks
        self._timeout = timeout
        self._closing = closing
        self._opening: asyncio.Task[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, if there is a place."""
        arrived = cast("asyncio.Transport", transport)
        if self._enter(arrived, self._give_up):
            # The listener's transport would read what is for TLS (uvloop's can't be kept from it). So the socket gets
            # another one; it stays open, being held by two descriptors, when this transport closes its own.
            peer = arrived.get_extra_info("peername")
            address = peer[0] if peer else ""
            try:
                same = socket.socket(fileno=os.dup(arrived.get_extra_info("socket").fileno()))
            except OSError as error:  # no descriptor is left
                self._leave()
                self._failed(address, os.strerror(error.errno or 0))
            else:
                self._opening = self._tasks.start(self._open(same, address), name="handshake")
                self._opening.add_done_callback(lambda opening: self._opened(opening, same))
        arrived.abort()

    def _give_up(self) -> None:
        if self._opening is not None:
            self._opening.cancel()

    def _opened(self, opening: asyncio.Task[bool], client: socket.socket) -> None:
        opened = False
        try:
            opened = not opening.cancelled() and opening.result()
        finally:  # also after a mistake of our own, which the event loop tells of
            if not opened:
                client.close()
                self._leave()

    async def _open(self, client: socket.socket, address: str) -> bool:
        """Hand the socket on to the connection; tell whether that went well."""
        try:
            async with asyncio.timeout(self._timeout):
                speaks_tls = await _first_byte(client) == _TLS_HANDSHAKE
                if speaks_tls:
                    times = {"handshake": self._timeout, "closing": self._closing}
                    await serve_tls(self._connection, client, self._tls.context, **times)
                else:
                    await asyncio.get_running_loop().connect_accepted_socket(lambda: self._connection, client)
        except OSError as error:  # a client that won't or can't
            self._failed(address, _why(error, self._timeout))
            return False
        return True


async def _first_byte(client: socket.socket) -> bytes:
    """Wait for what a client sends first, and leave it where it is; empty if the client has closed."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(client, came.set)
    try:
        await came.wait()
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    finally:
        loop.remove_reader(client)


def _why(error: OSError, timeout: float) -> str:
    """Return why a handshake failed that had `timeout` seconds."""
    match error:
        case ssl.SSLError():
            return error.reason or "TLS error"  # OpenSSL's word
        case TimeoutError() | ConnectionAbortedError():
            return f"not done within {timeout:g} seconds"
    return "the client closed the connection"


def _stat(path: Path) -> _Stat | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # st_ctime too: a change of mode or owner alone can make a file readable.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(content: tuple[bytes, bytes]) -> bytes:
    # Not the content itself: the key should not lie about in memory a second time.
    return hashlib.sha256(b"\0".join(content)).digest()
