"""What a token endpoint says for people, or what stands in front of it, in a form that is fit for the log.

Rules: of JSON the fields that are meant for people, of anything else the first words. Never of an answer that may hold
a token. Redacted before it is cut: half a secret would not be known as one any more.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

_MAX_TEXT: Final = 200  # characters
_FOR_PEOPLE: Final = ("error", "error_description", "hint")  # RFC 6749 §5.2, and Shoprenter's `hint`
_OF_AN_ERROR: Final = ("error", "message")
# HTML that is no text. Each match ends at the next of its kind or at the end: the time is linear in the text.
_NO_TEXT: Final = re.compile(r"<(script|style)\b.*?(?:</\1[^<>]*>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)


def own_words(status: int, document: dict[str, Any] | None, body: bytes, redact: Callable[[str], str]) -> str:
    """Return what an answer that grants nothing says: to follow its status in a sentence; maybe nothing.

    `document` is the JSON object that `body` is, if it is one.
    """
    said = [(name, document[name]) for name in _FOR_PEOPLE if document and isinstance(document.get(name), str)]
    if said:
        return "".join(f", {name}: {redact(text)[:_MAX_TEXT]!r}" for name, text in said)
    if b"access_token" in body:
        body = b""
    elif status < 300:  # there may be a token under another name, but not in these
        shown = {name: document[name] for name in _OF_AN_ERROR if name in document} if document else {}
        body = json.dumps(shown, ensure_ascii=False).encode(errors="replace") if shown.get("error") else b""
    words = first_words(body, redact)
    return f"{', no JSON' if document is None else ''}{f': {words!r}' if words else ''}"


def first_words(body: bytes, redact: Callable[[str], str]) -> str:
    """Return the first words of an answer, of HTML without the tags."""
    text = redact(body.decode(errors="replace"))
    return " ".join(_NO_TEXT.sub(" ", text).split())[:_MAX_TEXT]
