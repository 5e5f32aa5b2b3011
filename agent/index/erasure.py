"""Rows of ``agent/erasure.py``: requests to erase, their objects, intents, and the rewrapping of slots."""

from collections.abc import Iterable
from typing import Final

from agent.index.transaction import Row, Tx

PUT_OFF: Final = 1 << 48
"""Above every number of an object: the place of an intent whose file could not be removed."""


def insert_erasure(tx: Tx, *, command: str, rule: str, actor: str, keeps: int, asked_ms: int) -> int:
    """Add a request and return its number."""
    ((n,),) = tx.execute(
        "INSERT INTO erasure (command, rule, actor, keeps, state, asked_ms) VALUES (?, ?, ?, ?, 'local', ?)"
        " RETURNING n",
        (command, rule, actor, keeps, asked_ms),
    )
    return int(n)


def retention_since(tx: Tx) -> int | None:
    """Return when the oldest request of retention was made that is not carried out, in agent time."""
    return tx.execute(  # type: ignore[no-any-return]  # an integer column
        "SELECT min(asked_ms) FROM erasure e WHERE state = 'local' AND command = ''"
        " AND (EXISTS (SELECT 1 FROM erasure_item WHERE erasure = e.n AND result = 'asked')"
        " OR EXISTS (SELECT 1 FROM erasure_item i JOIN intent t ON t.object = i.object WHERE i.erasure = e.n"
        " AND NOT (t.step = 3 AND t.n >= ?)))",
        (PUT_OFF,),
    )[0][0]


def intended(tx: Tx) -> int:
    """Return how many objects are being erased."""
    return int(tx.execute("SELECT count(*) FROM intent t JOIN object o ON o.id = t.object")[0][0])


def intended_bytes(tx: Tx) -> int:
    """Return how much room the objects at step 1 take."""
    ((size,),) = tx.execute(
        "SELECT coalesce(sum(o.size_bytes), 0) FROM intent t JOIN object o ON o.n = t.n WHERE t.step = 1"
    )
    return int(size)


def dying_slots(tx: Tx) -> int:
    """Return how many slots the groups have that have none but those of objects at step 1."""
    ((slots,),) = tx.execute(
        "SELECT coalesce(sum(g.slots), 0) FROM (SELECT s.key_group AS n, count(*) AS victims FROM intent t"
        " JOIN slot s ON s.object = t.n WHERE t.step = 1 GROUP BY s.key_group) v JOIN key_group g ON g.n = v.n"
        " WHERE v.victims = g.slots"
    )
    return int(slots)


def erasures(tx: Tx) -> list[Row]:
    """Return (n, command, rule, actor, keeps) of the requests with something left here, oldest first."""
    return tx.execute("SELECT n, command, rule, actor, keeps FROM erasure WHERE state = 'local' ORDER BY n")


def command_of(tx: Tx, erasure: int) -> str:
    """Return the command of a request."""
    return str(tx.execute("SELECT command FROM erasure WHERE n = ?", (erasure,))[0][0])


def await_stores(tx: Tx, n: int, *, copies: int) -> None:
    """Let a request wait for the word of stores about so many copies."""
    tx.execute("UPDATE erasure SET state = 'remote', unconfirmed = ? WHERE n = ?", (copies, n))


def drop_erasure(tx: Tx, n: int) -> None:
    """Remove a finished request."""
    tx.execute("DELETE FROM erasure_item WHERE erasure = ?", (n,))
    tx.execute("DELETE FROM erasure WHERE n = ?", (n,))


def insert_items(tx: Tx, erasure: int, objects: Iterable[str]) -> None:
    """Add objects to a request, as asked."""
    tx.executemany("INSERT INTO erasure_item VALUES (?, ?, 'asked', '')", ((erasure, name) for name in objects))


def asked(tx: Tx, erasure: int, limit: int) -> list[str]:
    """Return objects of a request for which step 1 was not done."""
    rows = tx.execute(
        "SELECT object FROM erasure_item WHERE erasure = ? AND result = 'asked' ORDER BY object LIMIT ?",
        (erasure, limit),
    )
    return [row[0] for row in rows]


