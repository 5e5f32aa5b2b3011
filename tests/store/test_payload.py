"""The folder of payloads: what is in it without a row, and how a stop says that nothing is."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from agent import payload
from agent.errors import ConfigError, LinkError
from agent.files import make_folder, new_file
from agent.model import new_id
from agent.payload import Payloads
from tests.failing import failing

LEAVE = """
import sys
from pathlib import Path
from agent.payload import Payloads
print(Payloads(Path(sys.argv[1])).leave())
"""


@pytest.fixture
def payloads(tmp_path: Path) -> Payloads:
    return Payloads(tmp_path / "objects")


def part(payloads: Payloads) -> Path:
    fd, path = payloads.new_part()
    os.close(fd)
    return path


def settled(payloads: Payloads) -> str:
    object_id = new_id()
    asyncio.run(payloads.settle(part(payloads), object_id))
    return object_id


def names(payloads: Payloads) -> set[str]:
    return {path.name for path in payloads.folder.iterdir()}


def test_folder_is_left_clean_when_every_payload_has_its_row(payloads: Payloads) -> None:
    kept = settled(payloads)
    payloads.accounted(kept)
    payloads.discard(part(payloads))
    payloads.discard(payloads.path(settled(payloads)))
    assert payloads.leave() == payloads.state()
    assert names(payloads) == {kept}


def test_sync_that_failed_makes_none_of_its_names_durable(payloads: Payloads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four names wait for one sync, which fails: the kernel would say yes to the next, whatever became of them."""
    parts, syncs = [part(payloads) for _ in range(5)], 0

    def sync(_folder: Path) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(payload, "sync_folder", sync)

    async def settle() -> list[object]:
        waiting = (payloads.settle(one, new_id()) for one in parts[:4])
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        await payloads.settle(parts[4], new_id())
        return [type(one) for one in failed]

    assert asyncio.run(settle()) == [LinkError] * 4
    assert syncs == 2, "one for all that waited, and one for the last"


def test_folder_is_changed_before_it_is_synced_behind_a_failure(
    payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def sync(_folder: Path) -> None:
        said.append("sync")
        if said == ["sync"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def made(folder: Path) -> tuple[int, Path]:
        said.append("change")
        return new_file(folder)

    monkeypatch.setattr(payload, "sync_folder", sync)
    monkeypatch.setattr(payload, "new_file", made)
    kept = new_id()
    payloads.path(kept).touch()
    assert kept in payloads.remove([kept])
    assert payloads.remove([kept]) == {}
    assert payloads.remove([kept]) == {}
    assert said == ["sync", "change", "sync", "sync"], "and not once it succeeded"
    assert names(payloads) == set()


def test_folder_whose_sync_failed_once_is_not_left_clean(payloads: Payloads) -> None:
    command = [*failing(payloads.folder, "fsync=EIO:when=1"), sys.executable, "-c", LEAVE, str(payloads.folder)]
    left = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert left.returncode == 1
    assert "Input/output error" in left.stderr
    assert not left.stdout


def test_folder_with_a_payload_whose_row_may_not_be_durable_is_not_left_clean(payloads: Payloads) -> None:
    lost = settled(payloads)
    assert not payloads.leave()
    assert names(payloads) == {lost}


def test_part_file_that_a_stop_cut_off_is_removed_and_no_other_is_made(payloads: Payloads) -> None:
    part(payloads)
    assert payloads.leave() == payloads.state()
    assert names(payloads) == set()
    with pytest.raises(LinkError):
        payloads.new_part()
    assert names(payloads) == set()


@pytest.mark.parametrize("change", ["added", "removed", "another"])
def test_folder_that_was_changed_has_another_state(payloads: Payloads, change: str) -> None:
    kept = settled(payloads)
    os.utime(payloads.folder, ns=(1, 1))  # file systems write times down in steps; a change now is behind this one
    before = payloads.state()
    if change == "added":
        (payloads.folder / "more").touch()
    elif change == "removed":
        payloads.path(kept).unlink()
    else:
        payloads.folder.rename(payloads.folder.with_name("aside"))
        make_folder(payloads.folder)
        os.utime(payloads.folder, ns=(1, 1))
    assert payloads.state() != before


@pytest.mark.parametrize("looked_up", [1, 2, 3, 100])
def test_sweep_takes_every_unknown_file_however_many_are_asked_for_at_once(
    payloads: Payloads, monkeypatch: pytest.MonkeyPatch, looked_up: int
) -> None:
    monkeypatch.setattr(payload, "LOOKED_UP", looked_up)
    known = {new_id() for _number in range(5)}
    for name in (*known, *(new_id() for _number in range(7)), "left.part", os.fsdecode(b"\xff" * 26), "short"):
        (payloads.folder / name).touch()
    make_folder(payloads.folder / "folder")
    asked: list[int] = []

    def unknown(some: Sequence[str]) -> Iterable[str]:
        asked.append(len(some))
        assert list(some) == sorted(some)
        return [name for name in some if name not in known]

    assert payloads.sweep(unknown) == 10
    assert names(payloads) == known | {"folder"}
    assert max(asked) <= looked_up


def test_file_that_a_sweep_could_not_remove_is_swept_for_again_after_an_orderly_stop(
    payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = part(payloads).rename(payloads.folder / new_id())
    payloads = Payloads(payloads.folder)

    def refuse(*_arguments: object, **_options: object) -> bool:
        raise ConfigError("not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(payload, "remove", refuse)
        assert payloads.sweep(lambda some: some) == 0
    assert not payloads.leave()
    assert names(payloads) == {stray.name}
    assert payloads.sweep(lambda some: some) == 1
