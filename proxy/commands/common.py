"""What the commands share: loading the configuration, and telling what is wrong."""

import os
import sys
from pathlib import Path

from proxy.config import Config, ConfigError, load_config, locate
from proxy.config.environment import CONFIG, SHOP
from proxy.config.files import shown
from proxy.config.location import DEFAULT
from proxy.telemetry.redaction import Redactor


def read_config(named: Path | None) -> Config | None:
    """Return the configuration; if it has problems, print them and return `None`.

    `named` is the file that the command line names, if it does.
    """
    path = named
    try:
        path = locate(named, os.environ)
        if path is None and DEFAULT.exists():
            complain(f"warning: {DEFAULT} is not read, since {SHOP} is set; to have it read, name it with --config")
        return load_config(path, os.environ)
    except ConfigError as error:
        count = len(error.problems)
        named_there = named is None and CONFIG in os.environ
        where = "" if path is None else f" (file {shown(path)}{', named by ' + CONFIG if named_there else ''})"
        complain(f"the configuration has {'a problem' if count == 1 else f'{count} problems'}{where}:")
        for problem in error.told:
            print(f"  {problem}", file=sys.stderr)
        for line in error.excerpt:
            print(f"      {line}", file=sys.stderr)
        return None


def complain(sentence: str) -> None:
    """Tell the user what is wrong."""
    print(f"shop-auth-proxy: {sentence}", file=sys.stderr)


def redactor_for(config: Config) -> Redactor:
    """Return what keeps the configured secrets out of the log."""
    redactor = Redactor()
    learn_secrets(redactor, config)
    return redactor


def learn_secrets(redactor: Redactor, config: Config) -> None:
    """Keep the secrets of this configuration out of the log too."""
    for credentials in config.shops.all_credentials():
        redactor.add(credentials.client_secret.reveal())
    for client in config.clients.values():
        if client.secret is not None:
            redactor.add(client.secret.reveal())
    for proxy in (config.upstream.proxy, *(platform.proxy for platform in config.platforms.values())):
        if proxy is not None and proxy.password is not None:
            redactor.add(proxy.password.reveal())
