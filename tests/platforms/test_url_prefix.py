"""What a URL prefix is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.platforms.url_prefix import Prefix, parse_prefix

# What means something in JSON, XML, a form body or a header field.
_MARKUP = "&<>\"'\\%+={}[] \t\r\n\0\x7f;,ő"


@pytest.mark.parametrize(
    ("url", "prefix", "again"),
    [
        ("https://a.example/api", Prefix("https", "a.example", "", "/api"), "https://a.example/api"),
        ("https://a.example/api/", Prefix("https", "a.example", "", "/api"), "https://a.example/api"),
        ("https://a.example", Prefix("https", "a.example", "", ""), "https://a.example"),
        ("https://a.example/", Prefix("https", "a.example", "", ""), "https://a.example"),
        ("http://proxy:8080/demo", Prefix("http", "proxy", "8080", "/demo"), "http://proxy:8080/demo"),
        ("HTTP://Proxy:80/Demo", Prefix("http", "proxy", "", "/Demo"), "http://proxy/Demo"),
        ("https://proxy:443", Prefix("https", "proxy", "", ""), "https://proxy"),
        ("https://proxy:80", Prefix("https", "proxy", "80", ""), "https://proxy:80"),
        ("http://[::1]:8080/demo", Prefix("http", "[::1]", "8080", "/demo"), "http://[::1]:8080/demo"),
        (
            "http://10.0.0.1/a/b-c/d.e~f_g",
            Prefix("http", "10.0.0.1", "", "/a/b-c/d.e~f_g"),
            "http://10.0.0.1/a/b-c/d.e~f_g",
        ),
    ],
)
def test_a_prefix_is_taken_apart_and_put_together(url: str, prefix: Prefix, again: str) -> None:
    assert parse_prefix(url) == prefix
    assert str(prefix) == again


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:8080/demo",
        "//proxy/demo",
        "ftp://proxy/demo",
        "https://",
        "https:///demo",
        "https://user@proxy/demo",
        "https://user:pass@proxy/demo",
        "https://proxy:/demo",
        "https://proxy:x/demo",
        "https://proxy:123456/demo",
        "https://.proxy/demo",
        "https://proxy./demo",
        "https://proxy//demo",
        "https://proxy/demo//",
        "https://proxy/demo?",
        "https://proxy/demo?a=b",
        "https://proxy/demo#x",
        "https://proxy/%64emo",
        "https://proxy/demo\n",
        "https://proxy/a/../b",
        "https://proxy/.",
        "https://proxy:0/demo",
        "https://proxy:65536/demo",
        "https://áruház.example/demo",
        "https://[::1/demo",
        f"https://{'a' * 254}/demo",
    ],
)
def test_nothing_else_is_a_prefix(url: str) -> None:
    with pytest.raises(ValueError, match="must be http"):
        parse_prefix(url)


@given(
    st.text(_MARKUP + "a.:/-", min_size=1).filter(lambda text: any(c in _MARKUP for c in text)),
    st.sampled_from(["http://{}", "http://{}/demo", "http://proxy{}/demo", "http://proxy:8080/{}"]),
)
def test_what_could_be_markup_in_an_answer_is_no_prefix(text: str, where: str) -> None:
    if text.startswith("[") and text.rstrip("/").endswith("]"):
        return  # an IPv6 address, whose brackets mean nothing within a string
    with pytest.raises(ValueError, match="must be http"):
        parse_prefix(where.format(text))


def test_either_scheme_and_its_own_port_make_the_same_prefix() -> None:
    assert sorted(parse_prefix("https://a.example/api").equals()) == [
        "http://a.example/api",
        "http://a.example:80/api",
        "https://a.example/api",
        "https://a.example:443/api",
    ]
    assert sorted(parse_prefix("http://proxy:8080").equals()) == ["http://proxy:8080", "https://proxy:8080"]
