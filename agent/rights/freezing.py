"""Restrictions and holds: what freezes objects, those that are here and those that come later.

A restriction is its owner's: what it covers is kept, and neither uploaded nor exported by anybody but the owner nor
let expire, until the owner lifts it; a backend's inventory still has its id, category and size. A hold is a third
party's: what it covers is not deleted by anybody until it ends, at the time that its author signed or sooner. What its
author signed is bound to that author's own clock, so a trusted clock of ours shortens what reaches further. Both
cover ids, or a camera, a category and an interval, or all. They are rows while they stand, so a hold may end a little
late, never early. Everything happens in the caller's transaction.
"""

from typing import Final, Literal, Protocol

import msgspec

from agent import audit
from agent.audit import Event
from agent.clock import parse_rfc3339_ms
from agent.envelope import HOLD_MAX_S
from agent.errors import RefusedError
from agent.ids import Ids
from agent.index import Tx
from agent.index import freezing as rows
from agent.model import Moment, Selection, new_id

FreezeKind = Literal["restriction", "hold"]

FREEZES_MAX: Final = 256
"""Of each kind (I11): every object that is judged is compared with all of them."""


HOLDS_OF_ONE_MAX: Final = 64
"""Of one author: a key that holds what it can leaves room for the holds of others."""

HOLD_MAX_MS: Final = HOLD_MAX_S * 1000

HOLD_SPARE_MS: Final = 3_600_000
"""A hold that ends by so much later than ``HOLD_MAX_MS`` from now is let be: its author's clock may be ahead."""


class Placed(Protocol):
    """What a restriction or a hold may cover: an object, or the part of it that is known before it is one."""

    @property
    def id(self) -> str:
        """The object's id, ``""`` before it has one."""
        ...

    @property
    def camera(self) -> str:
        """The camera's id, ``""`` of none."""
        ...

    @property
    def category(self) -> str:
        """The category."""
        ...

    @property
    def captured_from_ms(self) -> int:
        """When it was recorded, Unix milliseconds."""
        ...

    @property
    def captured_to_ms(self) -> int:
        """When that ended."""
        ...

    @property
    def taken_in_ms(self) -> int:
        """Since when it is here, agent time."""
        ...


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in the vault yet."""

    camera: str
    category: str
    captured_from_ms: int
    captured_to_ms: int
    id: str = ""

    @property
    def taken_in_ms(self) -> int:
        """As if it had been taken in when it was recorded, at the earliest."""
        return self.captured_from_ms


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """One restriction or hold; ``id`` is the ``jti`` of its command, ``author`` the id of the key that signed it.

    ``""`` and ``None`` match all; with ``objects`` these alone are meant.
    """

    id: str
    kind: FreezeKind
    author: str
    reason: str
    camera: str
    category: str
    from_ms: int | None
    to_ms: int | None
    objects: Ids | None
    since_ms: int
    until_ms: int | None = None

    def covers(self, item: Placed) -> bool:
        """Tell whether an object is frozen by it."""
        if self.objects is not None:
            return item.id in self.objects
        return (
            self._covers_set(item.camera, item.category)
            and (self.from_ms is None or max(item.captured_to_ms, item.captured_from_ms + 1) > self.from_ms)
            and (self.to_ms is None or item.captured_from_ms < self.to_ms)
        )

    def covers_all_of(self, camera: str, category: str) -> bool:
        """Tell whether everything of a camera's category is frozen by it, whenever it was recorded."""
        by_time = self.from_ms is not None or self.to_ms is not None
        return self.objects is None and not by_time and self._covers_set(camera, category)

    def has_ended(self, moment: Moment) -> bool:
        """Tell whether its end has come."""
        return self.until_ms is not None and self.until_ms <= moment.agent_ms

    def lasts_too_long(self, moment: Moment) -> bool:
        """Tell whether it ends later than any that is signed now could; an unsure clock cannot say so."""
        latest_ms = moment.agent_ms + HOLD_MAX_MS + HOLD_SPARE_MS
        return moment.trusted and self.until_ms is not None and self.until_ms > latest_ms

    def _covers_set(self, camera: str, category: str) -> bool:
        return self.camera in {"", camera} and self.category in {"", category}


class Freezes(msgspec.Struct, frozen=True, kw_only=True):
    """All that stand, the oldest first; ``state`` is another one whenever they are."""

    state: str = ""
    restrictions: tuple[Freeze, ...] = ()
    holds: tuple[Freeze, ...] = ()

    def restricting(self, item: Placed) -> tuple[Freeze, ...]:
        """Return the restrictions that cover an object."""
        return tuple(one for one in self.restrictions if one.covers(item))

    def holding(self, item: Placed) -> tuple[Freeze, ...]:
        """Return the holds that cover an object, the one that ends last comes first."""
        return tuple(sorted((one for one in self.holds if one.covers(item)), key=lambda one: -(one.until_ms or 0)))


