"""`check`, as a process; and its table."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from proxy.commands.check import Finding, table
from tests.commands.configurations import SECRET, leading_here, written
from tests.commands.processes import ran
from tests.peers import Connection, answering, response, serving, token_response


def shop(name: str, platform: str = "mine") -> str:
    return f'[shops."{name}"]\nplatform = "{platform}"\nclient_id = "an-id"\nclient_secret = "{SECRET}"\n'


async def test_each_shop_is_asked_for_and_told_in_a_line(tmp_path: Path) -> None:
    async def endpoint(connection: Connection) -> None:
        while request := await connection.read_request():
            if request.request_line.startswith(b"POST /refused/"):
                body = b'{"error":"invalid_client","hint":"Check the `client_id` parameter"}'
                await connection.send(response(body, status=b"401 Unauthorized"))
            elif request.request_line.startswith(b"POST /scoped/"):
                await connection.send(response(b'{"access_token":"t","scope":"products orders"}'))
            else:
                await connection.send(token_response("the-token", expires_in=3600))

    async with serving(endpoint) as tokens, serving(answering(b"")) as closed:
        pass
    async with serving(endpoint) as tokens:
        elsewhere = f'[platforms.gone]\ntoken_url = "http://127.0.0.1:{closed.port}/"\napi_url = "https://a.example/"\n'
        file = written(
            tmp_path / "config.toml",
            shops=shop("refused")
            + shop("scoped")
            + shop("lost", "gone")
            + shop("*")
            + elsewhere
            + "allow_private = true\n",
            token_url=f"http://127.0.0.1:{tokens.port}/{{shop}}/token",
            api_url="http://127.0.0.1:9/",
        )
        ended = await ran("check", "--config", str(file))

    assert ended.stderr == ""
    assert ended.status == 1
    title, *lines = ended.stdout.splitlines()
    assert title == "The configuration is right: 4 shops by name."
    assert [line.split()[:3] for line in lines] == [
        ["demo", "mine", "granted"],
        ["refused", "mine", "refused"],
        ["scoped", "mine", "granted"],
        ["lost", "gone", "unreachable"],
        ["*", "mine", "not"],
    ]
    assert lines[0].endswith("granted      for 3600 s")
    assert "invalid_client" in lines[1]
    assert "Check the `client_id` parameter" in lines[1]
    assert "compare client_id and client_secret of [shops.refused] with what the platform gave you" in lines[1]
    assert lines[2].endswith("no lifetime given, scopes: products orders")
    assert f"127.0.0.1:{closed.port}" in lines[3]
    assert SECRET not in ended.stdout
    assert "the-token" not in ended.stdout


async def test_all_well_ends_with_0(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        file = written(
            tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("check", "--config", str(file))

    assert (ended.status, ended.stderr) == (0, "")


async def test_offline_asks_nobody(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        file = written(
            tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("check", "--offline", "--config", str(file))

    assert (ended.status, ended.stdout) == (0, "The configuration is right: 1 shop by name.\n")
    assert tokens.connections == 0


async def test_a_host_of_the_platform_that_leads_to_this_machine_is_told_beside_what_came_of_it(tmp_path: Path) -> None:
    ended = await ran("check", "--config", str(leading_here(tmp_path / "config.toml")))

    assert ended.status == 1
    assert ended.stderr.startswith("shop-auth-proxy: localhost resolves to ")
    assert ": remove it from " in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "demo  mine  unreachable" in ended.stdout


async def test_where_a_token_is_granted_such_a_host_is_a_problem_all_the_same(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        port = tokens.port  # at once the platform's and, by the configuration, the proxy's
        url = f"http://localhost:{port}/"
        file = written(tmp_path / "config.toml", port=port, token_url=url, api_url=url)
        ended = await ran("check", "--config", str(file))

    assert ended.status == 1
    assert ended.stderr.count("localhost resolves to ") == 1
    assert "demo  mine  granted" in ended.stdout


async def test_offline_resolves_nothing(tmp_path: Path) -> None:
    ended = await ran("check", "--offline", "--config", str(leading_here(tmp_path / "config.toml")))

    assert (ended.status, ended.stderr) == (0, "")


async def test_a_short_secret_of_a_client_is_told_but_not_the_secret(tmp_path: Path) -> None:
    clients = '[clients.erp]\nsecret = "short-one"\n[clients.feed]\nsecret = "long-enough-0123456789"\n'
    file = written(
        tmp_path / "config.toml", shops=clients, token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/"
    )

    ended = await ran("check", "--offline", "--config", str(file))

    assert ended.status == 0
    assert ended.stdout.splitlines()[1:] == [
        "The secret of client erp is short: 16 characters or more, made by chance, are better."
    ]
    assert "short-one" not in ended.stdout


async def test_eight_shops_are_asked_at_a_time(tmp_path: Path) -> None:
    waiting = 0
    most = 0
    eight_wait = asyncio.Event()

    async def endpoint(connection: Connection) -> None:
        nonlocal waiting, most
        while await connection.read_request():
            waiting += 1
            most = max(most, waiting)
            if waiting == 8:
                eight_wait.set()
            await eight_wait.wait()
            waiting -= 1
            await connection.send(token_response())

    async with serving(endpoint) as tokens:
        file = written(
            tmp_path / "config.toml",
            shops="".join(shop(f"shop-{number}") for number in range(19)),
            token_url=f"http://127.0.0.1:{tokens.port}/{{shop}}/",
            api_url="http://127.0.0.1:9/",
        )
        ended = await ran("check", "--config", str(file))

    assert ended.status == 0
    assert len(tokens.received) == 20
    assert most == 8


async def test_a_wrong_configuration_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[shops]\n")

    ended = await ran("check", "--config", str(file))

    assert (ended.status, ended.stdout) == (2, "")
    assert "[shops.NAME]" in ended.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colored"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colors_are_for_terminals_that_want_them(stream: io.StringIO, environ: dict[str, str], colored: bool) -> None:
    findings = [Finding("demo", "mine", True, "granted", "for 60 s"), Finding("b", "mine", False, "refused", "why")]

    lines = table(findings, environ, stream)

    assert ("\x1b[32m" in lines[0], "\x1b[31m" in lines[1]) == (colored, colored)
    plain = [line.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "") for line in lines]
    assert plain == ["demo  mine  granted  for 60 s", "b     mine  refused  why"]


@pytest.mark.parametrize(("ends", "warned"), [(timedelta(days=-1), True), (timedelta(days=1), False)])
async def test_a_certificate_that_has_expired_is_told_of(tmp_path: Path, ends: timedelta, warned: bool) -> None:
    now = datetime.now(UTC)
    leaf = trustme.CA().issue_cert("localhost", not_before=now - timedelta(days=2), not_after=now + ends)
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    file = tmp_path / "config.toml"
    file.write_text(
        '[server]\ntls = { certificate = "both.pem", private_key = "both.pem" }\n'
        f'[shops.demo]\nclient_id = "an-id"\nclient_secret = "{SECRET}"\n'
    )

    ended = await ran("check", "--offline", "--config", str(file))

    assert ended.status == 0
    assert ended.stderr == (
        "shop-auth-proxy: warning: server.tls: the certificate has expired, so that clients will refuse it\n"
        if warned
        else ""
    )
