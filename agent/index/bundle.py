"""Exports that lie in the export folder."""

from collections.abc import Iterable
from typing import Any, Final

from agent.index.transaction import Tx
from agent.index.vault import Chosen

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A finished export. Its files are in the folder of that name; a folder without a row is a left-over.
    CREATE TABLE export (
        id      TEXT    PRIMARY KEY,
        made_ms INTEGER NOT NULL,     -- agent time
        bytes   INTEGER NOT NULL      -- of all its files
    ) STRICT;
    """,
    """
    -- Which objects an export holds a copy of: a delete's receipt says that the copy is still there.
    CREATE TABLE export_object (
        export TEXT NOT NULL REFERENCES export (id),
        object TEXT NOT NULL,
        PRIMARY KEY (object, export)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX export_object_by_export ON export_object (export);
    """,
    """
    -- To whom it is sealed, separated by spaces; empty where it was made before this was written down.
    ALTER TABLE export ADD COLUMN recipients TEXT NOT NULL DEFAULT '';
    """,
    """
    -- When it was asked for (agent time): what was asked before a delete of everything goes with it. And that it has to
    -- go and its files could not be removed: who tries again ('command', 'device'), else empty.
    ALTER TABLE export ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE export SET asked_ms = made_ms;
    ALTER TABLE export ADD COLUMN retried_by TEXT NOT NULL DEFAULT '';
    """,
    """
    -- The command that has begun to remove it, of which it is still to answer; else empty.
    ALTER TABLE export ADD COLUMN removed_by TEXT NOT NULL DEFAULT '';
    """,
    """
    -- What an object in an export was of, and when: a delete by camera, category or time finds its copy when the object
    -- is gone. Without a value where an older version wrote it and nothing was left of the object by the update.
    ALTER TABLE export_object ADD COLUMN camera TEXT;
    ALTER TABLE export_object ADD COLUMN category TEXT;
    ALTER TABLE export_object ADD COLUMN captured_from_ms INTEGER;
    ALTER TABLE export_object ADD COLUMN captured_to_ms INTEGER;
    UPDATE export_object SET camera = r.camera, category = r.category, captured_from_ms = r.captured_from_ms,
        captured_to_ms = r.captured_to_ms FROM remote_only r WHERE r.object = export_object.object;
    UPDATE export_object SET camera = o.camera, category = o.category, captured_from_ms = o.captured_from_ms,
        captured_to_ms = o.captured_to_ms FROM object o WHERE o.id = export_object.object;
    """,
)

CopyRow = tuple[str, str, str, int, int]
"""(object, its camera and category, when it was captured, from and to)."""

ExportRow = tuple[str, int, int, str, int, str, str]
"""(id, made, bytes, recipients, number of objects, who tries again to remove it, which command has begun to)."""

_OPEN: Final = "EXISTS (SELECT 1 FROM command WHERE jti = removed_by AND settled_ms IS NULL)"
"""The command that has begun to remove an export is still to answer; one that is over, or forgotten, tries no more."""

_SELECT: Final = (
    "SELECT id, made_ms, bytes, recipients, (SELECT count(*) FROM export_object WHERE export = export.id), retried_by,"  # noqa: S608 - our own text
    f" CASE WHEN {_OPEN} THEN removed_by ELSE '' END FROM export"
)


def put(
    tx: Tx,
    export_id: str,
    *,
    asked_ms: int,
    made_ms: int,
    size_bytes: int,
    recipients: tuple[str, ...],
    objects: Iterable[CopyRow],
) -> None:
    """Write a finished export; one that was built again replaces the rows."""
    drop(tx, export_id)
    tx.execute(
        "INSERT INTO export (id, asked_ms, made_ms, bytes, recipients) VALUES (?, ?, ?, ?, ?)",
        (export_id, asked_ms, made_ms, size_bytes, " ".join(recipients)),
    )
    tx.executemany(
        "INSERT INTO export_object (export, object, camera, category, captured_from_ms, captured_to_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        ((export_id, *copy) for copy in objects),
    )


def drop(tx: Tx, export_id: str) -> bool:
    """Remove an export's rows; return whether they were there."""
    tx.execute("DELETE FROM export_object WHERE export = ?", (export_id,))
    return bool(tx.execute("DELETE FROM export WHERE id = ? RETURNING 1", (export_id,)))


def exports(tx: Tx) -> tuple[ExportRow, ...]:
    """Return every export, sorted by id."""
    return tuple(_row(values) for values in tx.execute(f"{_SELECT} ORDER BY id"))


def ids(tx: Tx) -> frozenset[str]:
    """Return the ids of all exports."""
    return frozenset(row[0] for row in tx.execute("SELECT id FROM export"))


def asked_by(tx: Tx, ms: int) -> frozenset[str]:
    """Return the exports that had been asked for by a time (agent time)."""
    return frozenset(row[0] for row in tx.execute("SELECT id FROM export WHERE asked_ms <= ?", (ms,)))


def begin_removal(tx: Tx, export_id: str, command: str) -> None:
    """Write down, before its files go, which command removes an export."""
    tx.execute("UPDATE export SET removed_by = ?1 WHERE id = ?2 AND removed_by != ?1", (command, export_id))


def being_removed(tx: Tx) -> frozenset[str]:
    """Return the exports that commands have begun to remove."""
    return frozenset(row[0] for row in tx.execute(f"SELECT id FROM export WHERE {_OPEN}"))  # noqa: S608 - our own text


def put_off(tx: Tx, export_id: str) -> None:
    """Write down that an export could not be removed, and who tries again: commands before the device."""
    tx.execute(
        f"UPDATE export SET retried_by = CASE WHEN {_OPEN} THEN 'command' ELSE 'device' END"  # noqa: S608 - our own text
        " WHERE id = ? AND retried_by != 'command'",
        (export_id,),
    )


def release(tx: Tx, export_id: str) -> None:
    """Let the device try again in the place of commands."""
    tx.execute("UPDATE export SET retried_by = 'device', removed_by = '' WHERE id = ?", (export_id,))


def keep(tx: Tx, export_id: str) -> None:
    """Let no command try again: whoever wanted it gone may not any more."""
    tx.execute("UPDATE export SET retried_by = '' WHERE id = ? AND retried_by = 'command'", (export_id,))
    tx.execute("UPDATE export SET removed_by = '' WHERE id = ?", (export_id,))


def those_put_off(tx: Tx) -> tuple[str, ...]:
    """Return the exports that could not be removed, sorted."""
    return tuple(row[0] for row in tx.execute("SELECT id FROM export WHERE retried_by != '' ORDER BY id"))


def holding(tx: Tx, object_id: str, *, limit: int) -> tuple[str, ...]:
    """Return the exports that hold a copy of an object, the first of them by id."""
    rows = tx.execute("SELECT export FROM export_object WHERE object = ? ORDER BY export LIMIT ?", (object_id, limit))
    return tuple(row[0] for row in rows)


def gone(tx: Tx, chosen: Chosen) -> tuple[str, ...]:
    """Return of what is chosen those objects of which exports have a copy and that are not here, or are being erased.

    What nothing but its id is known of is chosen with everything.
    """
    clauses, params = chosen.clauses()
    rows = tx.execute(
        f"SELECT DISTINCT object FROM export_object WHERE {clauses}"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = export_object.object AND o.state != 'erasing')",
        tuple(params),
    )
    return tuple(row[0] for row in rows)


def _row(values: tuple[Any, ...]) -> ExportRow:
    return values[0], values[1], values[2], values[3], values[4], values[5], values[6]
