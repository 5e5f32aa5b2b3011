"""The post-quantum recipient type ``mlkem768x25519``: ``age1pq1…`` opens with ``AGE-SECRET-KEY-PQ-1…``.

ML-KEM-768 and X25519 together, through HPKE: whoever breaks only one of them opens nothing. An identity is a 32-byte
seed from which both secret keys are expanded. (C2SP ``age.md``, "The mlkem768x25519 recipient type".)
"""

import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from agent.age import bech32
from agent.age.failure import HeaderError
from agent.age.format import FILE_KEY_BYTES, Stanza, read_argument, write_base64
from agent.errors import ConfigError

KIND: Final = "mlkem768x25519"
RECIPIENT_PREFIX: Final = "age1pq"
IDENTITY_PREFIX: Final = "age-secret-key-pq-"
LABEL: Final = "postquantum"
_SEED_BYTES: Final = 32
_MLKEM_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_SHARE_BYTES: Final = 1088
_X25519_BYTES: Final = 32
_SHARE_BYTES: Final = _MLKEM_SHARE_BYTES + _X25519_BYTES
_PUBLIC_BYTES: Final = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
_BODY_BYTES: Final = FILE_KEY_BYTES + 16
_INFO: Final = b"age-encryption.org/mlkem768x25519"
_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class HybridRecipient:
    """A post-quantum public key that files are sealed to."""

    label = LABEL

    def __init__(self, public: bytes) -> None:
        """Take the 1,216 raw bytes; ``ConfigError`` when they are no such key."""
        if len(public) != _PUBLIC_BYTES:
            raise ConfigError("a post-quantum recipient has 1,216 bytes", hint="copy the whole key again")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        except ValueError:
            raise ConfigError("this is no post-quantum public key", hint="copy the whole key again") from None
        self._public = public
        self._key = hpke.MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]))

    def to_text(self) -> str:
        """Write the recipient as ``age1pq1…``, 1,959 characters."""
        return bech32.encode(RECIPIENT_PREFIX, self._public)

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key so that only this recipient's identity opens it; the randomness is the library's."""
        try:
            sealed = _SUITE.encrypt(file_key, self._key, info=_INFO)
        except ValueError:
            raise ConfigError("this recipient is no usable public key", hint="ask its owner for another") from None
        return Stanza(KIND, (write_base64(sealed[:_SHARE_BYTES]).decode("ascii"),), sealed[_SHARE_BYTES:])


class HybridIdentity:
    """A post-quantum secret key; never printed except by ``to_text``."""

    kind = KIND

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte seed; ``ConfigError`` for another length."""
        if len(seed) != _SEED_BYTES:
            raise ConfigError("a post-quantum identity has 32 bytes", hint="copy the whole key again")
        self._seed = seed
        expansion = hashes.Hash(hashes.SHAKE256(_MLKEM_SEED_BYTES + _X25519_BYTES))
        expansion.update(seed)
        secrets = expansion.finalize()
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(secrets[:_MLKEM_SEED_BYTES])
        self._x25519 = X25519PrivateKey.from_private_bytes(secrets[_MLKEM_SEED_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @classmethod
    def generate(cls, *, random: Callable[[int], bytes] = os.urandom) -> "HybridIdentity":
        """Make a fresh identity."""
        return cls(random(_SEED_BYTES))

    def to_text(self) -> str:
        """Write the secret as ``AGE-SECRET-KEY-PQ-1…``: only for the file that keeps it."""
        return bech32.encode(IDENTITY_PREFIX, self._seed).upper()

    def recipient(self) -> HybridRecipient:
        """Return the public half."""
        mlkem = self._mlkem.public_key().public_bytes_raw()
        return HybridRecipient(mlkem + self._x25519.public_key().public_bytes_raw())

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key that a stanza of this type holds, or None if it is for somebody else.

        Raises ``HeaderError`` when the stanza is malformed, whoever it is for.
        """
        if len(stanza.arguments) != 1 or len(stanza.body) != _BODY_BYTES:
            raise HeaderError("a post-quantum stanza is malformed")
        share = read_argument(stanza.arguments[0], size_bytes=_SHARE_BYTES)
        try:
            # HPKE reports a share of low order as "not for us"; age calls the header malformed, so it is asked first.
            self._x25519.exchange(X25519PublicKey.from_public_bytes(share[_MLKEM_SHARE_BYTES:]))
            return _SUITE.decrypt(share + stanza.body, self._key, info=_INFO)
        except InvalidTag:
            return None
        except ValueError:
            raise HeaderError("a post-quantum stanza holds an impossible share") from None
