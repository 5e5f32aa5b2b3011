"""Which sealed payloads are known not to be what was sealed, and what is done about each.

A payload in *quarantine* is never exported or uploaded as if it were whole. Its bytes stay, its object ages, is held,
restricted and deleted as any other. It leaves quarantine when its bytes are right again, or when its source's copy took
its place. What cannot be read is in *doubt* first: a medium that answers with an error now may answer later. The
functions run in the caller's transaction; ``agent/vault.py`` and ``agent/scrub`` say when.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import msgspec

from agent.index import Tx
from agent.index import damage as rows

What = Literal["changed", "short", "long", "missing", "unreadable"]

PAGE_MAX: Final = 500

NEVER_AGAIN: Final = frozenset({"usage-log", "export"})
"""Categories that no source offers again as they were: a log is taken on from its bookmark, or with others."""


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the payload of ``object``, since when it is known, and whether that is ``sure``.

    ``at_bytes``: of ``short`` how many there are, of ``unreadable`` from which on. ``wanted``: its source's copy, if it
    is offered, takes its place.
    """

    object: str
    what: What
    at_bytes: int
    seen_ms: int
    sure: bool
    wanted: bool


def doubt(tx: Tx, object_id: str, what: What, *, at_bytes: int, now_ms: int) -> None:
    """Note that a payload could not be read; what is in quarantine stays there."""
    before = of(tx, object_id)
    if before is None or not before.sure:
        rows.put(tx, object_id, what=what, at_bytes=at_bytes, seen_ms=now_ms, sure=False, wanted=False)


def quarantine(tx: Tx, object_id: str, what: What, *, at_bytes: int, now_ms: int, wanted: bool) -> None:
    """Put an object in quarantine."""
    rows.put(tx, object_id, what=what, at_bytes=at_bytes, seen_ms=now_ms, sure=True, wanted=wanted)


def clear(tx: Tx, object_id: str) -> bool:
    """Let an object out of quarantine or doubt; return whether it was in either."""
    return rows.drop(tx, object_id)


def of(tx: Tx, object_id: str) -> Damage | None:
    """Return what is known of one object, ``None`` of one that is not known to be damaged."""
    row = rows.of(tx, object_id)
    return None if row is None else _damage(row)


def is_damaged(tx: Tx, object_id: str) -> bool:
    """Tell whether an object is in quarantine."""
    found = of(tx, object_id)
    return found is not None and found.sure


def page(tx: Tx, *, sure: bool = True, after: int = 0, limit: int = PAGE_MAX) -> tuple[tuple[int, Damage], ...]:
    """Return (number, damage) of what is in quarantine, or in doubt, by arrival."""
    return tuple((row[0], _damage(row[1:])) for row in rows.page(tx, sure=sure, after=after, limit=limit))


def count(tx: Tx, *, sure: bool = True) -> int:
    """Return how many objects are in quarantine, or in doubt."""
    return rows.count(tx, sure=sure)


def waiting(tx: Tx) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (objects, bytes) by (camera, category) of what is in quarantine and no store has confirmed."""
    return {(camera, category): (objects, size) for camera, category, objects, size in rows.waiting(tx)}


def wanted(tx: Tx, source_tag: bytes) -> bool:
    """Tell whether what a source offers under this identity is to be read though it was taken before."""
    return rows.wanted(tx, source_tag)


def want_no_more(tx: Tx, source_tag: bytes) -> None:
    """Read what a source offers under this identity no more: it is another content."""
    rows.want_no_more(tx, source_tag)


def like(tx: Tx, values: dict[str, Any]) -> str | None:
    """Return the object in quarantine or doubt that this is, by content and identity; ``values`` are its columns."""
    return None if values["category"] in NEVER_AGAIN else rows.like(tx, values)


def replace(tx: Tx, object_id: str, payload: str) -> None:
    """Note which payload takes the place of a damaged one, until ``clear``."""
    rows.set_payload(tx, object_id, payload)


def replaced_by(tx: Tx, object_id: str) -> str:
    """Return the name of the payload that takes its place and has not yet, or ``""``, as once it is being erased."""
    return rows.payload_of(tx, object_id)


def replacing(tx: Tx) -> tuple[tuple[str, str], ...]:
    """Return (object, payload) where a whole payload is to take the place of a damaged one."""
    return tuple(rows.replacing(tx, PAGE_MAX))


def needless(tx: Tx) -> tuple[str, ...]:
    """Return whole payloads whose objects are being erased."""
    return tuple(rows.needless(tx, PAGE_MAX))


def forget_needless(tx: Tx, payloads: Iterable[str]) -> None:
    """Note that these take nothing's place: their objects are being erased."""
    rows.forget_payloads(tx, payloads)


def _damage(row: tuple[Any, ...]) -> Damage:
    object_id, what, at_bytes, seen_ms, sure, wanted_again = row
    return Damage(
        object=object_id,
        what=cast("What", what),
        at_bytes=at_bytes,
        seen_ms=seen_ms,
        sure=bool(sure),
        wanted=bool(wanted_again),
    )
