"""`serve` at every log level and in every format, through every error there is: no secret comes out anywhere."""

import asyncio
import base64
import json
import signal
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Final
from urllib.parse import quote

from proxy.errors import ProxyError
from tests.commands.processes import listening, started
from tests.peers import CHUNKED, Answer, Connection, connected, request, response, serving
from tests.ports import free_port

SHOP_TEXT, SHOP_FILE, SHOP_ENV = "Sh0p/Text+a%b=1", "Sh0p/File+a%b=2", "Sh0p/Env+a%b=3"
ERP_TEXT, CRM_FILE, FEED_ENV = "Cl1ent/Text+a:b%c=4", "Cl1ent/File+a:b%c=5", "Cl1ent/Env+a:b%c=6"
HASHED: Final = "Cl1ent/Hashed+a:b%c=7"
TOKEN: Final = "T0ken-of-the-shop/+._~8=="
SECRETS: Final = (SHOP_TEXT, SHOP_FILE, SHOP_ENV, ERP_TEXT, CRM_FILE, FEED_ENV, HASHED, TOKEN)
CLIENTS: Final = {"erp": ERP_TEXT, "crm": CRM_FILE, "feed": FEED_ENV, "hashed": HASHED}

CONFIGURATION: Final = """
[server]
port = {port}
max_requests = 2
max_share = 1.0
header_timeout = 1.0
drain_timeout = 0.1
[admin]
port = 0
[upstream]
read_timeout = 0.5
max_body_size = 3000000
[tokens]
fetch_timeout = 0.5
[pacing]
max_wait = 0.1
[logging]
level = "{level}"
format = "{format}"
[clients.erp]
secret = "{ERP_TEXT}"
[clients.crm]
secret = {{ file = "crm" }}
shops = ["demo"]
[clients.feed]
secret = {{ env = "FEED" }}
[clients.hashed]
secret_sha256 = "{digest}"
"""
SHOP: Final = """
[shops.{name}]
platform = "{name}"
client_id = "{name}-id"
client_secret = {secret}
[platforms.{name}]
token_url = "http://127.0.0.1:{tokens}/{token_path}"
token_request = "{form}"
api_url = "http://127.0.0.1:{api}/api/"
allow_private = true
{more}
"""


def forms(secret: str) -> list[str]:
    """How a secret may be written: as it is, percent-encoded, in Base64 alone or as HTTP Basic has it."""
    plain = [secret, *(f"{name}:{secret}" for name in (*CLIENTS, "demo-id", "refused-id", "garbage-id"))]
    packed = [
        encode(each.encode()).decode() for each in plain for encode in (base64.b64encode, base64.urlsafe_b64encode)
    ]
    escaped = [quote(secret, safe=""), quote(secret, safe="/"), quote(secret, safe="").lower()]
    return [secret, json.dumps(secret)[1:-1], *(each.rstrip("=") for each in packed), *escaped]


