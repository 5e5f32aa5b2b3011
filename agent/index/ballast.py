"""Room kept back on the disk, so that a full disk never stops a delete.

A delete, its audit entry and its receipt need a little room before they give any back. The ballast is a file of real
blocks that is given up for exactly those transactions, a piece at a time, and taken again from whatever room there is:
until it is whole nothing is taken in, so it cannot be the ballast that keeps the disk full. It grows with the index, as
the first transaction of a delete writes down all ids that it means, once to the log and once to the file.
"""

import errno
import os
from pathlib import Path
from typing import Final

from agent.files import FILE_MODE, free_bytes

BALLAST_BYTES: Final = 8 * 1024 * 1024
"""At least: half for what the log has still to bring home when the disk fills up (``log_bytes``), half for the smallest
part of a delete (``SMALL`` in ``agent/erasure.py``) many times over."""

SHARE: Final = 16
"""Of the index's bytes one in so many: an object's rows take more than a thousand, its id twice 26."""

PIECE_BYTES: Final = 512 * 1024
"""What is given up at once, and taken; several pieces serve one transaction that needs more."""

_PIECES: Final = 8
"""Of a large ballast an eighth is given up at once: what needs much of it is tried again few times."""

_LEAST_BYTES: Final = 64 * 1024
"""Less than this is not worth taking."""


class Ballast:
    """The file at ``path``, for the index at ``index``; ``whole`` tells whether all of its blocks are ours now."""

    def __init__(self, path: Path, *, index: Path) -> None:
        self._path = path
        self._index = index
        self._bytes = 0
        self._whole = BALLAST_BYTES
        if path.exists():
            status = path.stat()
            self._bytes = min(status.st_size, status.st_blocks * 512)

    @property
    def whole(self) -> bool:
        """Whether nothing is given up."""
        return self._bytes >= self._whole

    @property
    def half_gone(self) -> bool:
        """Whether half of it is given up: what is left is for what makes room, and for what stops a use."""
        return self._bytes < self._whole // 2

    @property
    def quarter_left(self) -> bool:
        """Whether no more than a quarter of it is left: that is for what makes room alone."""
        return self._bytes <= self._whole // 4

    @property
    def log_bytes(self) -> int:
        """The part of it that is kept for pages which SQLite's log has still to bring home."""
        return self._whole // 2

    def take(self) -> None:
        """Take what was given up, or what the index grew for, as far as there is room for it."""
        share = self._index.stat().st_size // SHARE
        whole = max(self._whole, share - share % PIECE_BYTES)
        if self._bytes < whole:
            self._allocate(whole)
        self._whole = whole  # only now: nobody may think, while it grows, that something of it was given up

    def _allocate(self, whole: int) -> None:
        room = free_bytes(self._path.parent)[0]
        wanted = min(whole, self._bytes + room)
        if wanted - self._bytes < min(_LEAST_BYTES, whole - self._bytes):
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            os.posix_fallocate(fd, 0, wanted)
            os.fsync(fd)
        except OSError as error:
            os.ftruncate(fd, self._bytes)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
        else:
            self._bytes = wanted
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give a piece back to the disk; return whether there was one."""
        if not self._bytes:
            return False
        self._bytes = max(0, self._bytes - max(PIECE_BYTES, self._bytes // _PIECES))
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, self._bytes)
            os.fsync(fd)
        finally:
            os.close(fd)
        return True
