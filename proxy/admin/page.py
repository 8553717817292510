"""The report as HTML: one page that an integrator understands at a glance.

Rules: whatever comes from a configuration, a client or a platform is escaped; no script and no style stands in the page
itself (see the Content-Security-Policy in `server.py`); without JavaScript all of it works but the refresh; colour is
never the only sign.
"""

from collections.abc import Iterator
from html import escape
from typing import Final
from urllib.parse import urlencode

from proxy.admin.chart import chart
from proxy.admin.report import OLD_TOKEN, UNAUTHORIZED, WITHOUT_TOKEN, Report, Row, Wanted
from proxy.platforms.shop import WILDCARD
from proxy.telemetry.recent import MINUTES
from proxy.tokens.status import Condition, TokenStatus

_MANY: Final = 10  # shops from which on there is a box to find one
# What each condition is called, and its sign.
_PILLS: Final = {
    Condition.GOOD: ("✓", "Good"),
    Condition.REFRESHING: ("↻", "Refreshing"),
    Condition.REFUSED: ("✕", "Refused"),
    Condition.UNREACHABLE: ("!", "Unreachable"),
    Condition.NONE: ("–", "None yet"),
}
_PHASES: Final = {"starting": "Starting", "serving": "Serving", "draining": "Stopping"}
_COLUMNS: Final = ("Shop", "Token", "Time left", "Last 15 minutes", "Calls", "Errors", "401s", "Waiting", "Trouble")
_NUMBERS: Final = ("Calls", "Errors", "401s", "Waiting")


def page(report: Report, *, now: float) -> Iterator[str]:
    """Yield the page in pieces; `now` is the traffic's clock, in seconds."""
    wanted = report.wanted
    hidden = "" if report.shops > _MANY or wanted.query else " hidden"
    yield f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_title(report)}</title>
<link rel="icon" href="/status.svg" type="image/svg+xml">
<link rel="stylesheet" href="/status.css">
<script src="/status.js" defer></script>
</head>
<body>
<header>
<h1><img src="/status.svg" alt="" width="28" height="28">Shop Auth Proxy</h1>
<form role="search" action="/status" method="get"{hidden}>
<label for="q">Find a shop</label>
<input id="q" name="q" type="search" value="{escape(wanted.query)}" maxlength="100" placeholder="Name or platform"
 autocomplete="off" spellcheck="false">{'<input type="hidden" name="trouble" value="1">' if wanted.troubled else ""}
