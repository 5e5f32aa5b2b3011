"""How far each usage log was taken that may go on, or come back: no line of it is read a second time (I3).

A bookmark is written in the transaction that makes what was read an object (ingest step 4). It knows its log by keyed
hashes: of the file, of its path, of the first line and of the end of what was taken. A log **goes on** where a bookmark
ends if it begins with that line and has that end there, and is

- the same file, whatever it is called now (a rotation renamed it), or
- at the same path, or at one that a rotation makes of that path, or the other way round (it was copied), or
- anywhere in its source, if more than ``WINDOW_BYTES`` of it were taken: what is alike to the byte for so long, at the
  same place behind the same first line, is a copy, whatever it is called.

Anything else is another log, and begins at its own beginning. Where a file holds another log than before (it was cut
after it was copied), the bookmark before stays too: the copy may be yet to come. Of one that is cut again and again
there stay those of its last ``LONG_OF_ONE_FILE`` logs that are known anywhere.

A log that **lost its end** (power failed before its last lines were on the medium, an older copy was put back) goes on
behind the last earlier line that is still there as it was. For that a bookmark knows the ends of the last
``LAST_LINES`` lines, and of older ones of ``EARLIER_ENDS``, ever further apart. The end of the first line alone says
nothing: many logs begin alike.

A file may be a copy that is still being written, so what it is a copy of is looked for at each look. Only to a log that
was **begun here**, from its first line on and when nothing that was known went on there, all that was looked at earlier
is another log, if they are alike for no more than ``WINDOW_BYTES``: a camera without a clock writes the same at each
start.

In a folder that is **ours to empty** a log is removed once it was taken. It has a bookmark all the same: it may be
written to before it is removed, and may be copied there again, longer. But there a short log is commonly followed by
another one of its name which begins as it did, since many lines tell no time. So what is alike for no more than
``WINDOW_BYTES`` to one that is gone from there is another log, as long as the vault holds all of that one, for then
none of it was deleted; and so is what is alike at another path, however long it is. What the vault holds damaged is
taken anew. Of these bookmarks the newest ``EMPTIED_MAX`` stay, whatever is found there.

Of the others a bookmark is forgotten when two looks over its whole folder, a day apart, found neither its file nor its
path; and one whose path has another file since, when they did not find its file. Of ``BOOKMARKS_MAX`` none is forgotten
for another: then no further log is taken (I11). A delete leaves them all, for the lines that it deleted are still at
the source. The key is the keystore's: without it none of them says anything.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from agent.ids import among
from agent.index import Row, Tx
from agent.index import bookmark as rows
from agent.model import Moment

BOOKMARKS_MAX: Final = 100_000
"""Files of logs that are at their sources: one an hour for ten cameras, for more than a year."""

EMPTIED_MAX: Final = 10_000
"""Logs of folders that are ours to empty: one an hour for ten cameras, for six weeks. Each is two kilobytes at most."""

RELATED_MAX: Final = 256
"""Bookmarks that are tried on one file, the longest first: more than a rotation commonly keeps of one log. Where there
are more, those of the file itself are among them, and of its path before others."""

OF_ONE_FILE: Final = 2
"""What it is now, and what it was before it was cut."""

LONG_OF_ONE_FILE: Final = 32
"""Of what it was before, where more than ``WINDOW_BYTES`` were taken: a month of daily cuts, and more copies than
logrotate(8) is commonly told to keep."""

OBJECTS_MAX: Final = 64
"""That hold one log, each what its writer added while the one before was sealed: of more nobody knows whether all are
held."""

PAGE_MAX: Final = 500

WINDOW_BYTES: Final = 4096
"""Of the first line and of the end of what was taken, which a log is known by."""

LAST_LINES: Final = 64
EARLIER_ENDS: Final = 64

_TAG_BYTES: Final = 16
_MARK_BYTES: Final = 16
_POSITION_BYTES: Final = 6


class Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a log; lines behind ``taken_bytes`` were complete no earlier than ``since_ms`` (agent time, Unix).

    ``looked_ms`` and ``wall_ms`` are agent time and wall clock of the look behind which they were written, 0 where only
    the file tells since when. ``look`` is the file's identity when nothing was left to take of it, else empty.
    ``begun_here`` says that the log was taken from its first line on in this very file, and not known before.
    ``emptied`` is one of a folder that was ours to empty. Then ``objects`` is how many hold what was taken, 0 where
    nobody knows: the one that it is kept with, and those of the bookmark ``behind`` which it was read. Of these
    ``held`` are held now, the source's copies of ``gone`` are gone, ``damaged`` are not whole, and ``object`` is one.
    ``n`` is 0 until it is kept.
    """

    source: str
    folder: int
    file_tag: bytes
    path_tag: bytes
    base_tag: bytes
    head_tag: bytes
    end_tag: bytes
    look_tag: bytes
    taken_bytes: int
    since_ms: int
    marks: bytes = b""
    looked_ms: int = 0
    wall_ms: int = 0
    begun_here: bool = False
    emptied: bool = False
    objects: int = 0
    behind: int = 0
    held: int = 0
    gone: int = 0
    damaged: int = 0
    object: str = ""
    n: int = 0

    @property
    def is_held(self) -> bool:
        """Whether the vault holds all that was taken, and knows so."""
        return 0 < self.objects == self.held

    @property
    def is_gone(self) -> bool:
        """Whether that is so, and nothing of it is at the source any more."""
        return 0 < self.objects == self.gone


