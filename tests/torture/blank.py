"""Files of nothing but room: allocated, never written to. The agent keeps megabytes of it back, in every home.

The file system knows that there are no bytes in them (``SEEK_DATA``), so they are searched and copied as what they are.
"""

import errno
import os
import shutil
from pathlib import Path


def is_blank(path: Path) -> bool:
    """Tell whether a file has room and no bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(fd).st_size > 0
    finally:
        os.close(fd)
    return False


def copied(source: str, target: str) -> str:
    """Copy a file and what ``stat`` tells of it, room as room, for ``shutil.copytree``."""
    if Path(source).is_symlink() or not is_blank(Path(source)):
        return str(shutil.copy2(source, target, follow_symlinks=False))
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, Path(source).stat().st_size)
    finally:
        os.close(fd)
    shutil.copystat(source, target)
    return target
