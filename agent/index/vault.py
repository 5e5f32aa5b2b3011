"""Rows of ``agent/vault.py``: group keys, objects with their slots and headers, and uploads."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agent.index.transaction import Row, Tx
from agent.keytree import GROUP_SLOTS

OBJECT_COLUMNS: Final = (
    "id", "camera", "category", "purposes", "source", "media_type", "source_name", "captured_from_ms", "captured_to_ms",
    "taken_in_ms", "plain_bytes", "size_bytes", "payload_sha256", "header_sha256", "kind", "state", "upload",
    "source_copy", "medium",
)  # fmt: skip
"""In the order of every row that a function here calls an object's; ``n`` stands before, ``_SHOWN`` after them."""

_SHOWN: Final = "coalesce(o.corrected_name, o.source_name), r.recipients"
"""What people see it called, and its recipients."""

_OBJECT: Final = (
    f"SELECT o.n, {', '.join(f'o.{name}' for name in OBJECT_COLUMNS)}, {_SHOWN}"  # noqa: S608 - our own names
    " FROM object o JOIN recipient_set r ON r.n = o.recipient_set"
)

_IS_WHOLE: Final = " AND NOT EXISTS (SELECT 1 FROM damage d WHERE d.object = o.n)"


# -- the vault's row and group keys


def root_id(tx: Tx) -> str | None:
    """Return the id of the current root."""
    rows = tx.execute("SELECT root_id FROM vault")
    return str(rows[0][0]) if rows else None


def set_root_id(tx: Tx, root: str) -> None:
    """Make ``root`` the current one."""
    tx.execute("INSERT OR REPLACE INTO vault VALUES (1, ?)", (root,))


def branches(tx: Tx) -> list[Row]:
    """Return (n, id, version, wrapped) of every branch."""
    return tx.execute("SELECT n, id, version, wrapped FROM key_branch ORDER BY n")


def branch(tx: Tx, n: int) -> Row:
    """Return (id, version, wrapped) of a branch."""
    return tx.execute("SELECT id, version, wrapped FROM key_branch WHERE n = ?", (n,))[0]


def branch_with_room(tx: Tx, *, room: int) -> int | None:
    """Return the newest branch with fewer than ``room`` groups."""
    found = tx.execute("SELECT n FROM key_branch WHERE groups < ? ORDER BY n DESC LIMIT 1", (room,))
    return int(found[0][0]) if found else None


def insert_branch(tx: Tx, branch_id: str, version: int, wrapped: bytes) -> int:
    """Add a branch without groups and return its number."""
    ((n,),) = tx.execute(
        "INSERT INTO key_branch (id, version, wrapped, groups) VALUES (?, ?, ?, 0) RETURNING n",
        (branch_id, version, wrapped),
    )
    return int(n)


def update_branch(tx: Tx, n: int, *, version: int, wrapped: bytes) -> None:
    """Replace a branch's key."""
    tx.execute("UPDATE key_branch SET version = ?, wrapped = ? WHERE n = ?", (version, wrapped, n))


def drop_branch(tx: Tx, n: int) -> None:
    """Remove a branch without groups."""
    tx.execute("DELETE FROM key_branch WHERE n = ?", (n,))


def groups_of(tx: Tx, branch: int) -> list[Row]:
    """Return (n, id, version, wrapped) of the groups of a branch."""
    return tx.execute("SELECT n, id, version, wrapped FROM key_group WHERE branch = ? ORDER BY n", (branch,))


def groups_without_branch(tx: Tx) -> list[Row]:
    """Return (n, id, version, wrapped) of the groups from before there were branches."""
    return tx.execute("SELECT n, id, version, wrapped FROM key_group WHERE branch IS NULL ORDER BY n")


def branches_of(tx: Tx, groups: Iterable[int]) -> list[int]:
    """Return the branches of some groups, each once."""
    return sorted({int(row[0]) for n in groups for row in tx.execute("SELECT branch FROM key_group WHERE n = ?", (n,))})


