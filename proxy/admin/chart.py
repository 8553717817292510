"""The calls of the last minutes as a small picture: a bar for each, its failed part in another colour.

Rules: it says in words too what it shows.
"""

from typing import Final

from proxy.telemetry.recent import MINUTES, Minute

_STEP: Final = 8
_BAR: Final = 6
_HEIGHT: Final = 28
_LEAST: Final = 2  # so that a single call among thousands is seen


def chart(minutes: tuple[Minute, ...]) -> str:
    """Return an SVG element, which says in words what it shows; colours are those of the page's style sheet."""
    minutes = minutes or (Minute(0, 0, 0),) * MINUTES
    most = max(minute.calls for minute in minutes)
    bars = "".join(_bar(number, minute, most) for number, minute in enumerate(minutes))
    width = MINUTES * _STEP - (_STEP - _BAR)
    return (
        f'<svg class="chart" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
        f' preserveAspectRatio="none" role="img" aria-label="{_words(minutes, most)}">'
        f'<rect class="ground" x="0" y="{_HEIGHT - 1}" width="{width}" height="1"/>{bars}</svg>'
    )


def _bar(number: int, minute: Minute, most: int) -> str:
    if not minute.calls:
        return ""
    failed = min(max(minute.errors, minute.unauthorized), minute.calls)
    height = _scaled(minute.calls, most)
    bad = min(_scaled(failed, most), height)
    x = number * _STEP
    ago = MINUTES - 1 - number
    when = f"{ago} min ago" if ago else "this minute"
    count = f"{minute.calls:,} call{'' if minute.calls == 1 else 's'}"
    title = f"<title>{when}: {count}{f', {failed:,} failed' if failed else ''}</title>"
    parts = f'<rect class="calls" x="{x}" y="{_HEIGHT - height}" width="{_BAR}" height="{height - bad}">{title}</rect>'
    if bad:
        parts += f'<rect class="failed" x="{x}" y="{_HEIGHT - bad}" width="{_BAR}" height="{bad}">{title}</rect>'
    return parts


def _scaled(count: int, most: int) -> int:
    return max(round(count * _HEIGHT / most), _LEAST) if count else 0


def _words(minutes: tuple[Minute, ...], most: int) -> str:
    if not most:
        return f"No calls in the last {MINUTES} minutes"
    failed = [max(minute.errors, minute.unauthorized) for minute in minutes]
    latest = f"{minutes[-1].calls} in the current minute, {most} at most"
    return f"Calls per minute, last {MINUTES} minutes: {latest}" + (f"; {sum(failed)} failed" if any(failed) else "")
