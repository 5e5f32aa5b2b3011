"""What the disk itself takes: the floor under everything here that promises durability."""

import os
from pathlib import Path

from tests.bench.meter import now_s


def sync_ms(folder: Path, *, count: int) -> list[float]:
    """Append 4 KiB and fsync, that often; return the milliseconds of each."""
    path = folder / "synced"
    found = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(count):
            begin_s = now_s()
            os.write(fd, b"\x5a" * 4096)
            os.fsync(fd)
            found.append((now_s() - begin_s) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    return found
