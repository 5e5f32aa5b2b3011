"""Rows of ``agent/registry.py``: cameras and their labels."""

from collections.abc import Iterable
from typing import Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- Every camera that something was taken in from. The label is personal: else it
    -- stands only in what is sealed to the owner (inventory receipts, manifests of exports).
    CREATE TABLE camera (
        id     TEXT NOT NULL PRIMARY KEY,  -- random, 8 characters; what policy, messages and audit say
        source TEXT NOT NULL,              -- name of the [[source]]
        label  TEXT NOT NULL,              -- as the source's paths call it
        UNIQUE (source, label)
    ) STRICT, WITHOUT ROWID;

    -- Log files that were sealed together. Written before the batch is admitted, so a row alone proves nothing: the
    -- file was taken if, and only if, the vault knows the batch.
    CREATE TABLE batch_member (
        tag    BLOB NOT NULL PRIMARY KEY,  -- keyed hash of the file's identity, 32 bytes
        batch  BLOB NOT NULL,              -- source tag of the object that holds it, 32 bytes
        object TEXT NOT NULL,              -- its id
        path   TEXT NOT NULL               -- beneath the source's folder, to give the file up after a crash
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX batch_member_object ON batch_member (object);
    """,
    """
    -- The vault knows each log file by itself since then (object_file), and in the transaction that admits it. What was
    -- noted here goes there: files of batches that are held, and of batches that were deleted.
    INSERT INTO object_file (object, source_tag, content_tag, captured_from_ms, path)
        SELECT o.n, m.tag, x'', o.captured_from_ms, m.path FROM batch_member m JOIN object o ON o.source_tag = m.batch;
    INSERT INTO tombstone (source_tag, content_tag, source, captured_from_ms, rule)
        SELECT m.tag, x'', t.source, t.captured_from_ms, t.rule FROM batch_member m
        JOIN tombstone t ON t.source_tag = m.batch;
    DROP TABLE batch_member;
    """,
    """
    -- What its owner called a camera that was enrolled and is forgotten; else ''. Personal, and goes with the row.
    ALTER TABLE camera ADD COLUMN name TEXT NOT NULL DEFAULT '';
    """,
    """
    -- Under which name of a [[source]] something was taken in from a folder; under another its cameras would be others.
    CREATE TABLE named_folder (
        n      INTEGER PRIMARY KEY,
        folder INTEGER NOT NULL,  -- as object.source_folder; of a tmpfs its path, as SourceSettings.known_by makes it
        source TEXT    NOT NULL,
        UNIQUE (folder, source)
    ) STRICT;
    """,
)


def camera_id(tx: Tx, source: str, label: str) -> str | None:
    """Return the id of a known camera."""
    rows = tx.execute("SELECT id FROM camera WHERE source = ? AND label = ?", (source, label))
    return str(rows[0][0]) if rows else None


def insert_camera(tx: Tx, camera: str, *, source: str, label: str) -> bool:
    """Add a camera; ``False`` when the id or the label is there already."""
    tx.execute("INSERT OR IGNORE INTO camera (id, source, label) VALUES (?, ?, ?)", (camera, source, label))
    return tx.changes() == 1


def unheld_cameras(tx: Tx, *, all_deleted: bool) -> list[str]:
    """Return ids of cameras that are not enrolled or switched off by hand, and that nothing that stands names.

    That is no object and no cut-off, and no restriction or hold: what the camera records next is covered too. Nor,
    unless all was deleted, a tombstone or a mark. The only look that this file takes at the tables of others.
    """
    found = tx.execute(
        "SELECT id FROM camera WHERE NOT EXISTS (SELECT 1 FROM object WHERE object.camera = camera.id)"
        " AND id NOT IN (SELECT camera FROM cutoff) AND id NOT IN (SELECT camera FROM enrolled_camera)"
        " AND id NOT IN (SELECT camera FROM collection_off) AND id NOT IN (SELECT camera FROM freeze)"
    )
    ids = [str(row[0]) for row in found]
    if all_deleted or not ids:
        return ids
    named = tx.execute("SELECT DISTINCT camera FROM tombstone WHERE camera != '' UNION SELECT camera FROM mark")
    return sorted(set(ids) - {str(row[0]) for row in named})


def delete_cameras(tx: Tx, ids: Iterable[str]) -> None:
    """Remove cameras and their labels."""
    tx.executemany("DELETE FROM camera WHERE id = ?", ((one,) for one in ids))


def names_of(tx: Tx, folder: int) -> list[str]:
    """Return the names of sources under which something was taken in from a folder, the newest first."""
    return [
        str(row[0]) for row in tx.execute("SELECT source FROM named_folder WHERE folder = ? ORDER BY n DESC", (folder,))
    ]


def keep_folder(tx: Tx, folder: int, source: str, *, at_most: int) -> None:
    """Note under which name something was taken in from a folder; of too many the oldest goes."""
    tx.execute("INSERT OR IGNORE INTO named_folder (folder, source) VALUES (?, ?)", (folder, source))
    if tx.changes():
        tx.execute("DELETE FROM named_folder WHERE n <= (SELECT max(n) FROM named_folder) - ?", (at_most,))


def set_name(tx: Tx, camera: str, name: str) -> None:
    """Keep what its owner called a camera."""
    tx.execute("UPDATE camera SET name = ? WHERE id = ?", (name, camera))


def camera(tx: Tx, camera_id: str) -> tuple[str, str, str, str] | None:
    """Return (id, source, label, name)."""
    rows = tx.execute("SELECT id, source, label, name FROM camera WHERE id = ?", (camera_id,))
    return _camera(rows[0]) if rows else None


def cameras(tx: Tx, *, after: str, limit: int) -> list[tuple[str, str, str, str]]:
    """Return a page of (id, source, label, name) with ids above ``after``."""
    rows = tx.execute("SELECT id, source, label, name FROM camera WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return list(map(_camera, rows))


def _camera(row: Row) -> tuple[str, str, str, str]:
    return str(row[0]), str(row[1]), str(row[2]), str(row[3])


def count_cameras(tx: Tx) -> int:
    """Return how many cameras there are."""
    return int(tx.execute("SELECT count(*) FROM camera")[0][0])
