"""The trace that a request belongs to (W3C Trace Context, level 1), for the log.

Rules: `traceparent` and `tracestate` pass to the upstream as they came, valid or not: the proxy takes no part in the
trace, it only tells which one it was.
"""

import re
from typing import Final

from proxy.wire.head import Head

# §3.2.2: version, trace-id, parent-id, trace-flags; version ff and ids of zeros alone are invalid. Versions to come may
# have more behind another hyphen (§3.2.4), version 00 has not.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
)


def trace_id(head: Head) -> str | None:
    """Return the trace id of a request if it has one valid `traceparent`."""
    values = head.values(b"traceparent")
    if len(values) != 1:
        return None
    found = _TRACEPARENT.fullmatch(values[0])
    return found[1].decode() if found else None
