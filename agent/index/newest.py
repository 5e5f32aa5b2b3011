"""The table of ``agent/rights/newest.py``: which command of each key on one matter is its newest."""

from typing import Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The newest command of each key on each matter that a command sets: an older one that comes late changes nothing.
    CREATE TABLE newest_word (
        matter TEXT    NOT NULL,  -- service, name, location
        target TEXT    NOT NULL,  -- id of the camera or the object that is corrected, or ''
        kid    TEXT    NOT NULL,
        owner  INTEGER NOT NULL,  -- 1: the key was a client's of the owner
        seq    INTEGER NOT NULL,  -- the highest of this key
        iat_s  INTEGER NOT NULL,  -- the latest of this key
        PRIMARY KEY (matter, target, kid)
    ) STRICT, WITHOUT ROWID;
    """,
)


def of_others(tx: Tx, matter: str, target: str, kid: str) -> int:
    """Return when, in seconds, the newest command of another of the owner's clients was signed; 0 for none."""
    found = tx.execute(
        "SELECT coalesce(max(iat_s), 0) FROM newest_word WHERE matter = ? AND target = ? AND owner = 1 AND kid != ?",
        (matter, target, kid),
    )
    return int(found[0][0])


def own(tx: Tx, matter: str, target: str, kid: str) -> int:
    """Return the number of the newest command of this key; 0 for none."""
    found = tx.execute("SELECT seq FROM newest_word WHERE matter = ? AND target = ? AND kid = ?", (matter, target, kid))
    return int(found[0][0]) if found else 0


def note(tx: Tx, matter: str, target: str, kid: str, *, owner: bool, seq: int, iat_s: int, keep: int) -> None:
    """Note a command; of ``keep`` keys at most, those that spoke last. What is gone is forgotten."""
    tx.execute("DELETE FROM newest_word WHERE target != '' AND target NOT IN (SELECT target FROM correction)")
    tx.execute(
        "INSERT INTO newest_word VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (matter, target, kid)"
        " DO UPDATE SET owner = excluded.owner, seq = max(seq, excluded.seq), iat_s = max(iat_s, excluded.iat_s)",
        (matter, target, kid, int(owner), seq, iat_s),
    )
    tx.execute(
        "DELETE FROM newest_word WHERE matter = ?1 AND target = ?2 AND kid NOT IN (SELECT kid FROM newest_word"
        " WHERE matter = ?1 AND target = ?2 ORDER BY iat_s DESC, kid LIMIT ?3)",
        (matter, target, keep),
    )
