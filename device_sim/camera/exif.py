"""A photo's metadata: an Exif segment (place, serial number, time) and a comment in clear text, put into a JPEG.

Byte layout: Exif 2.32 section 4.5 (an APP1 segment that holds a TIFF header and its directories, big-endian here).
"""

import struct
from datetime import datetime
from typing import Final

from device_sim.camera.identity import Identity

_START_OF_IMAGE: Final = b"\xff\xd8"
_APP1: Final = 0xE1
_COM: Final = 0xFE
_ASCII, _LONG, _RATIONAL = 2, 4, 5
_TIFF_HEADER: Final = b"MM\x00\x2a\x00\x00\x00\x08"
_ENTRY_BYTES: Final = 12
_INLINE_BYTES: Final = 4

_Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def with_exif(jpeg: bytes, who: Identity, taken: datetime) -> bytes:
    """The same picture with the camera's facts right after the start of the image."""
    assert jpeg.startswith(_START_OF_IMAGE)  # noqa: S101 - our own encoder wrote it
    comment = f"{who.name}; {who.serial}; {who.mac}; {who.ssid}; {who.gps}; {taken.isoformat()}".encode()
    extra = _segment(_APP1, b"Exif\x00\x00" + _tiff(who, taken)) + _segment(_COM, comment)
    return _START_OF_IMAGE + extra + jpeg[len(_START_OF_IMAGE) :]


def _tiff(who: Identity, taken: datetime) -> bytes:
    stamp = f"{taken:%Y:%m:%d %H:%M:%S}"
    shown = (_text(0x010E, who.name), _text(0x0110, "device-sim camera"), _text(0x0131, who.firmware))
    details = (_text(0x9003, stamp), _text(0xA431, who.serial))
    place = (
        _text(0x0001, "N" if who.lat_deg >= 0 else "S"),
        _degrees(0x0002, abs(who.lat_deg)),
        _text(0x0003, "E" if who.lon_deg >= 0 else "W"),
        _degrees(0x0004, abs(who.lon_deg)),
    )
    first_at = len(_TIFF_HEADER)
    # The first directory's length does not depend on where its pointers lead, so it is laid out twice.
    pointers = ((0x8769, _LONG, 1, bytes(4)), (0x8825, _LONG, 1, bytes(4)))
    details_at = first_at + len(_directory((*shown, *pointers), first_at))
    details_part = _directory(details, details_at)
    place_at = details_at + len(details_part)
    pointers = ((0x8769, _LONG, 1, struct.pack(">I", details_at)), (0x8825, _LONG, 1, struct.pack(">I", place_at)))
    return _TIFF_HEADER + _directory((*shown, *pointers), first_at) + details_part + _directory(place, place_at)


def _directory(entries: tuple[_Entry, ...], at: int) -> bytes:
    table = struct.pack(">H", len(entries))
    values = b""
    values_at = at + 2 + _ENTRY_BYTES * len(entries) + 4
    for tag, kind, count, value in entries:
        inline = value.ljust(_INLINE_BYTES, b"\x00")
        if len(value) > _INLINE_BYTES:
            inline = struct.pack(">I", values_at + len(values))
            values += value + b"\x00" * (len(value) % 2)
        table += struct.pack(">HHI", tag, kind, count) + inline
    return table + bytes(4) + values


def _text(tag: int, text: str) -> _Entry:
    value = text.encode() + b"\x00"
    return tag, _ASCII, len(value), value


def _degrees(tag: int, degrees: float) -> _Entry:
    whole = int(degrees)
    minutes = int((degrees - whole) * 60)
    seconds_ten_thousandths = round((degrees - whole - minutes / 60) * 3600 * 10_000)
    return tag, _RATIONAL, 3, struct.pack(">6I", whole, 1, minutes, 1, seconds_ten_thousandths, 10_000)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
