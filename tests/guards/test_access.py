"""Who is let in, and that nothing but the answer tells how close somebody came. See tests/test_who_may_call.py too."""

import base64
import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import AccessError, ClientForbidden, ClientUnauthenticated, TooManyFailures
from proxy.guards.access import Access, Client

SECRETS = {"erp": b"secret-of-erp", "feed": b"secret-of-feed", "shop": b"secret-of-shop"}
CLIENTS = [Client(name, sha256(secret).digest()) for name, secret in SECRETS.items()]
HERE = "192.0.2.7"


def basic(name: bytes, secret: bytes) -> list[bytes]:
    return [b"Basic " + base64.b64encode(name + b":" + secret)]


def bearer(secret: bytes) -> list[bytes]:
    return [b"Bearer " + secret]


class Watched:
    """An access that keeps what it compares, and whose clock a test sets."""

    def __init__(self, *clients: Client) -> None:
        self.now = 0.0
        self.compared: list[tuple[bytes, bytes]] = []
        self.access = Access(clients or CLIENTS, clock=lambda: self.now, compare=self._compare)

    def _compare(self, one: bytes, other: bytes) -> bool:
        self.compared.append((one, other))
        return hmac.compare_digest(one, other)

    def let_in(self, authorization: list[bytes], address: str | None = HERE) -> str:
        client = self.access.identify(authorization, address)
        assert client is not None
        return client.name

    def refusal(self, authorization: list[bytes], address: str | None = HERE) -> AccessError:
        with pytest.raises(AccessError) as caught:
            self.access.identify(authorization, address)
        return caught.value


@pytest.mark.parametrize("name", SECRETS)
def test_a_client_is_known_by_name_and_secret_or_by_the_secret_alone(name: str) -> None:
    watched = Watched()

    assert watched.let_in(basic(name.encode(), SECRETS[name])) == name
    assert watched.let_in(bearer(SECRETS[name])) == name


WRONG = {
    "wrong secret": (basic(b"erp", b"wrong"), "erp", "wrong name or secret"),
    "unknown name": (basic(b"nobody", b"wrong"), "unknown", "wrong name or secret"),
    "another's secret": (basic(b"erp", b"secret-of-feed"), "erp", "the secret of client feed, under another name"),
    "right secret, unknown name": (
        basic(b"nobody", b"secret-of-erp"),
        "unknown",
        "the secret of client erp, under another name",
    ),
    "right secret, no name": (basic(b"", b"secret-of-erp"), "unknown", "the secret of client erp, under another name"),
    "another case": (basic(b"ERP", b"secret-of-erp"), "unknown", "the secret of client erp, under another name"),
    "secret as the name": (basic(b"secret-of-erp", b""), "unknown", "wrong name or secret"),
    "secret and more": (basic(b"erp", b"secret-of-erp\n"), "erp", "wrong name or secret"),
    "part of the secret": (basic(b"erp", b"secret-of-er"), "erp", "wrong name or secret"),
    "digest of the secret": (basic(b"erp", CLIENTS[0].digest.hex().encode()), "erp", "wrong name or secret"),
    "name that is no UTF-8": (basic(b"erp\xff", b"wrong"), "unknown", "wrong name or secret"),
    "wrong token": (bearer(b"wrong"), None, "no client has this secret"),
    "no token": (bearer(b""), None, "no client has this secret"),
    "name and secret as a token": (bearer(b"erp:secret-of-erp"), None, "no client has this secret"),
    "other scheme": ([b"Digest secret-of-erp"], None, "neither HTTP Basic nor Bearer"),
    "twice": (bearer(b"secret-of-erp") * 2, None, "more than one Authorization field"),
}


@pytest.mark.parametrize("what", WRONG)
def test_all_else_is_refused_and_the_log_learns_why_without_what_was_sent(what: str) -> None:
    authorization, tried, reason = WRONG[what]

    refusal = Watched().refusal(authorization)

    assert isinstance(refusal, ClientUnauthenticated)
    assert (refusal.tried, refusal.reason) == (tried, reason)
    assert refusal.detail == "These are not the credentials of a client of this proxy."
    assert "secret-of" not in f"{refusal!r} {refusal} {refusal.reason} {refusal.tried}"


