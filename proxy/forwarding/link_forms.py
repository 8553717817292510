r"""How a URL may be written in a text, and how one is found there.

JSON may write a slash as `\/`, XML as `&#47;`, a form body as `%2F`; a host name has no way but one. Each such way is a
`Form`, and what is found in a form is written back in the same.

Rules: a URL prefix holds only characters that no form needs to escape, but for those that `Form` knows. Scheme, host
and the digits of `%2F` match in either case, a path exactly. A prefix is found only where it begins and ends as a URL
does: `xhttps://…`, `…/apifoo` and `….evil.com` are other URLs.
"""

import re
from dataclasses import dataclass
from typing import Final

from proxy.platforms.url_prefix import Prefix

# Glue is what can stand in a scheme (RFC 3986 §3.1): after it, `http` is the end of another word.
_GLUE: Final = b"[a-z0-9+.-]"
_GLUE_HEX: Final = b"(?:2[bde]|3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])"  # the same as hexadecimal numbers
# What can't go on a host or a path segment. Some of these could by the letter of RFC 3986 §3.3 (`;`), but in texts they
# end a URL.
_ENDS: Final = b"\t\n\v\f\r /?#\"'`<>&])},;\\|"

_END_HEX: Final = b"|".join(b"%02x" % byte for byte in _ENDS)
_END: Final = b"[%s]" % re.escape(_ENDS)
# In a form body a space is a plus sign, and the rest may be escaped as the URL itself is.
_PERCENT_END: Final = b"[%s]|(?i:%%(?:%s))" % (re.escape(_ENDS + b"+"), _END_HEX)
_CUT_ESCAPE: Final = re.compile(rb"%%[%b]?\Z" % bytes({code[0] for code in _END_HEX.split(b"|")}))

# These stand behind `http`, so that the search for it is a quick one. An escape may end in a letter or digit, which
# then is no glue: `\n` and `\u0022` in JSON, `%22` in a form body, `%5Cn` where that holds JSON.
_BEGIN: Final = rb"(?i:(?<!%bhttp)|(?<=\\[nrt]http)|(?<=\\u[0-9a-f]{4}http)(?<!\\u00%bhttp))" % (_GLUE, _GLUE_HEX)
# A plus sign is a space there.
_PERCENT_BEGIN: Final = rb"(?i:(?<![a-z0-9.-]http)|(?<=%%5c[nrt]http)|(?<=%%[0-9a-f]{2}http)(?<!%%%bhttp))" % _GLUE_HEX
LOOK_BACK: Final = len(rb"\u0022")  # bytes before a URL that tell whether it is one


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write URLs; `percent` if it is one of form bodies, where what stands around a URL is escaped as well."""

    colon: str
    slash: str
    percent: bool = False

    def write(self, text: str) -> str:
        """Return a prefix, or part of one, as it stands in this form."""
        text = text.replace("/", self.slash).replace(":", self.colon)  # no slash is written with a colon
        return text.replace("[", "%5B").replace("]", "%5D") if self.percent else text

    def pattern(self, prefixes: tuple[Prefix, ...]) -> re.Pattern[bytes]:
        """Return what finds any of the prefixes, the one with the longest path first."""
        longest_first = sorted(prefixes, key=lambda prefix: len(prefix.path), reverse=True)
        begin, end = (_PERCENT_BEGIN, _PERCENT_END) if self.percent else (_BEGIN, _END)
        return re.compile(
            b"[hH][tT][tT][pP]%b([sS])?%b(?:%b)(?=%b)"
            % (begin, self._in_any_case("://"), b"|".join(map(self._after_slashes, longest_first)), end)
        )

    def end_is_cut(self, text: bytes) -> int:
        """Return how many bytes at the end of a text may be the first of an escape that ends a URL."""
        cut = _CUT_ESCAPE.search(text, max(len(text) - 2, 0)) if self.percent else None
        return len(cut[0]) if cut else 0

    def _after_slashes(self, prefix: Prefix) -> bytes:
        own_port = b"(?:%b(?(1)443|80))?" % self._in_any_case(":")  # group 1 is the s of https
        port = self._in_any_case(":" + prefix.port) if prefix.port else own_port
        path = prefix.path.encode().replace(b".", rb"\.").replace(b"/", self._in_any_case("/"))
        return self._in_any_case(prefix.host) + port + path

    def _in_any_case(self, text: str) -> bytes:
        return b"(?i:%b)" % re.escape(self.write(text).encode())


# In answers, and in all that is no form body. A number for a slash is what templates write that escape much (OWASP).
TEXT_FORMS: Final = (Form(":", "/"), Form(":", r"\/"), Form(":", "&#47;"), Form(":", "&#x2F;"))
# Also in requests. The third is JSON that PHP wrote, the last two are the works of old and of careful encoders.
REQUEST_FORMS: Final = (
    *TEXT_FORMS,
    Form("%3A", "%2F", percent=True),
    Form("%3A", "%5C%2F", percent=True),
    Form("%3A", "/", percent=True),  # JavaScript's escape(), Python's quote()
    Form(":", "%2F", percent=True),  # Go's url.PathEscape
)
