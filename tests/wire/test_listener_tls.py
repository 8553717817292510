"""TLS between clients and the proxy, over real connections: which certificate a client sees, and when."""

import asyncio
import os
import resource
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.certificate import CertificateFiles, server_context
from proxy.config import ServerConfig
from proxy.wire import listener, listener_tls
from proxy.wire.listener_tls import TlsDoor
from tests.peers import CHUNKED, RawClient, answering, chunked, request, response
from tests.proxies import WholePath, whole_path
from tests.wire.slow_reading import (
    connect_with_small_buffer,
    looks_at_the_unread,
    read_steadily,
    send_buffers_of,
)

AUTHORITY = trustme.CA()
OK = answering(response(b"ok"))


def issue(name: str = "localhost", **options: Any) -> trustme.LeafCert:
    return AUTHORITY.issue_cert("localhost", common_name=name, **options)


def write(folder: Path, leaf: trustme.LeafCert) -> CertificateFiles:
    files = CertificateFiles(folder / "cert.pem", folder / "key.pem")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(files.private_key)
    return files


def trusting(**options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


@asynccontextmanager
async def over_tls(path: WholePath, context: ssl.SSLContext | None = None) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", path.proxy.port, ssl=context or trusting(), server_hostname="localhost", limit=1 << 20
    )
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


def seen(client: RawClient) -> str:
    """The common name in the certificate that the client was shown."""
    certificate = client.writer.get_extra_info("peercert")
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


async def certificate_of(path: WholePath) -> str:
    async with over_tls(path) as client:
        return seen(client)


@pytest.fixture
def every_look_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_tls.ListenerTls.keep_fresh, "__defaults__", (0.01,))


def config(files: CertificateFiles, **changes: Any) -> ServerConfig:
    return ServerConfig(port=0, drain_timeout=1.0, tls=files, **changes)


async def test_requests_and_answers_of_any_size_pass(tmp_path: Path) -> None:
    large = b"x" * 3_000_000
    api = answering(response(b"ok"), response(large))
    async with whole_path(api, server=config(write(tmp_path, issue()))) as path, over_tls(path) as client:
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert (await client.ask(request())).body == b"ok"
        sent = request(b"PUT", fields=CHUNKED) + chunked(large)
        assert (await client.ask(sent)).body == large
        assert (await client.ask(b"garbage\r\n\r\n")).status == 501

    assert path.api.received[1].body == large
    assert path.proxy.logged("proxy.started")[0]["tls"] is True


async def test_the_platform_hears_that_the_client_came_over_tls(tmp_path: Path) -> None:
    files = write(tmp_path, issue())
    async with (
        whole_path(OK, server=config(files), of={"forwarded_headers": True}) as path,
        over_tls(path) as client,
    ):
        assert (await client.ask(request())).status == 200

    assert path.api.received[0].values(b"X-Forwarded-Proto") == [b"https"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("version", "spoken"), [("TLSv1_2", True), ("TLSv1_1", False)])
async def test_tls_before_1_2_is_not_spoken(tmp_path: Path, version: str, spoken: bool) -> None:
    old = trusting()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion[version]
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with whole_path(OK, server=config(write(tmp_path, issue()))) as path:
        if spoken:
            async with over_tls(path, old) as client:
                assert (await client.ask(request())).status == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with over_tls(path, old):
                    pass


async def test_plain_http_is_told_that_this_is_tls(tmp_path: Path) -> None:
    async with whole_path(OK, server=config(write(tmp_path, issue()))) as path, path.connect() as client:
        answer = await client.ask(request(b"POST", body=b"x" * 1000))
        assert (answer.status, b"https://" in answer.body) == (400, True)
        assert await client.at_end()

    assert path.api.received == []
    assert path.tokens.received == []


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"G"])
async def test_a_handshake_that_does_not_end_is_given_up(tmp_path: Path, sent: bytes) -> None:
    server = config(write(tmp_path, issue()), header_timeout=0.1)
    async with whole_path(OK, server=server) as path, path.connect() as client:
        await client.send(sent)
        data, _ = await client.read_to_end() if sent != b"G" else ((await client.read_answer()).head, True)
        assert data.startswith(b"HTTP/1.1 408") == (sent == b"G")
        assert path.proxy.running.connections.open == (sent == b"G")

    assert [told["reason"] for told in path.proxy.logged("tls.handshake_failed")] == (
        [] if sent == b"G" else ["not done within 0.1 seconds"]
    )


