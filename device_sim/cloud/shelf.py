"""What the store has on disk, durable before anybody is told.

    DIR/store.sqlite3                      uploads: receiving, stored, erased; the epoch
    DIR/part/DEVICE/UPLOAD                 a payload on its way
    DIR/part/DEVICE/UPLOAD.durable         8 bytes: up to where it was fdatasynced (written after, so never ahead)
    DIR/store/DEVICE/OBJECT/{header,payload}
    DIR/store/DEVICE/OBJECT/{camera,object}.correction   what its owner corrected, sealed to those who may read it

Rules: an offset is acknowledged after fdatasync; ``stored`` after both files and every folder on the way were fsynced
and the row committed; ``erased`` after the files are gone, their folder fsynced and the row committed. The payload is
hashed while it arrives; after a restart it is read once to catch up.

One thread calls the shelf; only ``Receiving.sync`` may be called from another.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from device_sim.cloud.wire import Begin, Part

State = Literal["receiving", "stored", "erased"]
Presence = Literal["erased", "absent"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- One row per upload. An erased one keeps its name only, so that a later begin of it is refused.
CREATE TABLE IF NOT EXISTS upload (
  device TEXT NOT NULL,
  upload TEXT NOT NULL,
  object TEXT NOT NULL,
  manifest TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('receiving', 'stored', 'erased')),
  payload_bytes INTEGER NOT NULL,
  payload_sha256 TEXT NOT NULL,
  header_sha256 TEXT NOT NULL,
  header BLOB NOT NULL,       -- sealed, as the device made it; empty once it has its own file
  header_bytes INTEGER NOT NULL,
  PRIMARY KEY (device, upload)
) STRICT, WITHOUT ROWID;
-- The newest correction that is kept with a stored upload.
CREATE TABLE IF NOT EXISTS correction (
  device TEXT NOT NULL,
  upload TEXT NOT NULL,
  about TEXT NOT NULL CHECK (about IN ('camera', 'object')),
  number INTEGER NOT NULL,
  PRIMARY KEY (device, upload, about)
) STRICT, WITHOUT ROWID;
"""
_REHASH_BYTES: Final = 1 << 20
_OFFSET_BYTES: Final = 8
_WRITE_BYTES: Final = 1 << 20
"""So much is written at once: the kernel takes one large piece at half the cost of many chunks."""
_WRITES: Final = 16
"""At least so many for a payload, so that who looks at the file sees how far it is."""


class MismatchError(Exception):
    """Length or hash of what arrived is not the manifest's."""


@dataclass(frozen=True, slots=True)
class Row:
    """An upload as the shelf knows it."""

    device: str
    upload: str
    object: str
    manifest: str
    state: State
    payload: Part
    header: Part


