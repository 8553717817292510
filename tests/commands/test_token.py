"""`token SHOP`, as a process."""

from pathlib import Path

from tests.commands.configurations import SECRET, written
from tests.commands.processes import ran
from tests.peers import answering, response, serving, token_response
from tests.ports import free_port


async def test_the_token_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    async with serving(answering(token_response("token-for-curl"))) as tokens:
        url = f"http://127.0.0.1:{tokens.port}/{{shop}}/token"
        file = written(tmp_path / "config.toml", token_url=url, api_url="http://127.0.0.1:9/")
        ended = await ran("token", "demo", "--config", str(file))

    assert (ended.status, ended.stdout, ended.stderr) == (0, "token-for-curl\n", "")
    assert tokens.received[0].request_line == b"POST /demo/token HTTP/1.1"


async def test_a_refusal_is_told_on_stderr_with_the_platforms_words(tmp_path: Path) -> None:
    refusal = response(b'{"error":"invalid_client","hint":"Check it"}', status=b"401 Unauthorized")
    async with serving(answering(refusal)) as tokens:
        file = written(
            tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("token", "demo", "--config", str(file))

    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("shop-auth-proxy: demo: ")
    assert "invalid_client" in ended.stderr
    assert "Check it" in ended.stderr
    assert "compare client_id and client_secret of [shops.demo] with what the platform gave you" in ended.stderr
    assert SECRET not in ended.stderr


async def test_an_unknown_shop_is_told_with_the_known_ones(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/")
    for name in ("demmo", "Demo", "a.b"):
        ended = await ran("token", name, "--config", str(file))

        assert (ended.status, ended.stdout) == (2, "")
        assert ended.stderr == f"shop-auth-proxy: there is no shop '{name}' in the configuration (it has: demo)\n"


async def test_an_endpoint_that_can_not_be_reached_is_told_with_what_helps(tmp_path: Path) -> None:
    port = free_port()
    file = written(tmp_path / "config.toml", token_url=f"http://127.0.0.1:{port}/", api_url="http://127.0.0.1:9/")

    ended = await ran("token", "demo", "-c", str(file))

    assert (ended.status, ended.stdout) == (1, "")
    assert f"nothing listens on 127.0.0.1:{port}: are host and port right, and is it running?" in ended.stderr


async def test_a_wrong_configuration_ends_with_2(tmp_path: Path) -> None:
    ended = await ran("token", "demo", "--config", str(tmp_path / "missing.toml"))

    assert (ended.status, ended.stdout) == (2, "")
    assert "missing.toml" in ended.stderr