def group_with_room(tx: Tx, *, room: int, closed: Iterable[int]) -> Row | None:
    """Return (n, id, version, wrapped, branch) of the newest group with fewer than ``room`` slots that is not closed.

    One from before there were branches takes none in any more.
    """
    skip = set(closed)
    newest = tx.execute(
        "SELECT n, id, version, wrapped, branch FROM key_group INDEXED BY key_group_with_room"  # noqa: S608 - our own number
        f" WHERE slots < {GROUP_SLOTS} AND slots < ? AND branch IS NOT NULL ORDER BY n DESC LIMIT ?",
        (room, len(skip) + 1),
    )
    return next((row for row in newest if row[0] not in skip), None)


def group(tx: Tx, group_id: str) -> Row | None:
    """Return (n, version, slots) of a group."""
    rows = tx.execute("SELECT n, version, slots FROM key_group WHERE id = ?", (group_id,))
    return rows[0] if rows else None


def insert_group(tx: Tx, group_id: str, version: int, wrapped: bytes, *, branch: int) -> int:
    """Add an empty group to a branch and return its number."""
    ((n,),) = tx.execute(
        "INSERT INTO key_group (id, version, wrapped, slots, branch) VALUES (?, ?, ?, 0, ?) RETURNING n",
        (group_id, version, wrapped, branch),
    )
    _count_groups(tx, branch)
    return int(n)


def update_groups(tx: Tx, groups: Iterable[tuple[int, int, bytes]], *, branch: int) -> None:
    """Replace the keys of groups by (n, version, wrapped), which are of this branch now."""
    tx.executemany(
        "UPDATE key_group SET version = ?2, wrapped = ?3, branch = ?4 WHERE n = ?1", ((*one, branch) for one in groups)
    )
    _count_groups(tx, branch)


def _count_groups(tx: Tx, branch: int) -> None:
    tx.execute(
        "UPDATE key_branch SET groups = (SELECT count(*) FROM key_group WHERE branch = ?1) WHERE n = ?1", (branch,)
    )


def drop_group(tx: Tx, n: int) -> None:
    """Remove an empty group; its branch is counted again by ``update_groups``."""
    tx.execute("DELETE FROM key_group WHERE n = ?", (n,))


# -- objects


def insert_object(tx: Tx, values: dict[str, Any]) -> int:
    """Add an object and return its ``n``; ``purposes`` and ``recipients`` are texts, one per line."""
    tx.execute("INSERT OR IGNORE INTO recipient_set (recipients) VALUES (?)", (values["recipients"],))
    names = (*OBJECT_COLUMNS, "source_gone", "source_folder", "source_sha256", "source_tag", "content_tag")
    marks = ", ".join("?" for _ in names)
    ((n,),) = tx.execute(
        f"INSERT INTO object ({', '.join(names)}, recipient_set) VALUES ({marks},"  # noqa: S608 - our own names
        " (SELECT n FROM recipient_set WHERE recipients = ?)) RETURNING n",
        [*(values[name] for name in names), values["recipients"]],
    )
    return int(n)


def insert_slot(tx: Tx, n: int, *, key_group: int, version: int, wrapped: bytes) -> None:
    """Add the object's slot and count it in its group."""
    tx.execute("INSERT INTO slot VALUES (?, ?, ?, ?)", (n, key_group, version, wrapped))
    tx.execute("UPDATE key_group SET slots = slots + 1 WHERE n = ?", (key_group,))


def totals(tx: Tx) -> list[Row]:
    """Return (camera, category, objects, bytes)."""
    return tx.execute("SELECT camera, category, objects, bytes FROM total ORDER BY camera, category")


def remote_totals(tx: Tx) -> list[Row]:
    """Return (camera, category, objects, bytes) of what only a store still has."""
    return tx.execute("SELECT camera, category, objects, bytes FROM remote_total ORDER BY camera, category")


def at_store(tx: Tx, object_id: str) -> Row | None:
    """Return (n, id, camera, category, captured from, to, taken in, size) of what only a store still has."""
    rows = tx.execute(
        "SELECT n, object, camera, category, captured_from_ms, captured_to_ms, taken_in_ms, size_bytes FROM remote_only"
        " WHERE object = ?",
        (object_id,),
    )
    return rows[0] if rows else None


