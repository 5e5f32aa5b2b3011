"""What an archive holds, decrypted only inside the pipe from payload to sealed part.

Each payload is opened whole once, for its checksum, before its first byte is packed: a damaged object is left out
instead of breaking a part. The second opening feeds the archive. Clear bytes are in memory, a chunk at a time.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from agent.age import SeekableReader
from agent.errors import CorruptError

_PIECE_BYTES: Final = 64 * 1024

Pieces = Callable[[], Iterator[bytes]]


class Measured(msgspec.Struct, frozen=True):
    """Bytes that can be made again and again, with their size and CRC-32."""

    pieces: Pieces
    size_bytes: int
    crc32: int


def measure(pieces: Pieces) -> Measured:
    """Run through the bytes once; whatever they raise passes through."""
    size = crc = 0
    for piece in pieces():
        size += len(piece)
        crc = zlib.crc32(piece, crc)
    return Measured(pieces, size, crc)


def opened(path: Path, *, file_key: bytes, size_bytes: int) -> Pieces:
    """Return what a payload file holds as pieces; raises ``CorruptError`` while they are taken."""

    def pieces() -> Iterator[bytes]:
        try:
            with path.open("rb") as raw, SeekableReader(file_key, raw, size_bytes) as reader:
                while piece := reader.read(_PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise CorruptError(f"the sealed payload cannot be read: {error.strerror}") from error

    return pieces


def fixed(data: bytes) -> Measured:
    """Return bytes that are in memory."""
    return measure(lambda: iter((data,)))


class PieceReader:
    """A stream of pieces as something to read from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill as much of ``buffer`` as the pieces give; 0 at the end."""
        filled = 0
        while filled < len(buffer):
            if not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._left = memoryview(piece)
                continue
            count = min(len(buffer) - filled, len(self._left))
            buffer[filled : filled + count] = self._left[:count]
            self._left = self._left[count:]
            filled += count
        return filled
