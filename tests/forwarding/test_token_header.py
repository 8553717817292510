"""Where a platform wants the token in a field of its own, it gets that one alone, whatever the client sends there."""

import pytest

from tests.forwarding.linking import JSON
from tests.peers import Received, answering, request, response, token_response
from tests.proxies import whole_path

OF = {"token_header": "X-Access-Token", "token_scheme": ""}


def tokens_in(seen: Received) -> list[bytes]:
    """What a server takes for the token: of PHP and its like, twins are the same field."""
    return [value for name, value in seen.fields if name.lower().replace(b"_", b"-") == b"x-access-token"]


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"X-Access-Token: the-clients-own\r\n",
        b"x-access-token: the-clients-own\r\n",
        b"X_Access_Token: the-clients-own\r\n",
        b"X_ACCESS-TOKEN: the-clients-own\r\nX-Access_Token: another\r\n",
        b"X-Access-Token: one\r\nX-Access-Token: two\r\n",
        b"Connection: X-Access-Token\r\nX-Access-Token: the-clients-own\r\n",
        b"Connection: keep-alive, x-access-token\r\n",
        b"X-Access-Token:\r\n",
        b"Authorization: Bearer the-clients-own\r\nAuthorization_: x\r\n",
        b"Authorization: Basic dXNlcjpwYXNz\r\nX-Access-Token: the-clients-own\r\n",
    ],
)
@pytest.mark.parametrize("rewrite_links", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_the_platform_gets_the_proxys_token_alone(fields: bytes, rewrite_links: bool, method: bytes) -> None:
    sent = request(method, fields=fields + JSON + b"X-Other: 1\r\n", body=b"{}" if method == b"POST" else None)
    of = OF | {"rewrite_links": rewrite_links}
    async with whole_path(answering(response()), of=of) as path, path.connect() as client:
        for _ in range(2):  # what was learned of the lines makes no difference
            assert (await client.ask(sent)).status == 200

    for seen in path.api.received:
        assert tokens_in(seen) == [b"token-1"]
        assert seen.values(b"Authorization") == []
        assert b"the-clients-own" not in seen.head
        assert seen.values(b"X-Other") == [b"1"]


async def test_after_a_401_another_token_stands_there_alone() -> None:
    api = answering(response(status=b"401 Unauthorized"), response(b"ok"))
    tokens = answering(token_response("token-1"), token_response("token-2"))
    async with whole_path(api, tokens=tokens, of=OF) as path:
        answer = await path.ask(request(fields=b"X_Access_Token: the-clients-own\r\n"))

    assert answer.body == b"ok"
    assert [tokens_in(seen) for seen in path.api.received] == [[b"token-1"], [b"token-2"]]


async def test_a_scheme_of_the_platforms_own_stands_before_it() -> None:
    of = {"token_header": "Authorization", "token_scheme": "Zoho-oauthtoken"}
    async with whole_path(answering(response()), of=of) as path:
        await path.ask(request(fields=b"Authorization: Zoho-oauthtoken the-clients-own\r\n"))

    assert path.api.received[0].values(b"Authorization") == [b"Zoho-oauthtoken token-1"]


async def test_where_the_token_stands_elsewhere_such_a_field_passes() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(fields=b"X-Access-Token: the-clients-own\r\n"))

    assert path.api.received[0].values(b"X-Access-Token") == [b"the-clients-own"]