def state(tx: Tx) -> str:
    """Return what changes whenever a restriction or a hold comes or goes."""
    return rows.state(tx)


def standing(tx: Tx) -> Freezes:
    """Return all that stand."""
    found = tuple(map(_freeze, rows.every(tx)))
    return Freezes(
        state=rows.state(tx),
        restrictions=tuple(one for one in found if one.kind == "restriction"),
        holds=tuple(one for one in found if one.kind == "hold"),
    )


def put(
    tx: Tx,
    selection: Selection,
    *,
    kind: FreezeKind,
    freeze_id: str,
    author: str,
    reason: str,
    until_ms: int | None = None,
    moment: Moment,
) -> Freeze:
    """Freeze a selection, and what it means of all that comes later; raises ``RefusedError`` (``too_large``)."""
    stand = standing(tx)
    others = stand.holds if kind == "hold" else stand.restrictions
    if len(others) >= FREEZES_MAX:
        raise _too_many(f"{FREEZES_MAX} of them stand already")
    if kind == "hold" and sum(one.author == author for one in others) >= HOLDS_OF_ONE_MAX:
        raise _too_many(f"{HOLDS_OF_ONE_MAX} holds of this key stand already")
    freeze = Freeze(
        id=freeze_id,
        kind=kind,
        author=author,
        reason=reason,
        camera=selection.camera or "",
        category=selection.category or "",
        from_ms=None if selection.from_ is None else parse_rfc3339_ms(selection.from_),
        to_ms=None if selection.to is None else parse_rfc3339_ms(selection.to),
        objects=None if selection.ids is None else Ids.of(selection.ids),
        since_ms=moment.agent_ms,
        until_ms=until_ms,
    )
    rows.insert(tx, _row(freeze))
    rows.change(tx, new_id())
    detail: dict[str, str | int] = {"kind": kind, "objects": -1 if freeze.objects is None else len(freeze.objects)}
    audit.append(tx, Event(kind="freeze_put", actor=author, command=freeze_id, detail=detail), moment=moment)
    return freeze


def lift(tx: Tx, freeze: Freeze, *, actor: str, command: str, why: str, moment: Moment) -> None:
    """Let go of what one freezes; ``why`` is a code for the log."""
    rows.delete(tx, freeze.id)
    rows.change(tx, new_id())
    detail: dict[str, str | int] = {"kind": freeze.kind, "freeze": freeze.id, "why": why}
    audit.append(tx, Event(kind="freeze_lifted", actor=actor, command=command, detail=detail), moment=moment)


def end_holds(tx: Tx, *, moment: Moment) -> tuple[Freeze, ...]:
    """Let go of the holds whose end has come, and return them; while the clock is unsure none ends early."""
    ended = tuple(one for one in standing(tx).holds if one.has_ended(moment))
    for one in ended:
        lift(tx, one, actor="device", command="", why="ended", moment=moment)
    return ended


def shorten_holds(tx: Tx, *, moment: Moment) -> tuple[Freeze, ...]:
    """Have the holds that last too long end ``HOLD_MAX_MS`` from now, and return them as they are then.

    While the clock is unsure no ``iat`` is judged, and an ``until`` is bound to that alone: so the one moment at which
    a hold could be taken up for decades is made good as soon as the clock is trusted.
    """
    long = [one for one in standing(tx).holds if one.lasts_too_long(moment)]
    until_ms = moment.agent_ms + HOLD_MAX_MS
    for one in long:
        rows.end_at(tx, one.id, until_ms)
        rows.change(tx, new_id())
        detail: dict[str, str | int] = {"kind": one.kind, "freeze": one.id, "why": "beyond_90_days"}
        audit.append(tx, Event(kind="freeze_shortened", actor="device", detail=detail), moment=moment)
    return tuple(msgspec.structs.replace(one, until_ms=until_ms) for one in long)


def _too_many(message: str) -> RefusedError:
    return RefusedError(
        message,
        reason="too_large",
        retry="after_fix",
        hint="lift some first, or name a camera, a category or an interval instead of ids",
    )


def _row(freeze: Freeze) -> tuple[str | int | bytes | None, ...]:
    values = msgspec.structs.asdict(freeze) | {"objects": None if freeze.objects is None else freeze.objects.value}
    return tuple(values[name] for name in rows.COLUMNS)


def _freeze(row: tuple[object, ...]) -> Freeze:
    values = dict(zip(rows.COLUMNS, row, strict=True))
    objects = values["objects"]
    return Freeze(**(values | {"objects": Ids(objects) if isinstance(objects, bytes) else None}))  # type: ignore[arg-type]  # our own row
