"""Messages that nobody is answered for: of nobody we know, and the rest of a flood.

Counted always. Audited and told the owner when the first of a kind comes; what comes in the pause behind that is
collected in memory and told as one number when the pause ends, or at the ordered stop. If power fails, or the process
is killed, the number of that one pause is missing in the log, and nothing else.
"""

import asyncio
from typing import Final

from agent import audit
from agent.audit import Event
from agent.commands.world import World
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment

AUDIT_PAUSE_MS: Final = 60_000
"""Messages of strangers are counted always and audited at most this often, and at the stop: one event of each kind."""

INCIDENT: Final = {
    "unknown_key": ("unknown_keys", "Commands arrive that are signed by keys outside the key set."),
    "bad_signature": ("forged_message", "Commands arrive under the id of a key of the key set that did not sign them."),
}
"""The alert, and what it says, of each way in which nobody we know is there; noise is only counted."""


class Strangers:
    """``counters`` by reason, since the start; ``world`` says whom to tell."""

    def __init__(self, *, index: Index, world: World) -> None:
        self._index = index
        self._world = world
        self._told_ms: dict[str, int] = {}
        self._untold: dict[str, tuple[int, str]] = {}
        self.counters: dict[str, int] = {"unreadable": 0, "unknown_key": 0, "bad_signature": 0, "flood": 0}

    async def count(self, why: str, *, via: str, moment: Moment) -> None:
        """Count what nobody is known for; audit and alert now if nothing of the kind was told for a pause."""
        self.counters[why] += 1
        self._collect(why, 1, via)
        if self._is_due(why, moment):
            await self._tell(why, moment=moment)

    async def tell_collected(self, moment: Moment, *, at_once: bool = False) -> None:
        """Audit and alert what was collected in pauses that are over, ``at_once`` also in those that are not."""
        for why in tuple(self._untold):
            if why in self._untold and (at_once or self._is_due(why, moment)):
                await self._tell(why, moment=moment)

    def _collect(self, why: str, count: int, via: str) -> None:
        before, _via = self._untold.get(why, (0, ""))
        self._untold[why] = before + count, via

    def _is_due(self, why: str, moment: Moment) -> bool:
        last_ms = self._told_ms.get(why)
        return last_ms is None or moment.agent_ms - last_ms >= AUDIT_PAUSE_MS

    async def _tell(self, why: str, *, moment: Moment) -> None:
        self._told_ms[why] = moment.agent_ms
        count, via = self._untold.pop(why)

        def note(tx: Tx) -> None:
            detail: dict[str, str | int] = {"why": why, "count": count, "via": via}
            audit.append(tx, Event(kind="command_refused", rule=why, actor="", detail=detail), moment=moment)
            if why in INCIDENT:
                self._world.alert(tx, *INCIDENT[why], moment)

        async def write() -> None:
            try:
                await self._index.write(note)
            except SpaceError:  # strangers get nothing of the reserved space; the number waits for a pause's end
                self._collect(why, count, via)
            else:
                self._world.changed()

        await asyncio.shield(write())  # a stop cancels who heard it, and the number is remembered nowhere else
