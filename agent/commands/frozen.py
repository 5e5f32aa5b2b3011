"""What an owner is told of the restrictions and holds that stand: all of them, and those over one object."""

from typing import Any, Final

from agent.clock import rfc3339_ms
from agent.rights.freezing import Freeze, Freezes, Placed

SHOWN_MAX: Final = 8
"""Of each kind over one object: a page has many objects."""

LISTED_MAX: Final = 64
"""Of each kind in one answer, the oldest; of more the number is told."""


def frozen_view(standing: Freezes, item: Placed) -> dict[str, Any]:
    """Return what stands over one object, nothing where nothing does."""
    holds, restrictions = standing.holding(item), standing.restricting(item)
    told: dict[str, Any] = {"holds": [_hold(one) for one in holds[:SHOWN_MAX]]} if holds else {}
    return told | ({"restrictions": [_restriction(one) for one in restrictions[:SHOWN_MAX]]} if restrictions else {})


def standing_view(standing: Freezes) -> dict[str, Any]:
    """Return what stands, whatever it covers."""
    holds, restrictions = standing.holds, standing.restrictions
    return {
        "holds": [_hold(one) | _about(one) for one in holds[:LISTED_MAX]],
        "restrictions": [_restriction(one) | _about(one) for one in restrictions[:LISTED_MAX]],
        "more": len(holds[LISTED_MAX:]) + len(restrictions[LISTED_MAX:]),
    }


def _hold(one: Freeze) -> dict[str, str]:
    return {"id": one.id, "reason": one.reason, "author": one.author, "until": rfc3339_ms(one.until_ms or 0)}


def _restriction(one: Freeze) -> dict[str, str]:
    return {"id": one.id, "ground": one.reason, "since": rfc3339_ms(one.since_ms)}


def _about(one: Freeze) -> dict[str, Any]:
    """Say what is selected, as its command did; of ids how many."""
    told: dict[str, Any] = {} if one.objects is None else {"objects": len(one.objects)}
    for name, value in (("camera", one.camera), ("category", one.category)):
        told |= {name: value} if value else {}
    for name, ms in (("from", one.from_ms), ("to", one.to_ms)):
        told |= {} if ms is None else {name: rfc3339_ms(ms)}
    return {"since": rfc3339_ms(one.since_ms), "select": told or {"all": True}}
