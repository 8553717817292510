"""The upstream: nginx with static answers, which costs less than any proxy in front of it.

    GET  /api/small.json page.json large.json file.bin    0.1, 5.4 and 50 kB of JSON; 32 MB
    POST /api/orders                                      reads the body to its end, then answers 201
    POST /token, /token/SHOP                              an access token (RFC 6749 §4.4.3)

Whatever is below /api/ answers 401 without the right bearer. A second port speaks TLS.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

from benchmarks.compare.contender import TOKEN, Invalid, ask
from benchmarks.compare.nginx import nginx
from benchmarks.processes import free_port, is_free, program

LINKS = 34  # in page.json
FILE_SIZE = 32 * 1024 * 1024
BEARER = f"Bearer {TOKEN}"

_HTTP = """
  open_file_cache max=100 inactive=1d;
  open_file_cache_valid 1d;
  types {{ application/json json; application/octet-stream bin; }}
  default_type application/json;
  client_header_buffer_size 8k;
  client_body_buffer_size 40m;  # an upload stays in memory
  map $http_authorization $unauthorized {{ default 1; "{bearer}" 0; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    root {folder}/www;
    location /api/ {{
      if ($unauthorized) {{ return 401; }}
    }}
    location = /api/orders {{
      if ($unauthorized) {{ return 401; }}
      mirror /taken;  # makes nginx read the body before it answers
      error_page 404 =201 @created;
    }}
    location = /taken {{ internal; return 204; }}
    location @created {{ return 201 '{{"bytes":$request_length}}'; }}
    location /token {{
      return 200 '{{"access_token":"{token}","token_type":"Bearer","expires_in":86400}}';
    }}
  }}
"""


class Upstream(NamedTuple):
    """The upstream's ports on loopback, and the file with the certificate of who vouches for it."""

    port: int
    tls_port: int
    ca: Path


_KINDS = ("productDescriptions", "productSpecials", "productImages", "productTags", "productOptions")
_TEXT = (
    "A light running shoe for every day. The breathable upper keeps your feet dry in any weather, and the sole with "
    "its deep profile holds on wet ground. Wash at 30 degrees, do not tumble dry. Sizes 36 to 46, delivered within "
    "three working days. Two years of warranty, and a hundred days to send it back, even worn. "
    "Pick it up in one of our shops, or have it brought to you on a Saturday, for free."
)


def page(base: str, products: int) -> bytes:
    """Return a page of products as a shop's API in PHP writes it, with links below `base`: four, and six a product."""
    items = [
        {
            "href": f"{base}/products/cHJvZHVjdC1wcm9kdWN0X2lkPTI{number:03}==",
            "innerId": str(number),
            "sku": f"SKU-{number:05}",
            "price": "139900.0000",
            **{kind: {"href": f"{base}/{kind}?productId={number}&full=1"} for kind in _KINDS},
            "description": _TEXT,
        }
        for number in range(products)
    ]
    around = {name: {"href": f"{base}/products?full=1&page={name}"} for name in ("first", "next", "last")}
    whole = {"href": f"{base}/products?full=1&page=0", "pageCount": "125", **around, "previous": None, "items": items}
    return json.dumps(whole, separators=(",", ":")).replace("/", "\\/").encode()


@contextmanager
def upstream(folder: Path, port: int | None = None) -> Iterator[Upstream]:
    """Run it, on the core of whoever calls this, and check that it answers as it should. Raises `Invalid`."""
    if port is None:
        port = free_port()
    elif not is_free(port):
        raise Invalid(f"the upstream can't start: port {port} is taken")
    tls_port = free_port()
    authority = trustme.CA()
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    certificate = authority.issue_cert("127.0.0.1", "localhost")  # nginx looks for names alone
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    answers = folder / "www" / "api"
    answers.mkdir(parents=True)
    (answers / "small.json").write_bytes(json.dumps({"id": "1", "sku": "SKU-00001", "name": "Shoe" * 13}).encode())
    (answers / "page.json").write_bytes(page(f"http://127.0.0.1:{port}/api", 5))
    (answers / "large.json").write_bytes(page(f"http://127.0.0.1:{port}/api", 49))
    (answers / "file.bin").write_bytes(bytes(range(256)) * (FILE_SIZE // 256))
    http = _HTTP.format(folder=folder, port=port, tls_port=tls_port, bearer=BEARER, token=TOKEN)
    with program(nginx(folder, http)) as process:
        deadline = time.monotonic() + 10
        while is_free(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Invalid("the upstream did not start")
            time.sleep(0.05)
        refused, _ = ask(port, "/api/page.json")
        status, body = ask(port, "/api/page.json", BEARER)
        if (refused, status, body.count(b'"href"')) != (401, 200, LINKS):
            raise Invalid(f"the upstream is wrong: {refused}, {status}, {body[:100]!r}")
        yield Upstream(port, tls_port, ca)
