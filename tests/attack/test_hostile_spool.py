"""Whoever can write into a spool may try to fill memory; what is remembered of folders and lines has an end."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.clock import rfc3339_ms
from agent.sources import Candidate, FolderSource, SourceSettings
from agent.sources import view as view_module
from tests.ingest.conftest import home

__all__ = ["home"]  # a fixture
Home = Any  # the fixture's class


def test_folders_that_come_and_go_are_not_remembered_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "QUIET_MAX", 40)
    settings = SourceSettings(name="spool", kind="spool", path=tmp_path, medium="disk", settle_s=0.01)
    source = FolderSource(settings, on_refusal=lambda _refusal: None)

    async def nothing(_offered: tuple[Candidate, ...]) -> None:
        return None

    async def all_of(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        return candidates

    async def churn() -> None:
        view = await source.open()
        for round_of in range(10):
            names = [tmp_path / f"{round_of}-{number}" for number in range(10)]
            for name in names:
                name.mkdir()
            await source.scan(nothing, all_of)
            for name in names:
                name.rmdir()
            source._drain()
        assert 0 < len(view._quiet) <= 40
        source.close()

    asyncio.run(churn())


IMPOSSIBLE = (
    "front/recording/9999-12-31T23-59-59.000Z_999999s.mp4",
    "front/recording/0001-01-01T00-00-00.000Z_1s.mp4",
    "front/recording/2026-02-30T00-00-00.000Z_1s.mp4",
    "front/photo/0001-01-01T00-00-00.000Z.jpg",
)


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_name_with_a_time_that_no_answer_could_hold_is_refused(home: Home, name: str) -> None:
    home.put(name, b"x")
    home.scan()
    assert home.objects() == ()
    assert home.reasons("unreadable") == ["its name holds an impossible time"]
    assert home.left() == [name]


@pytest.mark.parametrize("changed_s", [-(10**9), 10**13, 2**62])
@pytest.mark.parametrize("name", ["any.mp4", "front/photo/2026-11-22T10-15-00.000Z.jpg"])
def test_last_change_that_no_answer_could_hold_is_refused(home: Home, name: str, changed_s: int) -> None:
    spool = Path("/dev/shm") / f"{home.top.name}-{os.getpid()}"  # noqa: S108 - a tmpfs keeps seconds of 64 bits
    spool.mkdir(mode=0o700)
    try:
        file = home.put(name, b"x", folder=spool)
        subprocess.run(["touch", "-d", f"@{changed_s}", file], check=True)
        assert file.stat().st_mtime == changed_s
        home.scan(home.settings(path=spool))
    finally:
        shutil.rmtree(spool)
    assert home.objects() == ()
    assert home.reasons("unreadable") == ["its last change lies at an impossible time"]


def test_last_times_that_can_be_written_are_taken_and_listed(home: Home) -> None:
    home.put("front/photo/9999-12-31T23-59-59.000Z.jpg", b"x")
    home.put("front/recording/1970-01-01T00-00-00.000Z_1s.mp4", b"x")
    home.scan()
    times = {rfc3339_ms(item.captured_from_ms) + rfc3339_ms(item.captured_to_ms) for item in home.objects()}
    assert len(times) == 2


def test_file_that_the_disk_could_never_hold_is_told_as_too_large_and_stops_nothing_else(home: Home) -> None:
    """A sparse file of a terabyte said that there was no room for new recordings, while there was for every other."""
    vast = home.spool / "front" / "recording" / "2026-11-22T10-15-00.000Z_2s.mp4"
    home.put("front/photo/2026-11-22T10-15-00.000Z.jpg", b"small")
    vast.parent.mkdir(parents=True)
    status = os.statvfs(home.top)
    vast.touch()
    os.truncate(vast, status.f_blocks * status.f_frsize)
    flow = home.scan()
    assert home.reasons("disk_full") == []
    assert home.reasons("refused") == ["too_large"]
    assert flow.counts["refused"] == 1
    assert [item.category for item in home.objects()] == ["photo"]
    assert vast.exists(), "the source keeps what is not taken in"
