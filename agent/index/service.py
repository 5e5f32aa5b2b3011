"""The row of ``agent/rights/service.py``: how the service stands that the device belongs to."""

from typing import Any, Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- How the service stands. One row, or none: it is served. Times are agent time in milliseconds.
    CREATE TABLE service (
        only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
        stage     TEXT    NOT NULL,  -- served, noticed, ended, deleting, done
        by        TEXT    NOT NULL,  -- kid that signed the notice, '' of silence
        command   TEXT    NOT NULL,  -- jti of the notice, or ''
        since_ms  INTEGER NOT NULL,  -- when it was noticed
        ends_ms   INTEGER NOT NULL,  -- when collection stops
        due_ms    INTEGER NOT NULL,  -- when the deletion plan runs
        silent_ms INTEGER NOT NULL,  -- for how long no word of the cloud came; written at most once an hour
        looked_ms INTEGER NOT NULL   -- as of when
    ) STRICT;
    """,
)


def read(tx: Tx) -> dict[str, Any] | None:
    """Return the row, or ``None``."""
    found = tx.execute(
        "SELECT stage, by, command, since_ms, ends_ms, due_ms, silent_ms, looked_ms FROM service WHERE only_row = 1"
    )
    names = ("stage", "by", "command", "since_ms", "ends_ms", "due_ms", "silent_ms", "looked_ms")
    return dict(zip(names, found[0], strict=True)) if found else None


def write(tx: Tx, row: dict[str, Any]) -> None:
    """Replace the row."""
    tx.execute(
        "INSERT OR REPLACE INTO service (only_row, stage, by, command, since_ms, ends_ms, due_ms, silent_ms, looked_ms)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        tuple(row.values()),
    )
