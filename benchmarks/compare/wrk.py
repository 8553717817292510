"""Load from wrk: as many calls as go, over connections that are kept."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.compare.contender import BASIC, SHOPS, Invalid

_CONNECTIONS = 32
_HEADERS = {"Authorization": BASIC, "Accept": "application/json", "User-Agent": "erp-connector/2.3"}

# What it prints itself is rounded and for people.
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nfigures {"calls": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""
_POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = string.rep("{}", {} / 8)
"""
_SHOPS = """
local calls, next = {{}}, 0
function init(args)
  for number = 0, {shops} - 1 do
    calls[number] = wrk.format(nil, "/" .. (number == 0 and "demo" or "shop" .. number) .. "/{name}")
  end
end
function request()
  next = (next + 1) % {shops}
  return calls[next]
end
"""


class Load(NamedTuple):
    """What wrk did: calls that were answered with 2xx, in how many seconds, and the time of one in milliseconds."""

    calls: int
    seconds: float
    p50: float
    p99: float


def script_for_get(authorization: str = BASIC) -> str:
    """Return a script that asks for the target again and again."""
    headers = {**_HEADERS, "Authorization": authorization}
    return "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())


def script_for_post(size: int) -> str:
    """Return a script that posts so many bytes to the target."""
    return script_for_get() + _POST.format('[1,\\"a\\"],', size)


def script_for_shops(name: str) -> str:
    """Return a script that asks for what is called `name` at each shop in turn."""
    return script_for_get() + _SHOPS.format(shops=SHOPS, name=name)


def run(folder: Path, url: str, script: str, seconds: float, *, least: int) -> Load:
    """Load a URL for so many seconds. Raises `Invalid` if not all answers were 2xx of at least `least` bytes."""
    file = folder / "wrk.lua"
    file.write_text(script + _DONE)
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    done = subprocess.run(
        [*command, "--timeout", "10s", "-s", file, url], capture_output=True, check=False, timeout=seconds + 60
    )
    return read_figures(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"), least)


def read_figures(output: str, least: int) -> Load:
    """Return what wrk's output says. Raises `Invalid` as `run` does."""
    line = next((line for line in output.splitlines() if line.startswith("figures ")), None)
    if line is None:
        raise Invalid(f"wrk said nothing: {output[-300:]}")
    figures: dict[str, int] = json.loads(line.removeprefix("figures "))
    calls = figures["calls"]
    if figures["refused"] or figures["broken"]:
        raise Invalid(f"of {calls} calls {figures['refused']} were refused, and {figures['broken']} broke off")
    if not calls or figures["bytes"] < calls * least:  # wrk counts 1xx and 3xx as good; they have no such body
        raise Invalid(f"{calls} calls brought {figures['bytes']} bytes, less than {least} each")
    return Load(calls, figures["microseconds"] / 1e6, figures["p50"] / 1000, figures["p99"] / 1000)
