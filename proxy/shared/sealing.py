"""What is stored can be read and moved by nobody else: AES-256-GCM (NIST SP 800-38D).

Rules: an entry's own name and generation are its associated data, so that it can be read in its own place alone: one
shop's entry, copied to another's name, is refused. Each begins with the id of its key, so that keys can be changed one
replica after the other: the first key seals, all open.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12  # SP 800-38D §8.2.2: random ones, for at most 2^32 entries with one key


class Unreadable(Exception):
    """An entry can't be read; the message says why, and shows nothing."""


class ForeignKey(Unreadable):
    """It was sealed with a key that is not known here: others may read it."""


class Sealer(Protocol):
    """Seals entries, and opens them in their own place."""

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return `content` so that it can be read in `place` alone."""
        ...

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed. Raises `Unreadable`."""
        ...


class Sealed:
    """Seals with the first of some keys, each of 32 bytes, and opens with all."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(b"key id" + key).digest()[:_ID_BYTES]: AESGCM(key) for key in keys}
        self._first = next(iter(self._keys))

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return `content` so that it can be read in `place` alone."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._first + nonce + self._keys[self._first].encrypt(nonce, content, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed. Raises `Unreadable`."""
        key = self._keys.get(sealed[:_ID_BYTES])
        if key is None:
            raise ForeignKey("it was sealed with a key that is not in shared.encryption_key")
        nonce = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            return key.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], place)
        except (InvalidTag, ValueError):
            raise Unreadable("it was damaged, or moved here from another place") from None


class Plain:
    """Leaves entries as they are, for `plaintext = true`; what was sealed is refused."""

    _MARK: Final = b"plain"

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return `content`, marked."""
        return self._MARK + content

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was marked. Raises `Unreadable`."""
        if not sealed.startswith(self._MARK):
            raise ForeignKey("it is encrypted, and shared.encryption_key is not set here")
        return sealed.removeprefix(self._MARK)
