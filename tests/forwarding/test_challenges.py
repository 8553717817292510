"""A 401 of the platform always has a challenge, and none that makes a client log in."""

import pytest

from tests.forwarding.linking import linking
from tests.peers import Answer, answering, request, response
from tests.proxies import whole_path

OWN = b'Bearer realm="demo"'


async def through(fields: bytes, status: bytes = b"401 Unauthorized", **of: object) -> Answer:
    """What a client gets of an answer of the API with these fields."""
    async with whole_path(answering(response(status=status, fields=fields)), of=of) as path:
        return await path.ask(request())


def challenge(*values: bytes) -> bytes:
    return b"".join(b"WWW-Authenticate: %s\r\n" % value for value in values)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], [OWN]),
        ([b'Basic realm="api"'], [OWN]),
        ([b'bASIC realm="api", charset="UTF-8"'], [OWN]),
        ([b"Basic"], [OWN]),
        ([b'Digest realm="api", nonce="a,b", qop="auth, auth-int", algorithm=SHA-256'], [OWN]),
        ([b"DIGEST username=x"], [OWN]),
        ([b"NTLM"], [OWN]),
        ([b"Negotiate YII0=="], [OWN]),
        ([b'SCRAM-SHA-256 realm="x", data=eA=='], [OWN]),
        ([b'Basic realm="api", Digest realm="api", nonce="x"'], [OWN]),
        ([b'Basic realm="Bearer realm=\\"x\\", Bearer"'], [OWN]),
        ([b'Bearer realm="api"'], [b'Bearer realm="api"']),
        ([b'Bearer realm="api" , error = "invalid_token"'], [b'Bearer realm="api" , error = "invalid_token"']),
        ([b'Bearer error="x, Basic realm=y"'], [b'Bearer error="x, Basic realm=y"']),
        (
            [b'Basic realm="api", Bearer realm="api", error="invalid_token"'],
            [b'Bearer realm="api", error="invalid_token"'],
        ),
        ([b'Bearer realm="api",error="x",Basic realm="api"'], [b'Bearer realm="api", error="x"']),
        ([b'Basic realm="api"', b'Bearer realm="api"'], [OWN, b'Bearer realm="api"']),
        ([b"Basic realm = x, Own a=b"], [b"Own a=b"]),
        ([b"Own token68=="], [b"Own token68=="]),
        ([b""], [OWN]),
        ([b"Basic,,"], [OWN]),
        ([b', Basic realm="un'], [OWN]),
    ],
)
async def test_a_401_asks_for_nothing_that_a_client_could_send_again_and_again(
    sent: list[bytes], expected: list[bytes]
) -> None:
    answer = await through(challenge(*sent))

    assert (answer.status, answer.values(b"WWW-Authenticate")) == (401, expected)


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"407 Proxy Authentication Required"])
async def test_other_answers_get_no_challenge_and_keep_none_of_those(status: bytes) -> None:
    assert (await through(b"", status)).values(b"WWW-Authenticate") == []
    assert (await through(challenge(b'Basic realm="x"'), status)).values(b"WWW-Authenticate") == [OWN]
    assert (await through(b"Proxy-Authenticate: Basic\r\n", status)).values(b"Proxy-Authenticate") == []


async def test_where_links_are_rewritten_and_to_head_it_is_the_same() -> None:
    sent = response(status=b"401 Unauthorized", fields=b"Content-Type: application/json\r\n" + challenge(b"Basic"))
    async with linking(answering(sent)) as path:
        assert (await path.ask(request())).values(b"WWW-Authenticate") == [OWN]
        async with path.connect() as client:
            await client.send(request(b"HEAD"))
            assert (await client.read_answer(body=False)).values(b"WWW-Authenticate") == [OWN]