def earlier_ends(marks: bytes) -> Iterator[tuple[int, bytes]]:
    """Return (position, beginning of its ``end_tag``) of the ends of earlier lines, the last first."""
    for at in range(len(marks) - _MARK_BYTES, -1, -_MARK_BYTES):
        mark = marks[at : at + _MARK_BYTES]
        yield int.from_bytes(mark[:_POSITION_BYTES]), mark[_POSITION_BYTES:]


def put_back(one: Bookmark, *, above_bytes: int, upto_bytes: int, end_tag: Callable[[int], bytes]) -> Bookmark | None:
    """Return a bookmark behind the last earlier line that ends above the one size, within the other, and still there.

    ``None`` if there is none. ``end_tag`` makes the tag of what ends at a position now. The bookmark that it was made
    of stays: what was lost may be put back, and so this one says of no log that it was begun here.
    """
    for gone, (at, beginning) in enumerate(earlier_ends(one.marks)):
        if at <= above_bytes:
            return None
        if at <= upto_bytes and (end := end_tag(at)).startswith(beginning):
            marks = one.marks[: len(one.marks) - gone * _MARK_BYTES]
            return msgspec.structs.replace(
                one, taken_bytes=at, end_tag=end, marks=marks, begun_here=False, behind=one.n, n=0
            )
    return None


def with_ends(marks: bytes, ends: Iterable[tuple[int, bytes]]) -> bytes:
    """Return ``marks`` and the ends (position, ``end_tag``) behind them; of too many every other older one goes."""
    marks += b"".join((at.to_bytes(_POSITION_BYTES) + end)[:_MARK_BYTES] for at, end in ends)
    each = [marks[at : at + _MARK_BYTES] for at in range(0, len(marks), _MARK_BYTES)]
    while len(each) > LAST_LINES + EARLIER_ENDS:
        each[:-LAST_LINES] = each[:-LAST_LINES][::2]
    return b"".join(each)


def tag(word: str, about: tuple[str | int | bytes, ...], *, key: bytes) -> bytes:
    """Return the keyed hash of something about a log; ``word`` says what."""
    return hmac.digest(key, b"bookmark\0" + msgspec.msgpack.encode((word, *about)), "sha256")[:_TAG_BYTES]


def looked_at(tx: Tx, look_tag: bytes) -> bool | None:
    """Tell whether nothing was left to take of the file when it looked like this; ``None`` where nobody looked.

    A look in front of a delete does not count: what is written to the file from now on came behind that, and only
    another look says so.
    """
    return rows.looked_at(tx, look_tag)


