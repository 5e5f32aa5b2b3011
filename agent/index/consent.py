"""Rows of ``agent/rights/consent.py``: what the owner said of each purpose, word by word."""

from typing import Any, Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- One record for each purpose and category that a command spoke of; never changed once it is written.
    CREATE TABLE consent_record (
        n              INTEGER PRIMARY KEY,       -- the order in which it was said
        id             TEXT    NOT NULL UNIQUE,   -- random
        purpose        TEXT    NOT NULL,          -- name in the policy
        category       TEXT    NOT NULL,
        status         TEXT    NOT NULL CHECK (status IN ('given', 'refused', 'withdrawn', 'objected')),
        at_ms          INTEGER NOT NULL,          -- agent time
        trusted        INTEGER NOT NULL,          -- 1: the clock was trusted then
        kid            TEXT    NOT NULL,          -- of the key that signed it
        key_name       TEXT    NOT NULL,          -- what the key set called that key then
        command        TEXT    NOT NULL,          -- jti
        policy_sha256  TEXT    NOT NULL,          -- of the document that was in force
        policy_version INTEGER NOT NULL,          -- the revision that its signer gave it; 0 for a file
        about          BLOB    NOT NULL           -- JSON: what that document said of the purpose and the category
    ) STRICT;
    CREATE INDEX consent_by_command ON consent_record (command, n);

    -- The last word by purpose and category, which is what counts.
    CREATE TABLE consent_word (
        purpose  TEXT    NOT NULL,
        category TEXT    NOT NULL,
        status   TEXT    NOT NULL,
        record   INTEGER NOT NULL REFERENCES consent_record (n),
        PRIMARY KEY (purpose, category)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX consent_word_by_record ON consent_word (record);

    -- The newest command on each target of a verb that sets state: an older one that comes late changes nothing.
    CREATE TABLE consent_target (
        purpose  TEXT    NOT NULL,   -- '' with category '': do-not-track
        category TEXT    NOT NULL,
        kid      TEXT    NOT NULL,
        seq      INTEGER NOT NULL,
        iat_s    INTEGER NOT NULL,
        PRIMARY KEY (purpose, category)
    ) STRICT, WITHOUT ROWID;

    -- Do-not-track: on while the row is there.
    CREATE TABLE do_not_track (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        since_ms INTEGER NOT NULL,   -- agent time
        command  TEXT    NOT NULL
    ) STRICT;
    """,
    """
    -- The newest command of each key on each target. One row of all keys forgot what the others had said: a late no of
    -- one key let an older yes of another through.
    CREATE TABLE consent_newest (
        purpose  TEXT    NOT NULL,   -- '' with category '': do-not-track
        category TEXT    NOT NULL,
        kid      TEXT    NOT NULL,
        seq      INTEGER NOT NULL,   -- the highest of this key
        iat_s    INTEGER NOT NULL,   -- the latest of this key
        PRIMARY KEY (purpose, category, kid)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO consent_newest SELECT purpose, category, kid, seq, iat_s FROM consent_target;
    DROP TABLE consent_target;

    -- A record may also say that a yes lapsed; its kid is then the key's that brought or approved the other policy.
    ALTER TABLE consent_word RENAME TO consent_word_old;
    ALTER TABLE consent_record RENAME TO consent_record_old;
    DROP INDEX consent_by_command;
    DROP INDEX consent_word_by_record;
    CREATE TABLE consent_record (
        n              INTEGER PRIMARY KEY,       -- as above, all of it
        id             TEXT    NOT NULL UNIQUE,
        purpose        TEXT    NOT NULL,
        category       TEXT    NOT NULL,
        status         TEXT    NOT NULL CHECK (status IN ('given', 'refused', 'withdrawn', 'objected', 'lapsed')),
        at_ms          INTEGER NOT NULL,
        trusted        INTEGER NOT NULL,
        kid            TEXT    NOT NULL,          -- 'local': of a file
        key_name       TEXT    NOT NULL,
        command        TEXT    NOT NULL,          -- '' where a file brought the policy
        policy_sha256  TEXT    NOT NULL,
        policy_version INTEGER NOT NULL,
        about          BLOB    NOT NULL
    ) STRICT;
    INSERT INTO consent_record SELECT * FROM consent_record_old;
    -- The last word also tells since when (agent time) it is a yes without interruption, and what stood before that.
    CREATE TABLE consent_word (
        purpose  TEXT    NOT NULL,
        category TEXT    NOT NULL,
        status   TEXT    NOT NULL,
        record   INTEGER NOT NULL REFERENCES consent_record (n),
        since_ms INTEGER NOT NULL,
        before   TEXT,                            -- NULL: nobody had been asked
        PRIMARY KEY (purpose, category)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO consent_word
        SELECT w.purpose, w.category, w.status, w.record,
            (SELECT r.at_ms FROM consent_record r WHERE r.n = w.record),
            (SELECT r.status FROM consent_record r
             WHERE r.purpose = w.purpose AND r.category = w.category AND r.status != 'given' ORDER BY r.n DESC LIMIT 1)
        FROM consent_word_old w;
    DROP TABLE consent_word_old;
    DROP TABLE consent_record_old;
    CREATE INDEX consent_by_command ON consent_record (command, n);
    CREATE INDEX consent_word_by_record ON consent_word (record);

    -- When do-not-track was switched off last.
    CREATE TABLE do_not_track_ended (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        at_ms    INTEGER NOT NULL    -- agent time
    ) STRICT;
    """,
    """
    -- Cameras have clocks of their own, which ours lags behind while it is unsure: the same times by theirs, Unix ms.
    ALTER TABLE consent_word ADD COLUMN recorded_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE consent_word SET recorded_ms = since_ms;
    ALTER TABLE do_not_track_ended ADD COLUMN recorded_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE do_not_track_ended SET recorded_ms = at_ms;
    """,
)

RECORD_COLUMNS: Final = (
    "id", "purpose", "category", "status", "at_ms", "trusted", "kid", "key_name", "command", "policy_sha256",
    "policy_version", "about",
)  # fmt: skip

_RECORD: Final = f"SELECT {', '.join(RECORD_COLUMNS)} FROM consent_record"  # noqa: S608 - our own names


def insert(tx: Tx, values: dict[str, Any]) -> int:
    """Add a record and return its ``n``."""
    marks = ", ".join("?" for _ in RECORD_COLUMNS)
    ((n,),) = tx.execute(
        f"INSERT INTO consent_record ({', '.join(RECORD_COLUMNS)}) VALUES ({marks}) RETURNING n",  # noqa: S608 - the same
        [values[name] for name in RECORD_COLUMNS],
    )
    return int(n)


def set_word(
    tx: Tx,
    purpose: str,
    category: str,
    status: str,
    *,
    record: int,
    since_ms: int,
    before: str | None,
    recorded_ms: int,
) -> None:
    """Make a record the last word on its purpose and category; ``before`` is what stood before ``since_ms``."""
    tx.execute(
        "INSERT OR REPLACE INTO consent_word (purpose, category, status, record, since_ms, before, recorded_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (purpose, category, status, record, since_ms, before, recorded_ms),
    )


def word(tx: Tx, purpose: str, category: str) -> Row | None:
    """Return (status, since in agent ms, what stood before, since by cameras' clocks) of a last word, or ``None``."""
    found = tx.execute(
        "SELECT status, since_ms, before, recorded_ms FROM consent_word WHERE purpose = ? AND category = ?",
        (purpose, category),
    )
    return found[0] if found else None


def words(tx: Tx) -> list[Row]:
    """Return (purpose, category, status, then as ``word`` does) of every last word."""
    return tx.execute("SELECT purpose, category, status, since_ms, before, recorded_ms FROM consent_word")


def last_words(tx: Tx) -> list[Row]:
    """Return the record of every last word."""
    return tx.execute(f"{_RECORD} WHERE n IN (SELECT record FROM consent_word) ORDER BY n")  # noqa: S608 - the same


def state(tx: Tx) -> str:
    """Return another text whenever the words, or do-not-track, are others."""
    ((last, tracked),) = tx.execute(
        "SELECT coalesce((SELECT max(n) FROM consent_record), 0), coalesce((SELECT command FROM do_not_track), '')"
    )
    return f"{last} {tracked} {tracked_ms(tx)[0]}"


def newest(tx: Tx, purpose: str, category: str) -> list[Row]:
    """Return (kid, seq, iat in seconds) of the newest command of each key on a target."""
    return tx.execute(
        "SELECT kid, seq, iat_s FROM consent_newest WHERE purpose = ? AND category = ?", (purpose, category)
    )


def note_newest(tx: Tx, purpose: str, category: str, *, kid: str, seq: int, iat_s: int, keep: int) -> None:
    """Note a command on a target; of ``keep`` keys at most, those that spoke last."""
    tx.execute(
        "INSERT INTO consent_newest VALUES (?, ?, ?, ?, ?) ON CONFLICT (purpose, category, kid)"
        " DO UPDATE SET seq = max(seq, excluded.seq), iat_s = max(iat_s, excluded.iat_s)",
        (purpose, category, kid, seq, iat_s),
    )
    tx.execute(
        "DELETE FROM consent_newest WHERE purpose = ?1 AND category = ?2 AND kid NOT IN (SELECT kid FROM consent_newest"
        " WHERE purpose = ?1 AND category = ?2 ORDER BY iat_s DESC, kid LIMIT ?3)",
        (purpose, category, keep),
    )


def of_command(tx: Tx, command: str, limit: int) -> list[Row]:
    """Return the records that a command made, in order."""
    return tx.execute(f"{_RECORD} WHERE command = ? ORDER BY n LIMIT ?", (command, limit))


def page(tx: Tx, after: str, limit: int) -> list[Row]:
    """Return records behind the one with the id ``after`` (``""``: from the first), in order."""
    return tx.execute(
        f"{_RECORD} WHERE n > coalesce((SELECT n FROM consent_record WHERE id = ?), 0) ORDER BY n LIMIT ?",  # noqa: S608 - the same
        (after, limit),
    )


def drop_oldest(tx: Tx, *, keep: int) -> None:
    """Drop the oldest records above ``keep``, of those that are nobody's last word."""
    over = int(tx.execute("SELECT count(*) FROM consent_record")[0][0]) - keep
    if over > 0:
        tx.execute(
            "DELETE FROM consent_record WHERE n IN (SELECT n FROM consent_record"
            " WHERE n NOT IN (SELECT record FROM consent_word) ORDER BY n LIMIT ?)",
            (over,),
        )


def count_words(tx: Tx) -> int:
    """Return of how many purposes and categories anything was said."""
    return int(tx.execute("SELECT count(*) FROM consent_word")[0][0])


def do_not_track(tx: Tx) -> bool:
    """Tell whether do-not-track is on."""
    return bool(tx.execute("SELECT 1 FROM do_not_track"))


def set_do_not_track(tx: Tx, *, since_ms: int, command: str) -> None:
    """Switch do-not-track on; it stays as it is where it is on."""
    tx.execute("INSERT OR IGNORE INTO do_not_track VALUES (1, ?, ?)", (since_ms, command))


def clear_do_not_track(tx: Tx, *, at_ms: int, recorded_ms: int) -> None:
    """Switch do-not-track off."""
    tx.execute("DELETE FROM do_not_track")
    tx.execute(
        "INSERT OR REPLACE INTO do_not_track_ended (only_row, at_ms, recorded_ms) VALUES (1, ?, ?)",
        (at_ms, recorded_ms),
    )


def tracked_ms(tx: Tx) -> tuple[int, int]:
    """Return when do-not-track was switched off last, by agent time and by cameras' clocks; 0 where it never was."""
    found = tx.execute("SELECT at_ms, recorded_ms FROM do_not_track_ended")
    return (int(found[0][0]), int(found[0][1])) if found else (0, 0)
