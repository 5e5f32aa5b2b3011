"""A source's name is part of who its cameras are: a folder that is known by one is not taken from under another."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from agent import registry
from agent.sources.root import Root
from tests.loop import Disk, Kind

Home = Any  # the fixture's class; tests are no package
Until = Callable[[Callable[[], bool]], Awaitable[None]]

FIRST = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
SECOND = "front/recording/2026-11-22T10-16-00.000Z_10s.mp4"


def moved(home: Home) -> Path:
    """Take one recording in, then move the folder as a person does who makes room for another disk."""
    home.put(FIRST, b"first")
    home.scan()
    nvr: Path = home.spool.rename(home.top / "nvr")
    return nvr


def test_moved_folder_is_not_taken_from_under_another_name_and_the_reason_says_which_to_write(home: Home) -> None:
    # Its cameras were new ones: what was restricted was uploaded, and what was deleted was taken in again.
    nvr = moved(home)
    waiting = home.put(SECOND, b"second", folder=nvr)
    home.scan(home.settings(name="nvr", path=nvr))
    assert len(home.objects()) == 1
    assert waiting.exists(), "the source keeps its copy"
    (reason,) = home.reasons("source_failed")
    assert reason.startswith(f"{nvr} is known as source 'spool'")
    assert 'write name = "spool" in its [[source]]' in reason


def test_moved_folder_that_keeps_its_name_is_taken_from_and_its_camera_is_who_it_was(home: Home) -> None:
    nvr = moved(home)
    home.put(SECOND, b"second", folder=nvr)
    home.scan(home.settings(path=nvr))
    assert len(home.objects()) == 2
    assert len({item.camera for item in home.objects()}) == 1
    assert home.reasons("source_failed") == []


def test_folder_that_is_left_alone_is_not_taken_twice_when_its_source_is_named_anew(home: Home) -> None:
    home.put(FIRST, b"first")
    home.scan(home.settings(after="leave"))
    home.reopen()
    home.scan(home.settings(name="nvr", after="leave"))
    assert len(home.objects()) == 1, "it was taken twice"
    assert len(home.reasons("source_failed")) == 1


def test_running_flow_takes_from_others_while_one_is_refused(home: Home, until: Until) -> None:
    nvr = moved(home)
    home.put(SECOND, b"second", folder=nvr)
    home.spool.mkdir(mode=0o700)
    home.put(FIRST, b"third")

    async def run() -> None:
        flow = home.ingest(home.settings(), home.settings(name="nvr", path=nvr))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(flow.run())
                await until(lambda: flow.counts["admitted"] == 1 and flow.counts["source_failed"] == 1)
                running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert (nvr / SECOND).exists()
    (reason,) = home.reasons("source_failed")
    first_half = "give the source that is 'spool' now another name (and another folder, if that is refused), and "
    assert f'{first_half}write name = "spool" in its [[source]]' in reason, "two cannot have the name"


def test_folder_of_which_nothing_was_taken_may_be_named_anew(home: Home) -> None:
    home.scan()
    home.put(FIRST, b"first")
    home.scan(home.settings(name="nvr"))
    assert home.only().source == "nvr"


def test_folder_of_another_recorder_is_another_source(home: Home) -> None:
    home.put(FIRST, b"first")
    home.scan()
    nvr = home.top / "nvr"
    nvr.mkdir(mode=0o700)
    home.put(FIRST, b"other", folder=nvr)
    home.scan(home.settings(name="nvr", path=nvr))
    assert {item.source for item in home.objects()} == {"spool", "nvr"}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_disk_is_known_again_at_whatever_device_and_another_at_the_same_one_is_not_taken_for_it(
    home: Home, tmp_path: Path, kind: Kind
) -> None:
    with Disk(tmp_path / "one", kind) as one, Disk(tmp_path / "other", kind) as other:
        identity = identity_of(home, one)
        one.unmount()
        other.unmount()
        other.mount()  # where the one was
        assert identity_of(home, other) != identity
        one.mount()
        assert identity_of(home, one) == identity


def identity_of(home: Home, disk: Disk) -> int:
    disk.top.chmod(0o700)
    identity: int = Root(home.settings(path=disk.top)).identity
    return identity


def test_tmpfs_has_no_identity_and_is_known_by_its_path(home: Home) -> None:
    here, there = home.settings(), home.settings(path=home.top / "nvr")
    assert here.known_by(7) == there.known_by(7) == 7
    assert here.known_by(0) == home.settings(name="nvr").known_by(0) < 0
    assert here.known_by(0) != there.known_by(0)


def test_folders_that_are_known_by_name_are_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FOLDERS_MAX", 3)
    for folder in range(1, 8):
        home.index.write_now(lambda tx, folder=folder: registry.keep_folder(tx, folder, source="spool"))
    assert home.index.read_now(lambda tx: tx.execute("SELECT folder FROM named_folder ORDER BY n")) == [
        (5,), (6,), (7,),
    ]  # fmt: skip
