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
)


def put(tx: Tx, export_id: str, *, made_ms: int, size_bytes: int) -> None:
    """Write a finished export; one that was built again replaces the row."""
    tx.execute("INSERT OR REPLACE INTO export VALUES (?, ?, ?)", (export_id, made_ms, size_bytes))


def drop(tx: Tx, export_id: str) -> None:
    """Remove an export's row."""
    tx.execute("DELETE FROM export WHERE id = ?", (export_id,))


def exports(tx: Tx) -> tuple[tuple[str, int, int], ...]:
    """Return (id, made, bytes) of every export, sorted by id."""
    rows = tx.execute("SELECT id, made_ms, bytes FROM export ORDER BY id")
    return tuple((row[0], row[1], row[2]) for row in rows)
