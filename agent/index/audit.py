"""Tables of ``agent/audit.py``: the lines of the hash chain and the checkpoints among them."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final = (
    """
-- One row for each event, never changed. Old rows leave only from the low end, after a checkpoint was made.
CREATE TABLE audit (
  seq  INTEGER PRIMARY KEY,  -- 1, 2, … without a gap
  line BLOB NOT NULL,        -- the exact bytes that are hashed and exported (agent/chain.py)
  hash TEXT NOT NULL         -- of line, lower-case hex; kept so that the next line costs one read
) STRICT;

-- The device's signature over the chain's head at that moment.
CREATE TABLE audit_checkpoint (
  seq  INTEGER PRIMARY KEY,  -- the entry it vouches for
  line BLOB NOT NULL
) STRICT;
""",
    """
-- The last entry that tells of a word that stands, while the roots of the keystore are those of before it. One row at
-- most.
CREATE TABLE audit_unanchored (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  seq      INTEGER NOT NULL
) STRICT;
""",
)


def head(tx: Tx) -> tuple[int, str] | None:
    """Return the last entry's number and hash."""
    rows = tx.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return (rows[0][0], rows[0][1]) if rows else None


def first(tx: Tx) -> int:
    """Return the number of the oldest entry that is still here, or 0."""
    return int(tx.execute("SELECT coalesce(min(seq), 0) FROM audit")[0][0])


def insert(tx: Tx, seq: int, line: bytes, *, line_hash: str) -> None:
    """Add the entry after the head."""
    tx.execute("INSERT INTO audit VALUES (?, ?, ?)", (seq, line, line_hash))


def leave_unanchored(tx: Tx, seq: int) -> None:
    """Note that what this entry tells of is younger than the roots."""
    tx.execute("INSERT OR REPLACE INTO audit_unanchored VALUES (1, ?)", (seq,))


def anchor(tx: Tx) -> None:
    """Note that the roots change in this transaction."""
    tx.execute("DELETE FROM audit_unanchored")


def unanchored(tx: Tx) -> bool:
    """Tell whether a word is younger than the roots."""
    return bool(tx.execute("SELECT 1 FROM audit_unanchored"))


def insert_checkpoint(tx: Tx, seq: int, line: bytes) -> None:
    """Add a checkpoint; one that exists stays."""
    tx.execute("INSERT OR IGNORE INTO audit_checkpoint VALUES (?, ?)", (seq, line))


def last_checkpoint(tx: Tx) -> int:
    """Return the last entry that a checkpoint vouches for, or 0."""
    return int(tx.execute("SELECT coalesce(max(seq), 0) FROM audit_checkpoint")[0][0])


def checkpoint_before(tx: Tx, seq: int) -> int:
    """Return the last entry up to ``seq`` that a checkpoint vouches for, or 0."""
    return int(tx.execute("SELECT coalesce(max(seq), 0) FROM audit_checkpoint WHERE seq <= ?", (seq,))[0][0])


def first_checkpoint(tx: Tx) -> int:
    """Return the first entry that a checkpoint vouches for, or 0."""
    return int(tx.execute("SELECT coalesce(min(seq), 0) FROM audit_checkpoint")[0][0])


def lines(tx: Tx, after: int, limit: int) -> list[tuple[int, bytes, bytes | None]]:
    """Return (number, line, its checkpoint's line) of entries after ``after``, oldest first."""
    return [
        (seq, line, checkpoint)
        for seq, line, checkpoint in tx.execute(
            "SELECT a.seq, a.line, c.line FROM audit a LEFT JOIN audit_checkpoint c USING (seq)"
            " WHERE a.seq > ? ORDER BY a.seq LIMIT ?",
            (after, limit),
        )
    ]


def drop_up_to(tx: Tx, seq: int) -> int:
    """Remove entries and checkpoints up to and with ``seq``; return how many entries went."""
    tx.execute("DELETE FROM audit_checkpoint WHERE seq <= ?", (seq,))
    tx.execute("DELETE FROM audit WHERE seq <= ?", (seq,))
    return tx.changes()
