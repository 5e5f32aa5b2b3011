"""Rows of ``agent/tombstone.py``: what deletes leave behind, the marks that it is compacted to, and cut-offs."""

from collections.abc import Iterable
from typing import Final

from agent.index.transaction import Row, Tx


def insert(tx: Tx, objects: Iterable[str], rule: str, *, asked: int) -> None:
    """Write the tombstones of objects that are still there, and one for each file that an object was made of.

    What came from nowhere cannot return and needs none; nor does what retention (``asked`` 0) removes once its source
    and the stores have nothing of it left, unless the source is a camera, which may list it again. Call it behind
    ``ask_store``.
    """
    named = tuple(objects)
    rules = tuple((rule, asked, object_id) for object_id in named)
    columns = (
        "INSERT INTO tombstone (source_tag, content_tag, source, captured_from_ms, rule, object, camera, category,"
        " leaves, source_folder, at_source, returns, at_store, asked)"
    )
    at_store = "EXISTS (SELECT 1 FROM upload u WHERE u.object = o.id AND u.erase = 1 AND u.stated_by = '')"
    at_source = "o.source_copy != 'taken', o.source_folder, 1 - o.source_gone, o.source_copy = 'asked'"
    about = f"?1, o.id, o.camera, o.category, {at_source}, {at_store}, ?2"
    needed = f"o.id = ?3 AND (?2 OR NOT o.source_gone OR {at_store})"
    tx.executemany(
        f"{columns} SELECT o.source_tag, o.content_tag, o.source, o.captured_from_ms, {about} FROM object o"  # noqa: S608 - our own words
        f" WHERE {needed} AND length(o.source_tag) + length(o.content_tag) > 0",
        rules,
    )
    tx.executemany(
        f"{columns} SELECT f.source_tag, f.content_tag, o.source, f.captured_from_ms, {about}"  # noqa: S608 - the same
        f" FROM object_file f JOIN object o ON o.n = f.object WHERE {needed}",
        rules,
    )
    settle(tx, named)


def settle(tx: Tx, objects: Iterable[str]) -> None:
    """Drop the tombstones of objects that neither a source nor a store has any more.

    Those of deletes that were asked for stay and forget whose they are; so do those of what a camera may list again,
    which is known by what the camera says of it alone.
    """
    ids = tuple((object_id,) for object_id in objects)
    settled = "object = ? AND object != '' AND at_source = 0 AND at_store = 0"
    tx.executemany(f"DELETE FROM tombstone WHERE {settled} AND asked = 0 AND returns = 0", ids)  # noqa: S608 - our own words
    bare = "object = '', camera = '', category = '', content_tag = CASE WHEN asked = 0 THEN x'' ELSE content_tag END"
    tx.executemany(f"UPDATE tombstone SET {bare} WHERE {settled}", ids)  # noqa: S608 - the same


def gone_from_source(tx: Tx, object_id: str) -> None:
    """Note that the source's copy of a deleted object is gone."""
    tx.execute("UPDATE tombstone SET at_source = 0 WHERE object = ? AND object != ''", (object_id,))
    settle(tx, (object_id,))


def gone_from_stores(tx: Tx, object_id: str) -> None:
    """Note that the stores confirmed the erasure of a deleted object, if the last of them did."""
    tx.execute(
        "UPDATE tombstone SET at_store = 0 WHERE object = ?1 AND object != ''"
        " AND NOT EXISTS (SELECT 1 FROM upload WHERE object = ?1 AND erase = 1 AND stated_by = '')",
        (object_id,),
    )
    settle(tx, (object_id,))


def ask(tx: Tx, objects: Iterable[str], rule: str) -> None:
    """Note that somebody asked for the deletion of objects that retention removed, or began to, before."""
    for object_id in objects:
        tx.execute("UPDATE tombstone SET asked = 1 WHERE object = ? AND object != ''", (object_id,))
        if tx.changes() == 0:
            insert(tx, (object_id,), rule, asked=1)


def newest_at_source(tx: Tx, source: str, folder: int) -> int:
    """Return the number of the newest tombstone that waits for the word of a source's folder, or 0."""
    ((n,),) = tx.execute(
        "SELECT coalesce(max(n), 0) FROM tombstone WHERE source = ? AND at_source = 1 AND source_folder IN (0, ?)",
        (source, folder),
    )
    return int(n)


