"""A disk without one free byte: nothing is lost, new data is refused, and deletes still go through."""

import os
from pathlib import Path

from agent.errors import SpaceError
from agent.model import Object, Selection
from tests.disk import as_root, fill, small_disk
from tests.store.home import Home, run

OBJECT_BYTES = 100_000


def until_full(home: Home) -> list[Object]:
    kept: list[Object] = []
    try:
        while True:
            kept.append(run(home.keep(content=bytes(OBJECT_BYTES))))
    except SpaceError:
        return kept


@as_root
def test_full_disk_refuses_new_data_and_still_deletes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="32m") as disk:
        eaten = disk / "eaten"
        home = Home(disk / "vault")
        few = [run(home.keep()) for _ in range(300)]
        kept = until_full(home)
        assert kept, "there was room for some"
        fill(eaten)
        assert os.statvfs(disk).f_bavail == 0

        for found in kept[:3]:
            fill(eaten)  # whatever a delete gives back is eaten too
            assert run(home.erase(found.id))[found.id].result == "deleted"
            assert home.get(found.id) is None

        fill(eaten)
        victims = [found.id for found in few[:250]]
        assert {outcome.result for outcome in run(home.erase(*victims)).values()} == {"deleted"}

        for found in (*few[250:], *kept[3:]):
            assert len(home.slot_key(found.id)) == 16
        home.close()

        fill(eaten)
        home = Home(disk / "vault")
        assert home.vault.recover() <= 1  # the part file of the object that found no room
        run(home.resume())
        everything = home.index.read_now(lambda tx: home.vault.select(tx, Selection(all=True)))
        assert len(everything) == 50 + len(kept) - 3
        fill(eaten)
        assert {outcome.result for outcome in run(home.erase(*everything)).values()} == {"deleted"}
        assert list(home.vault.payloads.folder.iterdir()) == []

        eaten.unlink()
        run(home.erase())
        run(home.keep())
        assert not home.index.short_of_room
        home.close()
