"""Rows of ``agent/collection.py``: the cameras whose collection a person here switched off."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- Cameras that a person at this device switched off. No row: what the policy says. A camera that is forgotten keeps
    -- its row, and for that its row in the table camera: enrolled again it is off still.
    CREATE TABLE collection_off (
        camera   TEXT    NOT NULL PRIMARY KEY,  -- id in the table camera
        since_ms INTEGER NOT NULL               -- agent time, Unix milliseconds
    ) STRICT, WITHOUT ROWID;
    """,
)


def insert(tx: Tx, camera: str, *, since_ms: int) -> bool:
    """Note a camera as switched off; ``False`` when it was."""
    tx.execute("INSERT OR IGNORE INTO collection_off VALUES (?, ?)", (camera, since_ms))
    return tx.changes() == 1


def delete(tx: Tx, camera: str) -> bool:
    """Note a camera as not switched off; ``False`` when it was not."""
    tx.execute("DELETE FROM collection_off WHERE camera = ?", (camera,))
    return tx.changes() == 1


def all_of(tx: Tx) -> list[str]:
    """Return the cameras that are switched off."""
    return [str(row[0]) for row in tx.execute("SELECT camera FROM collection_off")]
