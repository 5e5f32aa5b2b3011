"""Rows of ``agent/rights/approval.py``: who has given a word for a command that needs more than one."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The words of owner clients for a command that waits for more than one; they go when it waits for them no more.
    CREATE TABLE approval (
        command TEXT    NOT NULL,  -- jti
        kid     TEXT    NOT NULL,
        said_ms INTEGER NOT NULL,  -- agent time
        PRIMARY KEY (command, kid)
    ) STRICT, WITHOUT ROWID;
    """,
)


def insert(tx: Tx, command: str, kid: str, *, said_ms: int) -> bool:
    """Note a word; ``False`` when that key has given it."""
    tx.execute("INSERT OR IGNORE INTO approval VALUES (?, ?, ?)", (command, kid, said_ms))
    return tx.changes() == 1


def kids(tx: Tx, command: str) -> list[str]:
    """Return who has given a word."""
    return [row[0] for row in tx.execute("SELECT kid FROM approval WHERE command = ? ORDER BY kid", (command,))]


def delete(tx: Tx, command: str) -> None:
    """Forget the words for a command."""
    tx.execute("DELETE FROM approval WHERE command = ?", (command,))
