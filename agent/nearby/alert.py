"""What the owner is told where something answers for a camera and is not it; pure, and loads nothing of discovery."""

from collections.abc import Collection, Iterable
from typing import Final

NAMED_MAX: Final = 8
"""Cameras that are named; of more the number is told."""


class Standing:
    """For which cameras something else answers now, and who sees that: the alert is over when nobody does any more."""

    def __init__(self) -> None:
        self._seen: dict[str, frozenset[str]] = {}

    @property
    def cameras(self) -> frozenset[str]:
        """All of them, whoever sees it."""
        return frozenset().union(*self._seen.values())

    def seen(self, by: str) -> frozenset[str]:
        """Those of one who looks."""
        return self._seen.get(by, frozenset())

    def see(self, by: str, cameras: Iterable[str]) -> None:
        """Note for which cameras one who looks sees that now, and for no others."""
        if now := frozenset(cameras):
            self._seen[by] = now
        else:
            self._seen.pop(by, None)


def impostors(cameras: Collection[str], *, rule: str) -> str:
    """Name every camera for which something answers now, so that one that stands hides no other."""
    named = sorted(cameras)
    why = rule.replace("_", " ")
    if len(named) == 1:
        return f"Something answers for camera {named[0]} and is not it ({why})."
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    told = ", ".join(named[:NAMED_MAX])
    return f"Something answers for {len(named)} cameras and is none of them: {told}{more} (the last: {why})."
