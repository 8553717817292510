"""Names are looked up in threads of their own: which of them wait for which, for how long, and what is remembered."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.guards import names
from proxy.guards.names import Address, SystemNames, addresses_of
from tests.clocks import pass_time, settle

FOUND = [Address(socket.AF_INET, "93.184.216.34")]
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TROUBLE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class NameServer:
    """Stands for the system's lookup, which blocks: names under `.silent` get no answer before `answers` is set.

    `says` is what it finds for the others. `asked` counts.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.says: list[Address] | Exception = FOUND
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()
        self._more = threading.Condition()

    def __call__(self, host: str) -> list[Address]:
        with self._more:
            self.asked[host] += 1
            self._more.notify_all()
        if host.endswith(".silent"):
            assert self.answers.wait(20)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def until_asked(self, count: int) -> None:
        """Wait, in a thread, until so many lookups have begun."""
        with self._more:
            assert self._more.wait_for(lambda: self.asked.total() >= count, 20)


@asynccontextmanager
async def server() -> AsyncIterator[NameServer]:
    """A name server whose threads have ended when the test has; what hangs fails it."""
    made = NameServer()
    try:
        async with asyncio.timeout(20):
            yield made
    finally:
        made.answers.set()
        for thread in threading.enumerate():
            if thread.name == "names":
                await asyncio.to_thread(thread.join, 20)


def resolver(by: NameServer, *, answer_within: float = 20.0, max_names: int = 100) -> SystemNames:
    return SystemNames(by, clock=lambda: by.now, answer_within=answer_within, max_names=max_names)


