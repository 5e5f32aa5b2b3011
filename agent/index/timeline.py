"""One row: the floor of the agent's timeline."""

from typing import Any, Final

from agent.index.transaction import Tx

_COLUMNS: Final = ("agent_ms", "boot_id", "boot_ms", "trusted", "leapt", "signed_in_boot")

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The floor below which the agent's time never falls again. One row.
    CREATE TABLE timeline (
        only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
        agent_ms       INTEGER NOT NULL,  -- the agent's time, Unix milliseconds
        boot_id        TEXT    NOT NULL,  -- the boot in which boot_ms was read
        boot_ms        INTEGER NOT NULL,  -- CLOCK_BOOTTIME then, milliseconds
        trusted        INTEGER NOT NULL,  -- 1: the wall clock was believed then
        leapt          INTEGER NOT NULL,  -- 1: the wall clock contradicted the boot clock
        signed_in_boot TEXT    NOT NULL   -- the boot in which a signed time was accepted, or ''
    ) STRICT;
    """,
)


def read(tx: Tx) -> dict[str, Any] | None:
    """Return the row by column name, or ``None`` before the first write."""
    rows = tx.execute(f"SELECT {', '.join(_COLUMNS)} FROM timeline WHERE only_row = 1")  # noqa: S608 - our own names
    if not rows:
        return None
    row = dict(zip(_COLUMNS, rows[0], strict=True))
    return row | {"trusted": bool(row["trusted"]), "leapt": bool(row["leapt"])}


def write(tx: Tx, row: dict[str, Any]) -> None:
    """Replace the row."""
    tx.execute("INSERT OR REPLACE INTO timeline VALUES (1, ?, ?, ?, ?, ?, ?)", [row[name] for name in _COLUMNS])
