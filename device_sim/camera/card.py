"""The camera's SD card: recordings with what is known of each, on a folder that stands for it.

``NAME`` is a recording's bytes and ``NAME.json`` what is known of it; the second appears last and goes first, so a
power cut leaves a recording whole or none. What is still being recorded is in memory alone. ``storage.id`` is the
card's own: made when it is first used, it stays whatever is deleted.

Rules: an answer that promises durability is given after the files *and* the folder are synced; a card that is broken
raises, it never says "nothing there"; ids come from the camera's own count and are never used twice.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

from device_sim.camera.layout import Kind, make_folders, private_file
from device_sim.camera.usage_log import stamp

Clock = Literal["trusted", "unsure"]
CardState = Literal["ok", "full", "missing", "failing"]
Broken = Literal["", "full", "missing", "failing", "corrupt"]
CardCode = Literal[
    "storage_missing",
    "storage_failed",
    "unreadable",
    "full",
    "not_found",
    "incomplete",
    "hash_mismatch",
    "other_storage",
    "other_content",
]

MEDIA_TYPES: Final[dict[Kind, str]] = {
    "recording": "video/mp4",
    "photo": "image/jpeg",
    "usage-log": "application/x-ndjson",
}
DEFAULT_BYTES: Final = 32 * 2**30

_ID: Final = "storage.id"
_ID_FORM: Final = re.compile(r"[a-z2-7]{16}")
_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ABOUT: Final = ".json"
_PART: Final = ".part"


class CardError(Exception):
    """The card does not do it; ``code`` is one of the camera link's (docs/camera-link.md §4), or ``full``.

    ``other_content`` is what the link calls ``hash_mismatch`` where it was a condition of the request.
    """

    def __init__(self, code: CardCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recording; ``number`` orders by when it began, ``sha256`` and ``end`` are empty while it still grows."""

    id: str
    number: int
    category: Kind
    media_type: str
    start: str
    """RFC 3339, as the camera's clock had it; ``end`` likewise."""
    clock: Clock
    end: str = ""
    size: int = 0
    sha256: str = ""
    acknowledged: bool = False

    @property
    def complete(self) -> bool:
        """Whether it is whole, and so never changes again."""
        return bool(self.sha256)


