"""What the limit means, counted as plainly as possible, for the tests to compare with."""

from collections.abc import Sequence


def most_in_any_window(seen: Sequence[tuple[float, float]], per: float) -> int:
    """The most requests that the upstream may have seen in any `per` seconds.

    Each is seen at some time between the two that are given for it. A fullest window can be moved until it begins at
    the end of one of them.
    """
    return max(
        (sum(1 for first, last in seen if last >= start and first < start + per) for _, start in seen), default=0
    )
