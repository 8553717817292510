"""Downloads and uploads of 32 MB over one connection: how fast, and what a megabyte costs."""

import http.client
import re
import time
from collections.abc import Callable
from functools import partial

from benchmarks.compare.bench import Bench
from benchmarks.compare.contender import BASIC, Contender, Invalid, Running
from benchmarks.compare.envoy import SAME_DUTIES
from benchmarks.compare.ours import NAME
from benchmarks.compare.peers import AFTERNOON, NGINX, NGINX_BUFFERS
from benchmarks.compare.proc import cpu_seconds, memory
from benchmarks.compare.report import Column, Figures, Table, make_table, median_of, ratio_to, written
from benchmarks.compare.upstream import FILE_SIZE

_HEADERS = {"Authorization": BASIC, "Accept": "application/json"}
_READ_SIZE = 1 << 20  # bytes
_MEGABYTE = 1e6


def _download(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/demo/file.bin", headers=_HEADERS)
    answer = connection.getresponse()
    buffer, size = bytearray(_READ_SIZE), 0
    while received := answer.readinto(buffer):
        size += received
    if (answer.status, size) != (200, FILE_SIZE):
        raise Invalid(f"a download ended with {answer.status} and {size} bytes")


def _upload(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/demo/orders", body, {**_HEADERS, "Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    said = answer.read()
    arrived = re.search(rb'"bytes":([0-9]+)', said)  # so long was the whole request that the upstream got
    if answer.status != 201 or arrived is None or int(arrived[1]) < len(body):
        raise Invalid(f"an upload ended with {answer.status}: {said[:200]!r}")


def _again_and_again(bench: Bench, running: Running, transfer: Callable[[http.client.HTTPConnection], None]) -> Figures:
    connection = http.client.HTTPConnection("127.0.0.1", running.setup.port, timeout=60)
    try:
        transfer(connection)
        count, began, cpu = 0, time.perf_counter(), cpu_seconds(running.pid)
        while not count or time.perf_counter() - began < bench.seconds:
            transfer(connection)
            count += 1
        span, cpu = time.perf_counter() - began, cpu_seconds(running.pid) - cpu
    finally:
        connection.close()
    size = count * FILE_SIZE / _MEGABYTE
    return {
        "rate": size / span,
        "cpu": cpu / size * 1000,
        "per_cpu": size / max(cpu, 0.01),  # not known better than that
        "peak": memory(running.pid, "VmHWM"),
    }


def transfers(bench: Bench) -> list[Table]:
    """Compare both ways."""
    body = bytes(range(256)) * (FILE_SIZE // 256)
    tables = []
    for title, transfer in (("Downloads of 32 MB", _download), ("Uploads of 32 MB", partial(_upload, body=body))):

        def measure(contender: Contender, transfer: Callable[[http.client.HTTPConnection], None]) -> Figures:
            with bench.serving(contender) as running:
                return _again_and_again(bench, running, transfer)

        contenders = bench.named(NGINX, NGINX_BUFFERS, SAME_DUTIES, AFTERNOON)
        results = bench.run_rounds(
            title,
            {each.name: partial(measure, each, transfer) for each in contenders},
            lambda figures: f"{figures['rate']:6.0f} MB/s  {figures['per_cpu']:6.0f} MB per CPU second",
        )
        to_nginx, to_larger = ratio_to(NGINX, "per_cpu"), ratio_to(NGINX_BUFFERS, "per_cpu")
        columns = [
            Column("MB/s", median_of("rate"), ",.0f"),
            Column("CPU ms per MB", median_of("cpu"), ".3f"),
            Column("MB per CPU second", median_of("per_cpu"), ",.0f"),
            Column(f"/ {NGINX}", to_nginx, ".2f"),
            Column(f"/ {NGINX_BUFFERS}", to_larger, ".2f"),
            Column("peak MiB", median_of("peak"), ".1f"),
        ]
        short = [
            (f"{title}, MB per CPU second / nginx as proxy", written(to_nginx(results, NAME), ".2f")),
            (f"{title}, the same / nginx with larger buffers", written(to_larger(results, NAME), ".2f")),
        ]
        tables.append(make_table(title, results, columns, short=short))
    return tables
