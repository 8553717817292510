"""From start to ready, what this takes of memory, and what is imported on the way."""

import re
import time
from functools import partial
from pathlib import Path

from benchmarks.compare.bench import PAGE, Bench
from benchmarks.compare.contender import Contender, started, wait_for
from benchmarks.compare.ours import NAME
from benchmarks.compare.proc import memory
from benchmarks.compare.report import Column, Figures, Table, make_table, median_of, written

_IMPORT = re.compile(r"^import time: +([0-9]+) \|", re.MULTILINE)
_PAUSE = 0.001  # seconds between two questions whether it is ready


def imports_in(log: str) -> tuple[int, float]:
    """Return how many modules were imported, and the milliseconds of all, from what `-X importtime` wrote."""
    each = [int(microseconds) for microseconds in _IMPORT.findall(log)]
    return len(each), sum(each) / 1000


def starting(bench: Bench) -> list[Table]:
    """Measure this proxy, and other checkouts of it."""
    title = "Start"

    def measure(contender: Contender) -> Figures:
        with started(contender, bench.upstream.port, None, bench.core) as running:
            wait_for(running, "/readyz", port=running.setup.admin_port, pause=_PAUSE)
            ready = time.perf_counter() - running.started
            resident = memory(running.pid, "VmRSS")
            wait_for(running, f"/demo/{PAGE}")
            called = memory(running.pid, "VmRSS")
        watched = contender._replace(command=lambda setup: _watching_imports(contender.command(setup)))
        with started(watched, bench.upstream.port, None, bench.core) as running:
            wait_for(running, "/readyz", port=running.setup.admin_port)
            modules, milliseconds = imports_in((running.setup.folder / "log").read_text(errors="replace"))
        return {
            "ready": ready * 1000,
            "resident": resident,
            "called": called,
            "modules": modules,
            "imports": milliseconds,
        }

    results = bench.run_rounds(
        title,
        {each.name: partial(measure, each) for each in bench.named()},
        lambda figures: f"{figures['ready']:6.0f} ms  {figures['resident']:6.1f} MiB",
    )
    columns = [
        Column("ready after ms", median_of("ready"), ".0f"),
        Column("MiB then", median_of("resident"), ".1f"),
        Column("MiB after a call", median_of("called"), ".1f"),
        Column("modules imported", median_of("modules"), ".0f"),
        Column("importing them, watched, ms", median_of("imports"), ".0f"),
    ]
    short = [
        ("start to ready, ms", written(median_of("ready")(results, NAME), ".0f")),
        ("idle memory, MiB", written(median_of("resident")(results, NAME), ".1f")),
        ("the same after a call, MiB", written(median_of("called")(results, NAME), ".1f")),
    ]
    return [make_table(title, results, columns, short=short)]


def _watching_imports(command: list[str | Path]) -> list[str | Path]:
    """Return the command of an installed script, run by the Python that it is installed for, with `-X importtime`."""
    return [Path(command[0]).with_name("python"), "-X", "importtime", *command]