def of_tags(tx: Tx, source_tags: Iterable[bytes]) -> list[int]:
    """Return the numbers of tombstones of these source identities."""
    return [
        int(row[0]) for tag in source_tags for row in tx.execute("SELECT n FROM tombstone WHERE source_tag = ?", (tag,))
    ]


def at_source(tx: Tx, source: str, folder: int, *, after: int, upto: int, limit: int) -> list[int]:
    """Return one page of the tombstones that wait for the word of a source's folder, by number."""
    rows = tx.execute(
        "SELECT n FROM tombstone WHERE source = ? AND at_source = 1 AND source_folder IN (0, ?) AND n > ? AND n <= ?"
        " ORDER BY n LIMIT ?",
        (source, folder, after, upto, limit),
    )
    return [int(row[0]) for row in rows]


def absent_at_source(tx: Tx, numbers: Iterable[int]) -> None:
    """Note of tombstones, by number, that their source has no such copy."""
    absent = tuple((n,) for n in numbers)
    tx.executemany("UPDATE tombstone SET at_source = 0 WHERE n = ?", absent)
    settled = "n = ? AND at_source = 0 AND at_store = 0"
    tx.executemany(f"DELETE FROM tombstone WHERE {settled} AND asked = 0", absent)  # noqa: S608 - our own words
    tx.executemany(f"UPDATE tombstone SET object = '', camera = '', category = '' WHERE {settled}", absent)  # noqa: S608 - the same


def rule_of(tx: Tx, *, source_tag: bytes, content_tag: bytes) -> str | None:
    """Return the rule of a tombstone with either tag; an empty tag matches nothing."""
    for column, tag in (("source_tag", source_tag), ("content_tag", content_tag)):
        rows = tx.execute(f"SELECT rule FROM tombstone WHERE {column} = ? LIMIT 1", (tag,)) if tag else []  # noqa: S608 - our own names
        if rows:
            return str(rows[0][0])
    return None


def count(tx: Tx) -> int:
    """Return how many tombstones there are."""
    return int(tx.execute("SELECT count(*) FROM tombstone")[0][0])


def settled(tx: Tx, limit: int) -> list[int]:
    """Return the numbers of the oldest that neither a source nor a store is waited for, retention's before others."""
    rows = tx.execute(
        "SELECT n FROM tombstone WHERE at_source = 0 AND at_store = 0 ORDER BY asked, n LIMIT ?", (limit,)
    )
    return [int(row[0]) for row in rows]


def left(tx: Tx, limit: int) -> list[Row]:
    """Return (n, source, camera, category, captured from) of the oldest recordings that sources keep copies of."""
    return tx.execute(
        "SELECT n, source, camera, category, captured_from_ms FROM tombstone WHERE leaves = 1 AND at_source = 1"
        " ORDER BY captured_from_ms, n LIMIT ?",
        (limit,),
    )


def oldest(tx: Tx, limit: int) -> list[int]:
    """Return the numbers of those that were written first."""
    return [int(row[0]) for row in tx.execute("SELECT n FROM tombstone ORDER BY n LIMIT ?", (limit,))]


def raise_mark(tx: Tx, source: str, camera: str, category: str, *, before_ms: int) -> bool:
    """Put a mark, or move it forward; return whether that changed anything."""
    tx.execute(
        "INSERT INTO mark VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET before_ms = excluded.before_ms"
        " WHERE excluded.before_ms > before_ms",
        (source, camera, category, before_ms),
    )
    return tx.changes() > 0


def marked(tx: Tx, *, source: str, camera: str, category: str, captured_from_ms: int) -> bool:
    """Tell whether a recording is older than a mark."""
    return bool(
        tx.execute(
            "SELECT 1 FROM mark WHERE source = ? AND camera = ? AND category = ? AND ? < before_ms",
            (source, camera, category, captured_from_ms),
        )
    )


def drop(tx: Tx, numbers: Iterable[int]) -> None:
    """Remove tombstones by number."""
    tx.executemany("DELETE FROM tombstone WHERE n = ?", ((n,) for n in numbers))


def put_cutoff(
    tx: Tx, values: tuple[str, str, int | None, int | None, int, int, int, str], *, command: tuple[str, str, int]
) -> None:
    """Add (camera, category, from, to, before, commanded, wall, rule) of (command, kid, seq), unless one covers it.

    Those that it covers go.
    """
    if not tx.execute(f"SELECT 1 FROM cutoff WHERE {_COVERING} LIMIT 1", values[:7]):  # noqa: S608 - our own words
        tx.execute(f"DELETE FROM cutoff WHERE {_COVERED}", values[:7])  # noqa: S608 - our own words
        tx.execute(
            "INSERT INTO cutoff"
            " (camera, category, from_ms, to_ms, before_ms, commanded_ms, wall_ms, rule, command, kid, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, *command),
        )


