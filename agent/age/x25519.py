"""The X25519 recipient type: ``age1…`` opens with ``AGE-SECRET-KEY-1…``.

The share in a stanza is a one-time public key; the wrap key binds it and the recipient. (C2SP ``age.md``,
section "The X25519 recipient type".)
"""

import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agent.age import bech32
from agent.age.failure import HeaderError
from agent.age.format import FILE_KEY_BYTES, Stanza, derive, read_argument, write_base64
from agent.errors import ConfigError

KIND: Final = "X25519"
RECIPIENT_PREFIX: Final = "age"
IDENTITY_PREFIX: Final = "age-secret-key-"
_KEY_BYTES: Final = 32
_INFO: Final = b"age-encryption.org/v1/X25519"
_BODY_BYTES: Final = FILE_KEY_BYTES + 16
_ONE_USE_NONCE: Final = bytes(12)


class X25519Recipient:
    """A public key that files are sealed to."""

    label = ""

    def __init__(self, public: bytes) -> None:
        """Take the 32 raw bytes; ``ConfigError`` for another length."""
        if len(public) != _KEY_BYTES:
            raise ConfigError("an X25519 recipient has 32 bytes", hint="copy the whole key again")
        self._public = public

    def to_text(self) -> str:
        """Write the recipient as ``age1…``."""
        return bech32.encode(RECIPIENT_PREFIX, self._public)

    def wrap(self, file_key: bytes, *, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """Wrap a file key so that only this recipient's identity opens it.

        A public key of low order, which no identity has, raises ``ConfigError``.
        """
        ephemeral = X25519PrivateKey.from_private_bytes(random(_KEY_BYTES))
        share = ephemeral.public_key().public_bytes_raw()
        try:
            shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self._public))
        except ValueError:
            raise ConfigError("this recipient is no usable public key", hint="ask its owner for another") from None
        key = derive(shared, salt=share + self._public, info=_INFO)
        body = ChaCha20Poly1305(key).encrypt(_ONE_USE_NONCE, file_key, None)
        return Stanza(KIND, (write_base64(share).decode("ascii"),), body)


class X25519Identity:
    """A secret key; never printed except by ``to_text``."""

    kind = KIND

    def __init__(self, secret: bytes) -> None:
        """Take the 32 raw bytes; ``ConfigError`` for another length."""
        if len(secret) != _KEY_BYTES:
            raise ConfigError("an X25519 identity has 32 bytes", hint="copy the whole key again")
        self._secret = secret
        self._private = X25519PrivateKey.from_private_bytes(secret)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, *, random: Callable[[int], bytes] = os.urandom) -> "X25519Identity":
        """Make a fresh identity."""
        return cls(random(_KEY_BYTES))

    def to_text(self) -> str:
        """Write the secret as ``AGE-SECRET-KEY-1…``: only for the file that keeps it."""
        return bech32.encode(IDENTITY_PREFIX, self._secret).upper()

    def recipient(self) -> X25519Recipient:
        """Return the public half."""
        return X25519Recipient(self._public)

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key that a stanza of this type holds, or None if it is for somebody else.

        Raises ``HeaderError`` when the stanza is malformed, whoever it is for.
        """
        if len(stanza.arguments) != 1 or len(stanza.body) != _BODY_BYTES:
            raise HeaderError("an X25519 stanza is malformed")
        share = read_argument(stanza.arguments[0], size_bytes=_KEY_BYTES)
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise HeaderError("an X25519 stanza holds a share of low order") from None
        key = derive(shared, salt=share + self._public, info=_INFO)
        try:
            return ChaCha20Poly1305(key).decrypt(_ONE_USE_NONCE, stanza.body, None)
        except InvalidTag:
            return None