def related(tx: Tx, *, path_tag: bytes, base_tag: bytes, file_tag: bytes) -> tuple[Bookmark, ...]:
    """Return those that may end in this file, the longest first; which of them does, its content says."""
    return _longest_first(rows.related(tx, path_tag=path_tag, base_tag=base_tag, file_tag=file_tag, limit=RELATED_MAX))


def beginning(tx: Tx, head_tag: bytes, *, size_bytes: int) -> tuple[Bookmark, ...]:
    """Return those that may end in a file of any name and of this size that begins with this line, the longest first.

    Where too many begin alike, those of about its size are among them, shorter ones and longer ones.
    """
    found = rows.beginning(tx, head_tag, above_bytes=WINDOW_BYTES, size_bytes=size_bytes, limit=RELATED_MAX)
    return _longest_first(found)


def _longest_first(found: Iterable[Row]) -> tuple[Bookmark, ...]:
    names = (*rows.COLUMNS, *rows.HOLDING)
    bookmarks = (Bookmark(n=row[0], **dict(zip(names, row[1:], strict=True))) for row in found)
    return tuple(sorted(bookmarks, key=lambda one: (one.taken_bytes, one.n), reverse=True))


def is_full(tx: Tx) -> bool:
    """Tell whether there is no room for another log."""
    return rows.at_least(tx, BOOKMARKS_MAX)


def keep(tx: Tx, bookmark: Bookmark, *, object_id: str = "") -> None:
    """Write a bookmark, in place of the one that it was made of (``n``) if that is of the same file.

    ``object_id`` is the object that was made of what was read. Call ``bound`` behind the last in a transaction.
    """
    values: dict[str, Any] = msgspec.structs.asdict(bookmark)
    rows.insert(tx, values)
    if bookmark.objects:
        rows.name_objects(tx, object_id, those_of=bookmark.behind)
    if bookmark.n:
        rows.drop(tx, bookmark.n)
    if not bookmark.emptied:  # where logs are removed, one file after the other has the same inode
        rows.drop_older(tx, bookmark.file_tag, keep=OF_ONE_FILE, above_bytes=WINDOW_BYTES, keep_above=LONG_OF_ONE_FILE)


def bound(tx: Tx) -> None:
    """Let the oldest go of those in folders that are ours to empty, until there are no more than ``EMPTIED_MAX``."""
    rows.drop_oldest_emptied(tx, keep=EMPTIED_MAX)


def no_earlier(tx: Tx, asked_ms: int, *, moment: Moment) -> int:
    """Return ``asked_ms`` (agent time), or a time behind all looks where these seem to be ahead of now.

    A power cut may put agent time back to its floor: what was asked since came behind those looks all the same.
    """
    last = rows.last_look(tx)
    return asked_ms if last <= (moment.agent_ms, moment.wall_ms) else last[0] + 1


# -- what sources have no more


def newest(tx: Tx, source: str, folder: int) -> int:
    """Return the number of the newest bookmark of what stays in a source's folder, or 0."""
    return rows.newest(tx, source, folder)


def number(found: bytes) -> int:
    """Return what stands for a tag among many: eight bytes of it."""
    return int.from_bytes(found[:8], "big")


def note_absent(
    tx: Tx, source: str, folder: int, *, files: Sequence[int], paths: Sequence[int], after: int, upto: int
) -> int | None:
    """Judge one page of bookmarks above ``after`` by the sorted numbers of what the whole folder has.

    Those above ``upto`` are younger than the look. Returns where the next page begins, or ``None``.
    """
    page = rows.page(tx, source, folder, after=after, upto=upto, limit=PAGE_MAX)
    for n, file_tag, path_tag, missed, superseded in page:
        there = among(files, number(file_tag)) or (among(paths, number(path_tag)) and not superseded)
        if there and missed:
            rows.set_missed(tx, n, missed=0)
        elif not there and missed:
            rows.drop(tx, n)
        elif not there:
            rows.set_missed(tx, n, missed=1)
    return int(page[-1][0]) if page else None
