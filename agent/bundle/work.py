"""One build under way: the files it has written so far, what became of each object, and how a file is written.

A file is private, new, and synced before it is named to anybody; an object's is its payload as it lies, checked while
it is copied, behind a header for the recipients.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from agent import age
from agent.bundle.content import PieceReader
from agent.clock import rfc3339_ms
from agent.envelope import MAX_MANIFEST_BYTES, encode
from agent.errors import CorruptError, RefusedError
from agent.files import FILE_MODE, remove
from agent.model import Object, Outcome
from agent.pages import page_buffer

_COPY_BYTES: Final = 1024 * 1024
_LOG: Final = logging.getLogger(__name__)

_MANIFEST_FILE_BYTES: Final = 200
"""What the manifest says of one file: a name of ours, a size and a hash."""

_DESCRIBED_MAX_BYTES: Final = MAX_MANIFEST_BYTES // 4 * 3 - (1 << 21)
"""Base64 makes four bytes of three; two MiB are for the recipients and for 10,000 objects that are left out."""


class ExportFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an export as it lies on disk."""

    name: str
    bytes: int
    sha256: str


class Source(msgspec.Struct, frozen=True):
    """An object whose slot was opened: what is needed to export it, and nothing that outlives the build."""

    item: Object
    label: str
    slot_key: bytes
    header: bytes | None


class ChangedError(CorruptError):
    """An object that opened whole a moment before cannot be read while it is packed."""

    def __init__(self, message: str, *, object_id: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.object_id = object_id


class Work:
    """One build under way."""

    def __init__(self, folder: Path, recipients: tuple[age.Recipient, ...]) -> None:
        self.folder = folder
        self.recipients = recipients
        self.files: list[ExportFile] = []
        self.outcomes: dict[str, Outcome] = {}
        self.within: dict[str, str] = {}
        self._described_bytes = 0

    def described(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return what the manifest will say of an object; raises ``RefusedError`` once that is more than it may hold.

        Long names make a manifest long; it is told while the export is written, not when all of it was.
        """
        self._described_bytes += len(encode(entry)) + _MANIFEST_FILE_BYTES
        if self._described_bytes > _DESCRIBED_MAX_BYTES:
            raise RefusedError(
                "the export would be too large for its manifest",
                reason="too_large",
                retry="after_fix",
                hint="export a shorter interval or one camera",
            )
        return entry

    def seal(self, name: str, pieces: Iterator[bytes]) -> ExportFile:
        """Seal a stream of clear pieces into a new file; the file is synced on return."""
        file_key = age.new_file_key()
        with NewFile(self.folder / name) as file:
            file.write(memoryview(age.wrap_header(file_key, self.recipients)))
            age.encrypt_stream(file_key, PieceReader(pieces), file)
            return file.finish()


class NewFile:
    """A new private file that knows its size and hash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def write(self, data: memoryview, /) -> int:
        """Write all of ``data``."""
        self._sha256.update(data)
        self._bytes += len(data)
        view = data
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)

    def finish(self) -> ExportFile:
        """Sync the file and describe it."""
        os.fsync(self._fd)
        return ExportFile(name=self._path.name, bytes=self._bytes, sha256=self._sha256.hexdigest())


def join(work: Work, name: str, header: bytes, payload: Path, *, item: Object) -> ExportFile | None:
    """Write header and payload into one file; ``None`` (and no file) if the payload is not what was sealed."""
    digest = hashlib.sha256()
    buffer = page_buffer(_COPY_BYTES)
    with NewFile(work.folder / name) as file:
        file.write(memoryview(header))
        for count in _filled(payload, buffer):
            digest.update(buffer[:count])
            file.write(buffer[:count])
        if digest.digest() == item.payload_sha256:
            done = file.finish()
            work.files.append(done)
            return done
    remove(work.folder / name, folder_synced=False)
    return None


def _filled(payload: Path, buffer: memoryview) -> Iterator[int]:
    """Yield how much of ``buffer`` each read filled; a payload that cannot be read ends early, and its hash says so."""
    try:
        with payload.open("rb", buffering=0) as source:
            while count := source.readinto(buffer):
                yield count
    except OSError as error:
        _LOG.warning("a sealed payload cannot be read: %s", error.strerror)


def about(source: Source) -> dict[str, Any]:
    """Return what a manifest says of an object wherever it lies."""
    item = source.item
    return {
        "id": item.id,
        "camera": item.camera,
        "camera_label": source.label,
        "category": item.category,
        "name": item.name,
        "media_type": item.media_type,
        "captured_from": rfc3339_ms(item.captured_from_ms),
        "captured_to": rfc3339_ms(item.captured_to_ms),
        "taken_in": rfc3339_ms(item.taken_in_ms),
        "bytes": item.plain_bytes,
        "payload": {"bytes": item.size_bytes, "sha256": item.payload_sha256.hex()},
    }