def answer_items(tx: Tx, erasure: int, answers: Iterable[tuple[str, str, str]]) -> None:
    """Set (object, result, remarks) in a request."""
    tx.executemany(
        "UPDATE erasure_item SET result = ?3, remarks = ?4 WHERE erasure = ?1 AND object = ?2",
        ((erasure, *answer) for answer in answers),
    )


def items(tx: Tx, erasure: int) -> list[Row]:
    """Return (object, result, remarks), in the order of ids."""
    return tx.execute("SELECT object, result, remarks FROM erasure_item WHERE erasure = ? ORDER BY object", (erasure,))


def pending_items(tx: Tx, erasure: int) -> int:
    """Return how many objects of a request are not gone yet."""
    ((left,),) = tx.execute(
        "SELECT count(*) FROM erasure_item WHERE erasure = ? AND result IN ('asked', 'pending')", (erasure,)
    )
    return int(left)


def settle_items(tx: Tx, objects: Iterable[str]) -> None:
    """Note in every request that the objects are deleted."""
    tx.executemany(
        "UPDATE erasure_item SET result = 'deleted' WHERE object = ? AND result = 'pending'",
        ((object_id,) for object_id in objects),
    )


def fail_pending(tx: Tx, erasure: int) -> None:
    """Note in a request that what is not gone cannot be removed."""
    tx.execute("UPDATE erasure_item SET result = 'failed' WHERE erasure = ? AND result = 'pending'", (erasure,))


def cause(tx: Tx, object_id: str) -> tuple[str, str]:
    """Return (rule, command) of the first request that an object is being erased for."""
    found = tx.execute(
        "SELECT e.rule, e.command FROM erasure_item i JOIN erasure e ON e.n = i.erasure WHERE i.object = ?"
        " ORDER BY e.n LIMIT 1",
        (object_id,),
    )
    return (found[0][0], found[0][1]) if found else ("", "")


def begin_erasing(tx: Tx, objects: Iterable[str]) -> None:
    """Mark objects and write their intents."""
    ids = tuple((object_id,) for object_id in objects)
    tx.executemany("UPDATE object SET state = 'erasing' WHERE id = ?", ids)
    tx.executemany("INSERT INTO intent SELECT id, n, 1 FROM object WHERE id = ?", ids)


def ask_store(tx: Tx, object_id: str, *, keeps: int) -> int:
    """Ask for the erasure of an object's remote copies (``keeps``: of unfinished ones only); return how many there are.

    Uploads that were never begun are forgotten: no copy of them can exist.
    """
    tx.execute("DELETE FROM upload WHERE object = ? AND manifest = ''", (object_id,))
    tx.execute("UPDATE upload SET erase = 1 WHERE object = ? AND NOT (? AND stored)", (object_id, keeps))
    if not keeps:
        tx.execute("DELETE FROM remote_only WHERE object = ?", (object_id,))
    return int(tx.execute("SELECT count(*) FROM upload WHERE object = ? AND erase = 1", (object_id,))[0][0])


def ask_source(tx: Tx, object_id: str) -> None:
    """Ask for the erasure of the copy on a camera's own storage, if the object has one there that is not known gone.

    Not of one whose content nobody knows: what has its id there now may be another recording.
    """
    tx.execute(
        "INSERT OR IGNORE INTO source_erase (object, source, recording, state, card, sha256)"
        " SELECT id, source, source_name, 'waiting', source_folder, source_sha256 FROM object"
        " WHERE id = ? AND source_copy = 'asked' AND source_gone = 0 AND source_sha256 != x''",
        (object_id,),
    )


def is_asked(tx: Tx, object_id: str) -> bool:
    """Tell whether an object's source gives its copy up when asked, and can be asked for it."""
    found = tx.execute(
        "SELECT 1 FROM object WHERE id = ? AND source_copy = 'asked' AND source_sha256 != x''", (object_id,)
    )
    return bool(found)


