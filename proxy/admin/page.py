"""The report as HTML: one page that an integrator understands at a glance.

Rules: whatever comes from a configuration, a client or a platform is escaped; no script and no style stands in the page
itself (see the Content-Security-Policy in `server.py`); without JavaScript all of it works but the refresh; colour is
never the only sign.
"""

import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final
from urllib.parse import urlencode

from proxy.admin.codes import head
from proxy.admin.report import NAME, Report, Wanted
from proxy.admin.rows import duration, problem_list, row_of
from proxy.admin.sources import ClientNow, ProcessNow
from proxy.telemetry.metrics import SharedMetrics
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import MINUTES

_MANY: Final = 10  # shops from which on there is a box to find one
_PHASES: Final = {"starting": "Starting", "serving": "Serving", "draining": "Stopping"}
# The columns, and what their heads sort by; `None`: not by that.
_COLUMNS: Final = (
    ("Shop", NAME),
    ("Token", None),
    ("Time left", None),
    ("Last 15 minutes", None),
    ("Calls", "calls"),
    ("Errors", "errors"),
    ("401s", "401s"),
    ("Waiting", "waiting"),
    ("Trouble", ""),
)
_MOST_CLIENTS: Final = 100
_DAY: Final = 86_400.0  # seconds
_WARN_OF_CERTIFICATE: Final = 14 * _DAY


def page(report: Report, *, now: float) -> Iterator[str]:
    """Yield the page in pieces; `now` is the traffic's clock, in seconds."""
    wanted = report.wanted
    hidden = "" if report.shops > _MANY or wanted.query else " hidden"
    yield f"""{head(_title(report))}<script src="/status.js" defer></script>
</head>
<body>
<header>
<h1><img src="/status.svg" alt="" width="28" height="28">Shop Auth Proxy</h1>
<form role="search" action="/status" method="get"{hidden}>
<label for="q">Find a shop</label>
<input id="q" name="q" type="search" value="{escape(wanted.query)}" maxlength="100" placeholder="Name or platform"
 autocomplete="off" spellcheck="false">{'<input type="hidden" name="trouble" value="1">' if wanted.troubled else ""}{
        f'<input type="hidden" name="sort" value="{wanted.sort}">' if wanted.sort else ""
    }
<button>Find</button>
</form>
<p id="stale" role="status"></p>
</header>
<main>
{_summary(report)}
{_config_problems(report.process)}
"""
    yield from _table(report, now) if report.rows else (_nothing(report),)
    yield f"""
{_pager(report)}
{_clients(report.clients)}
{_astray(report.astray, now)}
<p class="about">{_about(report.process)}</p>
</main>
<footer>
<p class="legend"><span class="key calls" aria-hidden="true"></span> calls in a minute
 <span class="key failed" aria-hidden="true"></span> errors and 401s among them</p>
<p>Calls, errors and 401s are from the last {MINUTES} minutes. Errors are 5xx answers and the proxy's own errors;
a 401 came from the platform.</p>
<p><a href="/codes">Codes</a> · <a href="/status.json">JSON</a> · <a href="/metrics">Metrics</a>
<noscript> · Reload the page to refresh it.</noscript></p>
</footer>
</body>
</html>
"""


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
        tiles.append(("Replicas", *_sharing(process.shared)))
    if not process.last_reload_successful:
        tiles.append(("Configuration", "Has problems", "bad"))
    items = "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd></div>' for name, value, kind in tiles)
    return f'<dl class="summary">{items}</dl>'


def _sharing(shared: SharedMetrics) -> tuple[str, str]:
    """Return how many replicas there are, and what is wrong; and how that is shown."""
    number = f"{shared.replicas:,}"
    if shared.away:  # each goes on with what it holds, and keeps to its share of the limits
        return f"{number}, each on its own: no Redis{escape(f' ({shared.why})') if shared.why else ''}", "warn"
    if shared.deaf:
        return f"{number}; can't hear each other: {escape(shared.deaf)}", "warn"
    return number, ""


def _troubled(report: Report) -> str:
    """Return how many shops are in trouble, as a link to them alone, or back to all."""
    wanted = report.wanted
    if wanted.troubled:
        return f'{report.troubled:,} <a id="all" href="{_url(wanted._replace(troubled=False, page=1))}">Show all</a>'
    if not report.troubled:
        return "0"
    return f'<a id="trouble" href="{_url(wanted._replace(troubled=True, page=1))}">{report.troubled:,}</a>'


