"""A shop whose links lead back through the proxy, for tests of the whole path."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.peers import Script, response
from tests.proxies import WholePath, whole_path

OLD_HOST = b"https://demo.old.example"
BASE = b"http://proxy/demo"  # since `tests.peers.request` has `Host: proxy`
JSON = b"Content-Type: application/json\r\n"


def linking(api: Script, **changes: Any) -> AbstractAsyncContextManager[WholePath]:
    """A proxy that rewrites links of the old host `demo.old.example`, and of the API itself."""
    return whole_path(api, of={"hosts": ("{shop}.old.example",), "rewrite_links": True}, **changes)


def page(body: bytes, *, fields: bytes = JSON, status: bytes = b"200 OK") -> bytes:
    """An answer of the API, JSON if not told otherwise."""
    return response(body, fields=fields, status=status)
