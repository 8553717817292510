"""What a request says of itself, and what stands for one that could not be read."""

from typing import Any

from proxy.wire.request import no_request
from tests.peers import answering, request, response
from tests.proxies import whole_path


async def test_what_could_not_be_read_is_answered_like_a_request_of_nobody() -> None:
    connection: Any = object()
    stand_in = no_request(connection)

    assert stand_in.connection is connection
    assert (stand_in.method, stand_in.target, stand_in.modern) == ("UNKNOWN", b"/", False)
    assert (stand_in.keep_alive, stand_in.content, stand_in.body) == (False, b"", None)
    assert (stand_in.head.fields, stand_in.head.first, stand_in.head.passing) == ([], {}, b"")


async def test_the_log_says_of_it_what_is_so() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(b"garbage\r\n\r\n")
        [line] = path.proxy.logged("request.refused")

    assert (line["method"], line["shop"], line["path"], line["status"]) == ("UNKNOWN", None, None, 501)
    assert (line["bytes_in"], line["attempts"], line["upstream_status"]) == (0, 0, None)


async def test_what_stands_for_one_is_told_apart_from_a_request_that_was_read_and_refused() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(b"TRACE", fields=b"X-Request-ID: mine\r\n"))
        [line] = path.proxy.logged("request.refused")

    assert (line["method"], line["request_id"], line["status"]) == ("TRACE", "mine", 501)
