"""The one place that repairs the bytes of a head: entered only when the parser has refused it, or stops behind it.

Rules: what comes out means what went in, written as RFC 9112 wants it; it goes to a fresh parser, which decides. What
touches the end of a message is never repaired in a request, and in an answer only where it is told twice and the same.
"""

import re
from typing import Final, NamedTuple

from proxy.errors import UpstreamProtocolError
from proxy.wire.head import is_field, is_text

# Maybe only its beginning. In absolute-form (RFC 9112 §3.2.2), what is behind the host.
_TARGET: Final = re.compile(rb"[\r\n]*[A-Z-]+ +(?:(?i:https?)://[!-.0->@-~]*(?=[/?])|(?=/))([^ \r\n]*)")
_OUTSIDE_ASCII: Final = re.compile(rb"[\x80-\xff]")
_SHOWN: Final = 64  # bytes of a name
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_NO_LETTERS: Final = re.compile(rb"[^a-z-]")
_END_OF_LINE: Final = re.compile(rb"\r?\n")
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r]*(?=\r\n)", re.IGNORECASE)


class Repaired(NamedTuple):
    """A repaired head, and how many fields it has lost."""

    raw: bytes
    dropped: int


def encoded_target(raw: bytes) -> bytes | None:
    """Return the head of a request with the letters outside ASCII in its path and query percent-encoded.

    `None` if there are none. They are not allowed there (RFC 9112 §3.2), but old programs send them as they are.
    """
    found = _TARGET.match(raw)
    if found is None or found[1].isascii():
        return None
    target = _OUTSIDE_ASCII.sub(lambda letter: b"%%%02X" % letter[0][0], found[1])
    return raw[: found.start(1)] + target + raw[found.end(1) :]


def without_upgrade(raw: bytes) -> bytes:
    """Return the head of a request without the wish for another protocol."""
    return _UPGRADE.sub(b"", raw)


def repaired_answer(raw: bytes) -> Repaired | None:
    """Return the head of an answer without what is known to be wrong with platforms' heads; `None` if that is nothing.

    A blank before a colon goes (RFC 9112 §5.1), a field goes whose name is none, and a length that is told twice is
    told once (§6.3). A field over several lines gets one (§5.2), and lines may end in LF alone. Raises
    `UpstreamProtocolError` where that would be a guess about the end of the message.
    """
    start, *found = _END_OF_LINE.split(raw.rstrip(b"\r\n"))
    lines: list[bytes] = []
    for line in found:
        if line[:1] in (b" ", b"\t") and lines and b":" in lines[-1]:
            lines[-1] += b" " + line.lstrip(b" \t")
        else:
            lines.append(line)
    kept: list[bytes] = []
    lengths: list[bytes] = []
    coded = False
    dropped = 0
    for line in lines:
        name, colon, value = line.partition(b":")
        bare = name.rstrip(b" \t")
        known = bare.lower()
        letters = _NO_LETTERS.sub(b"", known)
        if letters in _FRAMING and (bare != name or letters != known):
            raise _unclear(letters, "something before its colon or in its name")
        if known == b"content-length":
            lengths += [length.strip(b" \t") for length in value.split(b",")]
        elif colon and is_field(bare + b":"):
            kept.append(bare + colon + value)
            coded = coded or known == b"transfer-encoding"
        elif not colon or name[:1] in (b" ", b"\t"):
            return None  # no field at all, or the rest of another one
        else:
            dropped += 1
    if len(set(lengths)) > 1:
        raise _unclear(b"Content-Length", "given twice, with different values")
    if lengths and coded:
        raise _unclear(b"Content-Length", "together with Transfer-Encoding")
    if lengths and not lengths[0].isdigit():
        raise _unclear(b"Content-Length", "not a number")
    kept += [b"Content-Length: " + length for length in lengths[:1]]
    return None if kept == lines else Repaired(b"\r\n".join([start, *kept, b"", b""]), dropped)


def broken_field(raw: bytes) -> str:
    """Return what is wrong with the fields of a head that can't be repaired, for the log; empty if it is none of them.

    A value is never shown.
    """
    for line in raw.rstrip(b"\r\n").split(b"\n")[1:]:
        name, colon, value = line.removesuffix(b"\r").partition(b":")
        if not colon or not is_field(name + b":"):
            return "a line that is not a header field"
        if not is_text(value):
            return f"{name[:_SHOWN].decode()}: a control character in its value"
    return ""


def _unclear(name: bytes, why: str) -> UpstreamProtocolError:
    return UpstreamProtocolError("The shop's API sent a broken header field.", reason=f"{name.decode()}: {why}")
