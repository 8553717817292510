"""What every section needs: the options, who takes part, where the upstream is; and the rounds.

Rules: a round is each contender once, one after the other. What a run says of it is a dictionary of figures; a run that
is invalid is said and left out, and hurts no other.
"""

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.compare import wrk
from benchmarks.compare.contender import Contender, Invalid, Running, ask, started, wait_for
from benchmarks.compare.proc import core_seconds, cpu_seconds, memory
from benchmarks.compare.report import Figures, Outcome, Results
from benchmarks.compare.upstream import BEARER, LINKS, Upstream

PAGE = "page.json"
# What a contender that fails makes of a run.
_NOT_MEASURED = (Invalid, OSError, http.client.HTTPException, subprocess.TimeoutExpired)


class Bench(NamedTuple):
    """How it is measured."""

    rounds: int
    seconds: float  # that one run is measured for
    core: int  # of what is measured
    folder: Path
    upstream: Upstream
    contenders: list[Contender]
    outcome: Outcome

    def named(self, *names: str, extra: bool = False) -> list[Contender]:
        """Return those of these names that take part, and this proxy, and other checkouts of it.

        With `extra` whatever else the command line named, too: who knows what that can do but answer a GET.
        """
        kinds = {"ours", "extra"} if extra else {"ours"}
        return [each for each in self.contenders if each.name in names or each.kind in kinds]

    @contextmanager
    def serving(self, contender: Contender, name: str = PAGE, *, tls: bool = False) -> Iterator[Running]:
        """Run a contender that has given the right answer for `/demo/NAME`."""
        port, ca = (self.upstream.tls_port, self.upstream.ca) if tls else (self.upstream.port, None)
        with started(contender, port, ca, self.core) as running:
            body = wait_for(running, f"/demo/{name}")
            _, expected = ask(self.upstream.port, f"/api/{name}", BEARER)
            if contender.kind == "ours, rewriting":
                ours = f"http://127.0.0.1:{running.setup.port}/demo/".replace("/", "\\/").encode()
                theirs = f"http://127.0.0.1:{self.upstream.port}/api/".replace("/", "\\/").encode()
                if name == PAGE and body.count(ours) != LINKS:
                    raise Invalid(f"of {LINKS} links {body.count(ours)} lead back through the proxy")
                body = body.replace(ours, theirs)
            if body != expected:
                raise Invalid(f"not the upstream's answer: {body[:200]!r}")
            yield running

    def load(self, running: Running, name: str = PAGE, script: str | None = None) -> Figures:
        """Load a contender that serves, first to warm it up, and return the figures of the second run."""
        url = f"http://127.0.0.1:{running.setup.port}/demo/{name}"
        least = 10 if script else len(ask(running.setup.port, f"/demo/{name}")[1])

        load = partial(wrk.run, running.setup.folder, url, script or wrk.script_for_get(), least=least)
        load(1)
        before, all_before, began = cpu_seconds(running.pid), core_seconds(self.core), time.perf_counter()
        done = load(self.seconds)
        cpu, span = cpu_seconds(running.pid) - before, time.perf_counter() - began
        others = core_seconds(self.core) - all_before - cpu
        return {
            "calls": done.calls,
            "rate": done.calls / done.seconds,
            "p50": done.p50,
            "p99": done.p99,
            "cpu": cpu / done.calls * 1e6,
            "busy": cpu / span * 100,
            "others": max(0.0, others / span * 100),
            "peak": memory(running.pid, "VmHWM"),
        }

    def run_rounds(
        self,
        title: str,
        runs: Mapping[str, Callable[[], Figures]],
        show: Callable[[Figures], str],
    ) -> Results:
        """Measure each of these, by name, in each round, and show every run as it ends."""
        print(f"\n{title}", flush=True)
        results = self.outcome.results[title] = {name: [] for name in runs}
        for number in range(1, self.rounds + 1):
            for name, measure in runs.items():
                figures: Figures | None = None
                try:
                    figures = measure()
                    said = show(figures)
                except _NOT_MEASURED as error:
                    why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
                    said = f"left out: {why}"
                    self.outcome.remarks.append(f"left out: {title}, {name}, round {number}: {why}")
                results[name].append(figures)
                print(f"  round {number}/{self.rounds}  {name:34} {said}", flush=True)
        return results
