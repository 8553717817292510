"""The one map from an error to an HTTP answer: a problem document (RFC 9457), in the form that the client asks for.

Rules: what `Accept` prefers decides (RFC 9110 §12.5.1), and where it leaves the choice, how the platform answers: old
programs read nothing else. So plain JSON or XML is what most get, and the types of RFC 9457 are for who names them, or
says nothing. All forms say the same, in ASCII alone, so that no guess at a charset goes wrong; `message` is `detail`
once more, under the name by which old programs show it. A browser gets a small page instead.
"""

import html
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from proxy.errors import PROXY_NAME, ProxyError

_TYPE_PREFIX: Final = "urn:problem-type:shop-auth-proxy:"
_NAMESPACE: Final = "urn:ietf:rfc:7807"  # RFC 9457, appendix B
# What XML 1.0 §2.2 leaves out. (It takes 5 ms to compile what that lets in.)
_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_PROBLEM_JSON: Final = b"application/problem+json"
_PROBLEM_XML: Final = b"application/problem+xml"
_JSON: Final = b"application/json"
_XML: Final = b"application/xml"
PAGE: Final = b"text/html; charset=utf-8"
_FORMS: Final = (_PROBLEM_JSON, _PROBLEM_XML, _JSON, _XML, b"text/xml")
# Who asks for what is written in JSON or XML can read it. XHTML is for those who show pages.
_WRITTEN_IN: Final = (
    (re.compile(rb"(?:application|text)/(?:[^/]+\+|x-)?json"), _JSON),
    (re.compile(rb"application/(?!xhtml)[^/]+\+xml"), _XML),
)

_MEMBER: Final = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT: Final = re.compile(rb";[ \t]*q[ \t]*=[ \t]*([0-9]*\.?[0-9]+)", re.IGNORECASE)  # Java's clients write `q=.2`


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of the proxy itself, ready to be written: status, reason phrase, header fields in order, body."""

    status: int
    reason: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def problem(error: ProxyError, *, request_id: str, form: bytes) -> Problem:
    """Return the HTTP answer for `error`; `form` is what `form_for` returns, or `PAGE`."""
    document = {
        "type": _TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "message": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    written = _as_page if form == PAGE else _as_xml if form.endswith(b"xml") else json.dumps
    body = written(document)
    headers: tuple[tuple[bytes, bytes], ...] = (
        (b"Content-Type", form),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b"%s; error=%s" % (PROXY_NAME, error.proxy_status.encode())),
        *error.fields,
    )
    if error.retry_after is not None:
        headers += ((b"Retry-After", b"%d" % max(math.ceil(round(error.retry_after, 3)), 1)),)
    reason = HTTPStatus(error.status).phrase.encode()
    return Problem(error.status, reason, headers, body.encode("ascii", "xmlcharrefreplace") + b"\n")


def wants_page(accept: Sequence[bytes]) -> bool:
    """Tell whether these values of `Accept` are a browser's.

    It asks for HTML first, and for XHTML too, or for nothing else. Java's programs ask for HTML and GIF, and can't read
    either.
    """
    asked = dict(_ranges(accept))
    weight = asked.get(b"text/html", 0.0)
    return 0.0 < weight == max(asked.values()) and (len(asked) == 1 or b"application/xhtml+xml" in asked)


def form_for(accept: Sequence[bytes], *, in_xml: bool) -> bytes:
    """Return the media type of an error for a client with these values of `Accept`.

    `in_xml` if the platform answers in XML unless it is asked for something else.
    """
    asked: dict[bytes, tuple[float, int]] = {}
    for place, (media_range, weight) in enumerate(_ranges(accept)):
        asked[media_range] = max((weight, -place), asked.get(media_range, (0.0, 0)))

    def quality(form: bytes) -> tuple[float, bool, bool, int]:
        if form in asked:
            weight, place = asked[form]
            return weight, True, form in (_PROBLEM_JSON, _PROBLEM_XML), place
        of_type = form.partition(b"/")[0] + b"/*"
        return asked.get(of_type, asked.get(b"*/*", (0.0, 0)))[0], False, False, 0

    default = _XML if in_xml else _PROBLEM_JSON
    best = max((default, *_FORMS), key=quality)  # of equals, the first
    return best if quality(best)[0] else default


def _ranges(accept: Sequence[bytes]) -> Iterator[tuple[bytes, float]]:
    """Yield the media ranges of `Accept` and their weights, in order."""
    for member in _MEMBER.findall(b",".join(accept)):
        media_range = member.partition(b";")[0].strip().lower()
        if media_range == b"*":
            media_range = b"*/*"  # Java's HttpURLConnection
        if media_range not in _FORMS:
            media_range = next((form for like, form in _WRITTEN_IN if like.fullmatch(media_range)), media_range)
        weight = _WEIGHT.search(member)
        yield media_range, 1.0 if weight is None else min(float(weight[1]), 1.0)


def _as_page(document: Mapping[str, object]) -> str:
    """Return a document as HTML, for people."""
    say = {name: html.escape(str(value)) for name, value in document.items()}
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{say["title"]} – Shop Auth Proxy</title>
<style>body {{ max-width: 40rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }}</style>
<h1>{say["title"]}</h1>
<p>{say["detail"]}</p>
<p>This is Shop Auth Proxy. It passes calls to <code>/&lt;shop&gt;/…</code> on to the shop's API, with the access token
that the API asks for.</p>
<p><small>{say["status"]} <code>{say["code"]}</code>, request <code>{say["request_id"]}</code></small></p>"""


def _as_xml(document: Mapping[str, object]) -> str:
    """Return a document in the XML form of RFC 9457, appendix B."""
    texts = {name: html.escape(_NOT_IN_XML.sub("\ufffd", str(value)), quote=False) for name, value in document.items()}
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<problem xmlns="{_NAMESPACE}">\n'
    elements = [f"  <{name}>{text}</{name}>\n" for name, text in texts.items()]
    return f"{head}{''.join(elements)}</problem>"
