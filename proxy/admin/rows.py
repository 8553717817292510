"""One shop of the status page: its numbers, what is wrong, what to do, and what went wrong last. Pure.

Rules: whatever comes from a configuration, a client or a platform is escaped; colour is never the only sign.
"""

from collections.abc import Iterable
from html import escape
from typing import Final

from proxy.admin.chart import chart
from proxy.admin.codes import link_to
from proxy.admin.report import OLD_TOKEN, SLOW_AFTER, UNAUTHORIZED, WITHOUT_TOKEN, Row, waits_for_token
from proxy.platforms.shop import WILDCARD
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import MINUTES, Minute
from proxy.tokens.status import Condition, TokenStatus

# What each condition is called, and its sign.
_PILLS: Final = {
    Condition.GOOD: ("✓", "Good"),
    Condition.REFRESHING: ("↻", "Refreshing"),
    Condition.REFUSED: ("✕", "Refused"),
    Condition.UNREACHABLE: ("!", "Unreachable"),
    Condition.NONE: ("–", "None yet"),
}


def duration(seconds: float) -> str:
    """Return a time in words, short and in whole units: `45 s`, `12 min`, `3 h 20 min`, `5 d 2 h`."""
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    unit, name, part, part_name = (86400, "d", 3600, "h") if whole >= 172_800 else (3600, "h", 60, "min")
    rest = whole % unit // part
    return f"{whole // unit} {name} {rest} {part_name}" if rest else f"{whole // unit} {name}"


def row_of(row: Row, url: str, now: float) -> str:
    """Return the row of a shop; `url` is where the proxy is called, `now` the traffic's clock, in seconds."""
    shop = row.shop
    kind = {WITHOUT_TOKEN: "bad"}.get(row.trouble, "warn" if OLD_TOKEN <= row.trouble <= UNAUTHORIZED else "fine")
    name = "Every other shop" if shop.name == WILDCARD else escape(shop.name)
    left = duration(shop.token.left) if shop.token is not None and shop.token.left is not None else "–"
    cells = "".join(
        f'<td role="cell" class="{css}" data-label="{label}">{content}</td>'
        for label, css, content in (
            ("Token", "token", _pill(shop.token)),
            ("Time left", "left", left),
            ("Last 15 minutes", "recent", chart(shop.minutes)),
            ("Calls", _number(row.calls), f"{row.calls:,}"),
            ("Errors", _number(row.errors, bad=True), f"{row.errors:,}"),
            ("401s", _number(row.unauthorized, bad=True), f"{row.unauthorized:,}"),
            ("Waiting", _number(shop.queue), f"{shop.queue:,}"),
            ("Trouble", "trouble", _trouble(row, now) + _more(row, url, now)),
        )
    )
    return (
        f'<tr role="row" class="{kind}"><th scope="row" role="rowheader"><span class="name">{name}</span>'
        f' <span class="platform">{escape(shop.platform)}</span></th>{cells}</tr>'
    )


def problem_list(problems: Iterable[Problem], now: float) -> str:
    """Return the last problems as a list, the latest first."""
    items = []
    for problem in problems:
        status = "no answer" if problem.status is None else str(problem.status)
        who = f" {escape(problem.client)}" if problem.client else ""
        called = " ".join(filter(None, [problem.method, problem.path]))
        items.append(
            f'<li><span class="quiet">{duration(now - problem.at)} ago</span> <code>{escape(called)}</code>'
            f' <span class="answer">{status}</span> {_code(problem.code)}'
            f'<span class="quiet">{who} <code>{escape(problem.request_id)}</code></span></li>'
        )
    return f'<ol class="problems">{"".join(items)}</ol>'


def _code(code: str) -> str:
    return f'<a class="code" href="{link_to(code)}"><code>{escape(code)}</code></a>'


def _number(count: int, *, bad: bool = False) -> str:
    return "number zero" if not count else "number bad" if bad else "number"


def _pill(token: TokenStatus | None) -> str:
    if token is None:
        return '<span class="pill none">One for each</span>'
    sign, word = _PILLS[token.condition]
    return f'<span class="pill {token.condition}"><span aria-hidden="true">{sign}</span> {word}</span>'


def _trouble(row: Row, now: float) -> str:
    shop, token = row.shop, row.shop.token
    parts = []
    if token is not None and token.detail:
        reason = f" <q>{escape(token.reason)}</q>" if token.reason else ""
        parts.append(f"<p>{escape(token.detail)}{reason}</p>")
        if token.condition is Condition.REFUSED:
            parts.append(f"<p><strong>To fix it:</strong> {escape(shop.fix)}.</p>")
        again = f"Next attempt in {duration(token.asked_again_in)}." if token.asked_again_in >= 1 else ""
        again = again or "The next call will ask again."
        old = "" if token.left is None else "The old token still works. "
        parts.append(f'<p class="quiet">{old}{again}</p>')
    if token is not None and waits_for_token(token):
        asked = duration(token.asking_for or 0)
        parts.append(f'<p class="slow">A token was requested {asked} ago, and there is no answer yet.</p>')
    if shop.wait >= SLOW_AFTER:
        wait = duration(shop.wait)
        parts.append(
            f'<p class="slow">{shop.queue:,} waiting for the rate limit; the next call would wait about {wait}.</p>'
        )
    problem = shop.problem
    if problem is not None:
        since = _failing_since(shop.minutes)
        ago = duration(now - problem.at)
        # The sentence of the last call's failure is often the one above.
        detail = "" if token is not None and problem.detail == token.detail else f" {escape(problem.detail)}"
        detail += f' <span class="quiet">({escape(problem.reason)})</span>' if problem.reason else ""
        parts.append(f'<p class="last">{since}<span class="quiet">{ago} ago</span> {_code(problem.code)}{detail}</p>')
    return "".join(parts)


def _failing_since(minutes: tuple[Minute, ...]) -> str:
    """Return since when calls have been failing, as a sentence; nothing if in the last minute with calls none did."""
    oldest, some_succeeded = None, False
    for ago, minute in enumerate(reversed(minutes)):
        failed = max(minute.errors, minute.unauthorized)
        if minute.calls and not failed:
            break
        if failed:
            oldest, some_succeeded = ago, some_succeeded or failed < minute.calls
    if oldest is None:
        return ""
    who = "Some calls" if some_succeeded else "All calls"
    if not oldest:
        return f"{who} failed this minute. "
    return f"{who} have been failing for {oldest} min{' or more' if oldest == MINUTES - 1 else ''}. "


def _more(row: Row, url: str, now: float) -> str:
    """Return what is shown on demand: how to call the shop, and its last problems."""
    shop = row.shop
    name = "SHOP" if shop.name == WILDCARD else escape(shop.name)
    count = len(shop.problems)
    summary = f"How to call it, and the last {'problem' if count == 1 else f'{count} problems'}"
    listed = problem_list(shop.problems, now) if count else ""
    return (
        f'<details id="more-{name}"><summary>{summary if count else "How to call it"}</summary>'
        f'<p><code class="copy">curl -i {escape(url)}{name}/</code></p>{listed}</details>'
    )
