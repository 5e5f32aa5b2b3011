"""What may not come in again: tombstones of what was deleted, cut-offs of deletes, and marks.

A tombstone refuses one recording by its source identity or its content, a cut-off what a delete by range, camera or
all covers and turns up later, a mark what is older than many tombstones that it stands for. All are bounded. The
functions here run in the caller's transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agent import audit, former
from agent.audit import Event
from agent.clock import parse_rfc3339_ms
from agent.ids import among
from agent.index import Row, Tx
from agent.index import tombstone as rows
from agent.model import Moment, Selection

_ABOVE_ALL: Final = 2**63 - 1

TOMBSTONES_MAX: Final = 200_000
"""Above it an eighth goes (I11): first what neither a source nor a store has any more, then the oldest recordings that
sources keep copies of, which become marks, one for each camera and category of a source; then the oldest of all."""

CUTOFFS_MAX: Final = 1_024
"""Above it the oldest two, of the same camera and category if there are such, become one that covers both (I11): what
only it covers is neither taken in nor destroyed, since nobody may have deleted it."""

CHANGED_DOUBT_MS: Final = 2_000
"""FAT tells a file's last change in steps of two seconds, rounded down."""

PAGE_MAX: Final = 500
"""Tombstones that are judged in one transaction."""


class Commanded(msgspec.Struct, frozen=True):
    """The command that put a cut-off: its ``jti``, its key and its sequence number; nobody's where nothing is known."""

    jti: str = ""
    kid: str = ""
    seq: int = 0


class Forbidden(msgspec.Struct, frozen=True):
    """Why something may not be taken in: the rule under which it was deleted before.

    Not ``certain`` is a mark that many tombstones were compacted to, or a cut-off that several became: what it covers
    was deleted, or never seen; and any of the two where it is not known well enough when something was recorded, or
    where it was written on behind the delete. So a copy of it is left where it is, neither taken in nor destroyed.
    """

    rule: str
    certain: bool = True
    by: Commanded = Commanded()


class Late(msgspec.Struct, frozen=True):
    """Files that turned up after the delete that covers them: destroyed unread, or left to their source."""

    by: Commanded
    destroyed: int
    remaining: int


# -- asking


def deleted(tx: Tx, *, source_tag: bytes, content_tag: bytes) -> str | None:
    """Return the rule by which something with either tag was deleted, or ``None``; an empty tag matches nothing."""
    return rows.rule_of(tx, source_tag=source_tag, content_tag=content_tag)


def forbidden(
    tx: Tx,
    *,
    source_tag: bytes,
    content_tag: bytes,
    camera: str,
    category: str,
    captured_from_ms: int,
    captured_to_ms: int,
    source: str,
    is_dated: bool = True,
    doubt_ms: int = 0,
    changed_ms: int = 0,
    looked: tuple[int, int] = (0, 0),
) -> Forbidden | None:
    """Return why this was deleted before and must not return, or ``None``.

    ``content_tag`` may be empty when the content was not read yet; ``admit`` asks again with it. ``source_tag`` is
    given only where the source keeps its copy whatever the answer is. A hold beats a cut-off: whoever knows of
    holds judges the answer. Of what is not dated nobody knows when it was recorded, whatever its interval says: a
    delete by time may mean it or not, so that is never certain. Nor is it where the cut-off does not match all that the
    interval may be when it is off by up to ``doubt_ms``, one way or the other; nor where a log whose copy is ours to
    destroy was last changed at ``changed_ms``, and that is not surely before the delete: what was written behind it
    nobody deleted.

    What was written behind a look of ours, ``looked`` (agent time, wall clock), is of before the delete unless the look
    came behind that: clocks that are off, or apart, do not tell. And of a former owner it is not.
    """
    rule = deleted(tx, source_tag=source_tag, content_tag=content_tag)
    if rule is not None:
        return Forbidden(rule)
    if not is_dated:
        captured_from_ms, captured_to_ms, doubt_ms = 0, _ABOVE_ALL, 0
    latest_ms = changed_ms + CHANGED_DOUBT_MS if changed_ms else 0
    cutoff = rows.cutoff(
        tx,
        camera=camera,
        category=category,
        captured_from_ms=captured_from_ms,
        captured_to_ms=captured_to_ms,
        doubt_ms=doubt_ms,
        changed_ms=latest_ms,
        looked=looked,
    )
    if cutoff is not None:
        return Forbidden(cutoff[0], certain=cutoff[1] and is_dated, by=Commanded(*cutoff[2]))
    before_ms = former.before_ms(tx, source)
    if before_ms is not None and not looked[0] and captured_from_ms - doubt_ms < before_ms:
        is_before = max(captured_from_ms + doubt_ms, latest_ms) < before_ms
        return Forbidden("former_owner", certain=is_dated and is_before)
    marked = rows.marked(tx, source=source, camera=camera, category=category, captured_from_ms=captured_from_ms)
    return Forbidden("mark", certain=False) if marked else None


def count_late(tx: Tx, by: Commanded, *, destroyed: bool) -> None:
    """Count a file that a cut-off met, for its command's next supplementary receipt."""
    if by.jti:
        command = (by.jti, by.kid, by.seq)
        rows.count_late(tx, command, destroyed=int(destroyed), remaining=int(not destroyed))


def late(tx: Tx) -> tuple[Late, ...]:
    """Return what was counted and not told, by command: no more than there are cut-offs at a time."""
    return tuple(Late(Commanded(*row[:3]), *row[3:]) for row in rows.late(tx))


