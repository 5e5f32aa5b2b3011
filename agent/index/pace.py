"""Rows of ``agent/pace.py``: how far ahead of its pace each key is."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- One row for each key that has said anything, of those in the key set; two integers, however much it says.
    CREATE TABLE pace (
        kid   TEXT    NOT NULL PRIMARY KEY,
        due_ms INTEGER NOT NULL               -- agent time at which all that it has said would be within its pace
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE pace ADD COLUMN again_ms INTEGER NOT NULL DEFAULT 0;  -- the same of what it said once and came again
    """,
)


def due_ms(tx: Tx, kid: str) -> int:
    """Return when all that a key has said is within its pace; 0 for one that has said nothing."""
    found = tx.execute("SELECT due_ms FROM pace WHERE kid = ?", (kid,))
    return int(found[0][0]) if found else 0


def set_due_ms(tx: Tx, kid: str, due_ms: int) -> None:
    """Write it."""
    tx.execute(
        "INSERT INTO pace (kid, due_ms) VALUES (?, ?) ON CONFLICT (kid) DO UPDATE SET due_ms = excluded.due_ms",
        (kid, due_ms),
    )


def again_ms(tx: Tx, kid: str) -> int:
    """Return when all repeats of what a key has said are within their pace; 0 where there were none."""
    found = tx.execute("SELECT again_ms FROM pace WHERE kid = ?", (kid,))
    return int(found[0][0]) if found else 0


def set_again_ms(tx: Tx, kid: str, again_ms: int) -> None:
    """Write it."""
    tx.execute(
        "INSERT INTO pace (kid, due_ms, again_ms) VALUES (?, 0, ?)"
        " ON CONFLICT (kid) DO UPDATE SET again_ms = excluded.again_ms",
        (kid, again_ms),
    )


def forget_others(tx: Tx, kids: frozenset[str]) -> None:
    """Forget keys that are not named."""
    known = [row[0] for row in tx.execute("SELECT kid FROM pace")]
    tx.executemany("DELETE FROM pace WHERE kid = ?", [(kid,) for kid in known if kid not in kids])