def by_id(tx: Tx, object_id: str) -> Row | None:
    """Return an object's row."""
    rows = tx.execute(f"{_OBJECT} WHERE o.id = ?", (object_id,))
    return rows[0] if rows else None


def by_source_tag(tx: Tx, source_tag: bytes) -> Row | None:
    """Return the row of the object that came from this source identity."""
    rows = tx.execute(f"{_OBJECT} WHERE o.source_tag = ? AND length(o.source_tag) > 0", (source_tag,))
    return rows[0] if rows else None


def has_source_tag(tx: Tx, source_tag: bytes) -> bool:
    """Tell whether an object came from this source identity."""
    return bool(
        tx.execute("SELECT 1 FROM object WHERE source_tag = ? AND length(source_tag) > 0 LIMIT 1", (source_tag,))
    )


def by_content(tx: Tx, source_tag: bytes, content_tag: bytes) -> Row | None:
    """Return the row of the object that is, or holds, a file of this source identity with this content.

    One in quarantine or doubt is no answer: whoever asks may then destroy the source's copy.
    """
    rows = tx.execute(
        f"{_OBJECT} WHERE o.source_tag = ? AND length(o.source_tag) > 0 AND o.content_tag = ?{_IS_WHOLE}",
        (source_tag, content_tag),
    ) or tx.execute(
        f"{_OBJECT} JOIN object_file f ON f.object = o.n WHERE f.source_tag = ? AND f.content_tag = ?{_IS_WHOLE}"
        " LIMIT 1",
        (source_tag, content_tag),
    )
    return rows[0] if rows else None


def page(tx: Tx, after: str, limit: int) -> list[Row]:
    """Return objects with ids above ``after``, in the order of ids."""
    return tx.execute(f"{_OBJECT} WHERE o.id > ? ORDER BY o.id LIMIT ?", (after, limit))


def oldest(tx: Tx, *, camera: str, category: str, above: int, limit: int) -> list[Row]:
    """Return a set from above ``n``, oldest first, as ``model.Aged`` has it.

    What is being erased is not in it.
    """
    return tx.execute(
        "SELECT n, id, camera, category, taken_in_ms, size_bytes, state, kind, captured_from_ms, captured_to_ms"
        " FROM object"
        " WHERE camera = ? AND category = ? AND n > ? AND state != 'erasing' ORDER BY n LIMIT ?",
        (camera, category, above, limit),
    )


def newer(tx: Tx, *, camera: str, category: str, n: int) -> tuple[int, int]:
    """Return (objects, bytes) of what is newer than ``n`` in a set; what is being erased is not."""
    ((objects, size_bytes),) = tx.execute(
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM object INDEXED BY object_of_set"
        " WHERE camera = ? AND category = ? AND n > ? AND state != 'erasing'",
        (camera, category, n),
    )
    return int(objects), int(size_bytes)


def newest(tx: Tx, *, below: int, limit: int) -> list[Row]:
    """Return (n, camera, category, size, taken in) of what arrived last below ``n``, newest first."""
    return tx.execute(
        "SELECT n, camera, category, size_bytes, taken_in_ms FROM object WHERE n < ? AND state != 'erasing'"
        " ORDER BY n DESC LIMIT ?",
        (below, limit),
    )


def number(tx: Tx, object_id: str) -> int | None:
    """Return an object's place in the order of arrival."""
    found = tx.execute("SELECT n FROM object WHERE id = ?", (object_id,))
    return found[0][0] if found else None


def waiting(tx: Tx, *, camera: str, category: str, limit: int) -> list[int]:
    """Return the numbers of a set's objects that wait for upload, newest first."""
    found = tx.execute(
        "SELECT n FROM object WHERE state = 'sealed' AND camera = ? AND category = ?"
        " AND NOT EXISTS (SELECT 1 FROM damage WHERE damage.object = n AND sure = 1) ORDER BY n DESC LIMIT ?",
        (camera, category, limit),
    )
    return [row[0] for row in found]


def by_number(tx: Tx, n: int) -> Row:
    """Return the row of the object of a number that is there."""
    return tx.execute(f"{_OBJECT} WHERE o.n = ?", (n,))[0]


