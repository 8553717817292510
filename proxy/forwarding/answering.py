"""What the proxy answers itself: errors, in the form that the client can read, and OPTIONS as its last recipient.

Rules: which form an error has tells nobody which shops there are: before a client is admitted to a shop, it is the same
for all. Where an answer has begun already, it ends there, and looks broken.
"""

from contextlib import suppress

from proxy.errors import BadRequest, BadTarget, BodyTooLarge, ProxyError
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.problems import PAGE, form_for, problem, wants_page
from proxy.wire.request import ClientRequest


def answer_error(exchange: Exchange, error: ProxyError) -> bool:
    """Answer with an error, or break off the answer that has begun; tell whether that was so."""
    exchange.error = error
    request, response, route = exchange.request, exchange.response, exchange.route
    if response.status is not None:
        response.break_off()
        return True
    # What is meant for another host, or for none (`http://…`, `host:443`, `*`), or is not whole: what follows may
    # belong to no request.
    elsewhere = isinstance(error, BadTarget) and not request.target.startswith(b"/")
    if elsewhere or _is_unread(request) or isinstance(error, (BadRequest, BodyTooLarge)):
        response.refuse_rest()
    in_xml = exchange.site.answers_in_xml if route is None else route.shop.platform.answers_in_xml
    accept = request.head.values(b"accept")
    form = PAGE if wants_page(accept) else form_for(accept, in_xml=in_xml)
    answer = problem(error, request_id=exchange.request_id.decode(), form=form)
    with suppress(ConnectionError):
        response.start(
            answer.status,
            answer.reason,
            b"".join([name + b": " + value + b"\r\n" for name, value in answer.headers]),
            length=b"%d" % len(answer.body),
            first=b"" if request.method == "HEAD" else answer.body,
            complete=True,
        )
    return False


def answer_options(exchange: Exchange) -> None:
    """Answer OPTIONS as its last recipient (RFC 9110 §7.6.2)."""
    if _is_unread(exchange.request):
        exchange.response.refuse_rest()
    exchange.response.start(204, b"No Content", b"", length=None, first=b"", complete=True)


def _is_unread(request: ClientRequest) -> bool:
    """Tell whether something of the request has not come yet: nobody would look for another one behind that."""
    return not (request.body is None or request.body.ended)
