"""Tables of ``agent/vault.py`` and ``agent/erasure.py``: objects, slots, uploads, and what forgetting leaves behind."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agent.index.transaction import Tx

Row = tuple[Any, ...]

MIGRATIONS: Final = (
    """
-- The vault as a whole. One row.
CREATE TABLE vault (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  root_id  TEXT NOT NULL       -- says alone which root of the keystore is current; every other one is destroyed
) STRICT;

-- Sets of age recipients, each kept once: a post-quantum recipient is two thousand characters long.
CREATE TABLE recipient_set (
  n          INTEGER PRIMARY KEY,
  recipients TEXT NOT NULL UNIQUE  -- one per line, in the order of the header's stanzas
) STRICT;

-- One sealed object; its payload is the file objects/<id>.
CREATE TABLE object (
  n                INTEGER PRIMARY KEY,  -- order of arrival, and so of taken_in_ms: agent time never runs backwards
  id               TEXT    NOT NULL UNIQUE,
  camera           TEXT    NOT NULL,     -- random id, or '' for what belongs to none
  category         TEXT    NOT NULL,
  purpose          TEXT    NOT NULL,
  source           TEXT    NOT NULL,     -- name in agent.toml
  media_type       TEXT    NOT NULL,
  name             TEXT    NOT NULL,     -- personal; told to the owner only
  captured_from_ms INTEGER NOT NULL,     -- half-open interval as the source tells it, Unix milliseconds
  captured_to_ms   INTEGER NOT NULL,
  taken_in_ms      INTEGER NOT NULL,     -- agent time; alone decides ages
  plain_bytes      INTEGER NOT NULL,
  size_bytes       INTEGER NOT NULL,     -- of the sealed payload
  payload_sha256   BLOB    NOT NULL,     -- of the sealed payload
  header_sha256    BLOB    NOT NULL,     -- of the header that is, or was, to be uploaded
  kind             TEXT    NOT NULL,     -- what the slot holds: file-key or header-key
  state            TEXT    NOT NULL CHECK (state IN ('sealed', 'uploaded', 'erasing')),
  recipient_set    INTEGER NOT NULL REFERENCES recipient_set (n),
  upload           TEXT    NOT NULL,     -- id of its upload, or '' before the first try
  source_copy      TEXT    NOT NULL,     -- taken: ours to give up; left: stays where it is
  medium           TEXT    NOT NULL,     -- what the source writes on
  source_gone      INTEGER NOT NULL,     -- 1: the source's copy is given up, durably
  source_tag       BLOB    NOT NULL,     -- keyed hash of the source's identity, or empty for what has no source
  content_tag      BLOB    NOT NULL      -- keyed hash of the content
) STRICT;
CREATE UNIQUE INDEX object_by_source_tag ON object (source_tag) WHERE length(source_tag) > 0;
CREATE INDEX object_by_camera ON object (camera, category);           -- rank in its set; SQLite appends n
CREATE INDEX object_waiting ON object (category) WHERE state = 'sealed';  -- the upload queue

-- How much there is, kept with every change: asked for at each decision. Objects that are being erased do not count.
CREATE TABLE total (
  camera   TEXT    NOT NULL,
  category TEXT    NOT NULL,
  objects  INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,  -- sum of size_bytes
  PRIMARY KEY (camera, category)
) STRICT, WITHOUT ROWID;

-- Group keys of the key tree, each wrapped under the root that vault.root_id names. Small: a root's change rewrites it.
CREATE TABLE key_group (
  n       INTEGER PRIMARY KEY,
  id      TEXT    NOT NULL UNIQUE,
  version INTEGER NOT NULL,   -- counts rotations; every slot names the one it is wrapped under
  wrapped BLOB    NOT NULL,
  slots   INTEGER NOT NULL    -- rows of slot in this group
) STRICT;

-- What lets the device open an object again. A table of its own, so that a rotation rewrites a few pages only.
CREATE TABLE slot (
  object    INTEGER PRIMARY KEY REFERENCES object (n),
  key_group INTEGER NOT NULL REFERENCES key_group (n),
  version   INTEGER NOT NULL,
  wrapped   BLOB    NOT NULL
) STRICT;
CREATE INDEX slot_by_group ON slot (key_group);

-- The exact age header to be uploaded, under a key derived from the slot's. For a file key it goes with the storage
-- receipt; for a header key it is what the slot opens, and stays.
CREATE TABLE header (
  object INTEGER PRIMARY KEY REFERENCES object (n),
  sealed BLOB NOT NULL
) STRICT;

