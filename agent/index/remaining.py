"""Rows of ``agent/remaining.py``: files that were counted as remaining at their sources."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A file that a command's cut-off covers, at a source that keeps its copies.
    CREATE TABLE remaining (
        n   INTEGER PRIMARY KEY,
        tag BLOB    NOT NULL UNIQUE  -- keyed hash of the command and the file's identity
    ) STRICT;
    """,
)


def note(tx: Tx, tag: bytes) -> bool:
    """Add a file; return whether it was not there."""
    tx.execute("INSERT OR IGNORE INTO remaining (tag) VALUES (?)", (tag,))
    return tx.changes() == 1


def bound(tx: Tx, count: int) -> None:
    """Keep the newest."""
    tx.execute("DELETE FROM remaining WHERE n <= (SELECT max(n) FROM remaining) - ?", (count,))
