"""Carries out what follows when the service behind this device ends (``agent/policy/ending.py`` has the stages).

Steps, each durable before the next begins; power that fails between two is met at the next look:

1. a look writes the new stage, its audit event and the owner's alert in one transaction; from its commit on the gate
   refuses, uploads stop and cameras are switched off when they are met
2. while the stage is ``deleting`` everything that is here is asked to go, part by part, by the same erasure as a
   command's (invariant I3), here and at the stores; holds and restrictions keep what they name
3. when nothing is left the stage is ``done``; what something keeps is asked for again each hour
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.commands.ending import tell
from agent.erasure import PART
from agent.errors import AgentError
from agent.index import Tx
from agent.model import Moment
from agent.policy.ending import Service, advance
from agent.rights import service

LOOK_S: Final = 5.0
KEEP_MS: Final = 3_600_000
"""Silence is written down at most this often: of what power takes with it less than an hour is forgotten."""
AGAIN_MS: Final = 3_600_000

RULE: Final = "end_of_service"

_log = logging.getLogger(__name__)


class Ending:
    """Looks at the service; ``heard`` is called, from any thread, for each word of the cloud that verified.

    ``changed`` is called when collection stopped or may go on.
    """

    def __init__(self, parts: Parts, alarm: Alarm, *, changed: Callable[[], None]) -> None:
        self._parts = parts
        self._alarm = alarm
        self._changed = changed
        self._heard = False
        self._seen: Service | None = None
        self._erased_ms: int | None = None

    def heard(self) -> None:
        """Note that a backend or store said something that its key signed."""
        self._heard = True

    async def run(self, wait: Callable[[float], Awaitable[None]]) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look(self._parts.now())
            except AgentError as error:  # no room, or a file that cannot be removed: the next look goes on
                _log.warning("the end of the service: %s", error.message)
            await wait(LOOK_S)

    async def look(self, moment: Moment) -> Service:
        """Look once: step 1 where a stage is over, steps 2 and 3 where the plan runs."""
        now = await self._advance(moment)
        if now.ended is not self._parts.service_ended:
            self._parts.service_ended = now.ended
            self._changed()
        if now.stage == "deleting" and self._is_due(moment):
            await self._erase(moment)
            self._erased_ms = moment.agent_ms
            if await self._parts.index.read(lambda tx: self._parts.vault.totals(tx).all.objects) == 0:
                now = await self._write(msgspec.structs.replace(now, stage="done"), moment)
        return now

    async def _advance(self, moment: Moment) -> Service:
        kept = await self._parts.index.read(service.standing)
        seen = self._seen
        silent_ms, looked_ms = (kept.silent_ms, 0) if seen is None else (seen.silent_ms, seen.looked_ms)
        heard, self._heard = self._heard, False
        now = msgspec.structs.replace(kept, silent_ms=silent_ms, looked_ms=looked_ms)
        now = advance(now, self._parts.policy_in_force(), heard=heard, moment=moment)
        self._seen = now
        if now.stage != kept.stage:
            return await self._write(now, moment)
        counts = self._parts.policy_in_force().silent_ms is not None
        if counts and abs(now.silent_ms - kept.silent_ms) >= KEEP_MS:
            await self._parts.index.write(partial(service.keep, new=now, moment=moment), urgent=True)
        return now

    async def _write(self, new: Service, moment: Moment) -> Service:
        # Step 1. If power fails before this is durable, the next look finds the old stage, and the same reason.
        await self._parts.index.write(partial(self._tell, new=new, moment=moment), urgent=True)
        self._parts.changed()
        return new

    def _tell(self, tx: Tx, new: Service, moment: Moment) -> None:
        service.keep(tx, new, moment=moment)
        policy = self._parts.policy_in_force()
        tell(tx, new, policy=policy, alert=self._alarm.raise_in, outbox=self._parts.outbox, moment=moment)

    def _is_due(self, moment: Moment) -> bool:
        return self._erased_ms is None or moment.agent_ms - self._erased_ms >= AGAIN_MS

    async def _erase(self, moment: Moment) -> None:
        # Step 2. If power fails here, what was asked goes by the erasure's own steps, and the rest by the next look.
        above = 0
        while page := await self._parts.index.read(partial(self._parts.vault.arrivals, above=above)):
            ids = [object_id for _place, object_id in page]
            for start in range(0, len(ids), PART):
                await self._parts.erasure.erase(
                    ids[start : start + PART], actor="device", rule=RULE, command="", moment=moment
                )
            above = page[-1][0]
