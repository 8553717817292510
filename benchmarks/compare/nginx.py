"""nginx as one process that does the work, with all of its files in one folder; as the upstream and as a contender."""

import os
from pathlib import Path

_CONF = """
{modules}
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  keepalive_time 1d;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  {http}
}}
"""


def nginx(folder: Path, http: str, modules: str = "") -> list[str | Path]:
    """Write a configuration with this inside of its `http`, and return the arguments to run it."""
    user = "user root;" if os.geteuid() == 0 else ""  # else it would drop to one that can't read the folder
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, http=http, modules=modules, user=user), encoding="utf-8")
    return ["nginx", "-p", folder, "-c", conf]
