"""The signed side of the wire protocol as bytes and values: no files, no clock, no network (``docs/protocol.md``).

    json.py      strict JSON: no duplicate names, no floats, bounded depth and size
    jws.py       compact JWS: sign, take apart, verify; thumbprints; the algorithm is pinned by the key
    kinds.py     kind bytes, channels, sizes
    command.py   verified claims become a ``Command`` or an ``Ack`` here and nowhere else
    uploads.py   verified claims become ``Go``, ``UploadAck``, ``Stored``, ``Erased`` or ``Failed`` here
    keyset.py    keys, the owner-signed key set and its chain, descriptors and fingerprints

Verification raises, it never returns a bool: ``CorruptError`` for bytes without a form, ``RefusedError`` with a code of
the closed list where a key could be named. Nothing here decrypts: sealing is ``agent.age``.
"""

from agent.envelope.command import (
    Ack,
    Approve,
    Command,
    Delete,
    Export,
    Inventory,
    SetTime,
    claimed_jti,
    parse_ack,
    parse_command,
    selection_hash,
)
from agent.envelope.json import decode_strictly, encode
from agent.envelope.jws import (
    Alg,
    PrivateKey,
    Unverified,
    b64url,
    b64url_decode,
    parse,
    private_key_from_pem,
    public_jwk,
    raw_signature,
    sign,
    signing_input_sha256,
    thumbprint,
    verify,
)
from agent.envelope.keyset import (
    BACKEND_VERBS,
    VERBS,
    Descriptor,
    Key,
    KeySet,
    Quota,
    fingerprint,
    keyset_claims,
    parse_descriptor,
    parse_keyset,
)
from agent.envelope.kinds import (
    CHANNEL_KINDS,
    CHUNK_OFFSET_BYTES,
    KIND,
    MAX_JWS_BYTES,
    MAX_OUTCOMES,
    MAX_PUBLISH_BYTES,
    MAX_SEALED_BYTES,
    TYP,
    Kind,
    frame,
    pack_chunk,
    unframe,
    unpack_chunk,
)
from agent.envelope.uploads import Erased, ErasedItem, Failed, Go, Part, Stored, UpAck, UploadAck, parse_upack

__all__ = [
    "BACKEND_VERBS",
    "CHANNEL_KINDS",
    "CHUNK_OFFSET_BYTES",
    "KIND",
    "MAX_JWS_BYTES",
    "MAX_OUTCOMES",
    "MAX_PUBLISH_BYTES",
    "MAX_SEALED_BYTES",
    "TYP",
    "VERBS",
    "Ack",
    "Alg",
    "Approve",
    "Command",
    "Delete",
    "Descriptor",
    "Erased",
    "ErasedItem",
    "Export",
    "Failed",
    "Go",
    "Inventory",
    "Key",
    "KeySet",
    "Kind",
    "Part",
    "PrivateKey",
    "Quota",
    "SetTime",
    "Stored",
    "Unverified",
    "UpAck",
    "UploadAck",
    "b64url",
    "b64url_decode",
    "claimed_jti",
    "decode_strictly",
    "encode",
    "fingerprint",
    "frame",
    "keyset_claims",
    "pack_chunk",
    "parse",
    "parse_ack",
    "parse_command",
    "parse_descriptor",
    "parse_keyset",
    "parse_upack",
    "private_key_from_pem",
    "public_jwk",
    "raw_signature",
    "selection_hash",
    "sign",
    "signing_input_sha256",
    "thumbprint",
    "unframe",
    "unpack_chunk",
    "verify",
]
