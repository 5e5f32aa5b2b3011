"""What the owner corrected (verb ``rectify``), and which stores have yet to state that they keep it.

Rules: of a camera or an object there is one statement, of all that was ever corrected of it, so a store that keeps the
newest knows everything; a copy that is made later of what arrived before is due as well; a copy that goes is due no
more. A command is answered when no store of the key set has a copy of its target that is due; it says what those stores
said, and claims no word that was not given.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from agent.index import Tx
from agent.index import rectification as rows
from agent.model import Moment, Outcome

About = Literal["camera", "object"]

OVER_AT_ONCE: Final = 64
"""Commands that one transaction answers."""


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a camera or an object by the owner's word; ``number`` rises with each correction of it."""

    target: str
    about: About
    number: int
    at_ms: int
    name: str | None = None
    location: str | None = None


class DueCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy at a store that is to be corrected; ``recipients`` none where it is not known to whom it is sealed."""

    target: str
    upload: str
    object: str
    manifest: str
    recipients: tuple[str, ...]


class _Fields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str | None = None
    location: str | None = None


def stated(tx: Tx, target: str) -> Stated | None:
    """Return what was corrected of a camera or an object; ``None`` for nothing."""
    found = rows.correction(tx, target)
    if found is None:
        return None
    about, number, fields, at_ms = found
    told = msgspec.json.decode(fields, type=_Fields)
    return Stated(target=target, about=about, number=number, at_ms=at_ms, name=told.name, location=told.location)


def location(tx: Tx, camera: str) -> str:
    """Return where a camera is by its owner's word; "" where nobody said so."""
    told = stated(tx, camera)
    return "" if told is None or told.location is None else told.location


def correct(
    tx: Tx,
    target: str,
    *,
    about: About,
    name: str | None,
    location: str | None,  # noqa: A002,RUF100 - the word of the protocol
    command: str,
    moment: Moment,
) -> int:
    """State what is true from now on; return how many copies at stores are due, for which ``command`` then waits."""
    before = stated(tx, target)
    told = _Fields() if before is None else _Fields(name=before.name, location=before.location)
    told = _Fields(name=told.name if name is None else name, location=told.location if location is None else location)
    fields = msgspec.json.encode(told).decode()
    number = 1 if before is None else before.number + 1
    rows.put(tx, target, about=about, n=number, fields=fields, at_ms=moment.agent_ms)
    due = rows.make_due(tx, target, about=about)
    if due:
        rows.wait(tx, command, target=target)
    return due


FIRST: Final = ("", "")
"""Where the copies of a store begin."""


def due_at(
    tx: Tx, store: str, *, limit: int, since: tuple[str, str] = FIRST
) -> tuple[tuple[DueCopy, ...], tuple[str, str]]:
    """Return copies of one target, sealed to the same recipients, that a store has to correct, and where to go on.

    They begin with the (target, upload) of ``since``, in whose order they are, and go on at ``FIRST`` behind the last.
    """
    found = rows.due_at(tx, store, since=since, limit=limit + 1)
    of_one = [row for row in found[:limit] if (row[0], row[4]) == (found[0][0], found[0][4])]
    copies = tuple(
        DueCopy(target=row[0], upload=row[1], object=row[2], manifest=row[3], recipients=tuple(row[4].split()))
        for row in of_one
    )
    left_out = next((row for row in found if row not in of_one), None)
    return copies, FIRST if left_out is None else (left_out[0], left_out[1])


def confirmed(tx: Tx, store: str, *, target: str, uploads: tuple[str, ...], number: int, kept: bool = True) -> int:
    """Note that a store keeps statement ``number`` with these copies, or has none of them; return how many were news.

    One that was corrected again meanwhile stays due.
    """
    now = stated(tx, target)
    if now is None or now.number != number:
        return 0
    return sum(rows.confirm(tx, store, target=target, upload=upload, kept=kept) for upload in uploads)


def answered(tx: Tx, *, stores: Iterable[str]) -> tuple[tuple[str, Outcome], ...]:
    """Return, once, (command, outcome) of the commands that wait for none of the key set's stores any more."""
    return tuple(
        (command, _outcome(target, stated_by, absent=absent, elsewhere=elsewhere, there=bool(there)))
        for command, target, stated_by, absent, elsewhere, there in rows.over(tx, stores=stores, limit=OVER_AT_ONCE)
    )


def _outcome(target: str, stated_by: str, *, absent: int, elsewhere: int, there: bool) -> Outcome:
    """Say what became of a correction: what is gone was not corrected."""
    remarks = {"copy_absent": absent, "store_not_asked": elsewhere}
    return Outcome(
        id=target,
        result="rectified" if there else "already_gone",
        remarks=tuple(remark for remark, copies in remarks.items() if copies),
        stated_by=stated_by,
    )


def is_any_over(tx: Tx, *, stores: Iterable[str]) -> bool:
    """Tell whether ``answered`` would return anything."""
    return rows.is_any_over(tx, stores=stores)