def waiting_totals(tx: Tx) -> list[Row]:
    """Return (camera, category, objects, bytes) of what no store has confirmed."""
    return tx.execute("SELECT camera, category, waiting, waiting_bytes FROM total WHERE waiting > 0")


def selected(tx: Tx, chosen: "Chosen") -> bytes:
    """Return sorted ids, one behind the other: objects that are not being erased, and copies at stores only."""
    ids, params = _selected(chosen)
    # The inner order is kept: SQLite leaves the ORDER BY of a subquery alone whose order an aggregate shows.
    ((found,),) = tx.execute(f"SELECT CAST(group_concat(id, '') AS BLOB) FROM ({ids} ORDER BY 1)", params)  # noqa: S608 - our own text
    return found or b""


def for_nothing(tx: Tx, readers: Sequence[str], *, above: int, limit: int) -> list[Row]:
    """Return what is for no purpose, is not being erased and none of ``readers`` can open, as ``by_id``, by arrival."""
    others = " AND instr(char(10) || r.recipients || char(10), char(10) || ? || char(10)) = 0" * len(readers)
    # CROSS keeps this order: there are few sets of readers, and most of what is for no purpose is its owner's.
    return tx.execute(
        f"SELECT o.n, {', '.join(f'o.{name}' for name in OBJECT_COLUMNS)}, {_SHOWN}"  # noqa: S608 - our own names
        " FROM recipient_set r CROSS JOIN object o ON o.recipient_set = r.n"
        f" WHERE o.purposes = '' AND o.state != 'erasing' AND o.n > ?{others} ORDER BY o.n LIMIT ?",
        (above, *readers, limit),
    )


def sealed_for(tx: Tx, targets: Iterable[tuple[str, str]]) -> bytes:
    """Return sorted ids, one behind the other: of what was sealed for one of these (purpose, category).

    Looks at each object of the categories; it is asked once for each command that takes a purpose away.
    """
    meant = [value for target in targets for value in target]
    if not meant:
        return b""
    one = "instr(char(10) || purposes || char(10), char(10) || ? || char(10)) AND category = ?"
    ids = f"SELECT id FROM object WHERE state != 'erasing' AND ({' OR '.join([one] * (len(meant) // 2))}) ORDER BY 1"  # noqa: S608 - our own text
    ((found,),) = tx.execute(f"SELECT CAST(group_concat(id, '') AS BLOB) FROM ({ids})", meant)  # noqa: S608 - the same
    return found or b""


def page_of(tx: Tx, chosen: "Chosen", *, after: str, limit: int, erasing: bool) -> list[str]:
    """Return the first ids above ``after`` of what ``selected`` returns all of, and of what is ``erasing``."""
    ids, params = _selected(chosen, after=after)
    if erasing:
        clauses, more = chosen.clauses()
        ids += " UNION SELECT i.object FROM intent i CROSS JOIN object o ON o.id = i.object"
        ids += f" WHERE i.object > ? AND {clauses}"
        params += [after, *more]
    return [row[0] for row in tx.execute(f"{ids} ORDER BY 1 LIMIT ?", (*params, limit))]


def weighed(tx: Tx, chosen: "Chosen") -> tuple[int, int]:
    """Return (objects, bytes) of what is here of a selection and is not being erased."""
    clauses, params = chosen.clauses()
    ((objects, size_bytes),) = tx.execute(
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM object INDEXED BY object_of_set"  # noqa: S608 - our own names
        f" WHERE state != 'erasing' AND {clauses}",
        params,
    )
    return int(objects), int(size_bytes)


