"""The tables of ``vault.py``, ``erasure.py`` and ``tombstone.py``, which refer to each other and have one version."""

from typing import Final

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
  n      INTEGER NOT NULL,    -- object.n; from PUT_OFF on: step 6 failed, it is tried again
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
    """
-- What only a store still has is weighed, judged and told like what is here: a quota counts it too.
ALTER TABLE remote_only ADD COLUMN taken_in_ms INTEGER NOT NULL DEFAULT 0;  -- agent time; 0 of one from before
ALTER TABLE remote_only ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;   -- of the sealed payload; 0 likewise
CREATE TABLE remote_total (   -- as total; only these two triggers write it
  camera   TEXT    NOT NULL,
  category TEXT    NOT NULL,
  objects  INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  PRIMARY KEY (camera, category)
) STRICT, WITHOUT ROWID;
INSERT INTO remote_total SELECT camera, category, count(*), 0 FROM remote_only GROUP BY camera, category;
CREATE TRIGGER remote_total_grows AFTER INSERT ON remote_only BEGIN
  INSERT INTO remote_total VALUES (NEW.camera, NEW.category, 1, NEW.size_bytes)
  ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER remote_total_shrinks AFTER DELETE ON remote_only BEGIN
  UPDATE remote_total SET objects = objects - 1, bytes = bytes - OLD.size_bytes
  WHERE camera = OLD.camera AND category = OLD.category;
  DELETE FROM remote_total WHERE camera = OLD.camera AND category = OLD.category AND objects = 0;
END;
""",
    """
-- A backend's delete reaches what it names and what is there, and leaves no cut-off: no quota weighs what is yet to
-- come. One that several became may be an owner's too, and destroys nothing.
DELETE FROM cutoff WHERE rule = 'backend_delete' AND certain = 1;
""",
    """
-- Copies on cameras' own storage that step 1 of forgetting asks for, until nobody asks about the object any more.
CREATE TABLE source_erase (
  object    TEXT PRIMARY KEY,      -- id
  source    TEXT NOT NULL,         -- names the camera
  recording TEXT NOT NULL,         -- the camera's own id of it
  state     TEXT NOT NULL CHECK (state IN ('waiting', 'erased', 'left'))  -- left: nobody can ask that camera any more
) STRICT, WITHOUT ROWID;
CREATE INDEX source_erase_waiting ON source_erase (source, object) WHERE state = 'waiting';
""",
    """
-- Whose word it is that a camera's copy is erased: the kid of its key; '' where nobody has said so.
ALTER TABLE source_erase ADD COLUMN stated_by TEXT NOT NULL DEFAULT '';
""",
    """
-- A camera's copy is on one card, and is deleted there alone, by its content: another card's word says nothing of it.
-- object.source_folder is the number of the card, which is made of its id; '' where nobody knows the content.
ALTER TABLE object ADD COLUMN source_sha256 BLOB NOT NULL DEFAULT x'';     -- of the clear content; cameras' alone
ALTER TABLE source_erase ADD COLUMN card INTEGER NOT NULL DEFAULT 0;       -- as object.source_folder
ALTER TABLE source_erase ADD COLUMN sha256 BLOB NOT NULL DEFAULT x'';      -- until the camera answered
DROP INDEX source_erase_waiting;
CREATE INDEX source_erase_waiting ON source_erase (source, card, object) WHERE state = 'waiting';

-- 1: its source may list it again after it said that it is gone, as a card does that is put back: so it stays, without
-- its content's fingerprint, though nobody asked for the deletion.
ALTER TABLE tombstone ADD COLUMN returns INTEGER NOT NULL DEFAULT 0;
""",
    """
-- Those that were allowed when it was sealed, by name, one per line: an object is used for no others.
ALTER TABLE object RENAME COLUMN purpose TO purposes;
""",
    """
-- What is for no purpose any more, by who can open it: retention looks at it in each pass.
CREATE INDEX object_for_nothing ON object (recipient_set) WHERE purposes = '';
""",
    """
-- Keys between the root and the groups, so that a delete rewrites no table that grows with what survives. A group from
-- before is wrapped under the root itself (branch NULL) until the next change of roots, and takes no object in.
CREATE TABLE key_branch (
  n       INTEGER PRIMARY KEY,
  id      TEXT    NOT NULL UNIQUE,
  version INTEGER NOT NULL,   -- counts its rotations
  wrapped BLOB    NOT NULL,   -- under the root
  groups  INTEGER NOT NULL    -- rows of key_group in this branch
) STRICT;
ALTER TABLE key_group ADD COLUMN branch INTEGER REFERENCES key_branch (n);
CREATE INDEX key_group_by_branch ON key_group (branch);
CREATE INDEX key_group_with_room ON key_group (n) WHERE slots < 128 AND branch IS NOT NULL;
""",
    """
-- What a source calls a thing stays, for that is what it is asked by; what the owner corrected is for people alone.
ALTER TABLE object RENAME COLUMN name TO source_name;   -- '': rectification.py says of which nobody knows it
ALTER TABLE object ADD COLUMN corrected_name TEXT;      -- what people see; NULL: that is source_name. Personal like it
-- What no camera calls a recording is the corrected name of one that was deleted: no camera can be asked by it.
UPDATE source_erase SET card = 0, sha256 = x'' WHERE state = 'waiting' AND (
  recording = '' OR length(recording) > 32 OR recording GLOB '*[^a-z0-9]*'
);
""",
    """
-- A cut-off lies where the clock was that was ahead. What our own looks tell of a growing log is compared with the very
-- clocks that they were noted by. Of one from before nobody knows these.
ALTER TABLE cutoff ADD COLUMN commanded_ms INTEGER NOT NULL DEFAULT 0;   -- agent time of the command
ALTER TABLE cutoff ADD COLUMN wall_ms INTEGER NOT NULL DEFAULT 0;        -- what the wall clock said then
UPDATE cutoff SET commanded_ms = before_ms, wall_ms = before_ms;
CREATE INDEX cutoff_by_command ON cutoff (commanded_ms, wall_ms);
""",
)
