"""Two pictures for people: a frame of a clip as whoever can open it sees it, and ciphertext as a picture of itself."""

import struct
import zlib
from pathlib import Path
from typing import Final

import av

WIDTH_MAX: Final = 960
_NOISE_WIDTH: Final = 320
_CHANNELS: Final = 3


def frame_png(clip: Path, *, at_s: float) -> tuple[bytes, tuple[int, int]]:
    """Return the first frame at or after ``at_s`` (or the last one) as a PNG, and its size.

    Raises ``ValueError`` when there is no picture in it.
    """
    try:
        with av.open(str(clip), "r") as opened:
            found = None
            for frame in opened.decode(video=0):
                found = frame
                if frame.time >= at_s:
                    break
            if found is None:
                raise ValueError("no picture in the clip")
            width = min(WIDTH_MAX, found.width) // 2 * 2
            height = max(2, found.height * width // found.width // 2 * 2)
            shown = found.reformat(width=width, height=height, format="rgb24")
            plane = shown.planes[0]
            raw = bytes(plane)
            rows = b"".join(
                raw[row * plane.line_size : row * plane.line_size + width * _CHANNELS] for row in range(height)
            )
    except (av.FFmpegError, IndexError) as error:
        raise ValueError("no clip that can be played") from error
    return png(rows, width, height), (width, height)


def noise_png(data: bytes, size: tuple[int, int]) -> bytes:
    """Paint bytes as they are, three to a pixel, in the shape of ``size``; too few are repeated."""
    width = min(_NOISE_WIDTH, size[0])
    height = max(1, size[1] * width // size[0])
    needed = width * height * _CHANNELS
    painted = (data * (needed // max(1, len(data)) + 1))[:needed]
    return png(painted, width, height)


def png(rgb: bytes, width: int, height: int) -> bytes:
    """Write rows of 24-bit pixels as a PNG (W3C PNG specification, third edition, sections 5 and 11)."""
    step = width * _CHANNELS
    # Each row begins with its filter: 1, what differs from the pixel to the left.
    rows = bytearray()
    for row in range(height):
        line = rgb[row * step : (row + 1) * step]
        rows.append(1)
        rows += line[:_CHANNELS]
        rows += bytes((here - left) & 0xFF for here, left in zip(line[_CHANNELS:], line, strict=False))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _part(kind, body) for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


def _part(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