def remote_weighed(tx: Tx, chosen: "Chosen") -> tuple[int, int]:
    """Return (objects, bytes) of what only a store still has of a selection."""
    clauses, params = chosen.clauses()
    ((objects, size_bytes),) = tx.execute(
        f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM remote_only WHERE {clauses}",  # noqa: S608 - our own names
        params,
    )
    return int(objects), int(size_bytes)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a selection asks for; ``None`` asks for nothing. Times are a half-open interval, overlap counts."""

    camera: str | None = None
    category: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def clauses(self) -> tuple[str, list[Any]]:
        """Return the conditions on columns that ``object`` and ``remote_only`` both have, and their parameters."""
        where, params = ["1"], []
        for clause, value in (
            ("camera = ?", self.camera),
            ("category = ?", self.category),
            ("max(captured_to_ms, captured_from_ms + 1) > ?", self.from_ms),
            ("captured_from_ms < ?", self.to_ms),
        ):
            if value is not None:
                where.append(clause)
                params.append(value)
        return " AND ".join(where), params

    def covers(self, *, camera: str, category: str, captured_from_ms: int, captured_to_ms: int) -> bool:
        """Tell what ``clauses`` asks for of a row that is not written yet."""
        return (
            self.camera in {None, camera}
            and self.category in {None, category}
            and (self.from_ms is None or max(captured_to_ms, captured_from_ms + 1) > self.from_ms)
            and (self.to_ms is None or captured_from_ms < self.to_ms)
        )


def _selected(chosen: Chosen, *, after: str = "") -> tuple[str, list[Any]]:
    clauses, params = chosen.clauses()
    if params:
        here = f"SELECT id FROM object INDEXED BY object_of_set WHERE state != 'erasing' AND id > ? AND {clauses}"  # noqa: S608 - our own names
    else:  # all, in the order of the ids' own index: what is being erased has an intent
        here = "SELECT id FROM object WHERE id > ? AND id NOT IN (SELECT object FROM intent)"
    there = f"SELECT object FROM remote_only WHERE object > ? AND {clauses}"  # noqa: S608 - our own names
    return f"{here} UNION {there}", [after, *params, after, *params]


def arrivals(tx: Tx, above: int, limit: int) -> list[tuple[int, str]]:
    """Return (n, id) of the objects behind a place in the order of arrival."""
    return [
        (row[0], row[1])
        for row in tx.execute("SELECT n, id FROM object WHERE n > ? ORDER BY n LIMIT ?", (above, limit))
    ]


def knows(tx: Tx, object_id: str) -> bool:
    """Tell whether there is an object of this id, or an upload of one."""
    return bool(
        tx.execute("SELECT 1 FROM object WHERE id = ?1 UNION ALL SELECT 1 FROM upload WHERE object = ?1", (object_id,))
    )


def set_name(tx: Tx, object_id: str, name: str) -> bool:
    """Change what people see an object called; return whether it is here."""
    tx.execute("UPDATE object SET corrected_name = ? WHERE id = ?", (name, object_id))
    return tx.changes() == 1


def set_source_gone(tx: Tx, object_id: str) -> None:
    """Note that the source's copy is given up; where its files were is forgotten."""
    tx.execute("UPDATE object SET source_gone = 1 WHERE id = ?", (object_id,))
    tx.execute("UPDATE object_file SET path = '' WHERE object = (SELECT n FROM object WHERE id = ?)", (object_id,))


def set_source_there(tx: Tx, object_id: str, *, folder: int) -> None:
    """Note that the source has a copy again, in this folder, which is ours to give up."""
    tx.execute("UPDATE object SET source_gone = 0, source_folder = ? WHERE id = ?", (folder, object_id))


def source_tag(tx: Tx, object_id: str) -> bytes:
    """Return the source identity of an object that is there."""
    ((found,),) = tx.execute("SELECT source_tag FROM object WHERE id = ?", (object_id,))
    return bytes(found)


def insert_files(tx: Tx, n: int, files: Iterable[tuple[bytes, bytes, int, str]]) -> None:
    """Add the (source tag, content tag, captured from, path) of what an object was made of, each once."""
    tx.executemany("INSERT OR IGNORE INTO object_file VALUES (?, ?, ?, ?, ?)", ((n, *file) for file in files))


def has_source_file(tx: Tx, source_tag: bytes) -> bool:
    """Tell whether a file of this source identity was sealed together with others."""
    return bool(tx.execute("SELECT 1 FROM object_file WHERE source_tag = ? LIMIT 1", (source_tag,)))