def source_state(tx: Tx, object_id: str) -> tuple[str, str]:
    """Return what became of the copy on a camera's own storage and whose word that is; ``""`` where there was none."""
    found = tx.execute("SELECT state, stated_by FROM source_erase WHERE object = ?", (object_id,))
    return (str(found[0][0]), str(found[0][1])) if found else ("", "")


def source_copies(tx: Tx, source: str, card: int, after: str, limit: int) -> list[Row]:
    """Return (object, recording, sha256) of the copies that a camera is asked to delete from a card, by object."""
    return tx.execute(
        "SELECT object, recording, sha256 FROM source_erase WHERE state = 'waiting' AND source = ? AND card = ?"
        " AND object > ? ORDER BY object LIMIT ?",
        (source, card, after, limit),
    )


def copies_of_source(tx: Tx, source: str, limit: int) -> list[str]:
    """Return objects whose copies a camera is asked to delete, from whichever card."""
    found = tx.execute(
        "SELECT object FROM source_erase WHERE state = 'waiting' AND source = ? LIMIT ?", (source, limit)
    )
    return [row[0] for row in found]


def unnamed_copies(tx: Tx, source: str, limit: int) -> list[str]:
    """Return objects whose copies a camera cannot be asked for: nobody noted their content or their card."""
    found = tx.execute(
        "SELECT object FROM source_erase WHERE state = 'waiting' AND source = ? AND card = 0 AND sha256 = x'' LIMIT ?",
        (source, limit),
    )
    return [row[0] for row in found]


def waiting_at_sources(tx: Tx) -> int:
    """Return how many copies cameras are asked to delete."""
    return int(tx.execute("SELECT count(*) FROM source_erase WHERE state = 'waiting'")[0][0])


def least_wanted_at_sources(tx: Tx, limit: int) -> list[str]:
    """Return objects whose copies cameras are asked to delete, those first that no command waits for."""
    found = tx.execute(
        "SELECT object FROM source_erase s WHERE state = 'waiting' ORDER BY EXISTS"
        " (SELECT 1 FROM erasure_item i JOIN erasure e ON e.n = i.erasure"
        " WHERE i.object = s.object AND e.command != ''), object LIMIT ?",
        (limit,),
    )
    return [row[0] for row in found]


def waits_beside(tx: Tx, source: str, card: int) -> bool:
    """Tell whether a camera is asked to delete something from another card than this one."""
    below, above = (
        tx.execute(
            f"SELECT 1 FROM source_erase WHERE state = 'waiting' AND source = ? AND card {side} ? LIMIT 1",  # noqa: S608 - our own words
            (source, card),
        )
        for side in "<>"
    )
    return bool(below or above)


def command_waits_beside(tx: Tx, source: str, card: int) -> bool:
    """Tell whether a command waits for something that a camera is asked to delete from another card than this one."""
    found = tx.execute(
        "SELECT 1 FROM erasure e CROSS JOIN erasure_item i ON i.erasure = e.n CROSS JOIN source_erase s"
        " ON s.object = i.object"
        " WHERE e.command != '' AND s.state = 'waiting' AND s.source = ? AND s.card != ? LIMIT 1",
        (source, card),
    )
    return bool(found)


def waiting_copies(tx: Tx) -> list[tuple[str, int]]:
    """Return (source, how many copies) of the cameras that are asked to delete something."""
    counted = "SELECT source, count(*) FROM source_erase WHERE state = 'waiting' GROUP BY source ORDER BY source"
    return [(str(row[0]), int(row[1])) for row in tx.execute(counted)]


def waiting_copy(tx: Tx, object_id: str) -> str:
    """Return the source that is asked to delete an object's copy; ``""`` for none."""
    found = tx.execute("SELECT source FROM source_erase WHERE state = 'waiting' AND object = ?", (object_id,))
    return str(found[0][0]) if found else ""


def waiting_sources(tx: Tx) -> list[str]:
    """Return the names of the cameras that are asked to delete something."""
    return [row[0] for row in tx.execute("SELECT DISTINCT source FROM source_erase WHERE state = 'waiting'")]


