"""The clock of each of the owner's requests: when it was asked, by when it is due, and when it was answered.

A clock starts when its owner signed the request, or when it came if that seems to be later, and is due at the end of a
working day (``agent/policy/working_day.py``); how many there are is the policy's. It stops with the terminal receipt.
What is due soon is warned of once, and what is overdue once more; a clock that is unsure judges like a sure one, for an
early warning harms nobody.
"""

from typing import Any, Final

import msgspec

from agent.clock import MS_PER_S, rfc3339_ms
from agent.index import Tx
from agent.index import deadline as rows
from agent.model import Moment
from agent.policy.working_day import DAY_MS, days_left, due_ms

NOT_CLOCKED: Final[frozenset[str]] = frozenset({"inventory", "requests", "approve", "time"})
"""Verbs that are answered as they come and ask nothing of anybody."""

ANSWERED_KEPT: Final = 500
TOLD_MAX: Final = 200
SOON_DAYS: Final = 3
"""Working days before the end from which a request is warned of."""


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One request; ``answered_ms`` ``None`` while it is open."""

    command: str
    verb: str
    asked_ms: int
    due_ms: int
    answered_ms: int | None
    status: str


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests are not answered; ``next_due_ms`` is that of the first of them."""

    count: int
    overdue: int
    soon: int
    next_due_ms: int | None


def start(tx: Tx, command: str, *, verb: str, iat_s: int, working_days: int, moment: Moment) -> None:
    """Start the clock of a request that is taken up."""
    if verb in NOT_CLOCKED:
        return
    asked_ms = min(iat_s * MS_PER_S, moment.agent_ms)
    rows.start(tx, command, verb=verb, asked_ms=asked_ms, due_ms=due_ms(asked_ms, working_days))


def stop(tx: Tx, command: str, *, status: str, moment: Moment) -> None:
    """Note that a request was answered."""
    rows.stop(tx, command, at_ms=moment.agent_ms, status=status, keep=ANSWERED_KEPT)


def due(tx: Tx, command: str) -> int | None:
    """Return when an open request is due; ``None`` for one without a clock."""
    return rows.due(tx, command)


def clocks(tx: Tx) -> tuple[Clock, ...]:
    """Return what is open, the first due first, then what was answered, the newest first; ``TOLD_MAX`` at most."""
    found = rows.open_ones(tx, limit=TOLD_MAX)
    found += rows.answered(tx, limit=TOLD_MAX - len(found))
    return tuple(Clock(**dict(zip(Clock.__struct_fields__, row, strict=True))) for row in found)


def open_requests(tx: Tx, *, moment: Moment) -> Open:
    """Return how many requests are open, overdue and due soon."""
    count, overdue, soon = rows.counts(tx, overdue_at_ms=moment.agent_ms, soon_by_ms=_soon_by_ms(moment))
    first = rows.open_ones(tx, limit=1)
    return Open(count=count, overdue=overdue, soon=soon, next_due_ms=first[0][3] if first else None)


def newly_soon(tx: Tx, *, moment: Moment) -> int:
    """Return how many requests are due soon and were never warned of; they are from now on."""
    return rows.tell(tx, "soon", due_by_ms=_soon_by_ms(moment), but=("soon", "overdue"))


def newly_overdue(tx: Tx, *, moment: Moment) -> int:
    """Return how many requests are overdue and were never told so; they are from now on."""
    return rows.tell(tx, "overdue", due_by_ms=moment.agent_ms, but=("overdue",))


def view(clock: Clock, *, moment: Moment) -> dict[str, Any]:
    """Return what an owner is told of a request."""
    told: dict[str, Any] = {
        "command": clock.command,
        "verb": clock.verb,
        "asked": rfc3339_ms(clock.asked_ms),
        "due": rfc3339_ms(clock.due_ms),
    }
    if clock.answered_ms is not None:
        late = clock.answered_ms >= clock.due_ms
        return told | {
            "state": "answered_late" if late else "answered",
            "answered": rfc3339_ms(clock.answered_ms),
            "status": clock.status,
        }
    if moment.agent_ms >= clock.due_ms:
        return told | {"state": "overdue"}
    return told | {"state": "open", "working_days_left": days_left(moment.agent_ms, clock.due_ms)}


def _soon_by_ms(moment: Moment) -> int:
    """Return the latest end of a request of which ``SOON_DAYS`` working days or fewer are left."""
    return due_ms(moment.agent_ms, SOON_DAYS) if moment.agent_ms >= DAY_MS else moment.agent_ms
