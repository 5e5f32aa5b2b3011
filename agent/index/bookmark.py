"""Rows of ``agent/bookmark.py``: how far each usage log was taken that stays at its source, or was removed there."""

from typing import Any, Final

from agent.index.transaction import Row, Tx

COLUMNS: Final = (
    "source", "folder", "file_tag", "path_tag", "base_tag", "head_tag", "end_tag", "look_tag", "taken_bytes",
    "since_ms", "marks", "looked_ms", "wall_ms", "begun_here", "emptied",
    "objects",
)  # fmt: skip

HOLDING: Final = ("held", "gone", "damaged", "object")
"""What stands behind the columns of what is found: how many of its objects are held, of how many of these the source's
copy is gone, how many are in quarantine or doubt, and the id of one of them."""

_HELD: Final = (
    "FROM bookmark_object b JOIN object o ON o.n = b.object WHERE b.bookmark = bookmark.n AND o.state != 'erasing'"
)
_SELECT: Final = (
    f"SELECT n, {', '.join(COLUMNS)},"  # noqa: S608 - our own names
    f" (SELECT count(*) {_HELD}), (SELECT coalesce(sum(o.source_gone), 0) {_HELD}),"
    f" (SELECT count(*) {_HELD} AND o.n IN (SELECT object FROM damage)), (SELECT coalesce(min(o.id), '') {_HELD})"
    " FROM bookmark"
)

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- One file of a usage log, as it was when it was last taken from. Tags are keyed hashes: nothing here tells what
    -- the log was or where. A row is never changed, but written anew with a higher number.
    CREATE TABLE bookmark (
        n           INTEGER PRIMARY KEY,
        source      TEXT    NOT NULL,            -- name in agent.toml
        folder      INTEGER NOT NULL,            -- which folder its path meant, as in object.source_folder
        file_tag    BLOB    NOT NULL,            -- of its inode
        path_tag    BLOB    NOT NULL,            -- of its path
        base_tag    BLOB    NOT NULL,            -- of the path that it had before a rotation
        head_tag    BLOB    NOT NULL,            -- of its first line
        end_tag     BLOB    NOT NULL,            -- of the end of what was taken, and its length
        look_tag    BLOB    NOT NULL,            -- of path, size and time when nothing was left to take; else empty
        taken_bytes INTEGER NOT NULL,
        since_ms    INTEGER NOT NULL,            -- agent time, Unix milliseconds: what is behind was written since
        missed      INTEGER NOT NULL DEFAULT 0   -- 1: the last look over the whole folder did not find it
    ) STRICT;
    CREATE INDEX bookmark_by_path ON bookmark (path_tag);
    CREATE INDEX bookmark_by_base ON bookmark (base_tag);
    CREATE INDEX bookmark_by_file ON bookmark (file_tag);
    CREATE INDEX bookmark_by_look ON bookmark (look_tag) WHERE length(look_tag) > 0;
    CREATE INDEX bookmark_of_source ON bookmark (source, folder);  -- SQLite appends n
    """,
    """
    -- Ends of earlier lines: position and the beginning of such an end_tag, 16 bytes each, in order.
    ALTER TABLE bookmark ADD COLUMN marks BLOB NOT NULL DEFAULT x'';
    """,
    """
    -- A copy under a name that tells nothing is found by how it begins.
    CREATE INDEX bookmark_by_head ON bookmark (head_tag, taken_bytes);
    """,
    """
    -- The look behind which all that follows was written, by both clocks; 0 where there was none.
    ALTER TABLE bookmark ADD COLUMN looked_ms INTEGER NOT NULL DEFAULT 0;   -- agent time, Unix milliseconds
    ALTER TABLE bookmark ADD COLUMN wall_ms INTEGER NOT NULL DEFAULT 0;     -- what the wall clock said then
    ALTER TABLE bookmark ADD COLUMN begun_here INTEGER NOT NULL DEFAULT 0;  -- 1: it is no copy of what was known before
    UPDATE bookmark SET looked_ms = since_ms WHERE length(look_tag) > 0;    -- of that look; it loses each tie
    CREATE INDEX bookmark_by_look_time ON bookmark (looked_ms, wall_ms);
    """,
    """
    -- Of a log in a folder that is ours to empty.
    ALTER TABLE bookmark ADD COLUMN emptied INTEGER NOT NULL DEFAULT 0;    -- 1: its folder was so when it was read
    ALTER TABLE bookmark ADD COLUMN objects INTEGER NOT NULL DEFAULT 0;    -- how many hold what was taken; 0: not known

    -- Which those are, while they are held: what was taken was deleted where there are fewer.
    CREATE TABLE bookmark_object (
        bookmark INTEGER NOT NULL REFERENCES bookmark (n) ON DELETE CASCADE,
        object   INTEGER NOT NULL REFERENCES object (n) ON DELETE CASCADE,
        PRIMARY KEY (bookmark, object)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bookmark_object_by_object ON bookmark_object (object);
    CREATE INDEX bookmark_emptied ON bookmark (n) WHERE emptied = 1;
    """,
)


def looked_at(tx: Tx, look_tag: bytes) -> bool | None:
    """Tell whether the look at a file that looked like this came behind all cut-offs; ``None`` if nobody looked."""
    found = tx.execute(
        "SELECT NOT EXISTS (SELECT 1 FROM cutoff WHERE (commanded_ms, wall_ms) >= (b.looked_ms, b.wall_ms))"
        " FROM bookmark AS b WHERE look_tag = ? AND length(look_tag) > 0"
        " ORDER BY looked_ms DESC, wall_ms DESC LIMIT 1",
        (look_tag,),
    )
    return bool(found[0][0]) if found else None


def related(tx: Tx, *, path_tag: bytes, base_tag: bytes, file_tag: bytes, limit: int) -> list[Row]:
    """Return (n, columns, holding) of what may be the same log: first of the same file, then of its path.

    Its path may have been another one before a rotation. Each of these in turn may be one of very many, and gives way
    where that is more than ``limit``: first a path that a rotation made of this one, then what stood at this path; of
    equals the shortest.
    """
    return tx.execute(
        f"{_SELECT} WHERE path_tag = ?1 OR path_tag = ?2 OR base_tag = ?1 OR file_tag = ?3"
        " ORDER BY file_tag = ?3 DESC, path_tag = ?1 OR path_tag = ?2 DESC, taken_bytes DESC, n DESC LIMIT ?4",
        (path_tag, base_tag, file_tag, limit),
    )


def beginning(tx: Tx, head_tag: bytes, *, above_bytes: int, size_bytes: int, limit: int) -> list[Row]:
    """Return (n, columns, holding) of those with a first line, taken further than ``above_bytes``.

    First those that a file of ``size_bytes`` has room for, the longest first; then those that are longer, the shortest
    first: a copy that was cut is shorter than what is known of it. Where there are more than ``limit``, each has half
    of it at least. All are found by the index alone, however many begin alike.
    """
    longer = tx.execute(
        f"{_SELECT} WHERE head_tag = ? AND taken_bytes > ? ORDER BY taken_bytes, n LIMIT ?",
        (head_tag, max(above_bytes, size_bytes), limit),
    )
    fitting = tx.execute(
        f"{_SELECT} WHERE head_tag = ? AND taken_bytes > ? AND taken_bytes <= ?"
        " ORDER BY taken_bytes DESC, n DESC LIMIT ?",
        (head_tag, above_bytes, size_bytes, max(limit // 2, limit - len(longer))),
    )
    return fitting + longer[: limit - len(fitting)]


def insert(tx: Tx, values: dict[str, Any]) -> None:
    """Add a row."""
    marks = ", ".join("?" for _ in COLUMNS)
    tx.execute(
        f"INSERT INTO bookmark ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608 - our own names
        [values[name] for name in COLUMNS],
    )


def name_objects(tx: Tx, object_id: str, *, those_of: int) -> None:
    """Note of the row that was added last that this object holds what was taken, and those of another row."""
    tx.execute(
        "INSERT INTO bookmark_object SELECT (SELECT max(n) FROM bookmark), n FROM object"
        " WHERE id = ? OR n IN (SELECT object FROM bookmark_object WHERE bookmark = ?)",
        (object_id, those_of),
    )


def drop(tx: Tx, n: int) -> None:
    """Remove a row."""
    tx.execute("DELETE FROM bookmark WHERE n = ?", (n,))


def drop_older(tx: Tx, file_tag: bytes, *, keep: int, above_bytes: int, keep_above: int) -> None:
    """Remove all but the newest rows of one file, and the newest of those taken further than ``above_bytes``."""
    tx.execute(
        "DELETE FROM bookmark WHERE file_tag = ?1"
        " AND n NOT IN (SELECT n FROM bookmark WHERE file_tag = ?1 ORDER BY n DESC LIMIT ?2)"
        " AND n NOT IN (SELECT n FROM bookmark WHERE file_tag = ?1 AND taken_bytes > ?3 ORDER BY n DESC LIMIT ?4)",
        (file_tag, keep, above_bytes, keep_above),
    )


def drop_oldest_emptied(tx: Tx, *, keep: int) -> None:
    """Remove all but the newest rows of logs in folders that are ours to empty."""
    tx.execute(
        "DELETE FROM bookmark WHERE emptied = 1"
        " AND n <= (SELECT n FROM bookmark WHERE emptied = 1 ORDER BY n DESC LIMIT 1 OFFSET ?)",
        (keep,),
    )


def at_least(tx: Tx, count: int) -> bool:
    """Tell whether there are so many rows; they are counted only where their numbers leave it open."""
    ((span,),) = tx.execute("SELECT coalesce((SELECT max(n) FROM bookmark) - (SELECT min(n) FROM bookmark) + 1, 0)")
    return span >= count and bool(tx.execute("SELECT 1 FROM bookmark LIMIT 1 OFFSET ?", (count - 1,)))


def newest(tx: Tx, source: str, folder: int) -> int:
    """Return the number of the newest row of a source's folder whose logs stay there, or 0."""
    ((n,),) = tx.execute(
        "SELECT coalesce(max(n), 0) FROM bookmark WHERE source = ? AND folder IN (0, ?) AND emptied = 0",
        (source, folder),
    )
    return int(n)


def last_look(tx: Tx) -> tuple[int, int]:
    """Return agent time and wall clock of the latest look; (0, 0) if there was none."""
    found = tx.execute("SELECT looked_ms, wall_ms FROM bookmark ORDER BY looked_ms DESC, wall_ms DESC LIMIT 1")
    return (found[0][0], found[0][1]) if found else (0, 0)


def page(tx: Tx, source: str, folder: int, *, after: int, upto: int, limit: int) -> list[Row]:
    """Return (n, file, path, missed, whether a newer row has its path) of logs that stay in a source's folder."""
    return tx.execute(
        "SELECT n, file_tag, path_tag, missed,"
        " EXISTS (SELECT 1 FROM bookmark o WHERE o.path_tag = b.path_tag AND o.n > b.n)"
        " FROM bookmark b WHERE source = ? AND folder IN (0, ?) AND emptied = 0 AND n > ? AND n <= ?"
        " ORDER BY n LIMIT ?",
        (source, folder, after, upto, limit),
    )


def set_missed(tx: Tx, n: int, *, missed: int) -> None:
    """Note whether a look over the whole folder found it."""
    tx.execute("UPDATE bookmark SET missed = ? WHERE n = ?", (missed, n))
