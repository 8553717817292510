"""A restart under load: whoever calls through a switch that knows what is ready notices nothing."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.commands.configurations import written
from tests.commands.processes import Command, Ended, started
from tests.peers import Answer, RawClient, answering, connected, request, response, serving, token_response

CLIENTS = 50
BODY = b"x" * 100_000


@dataclass(slots=True)
class Switch:
    """Forwards connections, each to where `target` was when it was made."""

    target: int = 0
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer))
        finally:
            writer.close()
            there_writer.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes, and their end."""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def switching() -> AsyncIterator[Switch]:
    switch = Switch()
    server = await asyncio.start_server(switch.forward, "127.0.0.1", 0)
    switch.port = server.sockets[0].getsockname()[1]
    try:
        yield switch
    finally:
        server.close()
        for task in list(switch.tasks):
            task.cancel()
        await asyncio.gather(*switch.tasks, return_exceptions=True)


@dataclass(slots=True)
class Caller:
    """A client that calls again and again: over one connection as long as it may, or over a new one each time."""

    number: int
    enough: asyncio.Event
    answers: list[Answer] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, port: int) -> None:
        while not self.enough.is_set():
            async with connected(port) as connection:
                while await self._may_go_on(connection) and not self.enough.is_set():
                    pass

    async def calls_more(self, count: int) -> None:
        wanted = len(self.answers) + count
        while len(self.answers) < wanted:
            self.answered.clear()
            await self.answered.wait()

    async def _may_go_on(self, connection: RawClient) -> bool:
        close = b"Connection: close\r\n" if self.number % 3 == 0 else b""
        uploads = self.number % 10 == 1
        answer = await connection.ask(
            request(b"PUT" if uploads else b"GET", fields=close, body=BODY if uploads else None)
        )
        self.answers.append(answer)
        self.answered.set()
        return answer.values(b"Connection") != [b"close"]


@dataclass(slots=True)
class Process:
    """A proxy as a process of its own."""

    command: Command
    port: int
    admin_port: int
    ending: asyncio.Task[Ended]  # reads what it logs, too, or that would hold it up

    async def stop(self) -> None:
        """Tell it to stop, and return as soon as it says that others should be called."""
        self.command.send_signal(signal.SIGTERM)
        while await self._is_ready():
            pass

    async def _is_ready(self) -> bool:
        async with connected(self.admin_port) as probe:
            return (await probe.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200


@asynccontextmanager
async def process(file: Path) -> AsyncIterator[Process]:
    async with started("serve", "--config", str(file)) as command, asyncio.TaskGroup() as tasks:
        port, admin_port = [
            json.loads(await command.line_with(event))["port"] for event in ("proxy.started", "admin.started")
        ]
        yield Process(command, port, admin_port, tasks.create_task(command.end()))


async def test_no_call_fails_while_one_process_takes_the_place_of_another(tmp_path: Path) -> None:
    enough = asyncio.Event()
    callers = [Caller(number, enough) for number in range(CLIENTS)]

    async def go_on() -> None:
        await asyncio.gather(*(caller.calls_more(3) for caller in callers))

    async with (
        asyncio.timeout(60),
        serving(answering(token_response())) as tokens,
        serving(answering(response(BODY))) as api,
        switching() as switch,
    ):
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        file.write_text(file.read_text().replace("[server]\n", "[server]\ndrain_delay = 0.3\n"))
        async with process(file) as first, process(file) as second, asyncio.TaskGroup() as calls:
            switch.target = first.port
            for caller in callers:
                calls.create_task(caller.call(switch.port))
            await go_on()
            await first.stop()
            switch.target = second.port
            endings = [await first.ending]
            await go_on()
            async with process(file) as first_again:
                await second.stop()
                switch.target = first_again.port
                endings.append(await second.ending)
                await go_on()
                enough.set()
                first_again.command.send_signal(signal.SIGTERM)
                endings.append(await first_again.ending)

    answers = [answer for caller in callers for answer in caller.answers]
    assert {(answer.status, len(answer.body)) for answer in answers} == {(200, len(BODY))}
    assert [(ended.status, ended.stderr) for ended in endings] == [(0, "")] * 3
    # All were forwarded, and by all three.
    forwarded = [ended.stdout.count('"event":"request.forwarded"') for ended in endings]
    assert sum(forwarded) == len(answers) == len(api.received)
    assert min(forwarded) >= CLIENTS
    assert len(tokens.received) == 3
