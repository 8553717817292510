"""What a configuration says of requests is swapped as a whole."""

from dataclasses import replace

from tests.peers import answering, request, response
from tests.proxies import whole_path


async def test_a_request_keeps_to_the_site_it_began_with() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        await client.send(request(b"PUT", fields=b"Content-Length: 4\r\n") + b"ab")
        await path.ask(request())  # the beginning is read by now
        forwarder = path.proxy.running.forwarder
        forwarder.site = replace(forwarder.site, max_body_size=1)
        await client.send(b"cd")
        answers = [await client.read_answer(), await client.ask(request(b"PUT", body=b"abcd"))]

    assert [answer.status for answer in answers] == [200, 413]
    assert [each.body for each in path.api.received] == [b"", b"abcd"]
