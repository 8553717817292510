"""Who does the same job: nginx, nginx with Lua, HAProxy, and what one writes with aiohttp in an afternoon.

Rules: one worker, and as many kept connections to the upstream as it likes; no log, no check of who calls.
"""

import sys
from functools import partial
from pathlib import Path

from benchmarks.compare.contender import SHOPS, TOKEN, Contender, Setup
from benchmarks.compare.nginx import nginx
from benchmarks.compare.upstream import BEARER

NGINX, LUA, HAPROXY = "nginx, fixed header", "nginx + Lua", "HAProxy, fixed header"
NGINX_BUFFERS = "nginx, larger buffers"  # than its own 8 kB: for large bodies it is another program with them
AFTERNOON = "aiohttp, an afternoon's"
_LUA_MODULES = [Path("/usr/lib/nginx/modules") / name for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]

_PROXY = """
  proxy_http_version 1.1;
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  {more}
  {trust}
  upstream platform {{
    server 127.0.0.1:{upstream};
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_time 1d;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server}
  }}
"""
_LARGE = "proxy_buffers 16 32k; proxy_busy_buffers_size 64k; client_body_buffer_size 64k;"
_FIXED = """
    location /demo/ {{
      proxy_set_header Connection "";
      proxy_set_header Authorization "{bearer}";
      proxy_pass {scheme}://platform/api/;
    }}
"""
# The token of a real shop would be fetched by a timer; it is in the dictionary from the start here.
_LUA_TOKENS = """
  lua_shared_dict tokens 4m;
  init_by_lua_block {{
    ngx.shared.tokens:set("demo", "{token}")
    for number = 1, {shops} - 1 do ngx.shared.tokens:set("shop" .. number, "{token}") end
  }}
"""
_LUA_SERVER = """
    location ~ "^/(?<shop>[a-z0-9-]+)/(?<rest>.*)$" {{
      access_by_lua_block {{
        local token = ngx.shared.tokens:get(ngx.var.shop)
        if not token then return ngx.exit(404) end
        ngx.req.set_header("Authorization", "Bearer " .. token)
      }}
      proxy_set_header Connection "";
      proxy_pass {scheme}://platform/api/$rest$is_args$args;
    }}
"""

_HAPROXY = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend callers
  bind 127.0.0.1:{port} backlog 4096
  http-request replace-path /demo/(.*) /api/\\1
  http-request set-header Authorization "{bearer}"
  default_backend platform
backend platform
  server platform 127.0.0.1:{upstream} pool-max-conn 512
"""


def _proxy(setup: Setup, server: str, more: str = "") -> str:
    trust = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {setup.ca}; proxy_ssl_name localhost;"
    places = {"port": setup.port, "upstream": setup.upstream, "trust": trust if setup.ca else ""}
    return _PROXY.format(**places, more=more, server=server)


def _nginx_fixed(setup: Setup, more: str = "") -> list[str | Path]:
    return nginx(setup.folder, _proxy(setup, _FIXED.format(bearer=BEARER, scheme=setup.scheme), more))


def _nginx_lua(setup: Setup) -> list[str | Path]:
    http = _LUA_TOKENS.format(token=TOKEN, shops=SHOPS) + _proxy(setup, _LUA_SERVER.format(scheme=setup.scheme))
    return nginx(setup.folder, http, "\n".join(f"load_module {module};" for module in _LUA_MODULES))


def _haproxy(setup: Setup) -> list[str | Path]:
    conf = _HAPROXY.format(port=setup.port, upstream=setup.upstream, bearer=BEARER)
    return ["haproxy", "-db", "-f", setup.write("haproxy.cfg", conf)]


def _afternoon(setup: Setup) -> list[str | Path]:
    return [
        sys.executable,
        Path(__file__).with_name("afternoon.py"),
        str(setup.port),
        setup.origin,
        str(setup.ca or ""),
    ]


def lua_is_missing() -> bool:
    """Tell whether nginx has no Lua module here."""
    return not all(module.exists() for module in _LUA_MODULES)


NGINX_FIXED = Contender(NGINX, _nginx_fixed)
NGINX_LARGE = Contender(NGINX_BUFFERS, partial(_nginx_fixed, more=_LARGE))
NGINX_LUA = Contender(LUA, _nginx_lua)
HAPROXY_FIXED = Contender(HAPROXY, _haproxy)
AIOHTTP_AFTERNOON = Contender(AFTERNOON, _afternoon)