def settle_source(tx: Tx, object_id: str, *, state: str, stated_by: str = "") -> bool:
    """Note what became of a copy on a camera's own storage, and who said so; return whether that was news."""
    tx.execute(
        "UPDATE source_erase SET state = ?, stated_by = ?, sha256 = x'' WHERE object = ? AND state = 'waiting'",
        (state, stated_by, object_id),
    )
    return tx.changes() > 0


def keep_remote(tx: Tx, object_id: str) -> None:
    """Remember an object of which only a store's finished copy will remain."""
    tx.execute(
        "INSERT OR IGNORE INTO remote_only (object, n, camera, category, captured_from_ms, captured_to_ms, taken_in_ms,"
        " size_bytes) SELECT id, n, camera, category, captured_from_ms, captured_to_ms, taken_in_ms, size_bytes"
        " FROM object"
        " WHERE id = ?1 AND EXISTS (SELECT 1 FROM upload WHERE object = ?1 AND stored = 1 AND erase = 0)",
        (object_id,),
    )


def bound_remote_only(tx: Tx, limit: int) -> None:
    """Forget the oldest copies at stores above a limit."""
    over = int(tx.execute("SELECT count(*) FROM remote_only")[0][0]) - limit
    if over > 0:
        oldest = "SELECT object FROM remote_only ORDER BY n LIMIT ?"
        tx.execute(f"DELETE FROM upload WHERE object IN ({oldest})", (over,))  # noqa: S608 - our own text
        tx.execute(f"DELETE FROM remote_only WHERE object IN ({oldest})", (over,))  # noqa: S608 - the same


def remote_copies(tx: Tx, store: str, after: str, limit: int) -> list[Row]:
    """Return (upload, object, manifest) that a store is asked to erase and has not confirmed."""
    return tx.execute(
        "SELECT id, object, manifest FROM upload WHERE erase = 1 AND stated_by = '' AND store = ? AND id > ?"
        " ORDER BY id LIMIT ?",
        (store, after, limit),
    )


def is_store_asked(tx: Tx, upload_id: str, *, store: str) -> bool:
    """Tell whether a store is asked to erase a copy and has not confirmed it."""
    return bool(
        tx.execute(
            "SELECT 1 FROM upload WHERE erase = 1 AND stated_by = '' AND store = ? AND id = ?", (store, upload_id)
        )
    )


def confirm_erased(tx: Tx, upload_id: str, *, stated_by: str) -> bool:
    """Note a store's word; return whether it was news."""
    tx.execute("UPDATE upload SET stated_by = ? WHERE id = ? AND stated_by = ''", (stated_by, upload_id))
    return tx.changes() > 0


def copies_of(tx: Tx, object_id: str) -> list[Row]:
    """Return (stored, stated_by) of every remote copy that an object had when its erasure began."""
    return tx.execute("SELECT stored, stated_by FROM upload WHERE object = ? AND erase = 1 ORDER BY id", (object_id,))


def drop_confirmed(tx: Tx, objects: Iterable[str]) -> None:
    """Forget the confirmed copies of erased objects that no request asks about any more."""
    ids = tuple((object_id,) for object_id in objects)
    for confirmed in ("upload WHERE object = ?1 AND stated_by != '' AND erase = 1", _SETTLED):
        tx.executemany(
            f"DELETE FROM {confirmed}"  # noqa: S608 - our own words
            " AND NOT EXISTS (SELECT 1 FROM erasure_item WHERE object = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM intent WHERE object = ?1)",
            ids,
        )


_SETTLED: Final = "source_erase WHERE object = ?1 AND state != 'waiting'"


def count_confirmed(tx: Tx, object_id: str) -> list[int]:
    """Count a copy of an object as confirmed; return the requests that waited for no other."""
    waiting = tx.execute(
        "UPDATE erasure SET unconfirmed = unconfirmed - 1 WHERE state = 'remote' AND n IN"
        " (SELECT erasure FROM erasure_item WHERE object = ? AND result = 'deleted') RETURNING n, unconfirmed",
        (object_id,),
    )
    return [n for n, left in waiting if left == 0]