def basic(user: str, password: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"


def bearer(secret: str) -> bytes:
    return b"Authorization: Bearer " + secret.encode() + b"\r\n"


async def tokens(connection: Connection) -> None:
    """A token endpoint that tells whoever asks all that it was told."""
    while asked := await connection.read_request():
        told = asked.body + b" " + asked.head
        match asked.request_line.split()[1]:
            case b"/granted":
                body = b'{"access_token": "%s", "token_type": "Bearer", "expires_in": 3600}' % TOKEN.encode()
                await connection.send(response(body, fields=b"Content-Type: application/json\r\n"))
            case b"/refused":
                error = json.dumps({"error": "invalid_client", "error_description": told.decode()})
                await connection.send(response(error.encode(), status=b"401 Unauthorized"))
            case b"/garbage":
                await connection.send(response(b"<html>" + told, status=b"200 " + SHOP_ENV.encode()))
            case _:
                await connection.reader.read()


class Api:
    """An API that does what the path says. `via` is what the proxy calls itself."""

    def __init__(self) -> None:
        self.via = b""
        self.asked_at_last = asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        while asked := await connection.read_request():
            self.via = asked.values(b"Via")[-1]
            match asked.request_line.split()[1].partition(b"?")[0]:
                case b"/api/silent":
                    await connection.reader.read()
                case b"/api/silent/last":
                    self.asked_at_last.set()
                    await connection.reader.read()
                case b"/api/broken":
                    await connection.send(b"HTTP/1.1 2x0 " + TOKEN.encode() + b"\r\nX: " + asked.head + b"\r\n\r\n")
                case b"/api/unauthorized":
                    await connection.send(response(b'{"error": 40101}', status=b"401 Unauthorized"))
                case b"/api/cut":
                    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                    return
                case _:
                    await connection.send(response(b"ok"))


@dataclass
class Served:
    """A proxy as a process, and all that its clients were told."""

    port: int
    directory: Path
    api: Api
    told: list[bytes] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)

    async def ask(self, sent: bytes) -> None:
        async with connected(self.port) as client:
            await client.send(sent)
            self.note(await client.read_answer())

    def note(self, answer: Answer) -> None:
        self.told += [answer.head, answer.body]
        if answer.values(b"Proxy-Status"):
            self.codes.add(json.loads(answer.body)["code"])

    async def go_through_everything(self) -> None:
        own = bearer(ERP_TEXT)
        await self._ask_in_vain()
        await self._ask_with_secrets_in_odd_places(own)
        for target in (b"/demo/unauthorized", b"/nobody/x", b"/refused/x", b"/garbage/x", b"/silent/x", b"/gone/x"):
            await self.ask(request(target=target, fields=own))
        for target in (b"/demo/broken", b"/paced/x", b"/paced/x", b"/demo/../x", b"/demo/" + b"x" * 20_000):
            await self.ask(request(target=target, fields=own))
        await self.ask(request(target=b"/demo/x", fields=own + b"Expect: " + ERP_TEXT.encode() + b"\r\n"))
        await self.ask(request(target=b"/demo/x", fields=own + b"Via: " + self.api.via + b"\r\n"))
        await self.ask(request(b"PUT", fields=own + b"Content-Length: 9000000\r\n"))
        await self.ask(request(b"TRACE", fields=own))
        await self.ask(request(fields=own).removesuffix(b"\r\n"))  # 408
        async with connected(self.port) as first, connected(self.port) as second:
            for client in (first, second):
                await client.send(request(target=b"/demo/silent", fields=own))
            await self.until_overloaded(own)
            for client in (first, second):
                self.note(await client.read_answer())
        await self.ask(request(target=b"/demo/cut", fields=own, version=b"1.0").replace(b"/cut", b"/x"))
        await self._upload_where_there_is_no_room(own)

    async def until_overloaded(self, own: bytes) -> None:
        while "overloaded" not in self.codes:
            await self.ask(request(target=b"/demo/x", fields=own))

    async def _ask_in_vain(self) -> None:
        for user, secret in CLIENTS.items():
            await self.ask(request(target=b"/hidden/x", fields=basic(user, secret)))
            await self.ask(request(fields=basic(secret, "")))
            await self.ask(request(fields=basic(secret, secret)))
            await self.ask(request(fields=basic(f"{user}x", secret)))
            await self.ask(request(fields=bearer(f"{user}:{secret}")))
            await self.ask(request(fields=b"Authorization: " + secret.encode() + b"\r\n"))
            await self.ask(request(fields=b"Authorization: Digest username=" + secret.encode() + b"\r\n"))
            await self.ask(request(fields=b"Proxy-" + bearer(secret) + b"Cookie: s=" + secret.encode() + b"\r\n"))

    async def _ask_with_secrets_in_odd_places(self, own: bytes) -> None:
        for secret in (*CLIENTS.values(), SHOP_TEXT, SHOP_FILE, SHOP_ENV, TOKEN):
            raw, escaped = secret.encode(), quote(secret, safe="").encode()
            places = [raw, escaped] if secret != HASHED else []  # what is known by its digest alone can't be found
            for place in places:
                await self.ask(request(target=b"/demo/" + place, fields=own))
                await self.ask(request(target=b"/demo/x?key=" + place + b"&auth=" + base64.b64encode(raw), fields=own))
                await self.ask(request(target=b"/demo/unauthorized/" + place, fields=own))
                await self.ask(request(target=b"/" + place + b"/x", fields=own))
                await self.ask(request(target=b"http://" + place + b"@127.0.0.1/demo/x", fields=own))
            await self.ask(request(fields=own + b"X-Key: " + raw + b"\r\nReferer: http://x/" + escaped + b"\r\n"))
            await self.ask(request(fields=own + b"X-Key : " + raw + b"\r\n"))
            await self.ask(request(fields=own + b"X-Key: " + raw + b"\0\r\n"))
            await self.ask(request(raw, fields=own))
            await self.ask(request(fields=own, version=raw))
            await self.ask(raw + b"\r\n\r\n")
            await self.ask(request(b"POST", fields=own, body=b'{"password": "' + raw + b'"}'))
            await self.ask(request(b"POST", fields=own + CHUNKED) + raw + b"\r\n")
            await self.ask(request(b"POST", fields=own + b"Content-Length: " + raw + b"\r\n"))

    async def _upload_where_there_is_no_room(self, own: bytes) -> None:
        large = request(b"PUT", fields=own, body=ERP_TEXT.encode() * 100_000)
        await self.ask(large)
        (self.directory / "temporary").rmdir()  # empty, or this fails
        await self.ask(large)


