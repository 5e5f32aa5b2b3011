"""Tombstones are bounded, and what bounds them never costs a recording that nobody deleted."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent import tombstone
from agent.erasure import Erasure
from agent.ingest import Ingest
from agent.model import Selection
from tests.disk import as_root
from tests.ingest.conftest import home
from tests.ingest.test_ingest import NOW, erase

__all__ = ["home"]  # a fixture
Home = Any  # the fixture's class

DAY = "front/recording/2026-11-{day:02}T10-15-00.000Z_10s.mp4"


def expire(home: Home, *ids: str) -> None:
    """Let retention take them away."""

    async def run() -> None:
        eraser = Erasure(vault=home.vault, index=home.index, keystore=home.keystore, finish=lambda *_args: None)
        await eraser.begin(ids, rule="category.recording.keep.age", moment=NOW)
        await eraser.resume(NOW)

    asyncio.run(run())


def tombstones(home: Home) -> int:
    ((found,),) = home.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM tombstone"))
    return int(found)


def many_expired(home: Home, **changes: object) -> None:
    """Take in twenty days of one camera and let them expire, where there is room for sixteen tombstones."""
    for day in range(1, 21):
        home.put(DAY.format(day=day), b"day %d" % day)
    home.scan(home.settings(**changes))
    assert len(home.objects()) == 20
    expire(home, *(item.id for item in home.objects()))
    home.reopen()  # in another event loop


def test_older_recordings_that_nobody_deleted_are_sealed_and_not_destroyed_unread(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Camera A's expired recordings made one mark of the whole source. Camera B delivered a card of three days ago, and
    # every file of it was removed from the spool unread, as deleted before.
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    many_expired(home)
    assert home.left() == []
    late = {DAY.format(day=1).replace("front", "back"): b"back", DAY.format(day=2).replace("10-15", "11-15"): b"front"}
    for name, content in late.items():
        home.put(name, content)
    home.scan()
    assert sorted(home.opened(item) for item in home.objects()) == [b"back", b"front"]


def test_recording_older_than_a_recorders_mark_is_left_and_told_and_other_cameras_are_sealed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    many_expired(home, after="leave")
    home.put(DAY.format(day=1).replace("10-15", "11-15"), b"older than the mark")
    home.put(DAY.format(day=1).replace("front", "back"), b"another camera")
    home.put(DAY.format(day=28), b"younger than the mark")
    home.scan(home.settings(after="leave"))
    assert sorted(home.opened(item) for item in home.objects()) == [b"another camera", b"younger than the mark"]
    assert len(home.left()) == 23
    assert home.reasons("refused") == ["before_mark"]
    ((line,),) = home.index.read_now(
        lambda tx: tx.execute("SELECT line FROM audit WHERE CAST(line AS TEXT) LIKE '%before_mark%'")
    )
    assert b'"kind":"ingest_refused"' in line


def test_mark_of_a_source_that_was_left_alone_destroys_nothing_once_it_is_ours_to_empty(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    many_expired(home, after="leave")
    never_seen = DAY.format(day=1).replace("10-15", "11-15")
    home.put(never_seen, b"never seen")
    home.scan(home.settings(after="take"))
    assert never_seen in home.left()
    assert home.objects() == ()


def test_recording_between_two_deleted_hours_is_not_destroyed_unread(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two intervals became one that covers both, to keep their number bounded, and with it the day between them, of
    # which nobody had deleted anything: what a camera delivered late of it was removed from the spool unread.
    monkeypatch.setattr(tombstone, "CUTOFFS_MAX", 1)
    for day in (1, 3):
        erase(home, cutoff=Selection(from_=f"2026-11-{day:02}T10:00:00Z", to=f"2026-11-{day:02}T11:00:00Z"))
    deleted, between, after = (DAY.format(day=day) for day in (1, 2, 4))
    for name in (deleted, between, after):
        home.put(name, name.encode())
    home.scan()
    assert home.left() == [deleted, between]
    assert [home.opened(item) for item in home.objects()] == [after.encode()]
    assert home.reasons("refused") == ["before_mark"]
    monkeypatch.setattr(tombstone, "CUTOFFS_MAX", 2)
    erase(home, cutoff=Selection(from_="2026-11-01T10:00:00Z", to="2026-11-01T11:00:00Z"))
    home.reopen()
    home.scan()
    assert home.left() == [between], "what was certainly deleted is destroyed where the copy is ours"


def test_tombstones_go_with_the_recorders_own_files_and_no_earlier(home: Home) -> None:
    many_expired(home, after="leave")
    home.confirm_absences(home.settings(after="leave"))
    assert tombstones(home) == 20
    for day in range(1, 16):
        (home.spool / DAY.format(day=day)).unlink()
    home.confirm_absences(home.settings(after="leave"))
    assert tombstones(home) == 5
    home.scan(home.settings(after="leave"))
    assert home.objects() == (), "what is still there was deleted before"


def test_folder_that_cannot_be_looked_at_whole_confirms_nothing(home: Home) -> None:
    many_expired(home, after="leave")
    away = home.spool.rename(home.top / "away")
    home.confirm_absences(home.settings(after="leave"))  # there is no folder
    home.spool.mkdir()
    home.confirm_absences(home.settings(after="leave"))  # its disk is not mounted: an empty folder
    home.spool.rmdir()
    away.rename(home.spool)
    second = home.spool / DAY.format(day=20)
    second.rename(second.with_name(f"{second.name}.held"))
    linked = home.spool / DAY.format(day=19)
    linked.with_suffix(".link").hardlink_to(linked)  # not acceptable for now, and still there
    home.confirm_absences(home.settings(after="leave"))
    assert tombstones(home) == 19


def test_file_whose_name_is_no_utf_8_keeps_no_other_from_being_found_absent(home: Home) -> None:
    many_expired(home, after="leave")
    (home.spool / DAY.format(day=1)).unlink()
    (home.spool / os.fsdecode(b"\xff\xfe.mp4")).write_bytes(b"whoever writes here may name it so")
    home.confirm_absences(home.settings(after="leave"))
    assert tombstones(home) == 19


def test_folder_that_was_replaced_since_files_were_taken_confirms_nothing(home: Home) -> None:
    many_expired(home, after="leave")

    async def run() -> None:
        flow: Ingest = home.ingest(home.settings(after="leave"))
        try:
            await flow.scan_once()  # it holds the folder open
            home.spool.rename(home.top / "away")
            home.put("front/recording/0001.mp4", b"written beneath the mount point")
            await flow.confirm_absences()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert tombstones(home) == 20


@as_root
def test_disk_that_was_not_mounted_when_the_source_was_looked_over_brings_nothing_back(
    tmp_path: Path, home: Home
) -> None:
    # The folder beneath the mount point is taken from meanwhile; what it lacks is not gone from the disk.
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "--bind", str(disk), str(home.spool)]
    subprocess.run(mount, check=True)
    try:
        many_expired(home, after="leave")
    finally:
        subprocess.run(["umount", "--lazy", str(home.spool)], check=True)
    home.put("front/recording/0001.mp4", b"written beneath the mount point")
    home.scan(home.settings(after="leave"))
    home.confirm_absences(home.settings(after="leave"))
    assert tombstones(home) == 20
    subprocess.run(mount, check=True)
    try:
        home.scan(home.settings(after="leave"))
        assert home.opened(home.only()) == b"written beneath the mount point"
        home.confirm_absences(home.settings(after="leave"))
        assert tombstones(home) == 20
        for file in disk.rglob("*.mp4"):
            file.unlink()
        (disk / "other.txt").touch()
        home.confirm_absences(home.settings(after="leave"))
        assert tombstones(home) == 0
    finally:
        subprocess.run(["umount", "--lazy", str(home.spool)], check=True)