def waiting_for_cameras_alone(tx: Tx, object_id: str, *, of: int) -> list[int]:
    """Return the requests of at most ``of`` objects that meant an object and wait for no store any more."""
    return [n for n in _waiting(tx, object_id, of=of) if not _unconfirmed(tx, n)[0]]


def waiting_for_stores_alone(tx: Tx, object_id: str, *, of: int) -> list[int]:
    """Return the requests of at most ``of`` objects that meant an object and wait for no camera any more."""
    return [n for n in _waiting(tx, object_id, of=of) if not _unconfirmed(tx, n)[1]]


def _waiting(tx: Tx, object_id: str, *, of: int) -> list[int]:
    found = tx.execute(
        "SELECT e.n FROM erasure_item i JOIN erasure e ON e.n = i.erasure WHERE i.object = ? AND e.state = 'remote'"
        " AND (SELECT count(*) FROM (SELECT 1 FROM erasure_item t WHERE t.erasure = e.n LIMIT ?)) <= ?",
        (object_id, of + 1, of),
    )
    return [row[0] for row in found]


def unconfirmed(tx: Tx, erasure: int) -> int:
    """Return how many copies at stores and on cameras a request still waits for."""
    return sum(_unconfirmed(tx, erasure))


def _unconfirmed(tx: Tx, erasure: int) -> tuple[int, int]:
    ((at_stores,),) = tx.execute(
        "SELECT count(*) FROM erasure_item i JOIN upload u ON u.object = i.object"
        " WHERE i.erasure = ? AND i.result = 'deleted' AND u.erase = 1 AND u.stated_by = ''",
        (erasure,),
    )
    ((at_sources,),) = tx.execute(
        "SELECT count(*) FROM erasure_item i JOIN source_erase s ON s.object = i.object"
        " WHERE i.erasure = ? AND i.result = 'deleted' AND s.state = 'waiting'",
        (erasure,),
    )
    return int(at_stores), int(at_sources)


def victims_groups(tx: Tx, limit: int) -> list[int]:
    """Return the groups, at most ``limit``, that hold slots of objects at step 1."""
    rows = tx.execute(
        "SELECT DISTINCT s.key_group FROM intent t JOIN slot s ON s.object = t.n WHERE t.step = 1 LIMIT ?", (limit,)
    )
    return [int(row[0]) for row in rows]


def victims(tx: Tx, key_group: int, limit: int) -> list[Row]:
    """Return (n, object id) of the objects at step 1 in a group."""
    return tx.execute(
        "SELECT t.n, t.object FROM slot s JOIN intent t ON t.n = s.object AND t.step = 1 WHERE s.key_group = ? LIMIT ?",
        (key_group, limit),
    )


def remove_victims(tx: Tx, found: Iterable[Row]) -> None:
    """Remove the rows of (n, object id) and move their intents to step 3."""
    numbers = tuple((n,) for n, _ in found)
    tx.executemany("DELETE FROM slot WHERE object = ?", numbers)
    tx.executemany("DELETE FROM header WHERE object = ?", numbers)
    tx.executemany("DELETE FROM object_file WHERE object = ?", numbers)
    tx.executemany("DELETE FROM object WHERE n = ?", numbers)
    tx.executemany("UPDATE intent SET step = 3 WHERE step = 1 AND n = ?", numbers)


def slots_of(tx: Tx, key_group: int) -> list[Row]:
    """Return (n, object id, payload hash, kind, wrapped) of a group."""
    return tx.execute(
        "SELECT s.object, o.id, o.payload_sha256, o.kind, s.wrapped FROM slot s JOIN object o ON o.n = s.object"
        " WHERE s.key_group = ?",
        (key_group,),
    )


def rewrite_slots(tx: Tx, key_group: int, version: int, slots: Iterable[tuple[int, bytes]]) -> None:
    """Replace the (n, wrapped) of a group's slots and the group's count."""
    tx.executemany(
        "UPDATE slot SET version = ?, wrapped = ? WHERE object = ?", ((version, wrapped, n) for n, wrapped in slots)
    )
    tx.execute(
        "UPDATE key_group SET slots = (SELECT count(*) FROM slot WHERE key_group = ?1) WHERE n = ?1", (key_group,)
    )