async def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    server = config(write(tmp_path, issue()), max_connections=2)
    async with whole_path(OK, server=server) as path, path.connect() as first, path.connect() as second:
        await first.send(b"\x16\x03")
        await second.send(b"\x16\x03")
        async with over_tls(path) as client:
            assert (await client.ask(request())).status == 200
            assert (await first.read_to_end())[0] == b""
            assert path.proxy.running.connections.open == 2


async def test_a_broken_handshake_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with whole_path(OK, server=config(write(tmp_path, issue()))) as path:
        for sent in (b"\x16\x03\x01\x00\x05hello", b"\x16" * 1000, b"\x16\x03"):
            async with path.connect() as client:
                await client.send(sent)
                if sent != b"\x16\x03":
                    await client.read_to_end()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with over_tls(path, ssl.create_default_context()):
                pass
        assert (await certificate_of(path)) == "localhost"
        await path.stop()
        assert path.proxy.running.connections.open == 0
        # One more if the last client had gone before the server was done with it.
        assert path.proxy.running.connections.failed_handshakes in (4, 5)

    assert caplog.records == []
    [told] = path.proxy.logged("tls.handshake_failed")  # the others follow too soon
    assert (told["address"], told["failed_so_far"]) == ("127.0.0.1", 1)
    assert told["reason"].isupper()  # OpenSSL's word


async def test_without_a_file_descriptor_a_connection_ends_and_leaves_nothing(tmp_path: Path) -> None:
    async with whole_path(OK, server=config(write(tmp_path, issue()))) as path:
        made = TlsDoor.connection_made
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)

        def without_descriptors(self: TlsDoor, transport: asyncio.BaseTransport) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
            try:
                made(self, transport)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TlsDoor, "connection_made", without_descriptors)
            async with path.connect() as client:
                assert (await client.read_to_end())[0] == b""
        assert path.proxy.running.connections.open == 0
        assert (await certificate_of(path)) == "localhost"

    [told] = path.proxy.logged("tls.handshake_failed")
    assert told["reason"] == "Too many open files"


async def test_a_mistake_of_our_own_in_a_handshake_costs_its_connection_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def mistaken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    async with whole_path(OK, server=config(write(tmp_path, issue()))) as path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listener_tls, "serve_tls", mistaken)
            async with path.connect() as client:
                await client.send(b"\x16")
                assert (await client.read_to_end())[0] == b""
        assert path.proxy.running.connections.open == 0
        assert (await certificate_of(path)) == "localhost"

    assert [str(record.exc_info and record.exc_info[1]) for record in caplog.records] == ["a mistake"]
    caplog.clear()


async def test_a_stop_ends_handshakes_and_idle_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LAST_WORDS", 0.05)
    server = ServerConfig(port=0, drain_timeout=3600.0, tls=write(tmp_path, issue()))
    async with whole_path(OK, server=server) as path, path.connect() as half, over_tls(path) as idle:
        await half.send(b"\x16\x03")
        assert (await idle.ask(request())).status == 200
        await path.stop()
        assert (await half.read_to_end())[0] == b""
        assert await idle.at_end()


async def test_who_was_let_in_before_a_stop_is_served_though_the_handshake_comes_later(tmp_path: Path) -> None:
    server = config(write(tmp_path, issue()))
    async with whole_path(OK, server=server) as path, path.connect() as let_in:
        async with over_tls(path) as other:
            await other.ask(request())
        stopping = asyncio.ensure_future(path.stop())
        await path.proxy.until_logged("proxy.stopping")
        await let_in.writer.start_tls(trusting(), server_hostname="localhost")
        answer = await let_in.ask(request())
        await stopping

    assert (answer.status, answer.values(b"Connection")) == (200, [b"close"])


async def test_a_client_that_does_not_read_is_cut_off_under_tls_too(tmp_path: Path) -> None:
    server = config(write(tmp_path, issue()), rate_window=0.15, min_body_rate=1e6)
    async with whole_path(answering(response(b"x" * 30_000_000)), server=server) as path, over_tls(path) as client:
        client.stop_reading()
        await client.send(request())
        await path.proxy.until_logged("request.abandoned")
        assert path.proxy.running.forwarder.in_flight == 0


async def test_a_client_that_takes_its_answer_slowly_but_steadily_gets_it_under_tls_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_buffers_of(1 << 20, monkeypatch)
    server = config(write(tmp_path, issue()), rate_window=0.3, min_body_rate=10_000.0)
    async with whole_path(answering(response(b"x" * 30_000_000)), server=server) as path:
        assert await read_steadily(path, rate=100_000.0, seconds=1.2, tls=trusting()) > 100_000


