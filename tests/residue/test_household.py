"""After a delete nothing of it is in any place: the disk, the broker's store, the cloud's, every log, a new process.

The programs are real and each a process of its own; agent, broker and cloud write to one disk, which is searched page
by page at the end. The owner's own home, where names may stand, and the spool are not on it.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from agent.app.parts import opened
from agent.clock import system_clock
from agent.config import parse_config
from tests.commands.office import run
from tests.flow.house import DEVICE, TENANT, House
from tests.flow.residue import Search, samples
from tests.loop import MEMORY, Disk
from tests.residue.known import Known, known
from tests.residue.memory import memory_of
from tests.waiting import until

TOPIC = f"pv1/{TENANT}/{DEVICE}"


def test_nothing_of_a_deleted_recording_is_on_disk_or_in_a_broker_a_cloud_a_log_or_a_new_process() -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, Disk(Path(folder) / "made", "ext4") as disk:
        with _house(disk.top / "house", owner=Path(folder) / "owner") as house:
            house.start_cloud()
            house.start_agent()
            clips = {seed: house.record(seed=seed) for seed in (1, 2, 3)}
            names = [f"{house.recorded + timedelta(minutes=seed):%Y-%m-%dT%H-%M-%S}.000Z_2s" for seed in clips]
            held = house.one("uploaded", count=3)
            until(lambda: not list(house.spool.rglob("*.mp4")), what="the spool given up")
            house.stop("agent")
            before = _keys(house)
            house.start_agent()
            whole = _search(before, clips, names, of=set(before.tree()))
            in_use = {hit.what for hit in whole.look_through(_memory(house), place=Path("memory"))}
            assert in_use >= set(before.roots.values()), "the search finds what is in use"

            victim = held[0]["id"]
            moment = datetime.fromisoformat(held[0]["captured_from"])
            name = f"{moment:%Y-%m-%dT%H-%M-%S}.000Z_2s"
            assert name in names
            receipt = house.owner_json("delete", victim, "--yes")
            assert (receipt["status"], receipt["outcomes"][0]["result"]) == ("done", "deleted")
            house.stop("agent")
            after = _keys(house)
            assert before.files.keys() - after.files.keys() == {victim}
            gone = set(before.tree()) - set(after.tree())
            assert before.files[victim] in gone
            house.start_agent()
            search = _search(before, clips, [name], of=gone)
            assert search.look_through(_memory(house), place=Path("memory")) == []
            for name in ("agent", "cloud"):
                house.stop(name)
            assert house.broker is not None
            house.broker.stop()
            kept = house.folder / "broker" / "mosquitto.db"
            assert kept.stat().st_size > 0
        disk.unmount()
        topic = Search(pieces=[], words=[TOPIC])
        assert topic.look_through(disk.written(), place=disk.image), "the search finds what a broker keeps"
        search = _search(before, clips, names, of=gone)
        assert search.look_through(disk.written(), place=disk.image) == []
        assert search.size_bytes > 2_000_000


class Apart(House):
    """A house whose owner keeps their keys elsewhere; nothing of them was ever on its disk."""

    def __init__(self, folder: Path, *, owner: Path) -> None:
        super().__init__(folder)
        self.home = owner

    def furnish(self) -> None:
        self.set_up()


@contextmanager
def _house(folder: Path, *, owner: Path) -> Iterator[House]:
    folder.mkdir(mode=0o700)
    with Apart(folder, owner=owner) as house:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "none", house.spool], check=True)
        try:
            yield house
        finally:
            subprocess.run(["umount", "--lazy", house.spool], check=True)


def _keys(house: House) -> Known:
    """Read the device's keys while the agent does not run."""

    async def read() -> Known:
        config = parse_config(house.config.read_bytes(), file=house.config)
        async with opened(config, read_clock=system_clock()) as parts:
            return known(parts)

    return run(read())


def _memory(house: House) -> Iterator[tuple[int, bytes]]:
    return memory_of(house.process("agent").pid)


def _search(before: Known, clips: dict[int, bytes], names: list[str], *, of: set[bytes]) -> Search:
    assert before.files
    clear = [piece for content in clips.values() for piece in samples(content)]
    assert len(clear) > 30
    return Search(pieces=[*of, *clear], words=names)
