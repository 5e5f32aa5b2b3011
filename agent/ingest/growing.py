"""A usage log is read: of one that stays at its source what was not taken yet, up to its last whole line.

Rules: the log is known again by its bookmarks (``agent/bookmark.py``), and nothing in front of where it was left is
taken again, ever. A line is whole when its end is written, or when it is a JSON object already; half a line waits for
the rest of it. So it does not matter whether somebody has the log open for writing. What is behind a bookmark was
written since the log was last read: that, and not the log's name, is when it was captured. A log without a bookmark was
captured when its name says, or when it was last changed, but its lines may be as old as its file (``_lines_from``).

Of a log no more than ``PIECE_BYTES`` and ``LINES_MAX`` lines are read at once, and the rest after it. A line that is
longer than a piece is bad and cut. A log that is ours to give up is read to its end, and only once it is closed; also
of that nothing that was taken before: while it was left alone, while its writer went on, or from another copy of it.
"""

import hmac
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from agent.bookmark import EARLIER_ENDS, LAST_LINES, OBJECTS_MAX, WINDOW_BYTES, Bookmark, put_back, tag, with_ends
from agent.errors import CorruptError, LinkError
from agent.files import born_ms
from agent.ingest.work import content_tag, source_tag
from agent.model import Moment
from agent.sealer.digest import ContentTag
from agent.sources import Candidate
from agent.sources.candidate import IncompleteError
from agent.sources.root import Root
from agent.sources.rotation import is_only_rotated, unrotated
from agent.sources.usage_log import FILE_MAX_BYTES, LINES_MAX, Lines, bad_lines, is_object
from agent.timeline import ahead_ms

PIECE_BYTES: Final = 4 << 20
BLOCK_BYTES: Final = 1 << 20
"""Of a log that is read whole, at once."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What of a log is to be taken, and the bookmark behind it.

    ``candidate`` is the file as it was read, captured when the piece was. Where there is nothing to take it has no
    tags, and a bookmark only if that changed. ``goes_on`` says that it goes on behind a bookmark, and ``lines_from_ms``
    how old its lines may be, 0 where nobody knows. Where they were written behind a look of ours, ``looked`` is when
    that was (agent time, wall clock), else (0, 0), and ``doubt_ms`` by how much the times of the piece may be off.
    ``more`` says that the log goes on behind it, ``finished`` that all of a log that is ours to give up was taken
    before: then ``object`` is what holds all of it, if one does, and ``content_tag`` its fingerprint.
    """

    candidate: Candidate
    bad_lines: int = 0
    source_tag: bytes = b""
    content_tag: bytes = b""
    bookmark: Bookmark | None = None
    goes_on: bool = False
    lines_from_ms: int = 0
    looked: tuple[int, int] = (0, 0)
    doubt_ms: int = 0
    more: bool = False
    finished: bool = False
    object: str = ""

    @property
    def passed(self) -> Bookmark | None:
        """The bookmark behind it when it is not taken: what comes behind it in the same look is as old.

        What is ours to give up has none: it would be destroyed as taken.
        """
        if self.bookmark is not None and self.bookmark.emptied:
            return None
        if self.bookmark is None or not self.more:
            return self.bookmark
        return msgspec.structs.replace(self.bookmark, since_ms=self.lines_from_ms)


class Age(msgspec.Struct, frozen=True):
    """Since when lines may have been written; fields as in ``Piece``."""

    lines_from_ms: int
    looked: tuple[int, int] = (0, 0)
    doubt_ms: int = 0


Beginning = Callable[[bytes, int], Sequence[Bookmark]]
"""Returns by the tag of a first line, and a file's size, the bookmarks of logs that begin so, whatever their names."""

Sink = Callable[[bytes], None]
"""Gets what is to be taken, in order and with a line end behind the last line, so that another log may follow."""


def related_tags(candidate: Candidate, *, key: bytes) -> dict[str, bytes]:
    """Return by what a file may be known again: ``file_tag``, ``path_tag`` and ``base_tag``."""
    source = candidate.source
    return {
        "file_tag": file_tag(source, candidate.inode, key=key),
        "path_tag": path_tag(source, candidate.path, key=key),
        "base_tag": path_tag(source, unrotated(candidate.path), key=key),
    }


def file_tag(source: str, inode: int, *, key: bytes) -> bytes:
    """Return what stands for a file, whatever its path is."""
    return tag("file", (source, inode), key=key)


def path_tag(source: str, path: str, *, key: bytes) -> bytes:
    """Return what stands for a path beneath a source's folder."""
    return tag("path", (source, path), key=key)