def source_paths(tx: Tx, object_id: str) -> list[str]:
    """Return where the files of an object are at its source, if it was made of several."""
    found = tx.execute(
        "SELECT f.path FROM object_file f JOIN object o ON o.n = f.object WHERE o.id = ? AND f.path != ''"
        " ORDER BY f.path",
        (object_id,),
    )
    return [str(row[0]) for row in found]


def source_folder(tx: Tx, object_id: str) -> int:
    """Return which folder an object's files were read from, 0 for any."""
    found = tx.execute("SELECT source_folder FROM object WHERE id = ?", (object_id,))
    return int(found[0][0]) if found else 0


def source_not_given_up(tx: Tx, source: str, after: str, limit: int) -> list[Row]:
    """Return objects of a source whose copy is ours to give up and is not noted as gone."""
    return tx.execute(
        f"{_OBJECT} WHERE o.source_copy = 'taken' AND o.source_gone = 0 AND o.source = ? AND o.id > ?"
        " ORDER BY o.id LIMIT ?",
        (source, after, limit),
    )


def slot(tx: Tx, object_id: str) -> Row | None:
    """Return (wrapped slot, payload hash, kind, group id, its version, wrapped group, its branch) of an object."""
    rows = tx.execute(
        "SELECT s.wrapped, o.payload_sha256, o.kind, g.id, g.version, g.wrapped, g.branch FROM object o"
        " JOIN slot s ON s.object = o.n JOIN key_group g ON g.n = s.key_group AND g.version = s.version"
        " WHERE o.id = ?",
        (object_id,),
    )
    return rows[0] if rows else None


def header(tx: Tx, object_id: str) -> bytes | None:
    """Return the sealed header, if it is still kept."""
    rows = tx.execute("SELECT h.sealed FROM object o JOIN header h ON h.object = o.n WHERE o.id = ?", (object_id,))
    return rows[0][0] if rows else None


def put_header(tx: Tx, n: int, sealed: bytes) -> None:
    """Keep a sealed header."""
    tx.execute("INSERT OR REPLACE INTO header VALUES (?, ?)", (n, sealed))


def set_readers(tx: Tx, object_id: str, *, purposes: str, recipients: str) -> None:
    """Replace what an object is for and who may read it; both are texts, one per line."""
    tx.execute("INSERT OR IGNORE INTO recipient_set (recipients) VALUES (?)", (recipients,))
    tx.execute(
        "UPDATE object SET purposes = ?, recipient_set = (SELECT n FROM recipient_set WHERE recipients = ?)"
        " WHERE id = ?",
        (purposes, recipients, object_id),
    )


def set_header_sha256(tx: Tx, object_id: str, sha256: bytes) -> None:
    """Change the hash of the header to be uploaded."""
    tx.execute("UPDATE object SET header_sha256 = ? WHERE id = ?", (sha256, object_id))


def replace_payload(tx: Tx, object_id: str, *, payload_sha256: bytes, wrapped: bytes) -> None:
    """Let an object have another payload, whose key is wrapped under the same group as the one before."""
    tx.execute("UPDATE object SET payload_sha256 = ? WHERE id = ?", (payload_sha256, object_id))
    tx.execute("UPDATE slot SET wrapped = ? WHERE object = (SELECT n FROM object WHERE id = ?)", (wrapped, object_id))


def drop_header(tx: Tx, object_id: str) -> None:
    """Forget the header of an object whose slot holds the file key."""
    tx.execute(
        "DELETE FROM header WHERE object IN (SELECT n FROM object WHERE id = ? AND kind = 'file-key')", (object_id,)
    )


def unaccounted(tx: Tx, names: Sequence[str]) -> list[str]:
    """Return those file names that are neither an object's nor an intent's, nor to take a damaged payload's place."""
    found = tx.execute(
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM object WHERE id = value)"
        " AND NOT EXISTS (SELECT 1 FROM intent WHERE object = value)"
        " AND NOT EXISTS (SELECT 1 FROM damage WHERE payload = value)",
        (msgspec.json.encode(tuple(names)).decode("ascii"),),
    )
    return [row[0] for row in found]


def note_left(tx: Tx, folder: str) -> None:
    """Note that every file has its row, and what the folder is."""
    tx.execute("INSERT OR REPLACE INTO left_clean VALUES (1, ?)", (folder,))