class Receiving:
    """An open payload on its way: ``written`` counts what was taken, and what ``flush`` wrote of it can be synced.

    Taken and flushed by one thread in order; ``sync`` from any.
    """

    def __init__(self, row: Row, *, path: Path) -> None:
        self.row = row
        self._path = path
        self._mark = path.with_suffix(".durable")
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mark_fd = os.open(self._mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open = True
        self._sha256 = hashlib.sha256()
        kept = int.from_bytes(os.pread(self._mark_fd, _OFFSET_BYTES, 0))
        self.durable = min(kept, os.fstat(self._fd).st_size, row.payload.bytes)
        self.written = self._flushed = self.durable
        self._held: list[memoryview] = []
        os.ftruncate(self._fd, self.durable)
        self._rehash()

    def append(self, data: memoryview) -> None:
        """Take what comes next; the view must stay as it is."""
        self._held.append(data)
        self.written += len(data)
        if self.written - self._flushed >= min(_WRITE_BYTES, self.row.payload.bytes // _WRITES):
            self.flush()

    def flush(self) -> None:
        """Write what was taken; what cannot be written was never taken, and its sender is asked for it again."""
        try:
            while self._held:
                self._note_flushed(os.pwritev(self._fd, self._held, self._flushed))
        except OSError:
            self._held.clear()
            self.written = self._flushed
            raise

    def _note_flushed(self, count: int) -> None:
        self._flushed += count
        while count:
            first = self._held.pop(0)
            self._sha256.update(first[:count])
            if count < len(first):
                self._held.insert(0, first[count:])
            count -= min(count, len(first))

    def sync(self) -> int:
        """Make what was flushed durable; returns the durable offset."""
        with self._lock:
            if self._open and self.durable < self._flushed:
                reached = self._flushed
                os.fdatasync(self._fd)
                os.pwrite(self._mark_fd, reached.to_bytes(_OFFSET_BYTES), 0)
                self.durable = reached
            return self.durable

    def sha256(self) -> str:
        """Return the hash of what was written."""
        return self._sha256.copy().hexdigest()

    def settle(self) -> None:
        """Make file and length durable and close."""
        self.flush()
        with self._lock:
            os.fsync(self._fd)
            self.durable = self.written
            with contextlib.suppress(OSError):  # only advice: it is not read again soon
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            self._close()

    def drop(self) -> None:
        """Close and remove what was received."""
        with self._lock:
            self._close()
        self._path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def close(self) -> None:
        """Close; what is durable stays for the next start."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._fd)
            os.close(self._mark_fd)

    def _rehash(self) -> None:
        at = 0
        while at < self.durable:
            block = os.pread(self._fd, min(_REHASH_BYTES, self.durable - at), at)
            self._sha256.update(block)
            at += len(block)


class Shelf:
    """The store's folder; made when it is not there."""

    def __init__(self, root: Path, *, new_epoch: str) -> None:
        self._root = root
        for folder in (root, root / "part", root / "store"):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._db = self._connect()
        self._keep_epoch(new_epoch)

    @property
    def epoch(self) -> str:
        """Random id of this incarnation of the store (docs/protocol.md §6 ``go``)."""
        (value,) = self._db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        return str(value)

    def row(self, device: str, upload: str) -> Row | None:
        """Return what is known of an upload."""
        found = self._db.execute(
            "SELECT object, manifest, state, payload_bytes, payload_sha256, header_bytes, header_sha256"
            " FROM upload WHERE device = ? AND upload = ?",
            (device, upload),
        ).fetchone()
        if found is None:
            return None
        name, manifest, state, payload_bytes, payload_sha256, header_bytes, header_sha256 = found
        payload, header = Part(payload_bytes, payload_sha256), Part(header_bytes, header_sha256)
        return Row(device, upload, name, manifest, state, payload, header)

    def rows(self, state: State) -> list[Row]:
        """Return every upload in that state."""
        names = self._db.execute("SELECT device, upload FROM upload WHERE state = ?", (state,)).fetchall()
        return [row for device, upload in names if (row := self.row(device, upload))]

    def begin(self, device: str, begin: Begin) -> Receiving:
        """Note a manifest durably and open its payload; a repeated one goes on where it was."""
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO upload VALUES (?,?,?,?,'receiving',?,?,?,?,?)",
                (
                    device,
                    begin.upload,
                    begin.object,
                    begin.manifest,
                    begin.payload.bytes,
                    begin.payload.sha256,
                    begin.header.sha256,
                    begin.header_data,
                    begin.header.bytes,
                ),
            )
        row = self.row(device, begin.upload)
        if row is None:
            raise AssertionError("the row was just committed")
        return self.receiving(row)

    def receiving(self, row: Row) -> Receiving:
        """Open the payload of an upload that has begun, at its durable end."""
        path = self._part(row.device, row.upload)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        opened = Receiving(row, path=path)
        _fsync_folder(path.parent)
        _fsync_folder(path.parent.parent)
        return opened

    def store(self, receiving: Receiving) -> Row:
        """Check length and hashes and make header and payload durable; raises ``MismatchError`` and drops the bytes."""
        row = receiving.row
        (header,) = self._db.execute(
            "SELECT header FROM upload WHERE device = ? AND upload = ?", (row.device, row.upload)
        ).fetchone()
        receiving.flush()
        arrived = (receiving.written, receiving.sha256(), len(header), hashlib.sha256(header).hexdigest())
        if arrived != (row.payload.bytes, row.payload.sha256, row.header.bytes, row.header.sha256):
            receiving.drop()
            raise MismatchError
        receiving.settle()
        place = self._place(row)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place / "header", header)
        self._part(row.device, row.upload).replace(place / "payload")
        self._part(row.device, row.upload).with_suffix(".durable").unlink(missing_ok=True)
        for folder in (place, place.parent, place.parent.parent, self._part(row.device, row.upload).parent):
            _fsync_folder(folder)
        with self._db:
            # Another upload of the same object gave its place to this one.
            self._db.execute(
                "DELETE FROM upload WHERE device = ? AND object = ? AND upload <> ? AND state = 'stored'",
                (row.device, row.object, row.upload),
            )
            self._db.execute("DELETE FROM correction WHERE upload NOT IN (SELECT upload FROM upload)")
            self._db.execute(
                "UPDATE upload SET state = 'stored', header = x'' WHERE device = ? AND upload = ?",
                (row.device, row.upload),
            )
        return Row(row.device, row.upload, row.object, row.manifest, "stored", row.payload, row.header)

    def forget(self, device: str, upload: str, *, refuse_later: str = "") -> Presence:
        """Remove whatever there is of an upload, durably.

        ``refuse_later`` is the object's id: a tombstone stays, so that a later ``begin`` of the upload is refused.
        """
        row = self.row(device, upload)
        there = self._remove_part(device, upload)
        if row is not None and row.state == "stored":
            there = self._remove_stored(row) or there
        with self._db:
            self._db.execute("DELETE FROM correction WHERE device = ? AND upload = ?", (device, upload))
            self._db.execute("DELETE FROM upload WHERE device = ? AND upload = ?", (device, upload))
            if refuse_later:
                self._db.execute(
                    "INSERT INTO upload VALUES (?,?,?,'','erased',0,'','',x'',0)", (device, upload, refuse_later)
                )
        return "erased" if there or (row is not None and row.state == "receiving") else "absent"

    def correct(self, row: Row, *, about: str, number: int, sealed: bytes) -> None:
        """Keep a correction with a stored upload, durably; one that is older than what is kept changes nothing."""
        named = (row.device, row.upload, about)
        found = self._db.execute(
            "SELECT number FROM correction WHERE device = ? AND upload = ? AND about = ?", named
        ).fetchone()
        if found is not None and found[0] >= number:
            return
        place = self._place(row)
        _write(place / f"{about}.correction", sealed)
        _fsync_folder(place)
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO correction VALUES (?, ?, ?, ?)", (*named, number))

    def corrections(self, row: Row) -> dict[str, bytes]:
        """Return what is kept with an upload, by what it is about."""
        place = self._place(row)
        return {path.stem: path.read_bytes() for path in place.glob("*.correction")}

    def has_files(self, row: Row) -> bool:
        """Say whether both files of a stored upload are there."""
        place = self._place(row)
        return (place / "header").is_file() and (place / "payload").is_file()

    def snapshot(self, target: Path) -> None:
        """Copy everything to ``target``: a backup to roll back to."""
        target.mkdir(mode=0o700, parents=True)
        shutil.copytree(self._root / "part", target / "part")
        shutil.copytree(self._root / "store", target / "store")
        with sqlite3.connect(target / "store.sqlite3") as copy:
            self._db.backup(copy)
        copy.close()

    def roll_back(self, source: Path, *, new_epoch: str) -> None:
        """Become what ``snapshot`` copied, under a new epoch, but for what was erased since (docs/protocol.md §6)."""
        erased = self.rows("erased")  # as if it were remembered where no backup brings it back
        self._db.close()
        for old in self._root.glob("store.sqlite3*"):
            old.unlink()
        for name in ("part", "store"):
            shutil.rmtree(self._root / name)
            shutil.copytree(source / name, self._root / name)
        shutil.copy(source / "store.sqlite3", self._root / "store.sqlite3")
        self._db = self._connect()
        for row in erased:
            self.forget(row.device, row.upload, refuse_later=row.object)
        with self._db:
            self._db.execute("DELETE FROM meta WHERE name = 'epoch'")
        self._keep_epoch(new_epoch)

    def close(self) -> None:
        """Close the state; open payloads are closed by who opened them."""
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._root / "store.sqlite3", check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(_SCHEMA)
        return connection

    def _keep_epoch(self, epoch: str) -> None:
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (epoch,))

    def _part(self, device: str, upload: str) -> Path:
        return self._root / "part" / device / upload

    def _place(self, row: Row) -> Path:
        return self._root / "store" / row.device / row.object

    def _remove_part(self, device: str, upload: str) -> bool:
        path = self._part(device, upload)
        there = path.exists()
        path.unlink(missing_ok=True)
        path.with_suffix(".durable").unlink(missing_ok=True)
        if there:
            _fsync_folder(path.parent)
        return there

    def _remove_stored(self, row: Row) -> bool:
        place = self._place(row)
        there = place.is_dir()
        for name in ("header", "payload", "camera.correction", "object.correction"):
            (place / name).unlink(missing_ok=True)
        if there:
            _fsync_folder(place)
            place.rmdir()
            _fsync_folder(place.parent)
        return there


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
