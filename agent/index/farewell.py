"""Tables of ``agent/commands/farewell.py``: a device that leaves its owner, and what former owners' sources gave."""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The owner's erase-all, from the transaction that takes it up until the device is unowned. One row.
    CREATE TABLE farewell (
        only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
        command     TEXT    NOT NULL,  -- jti
        kid         TEXT    NOT NULL,  -- key that asked for it, and is told
        before_ms   INTEGER NOT NULL,  -- what was recorded before this is never taken in again, whoever owns the device
        deadline_ms INTEGER NOT NULL,  -- agent time; then no store and no camera is waited for any more
        phase       TEXT    NOT NULL CHECK (phase IN ('leaving', 'parted', 'told', 'over')),
        since_ms    INTEGER NOT NULL   -- agent time; when this phase began, or when something was last erased in it
    ) STRICT;

    -- Cut-offs of former owners, by where the recordings come from. All that outlives a change of owner.
    CREATE TABLE former (
        tag       BLOB    NOT NULL PRIMARY KEY,  -- salted hash of a source's name, its folder, or a camera's own id
        before_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE former_salt (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        salt     BLOB    NOT NULL
    ) STRICT;
    """,
)


class FarewellRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row; the columns' meaning stands beside the schema."""

    command: str
    kid: str
    before_ms: int
    deadline_ms: int
    phase: str
    since_ms: int


_COLUMNS: Final = ", ".join(FarewellRow.__struct_fields__)


def read(tx: Tx) -> FarewellRow | None:
    """Return the row, if the device leaves its owner."""
    found = tx.execute(f"SELECT {_COLUMNS} FROM farewell WHERE only_row = 1")  # noqa: S608 - our own column names
    return FarewellRow(**dict(zip(FarewellRow.__struct_fields__, found[0], strict=True))) if found else None


def begin(tx: Tx, row: FarewellRow) -> None:
    """Write the row; the caller made sure that there is none."""
    tx.execute(
        f"INSERT INTO farewell (only_row, {_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own column names
        msgspec.structs.astuple(row),
    )


def set_phase(tx: Tx, phase: str, *, since_ms: int) -> None:
    """Note the next phase."""
    tx.execute("UPDATE farewell SET phase = ?, since_ms = ? WHERE only_row = 1", (phase, since_ms))


# -- what is left


def objects_left(tx: Tx) -> int:
    """Return how many objects are left: held ones, here or at a store alone, and any on their way out."""
    return int(tx.execute("SELECT (SELECT count(*) FROM object) + (SELECT count(*) FROM remote_only)")[0][0])


def at_stores_alone(tx: Tx, *, after: str, limit: int) -> list[str]:
    """Return objects that only a store still has and was not asked to erase, by id."""
    found = tx.execute("SELECT object FROM remote_only WHERE object > ? ORDER BY object LIMIT ?", (after, limit))
    return [str(row[0]) for row in found]


def copies_left(tx: Tx) -> int:
    """Return how many copies stores were asked to erase and have not confirmed."""
    return int(tx.execute("SELECT count(*) FROM upload WHERE erase = 1 AND stated_by = ''")[0][0])


def stores_left(tx: Tx) -> list[str]:
    """Return the key ids of the stores that have copies: such ones, and those of what is held."""
    return [str(row[0]) for row in tx.execute("SELECT DISTINCT store FROM upload WHERE stated_by = '' AND store != ''")]


def cameras_left(tx: Tx) -> list[str]:
    """Return the enrolled cameras that are asked to delete copies of their own and have not answered."""
    return [
        str(row[0])
        for row in tx.execute(
            "SELECT camera FROM enrolled_camera c WHERE EXISTS (SELECT 1 FROM source_erase s"
            " WHERE s.state = 'waiting' AND s.source = 'camera-link:' || c.camera)"
        )
    ]


_KEPT: Final = frozenset(
    {
        "schema_part", "farewell", "former", "former_salt", "owner", "key_set", "key_window", "command",
        "command_selection", "command_measure", "command_outcome", "command_tally", "outbox", "timeline", "line",
        "audit", "audit_checkpoint", "vault", "upload", "source_erase", "intent", "cutoff", "request_clock", "export",
    }
)  # fmt: skip
"""What a device that parted still needs: who is told, what stores, cameras and the disk are to remove, its history."""

_CAMERAS: Final = frozenset({"camera", "enrolled_camera", "enrolled_camera_address", "link_identity"})


def wipe(tx: Tx, *, command: str, kid: str) -> None:
    """Empty every table but what is needed to be told by a store or camera and to tell ``kid`` of ``command``.

    Of an export that could not be removed its id alone stays, and no command tries again.

    Also one that a later version adds: what is to stay has to be named here. Nothing may be held any more.
    """
    tx.execute("PRAGMA defer_foreign_keys = ON")
    tables = [str(row[0]) for row in tx.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    kept = _KEPT | (_CAMERAS if cameras_left(tx) else frozenset())
    for table in tables:
        if table not in kept and not table.startswith("sqlite_"):
            tx.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of the schema
    for table in ("selection", "measure", "outcome", "tally"):
        tx.execute(f"DELETE FROM command_{table} WHERE jti != ?", (command,))  # noqa: S608 - our own names
    tx.execute("DELETE FROM export WHERE retried_by = ''")
    tx.execute(
        "UPDATE export SET asked_ms = 0, made_ms = 0, bytes = 0, recipients = '', retried_by = 'device',"
        " removed_by = ''"
    )
    tx.execute("DELETE FROM command WHERE jti != ?", (command,))
    tx.execute("DELETE FROM request_clock WHERE command != ?", (command,))
    tx.execute("DELETE FROM key_window WHERE kid != ?", (kid,))
    tx.execute("DELETE FROM outbox WHERE reader != ?", (kid,))
    tx.execute("DELETE FROM upload WHERE erase = 0 OR stated_by != ''")
    tx.execute("DELETE FROM source_erase WHERE state != 'waiting'")


# -- what former owners' sources gave


def salt(tx: Tx) -> bytes:
    """Return what the tags are salted with; empty where there was no former owner."""
    found = tx.execute("SELECT salt FROM former_salt WHERE only_row = 1")
    return bytes(found[0][0]) if found else b""


def former(tx: Tx) -> list[tuple[bytes, int]]:
    """Return (tag, before) of former owners' cut-offs."""
    return [(bytes(tag), int(before_ms)) for tag, before_ms in tx.execute("SELECT tag, before_ms FROM former")]


def keep_former(tx: Tx, salt_: bytes, cutoffs: Iterable[tuple[bytes, int]]) -> None:
    """Write former owners' cut-offs; one that is there already moves forward alone."""
    tx.execute("INSERT OR IGNORE INTO former_salt VALUES (1, ?)", (salt_,))
    tx.executemany(
        "INSERT INTO former VALUES (?, ?) ON CONFLICT DO UPDATE SET before_ms = excluded.before_ms"
        " WHERE excluded.before_ms > before_ms",
        cutoffs,
    )


def former_before(tx: Tx, tag: bytes) -> int | None:
    """Return before when what such a source gives was a former owner's."""
    found = tx.execute("SELECT before_ms FROM former WHERE tag = ?", (tag,))
    return int(found[0][0]) if found else None


def devices(tx: Tx) -> list[str]:
    """Return the ids that enrolled cameras call themselves by."""
    return [str(row[0]) for row in tx.execute("SELECT device FROM enrolled_camera WHERE device != ''")]


def device_of(tx: Tx, camera: str) -> str:
    """Return the id that an enrolled camera calls itself by, or ''."""
    found = tx.execute("SELECT device FROM enrolled_camera WHERE camera = ?", (camera,))
    return str(found[0][0]) if found else ""
