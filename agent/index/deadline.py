"""Rows of ``agent/rights/deadline.py``: by when each of the owner's requests has to be answered."""

from typing import Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A request of the owner, from when it was signed until it is answered, and a bounded while longer.
    CREATE TABLE request_clock (
        command     TEXT    NOT NULL PRIMARY KEY,  -- jti
        verb        TEXT    NOT NULL,
        asked_ms    INTEGER NOT NULL,              -- agent time
        due_ms      INTEGER NOT NULL,              -- by the policy that was in force when it came
        told        TEXT    NOT NULL CHECK (told IN ('', 'soon', 'overdue')),  -- what its owner was warned of
        answered_ms INTEGER,                       -- NULL: open
        status      TEXT    NOT NULL               -- of its terminal receipt, or ''
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX request_clock_open ON request_clock (due_ms) WHERE answered_ms IS NULL;
    CREATE INDEX request_clock_answered ON request_clock (answered_ms) WHERE answered_ms IS NOT NULL;
    """,
)

_ROW: Final = "SELECT command, verb, asked_ms, due_ms, answered_ms, status FROM request_clock"


def start(tx: Tx, command: str, *, verb: str, asked_ms: int, due_ms: int) -> None:
    """Start a clock; one that runs goes on."""
    tx.execute(
        "INSERT OR IGNORE INTO request_clock VALUES (?, ?, ?, ?, '', NULL, '')", (command, verb, asked_ms, due_ms)
    )


def stop(tx: Tx, command: str, *, at_ms: int, status: str, keep: int) -> None:
    """Note an answer; of those that are answered the newest ``keep`` stay."""
    tx.execute(
        "UPDATE request_clock SET answered_ms = ?, status = ? WHERE command = ? AND answered_ms IS NULL",
        (at_ms, status, command),
    )
    if tx.changes():
        tx.execute(
            "DELETE FROM request_clock WHERE command IN (SELECT command FROM request_clock"
            " WHERE answered_ms IS NOT NULL ORDER BY answered_ms DESC, command LIMIT -1 OFFSET ?)",
            (keep,),
        )


def due(tx: Tx, command: str) -> int | None:
    """Return when an open request is due."""
    found = tx.execute("SELECT due_ms FROM request_clock WHERE command = ? AND answered_ms IS NULL", (command,))
    return int(found[0][0]) if found else None


def open_ones(tx: Tx, *, limit: int) -> list[Row]:
    """Return (command, verb, asked, due, answered, status) of what is not answered, what is due first comes first."""
    return tx.execute(f"{_ROW} WHERE answered_ms IS NULL ORDER BY due_ms, command LIMIT ?", (limit,))


def answered(tx: Tx, *, limit: int) -> list[Row]:
    """Return the same of what was answered, the newest first."""
    return tx.execute(
        f"{_ROW} WHERE answered_ms IS NOT NULL ORDER BY answered_ms DESC, command LIMIT ?",
        (limit,),
    )


def counts(tx: Tx, *, overdue_at_ms: int, soon_by_ms: int) -> tuple[int, int, int]:
    """Return how many requests are open, how many of them are overdue, and how many others are due soon."""
    ((every, late, soon),) = tx.execute(
        "SELECT count(*), count(*) FILTER (WHERE due_ms <= ?1), count(*) FILTER (WHERE due_ms > ?1 AND due_ms <= ?2)"
        " FROM request_clock WHERE answered_ms IS NULL",
        (overdue_at_ms, soon_by_ms),
    )
    return int(every), int(late), int(soon)


def tell(tx: Tx, told: str, *, due_by_ms: int, but: tuple[str, ...]) -> int:
    """Note of open requests due by then what their owner is warned of; return how many had not been."""
    marks = ", ".join("?" for _ in but)
    tx.execute(
        f"UPDATE request_clock SET told = ? WHERE answered_ms IS NULL AND due_ms <= ? AND told NOT IN ({marks})",  # noqa: S608 - our own marks
        (told, due_by_ms, *but),
    )
    return tx.changes()
