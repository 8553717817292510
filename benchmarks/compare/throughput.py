"""As many calls as go, from wrk over 32 kept connections: what one costs in CPU, and the rest that comes with it."""

from functools import partial

from benchmarks.compare import wrk
from benchmarks.compare.bench import PAGE, Bench
from benchmarks.compare.contender import Contender
from benchmarks.compare.envoy import SAME_DUTIES
from benchmarks.compare.ours import NAME, WITH_LINKS
from benchmarks.compare.peers import AFTERNOON, LUA, NGINX_BUFFERS
from benchmarks.compare.report import (
    Column,
    Figures,
    Results,
    Table,
    by_round,
    make_table,
    median_of,
    ratio_to,
    written,
)
from benchmarks.compare.upstream import BEARER

_CPU = Column("CPU µs per call", median_of("cpu"), ".1f")
_TO_ENVOY = Column(f"/ {SAME_DUTIES}", ratio_to(SAME_DUTIES, "cpu"), ".2f")
_TO_LUA = Column(f"/ {LUA}", ratio_to(LUA, "cpu"), ".2f")


def _added_by_links(results: Results, name: str) -> float | None:
    """Return what rewriting adds to a call of this proxy, in calls of Envoy with the same duties."""
    return by_round(
        results,
        [name, name.removesuffix(WITH_LINKS), SAME_DUTIES] if name.endswith(WITH_LINKS) else [],
        lambda links, plain, envoy: (links["cpu"] - plain["cpu"]) / envoy["cpu"],
    )


_LINKS_ADD = Column(f"links add / {SAME_DUTIES}", _added_by_links, ".2f")
_WHOLE = [
    _CPU,
    _TO_ENVOY,
    _TO_LUA,
    Column("calls a second", median_of("rate"), ",.0f"),
    Column("p50 ms", median_of("p50"), ".2f"),
    Column("p99 ms", median_of("p99"), ".2f"),
    Column("core used %", median_of("busy"), ".0f"),
    Column("by others %", median_of("others"), ".0f"),
    Column("peak MiB", median_of("peak"), ".1f"),
]
_SHORT = [_CPU, _TO_ENVOY, _TO_LUA, Column("calls a second", median_of("rate"), ",.0f")]


def _measure(
    bench: Bench,
    title: str,
    contenders: list[Contender],
    name: str = PAGE,
    *,
    script: str | None = None,
    tls: bool = False,
) -> Results:
    def measure(contender: Contender) -> Figures:
        with bench.serving(contender, name if script is None else PAGE, tls=tls) as running:
            return bench.load(running, name, script)

    return bench.run_rounds(
        title,
        {each.name: partial(measure, each) for each in contenders},
        lambda figures: f"{figures['cpu']:7.1f} µs a call  {figures['rate']:8,.0f} calls a second",
    )


def calls(bench: Bench) -> list[Table]:
    """Compare all contenders: a page of 5.4 kB."""
    title = "A call of 5.4 kB"
    url = f"http://127.0.0.1:{bench.upstream.port}/api/{PAGE}"
    alone = wrk.run(bench.folder, url, wrk.script_for_get(BEARER), bench.seconds, least=5000)
    results = _measure(bench, title, [each for each in bench.contenders if each.name != NGINX_BUFFERS])
    notes = [
        f"The load and the upstream without a proxy: {alone.calls / alone.seconds:,.0f} calls a second. "
        "Whoever does not use its core fully could do more than this load asks for."
    ]
    short = [
        ("CPU per call / Envoy's with the same duties", written(_TO_ENVOY.value(results, NAME), ".2f")),
        ("CPU per call / nginx + Lua", written(_TO_LUA.value(results, NAME), ".2f")),
        (
            "what rewriting 34 links in 5 kB adds / Envoy's call",
            written(_added_by_links(results, NAME + WITH_LINKS), ".2f"),
        ),
    ]
    return [make_table(title, results, [*_WHOLE, _LINKS_ADD], notes, short)]


def sizes(bench: Bench) -> list[Table]:
    """Compare answers of other sizes."""
    tables = []
    for size, name in (("0.1", "small.json"), ("50", "large.json")):
        title = f"A call of {size} kB"
        results = _measure(bench, title, bench.named(LUA, SAME_DUTIES, AFTERNOON, extra=True), name)
        tables.append(make_table(title, results, _SHORT))
    return tables


def posts(bench: Bench) -> list[Table]:
    """Compare a POST of 2 kB."""
    title = "A POST of 2 kB"
    contenders = bench.named(LUA, SAME_DUTIES, AFTERNOON)
    results = _measure(bench, title, contenders, "orders", script=wrk.script_for_post(2000))
    return [make_table(title, results, _SHORT)]


def tls(bench: Bench) -> list[Table]:
    """Compare calls over TLS to the upstream."""
    title = "A call of 5.4 kB, with TLS to the upstream"
    results = _measure(bench, title, bench.named(LUA, SAME_DUTIES), tls=True)
    ratio = written(_TO_ENVOY.value(results, NAME), ".2f")
    short = [("the same over TLS to the upstream / Envoy's over TLS", ratio)]
    return [make_table(title, results, _WHOLE, short=short)]


def shops(bench: Bench) -> list[Table]:
    """Compare calls to a thousand shops in turn, each with a token of its own."""
    title = "A thousand shops in turn"
    results = _measure(bench, title, bench.named(LUA), script=wrk.script_for_shops(PAGE))
    return [make_table(title, results, _WHOLE)]
