"""Another configuration while the proxy runs: each kind of change, in real files, as clients and platforms see it."""

import asyncio
import base64
import gc
import os
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.app import reloading
from proxy.app.connections import Connections
from proxy.config import Config, load_config
from tests.app.reloadable import Files, client, reloadable, shop
from tests.peers import Connection, connected, request, response


@pytest.fixture(autouse=True)
def files_rest_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "_AT_REST", 0.03)  # so long may pass between two writes


# Secrets


async def test_a_changed_secret_is_used_for_the_next_token(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        await here.ask()
        here.files.put("secret", "the-second\n")
        told = await here.reloaded()
        tokens_before = len(here.tokens.received)
        await here.ask()

        assert (told["event"], told["shops_changed"]) == ("configuration.reloaded", ["demo"])
        assert tokens_before == 1  # nobody has called meanwhile
        assert here.tokens_seen == [b"Bearer token-for-first", b"Bearer token-for-the-second"]
        assert here.proxy.running.process.reloads == {"successful": 1}


async def test_a_secret_that_was_refused_is_left_behind_at_once(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        here.files.put("secret", "wrong")
        await here.reloaded()
        assert await here.statuses("/demo/", "/demo/") == [502, 502]
        assert len(here.tokens.received) == 1  # the endpoint is left alone for a while
        here.files.put("secret", "right-one")
        await here.reloaded()
        assert await here.statuses("/demo/") == [200]


async def test_a_secret_that_kubernetes_swaps_by_a_symbolic_link_is_found(tmp_path: Path) -> None:
    for version, secret in ("..1", "from-link-1"), ("..2", "from-link-2"):
        (tmp_path / "mount" / version).mkdir(parents=True)
        (tmp_path / "mount" / version / "secret").write_text(secret)
    (tmp_path / "mount" / "..data").symlink_to("..1")
    (tmp_path / "mount" / "secret").symlink_to("..data/secret")

    def configure(files: Files) -> None:
        files.configure(shop("demo", secret='{ file = "mount/secret" }'))

    async with reloadable(tmp_path, configure) as here:
        await here.ask()
        (tmp_path / "mount" / "..data_tmp").symlink_to("..2")
        os.replace(tmp_path / "mount" / "..data_tmp", tmp_path / "mount" / "..data")
        await here.reloaded()
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-from-link-1", b"Bearer token-for-from-link-2"]


async def test_a_secret_that_vanishes_changes_nothing_until_it_is_back(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        (tmp_path / "secret").unlink()
        told = await here.reloaded()
        assert told["event"] == "configuration.not_reloaded"
        [problem] = told["problems"]
        assert problem.endswith(f": shops.demo.client_secret: the file {tmp_path / 'secret'} does not exist")
        assert problem.startswith("line ")
        assert await here.statuses("/demo/") == [200]
        here.files.put("secret", "back-again")
        assert (await here.reloaded())["event"] == "configuration.reloaded"
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-first", b"Bearer token-for-back-again"]


async def test_new_secrets_are_known_to_who_hides_them_before_they_are_used(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        here.files.put("secret", "the-second")
        await here.reloaded()

        [learned] = here.learned
        assert [each.client_secret.reveal() for each in learned.shops.all_credentials()] == ["the-second"]


# Shops, clients, limits


async def test_shops_come_go_and_change_and_the_others_keep_token_and_connection(tmp_path: Path) -> None:
    def configure(files: Files) -> None:
        files.configure(shop("demo"), shop("old"), shop("alias"))

    async with reloadable(tmp_path, configure) as here, connected(here.proxy.port) as kept:
        assert (await kept.ask(request())).status == 200
        assert await here.statuses("/old/", "/new/") == [200, 404]
        here.files.configure(shop("demo"), shop("new"), shop("alias", more='shop_name = "other"'), shop('"*"'))
        told = await here.reloaded()
        granted = len(here.tokens.received)
        assert (await kept.ask(request())).status == 200

        assert told["shops_added"] == ["*", "new"]
        assert (told["shops_removed"], told["shops_changed"]) == (["old"], ["alias"])
        assert len(here.tokens.received) == granted
        assert here.api.connections == 1
        here.files.configure(shop("demo"))
        await here.reloaded()
        assert await here.statuses("/demo/", "/old/", "/new/") == [200, 404, 404]


async def test_a_platform_that_changes_is_called_where_it_is_now(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        here.files.api += "v2/"
        here.files.configure()
        assert (await here.reloaded())["shops_changed"] == ["demo"]
        await here.ask()

        assert here.api.received[0].request_line == b"GET /api/v2/x HTTP/1.1"


async def test_the_pace_of_a_shop_goes_on(tmp_path: Path) -> None:
    once = "rate_limit = { requests = 1, per = 3600.0 }"
    impatient = "[pacing]\nmax_wait = 0.01\n"

    def configure(files: Files) -> None:
        files.configure(shop("demo"), "[pacing]\nmax_wait = 7200.0\n", platform=once)

    async with reloadable(tmp_path, configure) as here:
        assert await here.statuses("/demo/") == [200]
        here.files.configure(shop("demo"), impatient, shop("new"), platform=once)
        await here.reloaded()
        assert await here.statuses("/demo/", "/new/") == [503, 200]
        here.files.configure(shop("demo"), impatient, platform="rate_limit = { requests = 2, per = 3600.0 }")
        await here.reloaded()
        assert await here.statuses("/demo/", "/demo/") == [200, 503]  # the first one still counts


async def test_a_request_in_flight_ends_as_it_began(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here, connected(here.proxy.port) as uploading:
        await uploading.send(request(b"PUT", fields=b"Content-Length: 4\r\n") + b"ab")
        assert await here.statuses("/nobody/") == [404]  # the beginning is read by now
        here.files.configure(shop("other"), server="max_requests = 1")
        await here.reloaded()
        await uploading.send(b"cd")
        assert (await uploading.read_answer()).status == 200
        assert (await uploading.ask(request())).status == 404

    assert [each.body for each in here.api.received] == [b"abcd"]


def basic(name: str, secret: str) -> bytes:
    return b"Authorization: Basic %s\r\n" % base64.b64encode(f"{name}:{secret}".encode())


async def test_a_clients_password_is_rotated_without_a_gap(tmp_path: Path) -> None:
    old, new = ("erp", "the-old-password-of-it"), ("erp-2", "the-new-password-of-it")
    versions = [[old], [old, new], [new]]

    def configure(files: Files) -> None:
        files.configure(shop("demo"), client(*old))

    async with reloadable(tmp_path, configure) as here:
        statuses = []
        for number, version in enumerate(versions):
            if number:
                here.files.configure(shop("demo"), *(client(*each) for each in version))
                await here.reloaded()
            statuses.append([(await here.ask(fields=basic(*each))).status for each in (old, new)])

    assert statuses == [[200, 401], [200, 200], [401, 200]]


async def test_the_password_of_a_client_changes(tmp_path: Path) -> None:
    def configure(files: Files) -> None:
        files.configure(shop("demo"), client("erp", "the-old-password-of-it"))

    async with reloadable(tmp_path, configure) as here:
        here.files.configure(shop("demo"), client("erp", "another-password-for-it"))
        assert (await here.reloaded())["clients_changed"] == ["erp"]
        passwords = ("the-old-password-of-it", "another-password-for-it")
        statuses = [(await here.ask(fields=basic("erp", password))).status for password in passwords]

    assert statuses == [401, 200]


async def test_limits_hold_from_the_next_request_on(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here, connected(here.proxy.port) as kept:
        large, long = request(b"PUT", body=b"x" * 2000), request(fields=b"A: %s\r\n" % (b"a" * 1500))
        assert (await kept.ask(large)).status == 200
        assert (await kept.ask(long)).status == 200
        here.files.configure(shop("demo"), "[upstream]\nmax_body_size = 1000", server="max_header_size = 1024")
        await here.reloaded()
        assert (await kept.ask(long)).status == 431
        async with connected(here.proxy.port) as another:
            assert (await another.ask(large)).status == 413

        here.files.configure(server="max_connections = 1")
        await here.reloaded()
        async with connected(here.proxy.port) as displaced, connected(here.proxy.port) as last:
            assert (await last.ask(request())).status == 200
            assert (await displaced.read_to_end())[0] == b""


# Certificates


def certified(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


async def test_another_content_of_the_ca_file_is_trusted(tmp_path: Path) -> None:
    authority, another = trustme.CA(), trustme.CA()
    another.cert_pem.write_to_path(tmp_path / "ca.pem")

    def configure(files: Files) -> None:
        files.configure(shop("before"), shop("demo"), '[upstream]\nca_file = "ca.pem"')

    async with reloadable(tmp_path, configure, tls=certified(authority)) as here:
        assert await here.statuses("/before/") == [502]
        authority.cert_pem.write_to_path(tmp_path / "ca.pem", append=True)
        assert (await here.reloaded())["event"] == "configuration.reloaded"
        assert await here.statuses("/demo/", "/demo/") == [200, 200]
        (tmp_path / "ca.pem").write_text("-----BEGIN")
        assert (await here.reloaded())["event"] == "configuration.not_reloaded"
        assert await here.statuses("/demo/") == [200]

        assert here.api.connections == 1
        assert len(here.tokens.received) == 1


async def test_connections_of_before_are_closed_when_nobody_needs_them_any_more(tmp_path: Path) -> None:
    """Each change of the authorities makes other connections: they leave nothing behind, and break no request."""
    authority = trustme.CA()
    certificate, other = (each.cert_pem.bytes().decode() for each in (authority, trustme.CA()))

    def configure(files: Files) -> None:
        files.put("ca.pem", certificate)
        files.configure(shop("demo"), '[upstream]\nca_file = "ca.pem"')

    async def slow(connection: Connection) -> None:
        while (received := await connection.read_request()) is not None:
            if b"/slow" in received.request_line:
                asked.set()
                await go_on.wait()
            await connection.send(response())

    async def until_there_are(number: int, kind: type, others: int) -> None:
        while count(kind) != others + number:  # noqa: ASYNC110 - what is let go of tells nobody
            await asyncio.sleep(0.01)

    asked, go_on = asyncio.Event(), asyncio.Event()
    held = [alive(kind) for kind in (Connections, ssl.SSLContext)]  # by other tests, and here from now on
    others, contexts = map(len, held)
    async with reloadable(tmp_path, configure, tls=certified(authority)) as here, connected(here.proxy.port) as client:
        here.api.script = slow
        await client.send(request(target=b"/demo/slow"))
        await asked.wait()
        for number in range(10):
            here.files.put("ca.pem", f"{certificate}{other}# {number}")
            assert (await here.reloaded())["event"] == "configuration.reloaded"
        assert await here.statuses("/demo/") == [200]
        await until_there_are(2, Connections, others)  # those of now, and of the request in flight
        go_on.set()
        assert (await client.read_answer()).status == 200
        await until_there_are(1, Connections, others)
        await until_there_are(2, ssl.SSLContext, contexts)  # one of them is the platform's

    assert len(here.tokens.received) == 1  # the token is still good


def alive(kind: type) -> list[object]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


def count(kind: type) -> int:
    return len(alive(kind))


async def test_another_certificate_by_another_path_is_shown_to_clients(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    tls = []
    for name in ("one", "two"):
        leaf = authority.issue_cert("localhost", common_name=name)
        leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        tls.append(f'tls = {{ certificate = "{name}.pem", private_key = "{name}.pem" }}')

    async def shown(port: int) -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        subject = writer.get_extra_info("peercert")["subject"]
        writer.transport.abort()
        return str(dict(part[0] for part in subject)["commonName"])

    async with reloadable(tmp_path, lambda files: files.configure(server=tls[0])) as here:
        names = [await shown(here.proxy.port)]
        here.files.configure(server=tls[1])
        assert (await here.reloaded())["needs_restart"] == ()
        names.append(await shown(here.proxy.port))
        here.files.configure()
        await here.reloaded()
        assert await here.statuses("/demo/") == [200]  # without TLS

    assert names == ["one", "two"]


# What is not taken


async def test_a_broken_file_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        await here.ask()
        whole = here.files.config.read_text()
        here.files.put("config.toml", whole + "[shops.new\n")
        told = await here.reloaded()
        assert (told["event"], told["level"]) == ("configuration.not_reloaded", "error")
        assert ": not TOML: the closing ] after the name of the table is missing" in told["problems"][0]
        assert await here.statuses("/demo/", "/new/") == [200, 404]
        here.files.put("config.toml", whole + shop("new"))
        assert (await here.reloaded())["shops_added"] == ["new"]
        assert await here.statuses("/demo/", "/new/") == [200, 200]

        process = here.proxy.running.process
        assert process.reloads == {"failed": 1, "successful": 1}
        assert process.last_reload_successful


async def test_a_broken_file_is_complained_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    look = reloading._stamps

    def look_and_tell(files: Iterable[Path]) -> Any:
        loop.call_soon_threadsafe(looked.set)
        return look(files)

    async with reloadable(tmp_path) as here:
        here.files.put("config.toml", "[")
        await here.reloaded()
        monkeypatch.setattr(reloading, "_stamps", look_and_tell)
        for _ in range(5):
            looked.clear()
            await looked.wait()

        assert here.proxy.running.process.reloads == {"failed": 1}


async def test_a_listener_stays_where_it_is_and_that_is_said(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        here.files.configure(shop("demo"), shop("new"), "[logging]\nlevel = 'debug'", server='host = "::1"')
        told = await here.reloaded()
        assert told["needs_restart"] == ("server.host", "logging")
        assert await here.statuses("/new/") == [200]


async def test_an_open_listener_does_not_lose_its_clients(tmp_path: Path) -> None:
    everywhere = 'host = "0.0.0.0"'

    def configure(files: Files) -> None:
        files.configure(shop("demo"), client("erp", "the-only-password-there-is"), server=everywhere)

    async with reloadable(tmp_path, configure) as here:
        here.files.configure(shop("demo"))  # for a loopback address, which would be right for the next start
        told = await here.reloaded()
        assert told["event"] == "configuration.not_reloaded"
        assert "still listens on 0.0.0.0" in told["problems"][0]
        assert await here.statuses("/demo/") == [401]
        here.files.configure(shop("demo"), server=f"{everywhere}\nallow_anonymous = true")
        assert (await here.reloaded())["clients_removed"] == ["erp"]
        assert await here.statuses("/demo/") == [200]


async def test_a_host_that_leads_back_here_is_not_taken(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        here.files.configure(
            shop("demo"),
            '[shops.back]\nplatform = "back"\nclient_id = "x"\nclient_secret = "s3cret"\n[platforms.back]\n'
            'token_url = "https://localhost/token"\napi_url = "https://8.8.8.8/"',
        )
        told = await here.reloaded()

        assert told["problems"][0].startswith("a platform's URL leads to localhost, which is this machine")
        assert await here.statuses("/demo/", "/back/") == [200, 404]


# When it looks


async def test_it_reads_when_it_is_asked_though_nothing_has_changed(tmp_path: Path) -> None:
    async with reloadable(tmp_path, every=3600.0) as here:
        for _ in range(2):
            here.asked.set()
            told = await here.reloaded()
            assert told["event"] == "configuration.reloaded"
            assert not [name for name in told if name.startswith(("shops", "clients"))]


async def test_a_file_that_is_being_written_is_left_alone_until_it_rests(tmp_path: Path) -> None:
    more = [shop("second"), shop("third")]

    async def sleep(_: float) -> None:
        if more:
            with here.files.config.open("a") as file:
                file.write(more.pop(0))

    async with reloadable(tmp_path, sleep=sleep) as here:
        here.files.configure(shop("first"))
        told = await here.reloaded()

        assert (told["shops_added"], told["shops_removed"]) == (["first", "second", "third"], ["demo"])


async def test_who_asks_waits_for_that_too(tmp_path: Path) -> None:
    """A secret that is written in two writes, and SIGHUP between them."""
    rest = ["-half"]

    async def sleep(_: float) -> None:
        if rest:
            with (tmp_path / "secret").open("a") as file:
                file.write(rest.pop())

    async with reloadable(tmp_path, every=3600.0, sleep=sleep) as here:
        here.files.put("secret", "the-second")
        here.asked.set()
        await here.reloaded()
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-the-second-half"]
        assert [each.shops.named["demo"].credentials.client_secret.reveal() for each in here.learned] == [
            "the-second-half"
        ]


async def test_a_file_that_is_changed_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    to_write = ["the-third"]

    def load_slowly() -> Config:
        config = load_config(here.files.config, {})
        if to_write:
            here.files.put("secret", to_write.pop())
        return config

    async with reloadable(tmp_path) as here:
        here.load = load_slowly
        here.files.put("secret", "the-second-one")
        await here.reloaded()
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-the-third"]
        assert len(here.learned) == 1


async def test_a_file_that_is_new_rests_too_before_it_is_taken(tmp_path: Path) -> None:
    loads = []

    def load() -> Config:
        loads.append((tmp_path / "another").read_text())
        return load_config(here.files.config, {})

    async with reloadable(tmp_path, every=3600.0) as here:
        here.load = load
        here.files.put("another", "s3cret")
        here.files.configure(shop("demo", secret='{ file = "another" }'))
        here.asked.set()
        await here.reloaded()

        assert len(loads) == 2  # who wrote it may have been at it when it was read first


async def test_a_file_that_never_rests_is_a_problem_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "_MOST_READINGS", 5)
    writing = [True]

    async def sleep(_: float) -> None:
        if writing:
            with (tmp_path / "secret").open("a") as file:
                file.write("x")

    async with reloadable(tmp_path, sleep=sleep) as here:
        here.files.put("secret", "the-second")
        told = await here.reloaded()
        assert told["problems"] == (f"its files can't be read: {tmp_path / 'secret'} keeps changing",)
        assert here.learned == []
        writing.clear()
        while (await here.reloaded())["event"] != "configuration.reloaded":
            pass
        await here.ask()

        assert here.tokens_seen[0].startswith(b"Bearer token-for-the-secondxxxxx")


# What blocks


async def test_a_secret_that_has_become_a_fifo_is_a_problem_and_the_next_change_is_taken(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as here:
        (tmp_path / "secret").unlink()
        os.mkfifo(tmp_path / "secret")
        told = await here.reloaded()
        assert told["problems"][-1].endswith("is a named pipe (FIFO), not a file")
        (tmp_path / "secret").unlink()
        here.files.put("secret", "a-file-again")
        while (await here.reloaded())["event"] != "configuration.reloaded":
            pass
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-a-file-again"]


async def test_a_mount_that_does_not_answer_is_a_problem_and_has_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, loads = threading.Event(), []

    def load() -> Config:
        loads.append(threading.current_thread())
        assert answers.wait(20)
        return load_config(here.files.config, {})

    async with reloadable(tmp_path) as here:
        monkeypatch.setattr(reloading, "_READING", 0.01)
        here.load = load
        here.files.put("secret", "the-second")
        for _ in range(3):
            told = await here.reloaded()
            [problem] = told["problems"]
            assert problem == "its files can't be read: it takes longer than 0.01 s; perhaps a mount does not answer"
        assert len(loads) == 1
        monkeypatch.setattr(reloading, "_READING", 20.0)
        answers.set()
        while (await here.reloaded())["event"] != "configuration.reloaded":
            pass
        await here.ask()

        assert here.tokens_seen == [b"Bearer token-for-the-second"]


async def test_a_mistake_of_our_own_does_not_end_the_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reloadable(tmp_path) as here:
        take = here.proxy.running.take

        async def broken(*_: Any) -> tuple[str, ...]:
            raise RuntimeError("oops")

        monkeypatch.setattr(here.proxy.running, "take", broken)
        here.files.put("secret", "the-second")
        assert (await here.reloaded())["event"] == "configuration.not_reloaded"
        monkeypatch.setattr(here.proxy.running, "take", take)
        here.files.put("secret", "the-third-one")
        assert (await here.reloaded())["event"] == "configuration.reloaded"

    assert len(here.proxy.logged("configuration.reload_failed")) == 1
