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
)


def due_ms(tx: Tx, kid: str) -> int:
    """Return when all that a key has said is within its pace; 0 for one that has said nothing."""
    found = tx.execute("SELECT due_ms FROM pace WHERE kid = ?", (kid,))
    return int(found[0][0]) if found else 0


def set_due_ms(tx: Tx, kid: str, due_ms: int) -> None:
    """Write it."""
    tx.execute("INSERT OR REPLACE INTO pace VALUES (?, ?)", (kid, due_ms))


def forget_others(tx: Tx, kids: frozenset[str]) -> None:
    """Forget keys that are not named."""
    known = [row[0] for row in tx.execute("SELECT kid FROM pace")]
    tx.executemany("DELETE FROM pace WHERE kid = ?", [(kid,) for kid in known if kid not in kids])
