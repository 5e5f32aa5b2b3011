"""How the encrypted file is opened, what is demanded of SQLite, and how its tables come to this version.

Rules: ChaCha20 under a raw key that is given before anything else; WAL, ``synchronous=FULL``, ``secure_delete=ON``,
``temp_store=MEMORY``, ``foreign_keys=ON`` and an exclusive lock, each read back: a setting that did not take is a
``ConfigError``, never a warning. The lock is the vault's lock: one process at a time. Each file of this package brings
its own migrations; all that are missing run in one transaction.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from agent.errors import ConfigError, CorruptError, LinkError, SpaceError
from agent.files import FILE_MODE
from agent.index import (
    approval,
    audit,
    bookmark,
    bundle,
    collection,
    consent,
    counting,
    damage,
    deadline,
    delivery,
    enrolment,
    farewell,
    freezing,
    integration,
    newest,
    outbox,
    pace,
    policy,
    rectification,
    registry,
    remaining,
    rights,
    scrub,
    service,
    tally,
    timeline,
    trust,
    vault_schema,
)

MIGRATIONS: Final[dict[str, tuple[str, ...]]] = {
    "audit": audit.MIGRATIONS,
    "vault": vault_schema.MIGRATIONS,
    "rights": rights.MIGRATIONS,
    "trust": trust.MIGRATIONS,
    "registry": registry.MIGRATIONS,
    "outbox": outbox.MIGRATIONS,
    "bundle": bundle.MIGRATIONS,
    "timeline": timeline.MIGRATIONS,
    "bookmark": bookmark.MIGRATIONS,
    "remaining": remaining.MIGRATIONS,
    "enrolment": enrolment.MIGRATIONS,
    "collection": collection.MIGRATIONS,
    "policy": policy.MIGRATIONS,
    "freezing": freezing.MIGRATIONS,
    "pace": pace.MIGRATIONS,
    "approval": approval.MIGRATIONS,
    "farewell": farewell.MIGRATIONS,
    "rectification": rectification.MIGRATIONS,
    "tally": tally.MIGRATIONS,
    "consent": consent.MIGRATIONS,
    "deadline": deadline.MIGRATIONS,
    "service": service.MIGRATIONS,
    "counting": counting.MIGRATIONS,
    "integration": integration.MIGRATIONS,
    "delivery": delivery.MIGRATIONS,
    "newest": newest.MIGRATIONS,
    "damage": damage.MIGRATIONS,
    "scrub": scrub.MIGRATIONS,
}
"""Scripts of each owner, oldest first; they are only ever appended to."""

_LOCK_WAIT_MS: Final = 2_000
"""How long a second process waits for the first to end: a restart overlaps by less."""

# What must be read back from the connection: (pragma, value to set, value expected).
_SETTINGS: Final[tuple[tuple[str, str, str | int], ...]] = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    ("temp_store", "MEMORY", 2),
    ("foreign_keys", "ON", 1),
)

_PARTS: Final = """
CREATE TABLE IF NOT EXISTS schema_part (
  owner   TEXT NOT NULL PRIMARY KEY,  -- the file of this package whose tables are meant
  version INTEGER NOT NULL            -- how many of its migrations have run
) STRICT
"""


def open_encrypted(path: Path, key: bytes) -> apsw.Connection:
    """Open, or create as 0600, and lock the file; ``migrate`` comes next.

    Raises ``ConfigError`` for a wrong key, a vault in use or an SQLite that does not do what is asked of it,
    ``CorruptError`` for a damaged file.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))  # SQLite gives -wal the same mode
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="run as the agent's user, in a folder that exists"
        ) from error
    connection = apsw.Connection(str(path))
    try:
        _guarded(path, lambda: _prepare(connection, path, key))
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_look(path: Path, key: bytes) -> apsw.Connection:
    """Open and lock an existing file, to read it alone; the caller closes, and then every byte is as it was.

    A log that an agent left behind is read and stays. Raises ``ConfigError`` also for a file of an older version.
    """
    left_behind = path.with_name(f"{path.name}-wal").exists()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)  # else it could not be locked
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(left_behind))
        _guarded(path, lambda: _prepare(connection, path, key))
        connection.pragma("query_only", 1)
        _guarded(path, lambda: _require_current(connection, path))
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring every owner's tables to this version, all in one transaction.

    Raises, changing nothing, ``ConfigError`` for a file that a newer version wrote and ``SpaceError`` on a full disk.
    """

    def act() -> None:
        with quota_as_room(connection):
            _migrate(connection, path)

    try:
        _guarded(path, act)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def quota_as_room(connection: apsw.Connection) -> Iterator[None]:
    """Tell a quota that is used up as a full disk, which it is: SQLite takes it for a medium that failed."""
    try:
        yield
    except apsw.IOError as error:
        if connection.system_errno == errno.EDQUOT:
            raise apsw.FullError(str(error)) from error
        raise


def damaged(path: Path, error: Exception) -> CorruptError:
    """Return the error that says what to do with a damaged index."""
    return CorruptError(
        f"{path}: the index is damaged ({error})",
        hint="a read that failed looks the same: look at the disk (dmesg), and start again. Where it stays, no backup "
        "may take its place: it would bring back what was deleted since. What was exported or uploaded opens for its "
        "owner as before; move the state folder away, then: privacy-agent init",
    )


def _guarded(path: Path, act: Callable[[], None]) -> None:
    try:
        act()
    except apsw.NotADBError:
        raise ConfigError(
            f"{path}: the keystore's key does not open this index",
            hint="put back the keystore that belongs to this vault; both are restored together or not at all",
        ) from None
    except apsw.BusyError:
        raise ConfigError(
            f"{path}: another process has the vault open",
            hint="stop it, or talk to it: systemctl status privacy-agent",
        ) from None
    except (apsw.FullError, apsw.CantOpenError) as error:  # the latter when its log cannot be created
        raise SpaceError(
            f"{path}: the index cannot be opened ({error})", hint="is the disk full? free space"
        ) from error
    except apsw.IOError as error:
        raise LinkError(f"{path}: the medium failed ({error})", hint="look at the disk: dmesg") from error
    except apsw.CorruptError as error:
        raise damaged(path, error) from error


def _prepare(connection: apsw.Connection, path: Path, key: bytes) -> None:
    connection.set_busy_timeout(_LOCK_WAIT_MS)
    connection.pragma("cipher", "chacha20")
    connection.execute(f'PRAGMA key = "raw:{key.hex()}"').fetchall()
    for name, value, expected in _SETTINGS:
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        found: Any = connection.pragma(name)
        if found != expected:
            raise ConfigError(
                f"{path}: SQLite did not take {name}={value} but says {found!r}",
                hint="install apsw-sqlite3mc from its own wheel; another SQLite cannot hold the vault",
            )
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


def _migrate(connection: apsw.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_PARTS).fetchall()
    done = _versions(connection, path)
    if done != _newest():  # else nothing is written, so a full disk does not keep the vault shut
        for owner, scripts in MIGRATIONS.items():
            for script in scripts[done.get(owner, 0) :]:
                connection.execute(script).fetchall()
            connection.execute("INSERT OR REPLACE INTO schema_part VALUES (?, ?)", (owner, len(scripts)))
        connection.execute(f"PRAGMA user_version = {sum(_newest().values())}").fetchall()
    connection.execute("COMMIT")


def _require_current(connection: apsw.Connection, path: Path) -> None:
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_part'").fetchall()
    if not tables or _versions(connection, path) != _newest():
        raise ConfigError(
            f"{path}: an older version wrote this index",
            hint="start the agent, which brings it up to date",
        )


def _versions(connection: apsw.Connection, path: Path) -> dict[str, int]:
    """Return how many migrations of each owner have run; raises ``ConfigError`` for more than there are."""
    rows: list[Any] = connection.execute("SELECT owner, version FROM schema_part").fetchall()
    done: dict[str, int] = dict(rows)
    newer = [owner for owner, version in done.items() if version > len(MIGRATIONS.get(owner, ()))]
    if newer or connection.pragma("user_version") > sum(_newest().values()):
        raise ConfigError(
            f"{path}: written by a newer version of the agent", hint="install that version again, or a later one"
        )
    return done


def _newest() -> dict[str, int]:
    return {owner: len(scripts) for owner, scripts in MIGRATIONS.items()}
