"""The configuration: TOML file or environment -> one frozen `Config`, or every problem at once.

    problems.py     gathers what is wrong, with its place
    schema.py       every setting: its name, what it may hold, its default
    values.py       one value of the file -> what the setting holds; secrets, networks
    files.py        reads files, and tells whether one was changed since
    environment.py  the form without a file: one shop from `SHOP_AUTH_PROXY_…` variables
    clients.py      what is to be checked about `[clients.NAME]`
    listeners.py    the same, about where the proxy listens
    loading.py      puts it together

Rules: unknown keys are problems; nothing is parsed and then without effect. A problem is one line: the key's path (or
the variable's name), what is wrong, what to write instead. It never shows a value, save for names of files and
variables, since any value may be a secret in the wrong place.
"""

from proxy.config.files import FileStamp, stamp
from proxy.config.loading import load_config
from proxy.config.problems import ConfigError
from proxy.config.schema import (
    AdminConfig,
    ClientConfig,
    Config,
    LoggingConfig,
    PacingConfig,
    ServerConfig,
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
    "TokensConfig",
    "UpstreamConfig",
    "load_config",
    "stamp",
]
