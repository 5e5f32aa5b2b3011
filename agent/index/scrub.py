"""Rows of ``agent/scrub``: how far the pass over all payloads is, and what the last whole one found."""

from typing import Any, Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final = (
    """
-- The pass that is under way, and the one before it. One row.
CREATE TABLE scrub (
  only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
  began_ms     INTEGER NOT NULL,   -- agent time; 0: none is under way
  upto         INTEGER NOT NULL,   -- number of the newest object when it began: what came later is the next one's
  at           INTEGER NOT NULL,   -- number of the last object that was looked at
  objects      INTEGER NOT NULL,   -- looked at so far
  bytes        INTEGER NOT NULL,
  damaged      INTEGER NOT NULL,   -- found in it
  last_began   INTEGER NOT NULL,   -- as above, of the last whole pass; 0: there was none
  last_ended   INTEGER NOT NULL,
  last_objects INTEGER NOT NULL,
  last_bytes   INTEGER NOT NULL,
  last_damaged INTEGER NOT NULL
) STRICT;
""",
)

NAMES: Final = (
    "began_ms", "upto", "at", "objects", "bytes", "damaged",
    "last_began", "last_ended", "last_objects", "last_bytes", "last_damaged",
)  # fmt: skip

_LOOKED_AT: Final = (
    "SELECT n, id, size_bytes, payload_sha256,"
    " EXISTS (SELECT 1 FROM damage WHERE damage.object = n AND payload != '') FROM object"
)


def read(tx: Tx) -> Row | None:
    """Return the row in the order of ``NAMES``."""
    rows = tx.execute(f"SELECT {', '.join(NAMES)} FROM scrub WHERE only_row = 1")  # noqa: S608 - our own names
    return rows[0] if rows else None


def write(tx: Tx, values: dict[str, Any]) -> None:
    """Replace the row."""
    marks = ", ".join("?" for _ in NAMES)
    tx.execute(f"INSERT OR REPLACE INTO scrub VALUES (1, {marks})", [values[name] for name in NAMES])  # noqa: S608 - the same


def newest(tx: Tx) -> int:
    """Return the number of the newest object, 0 where there is none."""
    ((found,),) = tx.execute("SELECT coalesce(max(n), 0) FROM object")
    return int(found)


def page(tx: Tx, *, after: int, upto: int, limit: int) -> list[Row]:
    """Return (n, id, size, payload hash, whether another is to take its place) between two numbers, by arrival."""
    return tx.execute(
        f"{_LOOKED_AT} WHERE n > ? AND n <= ? AND state != 'erasing' ORDER BY n LIMIT ?",
        (after, upto, limit),
    )


def one(tx: Tx, object_id: str) -> Row | None:
    """Return the same of one object."""
    rows = tx.execute(f"{_LOOKED_AT} WHERE id = ? AND state != 'erasing'", (object_id,))
    return rows[0] if rows else None


def spread(tx: Tx, count: int) -> list[Row]:
    """Return the same of some objects, from the oldest to the newest, as far apart as they can be."""
    ((first, last),) = tx.execute("SELECT min(n), max(n) FROM object")
    found: dict[int, Row] = {}
    for number in range(count if first is not None else 0):
        n = first + number * (last - first) // max(1, count - 1)
        for row in tx.execute(f"{_LOOKED_AT} WHERE n >= ? AND state != 'erasing' ORDER BY n LIMIT 1", (n,)):
            found[row[0]] = row
    return list(found.values())