# Clients that leave their part in the end of TLS undone


@asynccontextmanager
async def holding_on(path: WholePath, *, read: bool) -> AsyncIterator[None]:
    """Ask for an answer to be the last one, `read` it or leave it, and do nothing more."""
    asked = request(fields=b"Connection: close\r\n")
    client = await connect_with_small_buffer(path.proxy.port)
    client.settimeout(10.0)

    def ask() -> ssl.SSLSocket:
        wrapped = trusting().wrap_socket(client, server_hostname="localhost")
        wrapped.sendall(asked)
        if read:
            assert wrapped.recv(9) == b"HTTP/1.1 "
        return wrapped

    with await asyncio.to_thread(ask):
        yield


async def test_a_client_that_does_not_answer_the_end_makes_room_for_others(tmp_path: Path) -> None:
    server = config(write(tmp_path, issue()), max_connections=2, rate_window=3600.0, header_timeout=3600.0)
    async with (
        whole_path(OK, server=server) as path,
        holding_on(path, read=True),
        holding_on(path, read=True),
        over_tls(path) as client,
    ):
        assert (await client.ask(request())).status == 200


@pytest.mark.parametrize(
    ("read", "limits"),
    [
        pytest.param(True, {"header_timeout": 0.15, "rate_window": 3600.0}, id="all read: at the next look"),
        pytest.param(False, {"header_timeout": 3600.0, "rate_window": 0.15}, id="unread"),
    ],
)
async def test_a_client_that_does_not_answer_the_end_is_waited_for_only_while_it_takes_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: bool, limits: dict[str, float]
) -> None:
    send_buffers_of(4096, monkeypatch)
    api = answering(response(b"x" * (10 if read else 30_000)))
    async with (
        whole_path(api, server=config(write(tmp_path, issue()), **limits)) as path,
        holding_on(path, read=read),
    ):
        await path.proxy.until_logged("request.forwarded")
        assert path.proxy.running.connections.open == 1
        while path.proxy.running.connections.open:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


async def test_a_connection_that_is_closed_with_an_answer_unread_is_looked_at_no_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_buffers_of(4096, monkeypatch)
    sizes = list(range(4_000, 60_000, 4_000))
    limits = {"keep_alive_timeout": 0.15, "rate_window": 5.0, "min_body_rate": 1.0}
    async with whole_path(
        answering(*(response(b"x" * size) for size in sizes)), server=config(write(tmp_path, issue()), **limits)
    ) as path:
        looks = await looks_at_the_unread(path, monkeypatch, sizes, after=0.5, tls=trusting())

        assert looks < 10 * len(sizes)


async def test_the_last_answer_comes_whole_to_a_client_that_takes_longer_for_it_than_for_its_part_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_buffers_of(4096, monkeypatch)
    size, limits = 60_000, {"rate_window": 0.2, "min_body_rate": 1.0}
    async with whole_path(answering(response(b"x" * size)), server=config(write(tmp_path, issue()), **limits)) as path:
        sock = await connect_with_small_buffer(path.proxy.port)
        sock.settimeout(10.0)

        def got() -> bytes:
            with trusting().wrap_socket(sock, server_hostname="localhost") as client:
                client.sendall(request(fields=b"Connection: close\r\n"))
                pieces = []
                while piece := client.recv(1 << 11):
                    pieces.append(piece)
                    time.sleep(0.02)  # in all some 0.6 s
                return b"".join(pieces)

        answer = await asyncio.to_thread(got)

    assert answer.partition(b"\r\n\r\n")[2] == b"x" * size


# New files


@pytest.mark.usefixtures("every_look_soon")
async def test_new_files_are_taken_into_use_while_old_connections_go_on(tmp_path: Path) -> None:
    async with whole_path(OK, server=config(write(tmp_path, issue("old")))) as path, over_tls(path) as client:
        write(tmp_path, issue("new"))
        await path.proxy.until_logged("tls.reloaded")
        assert (await certificate_of(path)) == "new"
        assert seen(client) == "old"
        assert (await client.ask(request())).status == 200


@pytest.mark.usefixtures("every_look_soon")
async def test_files_swapped_through_a_link_are_taken_into_use(tmp_path: Path) -> None:
    """As Kubernetes does it: cert.pem -> ..data/cert.pem, ..data -> a directory, and only that link changes."""
    for name in ("old", "new"):
        (tmp_path / f"..{name}").mkdir()
        write(tmp_path / f"..{name}", issue(name))
    (tmp_path / "..data").symlink_to("..old")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    files = CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem")

    async with whole_path(OK, server=config(files)) as path:
        assert (await certificate_of(path)) == "old"
        (tmp_path / "..tmp").symlink_to("..new")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await path.proxy.until_logged("tls.reloaded")
        assert (await certificate_of(path)) == "new"


