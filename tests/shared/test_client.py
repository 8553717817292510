"""How the library's client is made, and what its errors mean."""

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
