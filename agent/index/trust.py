"""The owner, the key set, each key's sequence window, commands with their stored results, and what quotas counted."""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.ids import Ids
from agent.index.transaction import Tx
from agent.model import Outcome

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- Who owns this device. One row, written once; another owner begins with another state folder.
    CREATE TABLE owner (
        only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
        descriptor   BLOB    NOT NULL,  -- the owner's public descriptor as JSON
        installed_ms INTEGER NOT NULL   -- agent time
    ) STRICT;

    -- The newest key set that was accepted. One row.
    CREATE TABLE key_set (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        version  INTEGER NOT NULL,
        raw      BLOB    NOT NULL       -- the JWS as the owner's root signed it
    ) STRICT;

    -- Which sequence numbers of a key were used. Survives the key's removal from the set: it may come back.
    CREATE TABLE key_window (
        kid     TEXT    PRIMARY KEY,
        highest INTEGER NOT NULL,
        seen    BLOB    NOT NULL        -- big-endian bit set; bit i set: highest - i was used
    ) STRICT;

    -- A command that was taken up, and its newest receipt. Kept until acknowledged, then for a bounded while.
    CREATE TABLE command (
        jti             TEXT    PRIMARY KEY,
        kid             TEXT    NOT NULL,
        role            TEXT    NOT NULL,  -- of the key when it arrived
        recipient       TEXT    NOT NULL,  -- that its receipts are sealed to
        digest          TEXT    NOT NULL,  -- SHA-256 of the signing input, hex
        seq             INTEGER NOT NULL,
        verb            TEXT    NOT NULL,
        claims          BLOB    NOT NULL,  -- the verified claims, JSON; emptied at the terminal receipt
        status          TEXT    NOT NULL,  -- of its newest receipt
        reason          TEXT    NOT NULL,  -- what a waiting one waits for, or ''
        approved_by     TEXT    NOT NULL,  -- the owner's key that let it pass its quota, or ''
        received_ms     INTEGER NOT NULL,  -- agent time
        settled_ms      INTEGER,           -- agent time of the terminal receipt; NULL: work remains
        acknowledged    INTEGER NOT NULL DEFAULT 0,
        selection_count INTEGER NOT NULL,
        selection_hash  TEXT    NOT NULL,
        receipt_jti     TEXT    NOT NULL,
        receipt         BLOB    NOT NULL   -- the MQTT payload: kind byte and sealed JWS
    ) STRICT;
    CREATE INDEX command_by_key ON command (kid, settled_ms);
    CREATE INDEX command_unfinished ON command (status) WHERE settled_ms IS NULL;
    CREATE INDEX command_by_receipt ON command (receipt_jti);

    -- The selection of a command as it was frozen when it arrived. One value, because a row for each of a million
    -- objects would take longer than a command may wait for its first receipt.
    CREATE TABLE command_selection (
        jti TEXT PRIMARY KEY REFERENCES command (jti) ON DELETE CASCADE,
        ids BLOB NOT NULL                  -- object ids of 26 bytes, sorted, nothing between them
    ) STRICT;

    -- What became of an object of a command; without a row it is not decided yet.
    CREATE TABLE command_outcome (
        jti       TEXT NOT NULL REFERENCES command (jti) ON DELETE CASCADE,
        object_id TEXT NOT NULL,
        result    TEXT NOT NULL,
        outcome   BLOB NOT NULL,           -- JSON of the Outcome
        PRIMARY KEY (jti, object_id)
    ) STRICT, WITHOUT ROWID;

    -- What a key with a quota has used, for the rolling window.
    CREATE TABLE spending (
        kid     TEXT    NOT NULL,
        at_ms   INTEGER NOT NULL,          -- agent time
        objects INTEGER NOT NULL,
        bytes   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX spending_by_key ON spending (kid, at_ms);
    """,
    """
    -- What waits for a store's word alone (status waiting, reason '') may be much, and is passed over in one step.
    DROP INDEX command_unfinished;
    CREATE INDEX command_unfinished ON command (status, reason) WHERE settled_ms IS NULL;
    CREATE INDEX command_unfinished_by_key ON command (kid, status, reason) WHERE settled_ms IS NULL;
    """,
    """
    -- How large a command's selection is and how far it is, kept with each outcome: counting a million of them each
    -- time would take longer than deleting some. Not beside the ids: a change there would write all of them anew.
    CREATE TABLE command_measure (
        jti     TEXT PRIMARY KEY REFERENCES command (jti) ON DELETE CASCADE,
        objects INTEGER NOT NULL,          -- of the selection, when it was frozen: what a quota counts
        bytes   INTEGER NOT NULL,          -- sum of their sealed sizes
        open    INTEGER NOT NULL           -- ids of the selection without an outcome
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE command_tally (
        jti     TEXT NOT NULL REFERENCES command (jti) ON DELETE CASCADE,
        result  TEXT NOT NULL,
        objects INTEGER NOT NULL,
        PRIMARY KEY (jti, result)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO command_tally SELECT jti, result, count(*) FROM command_outcome GROUP BY jti, result;
    CREATE TRIGGER tally_grows AFTER INSERT ON command_outcome BEGIN
        INSERT INTO command_tally VALUES (NEW.jti, NEW.result, 1) ON CONFLICT DO UPDATE SET objects = objects + 1;
    END;
    CREATE TRIGGER tally_changes AFTER UPDATE OF result ON command_outcome WHEN OLD.result != NEW.result BEGIN
        UPDATE command_tally SET objects = objects - 1 WHERE jti = OLD.jti AND result = OLD.result;
        INSERT INTO command_tally VALUES (NEW.jti, NEW.result, 1) ON CONFLICT DO UPDATE SET objects = objects + 1;
    END;
    """,
    """
    -- When a command came, for one that waits: by both clocks, and never in front of a look at a growing log.
    ALTER TABLE command ADD COLUMN behind_ms INTEGER NOT NULL DEFAULT 0;   -- agent time
    ALTER TABLE command ADD COLUMN wall_ms INTEGER NOT NULL DEFAULT 0;     -- what the wall clock said
    UPDATE command SET behind_ms = received_ms, wall_ms = received_ms;
    """,
)


class CommandRow(msgspec.Struct, frozen=True, kw_only=True):
    """One command that was taken up; the columns' meaning stands beside the schema."""

    jti: str
    kid: str
    role: str
    recipient: str
    digest: str
    seq: int
    verb: str
    claims: bytes
    status: str
    reason: str
    approved_by: str
    received_ms: int
    behind_ms: int
    wall_ms: int
    settled_ms: int | None
    acknowledged: int
    selection_count: int
    selection_hash: str
    receipt_jti: str
    receipt: bytes


_OUTCOME_BYTES: Final = 256
"""What an id of a selection takes, about: its place in the selection, and its outcome with the row around it."""

_COLUMNS: Final = ", ".join(CommandRow.__struct_fields__)
_PLACES: Final = ", ".join("?" for _name in CommandRow.__struct_fields__)
_CHANGES: Final = ", ".join(f"{name} = excluded.{name}" for name in CommandRow.__struct_fields__[1:])


def owner(tx: Tx) -> bytes | None:
    """Return the owner's descriptor."""
    rows = tx.execute("SELECT descriptor FROM owner WHERE only_row = 1")
    return rows[0][0] if rows else None


def set_owner(tx: Tx, descriptor: bytes, *, installed_ms: int) -> None:
    """Write the owner; the caller made sure that there is none."""
    tx.execute("INSERT INTO owner VALUES (1, ?, ?)", (descriptor, installed_ms))


def change_owner(tx: Tx, descriptor: bytes) -> None:
    """Replace what is kept of the owner."""
    tx.execute("UPDATE owner SET descriptor = ? WHERE only_row = 1", (descriptor,))


def key_set(tx: Tx) -> bytes | None:
    """Return the newest key set as it was signed."""
    rows = tx.execute("SELECT raw FROM key_set WHERE only_row = 1")
    return rows[0][0] if rows else None


def set_key_set(tx: Tx, raw: bytes, *, version: int) -> None:
    """Replace the key set."""
    tx.execute("INSERT OR REPLACE INTO key_set VALUES (1, ?, ?)", (version, raw))


def window(tx: Tx, kid: str) -> tuple[int, int]:
    """Return (highest, bit set) of a key; (0, 0) for one that never spoke."""
    rows = tx.execute("SELECT highest, seen FROM key_window WHERE kid = ?", (kid,))
    return (rows[0][0], int.from_bytes(rows[0][1], "big")) if rows else (0, 0)


def set_window(tx: Tx, kid: str, *, highest: int, seen: int) -> None:
    """Write a key's window."""
    seen_bytes = seen.to_bytes((seen.bit_length() + 7) // 8 or 1, "big")
    tx.execute("INSERT OR REPLACE INTO key_window VALUES (?, ?, ?)", (kid, highest, seen_bytes))


def highest(tx: Tx) -> dict[str, int]:
    """Return the highest sequence number of every key that ever spoke."""
    return {row[0]: row[1] for row in tx.execute("SELECT kid, highest FROM key_window")}


def command(tx: Tx, jti: str) -> CommandRow | None:
    """Return a command by its id."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM command WHERE jti = ?", (jti,))  # noqa: S608 - our own column names
    return _row(rows[0]) if rows else None


def put_command(tx: Tx, row: CommandRow) -> None:
    """Write a command or what changed of it."""
    tx.execute(
        f"INSERT INTO command ({_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608 - our own column names
        f" ON CONFLICT (jti) DO UPDATE SET {_CHANGES}",
        tuple(getattr(row, name) for name in CommandRow.__struct_fields__),
    )


def running(tx: Tx, *, limit: int) -> tuple[CommandRow, ...]:
    """Return commands that were accepted and have no terminal receipt, oldest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM command WHERE settled_ms IS NULL AND status IN ('accepted', 'in_progress')"  # noqa: S608 - our own column names
        " ORDER BY received_ms, rowid LIMIT ?",
        (limit,),
    )
    return tuple(_row(row) for row in rows)


def open_of(tx: Tx, verb: str) -> frozenset[str]:
    """Return the ids of the commands of a verb that have no terminal receipt."""
    rows = tx.execute("SELECT jti FROM command WHERE settled_ms IS NULL AND verb = ?", (verb,))
    return frozenset(row[0] for row in rows)


def waiting(tx: Tx) -> tuple[str, ...]:
    """Return the ids of the commands that wait for a reason, oldest first."""
    rows = tx.execute(
        "SELECT jti FROM command WHERE settled_ms IS NULL AND status = 'waiting' AND reason > ''"
        " ORDER BY received_ms, rowid"
    )
    return tuple(row[0] for row in rows)


def waiting_for(tx: Tx, reason: str) -> tuple[CommandRow, ...]:
    """Return the commands that wait for this reason, oldest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM command WHERE settled_ms IS NULL AND status = 'waiting' AND reason = ?"  # noqa: S608 - our own column names
        " ORDER BY received_ms, rowid",
        (reason,),
    )
    return tuple(_row(row) for row in rows)


def any_waits(tx: Tx, reason: str) -> bool:
    """Tell whether a command waits for this reason."""
    return bool(
        tx.execute(
            "SELECT 1 FROM command WHERE settled_ms IS NULL AND status = 'waiting' AND reason = ? LIMIT 1", (reason,)
        )
    )


def unfinished_counts(tx: Tx, kid: str) -> tuple[int, int]:
    """Return how many commands of a key have no terminal receipt yet, and how many others wait for a store alone."""
    ((every, unconfirmed),) = tx.execute(
        "SELECT count(*), count(*) FILTER (WHERE status = 'waiting' AND reason = '') FROM command"
        " WHERE settled_ms IS NULL AND kid = ?",
        (kid,),
    )
    return every - unconfirmed, unconfirmed


def unfinished_of(tx: Tx, kid: str, verbs: Iterable[str]) -> tuple[int, int]:
    """Return the two counts of ``unfinished_counts`` of these verbs alone; reads each such command's row."""
    names = tuple(verbs)
    marks = ", ".join("?" for _ in names)
    ((every, unconfirmed),) = tx.execute(
        "SELECT count(*), count(*) FILTER (WHERE status = 'waiting' AND reason = '') FROM command"  # noqa: S608 - only marks
        f" WHERE settled_ms IS NULL AND kid = ? AND verb IN ({marks})",
        (kid, *names),
    )
    return every - unconfirmed, unconfirmed


def unread(tx: Tx, kid: str) -> tuple[int, int]:
    """Return how many settled commands of a key are not acknowledged, and about how many bytes are kept for them.

    A receipt lies here and in the outbox; of a frozen selection each id and its outcome.
    """
    rows = tx.execute(
        "SELECT count(*), coalesce(sum(2 * length(receipt)"
        " + iif(verb IN ('delete', 'export'), ?, 0) * selection_count), 0)"
        " FROM command WHERE kid = ? AND settled_ms IS NOT NULL AND acknowledged = 0",
        (_OUTCOME_BYTES, kid),
    )
    return rows[0][0], rows[0][1]


def acknowledge(tx: Tx, kid: str, receipt_jtis: Iterable[str], *, keep: int, keep_bytes: int) -> int:
    """Mark settled commands whose receipt the key has; return how many are news.

    Of all that are marked the newest ``keep`` stay, as far as their receipts have ``keep_bytes`` together.
    """
    marked = 0
    for receipt_jti in receipt_jtis:
        rows = tx.execute(
            "UPDATE command SET acknowledged = 1"
            " WHERE receipt_jti = ? AND kid = ? AND settled_ms IS NOT NULL AND acknowledged = 0 RETURNING jti",
            (receipt_jti, kid),
        )
        marked += len(rows)
        for table in ("selection", "measure", "outcome", "tally"):
            tx.executemany(f"DELETE FROM command_{table} WHERE jti = ?", rows)  # noqa: S608 - our own names
    tx.execute(
        "DELETE FROM command WHERE kid = ?1 AND acknowledged = 1 AND jti NOT IN"
        " (SELECT jti FROM (SELECT jti, row_number() OVER newest AS place, sum(length(receipt)) OVER newest AS bytes"
        " FROM command WHERE kid = ?1 AND acknowledged = 1 WINDOW newest AS (ORDER BY settled_ms DESC, rowid DESC))"
        " WHERE place <= ?2 AND bytes <= ?3)",
        (kid, keep, keep_bytes),
    )
    return marked


def forget_oldest_settled(tx: Tx, kid: str, *, keep: int) -> None:
    """Drop a key's settled commands beyond ``keep``: acknowledged ones first, deletes last, of each the oldest."""
    count = tx.execute("SELECT count(*) FROM command WHERE kid = ? AND settled_ms IS NOT NULL", (kid,))[0][0]
    if count <= keep:
        return
    tx.execute(
        "DELETE FROM command WHERE kid = ?1 AND settled_ms IS NOT NULL AND jti NOT IN"
        " (SELECT jti FROM command WHERE kid = ?1 AND settled_ms IS NOT NULL"
        " ORDER BY acknowledged, verb = 'delete' DESC, settled_ms DESC, rowid DESC LIMIT ?2)",
        (kid, keep),
    )


def freeze(tx: Tx, jti: str, ids: Ids, *, objects: int, size_bytes: int) -> None:
    """Write a command's selection and its measure; no outcome is known yet."""
    inserted = "INSERT INTO command_selection VALUES (?, zeroblob(?)) RETURNING rowid"
    ((rowid,),) = tx.execute(inserted, (jti, len(ids.value)))
    tx.write_large("command_selection", "ids", rowid, ids.value)
    tx.execute("INSERT INTO command_measure VALUES (?, ?, ?, ?)", (jti, objects, size_bytes, len(ids)))


def frozen(tx: Tx, jti: str) -> Ids:
    """Return a command's selection, empty for none."""
    rows = tx.execute("SELECT rowid FROM command_selection WHERE jti = ?", (jti,))
    return Ids(tx.read_large("command_selection", "ids", rows[0][0])) if rows else Ids()


def measure(tx: Tx, jti: str) -> tuple[int, int, int] | None:
    """Return (objects, bytes, open) of a selection; ``None`` for one that an older version froze."""
    rows = tx.execute("SELECT objects, bytes, open FROM command_measure WHERE jti = ?", (jti,))
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def close(tx: Tx, jti: str, count: int) -> None:
    """Count ids of a selection that have an outcome now."""
    tx.execute("UPDATE command_measure SET open = open - ? WHERE jti = ?", (count, jti))


def decided(tx: Tx, jti: str, ids: Iterable[str]) -> frozenset[str]:
    """Return those ids that have an outcome."""
    wanted = "SELECT 1 FROM command_outcome WHERE jti = ? AND object_id = ?"
    return frozenset(object_id for object_id in ids if tx.execute(wanted, (jti, object_id)))


def decide(tx: Tx, jti: str, outcomes: Iterable[Outcome]) -> int:
    """Write outcomes in place of earlier ones; return how many objects had none."""
    new = 0
    for outcome in outcomes:
        row = (jti, outcome.id, outcome.result, msgspec.json.encode(outcome))
        tx.execute("INSERT INTO command_outcome VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        if tx.changes():
            new += 1
        else:
            tx.execute("UPDATE command_outcome SET result = ?3, outcome = ?4 WHERE jti = ?1 AND object_id = ?2", row)
    return new


def outcomes(tx: Tx, jti: str, *, after: str, limit: int) -> tuple[Outcome, ...]:
    """Return a page of what is decided, sorted by object id."""
    rows = tx.execute(
        "SELECT outcome FROM command_outcome WHERE jti = ? AND object_id > ? ORDER BY object_id LIMIT ?",
        (jti, after, limit),
    )
    return tuple(msgspec.json.decode(row[0], type=Outcome) for row in rows)


def outcome_lines(tx: Tx, jti: str, *, after: str, limit: int) -> tuple[str, str]:
    """Return a page of what is decided as lines of id, space, result, and the last id of it."""
    ((lines, last),) = tx.execute(
        "SELECT coalesce(group_concat(line, ''), ''), coalesce(max(object_id), '') FROM"
        " (SELECT object_id, object_id || ' ' || result || char(10) AS line FROM command_outcome"
        " WHERE jti = ? AND object_id > ? ORDER BY object_id LIMIT ?)",
        (jti, after, limit),
    )
    return lines, last


def tally(tx: Tx, jti: str) -> dict[str, int]:
    """Return the number of decided objects by result."""
    rows = tx.execute("SELECT result, objects FROM command_tally WHERE jti = ? AND objects > 0", (jti,))
    return {row[0]: row[1] for row in rows}


def spend(tx: Tx, kid: str, *, at_ms: int, objects: int, size_bytes: int) -> None:
    """Count what a command of a key with a quota used."""
    tx.execute("INSERT INTO spending VALUES (?, ?, ?, ?)", (kid, at_ms, objects, size_bytes))


def spent(tx: Tx, kid: str, *, since_ms: int) -> tuple[int, int]:
    """Return (objects, bytes) used after ``since_ms``, and forget what is older."""
    tx.execute("DELETE FROM spending WHERE kid = ? AND at_ms <= ?", (kid, since_ms))
    rows = tx.execute("SELECT coalesce(sum(objects), 0), coalesce(sum(bytes), 0) FROM spending WHERE kid = ?", (kid,))
    return rows[0][0], rows[0][1]


def _row(values: tuple[object, ...]) -> CommandRow:
    return msgspec.convert(dict(zip(CommandRow.__struct_fields__, values, strict=True)), CommandRow)
