"""How many connections the system's limit of open files leaves room for.

Rules: a connection needs a file descriptor, and while a request is served another one, to the platform. Were there none
left, the system would accept no connection any more, and nobody could make room for anybody. So the process takes what
it needs of what it may have; if that is too little, there are fewer places, and the log says so.
"""

import resource
from typing import Final

from structlog.typing import FilteringBoundLogger

_FOR_EACH: Final = 2
_FOR_THE_REST: Final = 64  # listener, log, event loop, token requests, files that are read


def room_for(connections: int, log: FilteringBoundLogger) -> int:
    """Make room for so many connections as far as the system lets us; return for how many there is, 1 at least."""
    needed = connections * _FOR_EACH + _FOR_THE_REST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):  # macOS has one more limit
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    room = max((soft - _FOR_THE_REST) // _FOR_EACH, 1)
    log.warning(
        "connections.limited",
        setting="server.max_connections",
        wanted=connections,
        limit=room,
        reason=f"only {soft} files may be open: allow {needed} (ulimit -n, or LimitNOFILE= of systemd)",
    )
    return room