def late_told(tx: Tx, jti: str) -> None:
    """Count anew for a command, whose sender was told."""
    rows.drop_late(tx, jti)


def awaited_from(tx: Tx, source: str, folder: int) -> int:
    """Return the number of the newest tombstone that stays until the folder is seen without the copy, or 0.

    ``folder`` is ``Draft.source_folder`` of what is taken from the source now: another one says nothing of it.
    """
    return rows.newest_at_source(tx, source, folder)


def remembered(tx: Tx, source_tags: Iterable[bytes]) -> tuple[int, ...]:
    """Return the numbers of the tombstones of these source identities."""
    return tuple(rows.of_tags(tx, source_tags))


def note_absent(tx: Tx, source: str, folder: int, *, present: Sequence[int], after: int, upto: int) -> int | None:
    """Note, for one page of tombstones above ``after``, that the source's folder has no such copy any more.

    ``present`` are the sorted numbers of those that it has, ``upto`` the newest that was judged. Returns where the
    next page begins, or ``None``.
    """
    page = rows.at_source(tx, source, folder, after=after, upto=upto, limit=PAGE_MAX)
    rows.absent_at_source(tx, [n for n in page if not among(present, n)])
    return page[-1] if page else None


# -- writing


def write(tx: Tx, objects: Iterable[str], rule: str, *, asked: bool) -> None:
    """Write the tombstones of objects that are still there; ``asked``: somebody asked for their deletion.

    Call it behind what asks the stores for their copies.
    """
    rows.insert(tx, objects, rule, asked=int(asked))


def ask(tx: Tx, objects: Iterable[str], rule: str) -> None:
    """Note that somebody asked for the deletion of objects that retention removed, or began to, before."""
    rows.ask(tx, objects, rule)


def gone_from_source(tx: Tx, object_id: str) -> None:
    """Note that the source's copy of an object is gone, which may have been deleted meanwhile."""
    rows.gone_from_source(tx, object_id)


def gone_from_stores(tx: Tx, object_id: str) -> None:
    """Note that the stores confirmed the erasure of a deleted object, if the last of them did."""
    rows.gone_from_stores(tx, object_id)


def cut_off(
    tx: Tx, selection: Selection, *, rule: str, by: Commanded, before_ms: int, commanded_ms: int, wall_ms: int
) -> None:
    """Refuse from now on what matches, was recorded before ``before_ms`` and turns up later.

    ``commanded_ms`` is the agent time of the command, ``wall_ms`` what the wall clock said then.
    Stands in the transaction that froze the selection: what comes between the two would be in neither.
    """
    from_ms = None if selection.from_ is None else parse_rfc3339_ms(selection.from_)
    to_ms = None if selection.to is None else parse_rfc3339_ms(selection.to)
    camera, category = selection.camera or "", selection.category or ""
    values = (camera, category, from_ms, to_ms, before_ms, commanded_ms, wall_ms, rule)
    rows.put_cutoff(tx, values, command=(by.jti, by.kid, by.seq))
    _bound_cutoffs(tx)
    audit.stand(tx)


def _bound_cutoffs(tx: Tx) -> None:
    found = rows.cutoffs(tx)
    if len(found) <= CUTOFFS_MAX:
        return
    one, other = _alike(found)
    rows.merge_cutoffs(tx, one[0], other[0], _hull(one[1:], other[1:]))


def _alike(found: Sequence[Row]) -> tuple[Row, Row]:
    """Return the oldest two of the same camera and category, else the oldest two."""
    first: dict[tuple[str, str], Row] = {}
    for row in found:
        same = first.setdefault((row[1], row[2]), row)
        if same is not row:
            return same, row
    return found[0], found[1]


def _hull(one: Row, other: Row) -> tuple[str, str, int | None, int | None, int, int, int]:
    """Return (camera, category, from, to, before, commanded, wall) that covers both; "" and ``None`` match all."""
    camera, category = (mine if mine == theirs else "" for mine, theirs in zip(one[:2], other[:2], strict=True))
    from_ms = None if None in {one[2], other[2]} else min(one[2], other[2])
    to_ms = None if None in {one[3], other[3]} else max(one[3], other[3])
    before_ms, commanded_ms, wall_ms = map(max, one[4:], other[4:])
    return camera, category, from_ms, to_ms, before_ms, commanded_ms, wall_ms


def bound(tx: Tx, moment: Moment) -> None:
    """Let tombstones go until there are no more than ``TOMBSTONES_MAX``."""
    over = rows.count(tx) - TOMBSTONES_MAX
    if over <= 0:
        return
    settled = rows.settled(tx, max(over, TOMBSTONES_MAX // 8))
    rows.drop(tx, settled)
    over -= len(settled)
    if over <= 0:
        return
    left = rows.left(tx, max(over, TOMBSTONES_MAX // 8))
    # The last of each set is its newest.
    for (source, camera, category), captured_from_ms in {row[1:4]: row[4] for row in left}.items():
        # Never ahead of now: what is recorded from here on was deleted by nobody, whatever the camera's clock said.
        assert camera, "what a source keeps has a camera"  # noqa: S101 - ingest gives it one
        before_ms = min(captured_from_ms + 1, moment.agent_ms)
        if rows.raise_mark(tx, source, camera, category, before_ms=before_ms):
            detail: dict[str, str | int] = {"camera": camera, "category": category, "before": before_ms}
            audit.append(tx, Event(kind="mark_moved", detail=detail), moment=moment)
    rows.drop(tx, [row[0] for row in left])
    over -= len(left)
    if over > 0:
        rows.drop(tx, rows.oldest(tx, over))
