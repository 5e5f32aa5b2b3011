"""Room kept back on the disk, so that a full disk never stops a delete.

A delete, its audit entry and its receipt need a little room before they give any back. The ballast is a file of real
blocks that is given up for exactly those transactions and taken again as soon as the disk has room.
"""

import errno
import os
from pathlib import Path
from typing import Final

from agent.files import FILE_MODE, free_bytes

BALLAST_BYTES: Final = 4 * 1024 * 1024
"""Room for the smallest part of a delete (``SMALL`` in ``agent/erasure.py``) many times over."""

ROOM_FACTOR: Final = 2
"""The ballast is taken again only when this many times its size is free: it must not be what fills the disk."""


class Ballast:
    """The file at ``path``; ``held`` tells whether its blocks are ours now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held = path.exists() and path.stat().st_blocks * 512 >= BALLAST_BYTES

    def take(self) -> None:
        """Take the blocks if there is plenty of room; on a nearly full disk nothing happens."""
        if self.held or free_bytes(self._path.parent)[0] < BALLAST_BYTES * ROOM_FACTOR:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
            os.fsync(fd)
        except OSError as error:
            os.ftruncate(fd, 0)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
        else:
            self.held = True
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give the blocks back to the disk; return whether there were any."""
        if not self.held:
            return False
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        self.held = False
        return True
