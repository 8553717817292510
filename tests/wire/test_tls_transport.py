"""What is written over TLS goes a record at a time, in order, and stops where the client has enough."""

import asyncio
import ssl
from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.tls_transport import RECORD, Portions, _Narrow


class Below:
    """A transport that says after so many writes that it has enough."""

    def __init__(self, until_enough: int) -> None:
        self.written: list[bytes] = []
        self.until_enough = self.left = until_enough
        transport: Any = self
        self.portions = Portions(transport)

    def set_read_buffer_limits(self, high: int) -> None:
        self.read_limit = high

    def write(self, data: bytes | memoryview) -> None:
        assert not self.portions.paused
        self.written.append(bytes(data))
        self.left -= 1
        if not self.left:
            self.portions.paused, self.left = True, self.until_enough


@given(
    pieces=st.lists(st.integers(0, 5 * RECORD), max_size=6),
    until_enough=st.integers(1, 8),
    go_on=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_all_is_written_in_its_order_a_record_at_a_time(
    pieces: list[int], until_enough: int, go_on: list[bool]
) -> None:
    below = Below(until_enough)
    sent = b""
    for number, (size, now) in enumerate(zip(pieces, go_on, strict=False)):
        data = bytes([number]) * size
        sent += data
        if below.portions.paused and now:
            below.portions.go_on()
        if not below.portions.paused:  # nobody writes more who was told to wait
            below.portions.write(data)
        else:
            sent = sent[: len(sent) - size]
    for _ in range(100):
        if below.portions.paused:
            below.portions.go_on()
    assert b"".join(below.written) == sent
    assert all(len(data) <= RECORD for data in below.written)


def test_it_tells_whether_all_has_gone() -> None:
    below = Below(2)
    below.portions.write(b"x" * 3 * RECORD)
    assert (len(below.written), below.portions.paused) == (2, True)
    assert below.portions.go_on()
    assert len(below.written) == 3
    assert below.read_limit == RECORD


async def test_a_client_that_has_tls_answer_and_takes_no_answers_is_cut_off() -> None:
    """As with `KeyUpdate` (RFC 8446 §4.6.3), of which it may send any number; each answer waits in memory.

    Python's `ssl` can't send one, so that what is below stands in for the client, and what TLS has to say is put in.
    """
    below, context = Mock(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    below.get_write_buffer_size.return_value = 0
    loop = asyncio.get_running_loop()
    tls: Any = _Narrow(
        loop, asyncio.Protocol(), context, loop.create_future(), server_side=True, ssl_handshake_timeout=9
    )
    tls.connection_made(below)
    tls.pause_writing()
    tls.get_buffer(1)[0] = 0x16
    tls._outgoing.write(b"x" * 4 * RECORD)
    tls.buffer_updated(1)
    below.abort.assert_not_called()
    tls._outgoing.write(b"x")
    tls.buffer_updated(1)
    below.abort.assert_called_once_with()
    tls.connection_lost(None)