async def ask(system: SystemNames, host: str, *, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[str]:
    return [result["host"] for result in await system.resolve(host, 443, family)]


async def outcome(system: SystemNames, host: str) -> str:
    """The addresses, or what the error says."""
    try:
        return ",".join(await ask(system, host))
    except OSError as error:
        return str(error.strerror)


# One name


async def test_an_address_is_found_as_the_connector_wants_it() -> None:
    async with server() as here:
        here.says = [*FOUND, Address(socket.AF_INET6, "fe80::1%2")]
        system = resolver(here)

        assert [tuple(each.values()) for each in await system.resolve("api.example", 443, socket.AF_UNSPEC)] == [
            ("api.example", "93.184.216.34", 443, socket.AF_INET, 0, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            ("api.example", "fe80::1%2", 443, socket.AF_INET6, 0, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
        ]
        assert await ask(system, "api.example", family=socket.AF_INET6) == ["fe80::1%2"]


async def test_all_who_want_a_name_share_a_lookup_and_who_leaves_ends_it_for_nobody() -> None:
    async with server() as here:
        system = resolver(here)
        asking = [asyncio.create_task(ask(system, "api.silent")) for _ in range(10)]
        await asyncio.to_thread(here.until_asked, 1)
        asking[0].cancel()
        here.answers.set()

        assert await asyncio.gather(*asking[1:]) == [["93.184.216.34"]] * 9
        assert here.asked == {"api.silent": 1}


@pytest.mark.parametrize(
    ("says", "good_for"), [(FOUND, 30.0), (UNKNOWN, 2.0), (TROUBLE, 2.0), (UnicodeError("label too long"), 2.0)]
)
async def test_what_was_found_is_good_for_half_a_minute_and_that_nothing_was_for_two_seconds(
    says: list[Address] | Exception, good_for: float
) -> None:
    async with server() as here:
        here.says, system = says, resolver(here)
        for later, asked in ((0.0, 1), (good_for - 0.1, 1), (0.2, 2)):
            here.now += later
            if isinstance(says, Exception):
                with pytest.raises(type(says)) as caught:
                    await ask(system, "api.example")
                assert str(caught.value) == str(says)
            else:
                assert await ask(system, "api.example") == ["93.184.216.34"]
            assert here.asked["api.example"] == asked


async def test_an_error_that_is_remembered_does_not_grow() -> None:
    async with server() as here:
        here.says, system = UNKNOWN, resolver(here)
        depths = []
        for _ in range(3):
            with pytest.raises(OSError, match="not known") as caught:
                await ask(system, "api.example")
            depths.append(len(caught.traceback))

        assert depths[1] == depths[2]


async def test_the_names_that_are_kept_are_bounded_and_the_one_looked_up_longest_ago_goes() -> None:
    async with server() as here:
        system = resolver(here, max_names=10)
        for number in range(11):
            await ask(system, f"api-{number}.example")
        await ask(system, "api-1.example")
        await ask(system, "api-0.example")

        assert (here.asked["api-1.example"], here.asked["api-0.example"]) == (1, 2)
        assert len(system._known) == 10


# An answer that is known already


async def test_what_was_found_serves_for_an_hour_while_it_can_not_be_found_out_anew() -> None:
    async with server() as here:
        system = resolver(here)
        await ask(system, "api.example")
        here.says = TROUBLE
        here.now += 3599.0
        assert await ask(system, "api.example") == ["93.184.216.34"]
        here.now += 2.0
        assert await outcome(system, "api.example") == "Temporary failure in name resolution"
        here.says = FOUND
        here.now += 2.0
        assert await ask(system, "api.example") == ["93.184.216.34"]


async def test_a_name_that_is_no_more_is_believed() -> None:
    async with server() as here:
        system = resolver(here)
        await ask(system, "api.example")
        here.says = UNKNOWN
        here.now += 60.0

        assert await outcome(system, "api.example") == "Name or service not known"


async def test_a_silent_name_server_is_not_waited_for_to_the_end_if_an_answer_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "_PATIENCE_IF_KNOWN", 0.01)
    async with server() as here:
        system = resolver(here)
        here.answers.set()
        await ask(system, "api.silent")
        here.answers.clear()
        here.now += 60.0

        assert await ask(system, "api.silent") == ["93.184.216.34"]
        here.now += 0.02
        assert await ask(system, "api.silent") == ["93.184.216.34"]  # at once by now
        assert here.asked == {"api.silent": 2}


# Names that hang


async def test_a_name_that_hangs_is_told_so_in_time_and_at_once_from_then_on_and_its_late_answer_counts() -> None:
    async with server() as here:
        system = resolver(here, answer_within=0.01)
        late = "no name server has answered within 0.01 s"
        assert await outcome(system, "api.silent") == late
        here.now += 5.0
        assert await outcome(system, "api.silent") == late
        assert here.asked == {"api.silent": 1}
        lookup = system._lookups["api.silent"]
        here.answers.set()
        await lookup.result

        assert await outcome(system, "api.silent") == "93.184.216.34"
        assert here.asked == {"api.silent": 1}


async def test_names_that_hang_keep_no_other_from_being_found() -> None:
    async with server() as here:
        system = resolver(here, answer_within=0.3)
        hanging = [asyncio.create_task(outcome(system, f"shop-{number}.api.silent")) for number in range(100)]
        await asyncio.to_thread(here.until_asked, 16)  # their domain has its half of the threads
        assert await outcome(system, "oauth.other.example") == "93.184.216.34"
        told = Counter(await asyncio.gather(*hanging))

        assert told == {
            "no name server has answered within 0.3 s": 16,
            "16 lookups of other names are waiting for name servers": 84,
        }
        assert here.asked.total() == 17
        here.now += 1.0
        assert await outcome(system, "shop-99.api.silent") == "16 lookups of other names are waiting for name servers"
        running = [lookup.result for lookup in system._lookups.values()]
        here.answers.set()
        await asyncio.wait(running)
        here.now += 2.0
        assert await outcome(system, "shop-99.api.silent") == "93.184.216.34"


async def test_each_domain_that_hangs_leaves_threads_for_the_next() -> None:
    async with server() as here:
        system = resolver(here, answer_within=0.01)
        begun = []
        for domain in ("a", "b", "c", "d", "e", "f"):
            before = here.asked.total()
            await asyncio.gather(*(outcome(system, f"{number}.{domain}.silent") for number in range(20)))
            await asyncio.to_thread(here.until_asked, len(system._lookups))  # a thread may be slow to begin
            begun.append(here.asked.total() - before)

        assert begun == [16, 8, 4, 2, 1, 1]


async def test_who_waits_for_a_thread_gets_the_next_that_its_domain_may_have() -> None:
    async with server() as here:
        system = resolver(here)
        waiting = [asyncio.create_task(outcome(system, f"{number}.api.silent")) for number in range(40)]
        await asyncio.to_thread(here.until_asked, 16)
        here.answers.set()

        assert await asyncio.gather(*waiting) == ["93.184.216.34"] * 40
        assert here.asked.total() == 40


async def test_lookups_that_nobody_waits_for_any_more_are_dropped() -> None:
    async with server() as here:
        system = resolver(here)
        asking = [asyncio.create_task(ask(system, f"{number}.api.silent")) for number in range(100)]
        await asyncio.to_thread(here.until_asked, 16)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        here.now += 20.0
        await ask(system, "api.example")

        assert len(system._lookups) == 16
        assert not system._waiting


async def test_who_gives_up_late_takes_the_lookup_of_another_from_nobody() -> None:
    async with server() as here:
        system = resolver(here, answer_within=10.0)
        running = [asyncio.create_task(outcome(system, f"{number}.api.silent")) for number in range(16)]
        await asyncio.to_thread(here.until_asked, 16)
        first = asyncio.create_task(outcome(system, "last.api.silent"))
        await asyncio.sleep(0)
        here.now += 10.0
        other = asyncio.create_task(outcome(system, "other.api.silent"))  # drops the one that has waited long enough
        await pass_time(5.0)
        again = asyncio.create_task(outcome(system, "last.api.silent"))
        await settle()
        await pass_time(5.0)
        await first

        assert "last.api.silent" in system._waiting
        here.answers.set()
        assert await again == "93.184.216.34"
        await asyncio.gather(*running, other)


async def test_a_system_without_threads_finds_nothing_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with server() as here:
        system = resolver(here)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            assert await outcome(system, "api.example") == "no thread could be started: can't start new thread"
        here.now += 2.0

        assert await outcome(system, "api.example") == "93.184.216.34"


# The system's own


def test_the_hosts_file_is_read_and_an_address_is_its_own() -> None:
    assert {address.text for address in addresses_of("localhost")} <= {"127.0.0.1", "::1"}
    assert addresses_of("127.0.0.1") == [Address(socket.AF_INET, "127.0.0.1")]


def test_an_address_of_one_link_keeps_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert addresses_of("printer") == [Address(socket.AF_INET6, "fe80::1%2")]


@pytest.mark.parametrize("host", [f"shop-{'a' * 63}.example.com", "a..example.com"])
def test_what_can_be_no_name_is_an_error_of_its_own(host: str) -> None:
    with pytest.raises(UnicodeError):
        addresses_of(host)
