"""Rows of ``agent/damage.py``: which payloads are not, or may not be, what was sealed. Few, on a good medium."""

from typing import Any, Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final = (
    """
-- Payloads that were looked at and are not what was sealed. A row goes with its object, or once its payload is whole.
CREATE TABLE damage (
  object   INTEGER PRIMARY KEY REFERENCES object (n) ON DELETE CASCADE,
  what     TEXT    NOT NULL CHECK (what IN ('changed', 'short', 'long', 'missing', 'unreadable')),
  at_bytes INTEGER NOT NULL,   -- short: how many there are; unreadable: from which on; else 0
  seen_ms  INTEGER NOT NULL,   -- agent time of the first look that found it
  sure     INTEGER NOT NULL,   -- 0: what cannot be read now may be read later; 1: in quarantine
  wanted   INTEGER NOT NULL,   -- 1: what its source offers of it is taken in again
  payload  TEXT    NOT NULL    -- name of the whole payload that takes its place, until it has; else ''
) STRICT;
CREATE INDEX damage_by_payload ON damage (payload);   -- a sweep asks for each file whether it is one of these
""",
)

_DAMAGE: Final = (
    "SELECT o.id, what, at_bytes, seen_ms, sure, wanted, payload FROM damage CROSS JOIN object o ON o.n = damage.object"
)


def put(tx: Tx, object_id: str, *, what: str, at_bytes: int, seen_ms: int, sure: bool, wanted: bool) -> None:
    """Note what is wrong with an object's payload; when that was first seen stays."""
    tx.execute(
        "INSERT INTO damage SELECT n, ?2, ?3, ?4, ?5, ?6, '' FROM object WHERE id = ?1"
        " ON CONFLICT DO UPDATE SET what = ?2, at_bytes = ?3, sure = max(sure, ?5), wanted = ?6",
        (object_id, what, at_bytes, seen_ms, int(sure), int(wanted)),
    )


def drop(tx: Tx, object_id: str) -> bool:
    """Forget it; return whether there was something."""
    tx.execute("DELETE FROM damage WHERE object = (SELECT n FROM object WHERE id = ?)", (object_id,))
    return tx.changes() == 1


def of(tx: Tx, object_id: str) -> Row | None:
    """Return (id, what, at, seen, sure, wanted, payload) of one object."""
    rows = tx.execute(
        "SELECT o.id, what, at_bytes, seen_ms, sure, wanted, payload"
        " FROM object o CROSS JOIN damage ON damage.object = o.n WHERE o.id = ?",
        (object_id,),
    )
    return rows[0] if rows else None


def page(tx: Tx, *, sure: bool, after: int, limit: int) -> list[Row]:
    """Return (n, then as ``of``) behind a number, without what is being erased."""
    return tx.execute(
        "SELECT damage.object, o.id, what, at_bytes, seen_ms, sure, wanted, payload"
        " FROM damage CROSS JOIN object o ON o.n = damage.object"
        " WHERE damage.object > ? AND sure = ? AND o.state != 'erasing' ORDER BY damage.object LIMIT ?",
        (after, int(sure), limit),
    )


def count(tx: Tx) -> int:
    """Return how many are in quarantine, without what is being erased."""
    ((found,),) = tx.execute(
        "SELECT count(*) FROM damage CROSS JOIN object o ON o.n = damage.object WHERE sure = 1 AND o.state != 'erasing'"
    )
    return int(found)


def waiting(tx: Tx) -> list[Row]:
    """Return (camera, category, objects, bytes) of what is in quarantine and no store has confirmed."""
    return tx.execute(
        "SELECT o.camera, o.category, count(*), sum(o.size_bytes)"
        " FROM damage CROSS JOIN object o ON o.n = damage.object"
        " WHERE sure = 1 AND o.state = 'sealed' GROUP BY o.camera, o.category"
    )


def wanted(tx: Tx, source_tag: bytes) -> bool:
    """Tell whether the object of a source identity is in quarantine and taken in again where it is offered."""
    return bool(
        tx.execute(
            "SELECT 1 FROM object o CROSS JOIN damage ON damage.object = o.n"
            " WHERE o.source_tag = ? AND length(o.source_tag) > 0 AND sure = 1 AND wanted = 1",
            (source_tag,),
        )
    )


def want_no_more(tx: Tx, object_id: str) -> None:
    """Note that what its source offers under its name is something else."""
    tx.execute("UPDATE damage SET wanted = 0 WHERE object = (SELECT n FROM object WHERE id = ?)", (object_id,))


def like(tx: Tx, values: dict[str, Any]) -> str | None:
    """Return the id of an object in quarantine that is this very recording: its content, and its identity or place.

    The content alone says nothing: two pictures of one camera may be alike.
    """
    kept = ("content_tag", "source", "camera", "category", "kind", "plain_bytes", "size_bytes")
    place = ("name", "captured_from_ms", "captured_to_ms")
    same = " AND ".join(f"o.{name} = ?" for name in kept)
    there = " AND ".join(f"o.{name} = ?" for name in place)
    rows = tx.execute(
        "SELECT o.id FROM damage CROSS JOIN object o ON o.n = damage.object WHERE sure = 1 AND payload = ''"  # noqa: S608 - our own names
        f" AND o.state != 'erasing' AND {same} AND (o.source_tag = ? OR ({there})) ORDER BY damage.object LIMIT 1",
        [values[name] for name in (*kept, "source_tag", *place)],
    )
    return str(rows[0][0]) if rows else None


def set_payload(tx: Tx, object_id: str, payload: str) -> None:
    """Note which payload takes its place."""
    tx.execute("UPDATE damage SET payload = ? WHERE object = (SELECT n FROM object WHERE id = ?)", (payload, object_id))


def replacing(tx: Tx, limit: int) -> list[tuple[str, str]]:
    """Return (object, payload) where one was to take its place."""
    rows = tx.execute(f"{_DAMAGE} WHERE payload != '' ORDER BY damage.object LIMIT ?", (limit,))
    return [(row[0], row[6]) for row in rows]
