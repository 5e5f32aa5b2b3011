"""What becomes one object, what is told of it, and the identity by which a source's file is known again."""

import hmac
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from agent.bookmark import Bookmark
from agent.index import Tx
from agent.ingest.room import Promise
from agent.keytree import GroupKey
from agent.model import Moment
from agent.policy import Consents, Rule
from agent.sealer import Sealed, SealJob
from agent.sealer.digest import ContentTag
from agent.sources import Candidate, Source
from agent.vault import Draft, DraftFile

BATCH_FILES: Final = 200
"""Log files that are sealed together at most."""

EventKind = Literal[
    "admitted", "refused", "unreadable", "disk_full", "later", "source_failed", "source_back", "deleted_before", "held",
    "bad_lines", "left_out", "cameras_full", "impostor", "sound_left_out", "unknown_name",
]  # fmt: skip
"""``later``: its writer is not done, which is ordinary; ``source_failed``: reading or sealing failed, which is not.

``unknown_name``: its source has no files of that name or at that place, so it is not looked into; ``left_out``: field
rules left it out of a log that was taken in, and none of them said so; ``source_back``: the folder as a whole can be
read; ``impostor``: another certificate than the pinned one was shown, and ``reason`` is the camera.
"""


Now = Callable[[], Moment]

Told = tuple[Draft, Path, GroupKey, Moment, Callable[[Tx], None]]
"""What step 4 is told: draft, part file, group, moment and what else is written in its transaction."""


class IngestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one file or batch.

    ``reason`` is a code or a sentence without names. ``unverified_path`` is personal: it is for the owner at this
    machine, never for a log.
    """

    kind: EventKind
    source: str
    reason: str = ""
    object: str = ""
    bytes: int = 0
    unverified_path: str = ""
    obeys: bool = False
    """It is what a delete asked for, and nothing that anybody has to look at."""


class Work(msgspec.Struct, frozen=True):
    """What becomes one object: one file, or the log files of one camera.

    ``bookmarks`` are those that each of the members may go on from, once they were asked for at ``asked_at``.
    """

    source: Source
    members: tuple[Candidate, ...]
    bookmarks: tuple[tuple[Bookmark, ...], ...] = ()
    asked_at: Moment | None = None

    @property
    def first(self) -> Candidate:
        """The file that gives the object its name."""
        return self.members[0]

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Where the members lie: source and path of each."""
        return tuple((candidate.source, candidate.path) for candidate in self.members)

    @property
    def is_log(self) -> bool:
        """Whether it is read line by line: a usage log in a folder."""
        return is_read_by_line(self.first)

    @property
    def grows(self) -> bool:
        """Whether it is taken by and by, as far as whole lines are there, and stays where it is."""
        return self.is_log and not self.source.settings.takes

    @property
    def size_bytes(self) -> int:
        """What it holds in clear, about."""
        size_bytes = sum(item.size_bytes for item in self.members)
        return min(size_bytes, self.source.settings.batch_bytes) if self.grows else size_bytes

    def alone(self, member: Candidate) -> "Work":
        """Return the same for one of its files."""
        return Work(self.source, (member,))

    def event(self, kind: EventKind, *, reason: str, obeys: bool = False) -> IngestEvent:
        """Return what to tell of it."""
        name, path = self.source.settings.name, self.first.path
        return IngestEvent(kind=kind, source=name, reason=reason, unverified_path=path, obeys=obeys)


