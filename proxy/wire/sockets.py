"""What asyncio's transports do not tell of their sockets, or do not do to them."""

import asyncio
import fcntl
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# Closes with a reset instead of an orderly end, and throws away what was not sent yet.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def when_read(loop: asyncio.AbstractEventLoop, do: Callable[[], object]) -> None:
    """Call `do` soon, after what has arrived by now was read.

    An event loop that was kept busy may run its timers first: what came in time would seem to be missing.
    """
    loop.call_soon(loop.call_soon, do)  # the loop looks at its sockets once in between


def read_on(transport: asyncio.Transport) -> None:
    """Have a transport that got some bytes read what is left, if the connection was reset right behind them.

    uvloop watches a socket no longer that has an error: what watched it is called once more, and may then find bytes
    that came before. To begin again has it called again.
    """
    if _found(transport, 0):  # errors are always told
        asyncio.get_running_loop().call_soon(_begin_again, transport)


def has_come(transport: asyncio.Transport) -> bool:
    """Tell whether something has arrived that was not read yet, be it the end."""
    return _found(transport, select.POLLIN)


def _found(transport: asyncio.Transport, events: int) -> bool:
    look = select.poll()
    look.register(transport.get_extra_info("socket").fileno(), events)
    return bool(look.poll(0))


def _begin_again(transport: asyncio.Transport) -> None:
    if transport.is_reading():
        transport.pause_reading()
        resume_reading(transport)


def resume_reading(transport: asyncio.Transport) -> None:
    """Have a transport read again after a pause.

    aiofastnet's TLS then looks into what it has read before only if more comes: it might hold the end of all.
    """
    transport.resume_reading()
    look = getattr(transport, "_retry_ssl_read", None)
    if look is not None:
        asyncio.get_running_loop().call_soon(look)


def reset(transport: asyncio.Transport) -> None:
    """Break a connection off, so that the peer sees that; nothing that was not sent yet is kept."""
    own_socket = transport.get_extra_info("socket")
    if own_socket is not None:
        with suppress(OSError, ValueError):  # closed just now
            own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def end_writing(transport: asyncio.Transport) -> None:
    """Have the system say that nothing more will come, after what it was given to send; below TLS, if there is some."""
    own_socket = transport.get_extra_info("socket")
    if own_socket is not None:
        with suppress(OSError, ValueError), socket.socket(fileno=os.dup(own_socket.fileno())) as same:
            same.shutdown(socket.SHUT_WR)  # of both, as they are one connection


def waiting(transport: asyncio.Transport) -> int:
    """Return how many bytes wait in this process to be sent; below TLS too, of which its transport does not tell."""
    below = transport.get_extra_info("below")
    return transport.get_write_buffer_size() + (0 if below is None else below.get_write_buffer_size())


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes have not reached the peer: what waits here, and in the system (tcp(7), SIOCOUTQ).

    The former alone would not tell: the system takes more only when a good part of its own buffer is free again.
    """
    in_the_system = (1).to_bytes(4, sys.byteorder)  # if it does not say
    own_socket = transport.get_extra_info("socket")
    if own_socket is not None:
        with suppress(OSError, ValueError):  # not on this system; closed just now
            in_the_system = fcntl.ioctl(own_socket.fileno(), termios.TIOCOUTQ, in_the_system)
    return waiting(transport) + int.from_bytes(in_the_system, sys.byteorder)
