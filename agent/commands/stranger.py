"""Messages that nobody is answered for: of nobody we know, and the rest of a flood.

Counted always, audited and told the owner at most once a minute.
"""

import contextlib
from typing import Final

from agent import audit
from agent.audit import Event
from agent.commands.world import World
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment

AUDIT_PAUSE_MS: Final = 60_000
"""Messages of strangers are counted always and audited at most this often."""

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
        self._untold: dict[str, int] = {}
        self.counters: dict[str, int] = {"unreadable": 0, "unknown_key": 0, "bad_signature": 0, "flood": 0}

    async def count(self, why: str, *, via: str, moment: Moment) -> None:
        """Count what nobody is known for; audit and alert at most once in ``AUDIT_PAUSE_MS``."""
        self.counters[why] += 1
        self._untold[why] = self._untold.get(why, 0) + 1
        last_ms = self._told_ms.get(why)
        if last_ms is not None and moment.agent_ms - last_ms < AUDIT_PAUSE_MS:
            return
        self._told_ms[why] = moment.agent_ms
        count = self._untold.pop(why)

        def note(tx: Tx) -> None:
            detail: dict[str, str | int] = {"why": why, "count": count, "via": via}
            audit.append(tx, Event(kind="command_refused", rule=why, actor="", detail=detail), moment=moment)
            if why in INCIDENT:
                self._world.alert(tx, *INCIDENT[why], moment)

        with contextlib.suppress(SpaceError):  # strangers get nothing of the reserved space
            await self._index.write(note)
            self._world.changed()
