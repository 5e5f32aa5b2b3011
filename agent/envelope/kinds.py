"""Kind bytes, JWS types, channels and sizes of ``docs/protocol.md`` §2 and §9, once."""

from typing import Final, Literal

from agent.errors import CorruptError

Kind = Literal[
    "command", "ack", "receipt", "begin", "chunk", "end", "abort", "erase", "rectify", "resync", "go", "upload-ack",
    "stored", "erased", "failed", "rectified", "state", "alert",
]  # fmt: skip

KIND: Final[dict[Kind, int]] = {
    "command": 0x01,
    "ack": 0x02,
    "receipt": 0x11,
    "begin": 0x20,
    "chunk": 0x21,
    "end": 0x22,
    "abort": 0x23,
    "erase": 0x24,
    "rectify": 0x25,
    "resync": 0x26,
    "go": 0x30,
    "upload-ack": 0x31,
    "stored": 0x32,
    "erased": 0x33,
    "failed": 0x34,
    "rectified": 0x35,
    "state": 0x40,
    "alert": 0x50,
}
_NAME: Final[dict[int, Kind]] = {byte: name for name, byte in KIND.items()}

TYP: Final[dict[Kind, str]] = {name: f"pv1.{name}" for name in KIND if name != "chunk"}
TYP_KEYSET: Final = "pv1.keyset"
TYP_SUCCESSION: Final = "pv1.succession"
TYP_DESCRIPTOR: Final = "pv1.descriptor"
TYP_EXPORT: Final = "pv1.export"
TYP_CORRECTION: Final = "pv1.correction"
TYP_POLICY: Final = "pv1.policy"

UNSEALED: Final[frozenset[Kind]] = frozenset({"ack", "chunk", "upload-ack", "state"})
"""Kinds whose body is not an age file."""

CHANNEL_KINDS: Final[dict[str, frozenset[Kind]]] = {
    "cmd": frozenset({"command", "ack"}),
    "upack": frozenset({"go", "upload-ack", "stored", "erased", "failed", "rectified"}),
}
"""What the agent takes from each channel that it reads."""

MAX_PUBLISH_BYTES: Final = 131_072
MAX_JWS_BYTES: Final = 96 * 1024
MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024
"""An export's manifest is a file, not a message: 10,000 objects of about 1 KiB each."""

MAX_SEALED_BYTES: Final = MAX_JWS_BYTES + 8 * 1024
"""A sealed JWS: a post-quantum age header is 1.7 KiB, a chunk's tag 16 bytes."""

MAX_OUTCOMES: Final = 200
MAX_SELECT_IDS: Final = 200
MAX_ACKS: Final = 200
MAX_ERASE_ITEMS: Final = 100
CHUNK_HEAD_BYTES: Final = 9
"""Kind byte and offset, in front of a chunk's bytes."""


def frame(kind: Kind, body: bytes) -> bytes:
    """Return the MQTT payload: one kind byte, then the body."""
    return bytes((KIND[kind],)) + body


def unframe(raw: bytes, *, channel: str) -> tuple[Kind, bytes]:
    """Split a payload of ``channel`` into kind and body; raises ``CorruptError`` for a kind that is not its."""
    if len(raw) > MAX_PUBLISH_BYTES:
        raise CorruptError(f"a payload of {len(raw)} bytes; the limit is {MAX_PUBLISH_BYTES}")
    kind = _NAME.get(raw[0]) if raw else None
    if kind is None or kind not in CHANNEL_KINDS[channel]:
        raise CorruptError(f"no kind of message that {channel} carries")
    return kind, raw[1:]


def frame_chunk(offset: int, length: int) -> bytearray:
    """Return the MQTT payload of a chunk, its bytes still zeros: kind byte, u64 big-endian offset, ``length`` bytes.

    Whoever sends it reads the file straight into the place behind ``CHUNK_HEAD_BYTES``: no second copy is made.
    """
    packet = bytearray(CHUNK_HEAD_BYTES + length)
    packet[0] = KIND["chunk"]
    packet[1:CHUNK_HEAD_BYTES] = offset.to_bytes(CHUNK_HEAD_BYTES - 1, "big")
    return packet
