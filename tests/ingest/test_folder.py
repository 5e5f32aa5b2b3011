"""A source's folder: what is noticed, when it is complete, and what is refused."""

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from agent.errors import AgentError, ConfigError, LinkError
from agent.files import ASIDE_PREFIX
from agent.sources import Candidate, FolderSource, SourceSettings, check_medium
from agent.sources import folder as folder_module
from agent.sources.candidate import IncompleteError, MediumError, Refusal
from agent.sources.inotify import Watches
from agent.sources.root import Root
from agent.sources.walk import FAILED_FOLDERS_MAX, walk
from tests.disk import as_root

Until = Callable[[Callable[[], bool]], Awaitable[None]]

NAME = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"


class Watched:
    """A folder and what its source says of it."""

    def __init__(self, path: Path, **changes: object) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        values: dict[str, Any] = {
            "name": "spool", "kind": "spool", "path": path, "medium": "disk", "settle_s": 0.05, "poll_s": 0.05,
            **changes,
        }  # fmt: skip
        self.offered: list[Candidate] = []
        self.refused: list[Refusal] = []
        self.troubles: list[str] = []
        self.known: set[str] = set()
        self.source = FolderSource(
            SourceSettings(**values),
            on_refusal=self.refused.append,
            on_trouble=self.troubles.append,
        )

    async def offer(self, candidates: tuple[Candidate, ...]) -> None:
        self.offered.extend(candidates)

    async def fresh(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        return tuple(item for item in candidates if item.path not in self.known)

    def paths(self) -> list[str]:
        return [item.path for item in self.offered]

    def scan(self) -> None:
        async def once() -> None:
            try:
                await self.source.scan(self.offer, self.fresh, at_once=True)
            finally:
                self.source.close()

        asyncio.run(once())

    @property
    def root(self) -> Root:
        """The folder, opened anew."""
        return Root(self.source.settings)

    def watches(self) -> int:
        """How many folders the kernel watches for it."""
        view = self.source._view
        return 0 if view is None else len(view.watches or ())

    def run(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run the source while ``act`` does something to the folder."""

        async def both() -> None:
            try:
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(self.source.run(self.offer, self.fresh))
                    await act()
                    running.cancel()
            finally:
                self.source.close()

        asyncio.run(both())

    def put(self, name: str, content: bytes = b"content") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        part.write_bytes(content)
        part.rename(file)
        return file


@pytest.fixture
def spool(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "spool")


def test_file_that_was_there_before_is_offered(spool: Watched, until: Until) -> None:
    spool.put(NAME)
    spool.run(lambda: until(lambda: spool.paths() == [NAME]))


def test_file_moved_in_is_offered_at_once(tmp_path: Path, until: Until) -> None:
    spool = Watched(tmp_path / "spool", settle_s=600.0)

    async def act() -> None:
        (spool.path / "front" / "recording").mkdir(parents=True)
        await until(lambda: spool.watches() == 3)
        spool.put(NAME)
        await until(lambda: spool.paths() == [NAME])

    spool.run(act)


def test_file_moved_in_waits_for_none_of_those_that_rest(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "PENDING_MAX", 1)
    spool = Watched(tmp_path / "spool", settle_s=600.0)
    for name in ("a.mp4", "b.mp4"):
        spool.put(name)

    async def act() -> None:
        await until(lambda: len(spool.source._pending) == 1)  # the look at everything waits for room for the other
        spool.put("clip.mp4")
        await until(lambda: spool.paths() == ["clip.mp4"])

    spool.run(act)


def test_closed_files_that_wait_because_they_may_be_open_are_bounded_and_none_is_forgotten(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "PENDING_MAX", 2)
    monkeypatch.setattr(folder_module, "UNSURE_S", 0.2)
    monkeypatch.setattr(Root, "may_be_open", lambda _root, _path: True)
    spool = Watched(tmp_path / "spool")
    names = [f"{number}.mp4" for number in range(8)]
    most = 0

    async def act() -> None:
        nonlocal most
        await until(lambda: spool.watches() == 1)
        for name in names:
            spool.put(name)

        def all_offered() -> bool:
            nonlocal most
            most = max(most, len(spool.source._pending))
            return set(spool.paths()) == set(names)

        await until(all_offered)

    spool.run(act)
    assert most == 2


def test_file_written_and_closed_is_offered_at_once(tmp_path: Path, until: Until) -> None:
    spool = Watched(tmp_path / "spool", settle_s=600.0)

    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        file = spool.path / "clip.mp4"
        with file.open("wb") as out:
            out.write(b"first")
            out.flush()
            await asyncio.to_thread(threading.Event().wait, 0.2)
            assert spool.paths() == []
        await until(lambda: spool.paths() == ["clip.mp4"])

    spool.run(act)


def test_new_folders_with_files_in_them_are_found_whatever_the_race(spool: Watched, until: Until) -> None:
    names = {f"cam{n}/recording/2026-11-22T10-15-0{k}.000Z_1s.mp4" for n in range(20) for k in range(5)}

    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        await asyncio.to_thread(lambda: [spool.put(name) for name in sorted(names)])
        await until(lambda: names <= set(spool.paths()))

    spool.run(act)


def test_folder_moved_in_whole_is_looked_through(spool: Watched, tmp_path: Path, until: Until) -> None:
    elsewhere = Watched(tmp_path / "elsewhere")
    elsewhere.put(NAME)

    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        (elsewhere.path / "front").rename(spool.path / "front")
        await until(lambda: spool.paths() == [NAME])

    spool.run(act)


def test_renamed_folder_is_known_by_its_new_name(spool: Watched, until: Until) -> None:
    spool.put(NAME)

    async def act() -> None:
        await until(lambda: spool.paths() == [NAME])
        (spool.path / "front").rename(spool.path / "back")
        moved = NAME.replace("front", "back")
        await until(lambda: moved in spool.paths())
        later = moved.replace("15-00", "16-00")
        spool.put(later)
        await until(lambda: later in spool.paths())

    spool.run(act)


def test_lost_events_are_made_good_by_looking(spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "EVENTS_MAX", 2)
    names = {f"{n}.mp4" for n in range(200)}

    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        for name in names:
            spool.put(name)
        await until(lambda: names <= set(spool.paths()))

    spool.run(act)


def test_without_inotify_the_folder_is_polled(spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the kernel answers when fs.inotify.max_user_watches is used up.
    monkeypatch.setattr(Watches, "add", lambda *_: False)

    async def act() -> None:
        spool.put(NAME)
        await until(lambda: NAME in spool.paths())
        assert spool.source._view is not None
        assert spool.source._view.polling
        spool.put("late.mp4")
        await until(lambda: "late.mp4" in spool.paths())

    spool.run(act)


def test_growing_file_is_offered_only_when_it_rests(
    spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watches, "add", lambda *_: False)
    size = 20 * 1000

    async def act() -> None:
        file = spool.path / "clip.mp4"

        def grow() -> None:
            for _ in range(20):
                with file.open("ab") as out:
                    out.write(bytes(1000))
                threading.Event().wait(0.02)

        await asyncio.to_thread(grow)
        await until(lambda: spool.offered != [])

    spool.run(act)
    assert spool.offered[-1].size_bytes == size


def test_folder_that_comes_later_is_waited_for(tmp_path: Path, until: Until) -> None:
    spool = Watched(tmp_path / "spool")
    spool.path.rmdir()

    async def act() -> None:
        await until(lambda: spool.troubles != [])
        spool.path.mkdir()
        spool.put(NAME)
        await until(lambda: spool.paths() == [NAME])

    spool.run(act)


def test_folder_that_is_removed_and_made_again_is_taken_from(spool: Watched, until: Until) -> None:
    # The descriptor stayed on the removed folder, where nothing ever comes, and nobody was told.
    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        spool.path.rmdir()
        spool.path.mkdir()
        spool.put(NAME)
        await until(lambda: spool.paths() == [NAME])

    spool.run(act)


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@as_root
def test_disk_that_is_mounted_after_the_start_is_taken_from_and_so_is_what_was_beneath(
    tmp_path: Path, until: Until
) -> None:
    spool = Watched(tmp_path / "spool")
    (spool.path / "front" / "recording").mkdir(parents=True)

    async def act() -> None:
        await until(lambda: spool.watches() == 3)
        mount("-t", "tmpfs", "-o", "size=1m", "none", spool.path)
        try:
            spool.put(NAME)
            await until(lambda: spool.paths() == [NAME])
        finally:
            unmount(spool.path)
        later = NAME.replace("15-00", "16-00")
        spool.put(later)
        await until(lambda: spool.paths() == [NAME, later])

    spool.run(act)
    assert set(spool.troubles) == {""}


@as_root
def test_medium_is_checked_again_when_another_is_mounted(tmp_path: Path, until: Until) -> None:
    # It was checked at start alone: a tmpfs that came later, or went, was a disk in silence (invariant I1).
    spool = Watched(tmp_path / "spool", medium="tmpfs")
    mount("-t", "tmpfs", "-o", "size=1m", "none", spool.path)

    async def act() -> None:
        await until(lambda: spool.troubles == [""])
        mount("--rbind", "/proc", spool.path)
        try:
            await until(lambda: len(spool.troubles) == 2)
            assert "is not on a tmpfs" in spool.troubles[1]
        finally:
            unmount(spool.path)
        spool.put(NAME)
        await until(lambda: spool.paths() == [NAME])

    try:
        spool.run(act)
    finally:
        unmount(spool.path)
    assert spool.troubles[2:] == [""]
    assert spool.refused == []


def test_folder_for_which_no_descriptor_is_left_is_told_and_opened_when_there_is_one(
    spool: Watched, until: Until
) -> None:
    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays so; nothing else is opened
        try:
            spool.path.rename(spool.path.with_name("aside"))
            spool.path.mkdir()
            await until(lambda: len(spool.troubles) == 2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        await until(lambda: len(spool.troubles) == 3)
        spool.put(NAME)
        await until(lambda: spool.paths() == [NAME])

    spool.run(act)
    assert spool.troubles == ["", f"{spool.path}: Too many open files", ""]


def failing_listing(
    monkeypatch: pytest.MonkeyPatch, *names: str, code: int = errno.EIO, left: Callable[[], bool] = lambda: True
) -> None:
    """Let the medium fail where folders of these names are listed, as a kernel does of a disk that was pulled."""
    scandir = os.scandir

    def failing(fd: int) -> object:
        if left() and Path(f"/proc/self/fd/{fd}").readlink().name in names:
            raise OSError(code, os.strerror(code))
        return scandir(fd)

    monkeypatch.setattr("agent.sources.walk.os.scandir", failing)


def test_folder_whose_medium_fails_is_told_and_taken_up_again_when_it_is_back(
    spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It ended the source's task, and with it the agent: again at each start.
    pulled = True
    failing_listing(monkeypatch, "spool", left=lambda: pulled)

    async def act() -> None:
        nonlocal pulled
        await until(lambda: len(spool.troubles) == 1)
        spool.put(NAME)
        pulled = False
        await until(lambda: spool.paths() == [NAME])
        pulled = True
        spool.source.reconsider()
        await until(lambda: len(spool.troubles) == 3)
        pulled = False
        await until(lambda: len(spool.troubles) == 4)

    spool.run(act)
    assert spool.troubles == ["the folder cannot be read: Input/output error", ""] * 2


def test_folder_that_cannot_be_listed_is_told_and_the_rest_goes_on(
    spool: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put(NAME)
    spool.put(NAME.replace("front", "back"))
    failing_listing(monkeypatch, "back")
    spool.scan()
    assert spool.paths() == [NAME]
    assert [(refusal.unverified_path, refusal.reason) for refusal in spool.refused] == [
        ("back", "the folder cannot be read: Input/output error")
    ]


def test_medium_where_folder_after_folder_fails_is_given_back_and_opened_again(
    spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"cam{number:02}" for number in range(FAILED_FOLDERS_MAX + 1)]
    for name in names:
        spool.put(NAME.replace("front", name))
    failing_listing(monkeypatch, *names, left=lambda: not spool.troubles)

    async def act() -> None:
        await until(lambda: len(spool.offered) == len(names) and spool.troubles[-1] == "")

    spool.run(act)
    assert spool.troubles == ["the folder cannot be read: Input/output error", ""]
    assert len(spool.refused) == FAILED_FOLDERS_MAX


def test_file_whose_removal_was_cut_is_found_by_its_own_name(spool: Watched) -> None:
    (spool.path / f"{ASIDE_PREFIX}clip.mp4").write_bytes(b"sealed before the cut")
    (spool.path / f"{ASIDE_PREFIX}folder").mkdir()
    told: list[tuple[str, str]] = []
    fd = os.open(spool.path, os.O_RDONLY)
    try:
        found = [
            item.path
            for item in walk(fd, enter=lambda *_folder: True, refuse=lambda *refusal: told.append(refusal), takes=True)
        ]
    finally:
        os.close(fd)
    assert found == ["clip.mp4"]
    assert (spool.path / "clip.mp4").read_bytes() == b"sealed before the cut"
    assert told == []


def test_folder_that_vanishes_while_it_is_looked_through_is_passed_over(spool: Watched) -> None:
    (spool.path / "a").mkdir()
    spool.put(NAME)
    told: list[tuple[str, str]] = []

    def enter(_fd: int, folder: str, _mtime_ns: int) -> bool:
        if folder == "a":
            (spool.path / "a").rmdir()
        return True

    fd = os.open(spool.path, os.O_RDONLY)
    try:
        found = [item.path for item in walk(fd, enter=enter, refuse=lambda *refusal: told.append(refusal), takes=True)]
    finally:
        os.close(fd)
    assert found == [NAME]
    assert told == []


def test_file_whose_opening_fails_for_now_is_tried_again(
    spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any failure was taken for a broken rule, so a file that met a moment of trouble waited for the next start.
    monkeypatch.setattr(folder_module, "AGAIN_S", 0.05)

    async def act() -> None:
        await until(lambda: spool.watches() == 1)
        part = spool.path / "clip.mp4.part"
        part.write_bytes(b"content")
        fd = os.open(part, os.O_RDONLY)
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)  # as a file server holds one: an open would have to wait
        part.rename(spool.path / "clip.mp4")
        await until(lambda: spool.refused != [])
        assert spool.paths() == []
        os.close(fd)
        await until(lambda: spool.paths() == ["clip.mp4"])

    spool.run(act)
    assert [refusal.reason for refusal in spool.refused] == ["not opened: Resource temporarily unavailable"]


def test_file_that_comes_again_is_offered_again(spool: Watched, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "AGAIN_S", 0.01)
    spool.put(NAME)

    async def act() -> None:
        await until(lambda: spool.paths() == [NAME])
        spool.source.again(NAME)
        spool.source.reconsider()
        await until(lambda: spool.paths().count(NAME) >= 2)

    spool.run(act)


def test_unchanged_folders_are_not_read_again(spool: Watched, until: Until) -> None:
    spool.put(NAME)
    asked: list[str] = []

    async def fresh(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        asked.extend(item.path for item in candidates)
        return ()

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(spool.source.run(spool.offer, fresh))
            await until(lambda: len(asked) == 1)
            for _ in range(4):
                await spool.source.scan(spool.offer, fresh)
            running.cancel()

    asyncio.run(both())
    assert asked == [NAME, NAME]


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def file_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def link_at(path: Path) -> None:
    file_at(path.with_name(".target"))
    path.symlink_to(".target")


def device_at(path: Path) -> None:
    if os.geteuid() == 0:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    else:  # only root makes devices; the rule is the same
        os.mkfifo(path)


Plant = Callable[[Path, Path], object]
"""(the source's folder, a file outside it) → something that must not be taken."""

HOSTILE: dict[str, tuple[str, Plant]] = {
    "symlink": ("symbolic link", lambda spool, _: link_at(spool / "a.mp4")),
    "symlink-out": ("symbolic link", lambda spool, secret: (spool / "a.mp4").symlink_to(secret)),
    "symlink-folder": ("symbolic link", lambda spool, secret: (spool / "cam").symlink_to(secret.parent)),
    "fifo": ("not a plain file", lambda spool, _: os.mkfifo(spool / "a.mp4")),
    "socket": ("not a plain file", lambda spool, _: socket_at(spool / "a.mp4")),
    "device": ("not a plain file", lambda spool, _: device_at(spool / "a.mp4")),
    "hardlink": ("hard link", lambda spool, secret: (spool / "a.mp4").hardlink_to(secret)),
    "control": ("control", lambda spool, _: file_at(spool / "a\n\x1b[31m.mp4")),
    "direction": ("control", lambda spool, _: file_at(spool / "a\u202e4pm.mp4")),
    "not-utf8": ("UTF-8", lambda spool, _: file_at(spool / "a\udcff.mp4")),
    "long": ("longer than", lambda spool, _: file_at(spool / ("d" * 250) / ("e" * 250) / ("f" * 100 + ".mp4"))),
    "deep": ("deeper than", lambda spool, _: file_at(spool / "/".join("abcdefghijklmnop") / "a.mp4")),
    "impossible": ("impossible time", lambda spool, _: file_at(spool / "a/recording/2026-99-01T00-00-00Z.mp4")),
    "elsewhere": ("no pattern", lambda spool, _: file_at(spool / "a/b/c/d.mp4")),
    "elsewhere, in capitals": ("no pattern", lambda spool, _: file_at(spool / "a/b/c/D.MP4")),
    "of another kind": ("by its ending it is no recording", lambda spool, _: file_at(spool / "front/clip.avi")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_entry_is_told_once_and_the_rest_goes_on(spool: Watched, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file_at(outside / "secret.mp4")
    reason, plant = HOSTILE[what]
    plant(spool.path, outside / "secret.mp4")
    spool.put(NAME)
    spool.scan()
    spool.scan()
    assert set(spool.paths()) == {NAME}
    (told,) = [refusal.reason for refusal in spool.refused]
    assert reason in told


def test_memory_of_refusals_is_bounded(spool: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "REFUSED_KEPT", 10)
    for n in range(50):
        (spool.path / f"a\n{n}.mp4").write_bytes(b"x")
    spool.scan()
    assert len(spool.source._refused) == 10
    assert sum(spool.source.refusals.values()) == 50


def offered(spool: Watched, content: bytes = b"content") -> Candidate:
    spool.put("clip.mp4", content)
    spool.scan()
    (candidate,) = spool.offered
    return candidate


def test_file_replaced_after_the_offer_is_neither_opened_nor_removed(spool: Watched) -> None:
    candidate = offered(spool)
    spool.put("clip.mp4", b"another")
    with pytest.raises(IncompleteError, match="changed"):
        spool.root.open_file(candidate)
    assert not spool.root.give_up(candidate)
    assert (spool.path / "clip.mp4").read_bytes() == b"another"


def test_file_appended_after_the_offer_is_not_removed(spool: Watched) -> None:
    candidate = offered(spool)
    with (spool.path / "clip.mp4").open("ab") as out:
        out.write(b"more")
    with pytest.raises(IncompleteError, match="changed after it was read"):
        spool.root.give_up(candidate)
    assert (spool.path / "clip.mp4").exists()


def test_file_that_is_changed_in_place_and_gets_its_time_back_is_not_removed(spool: Watched) -> None:
    # As exiftool -P and rsync --inplace do: by size and time of last change it was the one that was read.
    candidate = offered(spool, b"before")
    file = spool.path / "clip.mp4"
    with file.open("r+b") as out:
        out.write(b"behind")
    os.utime(file, ns=(candidate.mtime_ns, candidate.mtime_ns))
    with pytest.raises(IncompleteError, match="changed after it was read"):
        spool.root.give_up(candidate)
    assert file.read_bytes() == b"behind"


def test_file_that_is_opened_for_writing_after_it_was_read_is_not_removed(spool: Watched) -> None:
    candidate = offered(spool)
    with (spool.path / "clip.mp4").open("r+b"), pytest.raises(IncompleteError, match="changed after it was read"):
        spool.root.give_up(candidate)
    assert [left.name for left in spool.path.iterdir()] == ["clip.mp4"]
    spool.scan()  # it was put aside and brought back, and is offered as it is now
    assert spool.root.give_up(spool.offered[-1])


def test_file_that_a_cut_left_aside_stands_there_by_its_own_name_and_is_removed(spool: Watched) -> None:
    candidate = offered(spool)
    aside = (spool.path / "clip.mp4").rename(spool.path / f"{ASIDE_PREFIX}clip.mp4")
    candidate = msgspec.structs.replace(candidate, ctime_ns=aside.stat().st_ctime_ns)  # as it would be offered now
    assert [found.path for found in spool.root.every_file()] == ["clip.mp4"]
    assert spool.root.describe("clip.mp4") is not None
    assert spool.root.give_up(candidate)
    assert not list(spool.path.iterdir())


def test_what_another_puts_aside_is_left_alone_where_nothing_is_taken(tmp_path: Path) -> None:
    spool = Watched(tmp_path / "spool", after="leave")
    (spool.path / f"{ASIDE_PREFIX}clip.mp4").write_bytes(b"another agent's")
    spool.scan()
    assert spool.paths() == []
    assert [left.name for left in spool.path.iterdir()] == [f"{ASIDE_PREFIX}clip.mp4"]


def test_file_open_for_writing_waits(spool: Watched) -> None:
    candidate = offered(spool)
    with (spool.path / "clip.mp4").open("r+b"), pytest.raises(IncompleteError, match="open for writing"):
        spool.root.open_file(candidate)
    os.close(spool.root.open_file(candidate))


def test_vanished_file_is_weather(spool: Watched) -> None:
    candidate = offered(spool)
    (spool.path / "clip.mp4").unlink()
    with pytest.raises(IncompleteError, match="vanished"):
        spool.root.open_file(candidate)
    assert not spool.root.give_up(candidate)


def test_file_with_another_name_beside_it_is_not_said_to_be_gone(spool: Watched, tmp_path: Path) -> None:
    candidate = offered(spool)
    (tmp_path / "backup.mp4").hardlink_to(spool.path / "clip.mp4")
    with pytest.raises(LinkError, match="more than one name"):
        spool.root.give_up(candidate)
    assert (spool.path / "clip.mp4").exists()


@as_root
def test_file_on_a_medium_that_went_is_not_said_to_be_gone(tmp_path: Path) -> None:
    spool = Watched(tmp_path / "spool")
    mount("-t", "tmpfs", "-o", "size=1m", "none", spool.path)
    candidate = offered(spool)
    unmount(spool.path)
    with pytest.raises(MediumError, match="another medium"):
        spool.root.give_up(candidate)


def test_folder_swapped_for_a_link_after_the_offer_is_not_followed(spool: Watched, tmp_path: Path) -> None:
    spool.put(NAME)
    spool.scan()
    (candidate,) = spool.offered
    (spool.path / "front").rename(tmp_path / "moved")
    (spool.path / "front").symlink_to(tmp_path / "moved")
    with pytest.raises(Exception, match="symbolic link"):
        spool.root.open_file(candidate)
    with pytest.raises(LinkError, match="symbolic link"):
        spool.root.give_up(candidate)
    assert (tmp_path / "moved/recording" / Path(NAME).name).exists()


def test_link_swapped_in_and_out_never_lets_anything_from_outside_through(spool: Watched, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret!")
    candidate = offered(spool)
    name = spool.path / "clip.mp4"
    kept = spool.path / "kept.bin"
    name.rename(kept)
    done = threading.Event()

    def swap() -> None:
        part = spool.path / "x.part"
        while not done.is_set():
            part.symlink_to(secret)
            part.rename(name)
            part.hardlink_to(kept)
            part.rename(name)
            name.unlink()
            kept.rename(name)
            name.rename(kept)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read = set()
    try:
        for _ in range(20_000):
            with contextlib.suppress(AgentError):
                fd = spool.root.open_file(candidate)
                read.add(os.read(fd, 100))
                os.close(fd)
    finally:
        done.set()
        swapper.join()
        assert read <= {b"content"}


def test_medium_said_to_be_tmpfs_must_be_one(tmp_path: Path) -> None:
    def of(path: Path, medium: Literal["tmpfs", "disk", "encrypted"]) -> SourceSettings:
        return SourceSettings(name="spool", kind="spool", path=path, medium=medium)

    with pytest.raises(ConfigError, match="not on a tmpfs") as caught:
        check_medium(of(Path("/proc"), "tmpfs"))
    assert "mount -t tmpfs" in caught.value.hint
    assert check_medium(of(Path("/dev/shm"), "tmpfs")) == ""  # noqa: S108 - the tmpfs that every Linux has
    assert "may remain" in check_medium(of(tmp_path, "disk"))
    assert check_medium(of(tmp_path, "encrypted")) == ""
    with pytest.raises(ConfigError, match="not on a tmpfs") as caught:
        check_medium(SourceSettings(name="nvr", kind="frigate", path=Path("/proc"), medium="tmpfs"))
    assert caught.value.hint == 'say what it is on: medium = "encrypted" or "disk"', "a mount would hide the recordings"
    left = SourceSettings(name="nvr", kind="frigate", path=tmp_path, medium="disk")
    assert check_medium(left) == "", "nothing is removed from what is left alone"
