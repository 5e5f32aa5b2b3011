"""The encrypted file: what it demands, how commits are shared, what a wrong key or a second process gets."""

import asyncio
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import apsw
import pytest

from agent import collection, enrolment, rights
from agent.errors import ConfigError, CorruptError, SpaceError
from agent.index import Index, IndexLostError, Tx, connection, opening, outbox
from agent.index import erasure as erasure_rows
from agent.index import tombstone as tombstone_rows
from agent.index import vault as vault_rows
from agent.index.ballast import BALLAST_BYTES, SHARE, Ballast
from agent.index.connection import HOME_PAGES, LOG_PAGES_MAX
from agent.model import Moment
from tests.waiting import until

KEY = bytes(range(32))
BRING_HOME = "PRAGMA wal_checkpoint(PASSIVE)"


def opened(folder: Path, key: bytes = KEY) -> Index:
    return Index(folder / "index.db", key=key)


def make_table(tx: Tx) -> None:
    tx.execute("CREATE TABLE note (text TEXT UNIQUE)")


def put(text: str) -> Callable[[Tx], None]:
    def insert(tx: Tx) -> None:
        tx.execute("INSERT INTO note VALUES (?)", (text,))

    return insert


def with_vault_of(version: int) -> dict[str, tuple[str, ...]]:
    """Return the scripts of when the vault had so many: a correction then took the place of an object's name."""
    own, corrections = opening.MIGRATIONS["vault"][:version], opening.MIGRATIONS["rectification"][:2]
    return {**opening.MIGRATIONS, "vault": own, "rectification": corrections}


def notes(tx: Tx) -> list[str]:
    return [row[0] for row in tx.execute("SELECT text FROM note ORDER BY text")]


def test_new_index_is_private_and_tells_a_reader_of_the_disk_nothing(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    index.write_now(put("marker-of-a-recording"))
    for name in ("index.db", "index.db-wal", "index.db.ballast"):
        path = tmp_path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
        assert b"marker" not in path.read_bytes()
        assert b"SQLite format" not in path.read_bytes()
        assert b"CREATE TABLE" not in path.read_bytes()
    index.close()


def test_settings_are_read_back_from_the_connection(tmp_path: Path) -> None:
    index = opened(tmp_path)
    asked = ("journal_mode", "synchronous", "secure_delete", "temp_store", "foreign_keys", "locking_mode", "cipher")
    found = index.read_now(lambda tx: {name: tx.execute(f"PRAGMA {name}")[0][0] for name in asked})
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "temp_store": 2,
        "foreign_keys": 1,
        "locking_mode": "exclusive",
        "cipher": "chacha20",
    }
    index.close()


def test_setting_that_does_not_take_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_SETTINGS", (("synchronous", "NORMAL", 2),))
    with pytest.raises(ConfigError, match=r"did not take synchronous=NORMAL"):
        opened(tmp_path)


def test_wrong_key_is_refused_with_the_next_step(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(ConfigError, match=r"next: put back the keystore"):
        opened(tmp_path, bytes(32))


def test_second_opening_is_refused_while_the_first_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_LOCK_WAIT_MS", 1)
    index = opened(tmp_path)
    with pytest.raises(ConfigError, match=r"another process has the vault open"):
        opened(tmp_path)
    index.close()
    opened(tmp_path).close()


def test_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(lambda tx: tx.execute("UPDATE schema_part SET version = version + 1 WHERE owner = 'vault'"))
    index.close()
    before = (tmp_path / "index.db").read_bytes()
    with pytest.raises(ConfigError, match=r"newer version"):
        opened(tmp_path)
    assert (tmp_path / "index.db").read_bytes() == before


def test_missing_migrations_run_once_and_keep_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).close()
    more = (*opening.MIGRATIONS["audit"], "CREATE TABLE later (a INTEGER); INSERT INTO later VALUES (1), (2);")
    monkeypatch.setitem(opening.MIGRATIONS, "audit", more)
    for _ in range(2):
        index = opened(tmp_path)
        assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM later")) == [(2,)]
        index.close()


