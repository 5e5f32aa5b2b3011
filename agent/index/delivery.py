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
    """
    -- How one ends is written before its folder goes, so that a crash in between changes nothing of what is told; one
    -- that failed is remembered too, with what the server has of it all the same, and goes with the last of that.
    ALTER TABLE delivery RENAME TO delivery_before;
    CREATE TABLE delivery (
        export             TEXT    NOT NULL PRIMARY KEY,  -- also the jti of its command
        party              TEXT    NOT NULL,              -- as the owner named it
        host               TEXT    NOT NULL,
        state              TEXT    NOT NULL CHECK (state IN ('under_way', 'ending', 'delivered', 'failed')),
        why                TEXT    NOT NULL,              -- it failed, or ''
        objects            INTEGER NOT NULL,
        bytes              INTEGER NOT NULL,              -- of all its files
        files              INTEGER NOT NULL,
        certificate_sha256 TEXT    NOT NULL,              -- of the server that took the last file, hex, or ''
        ended_ms           INTEGER                        -- agent time
    ) STRICT, WITHOUT ROWID;
    INSERT INTO delivery
        SELECT export, party, host, state, '', objects, bytes, files, certificate_sha256, delivered_ms
        FROM delivery_before;
    DROP TABLE delivery_before;

    -- Which file an object is in; '' where that was not written down: then in one of those that were taken, or none.
    ALTER TABLE delivery_object ADD COLUMN file TEXT NOT NULL DEFAULT '';
    CREATE INDEX delivery_object_by_export ON delivery_object (export);
    DROP TRIGGER delivery_object_goes;
    CREATE TRIGGER delivery_object_goes AFTER DELETE ON object BEGIN
        DELETE FROM delivery_object WHERE object = OLD.id
            AND export NOT IN (SELECT export FROM delivery WHERE state IN ('under_way', 'ending'));
    END;
    CREATE TRIGGER delivery_goes AFTER DELETE ON delivery_object
    WHEN NOT EXISTS (SELECT 1 FROM delivery_object WHERE export = OLD.export) BEGIN
        DELETE FROM delivery WHERE export = OLD.export AND state IN ('delivered', 'failed');
    END;
    """,
)


def begin(
    tx: Tx,
    export: str,
    *,
    party: str,
    host: str,
    objects: Iterable[tuple[str, str]],
    files: Iterable[tuple[str, int, str]],
) -> None:
    """Write an export that was built and is put from now on.

    ``objects`` are (id, name of its file), ``files`` are (name, bytes, SHA-256) in their order.
    """
    files = tuple(files)
    held = tuple(objects)
    drop(tx, export)
    tx.execute(
        "INSERT INTO delivery VALUES (?, ?, ?, 'under_way', '', ?, ?, ?, '', NULL)",
        (export, party, host, len(held), sum(size for _name, size, _sha256 in files), len(files)),
    )
    tx.executemany(
        "INSERT INTO delivery_file VALUES (?, ?, ?, ?, ?, 0)", ((export, n, *file) for n, file in enumerate(files))
    )
    tx.executemany(
        "INSERT INTO delivery_object VALUES (?, ?, ?)", ((object_id, export, file) for object_id, file in held)
    )


def get(tx: Tx, export: str) -> Row | None:
    """Return (party, host, state, why, objects, bytes, files, certificate, ended)."""
    found = tx.execute(
        "SELECT party, host, state, why, objects, bytes, files, certificate_sha256, ended_ms FROM delivery"
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


def under_way(tx: Tx) -> tuple[str, ...]:
    """Return the exports whose files are put."""
    return tuple(row[0] for row in tx.execute("SELECT export FROM delivery WHERE state = 'under_way' ORDER BY export"))


def objects(tx: Tx, export: str, *, after: str, limit: int) -> list[Row]:
    """Return a page of (object, its file) of an export, by object id."""
    return tx.execute(
        "SELECT object, file FROM delivery_object WHERE export = ? AND object > ? ORDER BY object LIMIT ?",
        (export, after, limit),
    )


def in_file(tx: Tx, export: str, file: str) -> tuple[str, ...]:
    """Return the objects that a file holds."""
    found = tx.execute("SELECT object FROM delivery_object WHERE export = ? AND file = ?", (export, file))
    return tuple(row[0] for row in found)


def is_taken(tx: Tx, export: str, file: str) -> bool:
    """Tell whether the server has a file; of an object whose file is not known, any but the manifest."""
    found = tx.execute(
        "SELECT 1 FROM delivery_file WHERE export = ?1 AND taken = 1 AND (name = ?2 OR"
        " (?2 = '' AND n < (SELECT max(n) FROM delivery_file WHERE export = ?1))) LIMIT 1",
        (export, file),
    )
    return bool(found)


def ending(tx: Tx, export: str, *, why: str) -> None:
    """Write how one that is under way ends."""
    tx.execute("UPDATE delivery SET state = 'ending', why = ? WHERE export = ? AND state = 'under_way'", (why, export))


def ended(tx: Tx, export: str, *, at_ms: int, keep: int) -> None:
    """Note that nothing more is put; of those that ended the newest ``keep`` are remembered."""
    tx.execute(
        "UPDATE delivery SET state = CASE why WHEN '' THEN 'delivered' ELSE 'failed' END, ended_ms = ?"
        " WHERE export = ? AND state = 'ending'",
        (at_ms, export),
    )
    tx.execute(
        "DELETE FROM delivery_object WHERE export = ?1 AND (object NOT IN (SELECT id FROM object) OR NOT EXISTS"
        " (SELECT 1 FROM delivery_file f WHERE f.export = ?1 AND f.taken = 1 AND (f.name = delivery_object.file"
        " OR (delivery_object.file = '' AND f.n < (SELECT max(n) FROM delivery_file WHERE export = ?1)))))",
        (export,),
    )
    tx.execute("DELETE FROM delivery_file WHERE export = ?", (export,))
    tx.execute(
        "DELETE FROM delivery WHERE export = ?1 AND NOT EXISTS (SELECT 1 FROM delivery_object WHERE export = ?1)",
        (export,),
    )
    old = tx.execute(
        "SELECT export FROM delivery WHERE state IN ('delivered', 'failed')"
        " ORDER BY ended_ms DESC, export LIMIT -1 OFFSET ?",
        (keep,),
    )
    for row in old:
        drop(tx, row[0])


def drop(tx: Tx, export: str) -> None:
    """Forget one."""
    for table in ("delivery_object", "delivery_file", "delivery"):
        tx.execute(f"DELETE FROM {table} WHERE export = ?", (export,))  # noqa: S608 - our own names


def of_object(tx: Tx, object_id: str, *, limit: int) -> list[Row]:
    """Return (export, party, host, state, ended) of those that an object was handed out with, newest first."""
    return tx.execute(
        "SELECT d.export, d.party, d.host, d.state, d.ended_ms FROM delivery_object o"
        " JOIN delivery d ON d.export = o.export WHERE o.object = ? ORDER BY d.ended_ms DESC, d.export LIMIT ?",
        (object_id, limit),
    )