@pytest.mark.parametrize("what", [what for what in WRONG if what not in {"other scheme", "twice"}])
def test_what_was_shown_is_compared_by_digest_with_every_client_whatever_the_name(what: str) -> None:
    watched = Watched()
    authorization = WRONG[what][0]
    shown = authorization[0].partition(b" ")[2]
    secret = shown if authorization[0].startswith(b"Bearer") else base64.b64decode(shown).partition(b":")[2]

    watched.refusal(authorization)

    assert watched.compared[: len(CLIENTS)] == [(client.digest, sha256(secret).digest()) for client in CLIENTS]


@pytest.mark.parametrize("name", SECRETS)
def test_right_credentials_are_compared_to_the_last_client_too(name: str) -> None:
    watched = Watched()
    watched.let_in(bearer(SECRETS[name]))
    watched.let_in(basic(name.encode(), SECRETS[name]))

    assert [one for one, _ in watched.compared] == [client.digest for client in CLIENTS] * 2


@given(name=st.binary().map(lambda name: name.replace(b":", b"")), secret=st.binary())
def test_no_name_makes_more_or_other_comparisons_than_one_that_exists(name: bytes, secret: bytes) -> None:
    """What is looked at, and in which lengths, is the same for a name that exists and for one that doesn't."""
    watched, other = Watched(), Watched()
    watched.refusal(basic(name, secret))
    other.refusal(basic(b"erp", secret))

    assert [(len(one), len(shown)) for one, shown in watched.compared] == [(32, 32)] * len(other.compared)
    assert watched.compared[: len(CLIENTS)] == other.compared[: len(CLIENTS)]


def test_the_comparison_is_that_of_hmac_unless_a_test_says_otherwise() -> None:
    assert Access.__init__.__kwdefaults__ == {"compare": hmac.compare_digest}


def test_a_request_without_credentials_is_told_to_show_them_however_often_it_comes() -> None:
    watched = Watched()

    refusals = [watched.refusal([]) for _ in range(100)]

    assert {(type(refusal), refusal.reason, refusal.tried) for refusal in refusals} == {
        (ClientUnauthenticated, "no credentials", None)
    }
    assert type(watched.refusal(bearer(b"wrong"))) is ClientUnauthenticated


def test_after_ten_failures_the_failing_ones_are_told_to_wait_and_right_ones_pass() -> None:
    watched = Watched()
    kinds = [type(watched.refusal(authorization)) for authorization, *_ in list(WRONG.values())[:10]]
    watched.now = 20.0

    eleventh = watched.refusal(basic(b"feed", b"wrong"))

    assert kinds == [ClientUnauthenticated] * 10
    assert isinstance(eleventh, TooManyFailures)
    assert (eleventh.tried, eleventh.reason, eleventh.retry_after) == ("feed", "wrong name or secret", 40.0)
    assert isinstance(watched.refusal([b"unreadable"]), TooManyFailures)
    assert watched.let_in(basic(b"erp", b"secret-of-erp")) == watched.let_in(bearer(b"secret-of-erp")) == "erp"
    assert isinstance(watched.refusal(bearer(b"wrong"), "192.0.2.8"), ClientUnauthenticated)
    watched.now = 60.0
    assert isinstance(watched.refusal(bearer(b"wrong")), ClientUnauthenticated)


def test_right_credentials_do_not_wipe_out_the_failures() -> None:
    watched = Watched()
    for _ in range(10):
        watched.refusal(bearer(b"wrong"))
        watched.let_in(bearer(b"secret-of-erp"))

    assert isinstance(watched.refusal(bearer(b"wrong")), TooManyFailures)


def test_without_clients_everybody_passes_and_nothing_is_looked_at() -> None:
    access = Access([], clock=lambda: 0.0)

    assert access.identify([b"Basic old credentials"] * 2, HERE) is None
    access.check(None, "DELETE", "demo")


