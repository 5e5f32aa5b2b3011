"""Rows of ``agent/app/integrations.py``: how many of each kind were on when that was looked at last."""

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
)


def counts(tx: Tx) -> dict[str, int]:
    """Return how many of each kind were on."""
    return {row[0]: row[1] for row in tx.execute("SELECT kind, count FROM integration")}


def set_count(tx: Tx, kind: str, count: int) -> None:
    """Note how many of a kind are on."""
    if count:
        tx.execute("INSERT OR REPLACE INTO integration VALUES (?, ?)", (kind, count))
    else:
        tx.execute("DELETE FROM integration WHERE kind = ?", (kind,))