_COVERING: Final = (
    "certain = 1 AND camera IN ('', ?1) AND category IN ('', ?2) AND (from_ms IS NULL OR ?3 >= from_ms)"
    " AND (to_ms IS NULL OR ?4 <= to_ms) AND ?5 <= before_ms AND ?6 <= commanded_ms AND ?7 <= wall_ms"
)
_COVERED: Final = (
    "?1 IN ('', camera) AND ?2 IN ('', category) AND (?3 IS NULL OR from_ms >= ?3)"
    " AND (?4 IS NULL OR to_ms <= ?4) AND before_ms <= ?5 AND commanded_ms <= ?6 AND wall_ms <= ?7"
)


def cutoff(
    tx: Tx,
    *,
    camera: str,
    category: str,
    captured_from_ms: int,
    captured_to_ms: int,
    doubt_ms: int,
    changed_ms: int,
    looked: tuple[int, int],
) -> tuple[str, bool, tuple[str, str, int]] | None:
    """Return the rule of a cut-off that may match, whether it certainly does, and its (command, kid, seq).

    The times may both be off by up to ``doubt_ms``, either way. It certainly does only if ``changed_ms`` too, where it
    is not 0, is before the delete, by the wall clock of either. What was written behind a look, ``looked`` (agent time,
    wall clock), is of before the delete only where the look is not behind it; 0 where there was none. One that is
    certain, if there is one, and of those the newest.
    """
    rows = tx.execute(
        "SELECT rule, certain AND (from_ms IS NULL OR max(?3, ?4 + 1) - ?5 > from_ms)"
        " AND (to_ms IS NULL OR ?4 + ?5 < to_ms) AND ?4 + ?5 < before_ms"
        " AND (?6 = 0 OR ?6 < min(before_ms, wall_ms)) AS sure,"
        " command, kid, seq FROM cutoff"
        " WHERE (camera = '' OR camera = ?1) AND (category = '' OR category = ?2)"
        " AND (from_ms IS NULL OR max(?3, ?4 + 1) + ?5 > from_ms)"
        " AND (to_ms IS NULL OR ?4 - ?5 < to_ms)"
        " AND iif(?7 > 0, (?7, ?8) <= (commanded_ms, wall_ms), ?4 - ?5 < before_ms)"
        " ORDER BY sure DESC, n DESC LIMIT 1",
        (camera, category, captured_to_ms, captured_from_ms, doubt_ms, changed_ms, *looked),
    )
    if not rows:
        return None
    rule, certain, command, kid, seq = rows[0]
    return str(rule), bool(certain), (str(command), str(kid), int(seq))


def count_late(tx: Tx, command: tuple[str, str, int], *, destroyed: int, remaining: int) -> None:
    """Count files that a cut-off of (command, kid, seq) met."""
    tx.execute(
        "INSERT INTO late VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET destroyed = destroyed + excluded.destroyed, remaining = remaining + excluded.remaining",
        (*command, destroyed, remaining),
    )


def late(tx: Tx) -> list[Row]:
    """Return (command, kid, seq, destroyed, remaining) of what was counted."""
    return tx.execute("SELECT command, kid, seq, destroyed, remaining FROM late ORDER BY command")


def drop_late(tx: Tx, command: str) -> None:
    """Count from nothing again for a command."""
    tx.execute("DELETE FROM late WHERE command = ?", (command,))


def cutoffs(tx: Tx) -> list[Row]:
    """Return (n, camera, category, from, to, before, commanded, wall), oldest first."""
    return tx.execute(
        "SELECT n, camera, category, from_ms, to_ms, before_ms, commanded_ms, wall_ms FROM cutoff ORDER BY n"
    )


def merge_cutoffs(tx: Tx, n: int, other: int, values: tuple[str, str, int | None, int | None, int, int, int]) -> None:
    """Put one of (camera, category, from, to, before, commanded, wall) that is not certain in the place of two."""
    tx.execute("DELETE FROM cutoff WHERE n = ?", (other,))
    tx.execute(
        "UPDATE cutoff SET camera = ?2, category = ?3, from_ms = ?4, to_ms = ?5, before_ms = ?6,"
        " commanded_ms = ?7, wall_ms = ?8, certain = 0"
        " WHERE n = ?1",
        (n, *values),
    )
