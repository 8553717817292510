"""What a line of the log costs: CPU time per line, from the call to the file, and what a token that is hidden costs.

    python -m benchmarks.log_lines

The lines are those of ordinary requests, each with a path and a request id of its own. The whole takes some seconds,
and prints a line of JSON per number of known secrets and tokens: nanoseconds per line (the least of several rounds, all
threads counted), and bytes and microseconds per token.
"""

import json
import secrets
import tempfile
import time
import tracemalloc
from typing import Any

from proxy.telemetry.logs import make_logger
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter

_ROUNDS, _LINES = 20, 2_000
# Configured secrets, and tokens in use with their length.
_CASES = ((1, 0, 64), (1_000, 0, 64), (1_000, 10_000, 64), (1_000, 10_000, 1_000))


def requests() -> list[dict[str, Any]]:
    """Return what is logged of many requests."""
    return [
        {
            "client": "erp",
            "shop": "demo",
            "method": "GET",
            "path": f"/productExtend/{secrets.token_urlsafe(21)}",
            "status": 200,
            "upstream_status": 200,
            "attempts": 1,
            "duration_ms": 12.3,
            "bytes_in": 0,
            "bytes_out": 5_432,
            "request_id": f"{secrets.token_hex(6)}-{number}",
        }
        for number in range(_LINES)
    ]


def nanoseconds_per_line(redactor: Redactor) -> float:
    """Return the least CPU time that a line took in any of the rounds."""
    with tempfile.NamedTemporaryFile("w") as file:
        least = float("inf")
        for _ in range(_ROUNDS):
            lines = requests()
            with LogWriter(file) as writer:
                log = make_logger(log_format="json", level="info", redactor=redactor, writer=writer)
                before = time.process_time_ns()
                for fields in lines:
                    log.info("request.forwarded", **fields)
            least = min(least, time.process_time_ns() - before)
    return least / _LINES


def known(configured: int) -> Redactor:
    """Return a redactor that knows so many configured secrets."""
    redactor = Redactor()
    for _ in range(configured):
        redactor.add(secrets.token_urlsafe(32))
    return redactor


def main() -> None:
    """Measure, and print what came of it."""
    for configured, live, length in _CASES:
        redactor = known(configured)
        tokens = [secrets.token_urlsafe(length)[:length] for _ in range(live)]
        before = time.process_time()
        for token in tokens:
            redactor.add_transient(token, 3_600.0)
        seconds = time.process_time() - before
        result = {"secrets": configured, "tokens": live, "ns_per_line": round(nanoseconds_per_line(redactor))}
        if live:
            tracemalloc.start()
            again = known(0)
            for token in tokens:
                again.add_transient(token, 3_600.0)
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            result |= {"token_length": length, "bytes_per_token": round(size / live)}
            result |= {"us_per_token": round(seconds / live * 1e6, 1)}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
