"""Tables of ``agent/rights/``: what waits for the owner's word."""

from typing import Any, Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The last retention pass, and the one that stopped to ask. One row.
    CREATE TABLE retention_pass (
        only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
        policy         TEXT    NOT NULL,  -- SHA-256 of the policy document that the last pass obeyed
        passed_ms      INTEGER NOT NULL,  -- agent time of the last pass that was carried out
        waiting        TEXT    NOT NULL,  -- random id of the pass that asks, or ''
        selection      TEXT    NOT NULL,  -- hash of exactly what it would remove, or ''
        approved       INTEGER NOT NULL,  -- 1: the owner said yes to that selection
        asked_by       TEXT    NOT NULL   -- SHA-256 of the policy document that the waiting pass obeys, or ''
    ) STRICT;

    -- What the waiting pass would remove; frozen, so that yes means yes to these.
    CREATE TABLE retention_waiting (
        object TEXT NOT NULL PRIMARY KEY,
        rule   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- What is expected is seen from the ages that were obeyed, set by set, and from what was taken in since.
    ALTER TABLE retention_pass DROP COLUMN policy;
    ALTER TABLE retention_pass ADD COLUMN ages TEXT NOT NULL DEFAULT '';         -- JSON: scope to ms; '' if unknown
    ALTER TABLE retention_pass ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;   -- agent time; what is newer arrived
    UPDATE retention_pass SET since_ms = passed_ms;
    """,
    """
    -- The policy document that is obeyed. One row.
    CREATE TABLE policy_in_force (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        sha256   TEXT    NOT NULL,
        since_ms INTEGER NOT NULL   -- agent time
    ) STRICT;
    """,
    """
    -- Under a policy that its owner had no part in, what surprises is counted over all passes.
    ALTER TABLE retention_pass ADD COLUMN surprised INTEGER NOT NULL DEFAULT 0;  -- objects
    """,
)


def read_pass(tx: Tx) -> tuple[Any, ...] | None:
    """Return (ages, passed_ms, since_ms, waiting, selection, approved, asked_by, surprised), or ``None`` before one."""
    found = tx.execute(
        "SELECT ages, passed_ms, since_ms, waiting, selection, approved, asked_by, surprised FROM retention_pass"
        " WHERE only_row = 1"
    )
    return found[0] if found else None


def write_pass(tx: Tx, row: tuple[str, int, int, str, str, int, str, int]) -> None:
    """Replace the row."""
    tx.execute(
        "INSERT OR REPLACE INTO retention_pass"
        " (only_row, ages, passed_ms, since_ms, waiting, selection, approved, asked_by, surprised)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )


def freeze(tx: Tx, items: tuple[tuple[str, str], ...]) -> None:
    """Replace the frozen selection by (object, rule)."""
    tx.execute("DELETE FROM retention_waiting")
    tx.executemany("INSERT INTO retention_waiting VALUES (?, ?)", items)


def frozen_count(tx: Tx) -> int:
    """Return how many objects are frozen."""
    return int(tx.execute("SELECT count(*) FROM retention_waiting")[0][0])


def frozen_remains(tx: Tx) -> bool:
    """Tell whether an object that is frozen is here and not being erased."""
    return bool(
        tx.execute(
            "SELECT 1 FROM retention_waiting w JOIN object o ON o.id = w.object WHERE o.state != 'erasing' LIMIT 1"
        )
    )


def frozen(tx: Tx) -> tuple[tuple[str, str], ...]:
    """Return the frozen selection as (object, rule), sorted by object."""
    return tuple((row[0], row[1]) for row in tx.execute("SELECT object, rule FROM retention_waiting ORDER BY object"))
