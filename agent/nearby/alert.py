"""What the owner is told where something answers for a camera and is not it; pure, and loads nothing of discovery."""

from collections.abc import Collection, Hashable, Iterable
from typing import Final

from agent.enrolment import REFUSED_PAUSE_MS

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


class Pauses:
    """What was told of impostors lately, and is not told again within ``REFUSED_PAUSE_MS``."""

    def __init__(self) -> None:
        self._since_ms: dict[Hashable, int] = {}

    def begin(self, of: Hashable, *, now_ms: int) -> bool:
        """Begin a pause, and return ``True``, unless one is running."""
        self._since_ms = {one: since for one, since in self._since_ms.items() if now_ms - since < REFUSED_PAUSE_MS}
        if of in self._since_ms:
            return False
        self._since_ms[of] = now_ms
        return True

    def end(self, of: Hashable) -> None:
        """End one: it was not told after all."""
        self._since_ms.pop(of, None)

    def end_all(self) -> None:
        """End all of them."""
        self._since_ms.clear()


def impostors(cameras: Collection[str], *, rule: str) -> str:
    """Name every camera for which something answers now, so that one that stands hides no other."""
    named = sorted(cameras)
    why = rule.replace("_", " ")
    if len(named) == 1:
        return f"Something answers for camera {named[0]} and is not it ({why})."
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    told = ", ".join(named[:NAMED_MAX])
    return f"Something answers for {len(named)} cameras and is none of them: {told}{more} (the last: {why})."
