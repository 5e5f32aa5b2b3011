"""Rows of ``agent/damage.py``: which payloads are not, or may not be, what was sealed. Few, on a good medium."""

from collections.abc import Iterable
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

_REPLACED: Final = "SELECT o.id, payload FROM damage CROSS JOIN object o ON o.n = damage.object WHERE payload != ''"

_OF_TAG: Final = (
    "SELECT n FROM object WHERE source_tag = ?1 AND length(source_tag) > 0"
    " UNION SELECT object FROM object_file WHERE source_tag = ?1"
)
"""Objects that a source knows by an identity: that of their own, or of a copy that made them whole."""


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
    """Return (id, what, at, seen, sure, wanted) of one object."""
    rows = tx.execute(
        "SELECT o.id, what, at_bytes, seen_ms, sure, wanted"
        " FROM object o CROSS JOIN damage ON damage.object = o.n WHERE o.id = ?",
        (object_id,),
    )
    return rows[0] if rows else None


def page(tx: Tx, *, sure: bool, after: int, limit: int) -> list[Row]:
    """Return (n, then as ``of``) behind a number, without what is being erased."""
    return tx.execute(
        "SELECT damage.object, o.id, what, at_bytes, seen_ms, sure, wanted"
        " FROM damage CROSS JOIN object o ON o.n = damage.object"
        " WHERE damage.object > ? AND sure = ? AND o.state != 'erasing' ORDER BY damage.object LIMIT ?",
        (after, int(sure), limit),
    )


def count(tx: Tx, *, sure: bool) -> int:
    """Return how many are in quarantine, or in doubt, without what is being erased."""
    ((found,),) = tx.execute(
        "SELECT count(*) FROM damage CROSS JOIN object o ON o.n = damage.object"
        " WHERE sure = ? AND o.state != 'erasing'",
        (int(sure),),
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
        tx.execute(f"SELECT 1 FROM damage WHERE sure = 1 AND wanted = 1 AND object IN ({_OF_TAG})", (source_tag,))  # noqa: S608 - our own text
    )


def want_no_more(tx: Tx, source_tag: bytes) -> None:
    """Note that what is offered under a source identity is something else than what is in quarantine."""
    tx.execute(f"UPDATE damage SET wanted = 0 WHERE object IN ({_OF_TAG})", (source_tag,))  # noqa: S608 - the same


def like(tx: Tx, values: dict[str, Any]) -> str | None:
    """Return the id of an object in quarantine or doubt that is this very recording: content, and identity or place.

    The content alone says nothing: two pictures of one camera may be alike. One that has its whole payload already, and
    not in its place yet, comes last.
    """
    kept = ("content_tag", "source", "camera", "category", "kind", "plain_bytes", "size_bytes")
    place = ("source_name", "captured_from_ms", "captured_to_ms")
    same = " AND ".join(f"o.{name} = ?" for name in kept)
    there = " AND ".join(f"o.{name} = ?" for name in place)
    rows = tx.execute(
        "SELECT o.id FROM damage CROSS JOIN object o ON o.n = damage.object"  # noqa: S608 - our own names
        f" WHERE o.state != 'erasing' AND {same} AND (o.source_tag = ? OR ({there}))"
        " ORDER BY payload != '', damage.object LIMIT 1",
        [values[name] for name in (*kept, "source_tag", *place)],
    )
    return str(rows[0][0]) if rows else None


def set_payload(tx: Tx, object_id: str, payload: str) -> None:
    """Note which payload takes its place."""
    tx.execute("UPDATE damage SET payload = ? WHERE object = (SELECT n FROM object WHERE id = ?)", (payload, object_id))


def replacing(tx: Tx, limit: int) -> list[tuple[str, str]]:
    """Return (object, payload) where one is to take the place of another, without what is being erased."""
    rows = tx.execute(f"{_REPLACED} AND o.state != 'erasing' ORDER BY damage.object LIMIT ?", (limit,))
    return [(row[0], row[1]) for row in rows]


def needless(tx: Tx, limit: int) -> list[str]:
    """Return payloads that were to take the place of those of objects that are being erased."""
    rows = tx.execute(f"{_REPLACED} AND o.state = 'erasing' ORDER BY damage.object LIMIT ?", (limit,))
    return [row[1] for row in rows]


def forget_payloads(tx: Tx, payloads: Iterable[str]) -> None:
    """Note that these take no place."""
    tx.executemany("UPDATE damage SET payload = '' WHERE payload = ?", ((one,) for one in payloads))


def payload_of(tx: Tx, object_id: str) -> str:
    """Return the payload that is to take the place of an object's which is not being erased, or ``""``."""
    rows = tx.execute(
        "SELECT payload FROM object o CROSS JOIN damage ON damage.object = o.n WHERE o.id = ? AND o.state != 'erasing'",
        (object_id,),
    )
    return str(rows[0][0]) if rows else ""
