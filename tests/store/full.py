"""A vault on a file system that is filled to its last byte; run by ``test_full_disk.py`` on a small tmpfs of its own.

It takes objects in until there is no room, lets something else eat what is left, deletes under these conditions, and
says at each point what it found. Words: the folder.
"""

import errno
import os
import sys
from pathlib import Path

from agent.errors import SpaceError
from agent.model import Object, Selection
from tests.store.home import Home, run

OBJECT_BYTES = 100_000


def fill(path: Path) -> None:
    """Take every free byte of the file system."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.close(fd)


def until_full(home: Home) -> list[Object]:
    kept: list[Object] = []
    try:
        while True:
            kept.append(run(home.keep(content=bytes(OBJECT_BYTES))))
    except SpaceError as error:
        print("refused with", type(error).__name__)
    return kept


def main(folder: Path) -> None:
    home = Home(folder / "vault")
    few = [run(home.keep()) for _ in range(300)]
    kept = until_full(home)
    fill(folder / "eaten")
    assert os.statvfs(folder).f_bavail == 0
    print("full after", len(kept) > 0)

    for found in kept[:3]:
        fill(folder / "eaten")  # whatever a delete gives back is eaten too
        assert run(home.erase(found.id))[found.id].result == "deleted"
        assert home.get(found.id) is None
    print("deleted one by one")

    fill(folder / "eaten")
    victims = [found.id for found in few[:250]]
    assert {outcome.result for outcome in run(home.erase(*victims)).values()} == {"deleted"}
    print("deleted many")

    for found in (*few[250:], *kept[3:]):
        assert len(home.slot_key(found.id)) == 16
    home.close()

    fill(folder / "eaten")
    home = Home(folder / "vault")
    assert home.vault.recover() <= 1  # the part file of the object that found no room
    run(home.resume())
    everything = home.index.read_now(lambda tx: home.vault.select(tx, Selection(all=True)))
    assert len(everything) == 50 + len(kept) - 3
    fill(folder / "eaten")
    assert {outcome.result for outcome in run(home.erase(*everything)).values()} == {"deleted"}
    assert list(home.vault.objects.iterdir()) == []
    print("deleted everything")

    (folder / "eaten").unlink()
    run(home.erase())
    run(home.keep())
    assert not home.index.short_of_room
    print("takes in again")
    home.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
