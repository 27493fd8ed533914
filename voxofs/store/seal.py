"""The seal: how what lies on the disk is kept from being read, moved or changed.

Everything is AES-256-GCM (NIST SP 800-38D). A sealed piece is

    salt (16 bytes) | nonce (12 bytes) | ciphertext | tag (16 bytes)

and is *bound*, as additional data, to what it is: kind, format, the keyed name of tenant, recording and
version, position. A piece that was moved, swapped, cut, flipped or sealed under another key or format does
not open.

**Why no nonce is used twice under one key.** The disk key seals nothing. A process draws 16 random bytes,
the salt, and derives from both a key of its own (HKDF, RFC 5869); after 2^20 pieces, and after a fork, it
draws a new salt. Nonces are 12 random bytes from the kernel. Two pieces collide only where both are the
same. Of one salt's 2^20 nonces two are equal with a probability below 2^-57; NIST allows 2^-32. Nothing has
to be remembered over a restart, and processes need not agree on anything. A counter in place of the random
nonce would save nothing that can be measured and would repeat itself where a virtual machine is put back to
a snapshot.

Names (rows' keys in the index) are BLAKE2b under a key of its own: they tell whether two things are the
same to whoever holds the disk key, and nothing to anybody else. What a thief does see: how many pieces, how
large, and when.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from voxofs.model import Block

KEY_BYTES = 32
"""AES-256."""

FORMAT = 1
"""Of everything in the directory. Part of what pieces are bound to, so that another format does not open."""

NAME_BYTES = 16
"""Of a keyed name: among 10^9 names two are equal with a probability of 2^-69."""

_SALT_BYTES = 16
_NONCE_BYTES = 12
"""What GCM takes without hashing (SP 800-38D, 5.2.1.1)."""
_TAG_BYTES = 16

OVERHEAD_BYTES = _SALT_BYTES + _NONCE_BYTES + _TAG_BYTES
"""What sealing adds to a piece."""

_PIECES_PER_SALT = 1 << 20
"""See above; about 64 GiB of audio."""

_KEYS_KEPT = 256
"""Derived keys in memory: a derivation takes 10 µs, and pieces read together were mostly sealed together."""


_encode = msgspec.msgpack.Encoder().encode
"""Of the fields of a name: with their lengths, so that ("ab", "c") and ("a", "bc") differ."""


class NotOurs(Exception):
    """The piece is not what it should be: damaged, moved, or of another key or format."""


class Seal:
    """Seals, opens and names under one disk key. May be used by several threads."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a disk key has 32 bytes")
        self._names_key = _derive(key, b"", b"names")
        self._cipher = lru_cache(maxsize=_KEYS_KEPT)(lambda salt: AESGCM(_derive(key, salt, b"pieces")))
        self._salt = b""
        self._pid = 0
        self._left = 0

    def __repr__(self) -> str:
        return "<Seal>"

    def name(self, kind: str, *fields: str | int | None) -> bytes:
        """A name for these fields that tells nothing; 16 bytes, the same in every process."""
        try:
            text = _encode((kind, fields))
        except UnicodeEncodeError:  # half of a surrogate pair: no text, but told apart all the same
            text = ascii((kind, fields)).encode()
        return hashlib.blake2b(text, digest_size=NAME_BYTES, key=self._names_key).digest()

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        """The sealed piece."""
        return b"".join(self.seal_parts(plain, bound))

    def seal_parts(self, plain: Block, bound: bytes) -> tuple[bytes, bytes]:
        """The sealed piece in two parts that belong one behind the other, for a gathering write."""
        if not self._left or self._pid != os.getpid():
            self._salt, self._pid, self._left = os.urandom(_SALT_BYTES), os.getpid(), _PIECES_PER_SALT
        self._left -= 1
        salt, nonce = self._salt, os.urandom(_NONCE_BYTES)
        return salt + nonce, self._cipher(salt).encrypt(nonce, plain, _bound(bound))

    def open(self, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """What was sealed. Raises `NotOurs`."""
        if not isinstance(sealed, bytes | memoryview) or len(sealed) < OVERHEAD_BYTES:
            raise NotOurs("too short")
        salt = bytes(sealed[:_SALT_BYTES])
        nonce = bytes(sealed[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES])
        body = sealed[_SALT_BYTES + _NONCE_BYTES :]
        try:
            return self._cipher(salt).decrypt(nonce, body, _bound(bound))
        except InvalidTag:
            raise NotOurs("does not open") from None


def _bound(to: bytes) -> bytes:
    return b"voxofs" + FORMAT.to_bytes(2, "big") + to


def _derive(key: bytes, salt: bytes, use: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=b"voxofs disk " + use).derive(
        key
    )
