"""Several calls as one batch: which can be, what is sent, and what its answer says of each. Pure.

Rules:
- Only what a batch can't change is put into one: a GET that asks for JSON and nothing else that matters, without a
  range, a condition, or a way to name another method. All have the same fields, which become the batch's own.
- Only what is certain is taken out of its answer: as many parts as were asked for, each for its method and URI, in
  order. A part with 200 and an object or a list is an answer, byte for byte; of others nothing is taken but the status.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from proxy.forwarding.questions import IDS, field_name, whichever_version
from proxy.guards.overrides import OVERRIDE_FIELDS, names_method
from proxy.links.answers import DIGESTS
from proxy.platforms.platform import Platform
from proxy.wire.head import Head

# What says how a message is framed, packed or written: the batch has its own.
_OWN: Final = IDS | {b"content-length", b"content-type", b"accept-encoding"}
_NOT_IN_BATCHES: Final = (
    frozenset(b"range if-range if-match if-none-match if-modified-since if-unmodified-since".split())
    | frozenset(OVERRIDE_FIELDS)
    | DIGESTS
    | {b"content-encoding"}
)
_JSON: Final = re.compile(rb"(?:application|text)/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE)
_WEIGHT_0: Final = re.compile(rb";[ \t]*q[ \t]*=[ \t]*0?\.?0*[ \t]*(?:;|\Z)", re.IGNORECASE)


class _Header(msgspec.Struct):
    status: int | str = msgspec.field(name="statusCode")


class _Response(msgspec.Struct):
    header: _Header
    body: msgspec.Raw = msgspec.Raw(b"")


class _Part(msgspec.Struct):
    method: str
    uri: str
    response: _Response


class _Parts(msgspec.Struct):
    request: list[_Part]


class _Answer(msgspec.Struct):
    requests: _Parts


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Part(NamedTuple):
    """What a batch's answer says of one call: its status, and its body if that is an answer as it stands."""

    status: int
    body: bytes | None


class UnreadableBatch(Exception):
    """An answer that does not tell what became of each call; the text says why, in words for the log."""


def is_batchable(head: Head, start: bytes, rest: bytes, platform: Platform) -> bool:
    """Tell whether a GET without a body may go in a batch.

    `head` is that of the client, `start` what goes upstream, `rest` the target from the API's base on.
    """
    if not _asks_for_json(head.values(b"accept"), xml_is_first=platform.answers_in_xml):
        return False
    if platform.is_batch(rest) or names_method(rest) or not start.isascii():
        return False
    names = {name.replace(b"_", b"-") for name in map(field_name, start.split(b"\r\n"))}
    return names.isdisjoint(_NOT_IN_BATCHES) and b"range" not in head.first


def _asks_for_json(accept: Sequence[bytes], *, xml_is_first: bool) -> bool:
    """Tell whether a single call with this `Accept` is certain to be answered in JSON, where it has that."""
    named = False
    for member in b",".join(accept).split(b","):
        media_range = member.partition(b";")[0].strip()
        if _JSON.fullmatch(media_range) is None or _WEIGHT_0.search(member):
            if xml_is_first or b"xml" in media_range.lower():
                return False
        else:
            named = named or media_range.lower() == b"application/json"
    return named


def common_fields(start: bytes) -> bytes:
    """Return the lines of the fields that a request has in common with all that may go in one batch."""
    fields = [line for line in start.split(b"\r\n")[1:] if line and field_name(line) not in _OWN]
    return b"".join([whichever_version(line) + b"\r\n" for line in fields])


def request_uri(start: bytes, origin: str) -> str:
    """Return the absolute URI of a request with this line, at `origin`."""
    return origin + start.split(b" ", 2)[1].decode("ascii")


def batch_start(target: bytes, fields: bytes, request_id: bytes, length: int) -> bytes:
    """Return the request line and the fields of a batch to `target`, with these fields in common."""
    return (
        b"POST %b HTTP/1.1\r\n%bX-Request-ID: %b\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n" % (target, fields, request_id, length)
    )


def batch_body(uris: Sequence[str]) -> bytes:
    """Return the body of a batch that GETs these URIs."""
    return msgspec.json.encode({"data": {"requests": [{"method": "GET", "uri": uri} for uri in uris]}})


def read_parts(body: bytes, uris: Sequence[str]) -> list[Part]:
    """Return what the answer of a batch says of each of these URIs, in order. Raises `UnreadableBatch`."""
    try:
        parts = _DECODER.decode(body).requests.request
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnreadableBatch("its answer is not the expected JSON") from None
    if len(parts) != len(uris):
        raise UnreadableBatch(f"its answer has {len(parts)} parts for {len(uris)} calls")
    return list(_checked(parts, uris))


def _checked(parts: Sequence[_Part], uris: Sequence[str]) -> Iterator[Part]:
    for part, uri in zip(parts, uris, strict=True):
        if part.method != "GET" or part.uri != uri:
            raise UnreadableBatch("its answer has parts for calls that were not in it")
        status = str(part.response.header.status)
        body = bytes(part.response.body)
        if not (status.isascii() and status.isdigit() and len(status) == 3):
            raise UnreadableBatch("its answer has a part without a status")
        yield Part(int(status), body if status == "200" and body[:1] in (b"{", b"[") and _is_utf8(body) else None)


def _is_utf8(body: bytes) -> bool:
    """Tell whether that is so of a body, as it must be of JSON (RFC 8259 §8.1): the decoder does not look."""
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False