<button>Find</button>
</form>
<p id="stale" role="status"></p>
</header>
<main>
{_summary(report)}
"""
    yield from _table(report, now) if report.rows else (_nothing(report),)
    yield f"""
{_pager(report)}
</main>
<footer>
<p>Calls, errors and 401s are those of the last {MINUTES} minutes. Errors are answers from 500 on, and
all of the proxy's own; a 401 is the platform's.</p>
<p>Version {escape(report.process.version)} · <a href="/status.json">JSON</a> · <a href="/metrics">Metrics</a>
<noscript> · This page is refreshed when you load it again.</noscript></p>
</footer>
</body>
</html>
"""


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


def _title(report: Report) -> str:
    return f"{f'({report.troubled}) ' if report.troubled else ''}Shop Auth Proxy"


def _summary(report: Report) -> str:
    process = report.process
    tiles = [
        ("Proxy", _PHASES[process.phase], "" if process.phase == "serving" else "warn"),
        ("Shops", f"{report.shops:,}", ""),
        ("In trouble", _troubled(report), "bad" if report.troubled else ""),
        (f"Calls in {MINUTES} min", f"{report.calls:,}", ""),
        ("In flight", f"{process.in_flight:,}", ""),
        ("Connections", f"{process.connections:,}", ""),
    ]
    if process.shared is not None:
        number = f"{process.shared.replicas:,}"
        alone = process.shared.away  # each goes on with what it holds, and keeps to its share of the limits
        tiles.append(("Replicas", f"{number}, each alone: no Redis" if alone else number, "warn" if alone else ""))
    if not process.last_reload_successful:
        tiles.append(("Configuration", "Has problems", "bad"))
    items = "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd></div>' for name, value, kind in tiles)
    return f'<dl class="summary">{items}</dl>'


def _troubled(report: Report) -> str:
    """Return how many shops are in trouble, as a link to them alone, or back to all."""
    wanted = report.wanted
    if wanted.troubled:
        return f'{report.troubled:,} <a id="all" href="{_url(wanted._replace(troubled=False))}">Show all</a>'
    if not report.troubled:
        return "0"
    return f'<a id="trouble" href="{_url(wanted._replace(troubled=True))}">{report.troubled:,}</a>'


def _url(wanted: Wanted, page: int | None = None) -> str:
    """Return where these shops are, as it stands in an attribute."""
    parameters = {
        **({"q": wanted.query} if wanted.query else {}),
        **({"trouble": 1} if wanted.troubled else {}),
        **({"page": page} if page else {}),
    }
    return "/status" + (f"?{escape(urlencode(parameters))}" if parameters else "")


def _table(report: Report, now: float) -> Iterator[str]:
    heads = "".join(
        f'<th scope="col" role="columnheader"{" class=number" if name in _NUMBERS else ""}>{name}</th>'
        for name in _COLUMNS
    )
    # The roles are those that tables have anyway; browsers forget them where a narrow page shows rows as cards.
    yield (
        '<table role="table"><caption>Shops, trouble first</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n<tbody role="rowgroup">\n'
    )
    for row in report.rows:
        yield _row(row, now) + "\n"
    yield "</tbody></table>"


def _row(row: Row, now: float) -> str:
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
            ("Trouble", "trouble", _trouble(row, now)),
        )
    )
    return (
        f'<tr role="row" class="{kind}"><th scope="row" role="rowheader"><span class="name">{name}</span>'
        f' <span class="platform">{escape(shop.platform)}</span></th>{cells}</tr>'
    )


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
            parts.append(f"<p><strong>To mend it:</strong> {escape(shop.mend)}.</p>")
        again = f"Asked again after {duration(token.asked_again_in)}." if token.asked_again_in >= 1 else ""
        again = again or "The next call asks again."
        old = "" if token.left is None else "The old token still serves. "
        parts.append(f'<p class="quiet">{old}{again}</p>')
    problem = shop.problem
    if problem is not None:
        ago = duration(now - problem.at)
        # The sentence of the last call's failure is often the one above.
        detail = "" if token is not None and problem.detail == token.detail else f" {escape(problem.detail)}"
        parts.append(
            f'<p class="last"><span class="quiet">{ago} ago</span> <code>{escape(problem.code)}</code>{detail}</p>'
        )
    return "".join(parts) or '<span class="quiet">–</span>'


def _nothing(report: Report) -> str:
    query, troubled, _ = report.wanted
    if query:
        where = " in trouble" if troubled else ""
        return f'<p class="nothing">No shop{where} is called “{escape(query)}”. <a href="/status">Show all</a></p>'
    if troubled:
        return '<p class="nothing">No shop is in trouble. <a href="/status">Show all</a></p>'
    return '<p class="nothing">No shop yet. Each one shows up here with its first call.</p>'


def _pager(report: Report) -> str:
    if report.pages == 1:
        return ""
    links, wanted = [], report.wanted
    for step, words in ((-1, "← Previous"), (1, "Next →")):
        number = wanted.page + step
        if 1 <= number <= report.pages:
            links.append(f'<a id="page{step:+}" href="{_url(wanted, number)}">{words}</a>')
    return (
        f'<nav aria-label="Pages"><span>Page {wanted.page} of {report.pages}: {report.matching:,} shops</span>'
        f"{''.join(links)}</nav>"
    )
