"""What is sent, and sent again: the token and the slot that an attempt needs."""

import asyncio

from proxy.config import TokensConfig
from proxy.platforms.platform import RateLimit
from tests.peers import answering, request, response, token_response
from tests.proxies import whole_path


async def test_a_request_whose_token_ended_in_the_queue_goes_with_another_one() -> None:
    async with whole_path(
        answering(response(b"ok")),
        tokens=answering(token_response("token-1", expires_in=1), token_response("token-2")),
        timeouts=TokensConfig(refresh_margin=0.0),
        of={"rate_limit": RateLimit(1, per=1.2)},
    ) as path:
        answers = await asyncio.gather(*(path.ask(request(b"POST", body=b"x")) for _ in range(2)))

    assert [answer.status for answer in answers] == [200, 200]
    assert [each.values(b"Authorization") for each in path.api.received] == [[b"Bearer token-1"], [b"Bearer token-2"]]
    assert [line["attempts"] for line in path.proxy.logged("request.forwarded")] == [1, 1]
