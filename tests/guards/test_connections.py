"""Who gets a place when there are too many connections, and who loses one."""

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.connections import ConnectionGuard
from proxy.guards.descriptors import Descriptors
from proxy.telemetry.metrics import ConnectionMetrics

HERE = "192.0.2.1"


@dataclass(eq=False)
class Connection:
    name: str = ""
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


@dataclass
class Door:
    """A guard with a clock that is set and a log that can be read."""

    limit: int = 3
    per_address: int = 1000
    exempt: tuple[str, ...] = ()
    now: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: ConnectionMetrics = field(default_factory=ConnectionMetrics)

    def __post_init__(self) -> None:
        def keep(_: Any, __: str, event: Any) -> str:
            self.events.append(dict(event))
            raise structlog.DropEvent

        self.guard = ConnectionGuard(
            structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("info")),
            self.metrics,
            Descriptors(),
            clock=lambda: self.now,
        )
        self.guard.keep_to(self.limit, self.per_address, [ip_network(each) for each in self.exempt])

    def admit(self, *connections: Connection, address: str = HERE) -> list[bool]:
        return [self.guard.admit(connection, address) for connection in connections]


def dropped(*connections: Connection) -> list[str]:
    return [connection.name for connection in connections if connection.dropped]


def test_up_to_the_limit_everybody_has_a_place() -> None:
    tested = Door(limit=3)
    connections = [Connection() for _ in range(3)]

    assert tested.admit(*connections) == [True] * 3
    assert dropped(*connections) == []
    assert (tested.metrics.open, tested.events) == (3, [])


def test_one_over_the_limit_takes_the_place_of_the_oldest_on_which_nobody_was_let_in() -> None:
    tested = Door(limit=3)
    asked, oldest, newer = Connection("asked"), Connection("oldest"), Connection("newer")
    tested.admit(asked, oldest, newer)
    tested.guard.begin(asked)
    tested.guard.end(asked)

    assert tested.admit(Connection()) == [True]
    assert dropped(asked, oldest, newer) == ["oldest"]
    assert len(tested.guard) == 3


def test_where_somebody_was_let_in_on_all_the_one_that_is_idle_for_longest_goes() -> None:
    tested = Door(limit=3)
    busy, recent, old = Connection("busy"), Connection("recent"), Connection("old")
    tested.admit(recent, busy, old)
    for each in (busy, recent, old):
        tested.guard.begin(each)
    for each in (old, recent):
        tested.guard.end(each)

    assert tested.admit(Connection()) == [True]
    assert dropped(busy, recent, old) == ["old"]


def test_where_all_are_busy_the_new_one_is_refused_and_nothing_is_kept_of_it() -> None:
    tested = Door(limit=2)
    busy = [Connection(), Connection()]
    tested.admit(*busy)
    for each in busy:
        tested.guard.begin(each)
    refused = Connection()

    assert tested.admit(refused) == [False]
    tested.guard.begin(refused)
    tested.guard.end(refused)
    tested.guard.leave(refused)
    assert (len(tested.guard), tested.metrics.refused, tested.metrics.open) == (2, 1, 2)

    tested.guard.leave(busy[0])
    assert tested.admit(Connection()) == [True]


def test_the_end_of_a_request_that_was_not_admitted_makes_nobody_known() -> None:
    tested = Door(limit=2)
    known, refused = Connection("known"), Connection("refused")
    tested.admit(known, refused)
    tested.guard.begin(known)
    tested.guard.end(known)
    tested.guard.end(refused)

    tested.admit(Connection())
    assert dropped(known, refused) == ["refused"]


def test_other_limits_hold_for_who_comes_next_and_cost_nobody_a_place() -> None:
    tested = Door(limit=3, per_address=3)
    connections = [Connection(str(number)) for number in range(3)]
    tested.admit(*connections)
    for each in connections:
        tested.guard.begin(each)

    tested.guard.keep_to(1, 1, [])
    assert tested.guard.held() == connections
    assert tested.admit(Connection()) == [False]
    tested.guard.keep_to(4, 3, [])
    assert tested.admit(Connection()) == [False]  # of this address there are three
    tested.guard.keep_to(4, 4, [])
    assert tested.admit(Connection()) == [True]
    assert dropped(*connections) == []


def test_one_address_gets_its_share_at_its_own_cost_alone() -> None:
    tested = Door(limit=10, per_address=2)
    others = [Connection("other"), Connection("other")]
    own = [Connection("first"), Connection("second")]
    tested.admit(*others, address="192.0.2.9")
    tested.admit(*own)

    assert tested.admit(Connection("third")) == [True]
    assert dropped(*others, *own) == ["first"]
    assert tested.events[0]["setting"] == "server.max_connections_per_address"


