"""The scrypt recipient type: a passphrase, always alone in its header.

The agent never uses it; it is here so that every age file can be read and made. (C2SP ``age.md``, "The scrypt
recipient type".)
"""

import os
import re
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.age.failure import HeaderError
from agent.age.format import FILE_KEY_BYTES, Stanza, read_argument, write_base64
from agent.errors import ConfigError

KIND: Final = "scrypt"
LABEL: Final = "passphrase"

# What age 1.1.1 writes: about a second, 256 MiB.
WRITE_LOG_N: Final = 18
# Each step doubles time and memory; 20 is 1 GiB. age itself stops at 22.
READ_LOG_N_MAX: Final = 20

_SALT_BYTES: Final = 16
_SALT_PREFIX: Final = b"age-encryption.org/v1/scrypt"
_BODY_BYTES: Final = FILE_KEY_BYTES + 16
_ONE_USE_NONCE: Final = bytes(12)
_LOG_N: Final = re.compile(r"[1-9][0-9]?")


class ScryptRecipient:
    """A passphrase that a file is sealed with."""

    label = LABEL

    def __init__(self, passphrase: str, *, log_n: int = WRITE_LOG_N) -> None:
        """Take the passphrase and the work factor as a power of two; ``ConfigError`` for an empty passphrase."""
        if not passphrase:
            raise ConfigError("the passphrase is empty", hint="choose a passphrase")
        self._passphrase = passphrase.encode()
        self._log_n = log_n

    def wrap(self, file_key: bytes, *, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """Wrap a file key under the passphrase; takes the time that the work factor asks for."""
        salt = random(_SALT_BYTES)
        body = ChaCha20Poly1305(_derive(self._passphrase, salt, log_n=self._log_n)).encrypt(
            _ONE_USE_NONCE, file_key, None
        )
        return Stanza(KIND, (write_base64(salt).decode("ascii"), str(self._log_n)), body)


class ScryptIdentity:
    """A passphrase that may open a file."""

    kind = KIND

    def __init__(self, passphrase: str, *, log_n_max: int = READ_LOG_N_MAX) -> None:
        """Take the passphrase and the largest work factor that a file may ask of us."""
        self._passphrase = passphrase.encode()
        self._log_n_max = log_n_max

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key that the stanza holds if the passphrase opens it, or None.

        Raises ``HeaderError`` for a malformed stanza or a work factor above the limit.
        """
        if len(stanza.arguments) != 2 or len(stanza.body) != _BODY_BYTES:  # noqa: PLR2004 - salt and work factor
            raise HeaderError("a scrypt stanza is malformed")
        salt = read_argument(stanza.arguments[0], size_bytes=_SALT_BYTES)
        if not _LOG_N.fullmatch(stanza.arguments[1]):
            raise HeaderError("a scrypt stanza's work factor is malformed")
        log_n = int(stanza.arguments[1])
        if log_n > self._log_n_max:
            raise HeaderError(f"the file asks for a scrypt work factor of {log_n}, more than {self._log_n_max}")
        try:
            return ChaCha20Poly1305(_derive(self._passphrase, salt, log_n=log_n)).decrypt(
                _ONE_USE_NONCE, stanza.body, None
            )
        except InvalidTag:
            return None


def _derive(passphrase: bytes, salt: bytes, *, log_n: int) -> bytes:
    return Scrypt(salt=_SALT_PREFIX + salt, length=32, n=1 << log_n, r=8, p=1).derive(passphrase)
