"""Rows of ``agent/app/integrations.py``: how many of each kind, and which, were on when that was looked at last."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- What this device has to do with that is not its own, by kind; a kind of which none is on has no row.
    CREATE TABLE integration (
        kind  TEXT    NOT NULL PRIMARY KEY,
        count INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- SHA-256 of which they are, so that one in the place of another is seen; empty where an older version counted.
    ALTER TABLE integration ADD COLUMN which BLOB NOT NULL DEFAULT x'';
    """,
)


def known(tx: Tx) -> dict[str, tuple[int, bytes]]:
    """Return how many of each kind were on, and the hash of which."""
    return {row[0]: (row[1], row[2]) for row in tx.execute("SELECT kind, count, which FROM integration")}


def note(tx: Tx, kind: str, *, count: int, which: bytes) -> None:
    """Note how many of a kind are on, and the hash of which."""
    if count:
        tx.execute("INSERT OR REPLACE INTO integration VALUES (?, ?, ?)", (kind, count, which))
    else:
        tx.execute("DELETE FROM integration WHERE kind = ?", (kind,))
