"""An egress proxy's URL: what it says, what is wrong with it, and that its password stays in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.platforms.egress_proxy import EgressProxy, parse_proxy
from proxy.platforms.platform import Origin, Platform
from proxy.secret import Secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.internal:3128", EgressProxy("proxy.internal", 3128)),
        ("HTTP://Proxy.Internal:80/", EgressProxy("proxy.internal", 80)),
        ("http://10.0.0.1:1", EgressProxy("10.0.0.1", 1)),
        ("http://[fd00::1]:3128", EgressProxy("fd00::1", 3128)),
        ("http://squid_1:3128", EgressProxy("squid_1", 3128)),
        ("http://me:s3cret@p.internal:3128", EgressProxy("p.internal", 3128, "me", Secret("s3cret"))),
        ("http://me%40corp:p%40%3A%2F%23%25@p:1", EgressProxy("p", 1, "me@corp", Secret("p@:/#%"))),
        ("http://me:p+q r@p:1", EgressProxy("p", 1, "me", Secret("p+q r"))),
        ("http://ügyfél:jelszó@p:1", EgressProxy("p", 1, "ügyfél", Secret("jelszó"))),
    ],
)
def test_a_url_names_host_port_and_credentials(text: str, expected: EgressProxy) -> None:
    assert parse_proxy(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://me:s3cret@p:3128", "must begin with http://: proxies of other kinds"),
        ("socks5://p:1080", "must begin with http://"),
        ("proxy.internal:3128", "must begin with http://"),
        ("s3cret", "must begin with http://"),
        ("http://p", "must name a host and a port"),
        ("http://p:0", "must name a host and a port"),
        ("http://p:65536", 'must be a URL such as "http://proxy.internal:3128"'),
        ("http://:3128", 'must be a URL such as "http://proxy.internal:3128"'),
        ("http://p p:3128", "must name a host and a port"),
        ("http://ex%41.com:1", "must name a host and a port"),
        ("http://me:s3cret/x@p:3128", "percent-encode"),
        ("http://me:s3cret#x@p:3128", "percent-encode"),
        ("http://me:1/s3cret@p:3128", "percent-encode"),
        ("http://p:3128/path", "must have nothing after the port"),
        ("http://p:3128?", "must have nothing after the port"),
        ("http://p:3128#", "must have nothing after the port"),
        ("http://me@p:3128", "must have a user name and a password, or neither"),
        ("http://me:@p:3128", "must have a user name and a password, or neither"),
        ("http://:s3cret@p:3128", "must have a user name and a password, or neither"),
        ("http://m%3Ae:s3cret@p:3128", "must not contain a colon in the user name"),
        ("http://me:s3cret%0A@p:3128", "control characters"),
        ("http://me:s3\tcret@p:3128", "control characters"),  # yarl would leave it out
        ("http://[]@", 'must be a URL such as "http://proxy.internal:3128"'),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_it(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        parse_proxy(text)

    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@given(st.text(), st.text(alphabet="http:/@#?%[].0a "))
def test_any_text_is_a_proxy_or_a_sentence(one: str, other: str) -> None:
    for text in (one, f"http://{one}", f"http://{other}", f"http://{one}:{other}@p:3128"):
        try:
            proxy = parse_proxy(text)
        except ValueError:
            continue
        # What was taken comes out as one field value each (RFC 9110 §5.5).
        assert all(value.isprintable() for value in proxy.connect_headers().values())
        assert proxy.url.isprintable()


def test_the_credentials_go_into_connect_alone() -> None:
    """The example of RFC 7617 §2."""
    proxy = EgressProxy("p.internal", 3128, "Aladdin", Secret("open sesame"))

    assert proxy.connect_headers()["Proxy-Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert "Proxy-Authorization" not in EgressProxy("p.internal", 3128).connect_headers()
    assert proxy.url == "http://p.internal:3128"
    assert EgressProxy("fd00::1", 3128).url == "http://[fd00::1]:3128"
    for text in (repr(proxy), str(proxy), *(proxy.refusal(status, "h", 443) for status in (403, 407, 502))):
        assert "sesame" not in text


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("api.example", True),
        ("API.Example", True),
        ("example", True),
        (".example", True),
        ("other.example, api.example", True),
        ("api.example:443", True),
        ("api.example:8443", False),
        ("pi.example", False),
        ("v1.api.example", False),
        ("other.example", False),
    ],
)
def test_no_proxy_names_hosts_and_all_beneath_them(no_proxy: str, direct: bool) -> None:
    proxy = EgressProxy("p.internal", 3128, no_proxy=no_proxy)

    assert proxy.serves("api.example", 443) is not direct


def test_plain_http_goes_directly() -> None:
    proxy = EgressProxy("p.internal", 3128)
    platform = Platform("mine", "https://a.example/token", "http://b.internal/", allow_private=True, proxy=proxy)

    assert platform.proxy_for(platform.token_origin_for("demo")) is proxy
    assert platform.proxy_for(platform.api_base_for("demo")[0]) is None
    assert platform.token_origin_for("demo") == Origin("https", "a.example", 443)
