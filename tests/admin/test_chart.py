"""The picture of the last minutes: nothing sticks out of it, and it says in words what it shows."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.chart import chart
from proxy.telemetry.recent import MINUTES, Minute
from tests.admin.shops import minutes

counts = st.integers(0, 10**6)


@given(st.lists(st.builds(Minute, counts, counts, counts), min_size=MINUTES, max_size=MINUTES))
def test_bars_stay_within_the_picture_and_stand_on_its_ground(shown: list[Minute]) -> None:
    root = ElementTree.fromstring(chart(tuple(shown)))  # noqa: S314 - our own
    width, height = map(int, root.attrib["viewBox"].split()[2:])
    bars = [rect for rect in root if rect.attrib["class"] != "ground"]

    for bar in bars:
        x, y, w, h = (int(bar.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= width - w
        assert 0 <= y <= y + h <= height
    assert {int(bar.attrib["x"]) for bar in bars} == {8 * place for place, minute in enumerate(shown) if minute.calls}


def test_a_single_failure_among_many_calls_is_seen() -> None:
    picture = chart(minutes((100_000, 1, 0), (100_000, 0, 0)))

    [height] = re.findall(r'class="failed"[^>]* height="(\d+)"', picture)
    assert int(height) >= 2


def test_it_says_what_it_shows() -> None:
    assert 'aria-label="No calls in the last 15 minutes"' in chart(())
    assert 'aria-label="Calls per minute, last 15 minutes: 4 in the current minute, 9 at most; 3 failed"' in chart(
        minutes((9, 1, 0), (4, 0, 2))
    )
