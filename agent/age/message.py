"""A whole age file in memory: for bodies of messages, which are small.

Recordings go through ``stream``; here nothing is bounded but by what the caller hands in.
"""

from collections.abc import Iterable

from agent.age.filekey import Unwraps, Wraps, new_file_key, unwrap_header, wrap_header
from agent.age.format import split_header
from agent.age.stream import decrypt_bytes, encrypt_bytes


def encrypt(plaintext: bytes, recipients: Iterable[Wraps]) -> bytes:
    """Seal a message to the recipients; ``ConfigError`` as ``wrap_header`` raises it."""
    file_key = new_file_key()
    return wrap_header(file_key, recipients) + encrypt_bytes(file_key, plaintext)


def decrypt(ciphertext: bytes, identities: Iterable[Unwraps]) -> bytes:
    """Open a message, all or nothing; raises ``CorruptError``."""
    header, payload = split_header(ciphertext)
    return decrypt_bytes(unwrap_header(header, identities), payload)
