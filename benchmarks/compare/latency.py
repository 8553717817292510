"""What a proxy adds to the time of a call while there is no load: over one connection, and at 100 calls a second."""

from functools import partial

from benchmarks.compare.bench import PAGE, Bench
from benchmarks.compare.caller import Caller, at_rate, one_after_the_other, percentile
from benchmarks.compare.contender import BASIC, Contender
from benchmarks.compare.envoy import SAME_DUTIES
from benchmarks.compare.ours import NAME
from benchmarks.compare.peers import AFTERNOON, LUA
from benchmarks.compare.report import (
    Column,
    Figures,
    Results,
    Table,
    Value,
    by_round,
    make_table,
    median_of,
    written,
)
from benchmarks.compare.upstream import BEARER

_RATE = 100.0  # calls a second
DIRECTLY = "the upstream itself"


def _times(port: int, target: str, authorization: str, seconds: float) -> Figures:
    caller = Caller(port, target, authorization)
    try:
        one_after_the_other(caller, 0.3)
        alone = one_after_the_other(caller, seconds)
    finally:
        caller.close()
    # Twice the time: 1 % of 400 calls would be too few to tell much.
    paced = at_rate(port, target, authorization, _RATE, 2 * seconds)
    return {
        f"{kind}{percent}": percentile(taken, percent) * 1000
        for kind, taken in (("one", alone), ("rate", paced))
        for percent in (50, 99)
    }


def added(figure: str) -> Value:
    """Return what gives the median of what is added to the upstream's own time of the same round."""

    def value(results: Results, name: str) -> float | None:
        return by_round(results, [name, DIRECTLY], lambda mine, direct: mine[figure] - direct[figure])

    return value


def latency(bench: Bench) -> list[Table]:
    """Compare what is added."""
    title = "Added latency: a call of 5.4 kB, in ms"

    def directly() -> Figures:
        return _times(bench.upstream.port, f"/api/{PAGE}", BEARER, bench.seconds)

    def measure(contender: Contender) -> Figures:
        with bench.serving(contender) as running:
            return _times(running.setup.port, f"/demo/{PAGE}", BASIC, bench.seconds)

    contenders = bench.named(LUA, SAME_DUTIES, AFTERNOON, extra=True)
    results = bench.run_rounds(
        title,
        {DIRECTLY: directly, **{each.name: partial(measure, each) for each in contenders}},
        lambda figures: "  ".join(f"{name} {value:.3f}" for name, value in figures.items()),
    )
    columns = [
        Column("one connection: p50", median_of("one50"), ".3f"),
        Column("added p50", added("one50"), ".3f"),
        Column("added p99", added("one99"), ".3f"),
        Column("100 a second: p50", median_of("rate50"), ".3f"),
        Column("added p50", added("rate50"), ".3f"),
        Column("added p99", added("rate99"), ".3f"),
    ]
    short = [
        ("added p50 at 100 calls a second, ms", written(added("rate50")(results, NAME), ".2f")),
        ("added p99 at 100 calls a second, ms", written(added("rate99")(results, NAME), ".2f")),
    ]
    return [make_table(title, results, columns, short=short)]
