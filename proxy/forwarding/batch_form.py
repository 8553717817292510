"""Several calls as one batch: which can be, what is sent, and what its answer says of each. Pure.

Rules:
- Only what a batch can't change is put into one: a GET that asks for JSON and nothing else that matters, without a
  range, a condition, or a way to name another method. All have the same fields, which become the batch's own.
- Only what is certain is taken out of its answer: it must have as many parts as were asked for, in order. A part for
  the method and the URI of its call, with 200 and an object or a list, is an answer, byte for byte. Of others only the
  status is taken; of what can be read in two ways, since a name comes twice (RFC 8259 §4), nothing.
- A part that can't be read leaves the others as they are. If none can, the answer tells nothing.
"""

import json
import re
from collections.abc import Sequence, Set
from types import GenericAlias
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
    request: msgspec.Raw


class _Answer(msgspec.Struct):
    requests: _Parts


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_PART: Final = msgspec.json.Decoder(_Part)
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, ValueError)  # with UnicodeDecodeError
_MOST_AROUND: Final = 1 << 16  # bytes of an answer that are no parts, and of a part that are no body
_MOST_ALMOST: Final = 1 << 20  # bytes of an answer that is no JSON as it stands; reading it takes long
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # may be ignored (RFC 8259 §8.1)
_BEFORE_PARTS: Final = re.compile(r'\s*\{\s*"requests"\s*:\s*\{\s*"request"\s*:\s*\[\s*')
_BETWEEN_PARTS: Final = re.compile(r"\s*,\s*")
_AFTER_PARTS: Final = re.compile(r"\s*\]\s*\}\s*\}\s*")
_ALMOST_JSON: Final = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)  # numbers of any length


class Part(NamedTuple):
    """What a batch's answer says of one call: its status, or 0; and its body if that is an answer as it stands."""

    status: int
    body: bytes | None


_NOT_TOLD: Final = Part(0, None)


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
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        written = _written(body, len(uris))
    except _UNREADABLE:
        raise UnreadableBatch("its answer is not the expected JSON, or does not have one part for each call") from None
    asked = frozenset(uris)
    parts = [_part(each, uri, asked) for each, uri in zip(written, uris, strict=True)]
    if parts and not any(part.status for part in parts):
        raise UnreadableBatch("its answer has no part with the method, the URI and a status of its call")
    return parts


def _written(body: bytes, count: int) -> Sequence[bytes | msgspec.Raw]:
    """Return each of so many parts as it is written. Raises one of `_UNREADABLE`."""
    try:
        parts = bytes(_ANSWER.decode(body).requests.request)
        # Of a length that is known, since a list of numbers would take forty times as much memory as the answer.
        written: tuple[msgspec.Raw, ...] = msgspec.json.decode(parts, type=GenericAlias(tuple, (msgspec.Raw,) * count))
    except msgspec.DecodeError:
        return _written_almost(body, count)
    _check_names(body, parts)
    return written


def _written_almost(body: bytes, count: int) -> list[bytes]:
    """Return each part of an answer in which one has what JSON does not: NaN, half of a pair of surrogates, tabs."""
    if len(body) > _MOST_ALMOST:
        raise ValueError
    text = body.decode(errors="surrogateescape")
    found = _BEFORE_PARTS.match(text)
    written: list[bytes] = []
    while found is not None and len(written) < count:
        _, end = _ALMOST_JSON.raw_decode(text, found.end())
        written.append(text[found.end() : end].encode(errors="surrogateescape"))
        if len(written) == count and _AFTER_PARTS.fullmatch(text, end):
            return written
        found = _BETWEEN_PARTS.match(text, end)
    raise ValueError


def _part(written: bytes | msgspec.Raw, uri: str, asked: Set[str]) -> Part:
    """Return what a part says of the call for `uri`. Raises `UnreadableBatch` if it is that of another call."""
    try:
        part = _PART.decode(written)
        if part.uri != uri and part.uri in asked:
            raise UnreadableBatch("its answer has the parts in another order")
        status, body = str(part.response.header.status), bytes(part.response.body)
        if part.uri != uri or part.method != "GET" or not (status.isascii() and status.isdigit() and len(status) == 3):
            return _NOT_TOLD
        if status != "200" or body[:1] not in (b"{", b"[") or not _is_utf8(body):
            return Part(int(status), None)
        _check_names(bytes(written), body)
    except _UNREADABLE:
        return _NOT_TOLD
    return Part(200, body)


def _check_names(text: bytes, value: bytes) -> None:
    """Raise `ValueError` if a name comes twice in an object, other than in `value`: which of them counts is open.

    So also where there is too much around the value to look.
    """
    if len(text) - len(value) > _MOST_AROUND:
        raise ValueError
    json.loads(text.replace(value, b"0"), object_pairs_hook=_named_once)


def _named_once(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) != len(members):
        raise ValueError


def _is_utf8(body: bytes) -> bool:
    """Tell whether that is so of a body, as it must be of JSON (RFC 8259 §8.1): the decoder does not look."""
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False
