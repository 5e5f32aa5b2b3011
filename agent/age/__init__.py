"""The age file format, version 1: what owners open with stock ``age``, ``rage`` or a browser.

The map::

    keys       recipient and identity strings and files: parse_recipient, require_usable, parse_identity
    filekey    new_file_key, wrap_header (our writer's rules), unwrap_header
    format     stanzas, header text and MAC: split_header, read_header
    stream     the payload: encrypt_stream, decrypt_stream, SeekableReader, payload_size
    message    encrypt and decrypt of small messages in memory
    armor      the text form: ArmorReader, ArmorWriter; the rest stays in its module, which has the name of a function
    x25519 · hybrid · scrypt      the recipient types, each with its stanza
    bech32 · failure              key strings · the errors, all of them CorruptError

A file is ``header ‖ payload``. The two are made apart and may be kept apart: any header made from the same file key
opens the same payload. A file key belongs to one payload for ever.

Promised: bad bytes raise ``CorruptError`` and nothing else, bad key strings ``ConfigError``; no byte is handed out
before its chunk was authenticated. Not promised: who sealed a file (anybody with the public key can), how long it is
(the size shows), and secrecy after an identity leaked.

Bytes and values only: readers and writers come opened, randomness is an argument where a test needs it. A name is
loaded when it is first used, so that a process that only seals small X25519 messages pays for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.age.armor import ArmorReader, ArmorWriter
    from agent.age.failure import ArmorError, HeaderError, HmacError, NoMatchError, PayloadError
    from agent.age.filekey import Unwraps, Wraps, new_file_key, unwrap_header, wrap_header
    from agent.age.format import FILE_KEY_BYTES, HEADER_MAX_BYTES, PrefixedReader, read_header, split_header
    from agent.age.keys import (
        Identity,
        Recipient,
        generate_identity,
        parse_identity,
        parse_identity_file,
        parse_recipient,
        parse_recipient_file,
        require_usable,
        write_identity_file,
    )
    from agent.age.message import STANZAS_MAX, decrypt, encrypt
    from agent.age.scrypt import ScryptIdentity, ScryptRecipient
    from agent.age.stream import SeekableReader, Sizes, decrypt_stream, encrypt_stream, payload_size, plain_size

_HOME = {
    "ArmorError": "failure",
    "ArmorReader": "armor",
    "ArmorWriter": "armor",
    "FILE_KEY_BYTES": "format",
    "HEADER_MAX_BYTES": "format",
    "HeaderError": "failure",
    "HmacError": "failure",
    "Identity": "keys",
    "NoMatchError": "failure",
    "PayloadError": "failure",
    "PrefixedReader": "format",
    "Recipient": "keys",
    "STANZAS_MAX": "message",
    "ScryptIdentity": "scrypt",
    "ScryptRecipient": "scrypt",
    "SeekableReader": "stream",
    "Sizes": "stream",
    "Unwraps": "filekey",
    "Wraps": "filekey",
    "decrypt": "message",
    "decrypt_stream": "stream",
    "encrypt": "message",
    "encrypt_stream": "stream",
    "generate_identity": "keys",
    "new_file_key": "filekey",
    "parse_identity": "keys",
    "parse_identity_file": "keys",
    "parse_recipient": "keys",
    "parse_recipient_file": "keys",
    "payload_size": "stream",
    "plain_size": "stream",
    "read_header": "format",
    "require_usable": "keys",
    "split_header": "format",
    "unwrap_header": "filekey",
    "wrap_header": "filekey",
    "write_identity_file": "keys",
}

__all__ = [
    "FILE_KEY_BYTES",
    "HEADER_MAX_BYTES",
    "STANZAS_MAX",
    "ArmorError",
    "ArmorReader",
    "ArmorWriter",
    "HeaderError",
    "HmacError",
    "Identity",
    "NoMatchError",
    "PayloadError",
    "PrefixedReader",
    "Recipient",
    "ScryptIdentity",
    "ScryptRecipient",
    "SeekableReader",
    "Sizes",
    "Unwraps",
    "Wraps",
    "decrypt",
    "decrypt_stream",
    "encrypt",
    "encrypt_stream",
    "generate_identity",
    "new_file_key",
    "parse_identity",
    "parse_identity_file",
    "parse_recipient",
    "parse_recipient_file",
    "payload_size",
    "plain_size",
    "read_header",
    "require_usable",
    "split_header",
    "unwrap_header",
    "wrap_header",
    "write_identity_file",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