def _url(wanted: Wanted, page: int | None = None) -> str:
    """Return where these shops are, as it stands in an attribute."""
    parameters = {
        **({"q": wanted.query} if wanted.query else {}),
        **({"trouble": 1} if wanted.troubled else {}),
        **({"sort": wanted.sort} if wanted.sort else {}),
        **({"page": page} if page else {}),
    }
    return "/status" + (f"?{escape(urlencode(parameters))}" if parameters else "")


def _table(report: Report, now: float) -> Iterator[str]:
    heads = "".join(_head(report.wanted, name, sort) for name, sort in _COLUMNS)
    # The roles are those that tables have anyway; browsers forget them where a page shows rows as cards.
    caption = f"Shops, by {report.wanted.sort}" if report.wanted.sort else "Shops, trouble first"
    yield (
        f'<table role="table" class="shops"><caption>{caption}</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n<tbody role="rowgroup">\n'
    )
    for row in report.rows:
        yield row_of(row, report.process.url, now) + "\n"
    yield "</tbody></table>"


def _head(wanted: Wanted, name: str, sort: str | None) -> str:
    css = name.lower().replace(" ", "-")
    if sort is None:
        return f'<th scope="col" role="columnheader" class="{css}">{name}</th>'
    sorted_by = "" if wanted.sort != sort else f' aria-sort="{"ascending" if sort == NAME else "descending"}"'
    link = _url(wanted._replace(sort=sort, page=1))
    return (
        f'<th scope="col" role="columnheader" class="{css}"{sorted_by}>'
        f'<a class="sort" id="by-{sort or "trouble"}" href="{link}" title="Sort by this">{name}</a></th>'
    )


def _config_problems(process: ProcessNow) -> str:
    """Return what is wrong with a configuration that was not taken, if there is one."""
    if not process.config_problems:
        return ""
    items = "".join(f"<li><code>{escape(problem)}</code></li>" for problem in process.config_problems)
    since = duration(process.now - process.configured_at)
    return (
        '<section class="notice"><h2>The changed configuration was not loaded</h2>'
        f"<p>The one from {_clock(process.configured_at)}, {since} ago, is still in use. Fix these problems:</p>"
        f"<ul>{items}</ul></section>"
    )


def _clients(clients: Sequence[ClientNow]) -> str:
    if not clients:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(each.name) or "<em>without valid credentials</em>"}</th>'
        f'<td class="number">{each.calls:,}</td>'
        f'<td class="number{" bad" if each.refused else ""}">{each.refused:,}</td>'
        f'<td class="when">{"not yet" if each.last is None else f"{duration(each.last)} ago"}</td></tr>\n'
        for each in clients[:_MOST_CLIENTS]
    )
    more = len(clients) - _MOST_CLIENTS
    return (
        '<section><h2>Clients</h2><table class="plain clients"><thead><tr><th scope="col">Client</th>'
        '<th scope="col" class="number">Calls</th><th scope="col" class="number">Refused</th>'
        f'<th scope="col">Last call</th></tr></thead><tbody>\n{rows}</tbody></table>'
        + (f'<p class="quiet">and {more:,} more</p>' if more > 0 else "")
        + "</section>"
    )


def _astray(problems: tuple[Problem, ...], now: float) -> str:
    if not problems:
        return ""
    return (
        '<section><details id="astray"><summary>Calls that named no shop: the last '
        f"{len(problems)}</summary>{problem_list(problems, now)}</details></section>"
    )


def _about(process: ProcessNow) -> str:
    parts = [f"Version {escape(process.version)}"]
    if process.started_at:
        parts.append(f"up for {duration(process.now - process.started_at)}")
    if process.url:
        parts.append(f'clients call <code class="copy">{escape(process.url)}</code>')
    if process.certificate_expires_at is not None:
        left = process.certificate_expires_at - process.now
        words = f"certificate valid for {duration(left)}" if left > 0 else "certificate has expired"
        parts.append(f'<strong class="slow">{words}</strong>' if left < _WARN_OF_CERTIFICATE else words)
    return " · ".join(parts)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _nothing(report: Report) -> str:
    query, troubled, *_ = report.wanted
    if query:
        where = " in trouble" if troubled else ""
        return f'<p class="nothing">No shop{where} is called “{escape(query)}”. <a href="/status">Show all</a></p>'
    if troubled:
        return '<p class="nothing">No shop is in trouble. <a href="/status">Show all</a></p>'
    return '<p class="nothing">No shop yet. Each one appears here with its first call.</p>'


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
