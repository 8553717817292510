"""Step 3 on the way of a request: what goes to the platform, but for the token; and how its body goes.

Rules: a body that fits in memory is read whole before anything is asked of the upstream, so that no connection waits
for a client that is slow to send it. Where links are rewritten, the platform gets its own ones, and the right length.
Where the bodies of answers tell what the platform means, it is offered codings alone that can be unpacked here.
"""

from typing import Final

from proxy.forwarding.exchange import Exchange
from proxy.forwarding.fields import decrease_max_forwards, expects_continue, forwarded_lines
from proxy.forwarding.restricting import check_message
from proxy.forwarding.rewritten_body import RewrittenBody, rewritten
from proxy.forwarding.route import Route
from proxy.forwarding.target import Target, upstream_target
from proxy.forwarding.upstream import UpstreamRequest
from proxy.links.answers import DIGESTS
from proxy.links.requests import ADDED_REQUEST_FIELDS, REQUEST_FIELDS, edited_request_field, links_in_request
from proxy.wire.body import RequestBody, too_large
from proxy.wire.head import Head

# An empty body of theirs is announced too (RFC 9110 §8.6).
_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))
_LIGHT: Final = 1 << 13  # bytes that a request may hold for its place alone
_UNPACKABLE: Final = (b"gzip", b"x-gzip", b"identity")


def is_last_recipient(head: Head) -> bool:
    """Tell whether OPTIONS must not go further; if it may, count this hop (RFC 9110 §7.6.2). Raises `BadRequest`."""
    return b"max-forwards" in head.first and not decrease_max_forwards(head)


async def prepare(exchange: Exchange, route: Route, target: Target) -> UpstreamRequest:
    """Return the request for the upstream. Raises a `RequestError`, and as `RequestBody.chunks` does."""
    request, head = exchange.request, exchange.request.head
    waits = b"expect" in head.first and expects_continue(head)
    content = request.content
    weight = request.weight + len(content or b"")
    if weight > _LIGHT:
        assert exchange.holding is not None  # noqa: S101 - for the type checker: the request has its place
        exchange.holding.memory(weight)
    body: RequestBody | RewrittenBody | None = None
    if content is None:
        body = exchange.body = _arriving(exchange)
        if waits:
            exchange.response.send_continue()
        content = await body.read_ahead()
    elif len(content) > exchange.site.max_body_size:
        raise too_large(exchange.site.max_body_size)
    if exchange.client is not None and exchange.client.methods is not None:
        head = head.copy()
        await check_message(head, content, exchange.body)
    if route.token_field is not None or route.shop.platform.answers.look_into_bodies:
        head = _for_platform(head, route)
    if exchange.links is not None:
        head = _offering_gzip(head)
        links = None if content == b"" else links_in_request(head.values, exchange.links)
        if links is not None:
            if content is not None:
                before, content = content, links.rewrite(content)
                changed = content != before
            else:
                assert exchange.body is not None  # noqa: S101 - for the type checker: the content comes from there
                body = await rewritten(exchange.body, links) or exchange.body
                changed = body is not exchange.body
            if changed:
                head = head.copy()
                head.stop(DIGESTS)
    framing = b""  # of a body that streams: told with each attempt, since its length may be known by then
    if content or (content is not None and (request.method in _WITH_BODY or b"content-length" in head.first)):
        framing = b"Content-Length: %d\r\n" % len(content)
    start = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bX-Request-ID: %b\r\n%b%b" % (
        request.method.encode(),
        upstream_target(route.base_path, target.rest),
        route.host,
        head.passing,
        exchange.site.hop.via(modern=request.modern),
        exchange.request_id,
        _forwarded(exchange) if route.shop.platform.forwarded_headers else b"",
        framing,
    )
    return UpstreamRequest(route.destination, request.method, start, content, body)


def _arriving(exchange: Exchange) -> RequestBody:
    """Return the body of a request that has not come yet."""
    request, head = exchange.request, exchange.request.head
    # The content did not come with the head, and the request has its place.
    assert request.body is not None and exchange.holding is not None  # noqa: S101, PT018 - for the type checker
    announced = head.first.get(b"content-length")
    return RequestBody(
        request.body,
        exchange.site.spool,
        exchange.holding,
        announced=None if announced is None else int(announced),
        max_size=exchange.site.max_body_size,
    )


def _forwarded(exchange: Exchange) -> bytes:
    connection = exchange.request.connection
    return forwarded_lines(
        exchange.request.head,
        remote=connection.remote,
        scheme=b"https" if connection.secure else b"http",
        trusted=exchange.site.hop.trusts(connection.remote),
    )


def _for_platform(head: Head, route: Route) -> Head:
    """Return the head without what stands where the token will, and so that answers can be looked into."""
    head = head.copy()
    if route.token_field is not None:
        head.stop([route.token_field])
    if route.shop.platform.answers.look_into_bodies:
        head.change((b"accept-encoding", b"accept_encoding"), _unpackable)
    return head


def _unpackable(_: bytes, accepted: bytes) -> bytes:
    """Return what of a value of Accept-Encoding can be unpacked here; `identity` if none of it."""
    members = [member.strip(b" \t") for member in accepted.split(b",")]
    kept = [member for member in members if member.partition(b";")[0].rstrip(b" \t").lower() in _UNPACKABLE]
    return b", ".join(kept) or b"identity"


def _offering_gzip(head: Head) -> Head:
    """Return the head as it asks for an answer whose links can be rewritten; the same for the same head."""
    if head.variant is None:
        offering = head.copy()
        if not REQUEST_FIELDS.isdisjoint(head.first):
            offering.change(REQUEST_FIELDS, edited_request_field)
        for name, value in ADDED_REQUEST_FIELDS:
            offering.add(name, value)
        head.variant = offering
    return head.variant
