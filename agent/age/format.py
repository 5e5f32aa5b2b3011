"""The age header: stanzas between a version line and a MAC line, all of it strict text.

There is exactly one way to write a given header, and anything else is refused: that is what lets the MAC be checked
over the bytes as they came. Nothing here knows a key type. (C2SP ``age.md``,
sections "Header" and "Header MAC".)

Values are named tuples: ``dataclasses`` would double what a small sealing process imports.
"""

import binascii
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.age.failure import HeaderError, HmacError

FILE_KEY_BYTES: Final = 16

# Ours; age names no bound. Room for 80 post-quantum recipients of about 1.6 kB each.
HEADER_MAX_BYTES: Final = 128 * 1024

_VERSION_LINE: Final = b"age-encryption.org/v1\n"
_STANZA_MARK: Final = b"-> "
_END_MARK: Final = b"---"
_LINE_LETTERS: Final = 64
_MAC_BYTES: Final = 32
_READ_BYTES: Final = 4096
_FIRST_PRINTABLE: Final = 0x21
_LAST_PRINTABLE: Final = 0x7E


class Reader(Protocol):
    """Anything opened for reading bytes: a raw or buffered file, a ``BytesIO``, an ``ArmorReader``."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of ``buffer`` and return how much; 0 means the end."""


class PrefixedReader:
    """A reader whose first bytes were already read by somebody else."""

    def __init__(self, prefix: bytes, reader: Reader) -> None:
        self._prefix = memoryview(prefix)
        self._reader = reader

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Hand out the prefix first, then what the reader gives."""
        if not self._prefix:
            return self._reader.readinto(buffer)
        count = min(len(buffer), len(self._prefix))
        buffer[:count] = self._prefix[:count]
        self._prefix = self._prefix[count:]
        return count


class Stanza(NamedTuple):
    """One recipient's part of the header: ``kind`` names the type, ``body`` holds the wrapped file key."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes


class Header(NamedTuple):
    """A header that is well formed; nothing in it is authenticated until ``check_mac``."""

    stanzas: tuple[Stanza, ...]
    unverified_mac: bytes
    covered: bytes
    """What the MAC covers: everything up to and including the three dashes."""


def derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Derive a 32-byte key with HKDF-SHA-256, the only derivation that age uses."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def write_base64(data: bytes) -> bytes:
    """Write standard base64 without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def read_base64(text: bytes) -> bytes:
    """Read unpadded base64 and refuse any other spelling of the same bytes; raises ``HeaderError``."""
    try:
        data = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise HeaderError("the header holds bad base64") from None
    if write_base64(data) != text:
        raise HeaderError("the header holds base64 that is not canonical")
    return data


def read_argument(text: str, *, size_bytes: int) -> bytes:
    """Read a stanza argument that must be base64 of exactly ``size_bytes``; raises ``HeaderError``."""
    data = read_base64(text.encode("ascii"))
    if len(data) != size_bytes:
        raise HeaderError(f"a stanza's argument has {len(data)} bytes instead of {size_bytes}")
    return data


def write_header(stanzas: tuple[Stanza, ...], file_key: bytes) -> bytes:
    """Write a whole header, its MAC line included."""
    covered = _VERSION_LINE + b"".join(_write_stanza(stanza) for stanza in stanzas) + _END_MARK
    return covered + b" " + write_base64(_mac(covered, file_key).finalize()) + b"\n"


def parse_header(raw: bytes) -> Header:
    """Parse a whole header as ``split_header`` cuts it; raises ``HeaderError``."""
    if len(raw) > HEADER_MAX_BYTES:
        raise HeaderError(f"the header is larger than {HEADER_MAX_BYTES} bytes")
    if not raw.startswith(_VERSION_LINE):
        raise HeaderError("this is no age v1 file")
    lines = raw[len(_VERSION_LINE) :].split(b"\n")
    stanzas: list[Stanza] = []
    at = 0
    while at < len(lines) and lines[at].startswith(_STANZA_MARK):
        stanza, at = _parse_stanza(lines, at)
        stanzas.append(stanza)
    # The end line is followed by the empty rest after its line feed, and by nothing else.
    if not stanzas or lines[at + 1 :] != [b""] or not lines[at].startswith(_END_MARK + b" "):
        raise HeaderError("the header's end is malformed")
    unverified_mac = read_base64(lines[at][len(_END_MARK) + 1 :])
    if len(unverified_mac) != _MAC_BYTES:
        raise HeaderError("the header's MAC has the wrong length")
    return Header(tuple(stanzas), unverified_mac, raw[: -len(lines[at]) - 1] + _END_MARK)


def check_mac(header: Header, file_key: bytes) -> None:
    """Raise ``HmacError`` unless the header is the one that was written with this file key."""
    try:
        _mac(header.covered, file_key).verify(header.unverified_mac)
    except InvalidSignature:
        raise HmacError("the header was changed after it was written") from None


def split_header(raw: bytes) -> tuple[bytes, bytes]:
    """Cut a file, or its start, into (header, payload); the header is not parsed yet.

    Raises ``HeaderError`` when this is no age file, or no header ends within ``HEADER_MAX_BYTES``.
    """
    cut = _header_end(raw)
    if cut is None:
        raise HeaderError("the header is cut short")
    return raw[:cut], raw[cut:]


def read_header(reader: Reader) -> tuple[bytes, bytes]:
    """Read just enough of a stream to hold its header; return (header, the start of the payload read with it).

    Raises ``HeaderError`` as ``split_header`` does; never holds more than ``HEADER_MAX_BYTES`` and one read.
    """
    raw = bytearray()
    piece = memoryview(bytearray(_READ_BYTES))
    while count := reader.readinto(piece):
        raw += piece[:count]
        if _header_end(bytes(raw)) is not None:
            break
    return split_header(bytes(raw))


def _header_end(raw: bytes) -> int | None:
    if not raw.startswith(_VERSION_LINE[: len(raw)]):
        raise HeaderError("this is no age v1 file")
    dashes = raw.find(b"\n" + _END_MARK, 0, HEADER_MAX_BYTES)
    line_end = raw.find(b"\n", dashes + 1, HEADER_MAX_BYTES) if dashes >= 0 else -1
    if line_end >= 0:
        return line_end + 1
    if len(raw) >= HEADER_MAX_BYTES:
        raise HeaderError(f"no header ends within {HEADER_MAX_BYTES} bytes")
    return None


def _mac(covered: bytes, file_key: bytes) -> hmac.HMAC:
    code = hmac.HMAC(derive(file_key, salt=b"", info=b"header"), hashes.SHA256())
    code.update(covered)
    return code


def _write_stanza(stanza: Stanza) -> bytes:
    first = " ".join(("->", stanza.kind, *stanza.arguments)).encode("ascii")
    body = write_base64(stanza.body)
    # A body that fills its last line is followed by an empty one: the short line is what ends a stanza.
    lines = [body[at : at + _LINE_LETTERS] for at in range(0, len(body) + 1, _LINE_LETTERS)]
    return b"\n".join((first, *lines, b""))


def _parse_stanza(lines: list[bytes], at: int) -> tuple[Stanza, int]:
    words = lines[at][len(_STANZA_MARK) :].split(b" ")
    for word in words:
        if not word or min(word) < _FIRST_PRINTABLE or max(word) > _LAST_PRINTABLE:
            raise HeaderError("a stanza's first line is malformed")
    body: list[bytes] = []
    for end in range(at + 1, len(lines)):
        line = lines[end]
        if len(line) > _LINE_LETTERS:
            raise HeaderError("a stanza's line is too long")
        body.append(line)
        if len(line) < _LINE_LETTERS:
            kind, *arguments = (word.decode("ascii") for word in words)
            return Stanza(kind, tuple(arguments), read_base64(b"".join(body))), end + 1
    raise HeaderError("a stanza has no end")
