"""A stolen disk: without the keystore nothing of it opens or tells; with it, what was deleted does not open.

The disk is taken at cuts of the power between each two of the numbered steps of forgetting (docs/design.md). What the
thief gets out of it before step 5, who has every old page of the index too, shows that the thief can.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.app.parts import Parts
from agent.errors import AgentError
from agent.index import Index
from agent.keystore import SLOT_BYTES
from tests.flow.residue import Search, samples
from tests.loop import MEMORY, Disk, Kind
from tests.residue.device import CAMERA, CLIPS, Device, device_on, mounted
from tests.residue.known import Known, known
from tests.residue.thief import opened_by

STEPS = range(1, 8)
DESTROYED = 5
"""The step from whose end on no copy of the old root is left."""

SLOT_MAGIC = b"pv1-keystore-1\n\x00"


class Scene:
    """A device with some objects on a disk that is not mounted; ``before`` are its keys."""

    def __init__(self, disk: Disk, device: Device) -> None:
        self.disk = disk
        self.device = device
        with mounted(disk, device):
            device.fill(11, *CLIPS)
            device.take_in()
            self.victim = device.by_path()[CLIPS[0]]
            device.command("delete", "delete", select={"ids": [self.victim]})
            self.before = self._known()
        self._kept = disk.image.with_name("kept")
        _copy(disk.image, self._kept)

    def put_back(self) -> None:
        """Have the disk as it was made."""
        _copy(self._kept, self.disk.image)

    def _known(self) -> Known:
        found: list[Known] = []

        async def look(parts: Parts) -> None:
            found.append(known(parts))

        self.device.at_work(look, after_s=5)
        return found[0]

    def die_behind(self, step: int) -> None:
        """Delete, and cut the power behind a step."""
        pid = os.fork()
        if pid == 0:
            try:
                self._delete(step)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    def _delete(self, last: int) -> None:
        def at(step: int) -> None:
            if step == last:
                self.disk.cut()
                os.kill(os.getpid(), signal.SIGKILL)

        async def delete(parts: Parts) -> None:
            parts.erasure._at = at
            await self.device.tell(parts, "delete")

        self.device.at_work(delete, after_s=10)

    def finish(self) -> str:
        """Start again, and give the command again; return how its receipt ends."""
        told: list[str] = []

        async def ask(parts: Parts) -> None:
            told.append(await self.device.tell(parts, "delete"))
            held = [item.id for item in parts.index.read_now(parts.vault.page)]
            assert set(held) == self.device.objects.keys() - {self.victim}
            for object_id in held:
                assert self.device.open(parts, object_id) == self.device.objects[object_id]

        self.device.at_work(ask, after_s=60)
        return told[0]

    def keystore(self) -> bytes:
        return (self.device.state / "keystore").read_bytes()


def _copy(image: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", image, to], check=True)


@contextmanager
def scene(kind: Kind) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, device_on(Path(folder) / "made", kind) as (disk, device):
        yield Scene(disk, device)


@pytest.fixture
def _unmeasured(unmeasured: None) -> None:
    """Processes die here."""


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_disk_and_keystore_taken_at_a_cut_between_any_two_steps_open_nothing_deleted_once_its_root_is_destroyed(
    kind: Kind,
) -> None:
    with scene(kind) as stage:
        old_root = Search(pieces=stage.before.roots.values(), words=())
        gone = Search(
            pieces=[*stage.before.roots.values(), *stage.before.groups.values(), stage.before.files[stage.victim]],
            words=(),
        )
        for step in STEPS:
            stage.put_back()
            with mounted(stage.disk, stage.device):
                stage.die_behind(step)
            with mounted(stage.disk, stage.device):
                stolen = opened_by(stage.keystore(), stage.before)
            assert stolen == (stage.before.files if step < DESTROYED else {}), f"cut behind step {step}"
            hits = old_root.look_through(stage.disk.written(), place=stage.disk.image)
            assert bool(hits) == (step < DESTROYED), f"cut behind step {step}: {hits}"

            with mounted(stage.disk, stage.device):
                assert stage.finish() == "done"
                assert opened_by(stage.keystore(), stage.before) == {}
            assert gone.look_through(stage.disk.written(), place=stage.disk.image) == []


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_disk_without_its_keystore_opens_nothing_and_tells_no_camera_name_or_time(kind: Kind, tmp_path: Path) -> None:
    with scene(kind) as stage:
        names = _names(stage.device)
        words = (*names, *_times(stage.device))
        clear = [piece for content in stage.device.sources.values() for piece in samples(content)]
        keys = (*stage.before.own.values(), *stage.before.tree(), stage.device.owner.to_text().encode())
        everything = Search(pieces=[*keys, *clear], words=words)
        with mounted(stage.disk, stage.device):
            told = _dump(stage.device)
            assert all(name in told for name in (CAMERA, *(Path(path).name for path in CLIPS))), "there to be found"
            index = stage.device.state / "index.db"
            for other in (bytes(32), stage.before.own["tombstone"], *stage.before.roots.values()):
                with pytest.raises(AgentError):
                    Index(index, key=other).close()
        whole = list(stage.disk.written())
        found = everything.look_through(whole, place=stage.disk.image)
        assert {hit.what for hit in found} >= {stage.before.own["index"], *stage.before.roots.values()}, "it finds"
        stolen = _without_keystore(whole)
        assert everything.look_through(stolen, place=stage.disk.image) == []

        planted = Search(pieces=[], words=words)
        (tmp_path / "planted").write_bytes(b"x" * 1000 + names[0].encode() + b"y")
        assert planted.look([tmp_path / "planted"])


def _names(device: Device) -> tuple[str, ...]:
    """Return the names by which a camera and its files are known."""
    return (CAMERA, *(Path(path).name for path in device.sources), *(Path(path).stem for path in device.sources))


def _times(device: Device) -> tuple[str, ...]:
    """Return the times of recordings as texts that a program writes."""
    times = [datetime.strptime(Path(path).name[:19], "%Y-%m-%dT%H-%M-%S").replace(tzinfo=UTC) for path in CLIPS]
    assert device.sources.keys() >= set(CLIPS)
    return tuple(
        text for time in times for text in (time.isoformat()[:19], str(int(time.timestamp())), f"{time:%Y%m%d%H%M%S}")
    )


def _dump(device: Device) -> str:
    """Return every value of the index as text, as who has the key reads it."""
    found: list[str] = []

    async def read(parts: Parts) -> None:
        found.append(
            parts.index.read_now(
                lambda tx: "\n".join(
                    str(tx.execute(f'SELECT * FROM "{table}"'))  # noqa: S608 - the index's own tables
                    for (table,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                )
            )
        )

    device.at_work(read, after_s=6)
    return found[0]


def _without_keystore(whole: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return what lies on a disk whose keystore lies elsewhere: its two slots are blank."""
    blanked = 0
    taken = []
    for start, data in whole:
        bare = bytearray(data)
        at = bare.find(SLOT_MAGIC)
        while at >= 0:
            bare[at : at + SLOT_BYTES] = bytes(SLOT_BYTES)
            blanked += 1
            at = bare.find(SLOT_MAGIC)
        taken.append((start, bytes(bare)))
    assert blanked == 2
    return taken
