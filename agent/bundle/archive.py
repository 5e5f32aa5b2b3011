"""A zip archive as a stream of pieces: stored, never compressed; sizes and checksum stand in front of each entry.

So every extractor can read it from a pipe, and nothing needs a temporary file. Entries of 4 GiB and more get the zip64
fields (APPNOTE 4.5.3). The caller knows each entry's size and CRC-32 before its bytes.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_END64: Final = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<IIQI")
_LOCAL_SIGNATURE: Final = 0x04034B50
_CENTRAL_SIGNATURE: Final = 0x02014B50
_END_SIGNATURE: Final = 0x06054B50
_END64_SIGNATURE: Final = 0x06064B50
_LOCATOR64_SIGNATURE: Final = 0x07064B50
_VERSION: Final = 20
_VERSION_ZIP64: Final = 45
_MADE_ON_UNIX: Final = 3 << 8
_PLAIN_FILE_0600: Final = 0o100600 << 16
_ZIP64_ID: Final = 1
_MAX_32: Final = 0xFFFF_FFFF
_MAX_16: Final = 0xFFFF

ENTRY_OVERHEAD_BYTES: Final = 512
"""More than both headers of one entry with our names."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an archive before its bytes; ``dos_time`` as ``dos_time`` makes it."""

    name: str
    size_bytes: int
    crc32: int
    dos_time: int


class Archive:
    """Writes one archive; call ``entry`` for each file, then ``end``; both yield what to write next."""

    def __init__(self) -> None:
        self._offset = 0
        self._entries: list[tuple[Entry, int]] = []

    def entry(self, entry: Entry, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield an entry's header and bytes; the pieces must have the promised size."""
        self._entries.append((entry, self._offset))
        yield self._count(_local(entry))
        written = 0
        for piece in pieces:
            written += len(piece)
            yield self._count(piece)
        assert written == entry.size_bytes, "an entry changed its size while it was packed"  # noqa: S101 - a caller's mistake, measured before

    def end(self) -> Iterator[bytes]:
        """Yield the central directory."""
        start = self._offset
        for entry, offset in self._entries:
            yield self._count(_central(entry, offset))
        size, count = self._offset - start, len(self._entries)
        if start >= _MAX_32 or count >= _MAX_16:
            end64 = self._offset
            yield _END64.pack(
                _END64_SIGNATURE, _END64.size - 12, _VERSION_ZIP64, _VERSION_ZIP64, 0, 0, count, count, size, start
            )
            yield _LOCATOR64.pack(_LOCATOR64_SIGNATURE, 0, end64, 1)
        short = min(count, _MAX_16)
        yield _END.pack(_END_SIGNATURE, 0, 0, short, short, min(size, _MAX_32), min(start, _MAX_32), 0)

    def _count(self, piece: bytes) -> bytes:
        self._offset += len(piece)
        return piece


def dos_time(year: int, month: int, day: int, *, hour: int, minute: int, second: int) -> int:
    """Return date and time as MS-DOS counts them, date in the upper half; clamped to 1980 to 2107."""
    if not 1980 <= year <= 2107:  # noqa: PLR2004 - seven bits from 1980
        year, month, day, hour, minute, second = 1980, 1, 1, 0, 0, 0
    return ((year - 1980) << 9 | month << 5 | day) << 16 | hour << 11 | minute << 5 | second // 2


def _local(entry: Entry) -> bytes:
    name = entry.name.encode("ascii")
    large = entry.size_bytes >= _MAX_32
    extra = struct.pack("<HHQQ", _ZIP64_ID, 16, entry.size_bytes, entry.size_bytes) if large else b""
    size = _MAX_32 if large else entry.size_bytes
    version = _VERSION_ZIP64 if large else _VERSION
    time, date = entry.dos_time & _MAX_16, entry.dos_time >> 16
    head = _LOCAL.pack(_LOCAL_SIGNATURE, version, 0, 0, time, date, entry.crc32, size, size, len(name), len(extra))
    return head + name + extra


def _central(entry: Entry, offset: int) -> bytes:
    name = entry.name.encode("ascii")
    fields: list[int] = []
    size = entry.size_bytes
    if size >= _MAX_32:
        fields += [size, size]
        size = _MAX_32
    if offset >= _MAX_32:
        fields.append(offset)
        offset = _MAX_32
    extra = struct.pack(f"<HH{len(fields)}Q", _ZIP64_ID, 8 * len(fields), *fields) if fields else b""
    version = _VERSION_ZIP64 if fields else _VERSION
    time, date = entry.dos_time & _MAX_16, entry.dos_time >> 16
    head = _CENTRAL.pack(
        _CENTRAL_SIGNATURE, _MADE_ON_UNIX | version, version, 0, 0, time, date, entry.crc32, size, size,
        len(name), len(extra), 0, 0, 0, _PLAIN_FILE_0600, offset,
    )  # fmt: skip
    return head + name + extra
