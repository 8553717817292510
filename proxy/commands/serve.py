"""`serve`: runs the proxy."""

import os
import sys
from functools import partial
from pathlib import Path

from proxy import app
from proxy.commands.common import complain, learn_secrets, read_config, redactor_for
from proxy.config import load_config, locate
from proxy.config.clients import LONG_ENOUGH, short_secrets
from proxy.systemd import take_supervisor
from proxy.telemetry.logs import make_logger, route_library_logs, wants_color


async def serve(config_file: Path | None) -> int:
    """Run the proxy until it is told to stop."""
    supervisor = take_supervisor(os.environ, os.getpid())
    config = read_config(config_file)
    if config is None:
        return 2
    redactor = redactor_for(config)
    log = make_logger(
        log_format=config.logging.format,
        level=config.logging.level,
        redactor=redactor,
        stream=sys.stdout,
        color=wants_color(sys.stdout, os.environ),
    )
    undo = route_library_logs(log, level=config.logging.level)
    for name in short_secrets(config.clients):
        log.warning("client.short_secret", client=name, mend=f"take {LONG_ENOUGH} characters or more, made by chance")
    try:
        outside = app.Outside(log, conceal=redactor.add_transient, redact=redactor.text, supervisor=supervisor)
        await app.serve(
            config,
            outside,
            load=lambda: load_config(locate(config_file, os.environ), os.environ),
            learn=partial(learn_secrets, redactor),
        )
    except app.StartError as error:
        complain(str(error))
        return 2
    finally:
        undo()
    return 0
