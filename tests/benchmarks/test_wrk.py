"""What is made of what wrk says."""

import json

import pytest

from benchmarks.compare.contender import Invalid
from benchmarks.compare.wrk import Load, read_figures

FIGURES = {
    "calls": 100,
    "microseconds": 2_000_000,
    "bytes": 550_000,
    "p50": 1500,
    "p99": 9000,
    "refused": 0,
    "broken": 0,
}


def said(**changed: int) -> str:
    return f"Running 2s test @ http://127.0.0.1\n  100 requests in 2s\n\nfigures {json.dumps(FIGURES | changed)}\n"


def test_the_figures_are_read() -> None:
    assert read_figures(said(), least=5400) == Load(calls=100, seconds=2.0, p50=1.5, p99=9.0)


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (said(refused=1), "1 were refused"),
        (said(broken=2), "2 broke off"),
        (said(bytes=20_000), "less than 5400 each"),  # 3xx, which wrk takes for good
        (said(calls=0, bytes=0), "0 calls"),
        ("unable to connect to 127.0.0.1:1 Connection refused\n", "Connection refused"),
    ],
)
def test_a_run_with_other_answers_than_the_right_ones_is_invalid(output: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read_figures(output, least=5400)
