"""The packets of MQTT 3.1.1 that the cloud needs, as bytes: OASIS mqtt-v3.1.1, sections 3.1 to 3.14.

Written by hand because a receiver that copies each byte once leaves the machine to the agent that is measured beside
it. QoS 1 both ways; what is lost is repeated by the protocol above, so nothing is retransmitted here.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from device_sim.cloud.failure import MessageError

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
SUBACK: Final = 0x90
PINGREQ_PACKET: Final = b"\xc0\x00"
DISCONNECT_PACKET: Final = b"\xe0\x00"
MAX_PACKET_BYTES: Final = 16 * 1024 * 1024
"""More than the protocol above ever sends; an observer may meet others."""

_CLEAN_SESSION: Final = 0x02
_RETAIN: Final = 0x01
_QOS_BITS: Final = 0x06
_QOS_1: Final = 0x02
_MAX_LENGTH_BYTES: Final = 4
_SHORT: Final = struct.Struct(">H")
_REFUSED: Final = 0x80


@dataclass(frozen=True, slots=True)
class Publish:
    """A message that arrived."""

    topic: str
    payload: bytes
    retained: bool
    packet_id: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """CONNACK or SUBACK: whether the broker agreed."""

    kind: int
    agreed: bool


class Reader:
    """Cuts a stream into packets: fill ``space`` and say how much, then take the packets."""

    def __init__(self, *, size_bytes: int = 512 * 1024) -> None:
        self._buffer = bytearray(size_bytes)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    def space(self) -> memoryview:
        """Return where to receive into."""
        return self._view[self._end :]

    def filled(self, count_bytes: int) -> None:
        """Note that so much was received into ``space``."""
        self._end += count_bytes

    def packets(self) -> Iterator[Publish | Answer]:
        """Yield every whole packet that matters; raises ``MessageError`` if the stream is no MQTT."""
        while (bounds := self._next()) is not None:
            body, end = bounds
            made = _read(self._buffer[self._start], self._view[body:end])
            self._start = end
            if made is not None:
                yield made
        self._make_room()

    def _next(self) -> tuple[int, int] | None:
        length = 0
        for count in range(_MAX_LENGTH_BYTES):
            at = self._start + 1 + count
            if at >= self._end:
                return None
            length |= (self._buffer[at] & 0x7F) << 7 * count
            if not self._buffer[at] & 0x80:
                if length > MAX_PACKET_BYTES:
                    raise MessageError("a packet above 16 MiB")
                return (at + 1, at + 1 + length) if at + 1 + length <= self._end else None
        raise MessageError("a length of more than four bytes")

    def _make_room(self) -> None:
        kept = self._end - self._start
        size = len(self._buffer)
        if kept and self._start < size // 2 and self._end < size:
            return
        rest = bytes(self._view[self._start : self._end])
        if kept == size:
            self._buffer = bytearray(2 * size)
            self._view = memoryview(self._buffer)
        self._view[:kept] = rest
        self._start, self._end = 0, kept


def connect(client_id: str, *, keepalive_s: int) -> bytes:
    """Return CONNECT with a clean session."""
    return _packet(0x10, _text("MQTT"), bytes([4, _CLEAN_SESSION]), _SHORT.pack(keepalive_s), _text(client_id))


def subscribe(topics: Sequence[str], *, packet_id: int) -> bytes:
    """Return SUBSCRIBE with QoS 1."""
    return _packet(0x82, _SHORT.pack(packet_id), *(_text(topic) + b"\x01" for topic in topics))


def publish(topic: str, payload: bytes, *, packet_id: int, retain: bool = False) -> bytes:
    """Return PUBLISH with QoS 1."""
    return _packet(PUBLISH | _QOS_1 | (_RETAIN if retain else 0), _text(topic), _SHORT.pack(packet_id), payload)


def puback(packet_id: int) -> bytes:
    """Return PUBACK."""
    return b"\x40\x02" + _SHORT.pack(packet_id)


def _read(first: int, body: memoryview) -> Publish | Answer | None:
    try:
        match first & 0xF0:
            case 0x30:
                return _read_publish(first, body)
            case 0x20:
                return Answer(CONNACK, agreed=body[1] == 0)
            case 0x90:
                return Answer(SUBACK, agreed=_REFUSED not in body[2:])
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MessageError("not an MQTT packet") from error
    return None


def _read_publish(first: int, body: memoryview) -> Publish:
    (length,) = _SHORT.unpack_from(body)
    at = 2 + length
    topic = str(body[2:at], "utf-8")
    packet_id = None
    if first & _QOS_BITS:
        (packet_id,) = _SHORT.unpack_from(body, at)
        at += 2
    return Publish(topic, bytes(body[at:]), bool(first & _RETAIN), packet_id)


def _text(text: str) -> bytes:
    data = text.encode()
    return _SHORT.pack(len(data)) + data


def _packet(first: int, *parts: bytes) -> bytes:
    left = sum(map(len, parts))
    length = bytearray()
    while True:
        left, seven = left >> 7, left & 0x7F
        length.append(seven | (0x80 if left else 0))
        if not left:
            return b"".join((bytes([first]), length, *parts))
