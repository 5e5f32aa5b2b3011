"""Rows of ``agent/counting.py``: counts that were not told yet, and what telling cost so far."""

from collections.abc import Iterable, Sequence
from typing import Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- How often a value was in a log that became an object, until it is told with noise; it goes with the object.
    CREATE TABLE counted (
        object INTEGER NOT NULL REFERENCES object (n) ON DELETE CASCADE,
        field  TEXT    NOT NULL,  -- field and value are the policy's own words
        value  TEXT    NOT NULL,
        count  INTEGER NOT NULL,
        PRIMARY KEY (object, field, value)
    ) STRICT, WITHOUT ROWID;

    -- What was told last, and what all that was ever told cost. One row, once something was told.
    CREATE TABLE counts_told (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        spent    REAL NOT NULL,  -- the sum of epsilon over all tellings
        told     TEXT NOT NULL   -- the last of them, JSON, as it was told
    ) STRICT;
    """,
)


def insert(tx: Tx, object_id: str, counts: Iterable[tuple[str, str, int]]) -> None:
    """Add (field, value, count) of an object that is there."""
    tx.executemany(
        "INSERT INTO counted (object, field, value, count) SELECT n, ?, ?, ? FROM object WHERE id = ?",
        ((*one, object_id) for one in counts),
    )


def objects(tx: Tx, *, after: str, limit: int) -> Sequence[str]:
    """Return ids above ``after`` of objects whose counts were not told."""
    rows = tx.execute(
        "SELECT id FROM object WHERE id > ? AND n IN (SELECT object FROM counted) ORDER BY id LIMIT ?", (after, limit)
    )
    return [str(one) for (one,) in rows]


def of_object(tx: Tx, object_id: str) -> Sequence[Row]:
    """Return (field, value, count) of an object."""
    return tx.execute(
        "SELECT field, value, count FROM counted WHERE object = (SELECT n FROM object WHERE id = ?)", (object_id,)
    )


def delete(tx: Tx, object_ids: Iterable[str]) -> None:
    """Forget the counts of objects."""
    tx.executemany(
        "DELETE FROM counted WHERE object = (SELECT n FROM object WHERE id = ?)", ((one,) for one in object_ids)
    )


def told(tx: Tx) -> Row | None:
    """Return (spent, last telling), if anything was told."""
    found = tx.execute("SELECT spent, told FROM counts_told")
    return found[0] if found else None


def set_told(tx: Tx, *, spent: float, told: str) -> None:
    """Replace both."""
    tx.execute("INSERT OR REPLACE INTO counts_told VALUES (1, ?, ?)", (spent, told))
