"""Exports that lie in the export folder."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A finished export. Its files are in the folder of that name; a folder without a row is a left-over.
    CREATE TABLE export (
        id      TEXT    PRIMARY KEY,
        made_ms INTEGER NOT NULL,     -- agent time
        bytes   INTEGER NOT NULL      -- of all its files
    ) STRICT;
    """,
    """
    -- Which objects an export holds a copy of: a delete's receipt says that the copy is still there.
    CREATE TABLE export_object (
        export TEXT NOT NULL REFERENCES export (id),
        object TEXT NOT NULL,
        PRIMARY KEY (object, export)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX export_object_by_export ON export_object (export);
    """,
)


def put(tx: Tx, export_id: str, *, made_ms: int, size_bytes: int, objects: tuple[str, ...]) -> None:
    """Write a finished export; one that was built again replaces the rows."""
    drop(tx, export_id)
    tx.execute("INSERT OR REPLACE INTO export VALUES (?, ?, ?)", (export_id, made_ms, size_bytes))
    tx.executemany("INSERT INTO export_object VALUES (?, ?)", ((export_id, object_id) for object_id in objects))


def drop(tx: Tx, export_id: str) -> None:
    """Remove an export's rows."""
    tx.execute("DELETE FROM export_object WHERE export = ?", (export_id,))
    tx.execute("DELETE FROM export WHERE id = ?", (export_id,))


def exports(tx: Tx) -> tuple[tuple[str, int, int], ...]:
    """Return (id, made, bytes) of every export, sorted by id."""
    rows = tx.execute("SELECT id, made_ms, bytes FROM export ORDER BY id")
    return tuple((row[0], row[1], row[2]) for row in rows)


def holds(tx: Tx, object_id: str) -> bool:
    """Tell whether any export holds a copy of an object."""
    return bool(tx.execute("SELECT 1 FROM export_object WHERE object = ? LIMIT 1", (object_id,)))
