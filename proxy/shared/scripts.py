"""A script in Lua, and how it is known to Redis.

Rules: what reads and then writes is one script, so that nothing comes in between. Each begins its answer with Redis's
own time, in microseconds: replicas agree on no other clock. A script is sent by its digest, and whole only where Redis
does not know it, as after a restart.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Script:
    """A script: its name for people, its text, and the digest that EVALSHA takes."""

    name: str
    text: str = field(repr=False)
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()  # EVALSHA knows no other
        object.__setattr__(self, "digest", digest)


def script(*paths: Path) -> Script:
    """Return the script in some files, one behind the other, called like the last one."""
    return Script(paths[-1].stem, "".join(path.read_text(encoding="utf-8") for path in paths))
