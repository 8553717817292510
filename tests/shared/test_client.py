"""How the library's client is made, and what its errors mean."""

import asyncio
import socket
import sys
from contextlib import ExitStack, aclosing
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError

import pytest
import trustme
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, MovedError, NoPermissionError, ReadOnlyError, ResponseError

from proxy.shared.client import Failure, RedisClient, failure
from proxy.shared.scripts import Script
from tests.egress import certified
from tests.peers import Connection, serving
from tests.redis_servers import each_server, serving_redis
from tests.shared.stores import opened

ECHO = Script("echo", "return {0, ARGV[1]}")


async def echo(connection: Connection) -> None:
    """Answer like a server that is asked for `ECHO`."""
    while await connection.reader.read(4096):
        await connection.send(b"*2\r\n:0\r\n$7\r\ncontent\r\n")


async def hangs_once(client: RedisClient) -> None:
    """See that a command is not answered in time, and that the next one is; close the client."""
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.run(ECHO, (), ("content",)), 0.05)
        async with asyncio.timeout(10):
            assert await client.run(ECHO, (), ("content",)) == [0, b"content"]
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        (ReadOnlyError("You can't write against a read only replica."), "read-only replica"),
        (NoPermissionError("this user has no permissions to run s3cret"), "the user is not allowed"),
        (RedisConnectionError("Error 111 connecting to s3cret"), "can't be reached"),
        (ResponseError("unknown command 's3cret'"), "answered with an error (ResponseError)"),
        (ConnectionRefusedError("s3cret"), "can't be reached"),
        (PermissionError("s3cret"), "its socket can't be opened (permission denied)"),
        (ResponseError("DB index is out of range"), "no database with that number"),
        (ResponseError("BUSY Redis is busy running a script: s3cret"), "it is busy with a script"),
        (ResponseError("MISCONF s3cret"), "it accepts no writes because it can't save its data"),
        (ResponseError("NOREPLICAS s3cret"), "it accepts no writes because too few of its own replicas are connected"),
        (RedisConnectionError("max number of clients reached s3cret"), "it accepts no more connections (maxclients)"),
        (MovedError("1 s3cret:6379"), "it is a Redis Cluster"),
        (InvalidResponse("Protocol Error: s3cret"), "what answers there is not Redis"),
        (AttributeError("s3cret"), "it answered with an error (AttributeError)"),
        (MasterNotFoundError("s3cret"), "no Sentinel knows its primary"),
        (SSLCertVerificationError("s3cret"), "its certificate is not trusted"),
        (SSLError("s3cret"), "TLS failed"),
    ],
)
def test_an_error_is_told_by_its_kind_without_what_it_quotes(error: Exception, phrase: str) -> None:
    assert phrase in str(failure(error))
    assert "s3cret" not in str(failure(error))


@pytest.mark.parametrize("url", ["redis+sentinel://one:26379", "redis+sentinel:///service", "http://x", "redis://x:y"])
async def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RedisClient(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"+OK\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"HTTP/1.1 400 Bad\r\n\r\n",
        b":x\r\n",
    ],
)
async def test_what_is_no_answer_of_a_script_is_a_failure(answer: bytes) -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(answer)

    async with serving(script) as peer:
        client = RedisClient(f"redis://127.0.0.1:{peer.port}")
        try:
            with pytest.raises(Failure, match=r"not Redis|answered with an error|can't be reached"):
                await client.run(ECHO, (), ("content",))
        finally:
            await client.close()


