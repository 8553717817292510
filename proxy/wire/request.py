"""A request of a client, as it came over the wire."""

from typing import TYPE_CHECKING

import msgspec

from proxy.wire.head import FieldTable, Head
from proxy.wire.incoming import Incoming

if TYPE_CHECKING:
    from proxy.wire.client import ClientConnection


class ClientRequest(msgspec.Struct, frozen=True):
    """A request: its request line, its head, and its body.

    `target` is as it came. `modern` if it speaks HTTP/1.1. `keep_alive` tells whether the client wants the connection
    kept. `content` is the body where it came together with the head, maybe empty; where that is `None`, `body` has it.
    `weight` is about how many bytes of memory it takes without its body, if that is much.
    """

    connection: "ClientConnection"
    method: str
    target: bytes
    modern: bool
    head: Head
    keep_alive: bool
    content: bytes | None
    body: Incoming | None
    weight: int = 0


def no_request(connection: "ClientConnection") -> ClientRequest:
    """Return what stands for a request that could not be read."""
    return ClientRequest(connection, "UNKNOWN", b"/", False, Head((), FieldTable({})), False, b"", None)
