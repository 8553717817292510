"""Links in forms with files (`multipart/form-data`, RFC 7578), as they stream.

Rules: only the values of text fields are rewritten. A part with a file name, or of a type that holds no links, passes
byte for byte, and so do the parts' heads, the lines between them and what stands before and after. What can't be taken
apart passes too: a form without a boundary, a part without an end to its head. Lines may end in LF alone, as PHP reads
them.
"""

import re
from typing import Final

from proxy.links.api_links import LinkMap, Rewriter
from proxy.links.media_types import is_rewritable

_MULTIPART: Final = re.compile(rb"[ \t]*multipart/form-data[ \t]*(?:;|\Z)", re.IGNORECASE)
_PARAMETER: Final = re.compile(rb""";[ \t]*([^=;\s"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))""", re.DOTALL)
_MOST_PADDING: Final = 64  # blanks behind a boundary
_MAX_HEAD: Final = 1 << 14  # bytes; of one part

_END_OF_HEAD: Final = re.compile(rb"\r?\n(?=\r?\n)")
_HEADER: Final = rb"(?im)^%b[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)"
_DISPOSITION: Final = re.compile(_HEADER % b"content-disposition")
_TYPE: Final = re.compile(_HEADER % b"content-type")
_TRANSFER_ENCODING: Final = re.compile(_HEADER % b"content-transfer-encoding")
_FILE_NAME: Final = re.compile(rb";\s*filename\*?\s*=", re.IGNORECASE)
_PLAIN: Final = (b"7bit", b"8bit", b"binary")


def is_multipart(content_type: bytes) -> bool:
    """Tell whether this is the Content-Type of a form with parts."""
    return _MULTIPART.match(content_type) is not None


def boundary_of(content_type: bytes) -> bytes | None:
    """Return what divides the parts of a form of this Content-Type (RFC 2046 §5.1.1); `None` if that is unclear."""
    found = [
        re.sub(rb"\\(.)", rb"\1", quoted) or plain
        for name, quoted, plain in _PARAMETER.findall(content_type)
        if name.lower() == b"boundary"
    ]
    return found[0] or None if len(found) == 1 else None


class FormLinks:
    """What becomes of links in the text fields of a form."""

    def __init__(self, links: LinkMap, boundary: bytes) -> None:
        self._links = links
        self._boundary = boundary

    def rewrite(self, whole: bytes) -> bytes:
        """Return a form that is in memory with its links rewritten."""
        rewriter = self.rewriter()
        return rewriter.feed(whole) + rewriter.finish()

    def rewriter(self) -> "FormRewriter":
        """Return what rewrites one streamed form."""
        return FormRewriter(self._links, self._boundary)


class FormRewriter:
    """Rewrites one form as it streams.

    Held back is what may be the beginning of a boundary's line, or of a part's head of at most 16 KiB.
    """

    def __init__(self, links: LinkMap, boundary: bytes) -> None:
        self._links = links
        # The end of such a line, unless it is the last, is left to the head of the part, which may have no other line.
        # A CR before it counts as content, where it ends a link as well as LF does; so the search is a quick one.
        self._line = re.compile(rb"\n--%b(?:(?P<last>--)|[ \t]{0,%d}(?=\r?\n))" % (re.escape(boundary), _MOST_PADDING))
        self._longest_line = len(b"\n--\r\n") + len(boundary) + _MOST_PADDING
        self._held = b"\n"  # the form may begin with a boundary; this byte is not sent on
        self._at_begin = True
        self._in_head = False
        self._after_last = False
        self._text: Rewriter | None = None  # what rewrites the part that has begun, if it is text
        self._changed = False

    @property
    def changed(self) -> bool:
        """Whether anything was replaced so far."""
        return self._changed or (self._text is not None and self._text.changed)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the form, and return what can be sent on."""
        form = self._held + chunk
        out: list[bytes] = []
        at = 0
        while not self._after_last:
            if self._in_head:
                end = _END_OF_HEAD.search(form, at, at + _MAX_HEAD)
                if end is None and len(form) - at < _MAX_HEAD:
                    break
                head = form[at : end.end() if end else at + _MAX_HEAD]
                self._text = self._links.rewriter() if end and _is_text(head) else None
                self._in_head = False
                out.append(head)
                at += len(head)
            else:
                line = self._line.search(form, at)
                if line is None:
                    break
                out += self._content(form[at : line.start()]), self._end_of_part(), line[0]
                self._after_last = line["last"] is not None
                self._in_head = not self._after_last
                at = line.end()
        if not self._in_head:
            end_at = len(form) if self._after_last else self._undecided_from(form, at)
            out.append(self._content(form[at:end_at]))
            at = end_at
        self._held = form[at:]
        return self._sent(b"".join(out))

    def finish(self) -> bytes:
        """Return the rest, after the last `feed`."""
        rest, self._held = self._held, b""
        return self._sent(self._content(rest) + self._end_of_part())

    def _content(self, piece: bytes) -> bytes:
        return piece if self._text is None else self._text.feed(piece)

    def _end_of_part(self) -> bytes:
        if self._text is None:
            return b""
        rest = self._text.finish()
        self._changed = self.changed
        self._text = None
        return rest

    def _undecided_from(self, form: bytes, at: int) -> int:
        """Return from where on the end may be the beginning of a boundary's line."""
        begin = form.find(b"\n", max(len(form) - self._longest_line, at))
        return len(form) if begin < 0 else begin

    def _sent(self, out: bytes) -> bytes:
        if not self._at_begin or not out:
            return out
        self._at_begin = False
        return out[1:]


def _is_text(head: bytes) -> bool:
    """Tell whether the part with this head is text that was not read from a file."""
    return (
        not any(map(_FILE_NAME.search, _DISPOSITION.findall(head)))
        and all(map(is_rewritable, _TYPE.findall(head)))
        and all(coding.strip().lower() in _PLAIN for coding in _TRANSFER_ENCODING.findall(head))
    )
