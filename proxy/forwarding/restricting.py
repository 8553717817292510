"""What a client that may use some methods alone is refused besides: ways to have another one carried out.

Rules: a header field that names a method stops here, as it is often sent out of habit; a parameter or form field that
does is refused, since the rest of the request would not mean the same without it. So is a batch, which may hold any
method, and a packed body, which can't be looked into. A body is looked at before anything of it goes on.
"""

from contextlib import aclosing

from proxy.errors import ClientForbidden
from proxy.guards.overrides import OVERRIDE_FIELDS, OverrideSearch, names_method
from proxy.links.unpacking import is_packed
from proxy.platforms.platform import Platform
from proxy.wire.body import RequestBody
from proxy.wire.head import Head, as_variable

NO_BATCH = "This client may not send batches, since the calls in one can use any method."
NO_OTHER_METHOD = "This client may not name another method in '_method'."
NOT_PACKED = (
    "This client may not send a body with a Content-Encoding, since the proxy can't see whether it names another"
    " method."
)


def check_target(rest: bytes, platform: Platform) -> None:
    """Raise `ClientForbidden` if what follows the shop in a target leads round a client's methods."""
    if platform.is_batch(rest):
        raise ClientForbidden(NO_BATCH)
    if names_method(rest):
        raise ClientForbidden(NO_OTHER_METHOD)


async def check_message(head: Head, content: bytes | None, body: RequestBody | None) -> None:
    """Stop the fields that name a method. Raise `ClientForbidden` if the body does, and as `RequestBody.chunks` does.

    `content` is the whole body where it is in memory, else `body` has it, and is taken whole.
    """
    head.stop(OVERRIDE_FIELDS)
    search = OverrideSearch(_values(head, b"content-type"))
    if content == b"" or not search.needed:
        return
    if is_packed(b", ".join(_values(head, b"content-encoding"))):
        raise ClientForbidden(NOT_PACKED)
    if content is not None:
        found = search.found(content)
    else:
        assert body is not None  # noqa: S101 - for the type checker: the content comes from there
        found = False
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                found = found or search.found(chunk)
    if found or search.found(b"&"):
        raise ClientForbidden(NO_OTHER_METHOD)


def _values(head: Head, name: bytes) -> list[bytes]:
    """Return the values of the fields of this name, and of its twin with underscores."""
    return [*head.values(name), *head.values(as_variable(name))]
