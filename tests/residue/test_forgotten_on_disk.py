"""Whatever ends an object, nothing of it lies on the raw disk: deleted, withdrawn, too old, or everything erased.

The disk is searched page by page, unmounted, so that free blocks, journals and the file system's own tables are looked
at too. What is promised where: the agent's own writes never hold a clear byte of a source, whatever the medium; of the
software keystore the old root is overwritten in place, and on these file systems reaches no other block. The spool lies
in memory; of one on a disk the clear blocks remain, unless it is mounted with ``discard``, which the last test shows.
The others mount without it: free blocks keep what was ever in them.
"""

import os
import tempfile
from pathlib import Path

import pytest

from agent.app.parts import Parts
from tests.flow.residue import Hit, Search, samples
from tests.loop import MEMORY, Disk, Kind
from tests.residue.device import CAMERA, CLIPS, DAY_S, FILES, LOG, PHOTO, Device, device_on, mounted
from tests.residue.known import Known, known


class Life:
    """A device and what was destroyed so far; each step opens it at another time."""

    def __init__(self, disk: Disk, device: Device) -> None:
        self.disk = disk
        self.device = device
        self.keys: list[Known] = []

    def look(self, after_s: float) -> Known:
        """Note every key that there is."""

        async def note(parts: Parts) -> None:
            self.keys.append(known(parts))

        self.device.at_work(note, after_s=after_s)
        return self.keys[-1]

    def destroyed(self) -> Search:
        """Look for every key that was there and is not, and for whatever was clear and never may be there."""
        now = self.keys[-1]
        left = set(now.tree())
        return self._search(*(key for known in self.keys for key in known.tree() if key not in left))

    def everything(self) -> Search:
        """Look for every key that there ever was, the device's own too."""
        return self._search(*(key for known in self.keys for key in (*known.tree(), *known.own.values())))

    def _search(self, *keys: bytes) -> Search:
        clear = [piece for content in self.device.sources.values() for piece in samples(content)]
        assert len(clear) > 10
        names = [CAMERA, *(Path(path).stem for path in FILES)]
        return Search(pieces=[*keys, *clear], words=names)

    def hits(self, search: Search) -> list[Hit]:
        found = search.look_through(self.disk.written(), place=self.disk.image)
        assert search.size_bytes > 1_000_000
        return found


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_nothing_of_what_was_deleted_withdrawn_or_outlived_its_time_is_on_the_disk(kind: Kind) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, device_on(Path(folder) / "made", kind) as (disk, device):
        life = Life(disk, device)
        first = _take_in(life)
        ids = device.by_path()
        assert {hit.what for hit in life.hits(life.everything())} == {*first.roots.values(), *first.own.values()}

        with mounted(disk, device):
            device.order("delete", "delete", after_s=20, select={"ids": [ids[CLIPS[0]]]})
            _tell(device, "delete", after_s=20)
            assert _gone(first, life.look(25)) == {ids[CLIPS[0]]}
        assert life.hits(life.destroyed()) == []

        with mounted(disk, device):
            device.order("withdraw", "withdraw", after_s=30, purpose="analytics")
            _tell(device, "withdraw", after_s=30)
            assert _gone(first, life.look(35)) == {ids[CLIPS[0]], ids[LOG]}
        assert life.hits(life.destroyed()) == []

        with mounted(disk, device):
            for after_s in (4 * DAY_S, 4 * DAY_S + 10):
                device.at_work(_pass, after_s=after_s)
            assert _gone(first, life.look(4 * DAY_S + 20)) == {ids[CLIPS[0]], ids[LOG], ids[PHOTO]}
        assert life.hits(life.destroyed()) == []

        with mounted(disk, device):
            device.order("leave", "erase-all", after_s=5 * DAY_S)

            async def leave(parts: Parts) -> None:
                await device.leave(parts, "leave")

            device.at_work(leave, after_s=5 * DAY_S)
            assert not (device.state / "index.db").exists()
        assert life.hits(life.everything()) == []


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_clear_file_that_was_removed_is_found_in_the_free_blocks_of_a_disk_without_discard(kind: Kind) -> None:
    """What the search is worth, and what the mount option is."""
    content = os.urandom(50_000)
    search = Search(pieces=samples(content), words=())
    for discard in (False, True):
        with (
            tempfile.TemporaryDirectory(dir=MEMORY) as folder,
            Disk(Path(folder) / "made", kind, discard=discard) as disk,
        ):
            (disk.top / "clip.mp4").write_bytes(content)
            disk.unmount()
            assert {hit.what for hit in search.look_through(disk.written(), place=disk.image)} == set(samples(content))
            disk.mount()
            (disk.top / "clip.mp4").unlink()
            disk.unmount()
            assert bool(search.look_through(disk.written(), place=disk.image)) == (not discard)


def _take_in(life: Life) -> Known:
    """Say yes to the purpose that the log needs, have the camera record, and take all of it in."""
    device = life.device
    with mounted(life.disk, device):
        device.order("yes", "consent", after_s=2, purpose="analytics", decision="given")
        _tell(device, "yes", after_s=2)
        device.fill(5, *FILES)
        device.take_in()
        first = life.look(10)
    assert first.files.keys() == set(device.by_path().values())
    assert len(first.files) == len(FILES)
    return first


def _tell(device: Device, name: str, *, after_s: float) -> None:
    async def tell(parts: Parts) -> None:
        assert await device.tell(parts, name) == "done"

    device.at_work(tell, after_s=after_s)


async def _pass(parts: Parts) -> None:
    await parts.retention.run_pass(parts.now(), parts.disk())


def _gone(before: Known, now: Known) -> set[str]:
    """Return whose keys are gone; no root or group key may be what it was."""
    assert not set(now.roots.values()) & set(before.roots.values())
    return before.files.keys() - now.files.keys()
