"""What a shop name is, which templates a platform may have, and what is made of the two."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.platforms.answers import InBody
from proxy.platforms.batch import Batch
from proxy.platforms.platform import Origin, Platform, RateLimit, is_shop_name

NOT_ABSOLUTE = "must be an absolute URL, such as https://{shop}.example.com/api/"
NO_FRAGMENT = "must not contain a fragment"
NO_USER = "must not contain a user name or password"
NO_DOTS = "must not contain '.' or '..' segments"
BAD_HOST = "the host must be a DNS name, with {shop} for the shop, or an IP address"
NO_URL = "is not a URL: check its port, and the brackets of an IPv6 address"
NOT_ENCODED = "must have no spaces or letters outside ASCII: write %20 in a path, xn--… in a host"
BAD_END = "the host name must not end with {shop}"
PRIVATE = "is a loopback or private address: set allow_private = true if that is meant"


def make(**changed: Any) -> Platform:
    urls = {"token_url": "https://auth.example.com/token", "api_url": "https://{shop}.example.com/api/"}
    return Platform(name="mine", **(urls | changed))


@pytest.mark.parametrize("name", [b"a", b"0", b"demo", b"my-shop-2", b"a--b", b"a" * 63, b"a" + b"-" * 61 + b"a"])
def test_a_shop_name_is_a_dns_label_in_lower_case(name: bytes) -> None:
    assert is_shop_name(name)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"a" * 64,
        b"-",
        b"-a",
        b"a-",
        b"Demo",
        b"a_b",
        b"a.b",
        b".",
        b"..",
        b"*",
        b"a b",
        b"demo\n",
        b"\ndemo",
        b"demo\0",
        b"demo/",
        b"evil.com:80%2f",
        b"169.254.169.254%23",
        b"evil@demo",
        b"{shop}",
        b"\xc3\xa1ruh\xc3\xa1z",
        b"\xd9\xa3",
        b"\xff",
    ],
)
def test_anything_else_is_none(name: bytes) -> None:
    assert not is_shop_name(name)


@settings(deadline=None)
@given(st.binary(max_size=70) | st.from_regex(rb"[a-z0-9A-Z.-]{1,70}"))
def test_a_shop_name_makes_one_label_of_a_host_and_nothing_else(name: bytes) -> None:
    if is_shop_name(name):
        origin, path = make().api_base_for(name.decode())
        assert origin == Origin("https", f"{name.decode()}.example.com", 443)
        assert path == b"/api/"
    else:
        assert not name or len(name) > 63 or re.fullmatch(rb"[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]", name) is None


@pytest.mark.parametrize(
    ("api_url", "origin", "path"),
    [
        ("https://{shop}.example.com/api/", Origin("https", "demo.example.com", 443), b"/api/"),
        ("https://{shop}.example.com/api", Origin("https", "demo.example.com", 443), b"/api/"),
        ("https://api.example.com", Origin("https", "api.example.com", 443), b"/"),
        ("https://api.example.com/{shop}/v1", Origin("https", "api.example.com", 443), b"/demo/v1/"),
        ("http://api.example.com:8080/", Origin("http", "api.example.com", 8080), b"/"),
        ("https://shop-{shop}.example.com/a%20b/", Origin("https", "shop-demo.example.com", 443), b"/a%20b/"),
        ("https://EXAMPLE.com/", Origin("https", "example.com", 443), b"/"),
        ("https://8.8.8.8/", Origin("https", "8.8.8.8", 443), b"/"),
        ("https://[2606:4700::1111]:8443/", Origin("https", "2606:4700::1111", 8443), b"/"),
    ],
)
def test_the_api_of_a_shop_is_where_the_template_says(api_url: str, origin: Origin, path: bytes) -> None:
    assert make(api_url=api_url).api_base_for("demo") == (origin, path)


def test_the_token_url_of_a_shop_is_the_template_with_its_name() -> None:
    assert make(token_url="https://a.example/{shop}/token").token_url_for("demo") == "https://a.example/demo/token"
    assert make(token_url="https://a.example/token").token_url_for("demo") == "https://a.example/token"


@pytest.mark.parametrize(
    ("origin", "header"),
    [
        (Origin("https", "a.example", 443), b"a.example"),
        (Origin("http", "a.example", 80), b"a.example"),
        (Origin("https", "a.example", 80), b"a.example:80"),
        (Origin("http", "a.example", 443), b"a.example:443"),
        (Origin("https", "::1", 443), b"[::1]"),
        (Origin("http", "::1", 8080), b"[::1]:8080"),
    ],
)
def test_the_host_header_has_the_port_only_if_it_is_not_the_schemes_own(origin: Origin, header: bytes) -> None:
    assert origin.host_header == header


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", NOT_ABSOLUTE),
        ("nowhere", NOT_ABSOLUTE),
        ("//a.example/", NOT_ABSOLUTE),
        ("/api/", NOT_ABSOLUTE),
        ("https://", NOT_ABSOLUTE),
        ("https:///api/", NOT_ABSOLUTE),
        ("ftp://a.example/", NOT_ABSOLUTE),
        ("a.example:443", NOT_ABSOLUTE),
        ("https://a.example:0/", NOT_ABSOLUTE),
        ("https://a.example:99999/", NO_URL),
        ("https://a.example:{shop}/", NO_URL),
        ("https://[::1/", NO_URL),
        ("https://[]@", NO_URL),
        ("https://{Shop}.example.com/", "the only placeholder is {shop}"),
        ("https://{shop.example.com/", "the only placeholder is {shop}"),
        ("https://a.example/}", "the only placeholder is {shop}"),
        ("https://https://a.example/", "begins with https:// twice"),
        ("https://a.example/é", NOT_ENCODED),
        ("https://a.example/ ", NOT_ENCODED),
        ("https://a.example/\n", NOT_ENCODED),
        ("https://a.example/\x7f", NOT_ENCODED),
        ("https://a;b/", BAD_HOST),
        ("https://a%00b/", BAD_HOST),
        ("https://-a.example/", BAD_HOST),
        ("https://a..b/", BAD_HOST),
        ("https://.a/", BAD_HOST),
        ("https://" + "a" * 64 + ".example/", BAD_HOST),
        ("https://{shop}/", BAD_END),
        ("https://10.0.0.{shop}/", BAD_END),
        ("https://example.{shop}:443/", BAD_END),
        ("https://example.my-{shop}/", BAD_END),
        ("https://user@a.example/", NO_USER),
        ("https://user:password@a.example/", NO_USER),
        ("https://:@a.example/", NO_USER),
        ("https://{shop}@a.example/", NO_USER),
        ("https://a.example/#", NO_FRAGMENT),
        ("https://a.example/#{shop}", NO_FRAGMENT),
        ("https://a.example/../b", NO_DOTS),
        ("https://a.example/./b", NO_DOTS),
        ("https://a.example/%2E%2e/b", NO_DOTS),
        ("https://a.example/b/.%2e", NO_DOTS),
        ("https://127.0.0.1/", PRIVATE),
        ("https://10.1.2.3/", PRIVATE),
        ("https://169.254.169.254/", PRIVATE),
        ("https://[::1]/", PRIVATE),
    ],
)
@pytest.mark.parametrize("name", ["token_url", "api_url"])
def test_a_template_that_can_not_be_used_is_refused(name: str, template: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name}: {problem}')}$"):
        make(**{name: template})


@pytest.mark.parametrize("query", ["?", "?a=b"])
def test_the_token_url_may_have_a_query_but_the_api_url_may_not(query: str) -> None:
    assert make(token_url=f"https://a.example/{query}").token_url == f"https://a.example/{query}"
    with pytest.raises(ValueError, match=r"^api_url: must not contain a query$"):
        make(api_url=f"https://a.example/{query}")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "192.168.1.2:8080"])
def test_an_address_in_the_own_network_may_be_allowed(host: str) -> None:
    platform = Platform(name="mine", token_url=f"http://{host}/token", api_url=f"http://{host}/", allow_private=True)

    assert platform.token_url_for("demo") == f"http://{host}/token"


HOST_RULE = "hosts: each must be a host name in lower case, such as {shop}.old.example.com"


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        ("", HOST_RULE),
        ("*", HOST_RULE),
        ("*.old.example.com", HOST_RULE),
        ("Old.example.com", HOST_RULE),
        ("{Shop}.old.example.com", HOST_RULE),
        ("{shop.old.example.com", HOST_RULE),
        ("old.example.com.", HOST_RULE),
        (".old.example.com", HOST_RULE),
        ("-old.example.com", HOST_RULE),
        ("old.example.com:80", HOST_RULE),
        ("http://old.example.com", HOST_RULE),
        ("old.example.com/api", HOST_RULE),
        ("user@old.example.com", HOST_RULE),
        ("old example.com", HOST_RULE),
        ("old.example.com\n", HOST_RULE),
        ("árú.example.com", HOST_RULE),
        ("::1", HOST_RULE),
        ("[::1]", HOST_RULE),
        ("a" * 64 + ".example.com", HOST_RULE),
        ("{shop}", "hosts: a host name must not end with {shop}"),
        ("old.{shop}", "hosts: a host name must not end with {shop}"),
        ("old.{shop}x", "hosts: a host name must not end with {shop}"),
    ],
)
def test_a_host_that_could_not_be_one_is_refused(hosts: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        make(hosts=("fine.example.com", hosts))


@pytest.mark.parametrize(
    ("api_url", "hosts", "expected"),
    [
        ("https://api.example.com/", (), []),
        ("https://{shop}.example.com/", (), ["demo.example.com"]),
        ("https://{shop}.EXAMPLE.com:8443/api", (), ["demo.example.com"]),
        ("https://api.example.com/{shop}/", ("old.example.com",), ["old.example.com"]),
        ("https://{shop}.example.com/", ("{shop}.old.{shop}.hu",), ["demo.old.demo.hu", "demo.example.com"]),
        ("https://api.example.com/", ("a_b.x", "10.0.0.1"), ["a_b.x", "10.0.0.1"]),
    ],
)
def test_a_shop_is_known_under_the_old_hosts_and_the_apis_own_if_that_names_it(
    api_url: str, hosts: tuple[str, ...], expected: list[str]
) -> None:
    assert make(api_url=api_url, hosts=hosts).hosts_for("demo") == expected


@pytest.mark.parametrize(
    ("api_url", "expected"),
    [
        (
            "https://{shop}.example.com/api",
            ["https://demo.example.com/api", "https://demo.old.hu/api/", "https://demo.old.hu/"],
        ),
        (
            "http://api.example.com:8080/{shop}/",
            ["http://api.example.com:8080/demo/", "https://demo.old.hu/demo/", "https://demo.old.hu/"],
        ),
    ],
)
def test_what_stands_for_the_api_is_its_own_url_first_and_the_old_hosts_with_its_path_or_without(
    api_url: str, expected: list[str]
) -> None:
    assert make(api_url=api_url, hosts=("{shop}.old.hu",)).api_urls_for("demo") == expected


@pytest.mark.parametrize("path", ["a%20b/", "a;b/", "a//b/", "a&b/", "a'b"])
def test_links_are_not_rewritten_to_an_api_url_that_would_have_to_be_escaped(path: str) -> None:
    api_url = f"https://{{shop}}.example.com/{path}"

    assert make(api_url=api_url).rewrite_links is False
    with pytest.raises(ValueError, match=r"^rewrite_links: for this, api_url must be http\(s\)://host"):
        make(api_url=api_url, rewrite_links=True)


URL_PARTS = st.sampled_from(
    [
        "https://",
        "http:",
        "/",
        "{shop}",
        "{",
        ".",
        "..",
        "%2e",
        ":",
        "443",
        "@",
        "?",
        "#",
        "[",
        "]",
        "::1",
        "a",
        "\\",
        "é",
    ]
)


@settings(deadline=None)
@given(st.lists(URL_PARTS, max_size=10).map(lambda parts: "https://" + "".join(parts)) | st.text(max_size=20))
def test_any_text_is_a_template_or_a_sentence_and_a_template_keeps_its_host(template: str) -> None:
    try:
        platform = make(api_url=template)
    except ValueError as error:
        assert str(error).startswith("api_url: ")  # noqa: PT017 - both ends are right
        return

    (one, path), (other, _) = platform.api_base_for("demo"), platform.api_base_for("evil-2")
    assert one.scheme in ("http", "https")
    assert one.host.rpartition(".")[2] == other.host.rpartition(".")[2]
    assert path.startswith(b"/")
    assert path.endswith(b"/")


def test_a_platform_has_no_rate_limit_unless_it_is_given_one() -> None:
    assert make().rate_limit is None


@pytest.mark.parametrize(("requests", "per"), [(1, 0.001), (3, 1.0), (1000, 3600.0)])
def test_a_rate_limit_is_so_many_requests_in_so_many_seconds(requests: int, per: float) -> None:
    assert (RateLimit(requests, per).requests, RateLimit(requests, per).per) == (requests, per)


@pytest.mark.parametrize(
    ("requests", "per", "problem"),
    [
        (0, 1.0, "rate_limit: requests must be 1 or more"),
        (-1, 1.0, "rate_limit: requests must be 1 or more"),
        (3, 0.0, "rate_limit: per must be a number of seconds above 0"),
        (3, -1.0, "rate_limit: per must be a number of seconds above 0"),
        (3, float("inf"), "rate_limit: per must be a number of seconds above 0"),
        (3, float("nan"), "rate_limit: per must be a number of seconds above 0"),
    ],
)
def test_a_rate_limit_that_can_not_be_kept_is_refused(requests: int, per: float, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        RateLimit(requests, per)


# Where the token stands


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("Authorization", b"authorization"),
        ("X-Shopify-Access-Token", b"x-shopify-access-token"),
        ("x_token", b"x_token"),
    ],
)
def test_a_token_may_stand_in_a_field_of_any_name(header: str, field: bytes) -> None:
    assert make(token_header=header).token_field == field


NO_NAME = "token_header: must be the name of a header field, such as X-Access-Token"


@pytest.mark.parametrize("header", ["", "X Token", "X-Token:", "X-Token\r\nHost", "X-Tokén", "(x)", "X-Token\n"])
def test_a_header_that_has_no_name_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(NO_NAME)}$"):
        make(token_header=header)


@pytest.mark.parametrize(
    "header",
    ["Connection", "TE", "transfer-encoding", "HOST", "Content-Length", "Expect", "Via", "X-Forwarded-For", "Cookie"],
)
def test_a_header_that_has_a_meaning_of_its_own_is_refused(header: str) -> None:
    with pytest.raises(
        ValueError, match=f"^token_header: {header} already has a meaning of its own and can't carry the token$"
    ):
        make(token_header=header)


# What answers mean


def test_a_platform_says_too_fast_by_429_and_not_with_this_token_by_401_unless_it_is_told_otherwise() -> None:
    usual = make().answers
    other = make(throttled_when=(503,), unauthorized_when=()).answers
    statuses = (200, 401, 403, 429, 503)

    assert [usual.meaning(status, None).sense.value for status in statuses] == [
        "ordinary",
        "unauthorized",
        "ordinary",
        "throttled",
        "ordinary",
    ]
    assert [other.meaning(status, None).sense.value for status in statuses] == [*["ordinary"] * 4, "throttled"]
    assert not usual.looks_into(200)


def test_a_changed_platform_has_its_own_meanings() -> None:
    changed = replace(make(), throttled_when=(InBody(200, "code", "FAST"),))

    assert changed.answers.looks_into(200)
    assert changed != make()


# Batches


@pytest.mark.parametrize(
    "path",
    [
        b"batch",
        b"/batch",
        b"batch/",
        b"//batch//",
        b"batch?x=1",
        b"batch?",
        b"Batch",
        b"%62atch",
        b"%42ATC%48",
        b"%2fbatch",
        b"batch%2F",
        b"batch;x=1",
        b"batch.json",
        b"batch%20",
        b"batch/async",
        b"batch%00",
        b"batch%00.html",
        b"batch%09",
        b"batch%23",
        b"batch%3Fx",
        b"batch,",
        b"batch%FF",
        b"\\batch",
        b"%5cbatch%5C",
        b"%20/batch",
        b";/batch",
        b";x=1//batch",
        b"%3Bx/batch",
        b"index.php/batch",
        b"app_dev.php//batch.php/batch",
    ],
)
def test_a_batch_is_one_in_every_spelling(path: bytes) -> None:
    assert make(batch_path="batch").is_batch(path)
    assert make(batch_path="V1/Batch").is_batch(b"v1/" + path)
    assert not make().is_batch(path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"", b"/", b"?batch", b"batches", b"products/batch", b"xbatch", b"%2562atch", b"\xff"),
        *(b"batch-jobs", b"batch_jobs", b"batch%2Djobs", b";batch", b"x;/batch", b"batch.php"),
    ],
)
def test_another_path_is_none(path: bytes) -> None:
    assert not make(batch_path="batch").is_batch(path)
    assert not make(batch_path="v1/batch").is_batch(b"v1/" + path)
    assert not make(batch_path="v1/batch").is_batch(b"batch")


@pytest.mark.parametrize("path", [b"v1.0/$batch", b"V1.0/%24batch", b"/v1.0//$batch.json?x", b"v1.0;x/$batch;y"])
def test_the_path_for_batches_may_have_signs_of_its_own(path: bytes) -> None:
    assert make(batch_path="v1.0/$batch").is_batch(path)
    assert make(batch_path="v1.0/%24batch").is_batch(path)
    assert not make(batch_path="v1.0/$batch").is_batch(path.replace(b".", b""))


def test_where_the_proxy_may_send_batches_clients_send_them_too() -> None:
    assert make(batch=Batch("v1/batch")).is_batch(b"v1/batch")
    assert not make(batch=Batch("v1/batch")).is_batch(b"batch")
