"""Cameras whose collection a person here switched off, whatever the policy would let in.

Rules: "off" stands above the policy, across restarts, other policies and an enrolment anew, until a person here takes
it back; "on" is no more than that, and what the camera then does is the policy's word (I9). What a person says, and
what a camera confirms, is in one transaction with its audit event (I7).
"""

from typing import Literal

from agent import audit
from agent.audit import Event
from agent.index import Tx
from agent.index import collection as rows
from agent.model import Moment

Way = Literal["link", "bluetooth"]
"""How a camera was told."""


def off_by_hand(tx: Tx) -> frozenset[str]:
    """Return the cameras that are switched off."""
    return frozenset(rows.all_of(tx))


def switch(tx: Tx, camera: str, *, on: bool, moment: Moment) -> None:
    """Note what a person here said; nothing is written where that is so already."""
    changed = rows.delete(tx, camera) if on else rows.insert(tx, camera, since_ms=moment.agent_ms)
    if changed:
        event = Event(kind="collection_switched", rule=_word(on=on), actor="local", detail={"camera": camera})
        audit.append(tx, event, moment=moment)


def confirm(tx: Tx, camera: str, *, on: bool, way: Way, moment: Moment) -> None:
    """Write down that a camera, in a proved session, said that it now is switched so."""
    event = Event(kind="collection_confirmed", rule=_word(on=on), detail={"camera": camera, "way": way})
    audit.append(tx, event, moment=moment)


def _word(*, on: bool) -> str:
    return "on" if on else "off"
