"""The owner's requests against their deadlines: warned of before, told once they are overdue, shown by ``status``."""

from typing import Any

from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.model import Moment
from agent.rights import deadline
from agent.rights.deadline import SOON_DAYS, Open


def requests_view(found: Open) -> dict[str, Any]:
    """Return what ``status`` tells."""
    told: dict[str, Any] = {"open": found.count, "overdue": found.overdue, "due_soon": found.soon}
    return told if found.next_due_ms is None else told | {"next_due": rfc3339_ms(found.next_due_ms)}


async def look_at_requests(parts: Parts, alarm: Alarm, moment: Moment) -> None:
    """Warn of each request once before its end and once behind it; the alerts end when there is none any more.

    That it was told is written in the transaction of the alert: a crash between the two repeats neither.
    """
    now = await parts.index.read(lambda tx: deadline.open_requests(tx, moment=moment))
    if now.overdue or now.soon:
        await parts.index.write(lambda tx: _tell(tx, alarm, now, moment), urgent=True)
        parts.changed()
    if not now.soon:
        await alarm.clear("request_due", moment=moment)
    if not now.overdue:
        await alarm.clear("request_overdue", moment=moment)


def _tell(tx: Tx, alarm: Alarm, now: Open, moment: Moment) -> None:
    late = deadline.newly_overdue(tx, moment=moment)
    if late:
        what = f"{now.overdue} of the owner's requests are not answered in time."
        alarm.raise_in(tx, "request_overdue", what, moment, at_once=True)
    if deadline.newly_soon(tx, moment=moment) and now.soon:
        what = f"{now.soon} of the owner's requests are due within {SOON_DAYS} working days."
        alarm.raise_in(tx, "request_due", what, moment, at_once=True)
