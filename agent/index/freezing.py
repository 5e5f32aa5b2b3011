"""Rows of ``agent/rights/freezing.py``: restrictions and holds, a few hundred at most."""

from typing import Final

from agent.index.transaction import Row, Tx

COLUMNS: Final = (
    "id", "kind", "author", "reason", "camera", "category", "from_ms", "to_ms", "objects", "since_ms", "until_ms",
)  # fmt: skip

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- What freezes objects, those that are here and those that come later. '' and NULL match all.
    CREATE TABLE freeze (
        id       TEXT    NOT NULL PRIMARY KEY,  -- jti of the command that put it
        kind     TEXT    NOT NULL CHECK (kind IN ('restriction', 'hold')),
        author   TEXT    NOT NULL,              -- kid of the key that signed the command
        reason   TEXT    NOT NULL,              -- of a hold its author's words, which may be personal
        camera   TEXT    NOT NULL,
        category TEXT    NOT NULL,
        from_ms  INTEGER,                       -- half-open, Unix milliseconds; overlap with the capture counts
        to_ms    INTEGER,
        objects  BLOB,                          -- sorted ids, 26 bytes each: these alone; then all above match all
        since_ms INTEGER NOT NULL,              -- agent time
        until_ms INTEGER                        -- agent time; NULL until it is lifted: of a restriction
    ) STRICT, WITHOUT ROWID;

    -- Another random id with each change of the table above, so that whoever has read it knows whether it is the same.
    CREATE TABLE freeze_state (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        id       TEXT    NOT NULL
    ) STRICT;
    """,
)


def state(tx: Tx) -> str:
    """Return the id of what stands now; ``""`` where nothing ever stood."""
    found = tx.execute("SELECT id FROM freeze_state WHERE only_row = 1")
    return str(found[0][0]) if found else ""


def change(tx: Tx, state_id: str) -> None:
    """Note that another set stands from now on."""
    tx.execute("INSERT OR REPLACE INTO freeze_state VALUES (1, ?)", (state_id,))


def every(tx: Tx) -> list[Row]:
    """Return all, the oldest first."""
    return tx.execute(f"SELECT {', '.join(COLUMNS)} FROM freeze ORDER BY since_ms, id")  # noqa: S608 - our own names


def insert(tx: Tx, row: Row) -> None:
    """Add one; ``row`` has the columns in order."""
    marks = ", ".join("?" for _ in COLUMNS)
    tx.execute(f"INSERT INTO freeze ({', '.join(COLUMNS)}) VALUES ({marks})", row)  # noqa: S608 - our own names


def end_at(tx: Tx, freeze_id: str, until_ms: int) -> None:
    """Have one end then."""
    tx.execute("UPDATE freeze SET until_ms = ? WHERE id = ?", (until_ms, freeze_id))


def delete(tx: Tx, freeze_id: str) -> None:
    """Remove one."""
    tx.execute("DELETE FROM freeze WHERE id = ?", (freeze_id,))
