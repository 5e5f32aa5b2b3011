"""A disk without one free byte: nothing is lost, new data is refused, and deletes still go through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import SpaceError
from agent.index import Index, ballast, opening
from agent.model import Object, Selection
from tests.disk import as_root, fill, small_disk
from tests.failing import failing
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


@as_root
def test_log_that_waits_to_be_brought_home_takes_no_room_from_what_is_urgent(tmp_path: Path) -> None:
    """What the ballast gave up went into the index, for pages from before the disk was full."""
    with small_disk(tmp_path / "disk", size="48m") as disk:
        index = Index(disk / "index.db", key=bytes(32))
        index.write_now(lambda tx: tx.execute("CREATE TABLE note (text BLOB NOT NULL) STRICT"))
        run(index.truncate_log())
        for _number in range(30):
            index.write_now(lambda tx: tx.execute("INSERT INTO note VALUES (zeroblob(120000))"))
        assert (disk / "index.db").stat().st_size < 1024 * 1024, "it is in the log alone"
        fill(disk / "eaten")
        for _number in range(100):
            index.write_now(lambda tx: tx.execute("INSERT INTO note VALUES (zeroblob(20000))"), urgent=True)
        assert not index.room_is_for_deletes
        run(index.truncate_log())
        index.close()


@as_root
def test_index_that_grew_has_room_to_write_down_what_a_delete_of_all_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids of a hundred thousand objects did not fit into what was kept back, whatever the vault held."""
    monkeypatch.setattr(ballast, "BALLAST_BYTES", 256 * 1024)
    monkeypatch.setattr(ballast, "PIECE_BYTES", 32 * 1024)
    with small_disk(tmp_path / "disk", size="48m") as disk:
        index = Index(disk / "index.db", key=bytes(32))
        index.write_now(lambda tx: tx.execute("CREATE TABLE note (text BLOB NOT NULL) STRICT"))
        for _number in range(16):
            index.write_now(lambda tx: tx.execute("INSERT INTO note VALUES (zeroblob(1048576))"))
        run(index.truncate_log())
        fill(disk / "eaten")
        large = bytes(600 * 1024)
        with pytest.raises(SpaceError):
            index.write_now(lambda tx: tx.execute("INSERT INTO note VALUES (?)", (large,)))
        index.write_now(lambda tx: tx.execute("INSERT INTO note VALUES (?)", (large,)), urgent=True)
        short = [index.short_of_room]
        (disk / "eaten").unlink()
        index.write_now(lambda tx: tx.execute("DELETE FROM note"))
        index.read_now(lambda _tx: None)  # it is taken again behind the commit
        short.append(index.short_of_room)
        assert short == [True, False]
        index.close()


@as_root
def test_index_of_an_older_version_is_brought_up_to_date_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did not open, so that nothing could be deleted, while the ballast lay there."""
    with small_disk(tmp_path / "disk", size="32m") as disk:
        Index(disk / "index.db", key=bytes(32)).close()
        fill(disk / "eaten")
        more = (*opening.MIGRATIONS["audit"], "CREATE TABLE later AS SELECT zeroblob(100000) AS a;")
        monkeypatch.setitem(opening.MIGRATIONS, "audit", more)
        index = Index(disk / "index.db", key=bytes(32))
        assert index.short_of_room
        assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM later")) == [(1,)]
        index.close()

        more = (*more, "CREATE TABLE huge AS SELECT zeroblob(30000000) AS a;")
        monkeypatch.setitem(opening.MIGRATIONS, "audit", more)
        with pytest.raises(SpaceError, match="free space"):
            Index(disk / "index.db", key=bytes(32))


QUOTA = """
import sys
from pathlib import Path
from agent.errors import SpaceError
from agent.index import Index
index = Index(Path(sys.argv[1]), key=bytes(32))
for number in range(40):
    try:
        index.write_now(lambda tx: tx.execute("CREATE TABLE quota_%d AS SELECT zeroblob(9000) AS a" % number))
    except SpaceError:
        print("refused", number)
print(len(index.read_now(lambda tx: tx.execute("SELECT 1 FROM sqlite_schema WHERE name LIKE 'quota_%'"))))
index.close()
"""


def test_quota_that_is_used_up_refuses_new_data_as_a_full_disk_does(tmp_path: Path) -> None:
    """SQLite takes it for a medium that failed, which ended the agent."""
    index = tmp_path / "index.db"
    Index(index, key=bytes(32)).close()
    medium = failing(tmp_path / "index.db-wal", "pwrite64=EDQUOT:when=60..63")
    ran = subprocess.run([*medium, sys.executable, "-c", QUOTA, index], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    *refused, kept = ran.stdout.splitlines()
    assert refused
    assert int(kept) == 40 - len(refused)


MIGRATION = """
import sys
from pathlib import Path
from agent.errors import AgentError
from agent.index import Index, opening
later = "CREATE TABLE later AS SELECT zeroblob(100000) AS a;"
opening.MIGRATIONS["audit"] = (*opening.MIGRATIONS["audit"], later)
try:
    index = Index(Path(sys.argv[1]), key=bytes(32))
    print("opened", index.read_now(lambda tx: tx.execute("SELECT count(*) FROM later")))
    index.close()
except AgentError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("fault", "told"), [("pwrite64=EDQUOT:when=3", "opened [(1,)]"), ("fdatasync=EIO:when=1", "LinkError")]
)
def test_migration_takes_a_quota_for_a_full_disk_and_leaves_the_log_where_a_sync_failed(
    tmp_path: Path, fault: str, told: str
) -> None:
    """Of the one it said to look at the disk, and behind the other the close brought the log home and removed it."""
    index = tmp_path / "index.db"
    Index(index, key=bytes(32)).close()
    medium = failing(tmp_path / "index.db-wal", fault)
    ran = subprocess.run([*medium, sys.executable, "-c", MIGRATION, index], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == told, ran.stderr
    assert (tmp_path / "index.db-wal").exists() == (told == "LinkError")