def test_an_address_whose_connections_are_all_busy_gets_no_more_while_others_do() -> None:
    tested = Door(limit=10, per_address=2)
    own = [Connection(), Connection()]
    tested.admit(*own)
    for each in own:
        tested.guard.begin(each)

    assert tested.admit(Connection()) == [False]
    assert tested.admit(Connection(), address="192.0.2.2") == [True]
    tested.guard.leave(own[0])
    assert tested.admit(Connection()) == [True]


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, another: str, same: bool) -> None:
    tested = Door(limit=10, per_address=1)
    first = Connection("first")
    tested.admit(first, address=one)
    tested.admit(Connection(), address=another)

    assert first.dropped == same


def test_a_trusted_proxy_counts_only_in_all() -> None:
    tested = Door(limit=4, per_address=1, exempt=("10.0.0.0/8",))
    connections = [Connection(str(number)) for number in range(5)]

    assert tested.admit(*connections, address="10.1.2.3") == [True] * 5
    assert dropped(*connections) == ["0"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_counts_only_in_all(address: str) -> None:
    """A sidecar's whole traffic comes from there."""
    tested = Door(limit=4, per_address=1)
    connections = [Connection(str(number)) for number in range(5)]

    assert tested.admit(*connections, address=address) == [True] * 5
    assert dropped(*connections) == ["0"]


def test_one_idle_connection_among_any_number_of_busy_ones_is_found() -> None:
    tested = Door(limit=1000)
    connections = [Connection(str(number)) for number in range(1000)]
    tested.admit(*connections)
    for each in connections:
        tested.guard.begin(each)
    tested.guard.end(connections[777])

    assert tested.admit(Connection(), Connection()) == [True, True]  # the second gets the place of the first
    assert dropped(*connections) == ["777"]


def test_limits_that_are_set_anew_hold_for_those_who_come_then() -> None:
    tested = Door(limit=10, per_address=10)
    connections = [Connection(str(number)) for number in range(3)]
    tested.admit(*connections)
    tested.guard.keep_to(10, 2, [ip_network("192.0.2.0/25")])
    tested.admit(Connection())
    assert dropped(*connections) == []  # exempt now
    tested.guard.keep_to(10, 2, [])
    tested.admit(Connection())
    assert dropped(*connections) == ["0"]


def test_a_flood_is_a_line_in_the_log_now_and_then() -> None:
    tested = Door(limit=1)
    for now in (0.0, 1.0, 9.9, 10.0, 10.1):
        tested.now = now
        tested.admit(*[Connection() for _ in range(100)])

    assert [(event["event"], event["displaced_so_far"]) for event in tested.events] == [
        ("connections.crowded", 1),
        ("connections.crowded", 300),
    ]


def test_failed_handshakes_are_counted_and_told_of_now_and_then_beside_a_flood() -> None:
    tested = Door(limit=1)
    tested.admit(*[Connection() for _ in range(2)])
    for now in (0.0, 9.9, 10.0):
        tested.now = now
        tested.guard.handshake_failed(HERE, "NO_SHARED_CIPHER")

    failed = [event for event in tested.events if event["event"] == "tls.handshake_failed"]
    assert [event["failed_so_far"] for event in failed] == [1, 3]
    assert (failed[0]["address"], failed[0]["reason"]) == (HERE, "NO_SHARED_CIPHER")
    assert tested.metrics.failed_handshakes == 3


@given(st.lists(st.tuples(st.sampled_from(["admit", "begin", "end", "leave"]), st.integers(0, 7), st.integers(0, 2))))
def test_the_bounds_hold_whatever_happens_and_nothing_is_left(steps: list[tuple[str, int, int]]) -> None:
    tested = Door(limit=4, per_address=2)
    held: dict[Connection, int] = {}
    busy: set[Connection] = set()
    for what, number, address in steps:
        chosen = list(held)[number % len(held)] if held else None
        if what == "admit":
            new = Connection()
            if tested.admit(new, address=f"192.0.2.{address}") == [True]:
                held[new] = address
        elif chosen is not None and what == "begin":
            tested.guard.begin(chosen)
            busy.add(chosen)
        elif chosen is not None and what == "end":
            tested.guard.end(chosen)
            busy.discard(chosen)
        elif chosen is not None:
            tested.guard.leave(chosen)
            busy.discard(chosen)
            del held[chosen]
        assert not any(connection.dropped for connection in busy)
        held = {connection: source for connection, source in held.items() if not connection.dropped}
        assert len(tested.guard) == len(held) <= 4
        assert all(list(held.values()).count(source) <= 2 for source in held.values())
    for connection in held:
        tested.guard.leave(connection)
    assert len(tested.guard) == 0
    assert not tested.guard._by_source
    assert not tested.guard._held
