"""What the owner is told where something answers for a camera and is not it; pure, and loads nothing of discovery."""

from collections.abc import Collection
from typing import Final

NAMED_MAX: Final = 8
"""Cameras that are named; of more the number is told."""


def impostors(cameras: Collection[str], *, rule: str) -> str:
    """Name every camera for which something answers now, so that one that stands hides no other."""
    named = sorted(cameras)
    why = rule.replace("_", " ")
    if len(named) == 1:
        return f"Something answers for camera {named[0]} and is not it ({why})."
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    told = ", ".join(named[:NAMED_MAX])
    return f"Something answers for {len(named)} cameras and is none of them: {told}{more} (the last: {why})."
