"""What is imported only where it is needed: aiohttp, for the heads that are not plainly right.

It takes as long as a third of the start, and nine megabytes. The first such head imports it. Never in a thread:
whoever imports at the same time would find modules that are not complete, and an end in the middle crashes.

Rules: nothing imports aiohttp, or a module that does, at its own beginning, but for `wire/request_parsing.py` and
`answer_parsing.py`, the simulator, and the demo. Who needs one of these two imports it where it is needed.
"""

import os
from importlib.machinery import PathFinder
from importlib.util import find_spec


def has_strict_parser() -> bool:
    """Tell whether aiohttp will have its C parser, without importing it."""
    package = find_spec("aiohttp")
    where = package.submodule_search_locations if package is not None else None
    without = bool(os.environ.get("AIOHTTP_NO_EXTENSIONS"))  # aiohttp's own switch
    return where is not None and not without and PathFinder.find_spec("aiohttp._http_parser", where) is not None
