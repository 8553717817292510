"""What is imported only once the proxy serves: aiohttp, which takes as long as a third of the start.

A sidecar's pod waits for it to be ready. Nothing needs aiohttp before the first connection to a platform, or the first
head that is not plainly right. What comes first imports it; if nothing does, that is done a moment later. Never in a
thread: who imports at the same time would find modules that are not whole, and an end in the middle crashes.

Rules: nothing imports aiohttp, or a module that does, at its own beginning, but for `wire/dialing.py`,
`lenient_client.py`, `request_parsing.py`, `answer_parsing.py` and `upstream_errors.py`, the simulator, and commands
that ask themselves. Who needs one of these five imports it where it is needed.
"""

import os
from importlib.machinery import PathFinder
from importlib.util import find_spec


def import_the_rest() -> None:
    """Import what the first call would have to."""
    import proxy.wire.answer_parsing  # noqa: PLC0415 - later is the point, here and below
    import proxy.wire.dialing  # noqa: PLC0415
    import proxy.wire.lenient_client  # noqa: PLC0415
    import proxy.wire.request_parsing  # noqa: F401, PLC0415 - imported for whoever needs it


def has_strict_parser() -> bool:
    """Tell whether aiohttp will have its C parser, without importing it."""
    package = find_spec("aiohttp")
    where = package.submodule_search_locations if package is not None else None
    without = bool(os.environ.get("AIOHTTP_NO_EXTENSIONS"))  # aiohttp's own switch
    return where is not None and not without and PathFinder.find_spec("aiohttp._http_parser", where) is not None