def test_migration_brings_no_log_home_inside_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite did, before it was told not to, and said nothing of a sync that failed there.
    monkeypatch.setattr(connection, "_QUIET_S", 600)
    (killed := tmp_path / "killed").mkdir()
    index = opened(tmp_path)
    fill_log(index, HOME_PAGES, then=lambda: None)
    for path in tmp_path.glob("index.db*"):
        shutil.copy(path, killed)  # as it lies there behind a kill
    index.close()
    more = (*opening.MIGRATIONS["audit"], "CREATE TABLE later (a INTEGER);")
    monkeypatch.setitem(opening.MIGRATIONS, "audit", more)
    before = (killed / "index.db").read_bytes()
    index = opened(killed)
    assert (killed / "index.db").read_bytes() == before  # behind the first call it may come home
    assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM later")) == [(0,)]
    index.close()


def test_flipped_page_is_named_as_damage(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    for number in range(300):
        index.write_now(put(f"{number:0200}"))
    index.close()
    path = tmp_path / "index.db"
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises((CorruptError, ConfigError), match=r"next: "):  # noqa: PT012 - which statement meets it is SQLite's
        index = opened(tmp_path)
        try:
            index.read_now(notes)
        finally:
            index.close()


def test_writes_that_wait_together_share_commits_and_each_keeps_its_own_result(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)

    async def work() -> list[object]:
        names = [f"{number:03}" for number in range(200)] + ["007"]  # the last one breaks the unique rule
        return await asyncio.gather(*(index.write(put(name)) for name in names), return_exceptions=True)

    before = index.commits
    results = asyncio.run(work())
    assert [type(result) for result in results[:-1]] == [type(None)] * 200
    assert isinstance(results[-1], apsw.ConstraintError)
    assert len(index.read_now(notes)) == 200
    assert index.commits - before < 20
    index.close()


class Recording:
    """A connection that remembers how transactions begin and end."""

    def __init__(self, real: apsw.Connection) -> None:
        self.real = real
        self.said: list[str] = []

    def execute(self, sql: str, *rest: object) -> object:
        if sql.split(maxsplit=1)[0] in {"BEGIN", "SAVEPOINT", "COMMIT"}:
            self.said.append(sql.split(maxsplit=1)[0])
        return self.real.execute(sql, *rest)  # type: ignore[arg-type] # as it came

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


def test_large_write_is_alone_in_its_commit_and_not_within_a_savepoint(tmp_path: Path) -> None:
    """There each statement ended with a walk over all that the savepoint had saved: seconds for two thousand."""
    index = opened(tmp_path)
    index.write_now(make_table)
    real = index._connection
    recording = Recording(real)
    index._connection = recording  # type: ignore[assignment] # it does what the real one does

    gate = threading.Event()
    index._submit("read", lambda _tx: gate.wait(60))  # what is asked meanwhile is served together
    asked = [index._submit("write", put(name), large=name == "large") for name in ("one", "large", "two")]
    gate.set()
    for answer in asked:
        answer.result(20)
    assert recording.said[1:] == ["BEGIN", "SAVEPOINT", "SAVEPOINT", "COMMIT", "BEGIN", "COMMIT"]
    index._connection = real
    assert index.read_now(notes) == ["large", "one", "two"]
    index.close()


def test_write_that_raises_is_undone_alone(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)

    def half(tx: Tx) -> None:
        tx.execute("INSERT INTO note VALUES ('half')")
        raise LookupError

    async def work() -> object:
        writes = (index.write(fn) for fn in (put("before"), half, put("after")))
        return (await asyncio.gather(*writes, return_exceptions=True))[1]

    assert isinstance(asyncio.run(work()), LookupError)
    assert index.read_now(notes) == ["after", "before"]
    index.close()


def test_read_never_sees_what_is_not_durable(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    index.read_now(put("by a read"))
    assert index.read_now(notes) == []
    index.close()


def test_transaction_used_after_its_end_is_a_callers_mistake(tmp_path: Path) -> None:
    index = opened(tmp_path)
    kept: list[Tx] = []
    index.read_now(kept.append)
    with pytest.raises(AssertionError, match="after its end"):
        kept[0].execute("SELECT 1")
    index.close()


def test_truncated_log_is_empty_and_nothing_is_lost(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    index.write_now(put("kept"))
    assert (tmp_path / "index.db-wal").stat().st_size > 0
    asyncio.run(index.truncate_log())
    assert (tmp_path / "index.db-wal").stat().st_size == 0
    index.close()
    index = opened(tmp_path)
    assert index.read_now(notes) == ["kept"]
    index.close()


def fill_log(index: Index, pages: int, *, then: Callable[[], object]) -> None:
    """Let the log grow by some more pages than these, and something happen behind the commit, on the index's thread."""

    def insert(tx: Tx) -> None:
        tx.execute("CREATE TABLE much (value BLOB)")
        tx.execute("INSERT INTO much VALUES (zeroblob(?))", (pages * 4096,))
        tx.then(then)

    index.write_now(insert)


def test_log_is_brought_home_when_nobody_asks_for_anything_and_not_inside_a_commit(tmp_path: Path) -> None:
    index = opened(tmp_path)
    home = tmp_path / "index.db"
    asyncio.run(index.truncate_log())
    before = home.stat().st_size
    at_commit: list[int] = []
    fill_log(index, HOME_PAGES, then=lambda: at_commit.append(home.stat().st_size))
    until(lambda: home.stat().st_size > HOME_PAGES * 4096, what="the log brought home")
    assert at_commit == [before]
    index.close()


def test_log_is_brought_home_at_the_latest_when_the_ballast_has_no_more_room_for_it(tmp_path: Path) -> None:
    index = opened(tmp_path)
    home = tmp_path / "index.db"
    asyncio.run(index.truncate_log())
    next_ones: list[Future[int]] = []

    def ask_at_once() -> None:
        next_ones.append(index._submit("read", lambda _tx: home.stat().st_size))

    fill_log(index, BALLAST_BYTES // 2 // 4096, then=ask_at_once)
    assert next_ones[0].result() > BALLAST_BYTES // 2
    index.close()


def test_log_of_a_large_index_is_as_long_as_its_ballast_has_room_for_and_of_a_full_disk_short(tmp_path: Path) -> None:
    home = tmp_path / "index.db"
    with home.open("wb") as large:
        large.truncate(10 * BALLAST_BYTES * SHARE)
    ballast = Ballast(tmp_path / "index.db.ballast", index=home)
    assert ballast.log_bytes == BALLAST_BYTES // 2
    ballast.take()
    assert ballast.log_bytes == 10 * BALLAST_BYTES // 2
    home.unlink()
    index = opened(tmp_path)
    index._ballast = ballast
    assert index._log_pages_max() == LOG_PAGES_MAX
    assert ballast.release()
    assert index._log_pages_max() == HOME_PAGES
    index.close()


def test_failed_sync_of_what_is_brought_home_ends_every_later_call(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    real = index._connection
    index._connection = Failing(real, apsw.IOError("disk I/O error"), times=1, at=BRING_HOME)  # type: ignore[assignment] # a medium that breaks, put in its place
    fill_log(index, BALLAST_BYTES // 2 // 4096, then=lambda: None)
    with pytest.raises(IndexLostError, match="must start anew"):
        index.write_now(put("lost"))
    index._connection = real
    home, log = tmp_path / "index.db", tmp_path / "index.db-wal"
    before = [path.read_bytes() for path in (home, log)]
    index.close()
    assert [path.read_bytes() for path in (home, log)] == before, "nor does the close try it again"
    index = opened(tmp_path)
    assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM much")) == [(1,)]
    index.close()


def test_log_that_finds_no_room_to_be_brought_home_loses_nothing_and_is_brought_later(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    real = index._connection
    failing = Failing(real, apsw.FullError("full"), times=2, at=BRING_HOME)
    index._connection = failing  # type: ignore[assignment] # a medium that breaks, put in its place
    fill_log(index, BALLAST_BYTES // 2 // 4096, then=lambda: None)
    for _ in range(3):
        assert index.read_now(notes) == []
    assert failing.times == 1, "reads wrote all of its pages again, each time"
    index.write_now(put("kept"))
    until(lambda: failing.times == 0, what="the next try")
    index.write_now(put("then"))
    until(lambda: (tmp_path / "index.db").stat().st_size > BALLAST_BYTES // 2, what="the log brought home")
    assert index.read_now(notes) == ["kept", "then"]
    index._connection = real
    index.close()


class Failing:
    """A connection that fails at one statement as a broken or full medium does."""

    def __init__(self, real: apsw.Connection, error: apsw.Error, *, times: int, at: str = "COMMIT") -> None:
        self.real, self.error, self.times, self.at = real, error, times, at

    def execute(self, sql: str, bindings: "apsw.Bindings | None" = None) -> object:
        if sql == self.at and self.times > 0:
            self.times -= 1
            raise self.error
        return self.real.execute(sql, bindings)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


def test_failed_fsync_ends_every_later_call_and_is_never_tried_again(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    real = index._connection
    index._connection = Failing(real, apsw.IOError("disk I/O error"), times=1)  # type: ignore[assignment] # a medium that breaks, put in its place
    with pytest.raises(IndexLostError, match="must start anew"):
        index.write_now(put("lost"))
    with pytest.raises(IndexLostError):
        index.write_now(put("later"))
    with pytest.raises(IndexLostError):
        index.read_now(notes)
    index._connection = real
    index.close()
    index = opened(tmp_path)
    assert index.read_now(notes) == []
    index.close()


def test_ballast_whose_sync_fails_ends_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    real = index._connection
    index._connection = Failing(real, apsw.FullError("full"), times=3)  # type: ignore[assignment] # a medium that breaks, put in its place

    def fails(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(IndexLostError):
        index.write_now(put("urgent"), urgent=True)
    monkeypatch.undo()
    with pytest.raises(IndexLostError):
        index.write_now(put("later"), urgent=True)
    index._connection = real
    index.close()


def test_full_disk_refuses_the_ordinary_and_gives_the_ballast_to_the_urgent(tmp_path: Path) -> None:
    index = opened(tmp_path)
    index.write_now(make_table)
    ballast = tmp_path / "index.db.ballast"
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    real = index._connection
    index._connection = Failing(real, apsw.FullError("full"), times=2)  # type: ignore[assignment] # a medium that breaks, put in its place
    with pytest.raises(SpaceError, match=r"next: free space"):
        index.write_now(put("ordinary"))
    assert not index.short_of_room
    index._connection = Failing(real, apsw.FullError("full"), times=2)  # type: ignore[assignment] # a medium that breaks, put in its place
    index.write_now(put("urgent"), urgent=True)
    assert index.read_now(notes) == ["urgent"]
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES  # the disk has room in truth, so it was taken again
    index._connection = real
    index.close()


def test_log_files_that_an_older_version_noted_beside_the_vault_are_known_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        tx.execute("INSERT INTO recipient_set VALUES (1, 'age1owner')")
        tx.execute(
            "INSERT INTO object VALUES (1, 'held', 'cam1', 'usage-log', 'support', 'nvr', 'text/plain', 'a', 7, 9, 1,"
            " 1, 1, x'', x'', 'file-key', 'sealed', 1, '', 'left', 'disk', 0, x'aa', x'cc')"
        )
        tx.execute("INSERT INTO tombstone VALUES (1, x'bb', x'dd', 'nvr', 5, 'owner_erase')")
        for tag, batch in (("01", "aa"), ("02", "aa"), ("03", "bb"), ("04", "ee")):
            tx.execute(f"INSERT INTO batch_member VALUES (x'{tag}', x'{batch}', 'any', 'path{tag}')")  # noqa: S608 - ours

    old = {**opening.MIGRATIONS, **{name: opening.MIGRATIONS[name][:1] for name in ("vault", "registry")}}
    del old["rectification"]  # its triggers look at what the vault has since
    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", old)
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    files = index.read_now(lambda tx: tx.execute("SELECT * FROM object_file ORDER BY source_tag"))
    assert files == [(1, b"\x01", b"", 7, "path01"), (1, b"\x02", b"", 7, "path02")]
    tombstones = index.read_now(lambda tx: tx.execute("SELECT source_tag, content_tag, rule FROM tombstone ORDER BY n"))
    assert tombstones == [(b"\xbb", b"\xdd", "owner_erase"), (b"\x03", b"", "owner_erase")]
    assert index.read_now(lambda tx: tx.execute("SELECT 1 FROM sqlite_schema WHERE name = 'batch_member'")) == []
    index.close()


def test_tombstones_of_an_older_version_go_on_refusing_and_its_marks_of_whole_sources_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        for n, rule in ((1, "owner_erase"), (2, "category.recording.keep.age")):
            tx.execute(f"INSERT INTO tombstone VALUES ({n}, x'0{n}', x'1{n}', 'nvr', 5, '{rule}')")  # noqa: S608 - ours
        tx.execute("INSERT INTO cutoff VALUES (1, 'nvr', '', '', NULL, NULL, 9, 'mark')")
        tx.execute("INSERT INTO cutoff VALUES (2, '', 'cam1', '', NULL, NULL, 9, 'owner_erase')")

    with monkeypatch.context() as patched:
        old = {**opening.MIGRATIONS, "vault": opening.MIGRATIONS["vault"][:2]}
        del old["rectification"]  # its triggers look at what the vault has since
        patched.setattr(opening, "MIGRATIONS", old)
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    found = index.read_now(lambda tx: tx.execute("SELECT n, asked, at_source, leaves FROM tombstone ORDER BY n"))
    assert found == [(1, 1, 1, 0), (2, 0, 1, 0)]
    assert index.read_now(lambda tx: tx.execute("SELECT camera, rule FROM cutoff")) == [("cam1", "owner_erase")]
    index.close()


def test_totals_of_an_older_version_know_what_waits_for_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(tx: Tx) -> None:
        tx.execute("INSERT INTO recipient_set VALUES (1, 'age1owner')")
        for n, state in enumerate(("sealed", "uploaded", "sealed", "erasing"), start=1):
            tx.execute(
                "INSERT INTO object VALUES (?1, 'id' || ?1, 'cam1', 'photo', 'p', 's', 'm', 'a', 7, 9, 1, 1, ?1 * 10,"
                " x'', x'', 'file-key', ?2, 1, '', 'left', 'disk', 0, x'', x'')",
                (n, state),
            )
        tx.execute("INSERT INTO total VALUES ('cam1', 'photo', 3, 60)")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", with_vault_of(4))
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    assert index.read_now(lambda tx: tx.execute("SELECT * FROM total")) == [("cam1", "photo", 3, 60, 2, 40)]
    index.close()


def test_words_of_an_older_version_stand_and_a_yes_counts_from_its_last_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        said = ((1, "photo", "withdrawn"), (2, "photo", "given"), (3, "photo", "given"), (4, "recording", "given"))
        for n, category, status in said:
            tx.execute(
                "INSERT INTO consent_record VALUES"
                " (?1, 'r' || ?1, 'p', ?2, ?3, ?1 * 10, 1, 'k', 'n', 'c', '', 0, x'7b7d')",
                (n, category, status),
            )
        for category, n in (("photo", 3), ("recording", 4)):
            tx.execute("INSERT INTO consent_word VALUES ('p', ?, 'given', ?)", (category, n))
        tx.execute("INSERT INTO consent_target VALUES ('p', 'photo', 'k', 5, 6)")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", {**opening.MIGRATIONS, "consent": opening.MIGRATIONS["consent"][:1]})
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    found = index.read_now(lambda tx: sorted(tx.execute("SELECT category, status, since_ms, before FROM consent_word")))
    assert found == [("photo", "given", 30, "withdrawn"), ("recording", "given", 40, None)]
    assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM consent_record")) == [(4,)]
    assert index.read_now(lambda tx: tx.execute("SELECT * FROM consent_newest")) == [("p", "photo", "k", 5, 6)]
    assert index.read_now(lambda tx: tx.execute("PRAGMA foreign_key_check")) == []
    (table,) = index.read_now(lambda tx: tx.execute("SELECT sql FROM sqlite_schema WHERE name = 'consent_word'"))[0]
    assert "_old" not in table
    index.close()


def test_retention_pass_of_an_older_version_is_the_last_one_and_its_ages_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        older = {"rights": opening.MIGRATIONS["rights"][:1], "policy": ()}
        patched.setattr(opening, "MIGRATIONS", {**opening.MIGRATIONS, **older})
        index = opened(tmp_path)
        index.write_now(lambda tx: tx.execute("INSERT INTO retention_pass VALUES (1, 'hash', 7, 'ask', 's', 0, 'h')"))
        index.close()
    index = opened(tmp_path)
    told = index.read_now(rights.last_pass)
    assert told == rights.Pass(ages=None, passed_ms=7, since_ms=7, waiting="ask", selection="s", asked_by="h")
    index.close()


def test_deletions_that_an_older_version_let_wait_at_cameras_name_no_content_and_the_cameras_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        tx.execute(
            "INSERT INTO source_erase (object, source, recording, state) VALUES ('gone', 'door', 'a', 'waiting')"
        )
        tx.execute("INSERT INTO recipient_set VALUES (1, 'age1owner')")
        columns = ", ".join(row[1] for row in tx.execute("PRAGMA table_info(object)"))
        tx.execute(
            f"INSERT INTO object ({columns}) VALUES (1, 'held', 'cam1', 'recording', 'p', 'door', 'm', 'b', 7, 9, 1, 1,"  # noqa: S608 - ours
            " 1, x'', x'', 'file-key', 'sealed', 1, '', 'asked', 'disk', 0, x'aa', x'cc', 5)"
        )

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", with_vault_of(-6))
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    assert index.read_now(lambda tx: erasure_rows.unnamed_copies(tx, "door", 9)) == ["gone"]
    index.write_now(lambda tx: erasure_rows.ask_source(tx, "held"))
    assert index.read_now(erasure_rows.waiting_copies) == [("door", 1)]
    assert not index.read_now(lambda tx: erasure_rows.is_asked(tx, "held"))
    index.close()


def test_objects_of_a_version_with_one_name_keep_it_as_their_sources_unless_it_was_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        tx.execute("INSERT INTO recipient_set VALUES (1, 'age1owner')")
        for n, (object_id, name) in enumerate({"as-taken": "a", "corrected": "Birthday", "erasing": "b"}.items()):
            tx.execute(
                "INSERT INTO object (n, id, camera, category, purposes, source, media_type, name, captured_from_ms,"
                " captured_to_ms, taken_in_ms, plain_bytes, size_bytes, payload_sha256, header_sha256, kind, state,"
                " recipient_set, upload, source_copy, medium, source_gone, source_tag, content_tag, source_sha256)"
                " VALUES (?1, ?2, 'cam1', 'recording', 'p', 'door', 'm', ?3, 7, 9, 1, 1, 1, x'', x'', 'file-key',"
                " 'sealed', 1, '', 'asked', 'disk', 0, CAST(?2 AS BLOB), x'cc', x'55')",
                (n, object_id, name),
            )
        tx.executemany(
            "INSERT INTO correction VALUES (?, 'object', 1, 9, '{}', 5)", (("corrected",), ("erasing",))
        )  # fmt: skip
        tx.executemany(
            "INSERT INTO source_erase (object, source, recording, state, card, sha256)"
            " VALUES (?, 'door', ?, 'waiting', 5, x'55')",
            (("erasing", "b"), ("gone", "c"), ("renamed", "Birthday of Ada"), ("unnamed", "")),
        )

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", with_vault_of(-2))
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    names = index.read_now(
        lambda tx: tx.execute("SELECT source_name, corrected_name, source_sha256 FROM object ORDER BY n")
    )
    assert names == [("a", None, b"\x55"), ("", "Birthday", b""), ("", "b", b"")]
    shown = {row[1]: row[-2] for row in index.read_now(lambda tx: vault_rows.page(tx, "", 9))}
    assert shown == {"as-taken": "a", "corrected": "Birthday", "erasing": "b"}
    asked = [index.read_now(partial(erasure_rows.is_asked, object_id=name)) for name in ("as-taken", "corrected")]
    assert asked == [True, False]
    assert sorted(index.read_now(lambda tx: erasure_rows.unnamed_copies(tx, "door", 9))) == [
        "erasing", "renamed", "unnamed",
    ]  # fmt: skip
    index.close()


@pytest.mark.parametrize(("looked_ms", "is_refused"), [(0, True), (9, True), (10, False)])
def test_cut_off_of_a_version_that_noted_no_clocks_covers_what_was_read_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_ms: int, *, is_refused: bool
) -> None:
    put = "INSERT INTO cutoff (camera, category, before_ms, rule) VALUES ('', '', 9, 'owner_erase')"
    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", with_vault_of(-1))
        index = opened(tmp_path)
        index.write_now(lambda tx: tx.execute(put))
        index.close()
    index = opened(tmp_path)
    found = index.read_now(
        lambda tx: tombstone_rows.cutoff(
            tx, camera="a", category="usage-log", captured_from_ms=8, captured_to_ms=9, doubt_ms=0, changed_ms=0,
            looked=(looked_ms, looked_ms),
        )
    )  # fmt: skip
    assert (found is not None) is is_refused
    index.close()


def test_camera_that_an_older_version_enrolled_is_enrolled_and_was_met_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        tx.execute("INSERT INTO camera (id, source, label) VALUES ('abcdefgh', 'camera-link', 'device')")
        tx.execute(
            "INSERT INTO enrolled_camera VALUES ('abcdefgh', 'device', 'proved', 'kid', x'', '', 'Door', x'07', 5)"
        )

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", {**opening.MIGRATIONS, "enrolment": opening.MIGRATIONS["enrolment"][:1]})
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    (known,) = index.read_now(enrolment.enrolled)
    assert (known.camera, known.name, known.advert_key) == ("abcdefgh", "Door", b"\x07")
    assert index.read_now(enrolment.served_at) == {}
    index.write_now(lambda tx: enrolment.keep_served_at(tx, "abcdefgh", host="192.0.2.1", port=8443))
    assert index.read_now(enrolment.served_at) == {"abcdefgh": ("192.0.2.1", 8443)}
    index.close()


def test_index_of_a_version_that_switched_no_camera_off_has_none_off_and_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = Moment(agent_ms=5, wall_ms=5, trusted=True)
    before = {owner: scripts for owner, scripts in opening.MIGRATIONS.items() if owner != "collection"}
    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", before)
        index = opened(tmp_path)
        index.write_now(lambda tx: tx.execute("INSERT INTO camera (id, source, label) VALUES ('abcdefgh', 's', 'l')"))
        index.close()
    for off in (frozenset(), frozenset({"abcdefgh"})):
        index = opened(tmp_path)
        assert index.read_now(collection.off_by_hand) == off
        index.write_now(lambda tx: collection.switch(tx, "abcdefgh", on=False, moment=moment))
        index.close()


def test_alert_that_an_older_version_left_goes_on_as_one_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(tx: Tx) -> None:
        tx.execute("INSERT INTO alert VALUES ('disk_full', 5, 7, 9)")
        for about, channel in (("alert/disk_full", "alert"), ("command", "rcpt/reader")):
            outbox.put(tx, reader="reader", about=about, jti=about, channel=channel, weight=1, body=b"x")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", {**opening.MIGRATIONS, "outbox": opening.MIGRATIONS["outbox"][:2]})
        index = opened(tmp_path)
        index.write_now(note)
        index.close()
    index = opened(tmp_path)
    assert index.read_now(outbox.alerts) == (("disk_full", 5, 7),)
    assert index.read_now(lambda tx: outbox.alert(tx, "disk_full", "")) == (5, 7, 9)
    waiting = index.read_now(lambda tx: outbox.pending(tx, after=0, limit=9))
    assert [one.about for one in waiting] == ["alert/disk_full/", "command"]
    index.close()
