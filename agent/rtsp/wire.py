"""RTSP on one connection: messages, and the frames of media between them (RFC 2326, sections 4 to 10.12).

Bytes and values only. Whoever sends may send anything: what is no RTSP, or larger than a camera has reason to be, is
``CorruptError``, and no more than one piece is ever held.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from agent.errors import CorruptError

HEAD_MAX_BYTES: Final = 16 * 1024
BODY_MAX_BYTES: Final = 64 * 1024
"""An SDP description; a camera's has two kilobytes."""

_FRAME_MARK: Final = 0x24  # "$"
_FRAME_HEAD_BYTES: Final = 4
_REQUEST: Final = re.compile(r"([A-Z_]{1,32}) (\S{1,2048}) RTSP/1\.\d")
_STATUS: Final = re.compile(r"RTSP/1\.\d (\d{3})(?: .*)?")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*(.*?)[ \t]*")


class Frame(msgspec.Struct, frozen=True):
    """An interleaved packet as it stands on the line; ``content`` is behind its four bytes of head."""

    channel: int
    raw: bytes

    @property
    def content(self) -> bytes:
        """The packet of RTP or RTCP."""
        return self.raw[_FRAME_HEAD_BYTES:]


class Message(msgspec.Struct, frozen=True):
    """A request or a response; names of fields are compared without case."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def request(self) -> tuple[str, str] | None:
        """Method and address of a request, ``None`` for a response."""
        match = _REQUEST.fullmatch(self.start)
        return (match[1], match[2]) if match else None

    @property
    def status(self) -> int:
        """The code of a response, 0 for a request."""
        match = _STATUS.fullmatch(self.start)
        return int(match[1]) if match else 0

    def values(self, name: str) -> tuple[str, ...]:
        """Return what every field of that name says."""
        return tuple(value for one, value in self.fields if one.lower() == name.lower())

    def without(self, *names: str) -> "Message":
        """Return it without the fields of those names."""
        dropped = {name.lower() for name in names}
        return Message(self.start, tuple(one for one in self.fields if one[0].lower() not in dropped), self.body)

    def encode(self) -> bytes:
        """Return its bytes."""
        head = "".join(f"{line}\r\n" for line in (self.start, *(f"{name}: {value}" for name, value in self.fields)))
        return head.encode("utf-8", "surrogateescape") + b"\r\n" + self.body


class Reader:
    """Splits one direction of a connection."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | Message]:
        """Take what arrived and return what is whole; raises ``CorruptError`` when it is no RTSP."""
        self._held += data
        while (found := self._next()) is not None:
            piece, size = found
            del self._held[:size]
            yield piece

    def _next(self) -> tuple[Frame | Message, int] | None:
        held = self._held
        if not held:
            return None
        if held[0] == _FRAME_MARK:
            if len(held) < _FRAME_HEAD_BYTES:
                return None
            size = _FRAME_HEAD_BYTES + int.from_bytes(held[2:4], "big")
            return (Frame(held[1], bytes(held[:size])), size) if len(held) >= size else None
        end = held.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES)
        if end < 0:
            if len(held) >= HEAD_MAX_BYTES or not _may_begin(held):
                raise CorruptError("what answers there does not speak RTSP")
            return None
        head = _head(bytes(held[:end]))
        size = end + 4 + _body_bytes(head)
        if len(held) < size:
            return None
        return Message(head.start, head.fields, bytes(held[end + 4 : size])), size


def _may_begin(held: bytearray) -> bool:
    """Tell whether a message may begin like this: letters first, as in "RTSP/1.0 200" and "OPTIONS"."""
    return all(byte < 0x80 and (chr(byte).isupper() or chr(byte) == "_") for byte in held[:4])  # noqa: PLR2004 - ASCII


def _head(raw: bytes) -> Message:
    start, *lines = raw.decode("utf-8", "surrogateescape").split("\r\n")
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise CorruptError("what answers there does not speak RTSP")
        fields.append((match[1], match[2]))
    head = Message(start, tuple(fields))
    if head.request is None and not head.status:
        raise CorruptError("what answers there does not speak RTSP")
    return head


def _body_bytes(head: Message) -> int:
    told = head.values("Content-Length")
    if not told:
        return 0
    if len(told) > 1 or not re.fullmatch(r"[0-9]{1,7}", told[0]) or int(told[0]) > BODY_MAX_BYTES:
        raise CorruptError("an answer says that it is too long")
    return int(told[0])
