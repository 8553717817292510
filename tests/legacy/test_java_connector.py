"""A connector in Java, with each of the two clients that Java brings along: see Connector.java."""

import shutil
from pathlib import Path

import pytest

from proxy.config import ClientConfig
from proxy.secret import Secret
from tests.legacy.programs import run
from tests.legacy.shops import assert_signed_in_with_tokens, legacy_shop
from tests.peers import Connection, response
from tests.proxies import whole_path

CONNECTOR = Path(__file__).with_name("Connector.java")
USER, PASSWORD = "connector", "old-connector-password"
CLIENTS = {USER: ClientConfig(secret=Secret(PASSWORD))}
SCOPES = frozenset({"product:read", "product:write", "file:write"})
# For a program that runs a second or two.
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


@pytest.fixture(autouse=True)
async def java_with_a_compiler() -> None:
    has_compiler = shutil.which("java") and "jdk.compiler@" in (await run("java", "--list-modules")).stdout
    if not has_compiler:
        pytest.skip("needs a JDK of Java 16 or newer; on Debian: apt-get install default-jdk-headless")


async def outcomes(port: int, client: str) -> dict[str, tuple[str, str]]:
    """What came of each step: the status, and the answer or the exception."""
    base = f"http://127.0.0.1:{port}/demo"
    ended = await run("java", *QUICK, CONNECTOR, base, USER, PASSWORD, client)
    assert (ended.status, ended.stderr) == (0, "")
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    return {name: (status, text) for name, status, text in lines}


@pytest.mark.parametrize("client", ["client", "connection"])
async def test_a_connector_that_shows_its_password_when_asked_works(tmp_path: Path, client: str) -> None:
    async with legacy_shop(tmp_path, clients=CLIENTS, scopes=SCOPES) as site:
        found = await outcomes(site.proxy.port, client)

    assert {step: status for step, (status, _) in found.items()} == {
        **{"list": "200", "follow": "200", "create": "201", "upload": "201"},
        **{"not permitted": "401", "no such shop": "404"},
    }
    assert "<sku><![CDATA[JAVA-1]]></sku>" in found["create"][1]
    assert "<size><![CDATA[5000000]]></size>" in found["upload"][1]
    assert "You have no permission for this operation!" in found["not permitted"][1]
    told = "There is no shop 'demo-not' here. The first part of the path must be a shop's name."
    assert f"<message>{told}</message>" in found["no such shop"][1]
    assert_signed_in_with_tokens(site, 2)  # another for what is not permitted


@pytest.mark.parametrize("client", ["client", "connection"])
async def test_a_401_of_the_platform_is_an_answer_and_no_wish_for_the_password(client: str) -> None:
    """Without a challenge the one would give up, with Basic both would send the password again and again."""

    async def refusing(connection: Connection) -> None:
        while received := await connection.read_request():
            challenge = b"" if received.head.startswith(b"GET") else b'WWW-Authenticate: Basic realm="api"\r\n'
            await connection.send(response(b"no", status=b"401 Unauthorized", fields=challenge))

    async with whole_path(refusing, clients=CLIENTS) as path:
        found = await outcomes(path.proxy.port, client)

    assert [found[step] for step in ("list", "create", "upload", "not permitted")] == [("401", "no")] * 4
    assert len(path.api.received) <= 8  # each of them with two tokens
