"""A guard against slow decay: how much of our own Python an ordinary call runs, without a clock and always the same.

A change that needs more calls than are written down here has to say why it is worth them; one that needs fewer lowers
the number.
"""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from proxy.config import ClientConfig, ServerConfig
from proxy.secret import Secret
from tests.peers import RawClient, answering, request, response
from tests.proxies import whole_path

PROXY = str(Path(__file__).resolve().parent.parent / "proxy")
# Five of them take a place for the request and give it back: what a hung shop could take of others is worth that. Five
# more make the line of the log, which the proxy does later, and whoever listens to the log here at once.
MOST_CALLS = 85

AUTHORIZED = b"Authorization: Basic ZXJwOm9sZC1lcnAtcGFzc3dvcmQtMTI=\r\nAccept: application/json\r\n"
CLIENTS = {"erp": ClientConfig(secret=Secret("old-erp-password-12"))}


async def calls_of(client: RawClient, sent: bytes) -> Counter[str]:
    """Send a request, and count the functions of the proxy that are called until its answer is here."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PROXY):
            calls[f"{code.co_filename.removeprefix(PROXY)}:{code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        assert (await client.ask(sent)).status == 200
    finally:
        sys.setprofile(before)
    return calls


async def test_an_ordinary_call_runs_no_more_of_our_own_code_than_is_written_down() -> None:
    api = answering(response(b"{}" * 1000, fields=b"Content-Type: application/json\r\nConnection: keep-alive\r\n"))
    async with whole_path(api, clients=CLIENTS, server=ServerConfig(port=0)) as path, path.connect() as client:
        for _ in range(3):  # the token is fetched, the connection made, the lines of the heads learned
            await client.ask(request(fields=AUTHORIZED))
        # A timer may ring in one of them.
        fewest = min([await calls_of(client, request(fields=AUTHORIZED)) for _ in range(5)], key=Counter.total)

    assert 20 < fewest.total() <= MOST_CALLS, "\n".join(f"{count} {name}" for name, count in fewest.most_common())
