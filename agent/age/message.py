"""A whole age file in memory: for bodies of messages, which are small.

Recordings go through ``stream``; here nothing is bounded but by what the caller hands in.
"""

from collections.abc import Iterable
from typing import Final

from agent.age.failure import HeaderError
from agent.age.filekey import Unwraps, Wraps, new_file_key, unwrap_header, wrap_header
from agent.age.format import split_header
from agent.age.stream import decrypt_bytes, encrypt_bytes

STANZAS_MAX: Final = 16
"""Of what a stranger may have sealed to one reader: its stanza, and some that other tools add. Each costs its parser,
and of a kind that is known a key agreement, before anything is proved."""

_STANZA: Final = b"\n-> "


def encrypt(plaintext: bytes, recipients: Iterable[Wraps]) -> bytes:
    """Seal a message to the recipients; ``ConfigError`` as ``wrap_header`` raises it."""
    file_key = new_file_key()
    return wrap_header(file_key, recipients) + encrypt_bytes(file_key, plaintext)


def decrypt(ciphertext: bytes, identities: Iterable[Unwraps], *, stanzas_max: int | None = None) -> bytes:
    """Open a message, all or nothing; raises ``CorruptError``, also for more stanzas, before any is looked at."""
    header, payload = split_header(ciphertext)
    if stanzas_max is not None and header.count(_STANZA) > stanzas_max:
        raise HeaderError(f"the header has more than {stanzas_max} stanzas")
    return decrypt_bytes(unwrap_header(header, identities), payload)
