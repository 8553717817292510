"""`check`, as a process."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.commands.configurations import SECRET, leading_here, written
from tests.commands.processes import ran
from tests.peers import Connection, answering, response, serving, token_response
from tests.redis_servers import each_server, serving_redis


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
    title, *told = ended.stdout.splitlines()
    assert title == 'The configuration is valid: 4 shops, and [shops."*"] for all others.'
    # Of a shop, what is found first is the token; between shops, the order is that of the answers.
    lines = {line.split()[0]: line for line in reversed(told)}
    assert {shop: line.split()[1:3] for shop, line in lines.items()} == {
        "demo": ["mine", "granted"],
        "refused": ["mine", "refused"],
        "scoped": ["mine", "granted"],
        "lost": ["gone", "unreachable"],
        "*": ["mine", "not"],
    }
    assert lines["demo"].endswith("granted      for 3600 s")
    assert "invalid_client" in lines["refused"]
    assert "Check the `client_id` parameter" in lines["refused"]
    assert "compare client_id and client_secret of [shops.refused] with what the platform gave you" in lines["refused"]
    assert lines["scoped"].endswith("no lifetime given, scopes: products orders")
    assert f"nothing listens on 127.0.0.1:{closed.port}" in lines["lost"]
    assert told[-1] == lines["*"]
    assert "Give your application" not in ended.stdout
    assert SECRET not in ended.stdout
    assert "the-token" not in ended.stdout


async def test_all_well_ends_with_0(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        file = written(
            tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("check", "--config", str(file))

    assert (ended.status, ended.stderr) == (0, "")
    assert "\nGive your application: http://localhost:PORT/demo/\n" in ended.stdout


async def test_offline_asks_nobody(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        file = written(
            tmp_path / "config.toml", token_url=f"http://127.0.0.1:{tokens.port}/", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("check", "--offline", "--config", str(file))

    assert (ended.status, ended.stdout) == (0, "The configuration is valid: 1 shop.\n")
    assert tokens.connections == 0


async def test_a_host_of_the_platform_that_leads_to_this_machine_is_told_beside_what_came_of_it(tmp_path: Path) -> None:
    ended = await ran("check", "--config", str(leading_here(tmp_path / "config.toml")))

    assert ended.status == 1
    assert ended.stderr.startswith("shop-auth-proxy: a platform's URL leads to localhost, which is this machine: ")
    assert "set allow_private = true" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "demo  mine  unreachable" in ended.stdout


async def test_where_a_token_is_granted_such_a_host_is_a_problem_all_the_same(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens:
        port = tokens.port  # at once the platform's and, by the configuration, the proxy's
        url = f"http://localhost:{port}/"
        file = written(tmp_path / "config.toml", port=port, token_url=url, api_url=url)
        ended = await ran("check", "--config", str(file))

    assert ended.status == 1
    assert ended.stderr.count("which is this proxy itself") == 1
    assert "demo  mine  granted" in ended.stdout


async def test_a_proxy_of_the_environment_that_does_not_count_is_told_where_the_way_is_closed(tmp_path: Path) -> None:
    closed = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/")
    environ = {"HTTPS_PROXY": "http://proxy.internal:3128"}
    told = "HTTPS_PROXY is set, but it only counts with upstream.trust_env = true: set that if it is the way out"

    assert told in (await ran("check", "--config", str(closed), environ=environ)).stderr
    assert told not in (await ran("check", "--config", str(closed))).stderr
    async with serving(answering(token_response())) as open_one:
        url = f"http://127.0.0.1:{open_one.port}/"
        file = written(tmp_path / "open.toml", token_url=url, api_url=url)
        ended = await ran("check", "--config", str(file), environ=environ)
    assert (ended.status, ended.stderr) == (0, "")


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
        "The secret of client erp is short: 16 characters or more, made at random, are better."
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


async def test_the_end_says_what_to_give_to_the_application(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        file = written(
            tmp_path / "config.toml",
            port=8081,
            token_url=f"http://127.0.0.1:{tokens.port}/",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        ended = await ran("check", "-c", str(file))

    assert (ended.status, ended.stderr) == (0, "")
    assert [line.split()[:3] for line in ended.stdout.splitlines()[1:3]] == [
        ["demo", "mine", "granted"],
        ["demo", "mine", "reached"],
    ]
    assert ended.stdout.splitlines()[3:] == ["", "Give your application: http://localhost:8081/demo/"]


@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("products?limit=1", b"GET /products?limit=1 HTTP/1.1"),
        ("/products", b"GET /products HTTP/1.1"),
        ("/demo/products", b"GET /products HTTP/1.1"),
        ("http://localhost:8080/demo/products", b"GET /products HTTP/1.1"),
        ("", b"GET / HTTP/1.1"),
    ],
)
async def test_a_real_call_is_made_where_it_is_asked_for(tmp_path: Path, path: str, called: bytes) -> None:
    no = response(b"no", status=b"404 Not Found")
    async with serving(answering(token_response())) as tokens, serving(answering(response(), no)) as api:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        ended = await ran("check", "--config", str(file), "--call", path)

    assert [request.request_line for request in api.received] == [b"GET / HTTP/1.1", called]
    assert ended.status == 1
    assert "status 404, 2 bytes of no Content-Type" in ended.stdout
    assert "the API says: no" in ended.stdout


@pytest.mark.parametrize("path", ["../x", "a b", "ő", "a#b", "a\nb"])
async def test_a_call_that_is_no_path_is_refused(tmp_path: Path, path: str) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/")

    ended = await ran("check", "--config", str(file), "--call", path)

    assert ended.status == 2
    assert ended.stderr == (
        "shop-auth-proxy: --call needs a path such as products?limit=1, without .. and with %20 for a space\n"
    )


async def test_a_secret_of_an_odd_shape_is_told_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    (tmp_path / "secret").write_text('client_secret = "s3cret-0123456789"\n')
    file.write_text('[shops.demo]\nclient_id = "0123456789abcdef"\nclient_secret = { file = "secret" }\n')

    ended = await ran("check", "--offline", "--config", str(file))

    assert ended.status == 0
    assert ended.stderr.splitlines() == [
        "shop-auth-proxy: warning: shops.demo.client_id: is the one from the example",
        "shop-auth-proxy: warning: shops.demo.client_secret: looks like an assignment: write only what comes after"
        " the = or :",
    ]


async def test_uploads_that_could_never_have_room_are_told_of(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/", api_url="http://127.0.0.1:9/")
    file.write_text(file.read_text().replace("[server]\n", "[server]\nspool_budget = 100_000_000\n"))
    ended = await ran("check", "--offline", "--config", str(file))

    assert (ended.status, ended.stderr) == (
        0,
        "shop-auth-proxy: warning: one client can use at most 50000000 bytes of disk space (server.spool_budget,"
        " server.max_share), so larger bodies are refused although upstream.max_body_size is 67108864: raise one of"
        " the former, or lower the latter\n",
    )


async def test_a_wrong_configuration_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[shops]\n")

    ended = await ran("check", "--config", str(file))

    assert (ended.status, ended.stdout) == (2, "")
    assert "[shops.NAME]" in ended.stderr


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
        "shop-auth-proxy: warning: server.tls: the certificate has expired, so clients will refuse it\n"
        if warned
        else ""
    )


@pytest.mark.parametrize("program", each_server())
async def test_what_replicas_share_is_tried_and_a_failure_has_its_mend(tmp_path: Path, program: str) -> None:
    async with serving(answering(token_response())) as tokens, serving_redis(program) as server:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url="http://127.0.0.1:9/",
            shops=f'[shared]\nurl = "{server.url}"\nplaintext = true\ncommand_timeout = 10\n',
        )
        well = await ran("check", "--config", str(file))
        server.kill()
        gone = await ran("check", "--config", str(file))

    assert (well.status, well.stderr) == (0, "")
    assert well.stdout.splitlines()[1].startswith("shared: ")
    assert "runs the scripts" in well.stdout
    assert gone.status == 1
    assert gone.stderr.startswith("shop-auth-proxy: shared: can't be reached: check the name and port in shared.url")
    assert "demo" in gone.stdout  # the shops are asked for all the same