def look_tag(candidate: Candidate, *, key: bytes) -> bytes:
    """Return what stands for a file as it looks from outside: nothing is read of one that looks as it did."""
    about = (candidate.source, candidate.path, candidate.size_bytes, candidate.mtime_ns)
    return tag("look", about, key=key)


def read_piece(
    root: Root,
    candidate: Candidate,
    known: Sequence[Bookmark],
    *,
    grows: bool,
    beginning: Beginning,
    sink: Sink,
    now: Moment,
    key: bytes,
) -> Piece:
    """Read what comes next of a log that ``grows`` where it stays, or all that is left of one that is ours to give up.

    ``known`` are the bookmarks that may be its, the longest first. Where none of these is, one of those ``beginning``
    alike may be.

    Raises ``IncompleteError`` when the file is another by now or was changed while it was read, ``CorruptError`` when
    what is there is no log.
    """
    fd = root.open_log(candidate) if grows else root.open_file(candidate)
    try:
        reading = _Reading(fd, candidate, now, key, sink)
        return (reading.next_piece if grows else reading.last_piece)(known, beginning)
    except OSError as error:
        raise LinkError(f"the source cannot be read: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(fd)


class _Reading:
    """One look into an open log."""

    def __init__(self, fd: int, offered: Candidate, moment: Moment, key: bytes, sink: Sink) -> None:
        status = os.fstat(fd)
        self._sink = sink
        self._moment = moment
        self._fd = fd
        self._key = key
        self._offered = offered
        self._now = msgspec.structs.replace(offered, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
        self._head = tag("head", (offered.source, _first_line(self._read(0, WINDOW_BYTES))), key=key)

    def next_piece(self, known: Sequence[Bookmark], beginning: Beginning) -> Piece:
        known, beginning = self._apart(known, beginning)
        if self._fitting(known) is None:
            self._require_rest(known)
        own = self._own(known)
        begun = self._begun(known, beginning, own=own)
        if begun is None and is_only_rotated(self._now.path):
            return Piece(candidate=self._now)
        start = 0 if begun is None else begun.taken_bytes
        wanted = min(PIECE_BYTES, self._now.size_bytes - start)
        before = self._window(start)
        read = self._read(start, wanted)
        if len(read) < wanted or self._window(start) != before:
            raise IncompleteError("the file was cut while it was read", hint="it is tried again")
        raw = read[: _whole(read)]
        more = start + len(read) < self._now.size_bytes or b"\n" in read[len(raw) :]
        return self._piece(raw, begun, own, before=before, more=more, age=self._age(begun, known))

    def last_piece(self, known: Sequence[Bookmark], beginning: Beginning) -> Piece:
        known, beginning = self._apart(known, beginning)
        own = self._own(known)
        begun = self._begun(known, beginning, own=own)
        start = upto = 0 if begun is None else begun.taken_bytes
        if self._now.size_bytes - start > FILE_MAX_BYTES:
            raise CorruptError(f"a usage log of more than {FILE_MAX_BYTES} bytes")
        lines, content, part, blank = Lines(), ContentTag(self._key), b"\n", True
        marks = b"" if begun is None else begun.marks
        while upto < self._now.size_bytes and (part := self._read(upto, min(BLOCK_BYTES, self._now.size_bytes - upto))):
            marks = with_ends(marks, self._ends(upto, part, before=self._window(upto)))
            upto += len(part)
            blank = blank and not part.strip()
            self._take(part, lines, content)
        end_tag = self._end_tag_at(upto)
        status = os.fstat(self._fd)
        if upto != self._now.size_bytes or (status.st_size, status.st_mtime_ns) != (upto, self._offered.mtime_ns):
            raise IncompleteError(
                "the file changed while it was read", hint="it is tried again once its writer is done"
            )
        if begun is not None and blank:
            of_whole = self._content() if begun.emptied else b""
            of_one = begun.object if begun.is_held and begun.objects == 1 else ""
            return Piece(candidate=self._now, content_tag=of_whole, finished=True, object=of_one)
        if not part.endswith(b"\n"):
            self._take(b"\n", lines, content)
        # Where logs are removed the next one is another file: that tells how old its lines are, not the look before.
        since = None if begun is not None and begun.emptied else begun
        now = self._captured(since)
        of_source, of_content = self._tags(now, start, content.digest())
        age = self._age(since, known)
        bookmark = self._bookmark(
            begun,
            own,
            now,
            upto,
            end_tag=end_tag,
            marks=marks,
            more=False,
            looked=(self._moment.agent_ms, self._moment.wall_ms),
        )
        return Piece(
            candidate=now,
            bad_lines=lines.bad(of_known_log=begun is not None),
            source_tag=of_source,
            content_tag=of_content,
            bookmark=None if blank else _emptied(bookmark, begun),
            goes_on=since is not None,
            lines_from_ms=age.lines_from_ms or now.place.captured_from_ms,
            looked=age.looked,
            doubt_ms=age.doubt_ms,
        )

    def _apart(self, known: Sequence[Bookmark], beginning: Beginning) -> tuple[list[Bookmark], Beginning]:
        """Return apart those that are gone from a folder that is ours to empty, and held: short, all logs are alike.

        They are asked with what begins alike anywhere, where this is alike for long enough. Of what two cameras say
        alike, what is held of one is no reason to remove the other's. What is held damaged is in neither, since its
        lines may be nowhere else.
        """
        here = path_tag(self._offered.source, self._offered.path, key=self._key)
        whole = [one for one in known if not one.damaged]
        gone = [
            one
            for one in whole
            if one.is_held and (one.is_gone or (one.path_tag == here and self._is_another_file(one)))
        ]

        def alike(head: bytes, size_bytes: int) -> list[Bookmark]:
            return [*gone, *(one for one in beginning(head, size_bytes) if not one.is_held and not one.damaged)]

        return [one for one in whole if one not in gone], alike

    def _is_another_file(self, one: Bookmark) -> bool:
        """Tell whether a bookmark is of another file, also where that had the same inode until it was removed."""
        if one.file_tag != file_tag(self._offered.source, self._offered.inode, key=self._key):
            return True
        made_ms = born_ms(self._fd)
        return made_ms is not None and 0 < one.wall_ms < made_ms

    def _content(self) -> bytes:
        """Return the fingerprint of the whole log, as if it were read for the first time."""
        content, upto, part = ContentTag(self._key), 0, b""
        while part := self._read(upto, BLOCK_BYTES):
            content.update(memoryview(part))
            upto += len(part)
        if upto and self._read(upto - 1, 1) != b"\n":
            content.update(memoryview(b"\n"))
        return content.digest()

    def _take(self, part: bytes, lines: Lines, content: ContentTag) -> None:
        lines.add(part)
        content.update(memoryview(part))
        self._sink(part)

    def _tags(self, now: Candidate, start: int, of_content: bytes, *, more: bool = False) -> tuple[bytes, bytes]:
        of_source = source_tag(now, key=self._key)
        if start or more:
            of_source = self._at(start, of_source, of_content)
        # What goes on is new, also where a deleted object said the same.
        return of_source, self._at(start, of_source) if start else of_content

    def _piece(
        self, raw: bytes, begun: Bookmark | None, own: Bookmark | None, *, before: bytes, more: bool, age: Age
    ) -> Piece:
        now = self._captured(begun)
        start = 0 if begun is None else begun.taken_bytes
        looked = age.looked if more else (self._moment.agent_ms, self._moment.wall_ms)
        bookmark = self._bookmark(
            begun,
            own,
            now,
            start + len(raw),
            end_tag=self._end_tag(start + len(raw), (before + raw)[-WINDOW_BYTES:]),
            marks=with_ends(b"" if begun is None else begun.marks, self._ends(start, raw, before=before)),
            more=more,
            looked=looked,
        )
        if not raw.strip():
            nothing_new = bookmark == begun or not bookmark.taken_bytes
            return Piece(candidate=now, bookmark=None if nothing_new else bookmark, more=more)
        content = raw if raw.endswith(b"\n") else raw + b"\n"
        of_source, of_content = self._tags(now, start, content_tag(content, key=self._key), more=more)
        bad = bad_lines(content, of_known_log=begun is not None)
        self._sink(content)
        return Piece(
            candidate=now,
            bad_lines=bad,
            source_tag=of_source,
            content_tag=of_content,
            bookmark=bookmark,
            goes_on=begun is not None,
            lines_from_ms=age.lines_from_ms,
            looked=age.looked,
            doubt_ms=age.doubt_ms,
            more=more,
        )

    def _age(self, begun: Bookmark | None, known: Sequence[Bookmark]) -> Age:
        """Return since when what is read may have been written; 0 where nobody knows.

        In a file that holds another log than before it was written since that was read.
        """
        if begun is not None:
            return self._behind([begun], begun.since_ms)
        place, tags = self._offered.place, related_tags(self._offered, key=self._key)
        if place.is_told:
            return Age(place.captured_from_ms)
        made_ms = born_ms(self._fd)
        known = [one for one in known if not one.emptied]  # an inode has one file after the other there
        before = [one for one in known if one.file_tag == tags["file_tag"]]
        before += [one for one in known if made_ms is None and one.path_tag == tags["path_tag"]]
        from_ms = max([made_ms or 0, *(one.since_ms for one in before)])
        return self._behind(before, min(from_ms, place.captured_from_ms))

    def _behind(self, before: Sequence[Bookmark], lines_from_ms: int) -> Age:
        """Return the age of what was written behind all these: the last look counts.

        Its times are off where agent time was ahead of the wall clock, by which others date, then or is now.
        """
        looked_ms, wall_ms = max(((one.looked_ms, one.wall_ms) for one in before), default=(0, 0))
        if not looked_ms:
            return Age(lines_from_ms)
        then = Moment(agent_ms=looked_ms, wall_ms=wall_ms, trusted=False)
        return Age(lines_from_ms, (looked_ms, wall_ms), max(ahead_ms(then), ahead_ms(self._moment)))

    def _captured(self, begun: Bookmark | None) -> Candidate:
        if begun is None:
            return self._now
        # A last change in front of the look is by a clock that says nothing: then it was written before now.
        changed_ms = self._now.changed_ms
        to_ms = max(changed_ms if changed_ms >= begun.since_ms else self._moment.agent_ms, begun.since_ms + 1)
        place = msgspec.structs.replace(self._now.place, captured_from_ms=begun.since_ms, captured_to_ms=to_ms)
        return msgspec.structs.replace(self._now, place=place)

    def _bookmark(
        self,
        begun: Bookmark | None,
        own: Bookmark | None,
        now: Candidate,
        upto: int,
        *,
        end_tag: bytes,
        marks: bytes,
        more: bool,
        looked: tuple[int, int],
    ) -> Bookmark:
        tags: dict[str, Any] = related_tags(now, key=self._key)
        same_file = begun is not None and begun.file_tag == tags["file_tag"]
        return Bookmark(
            source=now.source,
            folder=now.folder,
            **tags,
            head_tag=self._head,
            end_tag=end_tag,
            look_tag=b"" if more else look_tag(now, key=self._key),
            taken_bytes=upto,
            since_ms=now.place.captured_from_ms if more else self._moment.agent_ms,
            looked_ms=looked[0],
            wall_ms=looked[1],
            marks=marks,
            begun_here=begun is None or (same_file and begun.begun_here),
            n=(begun.n if begun is not None and same_file else 0) or (own.n if own is not None else 0),
        )

    def _begun(self, known: Sequence[Bookmark], beginning: Beginning, *, own: Bookmark | None) -> Bookmark | None:
        """Return the bookmark that it goes on from: of the log of which most is there.

        A log that was begun in this very file is no copy of what was looked at before that, until they are alike for
        too long. Of any other the rest may be on its way, also where it has a bookmark of its own by now. What comes
        behind an older bookmark of this file was written since its newest; of another file nobody knows.
        """
        since = known
        if own is not None and own.begun_here:
            since = [one for one in known if (one.since_ms, one.n) >= (own.since_ms, own.n)]
        begun = self._furthest(since)
        if begun is None or (own is not None and not (own.begun_here and own.taken_bytes > WINDOW_BYTES)):
            above_bytes = WINDOW_BYTES if begun is None else max(WINDOW_BYTES, begun.taken_bytes)
            begun = self._copied(known, beginning, above_bytes=above_bytes) or begun
        if begun is None or own is None or own.file_tag != begun.file_tag or own.since_ms <= begun.since_ms:
            return begun
        return msgspec.structs.replace(begun, since_ms=own.since_ms, looked_ms=own.looked_ms, wall_ms=own.wall_ms)

    def _own(self, known: Sequence[Bookmark]) -> Bookmark | None:
        """Return the newest bookmark of this very file that still fits."""
        mine = file_tag(self._now.source, self._now.inode, key=self._key)
        own = (one for one in known if one.file_tag == mine and self._fits(one))
        return max(own, key=lambda one: (one.since_ms, one.n), default=None)

    def _fitting(self, known: Sequence[Bookmark]) -> Bookmark | None:
        return next(filter(self._fits, known), None)

    def _fits(self, one: Bookmark) -> bool:
        is_there = one.head_tag == self._head and one.taken_bytes <= self._now.size_bytes
        return is_there and one.end_tag == self._end_tag_at(one.taken_bytes)

    def _ends(self, start: int, raw: bytes, *, before: bytes) -> list[tuple[int, bytes]]:
        """Return the ends of a piece's last lines, and of earlier ones evenly, but that of the log's first line."""
        whole, last, end = before + raw, list[int](), len(raw)
        while len(last) < LAST_LINES and (end := raw.rfind(b"\n", 0, end)) >= 0:
            last.append(end + 1)
        step = last[-1] / EARLIER_ENDS if len(last) == LAST_LINES else 0
        earlier = {raw.rfind(b"\n", 0, int(number * step)) + 1 for number in range(1, EARLIER_ENDS)}
        nothing = {0} if start else {0, raw.find(b"\n", 0, WINDOW_BYTES) + 1}
        ends = sorted({*last, *earlier} - nothing)
        windows = (whole[max(0, len(before) + at - WINDOW_BYTES) : len(before) + at] for at in ends)
        return [(start + at, self._end_tag(start + at, window)) for at, window in zip(ends, windows, strict=True)]

    def _furthest(self, known: Sequence[Bookmark]) -> Bookmark | None:
        """Return the bookmark of the log of which most is there: one that fits, or a longer one that lost its end.

        A log that begins as another one ended has both: what fits is the other's, and what is behind that was taken.
        """
        whole = self._fitting(known)
        return self._cut_back(known, above_bytes=0 if whole is None else whole.taken_bytes) or whole

    def _cut_back(self, known: Sequence[Bookmark], *, above_bytes: int) -> Bookmark | None:
        """Return the bookmark of a log that lost its end, put back to behind the last line that is there as it was.

        ``None`` where that is not above ``above_bytes``. Of several it is the one of which most is there, and the
        newest: what begins alike each day, in a file that is cut each day, was not written since an older one of them
        was read.
        """
        alike = (one for one in known if one.head_tag == self._head)
        back = partial(put_back, above_bytes=above_bytes, upto_bytes=self._now.size_bytes, end_tag=self._end_tag_at)
        return max(filter(None, map(back, alike)), key=lambda one: (one.taken_bytes, one.since_ms), default=None)

    def _copied(self, known: Sequence[Bookmark], beginning: Beginning, *, above_bytes: int) -> Bookmark | None:
        """Return the bookmark of a log that this is a copy of, whole or cut, also under a name that tells nothing.

        ``None`` where that is not above ``above_bytes``: many logs begin alike, so little of one proves nothing.
        """
        if self._now.size_bytes <= above_bytes:
            return None
        copied = self._furthest([*known, *beginning(self._head, self._now.size_bytes)])
        return copied if copied is not None and copied.taken_bytes > above_bytes else None

    def _require_rest(self, known: Sequence[Bookmark]) -> None:
        """Raise ``IncompleteError`` while it may be a known log that is being copied or written anew.

        That begins alike and is shorter. It is another one if it rested so since it was noticed.
        """
        shorter = any(one.head_tag == self._head and one.taken_bytes > self._now.size_bytes for one in known)
        if shorter and self._now != self._offered:
            raise IncompleteError("the log is being written anew", hint="it is tried again")

    def _window(self, end: int) -> bytes:
        start = max(0, end - WINDOW_BYTES)
        return self._read(start, end - start)

    def _read(self, start: int, count: int) -> bytes:
        parts = []
        while count > 0 and (part := os.pread(self._fd, count, start)):
            parts.append(part)
            start += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end_tag(self, length: int, window: bytes) -> bytes:
        return tag("end", (self._now.source, length, window), key=self._key)

    def _end_tag_at(self, end: int) -> bytes:
        return self._end_tag(end, self._window(end))

    def _at(self, start: int, *tags: bytes) -> bytes:
        return hmac.digest(self._key, b"part\0" + msgspec.msgpack.encode((start, *tags)), "sha256")


def _emptied(bookmark: Bookmark, begun: Bookmark | None) -> Bookmark:
    """Return it as one of a folder that is ours to empty, with the objects of the one that it was begun behind."""
    objects, behind = 1, 0
    if begun is not None:
        behind = begun.n or begun.behind
        objects = begun.objects + 1 if 0 < begun.objects < OBJECTS_MAX else 0
    return msgspec.structs.replace(bookmark, emptied=True, objects=objects, behind=behind)


def _first_line(beginning: bytes) -> bytes:
    return beginning.partition(b"\n")[0].rstrip()


def _whole(raw: bytes) -> int:
    """Return how much of it is whole lines; a line longer than a piece is cut."""
    end = raw.rfind(b"\n") + 1
    if is_object(raw[end:]):
        end = len(raw)
    if not end and len(raw) >= PIECE_BYTES:
        end = len(raw)
    found = -1
    for _ in range(LINES_MAX):
        found = raw.find(b"\n", found + 1)
        if found < 0:
            return end
    return found + 1
