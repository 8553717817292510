"""`serve`, as a process."""

import asyncio
import base64
import json
import re
import signal
from pathlib import Path

import pytest

from tests.commands.configurations import SECRET, leading_here, written
from tests.commands.processes import Command, Terminal, ran, started
from tests.peers import Connection, answering, connected, request, response, serving, token_response


async def port_of(command: Command) -> int:
    event = json.loads(await command.line_with("proxy.started"))
    assert event["host"] == "127.0.0.1"
    return int(event["port"])


async def test_it_serves_until_sigterm_and_lets_requests_in_flight_finish(tmp_path: Path) -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await answer_now.wait()
        await connection.send(response(b"late but whole"))

    async with serving(answering(token_response())) as tokens, serving(slow) as api:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        async with started("serve", "--config", str(file)) as command, connected(await port_of(command)) as client:
            await client.send(b"GET /demo/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.wait()
            command.send_signal(signal.SIGTERM)
            await command.line_with("proxy.stopping")
            answer_now.set()

            answer = await client.read_answer()
            ended = await command.end()

    assert (answer.status, answer.body) == (200, b"late but whole")
    assert (ended.status, ended.stderr) == (0, "")
    assert "request.forwarded" in ended.stdout
    assert SECRET not in ended.stdout
    assert "token-1" not in ended.stdout


async def test_the_admin_port_shows_how_it_is_until_the_end(tmp_path: Path) -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        async with started("serve", "--config", str(file)) as command:
            port = await port_of(command)
            admin_port = json.loads(await command.line_with("admin.started"))["port"]
            async with connected(port) as client:
                await client.ask(b"GET /demo/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
            pages = ("/livez", "/readyz", "/readyz?shop=demo", "/metrics", "/status", "/status.json", "/status.css")
            answers = []
            for page in pages:
                async with connected(admin_port) as browser:
                    answers.append(await browser.ask(f"GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()))
            command.send_signal(signal.SIGTERM)
            ended = await command.end()

    assert [answer.status for answer in answers] == [200] * len(pages)
    assert b'shop_auth_proxy_requests_total{shop="demo",method="GET",status="2xx"} 1\n' in answers[3].body
    assert b"process_resident_memory_bytes" in answers[3].body
    assert all(SECRET.encode() not in answer.body for answer in answers)
    assert (ended.status, ended.stderr) == (0, "")


async def test_an_admin_port_that_is_taken_is_said_in_one_sentence_too(tmp_path: Path) -> None:
    async with serving(answering(b"")) as other:
        file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
        file.write_text(file.read_text().replace("[admin]\nport = 0", f"[admin]\nport = {other.port}"))
        ended = await ran("serve", "--config", str(file))

    assert ended.status == 2
    assert re.fullmatch(
        rf"shop-auth-proxy: admin\.host, admin\.port: can't listen on 127\.0\.0\.1 port {other.port}: .+;"
        r" choose another port, or set admin\.enabled = false\n",
        ended.stderr,
    )


async def test_sighup_has_it_use_what_is_in_the_files_now_and_hide_it_in_the_log(tmp_path: Path) -> None:
    new_secret = "the-new-s3cret-of-the-shop"
    refusal = json.dumps({"error": "invalid_client", "error_description": f"{new_secret} is wrong"}).encode()
    json_type = b"Content-Type: application/json\r\n"
    endpoint = answering(token_response(), response(refusal, status=b"401 Unauthorized", fields=json_type))
    async with serving(endpoint) as tokens, serving(answering(response())) as api:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        async with started("serve", "--config", str(file)) as command, connected(await port_of(command)) as client:
            assert (await client.ask(request())).status == 200
            file.write_text(file.read_text().replace(SECRET, new_secret))
            command.send_signal(signal.SIGHUP)
            told = json.loads(await command.line_with("configuration.reloaded"))
            answer = await client.ask(request())
            client.close()
            command.send_signal(signal.SIGTERM)
            ended = await command.end()

    assert (told["shops_changed"], told["needs_restart"]) == (["demo"], [])
    assert json.loads(answer.body)["code"] == "token_refused"
    assert new_secret in tokens.received[1].body.decode()
    assert "[hidden] is wrong" in ended.stdout
    assert new_secret not in ended.stdout + ended.stderr
    assert ended.status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    asked = asyncio.Event()

    async def silent(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await connection.read_request()

    async with serving(answering(token_response())) as tokens, serving(silent) as api:
        file = written(
            tmp_path / "config.toml",
            token_url=f"http://127.0.0.1:{tokens.port}/token",
            api_url=f"http://127.0.0.1:{api.port}/",
        )
        file.write_text(file.read_text().replace("[server]\n", "[server]\ndrain_timeout = 3600.0\n"))
        async with started("serve", "--config", str(file)) as command, connected(await port_of(command)) as client:
            await client.send(request())
            await asked.wait()
            command.send_signal(number)
            await command.line_with("proxy.stopping")
            command.send_signal(number)
            ended = await command.end()

    assert ended.status == -number
    assert ended.stderr == ""


async def test_sigint_ends_it_cleanly_too(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    async with started("serve", "--config", str(file)) as command:
        await port_of(command)
        command.send_signal(signal.SIGINT)

        ended = await command.end()

    assert (ended.status, ended.stderr) == (0, "")


async def test_one_shop_from_the_environment_needs_no_file(tmp_path: Path) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET + "\n")
    environ = {
        "SHOP_AUTH_PROXY_SHOP": "demo",
        "SHOP_AUTH_PROXY_CLIENT_ID": "demo-id",
        "SHOP_AUTH_PROXY_CLIENT_SECRET_FILE": str(secret_file),
        "SHOP_AUTH_PROXY_PORT": "0",
        "SHOP_AUTH_PROXY_ADMIN_PORT": "0",
    }
    async with started("serve", environ=environ) as command, connected(await port_of(command)) as client:
        answer = await client.ask(b"GET /another/products HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.status == 404
    assert b"<code>unknown_shop</code>" in answer.body  # as Shoprenter answers unless it is asked for JSON


async def test_one_client_from_the_environment_is_all_that_may_call(tmp_path: Path) -> None:
    password = "short-one"
    environ = {
        "SHOP_AUTH_PROXY_SHOP": "demo",
        "SHOP_AUTH_PROXY_CLIENT_ID": "demo-id",
        "SHOP_AUTH_PROXY_CLIENT_SECRET": SECRET,
        "SHOP_AUTH_PROXY_PORT": "0",
        "SHOP_AUTH_PROXY_CLIENT_NAME": "erp",
        "SHOP_AUTH_PROXY_CLIENT_PASSWORD": password,
    }
    async with started("serve", environ=environ) as command, connected(await port_of(command)) as client:
        statuses = []
        for user in ("erp:short-one", "erp:wrong", "short-one:"):
            credentials = base64.b64encode(user.encode())
            answer = await client.ask(request(target=b"/another/", fields=b"Authorization: Basic %s\r\n" % credentials))
            statuses.append(answer.status)
        client.close()
        command.send_signal(signal.SIGTERM)
        ended = await command.end()

    assert statuses == [404, 401, 401]
    assert '"event":"client.short_secret","client":"erp"' in ended.stdout
    assert '"who_may_call":"1 client with credentials"' in ended.stdout
    assert password not in ended.stdout + ended.stderr


async def test_a_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path) -> None:
    async with serving(answering(b"")) as other:
        file = written(
            tmp_path / "config.toml", port=other.port, token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/"
        )
        ended = await ran("serve", "--config", str(file))

    assert ended.status == 2
    assert re.fullmatch(
        rf"shop-auth-proxy: server\.host, server\.port: can't listen on 127\.0\.0\.1 port {other.port}: .+\n",
        ended.stderr,
    )


async def test_it_does_not_start_where_its_own_calls_would_come_back_to_it(tmp_path: Path) -> None:
    ended = await ran("serve", "--config", str(leading_here(tmp_path / "config.toml")))

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr == (
        "shop-auth-proxy: a platform's URL leads to localhost, which is this machine: if the platform runs here,"
        " set allow_private = true in its [platforms.NAME]; if not, write its own host name in token_url and"
        " api_url\n"
    )


async def test_a_platform_of_ones_own_on_this_machine_may_not_be_the_listener_itself(tmp_path: Path) -> None:
    async with serving(answering(b"")) as other:
        port = other.port
    url = f"http://localhost:{port}/"
    file = written(tmp_path / "config.toml", port=port, token_url="http://localhost:9/", api_url=url)

    ended = await ran("serve", "--config", str(file))

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"shop-auth-proxy: a platform's URL leads to localhost port {port}, which is this ")


async def test_elsewhere_on_this_machine_it_may_be_under_a_name(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", token_url="http://localhost:9/t", api_url="http://localhost:9/")
    async with started("serve", "--config", str(file)) as command:
        await port_of(command)
        command.send_signal(signal.SIGTERM)

        ended = await command.end()

    assert (ended.status, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[shops.demo]\nclient_id = "x"\n', "  line 1: shops.demo.client_secret: is missing"),
        ("[shops.demo\n", "  line 1: not TOML: the closing ]"),
    ],
)
async def test_a_wrong_configuration_ends_with_2_and_its_problems(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)

    ended = await ran("serve", "--config", str(file))

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"shop-auth-proxy: the configuration has a problem (file {file}):\n")
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr


def test_at_a_terminal_it_greets_with_what_to_call_and_to_look_at_and_logs_for_people(tmp_path: Path) -> None:
    written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    command = Terminal("serve", directory=tmp_path)
    command.wait_for("Ctrl-C stops it.")
    status = command.end("\x03")

    assert status == 0
    assert re.search(r"^Your application calls  http://localhost:[1-9]\d*/demo/$", command.shown, re.MULTILINE)
    assert re.search(r"^Status page             http://localhost:[1-9]\d*/status$", command.shown, re.MULTILINE)
    assert '"event"' not in command.shown
    assert re.search(r"proxy\.stopped", command.shown)


@pytest.mark.parametrize(("log_format", "is_json"), [("auto", True), ("json", True), ("console", False)])
async def test_elsewhere_the_log_is_json_unless_the_configuration_says_otherwise(
    tmp_path: Path, log_format: str, is_json: bool
) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    file.write_text(file.read_text().replace("[logging]\n", f'[logging]\nformat = "{log_format}"\n'))
    async with started("serve", environ={"SHOP_AUTH_PROXY_CONFIG": str(file)}) as command:
        line = await command.line_with("proxy.started")
        command.send_signal(signal.SIGTERM)
        ended = await command.end()

    assert line.startswith("{") == is_json
    assert "Your application calls" not in ended.stdout
    assert (ended.status, ended.stderr) == (0, "")