@pytest.mark.parametrize(
    ("shops", "methods", "method", "shop", "allowed"),
    [
        (None, None, "DELETE", "demo", True),
        ({"demo"}, None, "DELETE", "demo", True),
        ({"demo"}, None, "GET", "other", False),
        ({"demo", "other"}, None, "GET", "other", True),
        (set(), None, "GET", "demo", False),
        (None, {"GET"}, "GET", "demo", True),
        (None, {"GET"}, "HEAD", "demo", True),
        (None, {"HEAD"}, "HEAD", "demo", True),
        (None, {"HEAD"}, "GET", "demo", False),
        (None, {"POST"}, "HEAD", "demo", False),
        (None, {"GET"}, "OPTIONS", "demo", False),
        (None, {"GET"}, "POST", "demo", False),
        (None, {"GET"}, "PROPFIND", "demo", False),
        ({"demo"}, {"GET"}, "GET", "demo", True),
    ],
)
def test_a_client_may_use_its_shops_with_its_methods(
    shops: set[str] | None, methods: set[str] | None, method: str, shop: str, allowed: bool
) -> None:
    allowed_shops, allowed_methods = (None if names is None else frozenset(names) for names in (shops, methods))
    client = Client("erp", b"", allowed_shops, allowed_methods)
    try:
        Access([client], clock=lambda: 0.0).check(client, method, shop)
    except ClientForbidden:
        assert not allowed
    else:
        assert allowed


def test_of_a_shop_that_it_may_not_use_a_client_learns_nothing_by_another_method() -> None:
    client = Client("erp", b"", frozenset({"demo"}), frozenset({"GET"}))
    access = Access([client], clock=lambda: 0.0)

    details = set()
    for method in ("GET", "POST"):
        with pytest.raises(ClientForbidden) as caught:
            access.check(client, method, "other")
        details.add(caught.value.detail)

    assert details == {"This client may not use this shop."}


def test_a_client_does_not_show_its_digest() -> None:
    assert repr(CLIENTS[0]) == "Client(name='erp', shops=None, methods=None)"


@pytest.mark.parametrize(
    "secret", ["jelszó-és-még", "naïve-café-1", "¡contraseña!", "jelszű-ő", "パスワード1234", "Ã©-both-ways"]
)
def test_letters_outside_ascii_match_in_utf_8_and_in_latin_1(secret: str) -> None:
    watched = Watched(Client("erp", sha256(secret.encode()).digest()), *CLIENTS)
    in_latin_1 = secret.encode("latin-1", "ignore")

    for shown in (basic(b"erp", secret.encode()), bearer(secret.encode())):
        assert watched.let_in(shown) == "erp"
    for shown in (basic(b"erp", in_latin_1), bearer(in_latin_1)):
        if in_latin_1.decode("latin-1") == secret:
            assert watched.let_in(shown) == "erp"
        else:
            watched.refusal(shown)
    for encoding in ("utf-16", "utf-7"):
        watched.refusal(bearer(secret.encode(encoding)))


def test_of_two_readings_utf_8_comes_first() -> None:
    """What is one client's secret in Latin-1 may be another's in UTF-8."""
    clients = [Client(name, sha256(secret.encode()).digest()) for name, secret in (("one", "Ã©"), ("other", "é"))]
    watched = Watched(*clients)

    assert watched.let_in(bearer("é".encode())) == "other"
    assert watched.let_in(bearer("é".encode("latin-1"))) == "other"
    assert watched.let_in(bearer("Ã©".encode())) == "one"


def test_how_much_is_compared_depends_on_what_is_shown_alone() -> None:
    for shown, rounds in ((b"wrong", 1), (b"wr\xf6ng", 2), ("wröng".encode(), 2)):
        watched = Watched()
        watched.refusal(basic(b"erp", shown))
        digests = [sha256(shown).digest(), sha256(shown.decode("latin-1").encode()).digest()][:rounds]
        assert watched.compared[: rounds * len(CLIENTS)] == [
            (client.digest, digest) for digest in digests for client in CLIENTS
        ]
