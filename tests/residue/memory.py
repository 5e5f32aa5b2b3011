"""The memory of a running process, as root reads it."""

import os
from collections.abc import Iterator
from pathlib import Path


def memory_of(pid: int) -> Iterator[tuple[int, bytes]]:
    """Yield every readable mapping of a process and where it begins; what may not be read at all is passed over."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            start, end = (int(part, 16) for part in place.split("-"))
            if rights[0] != "r":
                continue
            try:
                yield start, os.pread(fd, end - start, start)
            except (OSError, OverflowError):  # the kernel's own pages, and such that are nobody's to read
                continue
    finally:
        os.close(fd)