def written(directory: Path, port: int, level: str, log_format: str, tokens_port: int, api_port: int) -> Path:
    digest = sha256(HASHED.encode()).hexdigest()
    text = CONFIGURATION.format(port=port, level=level, format=log_format, ERP_TEXT=ERP_TEXT, digest=digest)
    nowhere = 9
    shops = [
        ("demo", f'"{SHOP_TEXT}"', "granted", "form", api_port, ""),
        ("refused", '{ file = "shop" }', "refused", "basic", api_port, ""),
        ("garbage", '{ env = "SHOP" }', "garbage", "json", api_port, ""),
        ("silent", f'"{SHOP_TEXT}"', "silent", "basic", api_port, ""),
        ("gone", f'"{SHOP_TEXT}"', "granted", "basic", nowhere, ""),
        ("paced", f'"{SHOP_TEXT}"', "granted", "basic", api_port, "rate_limit = { requests = 1, per = 60.0 }"),
    ]
    for name, secret, token_path, form, api, more in shops:
        text += SHOP.format(
            name=name, secret=secret, token_path=token_path, form=form, api=api, more=more, tokens=tokens_port
        )
    (directory / "temporary").mkdir(parents=True)
    (directory / "crm").write_text(CRM_FILE + "\n")
    (directory / "shop").write_text(SHOP_FILE + "\n")
    file = directory / "config.toml"
    file.write_text(text)
    return file


async def all_that_comes_out(directory: Path, level: str, log_format: str) -> tuple[Served, str]:
    """Run `serve` through everything, and return what its clients were told, and its output."""
    port = free_port()
    api = Api()
    async with serving(tokens) as token_peer, serving(api) as api_peer:
        file = written(directory, port, level, log_format, token_peer.port, api_peer.port)
        environ = {"SHOP": SHOP_ENV, "FEED": FEED_ENV, "TMPDIR": str(directory / "temporary")}
        async with started("serve", "--config", str(file), environ=environ) as command:
            await listening(port)
            served = Served(port, directory, api)
            await served.go_through_everything()
            async with connected(port) as client:
                await client.send(request(target=b"/demo/silent/last", fields=bearer(ERP_TEXT)))
                await api.asked_at_last.wait()
                command.send_signal(signal.SIGTERM)
                served.note(await client.read_answer())
            ended = await command.end()
    assert ended.status == 0
    return served, ended.stdout + ended.stderr


def kinds_of_errors(kind: type[ProxyError] = ProxyError) -> set[str]:
    codes = {kind.code} if hasattr(kind, "code") else set()
    return codes.union(*map(kinds_of_errors, kind.__subclasses__()))


async def test_no_secret_comes_out_at_any_level_in_any_format_after_any_error(tmp_path: Path) -> None:
    levels, formats = ("debug", "info", "warning", "error"), ("json", "console")
    runs = list(product(levels, formats))
    results = await asyncio.gather(*(all_that_comes_out(tmp_path / f"{a}-{b}", a, b) for a, b in runs))

    for (level, log_format), (served, output) in zip(runs, results, strict=True):
        # One client and shop may have all here, and of mistakes of our own none is known; what they are told of these
        # has no words but those of our own.
        untold = {"client_overloaded", "shop_overloaded", "internal"}
        assert served.codes == kinds_of_errors() - untold, (level, log_format)
        assert ("request.refused" in output) == (level != "error")
        everything = output + b"\n".join(served.told).decode("latin-1")
        found = [form for secret in SECRETS for form in forms(secret) if form in everything]
        assert found == [], (level, log_format)