class Let(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's yes: under which rule, for which camera (``""``: a new one), and the room that it was promised.

    ``purposes`` are those that ``consents`` allow, and ``recipients`` who may read what is sealed for them.
    """

    rule: Rule
    consents: Consents
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    camera: str
    room: Promise


class OpenBatch:
    """Log files of one camera that wait for company.

    ``asked`` notes that the gate was asked of one of them, so that what it refuses is told before the wait is over.
    """

    __slots__ = ("_members", "asked", "since_s", "size_bytes", "source")

    def __init__(self, source: Source, since_s: float) -> None:
        self.source = source
        self.since_s = since_s
        self.size_bytes = 0
        self.asked = False
        self._members: dict[str, Candidate] = {}

    @property
    def is_full(self) -> bool:
        """Whether it is worth an object by itself."""
        return self.size_bytes >= self.source.settings.batch_bytes or len(self._members) >= BATCH_FILES

    def add(self, candidate: Candidate) -> None:
        """Put a file in, in place of what the same path was before."""
        held = self._members.get(candidate.path)
        if self.source.settings.takes:  # else nobody knows yet how much of it is new
            self.size_bytes += candidate.size_bytes - (held.size_bytes if held is not None else 0)
        self._members[candidate.path] = candidate

    def work(self) -> Work:
        """Return all of it, in the order of paths."""
        return Work(self.source, tuple(self._members[path] for path in sorted(self._members)))


def is_read_by_line(candidate: Candidate) -> bool:
    """Tell whether it is a log whose lines are looked at; a camera's own recordings are what they were said to be."""
    return candidate.told is None and candidate.place.is_log


def source_tag(candidate: Candidate, *, key: bytes) -> bytes:
    """Return the keyed hash of a file's identity at its source; a file restored from a backup keeps it.

    A recording of a camera is known by the camera's key, its id there and its content.
    """
    told = candidate.told
    if told is not None:
        about = (told.identity, candidate.path, candidate.size_bytes, told.sha256)
        return hmac.digest(key, b"recording\0" + msgspec.msgpack.encode(about), "sha256")
    return identity_tag(candidate.source, candidate.path, candidate.size_bytes, candidate.mtime_ns, key=key)


def identity_tag(source: str, path: str, size_bytes: int, mtime_ns: int, *, key: bytes) -> bytes:
    """Return the keyed hash of what makes a file's identity at its source."""
    about = (source, path, size_bytes, mtime_ns)
    return hmac.digest(key, b"source\0" + msgspec.msgpack.encode(about), "sha256")


def batch_tag(tags: Sequence[bytes], *, key: bytes) -> bytes:
    """Return the identity of several files together; of one alone it is its own."""
    return tags[0] if len(tags) == 1 else hmac.digest(key, b"batch\0" + b"".join(tags), "sha256")


def content_tag(content: bytes, *, key: bytes) -> bytes:
    """Return the fingerprint that the sealing process would give to this content."""
    tag = ContentTag(key)
    tag.update(memoryview(content))
    return tag.digest()


def draft(
    work: Work,
    let: Let,
    job: SealJob,
    sealed: Sealed,
    *,
    camera: str,
    log_tags: Sequence[tuple[bytes, bytes]] = (),
    looked: tuple[int, int] = (0, 0),
    doubt_ms: int = 0,
) -> Draft:
    """Return what the vault is told; ``log_tags`` are (source tag, content tag) of each log file by itself.

    ``looked`` and ``doubt_ms`` are what is known of when lines of all these were written, as in ``Draft``.
    """
    place, settings = work.first.place, work.source.settings
    tags = log_tags or [(source_tag(work.first, key=job.tag_key), sealed.content_tag)]
    files = tuple(
        DraftFile(
            source_tag=of_source,
            content_tag=of_content,
            captured_from_ms=item.place.captured_from_ms,
            path=item.path,
        )
        for item, (of_source, of_content) in zip(work.members, tags, strict=True)
    )
    alone = len(files) == 1
    return Draft(
        id=job.object_id,
        camera=camera,
        category=place.category,
        purposes=let.purposes,
        source=settings.name,
        media_type=place.media_type,
        name=work.first.path,
        captured_from_ms=min(item.place.captured_from_ms for item in work.members),
        captured_to_ms=max(item.place.captured_to_ms for item in work.members),
        plain_bytes=sealed.plain_bytes,
        size_bytes=sealed.size_bytes,
        payload_sha256=sealed.payload_sha256,
        header_sha256=sealed.header_sha256,
        kind=job.kind,
        recipients=job.recipients,
        source_copy=settings.copy,
        medium=settings.medium,
        slot=sealed.slot,
        sealed_header=sealed.sealed_header,
        source_tag=batch_tag([of_source for of_source, _ in tags], key=job.tag_key),
        content_tag=files[0].content_tag if alone else sealed.content_tag,
        files=() if alone else files,
        source_folder=work.first.folder,
        source_sha256=work.first.told.sha256 if work.first.told is not None else b"",
        is_dated=all(item.is_dated for item in work.members),
        doubt_ms=max(doubt_ms, *(item.doubt_ms for item in work.members)),
        looked=looked,
        changed_ms=max(item.changed_ms for item in work.members) if work.is_log and settings.copy == "taken" else 0,
    )