@pytest.mark.usefixtures("every_look_soon")
@pytest.mark.parametrize("broken", ["key", "certificate", "missing"])
async def test_new_files_that_can_not_be_used_leave_the_old_ones_in_use_and_are_told_of_once(
    tmp_path: Path, broken: str
) -> None:
    files = write(tmp_path, issue("old"))
    async with whole_path(OK, server=config(files)) as path:
        if broken == "key":
            issue().private_key_pem.write_to_path(files.private_key)
        elif broken == "certificate":
            files.certificate.write_text("half of a")
        else:
            files.certificate.unlink()
        await path.proxy.until_logged("tls.not_reloaded")
        assert (await certificate_of(path)) == "old"
        write(tmp_path, issue("new"))
        await path.proxy.until_logged("tls.reloaded")
        assert (await certificate_of(path)) == "new"

    [told, *more] = path.proxy.logged("tls.not_reloaded")
    assert "the old certificate stays in use" in told["reason"]
    assert len(more) <= 1  # the fixed files are two, and a look may find one of them


async def test_files_on_a_mount_that_does_not_answer_hold_up_the_next_certificate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers, look = threading.Semaphore(0), threading.Event(), listener_tls._stat

    def hanging(file: Path) -> object:
        asked.release()
        assert answers.wait(10)
        return look(file)

    monkeypatch.setattr(listener_tls.ListenerTls.keep_fresh, "__defaults__", (0.01,))
    async with whole_path(OK, server=config(write(tmp_path, issue("old")))) as path:
        monkeypatch.setattr(listener_tls, "_stat", hanging)
        try:
            assert await asyncio.to_thread(asked.acquire, timeout=10)
            for _ in range(10):
                assert (await certificate_of(path)) == "old"
            write(tmp_path, issue("new"))
        finally:
            answers.set()
        await path.proxy.until_logged("tls.reloaded")
        assert (await certificate_of(path)) == "new"


async def test_files_that_were_only_touched_are_not_news(tmp_path: Path) -> None:
    files = write(tmp_path, issue())
    async with whole_path(OK, server=config(files)) as path:
        tls = listener_tls.ListenerTls(files, path.proxy.running.forwarder._log)
        os.utime(files.certificate, (1, 1))
        assert await tls.reload() is False
        files.certificate.write_bytes(b"")
        assert [await tls.reload() for _ in range(3)] == [False] * 3

    assert len(path.proxy.logged("tls.not_reloaded")) == 1


async def test_files_that_changed_without_another_time_or_size_are_news(tmp_path: Path) -> None:
    """As some tools copy them; and as a file that was not readable becomes so."""

    def padded(leaf: trustme.LeafCert) -> CertificateFiles:
        files = write(tmp_path, leaf)
        for file in (files.certificate, files.private_key):
            file.write_bytes(file.read_bytes().ljust(8192, b"\n"))
            os.utime(file, (1, 1))
        return files

    files = padded(issue("old"))
    async with whole_path(OK, server=config(files)) as path:
        tls = listener_tls.ListenerTls(files, path.proxy.running.forwarder._log)
        padded(issue("new"))
        assert await tls.reload() is True


async def test_files_that_change_while_they_are_read_are_left_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path, issue("old"))
    async with whole_path(OK, server=config(files)) as path:
        tls = listener_tls.ListenerTls(files, path.proxy.running.forwarder._log)
        in_use = tls.context

        def make_after_a_change(files: CertificateFiles) -> ssl.SSLContext:
            write(tmp_path, issue("newest"))
            return server_context(files)

        write(tmp_path, issue("new"))
        with monkeypatch.context() as patch:
            patch.setattr("proxy.wire.listener_tls.server_context", make_after_a_change)
            assert (await tls.reload(), tls.context) == (False, in_use)
        assert await tls.reload() is True
        assert await tls.reload() is False

    [told] = path.proxy.logged("tls.not_reloaded")
    assert "were changed while they were read" in told["reason"]


async def test_an_expired_certificate_is_used_but_told_of(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    leaf = issue(not_before=now - timedelta(days=2), not_after=now - timedelta(days=1))
    async with whole_path(OK, server=config(write(tmp_path, leaf))) as path:
        pass

    [told] = path.proxy.logged("tls.certificate_not_valid")
    assert told["reason"] == "has expired"
