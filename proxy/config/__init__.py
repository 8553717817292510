"""The configuration: TOML file or environment -> one frozen `Config`, or every problem at once.

    problems.py     gathers what is wrong, with its place
    schema.py       every setting: its name, what it may hold, its default
    rules.py        what each may hold, as msgspec checks it
    values.py       one value of the file -> what the setting holds; secrets, networks
    kinds.py        of which type of TOML a value may be, and what is said of another one
    files.py        reads files, and tells whether one was changed since
    environment.py  the form without a file: one shop from `SHOP_AUTH_PROXY_…` variables
    clients.py      what is to be checked about `[clients.NAME]`
    listeners.py    the same, about where the proxy listens
    scopes.py       which scopes calls need, as the file says it
    sharing.py      the same, about `[shared]`
    shops.py        from the settings of shops to the shops
    proxies.py      which egress proxy each platform is reached through
    location.py     which file it is, if it is in one
    loading.py      puts it together
    misplaced.py    a name that is not known where it stands: what was meant, where it belongs
    lines.py        in which line of the file each setting stands, for messages
    syntax.py       what is wrong with a file that is not TOML
    doubts.py       what is allowed, but is probably not meant: a secret that looks like a file's name

Rules: unknown keys are problems; nothing is parsed and then without effect. A problem is one sentence: the line in the
file, the key's path (or the variable's name), what is wrong, what to write instead. It never shows a value, save for
names of files and variables, since any value may be a secret in the wrong place.
"""

from proxy.config.files import FileStamp, stamp
from proxy.config.loading import load_config
from proxy.config.location import locate
from proxy.config.problems import ConfigError
from proxy.config.schema import (
    AdminConfig,
    ClientConfig,
    Config,
    LoggingConfig,
    PacingConfig,
    ServerConfig,
    SharedConfig,
    TokensConfig,
    UpstreamConfig,
)

__all__ = [
    "AdminConfig",
    "ClientConfig",
    "Config",
    "ConfigError",
    "FileStamp",
    "LoggingConfig",
    "PacingConfig",
    "ServerConfig",
    "SharedConfig",
    "TokensConfig",
    "UpstreamConfig",
    "load_config",
    "locate",
    "stamp",
]