class Content(Protocol):
    """A recording's bytes."""

    def seek(self, offset: int, /) -> int:
        """Go on reading there."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""


class Card:
    """What is on the card; ``broken`` is asked at each use, so that a fault strikes at once."""

    def __init__(self, folder: Path, *, broken: Callable[[], Broken], total_bytes: int = DEFAULT_BYTES) -> None:
        self.total_bytes = total_bytes
        self._broken = broken
        self._entries: dict[str, Entry] = {}
        self.insert(folder)

    def insert(self, folder: Path) -> None:
        """Put another card in, which is a folder; what was being recorded is lost."""
        make_folders(folder)
        self.folder = folder
        self.boot()

    def boot(self) -> None:
        """Read what is there, as after a power cut: what was still being recorded, or half removed, is gone."""
        entries = [Entry(**json.loads(path.read_bytes())) for path in self.folder.glob(f"*{_ABOUT}")]
        self._entries = {entry.id: entry for entry in sorted(entries, key=lambda entry: entry.number)}
        for path in self.folder.iterdir():
            if path.suffix != _ABOUT and path.name not in {_ID, *self._entries}:
                path.unlink()
        self._id = self._own_id()
        _sync(self.folder)

    def _own_id(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = (self.folder / _ID).read_text(encoding="ascii")
            if _ID_FORM.fullmatch(found):
                return found
        made = "".join(secrets.choice(_ID_LETTERS) for _ in range(16))
        _write(self.folder / _ID, made.encode("ascii"))
        return made

    @property
    def id(self) -> str:
        """Which card it is; ``""`` when none is in."""
        return "" if self._broken() == "missing" else self._id

    @property
    def state(self) -> CardState:
        """As ``GET /v1/camera`` tells it; a card that flips bits looks well."""
        match self._broken():
            case "missing" | "failing" as broken:
                return broken
            case "full":
                return "full"
            case _:
                return "ok" if self.free_bytes > 0 else "full"

    @property
    def free_bytes(self) -> int:
        """Room left; none where the card is said to be full."""
        if self._broken() in {"full", "missing"}:
            return 0
        return max(self.total_bytes - sum(entry.size for entry in self._entries.values()), 0)

    def entries(self) -> list[Entry]:
        """All, in the order in which they began."""
        self._working()
        return list(self._entries.values())

    def entry(self, name: str) -> Entry:
        """One; raises ``CardError`` ``not_found``."""
        self._working()
        try:
            return self._entries[name]
        except KeyError:
            raise CardError("not_found", "no such recording") from None

    def holds(self, name: str) -> bool:
        """Whether it is there, whole or not."""
        return name in self._entries

    def begin(self, number: int, category: Kind, *, start: datetime, clock: Clock, media_type: str = "") -> Entry:
        """Begin to record; ``number`` is one that the camera never used before."""
        self._working()
        if self.state == "full":
            raise CardError("full", "the card is full")
        entry = Entry(
            id=f"r{number:010d}",
            number=number,
            category=category,
            media_type=media_type or MEDIA_TYPES[category],
            start=stamp(start),
            clock=clock,
        )
        self._entries[entry.id] = entry
        return entry

    def finish(self, name: str, content: bytes, *, end: datetime) -> Entry | None:
        """Make it whole; ``None`` when it was deleted meanwhile. Raises ``CardError`` with nothing kept of it."""
        try:
            self._room(len(content))
        except CardError:
            self.abandon(name)
            raise
        if name not in self._entries:
            return None
        entry = replace(
            self._entries[name],
            end=stamp(end),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        with _medium():
            _write(self.folder / name, content)
            self._note(entry)
        return entry

    def abandon(self, name: str) -> None:
        """Keep nothing of what was being recorded."""
        if name in self._entries and not self._entries[name].complete:
            del self._entries[name]

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Content]:
        """Its bytes; of a corrupt card, with one of them changed."""
        entry = self.entry(name)
        if not entry.complete:
            raise CardError("incomplete", "it is still being recorded")
        try:
            file = (self.folder / name).open("rb")
        except OSError:
            raise CardError("unreadable", "the card does not give its bytes") from None
        with file:
            yield _Rotten(file) if self._broken() == "corrupt" else file

    def acknowledge(self, name: str, sha256: str) -> None:
        """Note durably that an agent holds it."""
        entry = self.entry(name)
        if not entry.complete:
            raise CardError("incomplete", "it is still being recorded")
        if entry.sha256 != sha256:
            raise CardError("hash_mismatch", "the recording has another hash")
        if not entry.acknowledged:
            with _medium():
                self._note(replace(entry, acknowledged=True))

    def require(self, name: str, *, storage: str = "", sha256: str = "") -> None:
        """Raise ``CardError`` unless this card is meant and holds that content under the name, or nothing."""
        self._working()
        if storage and storage != self._id:
            raise CardError("other_storage", "another card is in")
        if sha256 and name in self._entries and self._entries[name].sha256 != sha256:
            raise CardError("other_content", "another recording has that id")

    def delete(self, names: list[str]) -> int:
        """Remove these and sync; how many were there."""
        self._working()
        there = [name for name in names if name in self._entries]
        with _medium():
            for ending in (_ABOUT, ""):
                for name in there:
                    (self.folder / f"{name}{ending}").unlink(missing_ok=True)
                _sync(self.folder)
        for name in there:
            del self._entries[name]
        return len(there)

    def _room(self, size_bytes: int) -> None:
        self._working()
        if self.free_bytes < size_bytes:
            raise CardError("full", "the card is full")

    def _note(self, entry: Entry) -> None:
        _write(self.folder / f"{entry.id}{_ABOUT}", json.dumps(asdict(entry)).encode())
        _sync(self.folder)
        self._entries[entry.id] = entry

    def _working(self) -> None:
        match self._broken():
            case "missing":
                raise CardError("storage_missing", "there is no card")
            case "failing":
                raise CardError("storage_failed", "the card answers with errors")
            case _:
                return


class _Rotten:
    """A file of which one bit has turned: the middle byte's lowest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bad = file.seek(0, os.SEEK_END) // 2
        file.seek(0)

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        at = self._file.tell()
        piece = bytearray(self._file.read(size))
        if at <= self._bad < at + len(piece):
            piece[self._bad - at] ^= 1
        return bytes(piece)


@contextlib.contextmanager
def _medium() -> Iterator[None]:
    """What the disk under the card refuses, the card refuses."""
    try:
        yield
    except OSError as error:
        raise CardError("storage_failed", f"the card answers with an error: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + _PART)
    with private_file(part) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def told(entry: Entry) -> dict[str, Any]:
    """As the camera link lists it (docs/camera-link.md §5)."""
    shown: dict[str, Any] = {
        "id": entry.id,
        "category": entry.category,
        "media_type": entry.media_type,
        "from": entry.start,
        "clock": entry.clock,
        "size": entry.size,
        "complete": entry.complete,
        "acknowledged": entry.acknowledged,
    }
    return shown | ({"to": entry.end, "sha256": entry.sha256} if entry.complete else {})