def take_left(tx: Tx) -> str:
    """Return what was noted, and forget it; ``""`` for nothing."""
    rows = tx.execute("DELETE FROM left_clean RETURNING folder")
    return str(rows[0][0]) if rows else ""


# -- uploads


def set_upload(tx: Tx, object_id: str, *, upload: str, state: str | None = None) -> None:
    """Set an object's upload and, unless it is being erased, its state."""
    tx.execute("UPDATE object SET upload = ? WHERE id = ?", (upload, object_id))
    if state is not None:
        tx.execute("UPDATE object SET state = ? WHERE id = ? AND state != 'erasing'", (state, object_id))


def insert_upload(tx: Tx, upload: str, *, object_id: str, iat_s: int) -> None:
    """Add an upload that was not begun."""
    tx.execute(
        "INSERT INTO upload (id, object, iat_s, offset_bytes, manifest, store_epoch, region, stored, current, erase,"
        " stated_by) VALUES (?, ?, ?, 0, '', '', '', 0, 1, 0, '')",
        (upload, object_id, iat_s),
    )


def upload(tx: Tx, upload_id: str) -> Row | None:
    """Return (object, id, offset, iat, manifest, store, epoch, region, stored, erase, current)."""
    rows = tx.execute(
        "SELECT object, id, offset_bytes, iat_s, manifest, store, store_epoch, region, stored, erase, current"
        " FROM upload WHERE id = ?",
        (upload_id,),
    )
    return rows[0] if rows else None


def set_offset(tx: Tx, upload_id: str, offset_bytes: int) -> None:
    """Note what is durable at the store."""
    tx.execute("UPDATE upload SET offset_bytes = ? WHERE id = ?", (offset_bytes, upload_id))


def set_manifest(tx: Tx, upload_id: str, manifest: str, *, store: str) -> None:
    """Note the manifest before it is sent to a store: from here on a copy may exist there."""
    tx.execute("UPDATE upload SET manifest = ?, store = ? WHERE id = ?", (manifest, store, upload_id))


def set_stored(tx: Tx, upload_id: str, *, region: str, epoch: str) -> None:
    """Note the storage receipt."""
    tx.execute("UPDATE upload SET stored = 1, region = ?, store_epoch = ? WHERE id = ?", (region, epoch, upload_id))


def retire_upload(tx: Tx, upload_id: str) -> None:
    """Give an upload up; its row stays while the store may have a copy."""
    tx.execute(
        "UPDATE object SET upload = '' WHERE id = (SELECT object FROM upload WHERE id = ?1) AND upload = ?1",
        (upload_id,),
    )
    tx.execute("DELETE FROM upload WHERE id = ? AND manifest = ''", (upload_id,))
    tx.execute("UPDATE upload SET current = 0, stored = 0 WHERE id = ?", (upload_id,))


def given_up(tx: Tx, object_id: str, store: str) -> int:
    """Return how many uploads of an object to a store were given up, without those that it is asked to erase."""
    counted = tx.execute(
        "SELECT count(*) FROM upload WHERE object = ? AND store = ? AND current = 0 AND erase = 0", (object_id, store)
    )
    return int(counted[0][0])


def ask_back(tx: Tx, upload_id: str) -> None:
    """Let the store be asked to erase its copy, whatever becomes of the object."""
    tx.execute("UPDATE upload SET erase = 1 WHERE id = ?", (upload_id,))


def stored_regions(tx: Tx, object_id: str) -> list[str]:
    """Return the regions of an object's uploads that a storage receipt is held for."""
    found = tx.execute(
        "SELECT region FROM upload WHERE object = ? AND stored = 1 AND erase = 0 ORDER BY id", (object_id,)
    )
    return [str(row[0]) for row in found]


def stored_uploads(tx: Tx, store: str, after: str, limit: int) -> list[Row]:
    """Return (upload, object, manifest) that a storage receipt of this store is held for."""
    return tx.execute(
        "SELECT id, object, manifest FROM upload WHERE stored = 1 AND erase = 0 AND current = 1 AND store = ?"
        " AND id > ? ORDER BY id LIMIT ?",
        (store, after, limit),
    )
