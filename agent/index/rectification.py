"""Rows of ``agent/rights/correction.py``: what the owner corrected, and which stores have not confirmed it."""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- What the owner corrected of a camera or an object, all of it together. Personal; goes with what it is of.
    CREATE TABLE correction (
        target TEXT    NOT NULL PRIMARY KEY,                          -- id of the camera or the object
        about  TEXT    NOT NULL CHECK (about IN ('camera', 'object')),
        n      INTEGER NOT NULL,   -- 1, 2, ... for each target: a store keeps the highest
        upto   INTEGER NOT NULL,   -- object.n of the newest object then: what arrived later was never wrong
        fields TEXT    NOT NULL,   -- JSON: name, location
        at_ms  INTEGER NOT NULL    -- agent time
    ) STRICT, WITHOUT ROWID;

    -- Copies whose store has not stated yet that it keeps the newest correction with them.
    CREATE TABLE correction_due (
        store  TEXT NOT NULL,
        target TEXT NOT NULL,
        upload TEXT NOT NULL,
        PRIMARY KEY (store, target, upload)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX correction_due_target ON correction_due (target);
    CREATE INDEX correction_due_upload ON correction_due (upload);

    -- Commands that wait until no copy of their target is due.
    CREATE TABLE correction_command (
        command   TEXT NOT NULL PRIMARY KEY,
        target    TEXT NOT NULL,
        stated_by TEXT NOT NULL        -- the store whose word came last, or ''
    ) STRICT, WITHOUT ROWID;

    -- A copy that becomes one after the correction is due as well: a storage receipt may come for what was uploaded
    -- before, and a store that lost its copy gets another.
    CREATE TRIGGER correction_of_stored AFTER UPDATE OF stored ON upload
    WHEN NEW.stored = 1 AND OLD.stored = 0 AND NEW.erase = 0 AND EXISTS (SELECT 1 FROM correction) BEGIN
        INSERT OR IGNORE INTO correction_due SELECT NEW.store, c.target, NEW.id
        FROM (SELECT n, camera FROM object WHERE id = NEW.object
              UNION ALL SELECT n, camera FROM remote_only WHERE object = NEW.object LIMIT 1) o
        JOIN correction c ON c.target IN (NEW.object, o.camera) AND c.upto >= o.n;
    END;
    CREATE TRIGGER correction_not_of_given_up AFTER UPDATE OF stored, current, erase ON upload
    WHEN NEW.stored = 0 OR NEW.current = 0 OR NEW.erase = 1 BEGIN
        DELETE FROM correction_due WHERE upload = NEW.id;
    END;
    CREATE TRIGGER correction_not_of_gone AFTER DELETE ON upload BEGIN
        DELETE FROM correction_due WHERE upload = OLD.id;
    END;

    -- What is corrected of something goes with it.
    CREATE TRIGGER correction_goes_here AFTER DELETE ON object
    WHEN NOT EXISTS (SELECT 1 FROM remote_only WHERE object = OLD.id) BEGIN
        DELETE FROM correction WHERE target = OLD.id;
        DELETE FROM correction_due WHERE target = OLD.id;
    END;
    CREATE TRIGGER correction_goes_there AFTER DELETE ON remote_only
    WHEN NOT EXISTS (SELECT 1 FROM object WHERE id = OLD.object) BEGIN
        DELETE FROM correction WHERE target = OLD.object;
        DELETE FROM correction_due WHERE target = OLD.object;
    END;
    CREATE TRIGGER correction_goes_with_camera AFTER DELETE ON camera BEGIN
        DELETE FROM correction WHERE target = OLD.id;
        DELETE FROM correction_due WHERE target = OLD.id;
    END;
    """,
    """
    -- Copies of which a store said that it has none, since the command came.
    ALTER TABLE correction_command ADD COLUMN absent INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- A correction of an object took the place of its source's name, until each had a column of its own (vault_schema).
    -- Of those nobody knows the source's: no camera can be asked by it, and no file is looked for under it.
    UPDATE object SET corrected_name = source_name, source_name = '', source_sha256 = x''
    WHERE id IN (SELECT target FROM correction WHERE about = 'object');
    UPDATE source_erase SET card = 0, sha256 = x''
    WHERE state = 'waiting' AND object IN (SELECT target FROM correction WHERE about = 'object');
    """,
)


def correction(tx: Tx, target: str) -> Row | None:
    """Return (about, n, fields, at) of what was corrected of a camera or an object."""
    found = tx.execute("SELECT about, n, fields, at_ms FROM correction WHERE target = ?", (target,))
    return found[0] if found else None


def put(tx: Tx, target: str, *, about: str, n: int, fields: str, at_ms: int) -> None:
    """Write what is corrected of a target by now, for everything that has arrived."""
    tx.execute(
        "INSERT OR REPLACE INTO correction VALUES (?, ?, ?, (SELECT coalesce(max(n), 0) FROM"
        " (SELECT max(n) AS n FROM object UNION ALL SELECT max(n) FROM remote_only)), ?, ?)",
        (target, about, n, fields, at_ms),
    )


_OF: Final = {
    "camera": (
        "SELECT id FROM object INDEXED BY object_of_set WHERE state != 'erasing' AND camera = ?1"
        " UNION SELECT object FROM remote_only WHERE camera = ?1"
    ),
    "object": "SELECT ?1",
}


def make_due(tx: Tx, target: str, *, about: str) -> int:
    """Have every copy at a store corrected; return how many there are."""
    tx.execute("DELETE FROM correction_due WHERE target = ?", (target,))
    tx.execute(
        "INSERT INTO correction_due SELECT u.store, ?1, u.id FROM upload u"  # noqa: S608 - our own text
        f" WHERE u.object IN ({_OF[about]}) AND u.stored = 1 AND u.current = 1 AND u.erase = 0",
        (target,),
    )
    return due(tx, target)


def due(tx: Tx, target: str) -> int:
    """Return how many copies of a target are to be corrected still."""
    return int(tx.execute("SELECT count(*) FROM correction_due WHERE target = ?", (target,))[0][0])


def due_at(tx: Tx, store: str, *, since: tuple[str, str], limit: int) -> list[Row]:
    """Return (target, upload, object, manifest, recipients) of copies that a store has to correct.

    They begin with the (target, upload) of ``since``. ``recipients`` is one text, one a line; empty where they are not
    known here any more.
    """
    return tx.execute(
        "SELECT d.target, d.upload, u.object, u.manifest, coalesce(r.recipients, '') FROM correction_due d"
        " JOIN upload u ON u.id = d.upload LEFT JOIN object o ON o.id = u.object"
        " LEFT JOIN recipient_set r ON r.n = o.recipient_set"
        " WHERE d.store = ? AND (d.target, d.upload) >= (?, ?) ORDER BY d.target, d.upload LIMIT ?",
        (store, *since, limit),
    )


def confirm(tx: Tx, store: str, *, target: str, upload: str, kept: bool) -> bool:
    """Note a store's word that it keeps the correction with a copy, or has no such copy; return whether it was news."""
    tx.execute("DELETE FROM correction_due WHERE store = ? AND target = ? AND upload = ?", (store, target, upload))
    news = tx.changes() > 0
    if news and kept:
        tx.execute("UPDATE correction_command SET stated_by = ? WHERE target = ?", (store, target))
    elif news:
        tx.execute("UPDATE correction_command SET absent = absent + 1 WHERE target = ?", (target,))
    return news


def wait(tx: Tx, command: str, *, target: str) -> None:
    """Let a command wait until no copy of its target is due."""
    tx.execute("INSERT INTO correction_command (command, target, stated_by) VALUES (?, ?, '')", (command, target))


_OVER: Final = (
    " FROM correction_command c WHERE NOT EXISTS"
    " (SELECT 1 FROM correction_due d WHERE d.target = c.target AND d.store IN (SELECT value FROM json_each(?1)))"
)


def over(tx: Tx, *, stores: Iterable[str], limit: int) -> list[Row]:
    """Return, and forget, those commands that wait for none of these stores any more.

    As (command, target, stated by, copies that are absent, copies at other stores, whether the target is there still).
    """
    found = tx.execute(
        "SELECT c.command, c.target, c.stated_by, c.absent,"  # noqa: S608 - our own text
        " (SELECT count(*) FROM correction_due d WHERE d.target = c.target),"
        f" EXISTS (SELECT 1 FROM correction r WHERE r.target = c.target){_OVER} LIMIT ?2",
        (_json(stores), limit),
    )
    tx.executemany("DELETE FROM correction_command WHERE command = ?", ((row[0],) for row in found))
    return found


def is_any_over(tx: Tx, *, stores: Iterable[str]) -> bool:
    """Tell whether a command waits for none of these stores any more."""
    return bool(tx.execute(f"SELECT 1{_OVER} LIMIT 1", (_json(stores),)))


def _json(stores: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(stores)).decode()
