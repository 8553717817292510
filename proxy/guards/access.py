"""Which client may reach which shop. Pure; the clock comes in.

Rules:
- Without clients everybody passes; that only loopback listens then is the configuration's matter.
- The secret alone says who calls, with HTTP Basic as with Bearer: no two clients have the same. The name that comes
  with HTTP Basic is looked at only if the secret is right, and has to be that client's.
- Constant time: what is compared are SHA-256 digests, so that neither length nor beginning of a secret matters; the
  digest of what was shown is compared with those of all clients, by `hmac.compare_digest` and to the end, whatever
  name came with it. How long that takes depends on the number of clients and on what was shown, which the caller knows.
  That it takes longer if the secret is right is no secret: the answer says so.
- Letters outside ASCII are sent in UTF-8 by some programs and in Latin-1 by others (RFC 7617 §2.1): either is right.
- Right credentials always pass. So the limit on failing attempts does not stop who guesses; it keeps them apart from
  the rest, in the answers and in the log. What stops them is a secret that can't be guessed: see `new-client`.
- A request without credentials is no attempt: many programs send their credentials only when they are asked with 401.
- Refusals tell nothing about shops: a client that may not see a shop gets one answer, whether there is one or not.
"""

import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from proxy.errors import AccessError, ClientForbidden, ClientUnauthenticated, TooManyFailures
from proxy.guards.credentials import ShownCredentials, UnreadableCredentialsError, read_credentials
from proxy.guards.failures import Failures

_UNKNOWN: Final = "unknown"

NO_CREDENTIALS: Final = (
    "This proxy needs the credentials of one of its clients: name and secret as HTTP Basic (user and password), or"
    " the secret as a Bearer token."
)
WRONG_CREDENTIALS: Final = "These are not the credentials of a client of this proxy."
TOO_MANY: Final = "Too many wrong credentials came from this address. Correct ones are still accepted."
NOT_THIS_SHOP: Final = "This client may not use this shop."
NOT_THIS_METHOD: Final = "This client may not use this method."


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its name, the SHA-256 digest of its secret, and which shops and methods it may use (`None`: all)."""

    name: str
    digest: bytes = field(repr=False)
    shops: frozenset[str] | None = None
    methods: frozenset[str] | None = None

    def may_see(self, shop: str) -> bool:
        """Tell whether the client may use the shop with this key."""
        return self.shops is None or shop in self.shops


class Access:
    """Lets clients in. `clock` is monotonic, in seconds; `compare` is for tests that look at what is compared."""

    def __init__(
        self,
        clients: Collection[Client],
        *,
        clock: Callable[[], float],
        compare: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        self._clients = tuple(clients)
        self._failures = Failures(clock=clock)
        self._compare = compare

    def identify(self, authorization: Sequence[bytes], address: str | None) -> Client | None:
        """Return the client that shows its credentials in these `Authorization` fields; `None` if there are no clients.

        `address` is the IP address that the request comes from. Raises `ClientUnauthenticated`, `TooManyFailures`.
        """
        if not self._clients:
            return None
        try:
            shown = read_credentials(authorization)
        except UnreadableCredentialsError as error:
            raise self._failed(address, reason=str(error)) from None
        if shown is None:
            raise ClientUnauthenticated(NO_CREDENTIALS, reason="no credentials")
        client = self._client_with(shown.secret)
        if client is None or shown.name not in (None, client.name.encode()):
            raise self._failed(address, reason=_reason(shown, client), tried=self._name_for_log(shown))
        return client

    def check(self, client: Client | None, method: str, shop: str) -> None:
        """Raise `ClientForbidden` if this client, from `identify`, may not use this method or the shop with this key.

        Whoever may GET may HEAD, which tells less (RFC 9110 §9.3.2).
        """
        if client is None:
            return
        if not client.may_see(shop):
            raise ClientForbidden(NOT_THIS_SHOP)
        let_through_by = {"HEAD", "GET"} if method == "HEAD" else {method}
        if client.methods is not None and client.methods.isdisjoint(let_through_by):
            raise ClientForbidden(NOT_THIS_METHOD)

    def _client_with(self, secret: bytes) -> Client | None:
        matching = [
            client for digest in _digests(secret) for client in self._clients if self._compare(client.digest, digest)
        ]
        return matching[0] if matching else None

    def _name_for_log(self, shown: ShownCredentials) -> str | None:
        """Return the name that was tried if a client is called so: others may be anything, even a misplaced secret."""
        if shown.name is None:
            return None
        digest = sha256(shown.name).digest()
        names = [
            client.name for client in self._clients if self._compare(sha256(client.name.encode()).digest(), digest)
        ]
        return names[0] if names else _UNKNOWN

    def _failed(self, address: str | None, *, reason: str, tried: str | None = None) -> AccessError:
        wait = self._failures.count(address)
        if wait is not None:
            return TooManyFailures(TOO_MANY, reason=reason, tried=tried, retry_after=wait)
        return ClientUnauthenticated(WRONG_CREDENTIALS, reason=reason, tried=tried)


def _digests(secret: bytes) -> list[bytes]:
    """Return the digests that a client may have who sends these bytes for its secret, which it has in UTF-8."""
    texts = [secret]
    if not secret.isascii():
        texts.append(secret.decode("latin-1").encode())
    return [sha256(text).digest() for text in texts]


def _reason(shown: ShownCredentials, client: Client | None) -> str:
    if client is not None:
        return f"the secret of client {client.name}, under another name"
    return "no client has this secret" if shown.name is None else "wrong name or secret"
