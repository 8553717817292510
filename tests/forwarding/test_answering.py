"""Errors speak what the client asked for, and tell nobody by their form which shops there are."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from proxy.config import ClientConfig
from proxy.platforms.shop import Shops
from proxy.secret import Secret
from tests.peers import Answer, answering, connected, request, response, serving, token_response
from tests.proxies import config, platform, proxying, shop, whole_path

OK = answering(response(b"ok"))
P_JSON, JSON, XML = b"application/problem+json", b"application/json", b"application/xml"
CLIENTS = {
    "erp": ClientConfig(secret=Secret("secret-of-erp-0123456789")),
    "feed": ClientConfig(secret=Secret("secret-of-feed-0123456789"), shops=("json",)),
}


def accept(value: bytes) -> bytes:
    return b"Accept: %s\r\n" % value


def code(answer: Answer) -> str:
    """What an error says it is, whatever its form; it must be as its type says."""
    [content_type] = answer.values(b"Content-Type")
    if content_type.endswith(b"json"):
        return str(json.loads(answer.body)["code"])
    root = ElementTree.fromstring(answer.body)  # noqa: S314 - our own
    return str(root.findtext("{urn:ietf:rfc:7807}code"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", P_JSON),
        (accept(b"*/*"), P_JSON),
        (accept(b"application/json"), JSON),
        (accept(b"text/xml, application/xml;q=0.9"), b"text/xml"),
        (accept(b"application/json;q=0.5") + accept(b"application/xml"), XML),
        (accept(b"application/problem+xml"), b"application/problem+xml"),
    ],
)
async def test_an_error_has_the_form_that_is_asked_for(fields: bytes, expected: bytes) -> None:
    async with whole_path(answering(b"no HTTP\r\n\r\n")) as path:
        unknown = await path.ask(request(target=b"/nobody/x", fields=fields))
        broken = await path.ask(request(fields=fields))

    for answer in (unknown, broken):
        assert answer.values(b"Content-Type") == [expected]
        assert answer.values(b"Content-Length") == [b"%d" % len(answer.body)]
    assert [code(unknown), code(broken)] == ["unknown_shop", "upstream_protocol_error"]


async def test_a_browser_gets_a_page_that_says_what_this_is() -> None:
    browser = accept(b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    async with whole_path(answering(b"no HTTP\r\n\r\n"), of={"answers_in_xml": True}) as path:
        pages = [await path.ask(request(target=target, fields=browser)) for target in (b"/", b"/products", b"/demo/x")]

    assert [page.status for page in pages] == [400, 404, 502]
    for page in pages:
        assert page.values(b"Content-Type") == [b"text/html; charset=utf-8"]
        assert b"This is Shop Auth Proxy." in page.body


async def test_a_path_without_a_shop_is_told_what_comes_first() -> None:
    async with whole_path(OK) as path:
        told = [
            json.loads((await path.ask(request(target=target))).body)["message"]
            for target in (b"/products", b"/products?limit=1", b"/nobody/products", b"/nobody/")
        ]

    first = "The first part of the path must be a shop's name"
    assert told[:2] == [f"There is no shop 'products' here. {first}, as in /<shop>/products."] * 2
    assert told[2:] == [f"There is no shop 'nobody' here. {first}."] * 2


async def test_an_error_for_head_has_the_head_of_its_form_alone() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(b"HEAD", b"/nobody/x", fields=accept(b"text/xml")))
        answer = await client.read_answer(body=False)
        assert answer.values(b"Content-Type") == [b"text/xml"]
        assert (await client.ask(request())).body == b"ok"


async def test_where_the_platform_answers_in_xml_so_do_errors_unless_asked() -> None:
    async with whole_path(answering(b"no HTTP\r\n\r\n"), of={"answers_in_xml": True}) as path:
        for fields in (b"", accept(b"*/*"), accept(b"text/html, image/gif, *; q=.2")):
            for sent in (request(fields=fields), request(target=b"/nobody/", fields=fields), b"garbage\r\n\r\n"):
                assert (await path.ask(sent)).values(b"Content-Type") == [XML]
        asked = await path.ask(request(fields=accept(b"application/json")))

    assert asked.values(b"Content-Type") == [JSON]


def bearer(name: str) -> bytes:
    return b"Authorization: Bearer secret-of-%s-0123456789\r\n" % name.encode()


@pytest.mark.parametrize("wildcard_in_xml", [None, False, True])
async def test_the_form_tells_nobody_which_shops_there_are(wildcard_in_xml: bool | None) -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(b"no HTTP\r\n\r\n")) as api:
        in_json = platform(tokens.port, api.port)
        in_xml = replace(in_json, name="other", answers_in_xml=True)
        named = {"json": shop("json", in_json), "xml": shop("xml", in_xml)}
        wildcard = None
        if wildcard_in_xml is not None:
            wildcard = (in_xml if wildcard_in_xml else in_json, named["xml"].credentials)
        settings = config(clients=CLIENTS, shops=Shops(named, wildcard))

        async def form(name: bytes, fields: bytes) -> list[bytes]:
            async with connected(proxy.port) as client:
                answer = await client.ask(request(target=b"/%s/x" % name, fields=fields))
                assert answer.status in (401, 403, 404, 502)
                return answer.values(b"Content-Type")

        async with proxying(settings) as proxy:
            for fields in (b"", bearer("nobody"), b"Authorization: Basic x\r\n"):
                assert [await form(name, fields) for name in (b"json", b"xml", b"absent")] == [[P_JSON]] * 3
            # Who may use one shop alone
            assert [await form(name, bearer("feed")) for name in (b"json", b"xml", b"absent")] == [[P_JSON]] * 3
            # Who may use them all
            assert [await form(name, bearer("erp")) for name in (b"json", b"xml")] == [[P_JSON], [XML]]
            absent = await form(b"absent", bearer("erp"))

    assert absent == [XML if wildcard_in_xml else P_JSON]


@pytest.mark.parametrize(("second_in_xml", "expected"), [(True, XML), (False, P_JSON)])
async def test_before_a_shop_is_known_errors_are_in_xml_if_all_platforms_are(
    second_in_xml: bool, expected: bytes
) -> None:
    async with serving(answering(token_response())) as tokens, serving(OK) as api:
        first = platform(tokens.port, api.port, answers_in_xml=True)
        second = replace(first, name="second", answers_in_xml=second_in_xml)
        async with (
            proxying(config(shop("demo", first), shop("other", second), clients=CLIENTS)) as proxy,
            connected(proxy.port) as client,
        ):
            answer = await client.ask(request())

    assert (answer.status, answer.values(b"Content-Type")) == (401, [expected])