-- Every copy that a store has, may have or had. Outlives its object until the store confirmed that the copy is gone.
CREATE TABLE upload (
  id           TEXT    PRIMARY KEY,
  object       TEXT    NOT NULL,  -- id
  iat_s        INTEGER NOT NULL,  -- fixed at the first begin, so that its bytes and the manifest hash stay the same
  offset_bytes INTEGER NOT NULL,  -- durable at the store
  manifest     TEXT    NOT NULL,  -- hash of begin's signing input, or '' while none was sent: then no copy can exist
  store_epoch  TEXT    NOT NULL,
  region       TEXT    NOT NULL,
  stored       INTEGER NOT NULL,  -- 1: a signed storage receipt is held
  current      INTEGER NOT NULL,  -- 0: given up for another upload of the same object
  erase        INTEGER NOT NULL,  -- 1: the store is asked to erase it
  stated_by    TEXT    NOT NULL   -- key id of the store whose signed word says that it is erased, or ''
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_by_object ON upload (object);
CREATE INDEX upload_to_erase ON upload (id) WHERE erase = 1 AND stated_by = '';
CREATE INDEX upload_stored ON upload (id) WHERE stored = 1 AND erase = 0 AND current = 1;

-- Objects whose local copy was given up while a store keeps its own: an owner's delete must still find them.
CREATE TABLE remote_only (
  object           TEXT    PRIMARY KEY,
  n                INTEGER NOT NULL,   -- order of arrival, for the bound
  camera           TEXT    NOT NULL,
  category         TEXT    NOT NULL,
  captured_from_ms INTEGER NOT NULL,
  captured_to_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remote_only_by_n ON remote_only (n);

-- One request to erase, until its last remote copy is confirmed.
CREATE TABLE erasure (
  n       INTEGER PRIMARY KEY,
  command TEXT    NOT NULL,   -- jti, or '' for retention
  rule    TEXT    NOT NULL,
  actor   TEXT    NOT NULL,
  keeps   INTEGER NOT NULL,   -- 1: a store's finished copy stays (retention after an upload)
  state   TEXT    NOT NULL CHECK (state IN ('local', 'remote'))  -- what it still waits for
) STRICT;

-- Each object that a request named. Rows of retention go with step 7.
CREATE TABLE erasure_item (
  erasure INTEGER NOT NULL REFERENCES erasure (n),
  object  TEXT    NOT NULL,
  result  TEXT    NOT NULL,   -- 'asked' before step 1, 'pending' until 7, then a result of docs/protocol.md section 5
  remarks TEXT    NOT NULL,   -- separated by spaces
  PRIMARY KEY (erasure, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX erasure_item_by_object ON erasure_item (object);
CREATE INDEX erasure_item_asked ON erasure_item (erasure) WHERE result = 'asked';

-- An object between step 1 and step 7 of forgetting. Its file is objects/<object>.
CREATE TABLE intent (
  object TEXT    PRIMARY KEY,
  n      INTEGER NOT NULL,    -- object.n while step is 1
  step   INTEGER NOT NULL CHECK (step IN (1, 3))  -- the last step that is known to be durable
) STRICT, WITHOUT ROWID;
CREATE INDEX intent_by_step ON intent (step, n);

-- What remains of a deleted object: enough to refuse its return, nothing more.
CREATE TABLE tombstone (
  n                INTEGER PRIMARY KEY,
  source_tag       BLOB    NOT NULL,   -- keyed hashes, as in object
  content_tag      BLOB    NOT NULL,
  source           TEXT    NOT NULL,
  captured_from_ms INTEGER NOT NULL,   -- for compaction to a mark
  rule             TEXT    NOT NULL
) STRICT;
CREATE INDEX tombstone_by_source_tag ON tombstone (source_tag);
CREATE INDEX tombstone_by_content_tag ON tombstone (content_tag);
CREATE INDEX tombstone_by_time ON tombstone (captured_from_ms);

-- Standing refusals: what was recorded before before_ms and matches is not taken in any more. '' and NULL match all.
CREATE TABLE cutoff (
  n         INTEGER PRIMARY KEY,
  source    TEXT    NOT NULL,   -- only for the marks that tombstones were compacted to
  camera    TEXT    NOT NULL,
  category  TEXT    NOT NULL,
  from_ms   INTEGER,            -- the half-open capture interval of the delete
  to_ms     INTEGER,
  before_ms INTEGER NOT NULL,   -- when the delete was commanded
  rule      TEXT    NOT NULL
) STRICT;
""",
    """
-- Log files that were sealed together, each with the tags by which it is known again alone. Of an object that is one
-- file there is none here: its tags are the object's.
CREATE TABLE object_file (
  object           INTEGER NOT NULL REFERENCES object (n),
  source_tag       BLOB    NOT NULL,   -- keyed hashes of this one file, as in object
  content_tag      BLOB    NOT NULL,
  captured_from_ms INTEGER NOT NULL,
  path             TEXT    NOT NULL,   -- beneath the source's folder, to give it up after a crash; '' once that is done
  PRIMARY KEY (object, source_tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_file_by_source_tag ON object_file (source_tag);
""",
    """
-- A tombstone is needed while the source may still have its copy, or a store may; of a delete that somebody asked for
-- it stays behind that, while there is room, because a copy may be put back by hand. Of one of before nothing is known.
ALTER TABLE tombstone ADD COLUMN object TEXT NOT NULL DEFAULT '';       -- id, or '' once neither is waited for
ALTER TABLE tombstone ADD COLUMN camera TEXT NOT NULL DEFAULT '';       -- for compaction to a mark; '' likewise
ALTER TABLE tombstone ADD COLUMN category TEXT NOT NULL DEFAULT '';
ALTER TABLE tombstone ADD COLUMN leaves INTEGER NOT NULL DEFAULT 0;     -- 1: the source's copy was not ours to remove
ALTER TABLE tombstone ADD COLUMN at_source INTEGER NOT NULL DEFAULT 1;  -- 1: the source may still have its copy
ALTER TABLE tombstone ADD COLUMN at_store INTEGER NOT NULL DEFAULT 0;   -- 1: a store has not confirmed an erasure
ALTER TABLE tombstone ADD COLUMN asked INTEGER NOT NULL DEFAULT 1;      -- 0: retention's, so nobody asked for it
UPDATE tombstone SET asked = 0 WHERE rule LIKE '%.keep.%';
DROP INDEX tombstone_by_time;
CREATE INDEX tombstone_by_object ON tombstone (object) WHERE object != '';
CREATE INDEX tombstone_at_source ON tombstone (source) WHERE at_source = 1;
CREATE INDEX tombstone_left ON tombstone (captured_from_ms) WHERE leaves = 1 AND at_source = 1;
CREATE INDEX tombstone_settled ON tombstone (n) WHERE at_source = 0 AND at_store = 0;

-- High-water marks that tombstones were compacted to, of sources that keep their copies. What is older may never have
-- been deleted, so nothing is destroyed for a mark: it is left where it is, and told.
CREATE TABLE mark (
  source    TEXT    NOT NULL,
  camera    TEXT    NOT NULL,
  category  TEXT    NOT NULL,
  before_ms INTEGER NOT NULL,
  PRIMARY KEY (source, camera, category)
) STRICT, WITHOUT ROWID;
DELETE FROM cutoff WHERE source != '';   -- marks of whole sources: they hit cameras of which nothing was deleted
ALTER TABLE cutoff DROP COLUMN source;
""",
    """
-- At which store a copy is: only that one is asked to erase it, and believed. Of one from before nobody's word counts.
ALTER TABLE upload ADD COLUMN store TEXT NOT NULL DEFAULT '';   -- kid; '' while none was begun
DROP INDEX upload_to_erase;
DROP INDEX upload_stored;
CREATE INDEX upload_to_erase ON upload (store, id) WHERE erase = 1 AND stated_by = '';
CREATE INDEX upload_stored ON upload (store, id) WHERE stored = 1 AND erase = 0 AND current = 1;
""",
    """
-- What is asked all the time must not depend on how much there is: a hub makes a million objects a month.

-- total also says what waits for upload, and only these two triggers write it. size_bytes, camera and category of an
-- object never change, and it is always being erased before its row goes.
ALTER TABLE total ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;        -- objects that no store has confirmed
ALTER TABLE total ADD COLUMN waiting_bytes INTEGER NOT NULL DEFAULT 0;  -- sum of their size_bytes
UPDATE total SET (waiting, waiting_bytes) = (
  SELECT count(*), coalesce(sum(o.size_bytes), 0) FROM object o
  WHERE o.camera = total.camera AND o.category = total.category AND o.state = 'sealed'
);
CREATE TRIGGER total_grows AFTER INSERT ON object BEGIN
  INSERT INTO total VALUES (
    NEW.camera, NEW.category, NEW.state != 'erasing', (NEW.state != 'erasing') * NEW.size_bytes,
    NEW.state = 'sealed', (NEW.state = 'sealed') * NEW.size_bytes
  ) ON CONFLICT DO UPDATE SET
    objects = objects + excluded.objects, bytes = bytes + excluded.bytes,
    waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes;
END;
CREATE TRIGGER total_changes AFTER UPDATE OF state ON object WHEN OLD.state != NEW.state BEGIN
  UPDATE total SET
    objects = objects + (NEW.state != 'erasing') - (OLD.state != 'erasing'),
    bytes = bytes + ((NEW.state != 'erasing') - (OLD.state != 'erasing')) * NEW.size_bytes,
    waiting = waiting + (NEW.state = 'sealed') - (OLD.state = 'sealed'),
    waiting_bytes = waiting_bytes + ((NEW.state = 'sealed') - (OLD.state = 'sealed')) * NEW.size_bytes
  WHERE camera = NEW.camera AND category = NEW.category;
  DELETE FROM total WHERE camera = NEW.camera AND category = NEW.category AND objects = 0;
END;

-- A set (camera, category) in the order of arrival, with all that retention, ranks and selections look at: they read
-- this index and never the rows.
DROP INDEX object_by_camera;
CREATE INDEX object_of_set ON object (camera, category, n, size_bytes, id, captured_from_ms, captured_to_ms)
  WHERE state != 'erasing';
DROP INDEX object_waiting;
CREATE INDEX object_waiting ON object (camera, category) WHERE state = 'sealed';  -- the upload queue; SQLite appends n
CREATE INDEX object_to_give_up ON object (id) WHERE source_copy = 'taken' AND source_gone = 0;  -- read at start
""",
    """
-- Retention does step 1 when an object is due and the rest on a budget, counted from here.
ALTER TABLE erasure ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;  -- agent time
""",
    """
-- 0: several cut-offs were merged into this one, because there were too many. What only it covers may never have been
-- deleted: that is neither taken in nor destroyed.
ALTER TABLE cutoff ADD COLUMN certain INTEGER NOT NULL DEFAULT 1;
""",
    """
-- Which folder the source's path meant when a file was read, across starts: that it is absent from another, as when its
-- disk is not mounted, says nothing. Made of file system and inode; 0: any, for what is gone with a tmpfs is gone.
ALTER TABLE object ADD COLUMN source_folder INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tombstone ADD COLUMN source_folder INTEGER NOT NULL DEFAULT 0;
""",
    """
-- Which command put a cut-off, to tell its sender of what turned up later; '' for one from before.
ALTER TABLE cutoff ADD COLUMN command TEXT NOT NULL DEFAULT '';
ALTER TABLE cutoff ADD COLUMN kid TEXT NOT NULL DEFAULT '';
ALTER TABLE cutoff ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
CREATE TABLE late (
  command   TEXT    NOT NULL PRIMARY KEY,
  kid       TEXT    NOT NULL,
  seq       INTEGER NOT NULL,
  destroyed INTEGER NOT NULL,   -- files since the last receipt about them
  remaining INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    """
-- How many copies a request still waits for, counted down with each word of a store.
ALTER TABLE erasure ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
UPDATE erasure SET unconfirmed = (
  SELECT count(*) FROM erasure_item i JOIN upload u ON u.object = i.object
  WHERE i.erasure = erasure.n AND i.result = 'deleted' AND u.erase = 1 AND u.stated_by = ''
) WHERE state = 'remote';
CREATE INDEX erasure_local ON erasure (n) WHERE state = 'local';  -- those that wait for a store may be many
""",
    """
-- Written when an agent stops in order and taken away when the next one starts: every file in objects/ has its row.
CREATE TABLE left_clean (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  folder   TEXT NOT NULL      -- which folder it was and when it last changed; another one, or a later time, is swept
) STRICT;
""",
)

OBJECT_COLUMNS: Final = (
    "id", "camera", "category", "purpose", "source", "media_type", "name", "captured_from_ms", "captured_to_ms",
    "taken_in_ms", "plain_bytes", "size_bytes", "payload_sha256", "header_sha256", "kind", "state", "upload",
    "source_copy", "medium",
)  # fmt: skip
"""In the order of every row that a function here calls an object's; ``n`` stands before, the recipients after them."""

_OBJECT: Final = (
    f"SELECT o.n, {', '.join(f'o.{name}' for name in OBJECT_COLUMNS)}, r.recipients"  # noqa: S608 - our own names
    " FROM object o JOIN recipient_set r ON r.n = o.recipient_set"
)


# -- the vault's row and group keys


def root_id(tx: Tx) -> str | None:
    """Return the id of the current root."""
    rows = tx.execute("SELECT root_id FROM vault")
    return str(rows[0][0]) if rows else None


def set_root_id(tx: Tx, root: str) -> None:
    """Make ``root`` the current one."""
    tx.execute("INSERT OR REPLACE INTO vault VALUES (1, ?)", (root,))


def groups(tx: Tx) -> list[Row]:
    """Return (n, id, version, wrapped) of every group."""
    return tx.execute("SELECT n, id, version, wrapped FROM key_group ORDER BY n")


def group_with_room(tx: Tx, *, room: int, closed: Iterable[int]) -> Row | None:
    """Return (n, id, version, wrapped) of the newest group with fewer than ``room`` slots that is not closed."""
    skip = set(closed)
    newest = tx.execute(
        "SELECT n, id, version, wrapped FROM key_group WHERE slots < ? ORDER BY n DESC LIMIT ?", (room, len(skip) + 1)
    )
    return next((row for row in newest if row[0] not in skip), None)


def group(tx: Tx, group_id: str) -> Row | None:
    """Return (n, version, slots) of a group."""
    rows = tx.execute("SELECT n, version, slots FROM key_group WHERE id = ?", (group_id,))
    return rows[0] if rows else None


def insert_group(tx: Tx, group_id: str, version: int, wrapped: bytes) -> None:
    """Add an empty group."""
    tx.execute("INSERT INTO key_group (id, version, wrapped, slots) VALUES (?, ?, ?, 0)", (group_id, version, wrapped))


def update_group(tx: Tx, n: int, *, version: int, wrapped: bytes) -> None:
    """Replace a group's key."""
    tx.execute("UPDATE key_group SET version = ?, wrapped = ? WHERE n = ?", (version, wrapped, n))


def drop_group(tx: Tx, n: int) -> None:
    """Remove an empty group."""
    tx.execute("DELETE FROM key_group WHERE n = ?", (n,))


# -- objects


def insert_object(tx: Tx, values: dict[str, Any]) -> int:
    """Add an object and return its ``n``; ``recipients`` is one text, one recipient per line."""
    tx.execute("INSERT OR IGNORE INTO recipient_set (recipients) VALUES (?)", (values["recipients"],))
    names = (*OBJECT_COLUMNS, "source_gone", "source_folder", "source_tag", "content_tag")
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
    """Return the row of the object that is, or holds, a file of this source identity with this content."""
    rows = tx.execute(
        f"{_OBJECT} WHERE o.source_tag = ? AND length(o.source_tag) > 0 AND o.content_tag = ?",
        (source_tag, content_tag),
    ) or tx.execute(
        f"{_OBJECT} JOIN object_file f ON f.object = o.n WHERE f.source_tag = ? AND f.content_tag = ? LIMIT 1",
        (source_tag, content_tag),
    )
    return rows[0] if rows else None


def page(tx: Tx, after: str, limit: int) -> list[Row]:
    """Return objects with ids above ``after``, in the order of ids."""
    return tx.execute(f"{_OBJECT} WHERE o.id > ? ORDER BY o.id LIMIT ?", (after, limit))


def oldest(tx: Tx, *, camera: str, category: str, above: int, limit: int) -> list[Row]:
    """Return (n, id, camera, category, taken in, size, state, kind) of a set from above ``n``, oldest first.

    What is being erased is not in it.
    """
    return tx.execute(
        "SELECT n, id, camera, category, taken_in_ms, size_bytes, state, kind FROM object"
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
        "SELECT n FROM object WHERE state = 'sealed' AND camera = ? AND category = ? ORDER BY n DESC LIMIT ?",
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


def page_of(tx: Tx, chosen: "Chosen", *, after: str, limit: int) -> list[str]:
    """Return the first ids above ``after`` of what ``selected`` returns all of."""
    ids, params = _selected(chosen, after=after)
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


def set_source_gone(tx: Tx, object_id: str) -> None:
    """Note that the source's copy is given up; where its files were is forgotten."""
    tx.execute("UPDATE object SET source_gone = 1 WHERE id = ?", (object_id,))
    tx.execute("UPDATE object_file SET path = '' WHERE object = (SELECT n FROM object WHERE id = ?)", (object_id,))
    tombstones_gone_from_source(tx, object_id)  # it may have been deleted meanwhile


def insert_files(tx: Tx, n: int, files: Iterable[tuple[bytes, bytes, int, str]]) -> None:
    """Add the (source tag, content tag, captured from, path) of what an object was made of."""
    tx.executemany("INSERT INTO object_file VALUES (?, ?, ?, ?, ?)", ((n, *file) for file in files))


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
    """Return (wrapped slot, payload hash, kind, group id, group version, wrapped group) of an object."""
    rows = tx.execute(
        "SELECT s.wrapped, o.payload_sha256, o.kind, g.id, g.version, g.wrapped FROM object o"
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


def set_header_sha256(tx: Tx, object_id: str, sha256: bytes) -> None:
    """Change the hash of the header to be uploaded."""
    tx.execute("UPDATE object SET header_sha256 = ? WHERE id = ?", (sha256, object_id))


def drop_header(tx: Tx, object_id: str) -> None:
    """Forget the header of an object whose slot holds the file key."""
    tx.execute(
        "DELETE FROM header WHERE object IN (SELECT n FROM object WHERE id = ? AND kind = 'file-key')", (object_id,)
    )


def unaccounted(tx: Tx, names: Sequence[str]) -> list[str]:
    """Return those file names that are neither an object's nor an intent's."""
    ours = [name for name in names if name.isascii()]
    found = tx.execute(
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM object WHERE id = value)"
        " AND NOT EXISTS (SELECT 1 FROM intent WHERE object = value)",
        (msgspec.json.encode(ours).decode("ascii"),),
    )
    return [*(row[0] for row in found), *(name for name in names if not name.isascii())]


def note_left(tx: Tx, folder: str) -> None:
    """Note that every file has its row, and what the folder is."""
    tx.execute("INSERT OR REPLACE INTO left_clean VALUES (1, ?)", (folder,))


def take_left(tx: Tx) -> str:
    """Return what was noted, and forget it; ``""`` for nothing."""
    rows = tx.execute("DELETE FROM left_clean RETURNING folder")
    return str(rows[0][0]) if rows else ""


def has_file(tx: Tx, object_id: str) -> bool:
    """Tell whether an object or an intent accounts for the file."""
    return bool(
        tx.execute(
            "SELECT 1 FROM object WHERE id = ?1 UNION ALL SELECT 1 FROM intent WHERE object = ?1 LIMIT 1", (object_id,)
        )
    )


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


def stored_uploads(tx: Tx, store: str, after: str, limit: int) -> list[Row]:
    """Return (upload, object, manifest) that a storage receipt of this store is held for."""
    return tx.execute(
        "SELECT id, object, manifest FROM upload WHERE stored = 1 AND erase = 0 AND current = 1 AND store = ?"
        " AND id > ? ORDER BY id LIMIT ?",
        (store, after, limit),
    )


# -- forgetting


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
    return tx.execute("SELECT min(asked_ms) FROM erasure WHERE state = 'local' AND command = ''")[0][0]  # type: ignore[no-any-return]  # an integer column


def intended_bytes(tx: Tx) -> int:
    """Return how much room the objects at step 1 take."""
    ((size,),) = tx.execute(
        "SELECT coalesce(sum(o.size_bytes), 0) FROM intent t JOIN object o ON o.n = t.n WHERE t.step = 1"
    )
    return int(size)


def any_group_dies(tx: Tx, *, slots: int) -> bool:
    """Tell whether a group of at least that many slots has none but those of objects at step 1."""
    return bool(
        tx.execute(
            "SELECT 1 FROM (SELECT s.key_group AS n, count(*) AS victims FROM intent t JOIN slot s ON s.object = t.n"
            " WHERE t.step = 1 GROUP BY s.key_group) v JOIN key_group g ON g.n = v.n"
            " WHERE v.victims = g.slots AND g.slots >= ? LIMIT 1",
            (slots,),
        )
    )


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


def keep_remote(tx: Tx, object_id: str) -> None:
    """Remember an object of which only a store's finished copy will remain."""
    tx.execute(
        "INSERT OR IGNORE INTO remote_only SELECT id, n, camera, category, captured_from_ms, captured_to_ms FROM object"
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


def confirm_erased(tx: Tx, upload_id: str, *, stated_by: str) -> bool:
    """Note a store's word; return whether it was news."""
    tx.execute("UPDATE upload SET stated_by = ? WHERE id = ? AND stated_by = ''", (stated_by, upload_id))
    return tx.changes() > 0


def copies_of(tx: Tx, object_id: str) -> list[Row]:
    """Return (stored, stated_by) of every remote copy that an object had when its erasure began."""
    return tx.execute("SELECT stored, stated_by FROM upload WHERE object = ? AND erase = 1 ORDER BY id", (object_id,))


def drop_confirmed(tx: Tx, objects: Iterable[str]) -> None:
    """Forget the confirmed copies of erased objects that no request asks about any more."""
    tx.executemany(
        "DELETE FROM upload WHERE object = ?1 AND stated_by != '' AND erase = 1"
        " AND NOT EXISTS (SELECT 1 FROM erasure_item WHERE object = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM intent WHERE object = ?1)",
        ((object_id,) for object_id in objects),
    )


def count_confirmed(tx: Tx, object_id: str) -> list[int]:
    """Count a copy of an object as confirmed; return the requests that waited for no other."""
    waiting = tx.execute(
        "UPDATE erasure SET unconfirmed = unconfirmed - 1 WHERE state = 'remote' AND n IN"
        " (SELECT erasure FROM erasure_item WHERE object = ? AND result = 'deleted') RETURNING n, unconfirmed",
        (object_id,),
    )
    return [n for n, left in waiting if left == 0]


def unconfirmed(tx: Tx, erasure: int) -> int:
    """Return how many remote copies a request still waits for."""
    ((left,),) = tx.execute(
        "SELECT count(*) FROM erasure_item i JOIN upload u ON u.object = i.object"
        " WHERE i.erasure = ? AND i.result = 'deleted' AND u.erase = 1 AND u.stated_by = ''",
        (erasure,),
    )
    return int(left)


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
    """Return the objects at a step."""
    rows = tx.execute("SELECT object FROM intent WHERE step = ? ORDER BY n LIMIT ?", (step, limit))
    return [row[0] for row in rows]


def drop_intents(tx: Tx, objects: Iterable[str]) -> None:
    """Remove intents."""
    tx.executemany("DELETE FROM intent WHERE object = ?", ((object_id,) for object_id in objects))


def any_asked(tx: Tx) -> bool:
    """Tell whether any object was asked for and step 1 was not done."""
    return bool(tx.execute("SELECT 1 FROM erasure_item WHERE result = 'asked' LIMIT 1"))


def any_asked_or_intended(tx: Tx) -> bool:
    """Tell whether anything is before step 7."""
    return any_asked(tx) or bool(tx.execute("SELECT 1 FROM intent LIMIT 1"))


def source_gone(tx: Tx, object_id: str) -> bool:
    """Tell whether the source's copy of an object is known to be gone."""
    return bool(tx.execute("SELECT 1 FROM object WHERE id = ? AND source_gone = 1", (object_id,)))


# -- tombstones and cut-offs


def insert_tombstones(tx: Tx, objects: Iterable[str], rule: str, *, asked: int) -> None:
    """Write the tombstones of objects that are still there, and one for each file that an object was made of.

    What came from nowhere cannot return and needs none; nor does what retention (``asked`` 0) removes once its source
    and the stores have nothing of it left. Call it behind ``ask_store``.
    """
    named = tuple(objects)
    rules = tuple((rule, asked, object_id) for object_id in named)
    columns = (
        "INSERT INTO tombstone (source_tag, content_tag, source, captured_from_ms, rule, object, camera, category,"
        " leaves, source_folder, at_source, at_store, asked)"
    )
    at_store = "EXISTS (SELECT 1 FROM upload u WHERE u.object = o.id AND u.erase = 1 AND u.stated_by = '')"
    at_source = "o.source_copy = 'left', o.source_folder, 1 - o.source_gone"
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
    settle_tombstones(tx, named)


def settle_tombstones(tx: Tx, objects: Iterable[str]) -> None:
    """Drop the tombstones of objects that neither a source nor a store has any more.

    Those of deletes that were asked for stay and forget whose they are.
    """
    ids = tuple((object_id,) for object_id in objects)
    settled = "object = ? AND object != '' AND at_source = 0 AND at_store = 0"
    tx.executemany(f"DELETE FROM tombstone WHERE {settled} AND asked = 0", ids)  # noqa: S608 - our own words
    tx.executemany(f"UPDATE tombstone SET object = '', camera = '', category = '' WHERE {settled}", ids)  # noqa: S608 - the same


def tombstones_gone_from_source(tx: Tx, object_id: str) -> None:
    """Note that the source's copy of a deleted object is gone."""
    tx.execute("UPDATE tombstone SET at_source = 0 WHERE object = ? AND object != ''", (object_id,))
    settle_tombstones(tx, (object_id,))


def tombstones_gone_from_stores(tx: Tx, object_id: str) -> None:
    """Note that the stores confirmed the erasure of a deleted object, if the last of them did."""
    tx.execute(
        "UPDATE tombstone SET at_store = 0 WHERE object = ?1 AND object != ''"
        " AND NOT EXISTS (SELECT 1 FROM upload WHERE object = ?1 AND erase = 1 AND stated_by = '')",
        (object_id,),
    )
    settle_tombstones(tx, (object_id,))


def ask_tombstones(tx: Tx, objects: Iterable[str], rule: str) -> None:
    """Note that somebody asked for the deletion of objects that retention removed, or began to, before."""
    for object_id in objects:
        tx.execute("UPDATE tombstone SET asked = 1 WHERE object = ? AND object != ''", (object_id,))
        if tx.changes() == 0:
            insert_tombstones(tx, (object_id,), rule, asked=1)


def newest_at_source(tx: Tx, source: str, folder: int) -> int:
    """Return the number of the newest tombstone that waits for the word of a source's folder, or 0."""
    ((n,),) = tx.execute(
        "SELECT coalesce(max(n), 0) FROM tombstone WHERE source = ? AND at_source = 1 AND source_folder IN (0, ?)",
        (source, folder),
    )
    return int(n)


def tombstones_with(tx: Tx, source_tags: Iterable[bytes]) -> list[int]:
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


def tombstone(tx: Tx, *, source_tag: bytes, content_tag: bytes) -> str | None:
    """Return the rule of a tombstone with either tag; an empty tag matches nothing."""
    for column, tag in (("source_tag", source_tag), ("content_tag", content_tag)):
        rows = tx.execute(f"SELECT rule FROM tombstone WHERE {column} = ? LIMIT 1", (tag,)) if tag else []  # noqa: S608 - our own names
        if rows:
            return str(rows[0][0])
    return None


def tombstone_count(tx: Tx) -> int:
    """Return how many tombstones there are."""
    return int(tx.execute("SELECT count(*) FROM tombstone")[0][0])


def settled_tombstones(tx: Tx, limit: int) -> list[int]:
    """Return the numbers of the oldest that neither a source nor a store is waited for."""
    rows = tx.execute("SELECT n FROM tombstone WHERE at_source = 0 AND at_store = 0 ORDER BY n LIMIT ?", (limit,))
    return [int(row[0]) for row in rows]


def left_tombstones(tx: Tx, limit: int) -> list[Row]:
    """Return (n, source, camera, category, captured from) of the oldest recordings that sources keep copies of."""
    return tx.execute(
        "SELECT n, source, camera, category, captured_from_ms FROM tombstone WHERE leaves = 1 AND at_source = 1"
        " ORDER BY captured_from_ms, n LIMIT ?",
        (limit,),
    )


def oldest_tombstones(tx: Tx, limit: int) -> list[int]:
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


def drop_tombstones(tx: Tx, numbers: Iterable[int]) -> None:
    """Remove tombstones by number."""
    tx.executemany("DELETE FROM tombstone WHERE n = ?", ((n,) for n in numbers))


def put_cutoff(
    tx: Tx, values: tuple[str, str, int | None, int | None, int, str], *, command: tuple[str, str, int]
) -> None:
    """Add (camera, category, from, to, before, rule) of (command, kid, seq), unless one covers it.

    Those that it covers go.
    """
    if not tx.execute(f"SELECT 1 FROM cutoff WHERE {_COVERING} LIMIT 1", values[:5]):  # noqa: S608 - our own words
        tx.execute(f"DELETE FROM cutoff WHERE {_COVERED}", values[:5])  # noqa: S608 - our own words
        tx.execute(
            "INSERT INTO cutoff (camera, category, from_ms, to_ms, before_ms, rule, command, kid, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, *command),
        )


_COVERING: Final = (
    "certain = 1 AND camera IN ('', ?1) AND category IN ('', ?2) AND (from_ms IS NULL OR ?3 >= from_ms)"
    " AND (to_ms IS NULL OR ?4 <= to_ms) AND ?5 <= before_ms"
)
_COVERED: Final = (
    "?1 IN ('', camera) AND ?2 IN ('', category) AND (?3 IS NULL OR from_ms >= ?3)"
    " AND (?4 IS NULL OR to_ms <= ?4) AND before_ms <= ?5"
)


def cutoff(
    tx: Tx, *, camera: str, category: str, captured_from_ms: int, captured_to_ms: int
) -> tuple[str, bool, tuple[str, str, int]] | None:
    """Return the rule of a cut-off that matches, whether it is certain, and its (command, kid, seq).

    One that is certain, if there is one, and of those the newest.
    """
    rows = tx.execute(
        "SELECT rule, certain, command, kid, seq FROM cutoff WHERE (camera = '' OR camera = ?1)"
        " AND (category = '' OR category = ?2) AND (from_ms IS NULL OR max(?3, ?4 + 1) > from_ms)"
        " AND (to_ms IS NULL OR ?4 < to_ms) AND ?4 < before_ms ORDER BY certain DESC, n DESC LIMIT 1",
        (camera, category, captured_to_ms, captured_from_ms),
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
    """Return (n, camera, category, from, to, before), oldest first."""
    return tx.execute("SELECT n, camera, category, from_ms, to_ms, before_ms FROM cutoff ORDER BY n")


def merge_cutoffs(tx: Tx, n: int, other: int, values: tuple[str, str, int | None, int | None, int]) -> None:
    """Put one of (camera, category, from, to, before) that is not certain in the place of two."""
    tx.execute("DELETE FROM cutoff WHERE n = ?", (other,))
    tx.execute(
        "UPDATE cutoff SET camera = ?2, category = ?3, from_ms = ?4, to_ms = ?5, before_ms = ?6, certain = 0"
        " WHERE n = ?1",
        (n, *values),
    )
