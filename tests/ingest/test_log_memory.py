"""Log files are read into memory, and however many there are, no more than one batch of a source is."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from agent.ingest import opening

Home = Any  # the fixture's class; tests are no package

CAMERAS = 8
LOG = b'{"event":"motion"}\n' * 20_000


def in_memory_bytes() -> int:
    """What this process holds of log files, as the kernel tells it."""
    held = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, by another thread
            if str(link.readlink()).startswith("/memfd:log"):
                held += link.stat().st_size
    return held


def test_log_files_of_many_cameras_are_never_in_memory_together(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 32 files of 16 MiB were, half a gigabyte, and the service may have a quarter of one."""
    seen: list[int] = []
    write = opening._write

    def watched(fd: int, content: bytes) -> None:
        write(fd, content)
        seen.append(in_memory_bytes())

    monkeypatch.setattr(opening, "_write", watched)
    for n in range(CAMERAS):
        home.put(f"camera{n}/usage-log/2026-11-22T10-00-00.000Z.jsonl", LOG)
    home.scan()
    assert len(home.objects()) == CAMERAS
    assert seen == [len(LOG)] * CAMERAS
    assert home.left() == []
