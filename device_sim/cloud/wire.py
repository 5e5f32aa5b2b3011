"""Topics, kinds and claims of docs/protocol.md §1, §2 and §6. Bytes become a value only here."""

import base64
import re
from dataclasses import dataclass
from typing import Final, Literal

from device_sim.cloud import jws
from device_sim.cloud.failure import MessageError
from device_sim.cloud.strictjson import Claims

Kind = Literal[
    "command", "ack", "receipt", "begin", "chunk", "end", "abort", "erase", "rectify", "resync",
    "go", "upload-ack", "stored", "erased", "failed", "rectified", "state", "alert",
]  # fmt: skip

BYTE: Final[dict[Kind, int]] = {
    "command": 0x01, "ack": 0x02, "receipt": 0x11, "begin": 0x20, "chunk": 0x21, "end": 0x22, "abort": 0x23,
    "erase": 0x24, "rectify": 0x25, "resync": 0x26, "go": 0x30, "upload-ack": 0x31, "stored": 0x32, "erased": 0x33,
    "failed": 0x34, "rectified": 0x35, "state": 0x40, "alert": 0x50,
}  # fmt: skip
KIND: Final[dict[int, Kind]] = {byte: kind for kind, byte in BYTE.items()}
CHUNK_BYTE: Final = BYTE["chunk"]

UNSEALED: Final[frozenset[Kind]] = frozenset({"ack", "upload-ack", "state"})
CHANNEL_KINDS: Final[dict[str, frozenset[Kind]]] = {
    "rcpt": frozenset({"receipt"}),
    "up": frozenset({"begin", "chunk", "end", "abort", "erase", "rectify", "resync"}),
    "state": frozenset({"state"}),
    "alert": frozenset({"alert"}),
}
"""What each channel from the agent carries."""

MAX_PACKET_BYTES: Final = 131_072
AHEAD_BYTES: Final = 16 * 1024 * 1024
"""docs/protocol.md §6: how far before the durable end a chunk may lie."""
ACK_EVERY_BYTES: Final = 1024 * 1024
"""docs/protocol.md §6: at least so often an upload is acknowledged."""
CHUNK_PREFIX_BYTES: Final = 9
MAX_ITEMS: Final = 100
MAX_PAYLOAD_BYTES: Final = 1 << 40

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ID: Final = re.compile(r"[a-z2-7]{26}\Z")
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


def typ(kind: Kind) -> str:
    """Return the JWS type of a kind."""
    return f"pv1.{kind}"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic from a device, taken apart."""

    device: str
    channel: str
    rest: str


def parse_topic(topic: str, *, tenant: str) -> Topic:
    """Read ``pv1/{tenant}/{device}/{channel}[/rest]``; raises ``MessageError``."""
    prefix, _, rest = topic.partition("/")
    found, _, rest = rest.partition("/")
    device, _, rest = rest.partition("/")
    channel, _, rest = rest.partition("/")
    if prefix != "pv1" or found != tenant or not _NAME.match(device) or channel not in CHANNEL_KINDS:
        raise MessageError("not a topic of ours")
    return Topic(device, channel, rest)


def parse_kind(payload: bytes, *, channel: str) -> Kind:
    """Read the kind byte; raises ``MessageError`` if the channel does not carry it."""
    kind = KIND.get(payload[0]) if payload else None
    if kind is None or kind not in CHANNEL_KINDS[channel]:
        raise MessageError("a kind that the channel does not carry")
    return kind


def chunk(offset: int, data: bytes) -> bytes:
    """Frame a chunk."""
    return bytes([CHUNK_BYTE]) + offset.to_bytes(8) + data


@dataclass(frozen=True, slots=True)
class Part:
    """Length and hash of a header or a payload."""

    bytes: int
    sha256: str

    def claims(self) -> Claims:
        """Return it as the protocol writes it."""
        return {"bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Item:
    """One upload as ``erase``, ``rectify`` and ``resync`` name it."""

    upload: str
    object: str
    manifest: str


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be kept with some copies: sealed to their readers, not to the store."""

    about: str
    number: int
    sealed: bytes
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A manifest: what will be uploaded."""

    upload: str
    object: str
    manifest: str
    payload: Part
    header: Part
    header_data: bytes
    regions: tuple[str, ...]


def parse_begin(claims: Claims, *, manifest: str) -> Begin:
    """Read a verified ``begin``; raises ``MessageError``."""
    header = _object(claims, "header")
    regions = claims.get("regions")
    if not isinstance(regions, list) or not all(isinstance(region, str) for region in regions):
        raise MessageError("regions is a list of strings")
    return Begin(
        upload=identifier(claims, "upload"),
        object=identifier(claims, "object"),
        manifest=manifest,
        payload=_part(_object(claims, "payload")),
        header=_part(header),
        header_data=jws.unb64(header.get("data")),
        regions=tuple(str(region) for region in regions),
    )


def parse_rectify(claims: Claims) -> Correction:
    """Read a verified ``rectify``; raises ``MessageError``."""
    about, count = text(claims, "about"), number(claims, "number")
    if about not in {"camera", "object"} or count < 1:
        raise MessageError("a correction is of a camera or an object, and counted from 1")
    return Correction(about, count, jws.unb64(claims.get("data")), parse_items(claims, "items"))


def parse_items(claims: Claims, name: str) -> tuple[Item, ...]:
    """Read the items of a verified ``erase``, ``rectify`` or ``resync``; raises ``MessageError``."""
    items = claims.get(name)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise MessageError(f"{name} has 1 to {MAX_ITEMS} items")
    made: list[Item] = []
    for item in items:
        if not isinstance(item, dict):
            raise MessageError(f"{name} holds objects")
        made.append(Item(identifier(item, "upload"), identifier(item, "object"), digest(item, "manifest")))
    return tuple(made)


def identifier(claims: Claims, name: str) -> str:
    """Take an id (26 characters of base32); raises ``MessageError``."""
    return _matching(claims, name, pattern=_ID)


def digest(claims: Claims, name: str) -> str:
    """Take a SHA-256 in lower-case hex; raises ``MessageError``."""
    return _matching(claims, name, pattern=_HASH)


def text(claims: Claims, name: str) -> str:
    """Take a string; raises ``MessageError``."""
    value = claims.get(name)
    if not isinstance(value, str):
        raise MessageError(f"{name} is a string")
    return value


def number(claims: Claims, name: str) -> int:
    """Take an integer; raises ``MessageError``."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MessageError(f"{name} is an integer")
    return value


def _matching(claims: Claims, name: str, *, pattern: re.Pattern[str]) -> str:
    value = text(claims, name)
    if not pattern.match(value):
        raise MessageError(f"{name} has another form")
    return value


def _object(claims: Claims, name: str) -> Claims:
    value = claims.get(name)
    if not isinstance(value, dict):
        raise MessageError(f"{name} is an object")
    return value


def _part(claims: Claims) -> Part:
    size = number(claims, "bytes")
    if not 0 < size <= MAX_PAYLOAD_BYTES:
        raise MessageError("a size out of bounds")
    return Part(size, digest(claims, "sha256"))


def encode_id(random: bytes) -> str:
    """Write 128 random bits as an id of docs/protocol.md §2."""
    return base64.b32encode(random).decode().rstrip("=").lower()
