"""`serve`: runs the proxy."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TextIO

from proxy import app
from proxy.app.addresses import for_applications, url_of
from proxy.commands.common import complain, concealer, learn_secrets, read_config, redactor_for
from proxy.config import Config, load_config, locate
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
    for_people = _is_for_people(config.logging.format, sys.stdout)
    with ExitStack() as stack:
        writer = stack.enter_context(LogWriter(sys.stdout))
        log = make_logger(
            log_format="console" if for_people else "json",
            level=config.logging.level,
            redactor=redactor,
            writer=writer,
            color=wants_color(sys.stdout, os.environ),
        )
        stack.callback(route_library_logs(log, level=config.logging.level))
        for name in short_secrets(config.clients):
            log.warning("client.short_secret", client=name, fix=f"use {LONG_ENOUGH} characters or more, made at random")
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
                load=lambda: load_config(locate(config_file, os.environ), os.environ),
                learn=partial(learn_secrets, redactor),
                greet=partial(_greet, config, os.environ, sys.stdout),
            )
        except app.StartError as error:
            complain(str(error))
            return 2
    return 0


def _is_for_people(log_format: str, stream: TextIO) -> bool:
    return log_format == "console" or (log_format == "auto" and stream.isatty())


def _greet(config: Config, environ: Mapping[str, str], stream: TextIO, proxy: app.RunningProxy) -> None:
    """Say on a terminal what to call and what to look at; elsewhere the log is all there is."""
    if not stream.isatty():
        return
    first, *more = for_applications(config, list(config.shops.named), proxy.port)
    lines = ["", f"Your application calls  {first}", *(f"                        {line}" for line in more)]
    if proxy.admin is not None:
        lines.append(f"Status page             {url_of(config.admin.host, proxy.admin[1])}status")
    lines += ["Ctrl-C stops it.", ""]
    bold, plain = ("\x1b[1m", "\x1b[0m") if wants_color(stream, environ) else ("", "")
    print("\n".join(f"{bold}{line}{plain}" if line else line for line in lines), file=stream, flush=True)
