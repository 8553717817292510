"""`serve`: runs the proxy."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from proxy import app
from proxy.commands.common import complain, concealer, learn_secrets, read_config, redactor_for
from proxy.config import load_config
from proxy.config.clients import LONG_ENOUGH, short_secrets
from proxy.systemd import take_supervisor
from proxy.telemetry.logs import make_logger, route_library_logs, wants_color
from proxy.telemetry.writing import LogWriter


async def serve(config_file: Path | None) -> int:
    """Run the proxy until it is told to stop."""
    supervisor = take_supervisor(os.environ, os.getpid())
    config = read_config(config_file)
    if config is None:
        return 2
    redactor = redactor_for(config)
    with ExitStack() as stack:
        writer = stack.enter_context(LogWriter(sys.stdout))
        log = make_logger(
            log_format=config.logging.format,
            level=config.logging.level,
            redactor=redactor,
            writer=writer,
            color=wants_color(sys.stdout, os.environ),
        )
        stack.callback(route_library_logs(log, level=config.logging.level))
        for name in short_secrets(config.clients):
            log.warning(
                "client.short_secret", client=name, mend=f"take {LONG_ENOUGH} characters or more, made by chance"
            )
        outside = app.Outside(
            log,
            conceal=concealer(redactor, log),
            redact=redactor.text,
            supervisor=supervisor,
            log_metrics=writer.metrics,
        )
        try:
            await app.serve(
                config,
                outside,
                load=lambda: load_config(config_file, os.environ),
                learn=partial(learn_secrets, redactor),
            )
        except app.StartError as error:
            complain(str(error))
            return 2
    return 0
