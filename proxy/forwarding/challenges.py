"""What a platform asks its callers for (`WWW-Authenticate`), as a client of this proxy may be asked.

Rules: a 401 has a challenge (RFC 9110 §15.5.2): some clients fail at one without. What would make a client log in stays
here: whatever it would send is for this proxy, which has let it in already, so that it would send the same again and
again. In its place comes a challenge that nobody has a password for.
"""

import re
from collections.abc import Iterator
from typing import Final

from proxy.wire.head import Head

_FIELD: Final = b"www-authenticate"
# A scheme begins a member of the list, alone or with a parameter or token behind blanks. Any other member is one more
# parameter of the challenge before (RFC 9110 §11.6.1).
_SCHEME: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]+(?![ \t=])|\Z)")
_MEMBER: Final = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_LOG_IN: Final = frozenset((b"basic", b"digest", b"ntlm", b"negotiate", b"kerberos", b"hoba", b"mutual"))


def ask_as_this_proxy(head: Head, status: int, realm: str) -> None:
    """Have the challenges of a platform's answer pass as a client may see them; `realm` is the shop's name."""
    own = b'Bearer realm="%b"' % realm.encode()
    if _FIELD in head.first:
        head.change((_FIELD,), lambda _, value: _without_log_in(value, own))
    elif status == 401:
        head.add(b"WWW-Authenticate", own)


def _without_log_in(value: bytes, own: bytes) -> bytes:
    """Return a list of challenges without those that make clients log in; `own` if none is left."""
    challenges = list(_challenges(value))
    kept = [text for scheme, text in challenges if scheme not in _LOG_IN and not scheme.startswith(b"scram-")]
    if kept and len(kept) == len(challenges):
        return value
    return b", ".join(kept) or own


def _challenges(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each challenge with its scheme in lower case."""
    scheme, members = b"", list[bytes]()
    for member in filter(None, (member.strip(b" \t") for member in _MEMBER.findall(value))):
        begins = _SCHEME.match(member)
        if begins is not None and members:
            yield scheme, b", ".join(members)
            members = []
        scheme = begins[1].lower() if begins is not None else scheme
        members.append(member)
    if members:
        yield scheme, b", ".join(members)
