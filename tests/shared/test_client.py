"""How the library's client is made, and what its errors mean."""

import asyncio
import socket
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from proxy.shared.client import Failure, RedisClient, failure
from proxy.shared.scripts import Script
from tests.redis_servers import each_server, serving_redis
from tests.shared.stores import opened

ECHO = Script("echo", "return {0, ARGV[1]}")


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        (ReadOnlyError("You can't write against a read only replica."), "read-only replica"),
        (NoPermissionError("this user has no permissions to run s3cret"), "the user may not"),
        (RedisConnectionError("Error 111 connecting to s3cret"), "can't be reached"),
        (ResponseError("unknown command 's3cret'"), "answered with an error (ResponseError)"),
        (ConnectionRefusedError("s3cret"), "can't be reached"),
        (PermissionError("s3cret"), "its socket may not be opened"),
        (ResponseError("DB index is out of range"), "no database of that number"),
        (MasterNotFoundError("s3cret"), "no Sentinel tells its primary"),
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


@pytest.mark.parametrize("program", each_server())
async def test_the_password_may_come_apart_from_the_url(program: str) -> None:
    async with serving_redis(program, "--requirepass", "s3cret-of-redis") as server:
        for password, works in (("s3cret-of-redis", True), ("another", False), (None, False)):
            client = RedisClient(server.url, password)
            try:
                if works:
                    assert await client.run(ECHO, (), ("content",)) == [0, b"content"]
                else:
                    with pytest.raises(Failure, match=r"wants a password"):
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
                with pytest.raises(Failure, match="no Sentinel tells its primary"):
                    await unknown.run(ECHO, (), ("content",))
            finally:
                await client.close()
                await unknown.close()
        finally:
            sentinel.kill()
            await sentinel.wait()


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("program", each_server())
async def test_a_command_that_is_under_way_at_the_end_leaves_no_connection(program: str, turns: int) -> None:
    """It may be connecting just then; a leaked socket fails the run."""
    async with serving_redis(program) as server:
        client = RedisClient(server.url)
        asking = asyncio.create_task(client.run(ECHO, (), ("content",)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.close()
        await asyncio.wait([asking])
        assert asking.exception() is None or isinstance(asking.exception(), Failure)
        assert not any(each.is_connected for each in client._redis.connection_pool._available_connections)
