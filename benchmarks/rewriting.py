"""Measures how fast links are rewritten in JSON of about 50 kB, whole and as a stream, and what they cost in 5 kB.

Run as: python -m benchmarks.rewriting

Each line says what is in the body, how many links, and megabytes of it a second, or how long everything takes that is
done for the links of one answer: best of a few rounds, one core.
"""

import gzip
import json
import time
from collections.abc import Callable
from functools import partial

from proxy.links.answers import ANSWER_FIELDS, added_fields, edit_of, edited_field
from proxy.links.api_links import ApiLinks, LinkMap
from proxy.links.body_editor import BodyEditor
from proxy.links.shop_links import LinksOfShops
from proxy.platforms.shoprenter import SHOPRENTER

API_HOST = "demo.api2.myshoprenter.hu"
API = SHOPRENTER.api_urls_for("demo")
BASE = "http://proxy:8080/demo"
TEXT = (
    "<p>Kényelmes, könnyű futócipő a mindennapi edzésekhez. A légáteresztő felsőrész hidegben is szárazon tartja a "
    "lábat.</p>"
    "<p>A light running shoe for every day. The breathable upper keeps your feet dry in any weather, and the sole with "
    "its deep profile holds on wet ground. Wash at 30 degrees, do not tumble dry. Sizes 36 to 46, delivered within "
    "three working days.</p>"
)
READ_SIZE = 16384  # bytes; about what comes from a socket at once
ROUNDS = 7
TIMES = 100


def page(links_in_item: int, host: str = API_HOST) -> bytes:
    """A page of products as PHP writes it, with so many links in each of about 500 bytes of other text."""
    items: list[dict[str, object]] = []
    size = 0
    while size < 50_000:
        number = len(items)
        item: dict[str, object] = {
            f"kind{k}": {"href": f"https://{host}/api/productRelation{k}?productId={number}"}
            for k in range(links_in_item)
        }
        item |= {"sku": f"SKU-{number}", "price": "139900.0000", "description": TEXT}
        items.append(item)
        size += len(json.dumps(item))
    return json.dumps({"items": items}).replace("/", "\\/").encode()


def small_page(links: int, *, slash: str = "\\/", host: str = API_HOST) -> bytes:
    """A body of about 5.2 kB with so many links."""
    items = [
        {"href": f"https://{host}/api/products/cHJvZHVjdC{number}=", "text": TEXT[: 5200 // links - 100]}
        for number in range(links)
    ]
    return json.dumps(items or TEXT * 14, ensure_ascii=False).replace("/", slash).encode()


HEAD = {
    b"date": [b"Mon, 05 Jan 2026 10:00:00 GMT"],
    b"content-type": [b"application/json; charset=utf-8"],
    b"etag": [b'"5f3a"'],
    b"vary": [b"Accept"],
    b"x-ratelimit-remaining": [b"2"],
}


def edit_answer(shops: LinksOfShops, head: dict[bytes, list[bytes]], body: bytes) -> bytes:
    """All that is done for the links of one answer that is all there."""
    links = shops.find("demo", tuple(API), b"/api/", BASE)
    assert links is not None
    edit = edit_of(200, lambda name: head.get(name, []), lambda name: [])
    editor = BodyEditor(links, edit, b", ".join(head.get(b"content-encoding", [])))
    edited = editor.whole(body, 1 << 18)
    assert edited is not None
    for name in head:
        if name in ANSWER_FIELDS:
            edited_field(name, head[name][0], links, edit, changed=editor.changed)
    added_fields(lambda name: head.get(name, []), edit, changed=editor.changed)
    return edited


def rate(work: Callable[[bytes], object], body: bytes) -> float:
    """Megabytes a second."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(TIMES):
            work(body)
        best = min(best, (time.perf_counter() - begin) / TIMES)
    return len(body) / best / 1e6


def stream(links: LinkMap, body: bytes) -> bytes:
    rewriter = links.rewriter()
    parts = [rewriter.feed(body[at : at + READ_SIZE]) for at in range(0, len(body), READ_SIZE)]
    return b"".join([*parts, rewriter.finish()])


def main() -> None:
    begin = time.perf_counter()
    links = ApiLinks(API).in_answers(BASE)
    back = ApiLinks(API).in_requests(BASE)
    made = time.perf_counter() - begin
    bodies = {
        "no link": page(0),
        "3 links in 700 bytes": page(3),
        "hardly anything but links": page(40),
        "as many links, another host": page(40, "www.elsewhere.example"),
    }
    for name, body in bodies.items():
        answer = links.rewrite(body)
        assert back.rewrite(answer) == body
        print(
            f"{name:28} {body.count(b'href'):4} links"
            f"  whole {rate(links.rewrite, body):6.0f} MB/s"
            f"  stream {rate(lambda body: stream(links, body), body):6.0f} MB/s"
            f"  back {rate(back.rewrite, answer):6.0f} MB/s"
        )
    shops = LinksOfShops()
    packed = gzip.compress(small_page(34))
    for name, head, body in [
        ("no link", HEAD, small_page(0)),
        ("34 links", HEAD, small_page(34)),
        ("34 links, / not escaped", HEAD, small_page(34, slash="/")),
        ("34 links, another host", HEAD, small_page(34, host="www.elsewhere.example")),
        ("34 links, packed", HEAD | {b"content-encoding": [b"gzip"]}, packed),
    ]:
        micros = len(body) / rate(partial(edit_answer, shops, head), body)
        print(f"{name:28} {len(body):5} bytes  {micros:6.1f} µs an answer")
    print(f"{'to unpack that alone':28} {len(packed):5} bytes  {len(packed) / rate(gzip.decompress, packed):6.1f} µs")
    print(f"both maps made in {made * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
