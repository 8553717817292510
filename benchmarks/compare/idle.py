"""Five thousand connections that are kept and idle: their memory, and a call's time among them."""

import resource
from contextlib import ExitStack, closing
from functools import partial

from benchmarks.compare.bench import PAGE, Bench
from benchmarks.compare.caller import Caller, one_after_the_other, percentile
from benchmarks.compare.contender import Contender
from benchmarks.compare.envoy import SAME_DUTIES
from benchmarks.compare.ours import NAME
from benchmarks.compare.peers import LUA
from benchmarks.compare.proc import memory
from benchmarks.compare.report import Column, Figures, Table, make_table, median_of, written

_CONNECTIONS = 5000
_OTHER_FILES = 200  # that this process, and those measured, have open besides


def idle(bench: Bench) -> list[Table]:
    """Compare memory and times before, and with the idle connections."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES
    count = min(_CONNECTIONS, room)
    title = f"{count:,} idle connections, each after one call"

    def measure(contender: Contender) -> Figures:
        with bench.serving(contender) as running, ExitStack() as opened:
            port, target = running.setup.port, f"/demo/{PAGE}"
            first = opened.enter_context(closing(Caller(port, target)))
            alone = one_after_the_other(first, bench.seconds / 2)
            before = memory(running.pid, "VmRSS")
            for _ in range(count):
                opened.enter_context(closing(Caller(port, target))).call()
            after = memory(running.pid, "VmRSS")
            among = one_after_the_other(first, bench.seconds / 2)
            return {
                "before": before,
                "after": after,
                "added": after - before,
                "each": (after - before) / count * 1024,
                "alone50": percentile(alone, 50) * 1000,
                "among50": percentile(among, 50) * 1000,
                "among99": percentile(among, 99) * 1000,
            }

    results = bench.run_rounds(
        title,
        {each.name: partial(measure, each) for each in bench.named(LUA, SAME_DUTIES)},
        lambda figures: f"{figures['before']:6.1f} MiB and {figures['added']:6.1f} on top",
    )
    columns = [
        Column("MiB before", median_of("before"), ".1f"),
        Column("MiB on top", median_of("added"), ".1f"),
        Column("KiB each", median_of("each"), ".1f"),
        Column("a call, p50 ms", median_of("alone50"), ".3f"),
        Column("among them, p50 ms", median_of("among50"), ".3f"),
        Column("among them, p99 ms", median_of("among99"), ".3f"),
    ]
    short = [(f"{count:,} idle connections, MiB on top", written(median_of("added")(results, NAME), ".1f"))]
    return [make_table(title, results, columns, short=short)]
