"""What the codes of the proxy's own answers mean, and what to do: a page that the status page's codes lead to.

Rules: the same words as in docs/troubleshooting.md, which a test holds to these.
"""

from html import escape
from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """The statuses that an answer with a code may have, and what it means, with `code` marked as in Markdown."""

    statuses: str
    words: str


MEANINGS: Final = {
    "bad_target": Meaning(
        "400",
        "the URL has no shop name after the first `/`, or `..` in its path",
    ),
    "bad_request": Meaning(
        "400",
        "not valid HTTP, or ambiguous; `detail` says why (a raw space in the URL must be percent-encoded; Base64 in"
        " `Authorization` must be on one line)",
    ),
    "client_unauthenticated": Meaning(
        "401",
        "the proxy has clients, and the request has no credentials, or wrong ones; the log says which, under `reason`",
    ),
    "client_forbidden": Meaning(
        "403",
        "this client may not use this shop or this method (or another method, named in `_method` or in a batch):"
        " see its `shops` and `methods`",
    ),
    "unknown_shop": Meaning(
        "404",
        "there is no `[shops.<name>]` for the first part of the path",
    ),
    "request_timeout": Meaning(
        "408",
        "the headers or the body arrived too slowly: `server.header_timeout`, `server.min_body_rate`,"
        " `server.rate_window`",
    ),
    "body_too_large": Meaning(
        "413",
        "the body is larger than `upstream.max_body_size`, or than one client's share of `server.spool_budget`:"
        " `detail` says which",
    ),
    "request_too_large": Meaning(
        "414, 431",
        "the URL or the headers are too large: `server.max_request_line`, `max_header_size`, `max_header_count`",
    ),
    "expectation_failed": Meaning(
        "417",
        "an `Expect` header other than `100-continue`",
    ),
    "too_many_failures": Meaning(
        "429",
        "the credentials are wrong, and so were 10 others from the same address within a minute; correct ones are"
        " still accepted",
    ),
    "internal": Meaning(
        "500",
        "a bug in the proxy; the log says more",
    ),
    "method_not_supported": Meaning(
        "501",
        "`CONNECT`, `TRACE`, or not a method of HTTP; `get` is not `GET`",
    ),
    "token_refused": Meaning(
        "502",
        "the platform refuses `client_id` and `client_secret`: run `shop-auth-proxy check`",
    ),
    "token_unavailable": Meaning(
        "502, 504",
        "the token endpoint can't be reached, does not answer, or gives an unusable answer; the status page and"
        " the log have the reason. `Retry-After` says when the proxy will ask again",
    ),
    "paced_out": Meaning(
        "503",
        "more requests than the platform's rate limit lets through within `pacing.max_wait`, or the platform itself"
        " said that requests come too fast; `Retry-After` says when to try again",
    ),
    "overloaded": Meaning(
        "503",
        "too much at once, or one client calls too many shops for the first time at once"
        " (`tokens.first_requests_per_second`). `detail` names what has run out, with its setting: request slots"
        " (`server.max_requests`), memory (`server.memory_budget`), disk space for large bodies"
        " (`server.spool_budget`), or file descriptors (`ulimit -n`); `shop_auth_proxy_budget_used` and `…_limit`"
        " show how much is in use",
    ),
    "shop_overloaded": Meaning(
        "503",
        "too much for this shop at once: the shop, or all shops of its platform together, used up their share, while"
        " others are served; `detail` says which. The usual reason is a shop or a platform that does not answer",
    ),
    "client_overloaded": Meaning(
        "503",
        "the same for one client, or, without credentials, for one address",
    ),
    "storage_unavailable": Meaning(
        "500",
        "a large body could not be stored in the temporary directory, because it is full or failing; small ones"
        " still pass. The log says why, under `reason`: free some space there, or start the proxy with `TMPDIR` set to"
        " another directory",
    ),
    "draining": Meaning(
        "503",
        "the proxy was stopped, and there was no answer within `server.drain_timeout`; try again",
    ),
    "upstream_unreachable": Meaning(
        "502",
        "the shop's API can't be reached (DNS, network, certificate or egress proxy); the status page and the log"
        " have the reason",
    ),
    "upstream_protocol_error": Meaning(
        "502",
        "the shop's API sent a broken answer; the status page and the log say what is wrong with it",
    ),
    "upstream_timeout": Meaning(
        "504",
        "the shop's API took too long: ask for less at once, or raise `upstream.read_timeout`",
    ),
    "loop": Meaning(
        "508",
        "the platform's `api_url`, or DNS, points back at the proxy",
    ),
}
# Not the proxy's own: what the platform answered.
_OF_THE_PLATFORM: Final = {
    "http_401": Meaning(
        "401",
        "the platform answered 401 although the token was renewed: the API client most likely lacks the permission for"
        " this call; allow it where the API client was made",
    ),
    "http_429": Meaning(
        "429",
        "the platform says that calls come too fast: does something else use the same credentials?",
    ),
    "http_508": Meaning(
        "508",
        "most likely the call came back to this proxy: the platform's `api_url`, or DNS, points here",
    ),
    "http": Meaning("5xx", "the platform failed; its own answer was passed on and says more"),
}


def link_to(code: str) -> str:
    """Return where a code is explained."""
    return f"/codes#{code if code in MEANINGS or code in _OF_THE_PLATFORM else 'http'}"


def head(title: str) -> str:
    """Return the beginning of any page, up to what it has in its head besides."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/status.svg" type="image/svg+xml">
<link rel="stylesheet" href="/status.css">
"""


def codes_page() -> str:
    """Return the page, as HTML."""
    rows = "".join(
        f'<tr id="{code}"><th scope="row"><code>{code}</code></th><td>{meaning.statuses}</td>'
        f"<td>{_marked(meaning.words)}</td></tr>\n"
        for code, meaning in (MEANINGS | _OF_THE_PLATFORM).items()
    )
    return f"""{head("Codes – Shop Auth Proxy")}</head>
<body>
<header><h1><img src="/status.svg" alt="" width="28" height="28">What the codes mean</h1>
<a href="/status">Back to the status page</a></header>
<main>
<table class="plain codes">
<thead><tr><th scope="col">Code</th><th scope="col">Status</th><th scope="col">What it means, and what to do</th></tr>
</thead>
<tbody>
{rows}</tbody>
</table>
</main>
</body>
</html>
"""


def _marked(words: str) -> str:
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