def stale_slots(tx: Tx, key_group: int) -> int:
    """Return how many slots of a group name another version than the group's."""
    ((found,),) = tx.execute(
        "SELECT count(*) FROM slot s JOIN key_group g ON g.n = s.key_group WHERE g.n = ? AND g.version != s.version",
        (key_group,),
    )
    return int(found)


def intents(tx: Tx, step: int, limit: int) -> list[str]:
    """Return the objects at a step, without those that were put off."""
    rows = tx.execute("SELECT object FROM intent WHERE step = ? AND n < ? ORDER BY n LIMIT ?", (step, PUT_OFF, limit))
    return [row[0] for row in rows]


def put_off(tx: Tx, objects: Iterable[str]) -> None:
    """Put intents, whose files could not be removed, behind all others."""
    tx.executemany(
        "UPDATE intent SET n = 1 + max(?, (SELECT max(n) FROM intent WHERE step = 3)) WHERE object = ?",
        ((PUT_OFF, object_id) for object_id in objects),
    )


def those_put_off(tx: Tx, limit: int) -> list[str]:
    """Return objects that were put off, what was tried longest ago first."""
    rows = tx.execute("SELECT object FROM intent WHERE step = 3 AND n >= ? ORDER BY n LIMIT ?", (PUT_OFF, limit))
    return [row[0] for row in rows]


def add_remark(tx: Tx, object_id: str, remark: str) -> None:
    """Add a remark to what every request will say of an object that it erases, once."""
    tx.execute(
        "UPDATE erasure_item SET remarks = trim(remarks || ' ' || ?2) WHERE object = ?1"
        " AND result IN ('pending', 'deleted') AND instr(' ' || remarks || ' ', ' ' || ?2 || ' ') = 0",
        (object_id, remark),
    )


def pending_remarks(tx: Tx, object_id: str) -> str | None:
    """Return the remarks of the request that an object is being erased for, or ``None`` when it is not."""
    rows = tx.execute("SELECT remarks FROM erasure_item WHERE object = ? AND result = 'pending' LIMIT 1", (object_id,))
    return rows[0][0] if rows else None


def local_erasures(tx: Tx, command: str) -> list[int]:
    """Return a command's requests of which something is before step 7."""
    return [row[0] for row in tx.execute("SELECT n FROM erasure WHERE command = ? AND state = 'local'", (command,))]


def pending_in(tx: Tx, erasures: Iterable[int], object_id: str) -> bool:
    """Tell whether an object is before step 7 in one of some requests."""
    return any(
        tx.execute(
            "SELECT 1 FROM erasure_item WHERE erasure = ? AND object = ? AND result IN ('asked', 'pending')",
            (n, object_id),
        )
        for n in erasures
    )


def drop_intents(tx: Tx, objects: Iterable[str]) -> None:
    """Remove intents."""
    tx.executemany("DELETE FROM intent WHERE object = ?", ((object_id,) for object_id in objects))


def any_asked(tx: Tx) -> bool:
    """Tell whether any object was asked for and step 1 was not done."""
    return bool(tx.execute("SELECT 1 FROM erasure_item WHERE result = 'asked' LIMIT 1"))


def any_asked_or_intended(tx: Tx) -> bool:
    """Tell whether anything is before step 7 that was not put off."""
    return (
        any_asked(tx)
        or bool(tx.execute("SELECT 1 FROM intent WHERE step = 1 LIMIT 1"))
        or bool(tx.execute("SELECT 1 FROM intent WHERE step = 3 AND n < ? LIMIT 1", (PUT_OFF,)))
    )


def source_gone(tx: Tx, object_id: str) -> bool:
    """Tell whether the source's copy of an object is known to be gone."""
    return bool(tx.execute("SELECT 1 FROM object WHERE id = ? AND source_gone = 1", (object_id,)))
