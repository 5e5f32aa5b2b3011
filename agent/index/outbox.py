"""Receipts and alerts until their reader has them, and the alerts that stand."""

from collections.abc import Iterable
from typing import Final

import msgspec

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A message to one reader, in the order of sending. A repeat moves it to the end under a new row id.
    CREATE TABLE outbox (
        row     INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: a reader of the queue remembers the last one
        reader  TEXT    NOT NULL,                   -- kid
        about   TEXT    NOT NULL,                   -- what it is about: one message of it waits for each reader
        jti     TEXT    NOT NULL,
        channel TEXT    NOT NULL,                   -- topic after pv1/{tenant}/{device}/
        weight  INTEGER NOT NULL,                   -- 0: may be dropped when the reader never acknowledges
        body    BLOB    NOT NULL                    -- the MQTT payload
    ) STRICT;
    CREATE UNIQUE INDEX outbox_about ON outbox (reader, about);
    CREATE INDEX outbox_jti ON outbox (jti);

    -- Alerts that stand: one of each code.
    CREATE TABLE alert (
        code      TEXT    PRIMARY KEY,
        since_ms  INTEGER NOT NULL,                 -- agent time of the first
        count     INTEGER NOT NULL,
        raised_ms INTEGER NOT NULL                  -- agent time of the last message
    ) STRICT;
    """,
    """
    -- Which MQTT version a broker spoke last, so that a start does not wait for an answer that never comes. One row.
    CREATE TABLE line (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        url      TEXT    NOT NULL,
        protocol INTEGER NOT NULL,  -- 5, or 4 for 3.1.1
        noted_ms INTEGER NOT NULL   -- agent time
    ) STRICT;
    """,
    """
    -- Alerts that stand: one of each code for each thing that it is about.
    CREATE TABLE standing_alert (
        code      TEXT    NOT NULL,
        about     TEXT    NOT NULL,                 -- id of a key, a command, a hold, an object; '': the device
        since_ms  INTEGER NOT NULL,                 -- agent time of the first
        count     INTEGER NOT NULL,
        raised_ms INTEGER NOT NULL,                 -- agent time of the last message
        PRIMARY KEY (code, about)
    ) STRICT;
    INSERT INTO standing_alert SELECT code, '', since_ms, count, raised_ms FROM alert;
    DROP TABLE alert;
    UPDATE outbox SET about = about || '/' WHERE channel = 'alert';
    """,
    """
    -- What was told last of each alert that stands or that a reader has not acknowledged: for one that comes later.
    CREATE TABLE told_alert (
        code     TEXT    NOT NULL,
        about    TEXT    NOT NULL,
        since_ms INTEGER NOT NULL,                  -- agent time of the first
        count    INTEGER NOT NULL,
        what     TEXT    NOT NULL,
        effect   TEXT    NOT NULL,
        next     TEXT    NOT NULL,
        PRIMARY KEY (code, about)
    ) STRICT;
    CREATE INDEX outbox_of ON outbox (about);
    """,
)


class Message(msgspec.Struct, frozen=True):
    """One message that waits for its reader."""

    row: int
    reader: str
    about: str
    jti: str
    channel: str
    body: bytes


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was told last of an alert; a row of its table."""

    code: str
    about: str
    since_ms: int
    count: int
    what: str
    effect: str
    next: str


def put(tx: Tx, *, reader: str, about: str, jti: str, channel: str, weight: int, body: bytes) -> None:
    """Queue a message in place of an older one about the same thing."""
    withdraw(tx, reader=reader, about=about)
    tx.execute(
        "INSERT INTO outbox (reader, about, jti, channel, weight, body) VALUES (?, ?, ?, ?, ?, ?)",
        (reader, about, jti, channel, weight, body),
    )


def withdraw(tx: Tx, *, reader: str, about: str) -> None:
    """Take back the message to a reader about something."""
    tx.execute("DELETE FROM outbox WHERE reader = ? AND about = ?", (reader, about))


def readers(tx: Tx) -> list[str]:
    """Return for whom anything waits."""
    return [row[0] for row in tx.execute("SELECT DISTINCT reader FROM outbox")]


def drop_reader(tx: Tx, reader: str) -> int:
    """Drop all that waits for a reader; return how many messages."""
    tx.execute("DELETE FROM outbox WHERE reader = ?", (reader,))
    return tx.changes()


def pending(tx: Tx, *, after: int, limit: int) -> tuple[Message, ...]:
    """Return what waits behind row ``after``, in order."""
    rows = tx.execute(
        "SELECT row, reader, about, jti, channel, body FROM outbox WHERE row > ? ORDER BY row LIMIT ?", (after, limit)
    )
    return tuple(Message(*row) for row in rows)


