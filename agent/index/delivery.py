"""Rows of ``agent/rights/delivery.py``: exports on their way to third parties, and those that were handed out."""

from collections.abc import Iterable
from typing import Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- An export that its owner had put at a third party's address. Party and address are personal.
    CREATE TABLE delivery (
        export             TEXT    NOT NULL PRIMARY KEY,  -- also the jti of its command
        party              TEXT    NOT NULL,              -- as the owner named it
        host               TEXT    NOT NULL,
        state              TEXT    NOT NULL CHECK (state IN ('under_way', 'delivered')),
        objects            INTEGER NOT NULL,
        bytes              INTEGER NOT NULL,              -- of all its files
        files              INTEGER NOT NULL,
        certificate_sha256 TEXT    NOT NULL,              -- of the server that took the last file, hex, or ''
        delivered_ms       INTEGER                        -- agent time
    ) STRICT, WITHOUT ROWID;

    -- Files of one under way, in the order in which they are put; gone when its receipt is written.
    CREATE TABLE delivery_file (
        export TEXT    NOT NULL,
        n      INTEGER NOT NULL,
        name   TEXT    NOT NULL,
        bytes  INTEGER NOT NULL,
        sha256 TEXT    NOT NULL,
        taken  INTEGER NOT NULL,   -- 1: the server said that it has it
        PRIMARY KEY (export, n)
    ) STRICT, WITHOUT ROWID;

    -- Which objects were handed out, while they are held here: who asks where copies went is told.
    CREATE TABLE delivery_object (
        object TEXT NOT NULL,
        export TEXT NOT NULL,
        PRIMARY KEY (object, export)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER delivery_object_goes AFTER DELETE ON object BEGIN
        DELETE FROM delivery_object WHERE object = OLD.id;
    END;
    """,
)


def begin(
    tx: Tx, export: str, *, party: str, host: str, objects: Iterable[str], files: Iterable[tuple[str, int, str]]
) -> None:
    """Write an export that was built and is put from now on; ``files`` are (name, bytes, SHA-256) in their order."""
    files = tuple(files)
    held = tuple(objects)
    drop(tx, export)
    tx.execute(
        "INSERT INTO delivery VALUES (?, ?, ?, 'under_way', ?, ?, ?, '', NULL)",
        (export, party, host, len(held), sum(size for _name, size, _sha256 in files), len(files)),
    )
    tx.executemany(
        "INSERT INTO delivery_file VALUES (?, ?, ?, ?, ?, 0)", ((export, n, *file) for n, file in enumerate(files))
    )
    tx.executemany("INSERT INTO delivery_object VALUES (?, ?)", ((object_id, export) for object_id in held))


def get(tx: Tx, export: str) -> Row | None:
    """Return (party, host, state, objects, bytes, files, certificate, delivered)."""
    found = tx.execute(
        "SELECT party, host, state, objects, bytes, files, certificate_sha256, delivered_ms FROM delivery"
        " WHERE export = ?",
        (export,),
    )
    return found[0] if found else None


def files_left(tx: Tx, export: str) -> int:
    """Return how many files were not taken yet."""
    return int(tx.execute("SELECT count(*) FROM delivery_file WHERE export = ? AND taken = 0", (export,))[0][0])


def files(tx: Tx, export: str, *, limit: int) -> list[Row]:
    """Return (name, bytes, SHA-256) of the files, the one that is put last comes first."""
    return tx.execute(
        "SELECT name, bytes, sha256 FROM delivery_file WHERE export = ? ORDER BY n DESC LIMIT ?", (export, limit)
    )


def next_file(tx: Tx, export: str) -> Row | None:
    """Return (n, name, bytes, SHA-256) of the file to put next."""
    found = tx.execute(
        "SELECT n, name, bytes, sha256 FROM delivery_file WHERE export = ? AND taken = 0 ORDER BY n LIMIT 1",
        (export,),
    )
    return found[0] if found else None


def taken(tx: Tx, export: str, n: int, *, certificate_sha256: str) -> None:
    """Note that the server has a file."""
    tx.execute("UPDATE delivery_file SET taken = 1 WHERE export = ? AND n = ?", (export, n))
    tx.execute("UPDATE delivery SET certificate_sha256 = ? WHERE export = ?", (certificate_sha256, export))


def delivered(tx: Tx, export: str, *, at_ms: int, keep: int) -> None:
    """Note that all was taken; of those that are delivered the newest ``keep`` are remembered."""
    tx.execute("UPDATE delivery SET state = 'delivered', delivered_ms = ? WHERE export = ?", (at_ms, export))
    tx.execute("DELETE FROM delivery_file WHERE export = ?", (export,))
    old = tx.execute(
        "SELECT export FROM delivery WHERE state = 'delivered' ORDER BY delivered_ms DESC, export LIMIT -1 OFFSET ?",
        (keep,),
    )
    for row in old:
        drop(tx, row[0])


def drop(tx: Tx, export: str) -> None:
    """Forget one."""
    for table in ("delivery_object", "delivery_file", "delivery"):
        tx.execute(f"DELETE FROM {table} WHERE export = ?", (export,))  # noqa: S608 - our own names


def of_object(tx: Tx, object_id: str, *, limit: int) -> list[Row]:
    """Return (export, party, host, state, delivered) of those that an object was handed out with, newest first."""
    return tx.execute(
        "SELECT d.export, d.party, d.host, d.state, d.delivered_ms FROM delivery_object o"
        " JOIN delivery d ON d.export = o.export WHERE o.object = ? ORDER BY d.delivered_ms DESC, d.export LIMIT ?",
        (object_id, limit),
    )