@pytest.mark.parametrize("secured", [False, True])
async def test_names_are_looked_up_by_others_than_the_library_and_every_address_is_tried(
    secured: bool, tmp_path: Path
) -> None:
    asked, authority = [], trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"]  # nobody listens at the first one

    async def script(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"*2\r\n:0\r\n$7\r\ncontent\r\n")

    async with serving(script, certified(authority, "redis.example") if secured else None) as peer:
        place = f"redis.example:{peer.port}"
        url = f"rediss://{place}?ssl_ca_certs={tmp_path / 'ca.pem'}" if secured else f"redis://{place}"
        client = RedisClient(url, resolve=resolve)
        try:
            assert await client.run(ECHO, (), ("content",)) == [0, b"content"]
        finally:
            await client.close()

    assert asked == ["redis.example"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a socket that drops who would connect")
async def test_an_address_that_hangs_is_tried_last_from_then_on() -> None:
    async def resolve(host: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    with ExitStack() as stack:
        async with serving(echo) as peer:
            place = ("127.0.0.2", peer.port)
            hung = stack.enter_context(socket.socket())
            hung.bind(place)
            hung.listen(0)
            for _ in range(2):  # which fill what waits to be accepted
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(place)
            client = RedisClient(f"redis://redis.example:{peer.port}", resolve=resolve)
            await hangs_once(client)


async def test_a_name_without_an_address_is_told() -> None:
    async def resolve(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "s3cret")

    client = RedisClient("redis://redis.example", resolve=resolve)
    with pytest.raises(Failure, match="can't be reached: its name can't be resolved"):
        await client.run(ECHO, (), ("content",))
    await client.close()


async def test_sentinels_after_one_that_hangs_are_asked() -> None:
    """Else nobody would find the new primary when a machine is gone on which both a Sentinel and the old one ran."""

    async def silent(connection: Connection) -> None:
        await connection.reader.read()

    async with serving(silent) as hung, serving(echo) as primary:
        states = [b"name", b"service", b"ip", b"127.0.0.1", b"port", b"%d" % primary.port, b"flags", b"master"]
        states += [b"num-other-sentinels", b"1"]
        told = b"*1\r\n*%d\r\n" % len(states) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in states)

        async def sentinel(connection: Connection) -> None:
            while await connection.reader.read(4096):
                await connection.send(told)

        async with serving(sentinel) as well:
            client = RedisClient(f"redis+sentinel://127.0.0.1:{hung.port},127.0.0.1:{well.port}/service")
            await hangs_once(client)


@pytest.mark.parametrize("program", each_server())
async def test_the_password_may_come_apart_from_the_url(program: str) -> None:
    async with serving_redis(program, "--requirepass", "s3cret-of-redis") as server:
        for password, works in (("s3cret-of-redis", True), ("another", False), (None, False)):
            client = RedisClient(server.url, password)
            try:
                if works:
                    assert await client.run(ECHO, (), ("content",)) == [0, b"content"]
                else:
                    with pytest.raises(Failure, match=r"needs a password"):
                        await client.run(ECHO, (), ("content",))
            finally:
                await client.close()


@pytest.mark.parametrize("program", each_server())
async def test_what_is_said_on_a_channel_is_heard_until_the_server_goes(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here, opened(server.url) as other:
        news = here.client.listen("test:news")
        assert await anext(news) == ""
        await other.client._command("PUBLISH", "test:news", "one")
        assert await anext(news) == "one"
        await other.client._command("PUBLISH", "test:other", "two")
        server.kill()
        with pytest.raises(Failure, match="can't be reached"):
            await anext(news)


@pytest.mark.parametrize("program", each_server())
async def test_a_script_is_sent_whole_where_the_server_does_not_know_it(program: str) -> None:
    async with serving_redis(program) as server, opened(server.url) as here:
        for _ in range(2):
            assert await here.client.run(ECHO, (), ("content",)) == [0, b"content"]
        await here.client._redis.script_flush()
        assert await here.client.run(ECHO, (), ("content",)) == [0, b"content"]


@pytest.mark.parametrize("program", each_server())
@pytest.mark.parametrize("asks_for_it", [False, True], ids=["Sentinel is open", "Sentinel wants the password"])
async def test_the_primary_is_found_by_sentinels_whether_they_want_the_password_or_not(
    program: str, asks_for_it: bool, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        port, sentinel_port = first.getsockname()[1], second.getsockname()[1]
    (tmp_path / "sentinel.conf").write_text(
        f"port {sentinel_port}\nunixsocket {tmp_path}/sentinel.sock\nsentinel monitor mymaster 127.0.0.1 {port} 1\n"
        f"sentinel auth-pass mymaster s3cret\n{'requirepass s3cret' if asks_for_it else ''}\n"
    )
    listening = ("--port", str(port), "--bind", "127.0.0.1", "--requirepass", "s3cret")
    async with serving_redis(program, *listening):
        conf = str(tmp_path / "sentinel.conf")
        sentinel = await asyncio.create_subprocess_exec(program, conf, "--sentinel", stdout=asyncio.subprocess.DEVNULL)
        try:
            for _ in range(500):
                if (tmp_path / "sentinel.sock").exists():
                    break
                await asyncio.sleep(0.01)
            client = RedisClient(f"redis+sentinel://127.0.0.1:{sentinel_port}/mymaster/1", "s3cret")
            unknown = RedisClient(f"redis+sentinel://127.0.0.1:{sentinel_port}/another", "s3cret")
            try:
                assert await client.run(ECHO, (), ("content",)) == [0, b"content"]
                with pytest.raises(Failure, match="no Sentinel knows its primary"):
                    await unknown.run(ECHO, (), ("content",))
            finally:
                await client.close()
                await unknown.close()
        finally:
            sentinel.kill()
            await sentinel.wait()


@pytest.mark.parametrize("left", [False, True], ids=["it goes on", "who asks leaves"])
@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("program", each_server())
async def test_what_is_under_way_at_the_end_leaves_no_connection(program: str, turns: int, left: bool) -> None:
    """It may be connecting just then; a leaked socket fails the run."""

    async def listen() -> None:
        async with aclosing(client.listen("test:news")) as news:
            await anext(news)
            await anext(news)

    async with serving_redis(program, "--requirepass", "s3cret") as server:
        client = RedisClient(server.url, "s3cret")
        asking = [asyncio.create_task(client.run(ECHO, (), ("content",))), asyncio.create_task(listen())]
        for _ in range(turns):
            await asyncio.sleep(0)
        if left:
            for each in asking:
                each.cancel()
        await client.close()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(each, Failure | asyncio.CancelledError | list) for each in outcomes)
        pool = client._redis.connection_pool
        assert not any(each.is_connected for each in [*pool._available_connections, *pool._in_use_connections])


async def test_nothing_is_connected_after_the_end() -> None:
    async with serving(echo) as peer:
        client = RedisClient(f"redis://127.0.0.1:{peer.port}")
        await client.close()
        with pytest.raises(Failure, match="can't be reached"):
            await client.run(ECHO, (), ("content",))
        assert not any(each.is_connected for each in client._redis.connection_pool._available_connections)
