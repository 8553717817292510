"""Which file is the configuration, if it is in one.

In this order: the file that the command line names, the one that `SHOP_AUTH_PROXY_CONFIG` names, none if the
environment names a shop (see environment.py), else `config.toml` in the working directory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.config.environment import CONFIG, SHOP
from proxy.config.files import is_there
from proxy.config.problems import ConfigError

DEFAULT: Final = Path("config.toml")


def locate(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file of the configuration; `None` if the environment holds it, or there is none at all.

    `named` is what the command line says. Raises `ConfigError` for an empty variable.
    """
    if named is not None:
        return named
    if CONFIG in environ:
        if not environ[CONFIG]:
            raise ConfigError((f"{CONFIG}: is empty: set it to the name of the configuration file, or remove it",), {})
        return Path(environ[CONFIG])
    return None if SHOP in environ or not is_there(DEFAULT) else DEFAULT
