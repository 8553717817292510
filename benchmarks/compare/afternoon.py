"""The proxy that one writes in an afternoon: a server of aiohttp, its `ClientSession`, and a token in a dictionary.

    python afternoon.py PORT ORIGIN [CA_FILE]

It looks after nothing else: no limits, no retries, no log, no check of who calls.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, TCPConnector, web

_NOT_PASSED_ON = {
    "host", "authorization", "content-length",
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_tokens: dict[str, tuple[str, float]] = {}


async def _token_for(shop: str, session: ClientSession, origin: str) -> str:
    token, end = _tokens.get(shop, ("", 0.0))
    if time.time() < end - 60:
        return token
    credentials = {"grant_type": "client_credentials", "client_id": "bench", "client_secret": "bench-secret"}
    async with session.post(f"{origin}/token/{shop}", json=credentials) as answer:
        answer.raise_for_status()
        grant = await answer.json()
    _tokens[shop] = grant["access_token"], time.time() + grant["expires_in"]
    return _tokens[shop][0]


def _application(origin: str, ca_file: str) -> web.Application:
    async def forward(request: web.Request) -> web.StreamResponse:
        session, shop = request.app[_session], request.match_info["shop"]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        headers["Authorization"] = f"Bearer {await _token_for(shop, session, origin)}"
        url = f"{origin}/api/{request.match_info['rest']}?{request.query_string}"
        body = await request.read() if request.can_read_body else None
        async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
            return web.Response(status=answer.status, headers=passed, body=await answer.read())

    async def sessions(app: web.Application) -> AsyncIterator[None]:
        tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
        async with ClientSession(connector=TCPConnector(ssl=tls), auto_decompress=False) as app[_session]:
            yield

    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(sessions)
    app.router.add_route("*", "/{shop}/{rest:.*}", forward)
    return app


_session = web.AppKey("session", ClientSession)

if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(
        _application(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
    )
