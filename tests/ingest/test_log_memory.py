"""Log files are read into memory, and however many there are, no more than one batch of a source is."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from agent.ingest import opening
from agent.ingest.growing import BLOCK_BYTES
from agent.sources.settings import BATCH_MAX_BYTES

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


def test_two_large_log_files_of_one_camera_are_not_in_memory_together(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    read: list[int] = []
    write = opening._write

    def watched(fd: int, content: bytes) -> None:
        write(fd, content)
        seen.append(in_memory_bytes())
        read.append(len(content))

    monkeypatch.setattr(opening, "_write", watched)
    line = b'{"event":"%s"}\n' % (b"x" * 500)
    log = line * (BATCH_MAX_BYTES // len(line))  # just not a batch by itself
    for n in range(2):
        home.put(f"front/usage-log/2026-11-22T1{n}-00-00.000Z.jsonl", log)
    home.scan(home.settings(batch_bytes=BATCH_MAX_BYTES))
    assert max(seen) <= BATCH_MAX_BYTES
    assert max(read) <= BLOCK_BYTES
    assert list(map(home.opened, home.objects())) == [log, log]
    assert home.left() == []


def test_log_that_cannot_be_taken_leaves_nothing_of_itself_in_its_batch(home: Home) -> None:
    home.put("front/usage-log/2026-11-22T10-00-00.000Z.jsonl", b'{"n":1}\n')
    home.put("front/usage-log/2026-11-22T11-00-00.000Z.jsonl", b"no log\n")
    home.put("front/usage-log/2026-11-22T12-00-00.000Z.jsonl", b'{"n":2}')
    home.scan()
    assert home.opened(home.only()) == b'{"n":1}\n{"n":2}\n'