def on_channel(tx: Tx, reader: str, channel: str) -> tuple[Message, ...]:
    """Return what waits for a reader on one channel, in order."""
    rows = tx.execute(
        "SELECT row, reader, about, jti, channel, body FROM outbox WHERE reader = ? AND channel = ? ORDER BY row",
        (reader, channel),
    )
    return tuple(Message(*row) for row in rows)


def body(tx: Tx, *, reader: str, about: str) -> bytes | None:
    """Return the message to a reader about something, if one waits."""
    rows = tx.execute("SELECT body FROM outbox WHERE reader = ? AND about = ?", (reader, about))
    return rows[0][0] if rows else None


def acknowledge(tx: Tx, reader: str, jtis: Iterable[str]) -> list[str]:
    """Drop the messages that this reader has; return what they were about."""
    return [
        row[0]
        for jti in jtis
        for row in tx.execute("DELETE FROM outbox WHERE reader = ? AND jti = ? RETURNING about", (reader, jti))
    ]


def drop_beyond(tx: Tx, reader: str, *, keep: int) -> None:
    """Bound what waits for a reader: light messages go first, then the oldest."""
    if tx.execute("SELECT count(*) FROM outbox WHERE reader = ?", (reader,))[0][0] <= keep:
        return
    tx.execute(
        "DELETE FROM outbox WHERE reader = ?1 AND row NOT IN"
        " (SELECT row FROM outbox WHERE reader = ?1 ORDER BY weight DESC, row DESC LIMIT ?2)",
        (reader, keep),
    )


def alert(tx: Tx, code: str, about: str) -> tuple[int, int, int] | None:
    """Return (since, count, last raised) of a standing alert."""
    rows = tx.execute(
        "SELECT since_ms, count, raised_ms FROM standing_alert WHERE code = ? AND about = ?", (code, about)
    )
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def set_alert(tx: Tx, code: str, about: str, *, since_ms: int, count: int, raised_ms: int) -> None:
    """Write a standing alert."""
    tx.execute(
        "INSERT OR REPLACE INTO standing_alert VALUES (?, ?, ?, ?, ?)", (code, about, since_ms, count, raised_ms)
    )


def clear_alert(tx: Tx, code: str, about: str | None = None) -> bool:
    """End an alert, of all that it is about unless one thing is named; return whether it stood."""
    return bool(
        tx.execute(
            "DELETE FROM standing_alert WHERE code = ?1 AND (?2 IS NULL OR about = ?2) RETURNING code",
            (code, about),
        )
    )


def told_apart(tx: Tx, code: str, *, prefix: str) -> frozenset[str]:
    """Return what standing alerts of a code, and messages that wait under ``prefix``, are about."""
    rows = tx.execute(
        "SELECT about FROM standing_alert WHERE code = ?1"
        " UNION SELECT substr(about, length(?2) + 1) FROM outbox WHERE substr(about, 1, length(?2)) = ?2",
        (code, prefix),
    )
    return frozenset(row[0] for row in rows if row[0])


def set_told(tx: Tx, told: Told) -> None:
    """Write what was told of an alert."""
    tx.execute("INSERT OR REPLACE INTO told_alert VALUES (?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(told))


def every_told(tx: Tx) -> tuple[Told, ...]:
    """Return what was told of each alert that stands or that somebody has not acknowledged."""
    columns = ", ".join(Told.__struct_fields__)
    rows = tx.execute(f"SELECT {columns} FROM told_alert ORDER BY since_ms, code, about")  # noqa: S608 - our own column names
    return tuple(Told(**dict(zip(Told.__struct_fields__, row, strict=True))) for row in rows)


def forget_told(tx: Tx) -> None:
    """Forget what was told of alerts that are over and that every reader has acknowledged."""
    tx.execute(
        "DELETE FROM told_alert AS t WHERE NOT EXISTS"
        " (SELECT 1 FROM standing_alert s WHERE s.code = t.code AND s.about = t.about)"
        " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.about = 'alert/' || t.code || '/' || t.about)"
    )


def alerts(tx: Tx) -> tuple[tuple[str, int, int], ...]:
    """Return (code, since, count) of every code of which an alert stands."""
    rows = tx.execute("SELECT code, min(since_ms), sum(count) FROM standing_alert GROUP BY code ORDER BY min(since_ms)")
    return tuple((row[0], row[1], row[2]) for row in rows)


def line(tx: Tx) -> tuple[str, int, int] | None:
    """Return (url, protocol, noted) of the broker that was spoken to last."""
    rows = tx.execute("SELECT url, protocol, noted_ms FROM line WHERE only_row = 1")
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def note_line(tx: Tx, url: str, *, protocol: int, noted_ms: int) -> None:
    """Replace the row."""
    tx.execute("INSERT OR REPLACE INTO line VALUES (1, ?, ?, ?)", (url, protocol, noted_ms))
