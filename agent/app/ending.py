"""Carries out what follows when the service behind this device ends (``agent/policy/ending.py`` has the stages).

Steps, each durable before the next begins; power that fails between two is met at the next look:

1. a look reads, judges and writes the new stage, its audit event and the owner's alert in one transaction; from its
   commit on the gate refuses, uploads stop and cameras are switched off when they are met
2. while the stage is ``deleting`` everything that is here, every copy that a store alone has, and every export is asked
   to go, part by part, by the same erasure as a command's (invariant I3); holds and restrictions keep what they name.
   Before each part it is looked whether the plan still runs: the owner's word, or another policy, ends it there
3. when nothing is left here but what is kept, and each store has confirmed, the stage is ``done``, if the same plan
   runs still; each hour it is looked for what nothing keeps any more, and that goes by step 2
"""

import asyncio
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
from agent.index import Tx, farewell
from agent.model import AtStore, Moment, Object, Selection
from agent.policy.ending import Cloud, Service, advance
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
        self._seen: tuple[Service, Service] | None = None  # the row, and how it stands with the silence since
        self._erased_ms: int | None = None
        self._whole = False  # step 2 came to its end since the start

    def heard(self) -> None:
        """Note that a backend or store said something new that its valid key signed."""
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
        if now.stage not in {"deleting", "done"}:
            self._erased_ms, self._whole = None, False  # what a plan of before did says nothing of the next
        elif self._is_due(moment):
            self._whole = await self._erase(now, moment)
            self._erased_ms = moment.agent_ms
        if now.stage == "deleting" and await self._parts.index.read(self._nothing_left):
            # Step 3. If power fails before this is durable, the next look finds nothing left again.
            now = await self._parts.index.write(partial(self._end, plan=now, moment=moment), urgent=True)
            self._parts.changed()
        return now

    async def _advance(self, moment: Moment) -> Service:
        heard, self._heard = self._heard, False
        kept, now = await self._parts.index.read(partial(self._judged, heard=heard, moment=moment))
        counts = self._parts.policy_in_force().silent_ms is not None
        if now.stage != kept.stage or (counts and abs(now.silent_ms - kept.silent_ms) >= KEEP_MS):
            # Step 1. If power fails before this is durable, the next look finds the old stage, and the same reason.
            try:
                now = await self._parts.index.write(partial(self._keep, heard=heard, moment=moment), urgent=True)
            except AgentError:
                self._heard = self._heard or heard
                raise
            kept = now
            self._parts.changed()
        self._seen = kept, now
        return now

    def _judged(self, tx: Tx, *, heard: bool, moment: Moment) -> tuple[Service, Service]:
        """Return how the service stands in the index, and how it stands now."""
        kept = service.standing(tx)
        if self._seen is None:  # whether anybody was silent before this start is not known
            now = msgspec.structs.replace(kept, looked_ms=0)
        elif self._seen[0] == kept:
            seen = self._seen[1]
            now = msgspec.structs.replace(kept, silent_ms=seen.silent_ms, looked_ms=seen.looked_ms)
        else:  # a command changed it, and its silence with it
            now = kept
        cloud = self._cloud(tx, moment)
        return kept, advance(now, self._parts.policy_in_force(), heard=heard, cloud=cloud, moment=moment)

    def _cloud(self, tx: Tx, moment: Moment) -> Cloud:
        """Tell whether somebody could be heard: a line, and a backend's key; a store speaks only when it is asked."""
        keys = self._parts.trust.key_set(tx)
        if keys is None or all(key.role != "backend" for key in keys.keys):
            return "none"
        valid = self._parts.trust.keys_of(tx, "backend", moment=moment)
        return "there" if valid and self._parts.config.broker is not None else "mute"

    def _keep(self, tx: Tx, *, heard: bool, moment: Moment) -> Service:
        _kept, new = self._judged(tx, heard=heard, moment=moment)  # a command may have come since it was read
        self._write(tx, new, moment=moment)
        return new

    def _write(self, tx: Tx, new: Service, *, moment: Moment) -> None:
        if service.keep(tx, new, moment=moment):
            policy = self._parts.policy_in_force()
            tell(tx, new, policy=policy, alert=self._alarm.raise_in, outbox=self._parts.outbox, moment=moment)

    def _is_due(self, moment: Moment) -> bool:
        return self._erased_ms is None or moment.agent_ms - self._erased_ms >= AGAIN_MS

    def _runs(self, tx: Tx, plan: Service) -> bool:
        """Tell whether the deletion plan that began so runs still."""
        now = service.standing(tx)
        same = (now.stage, now.since_ms) == (plan.stage, plan.since_ms)
        return same and now.stage in {"deleting", "done"} and self._parts.policy_in_force().ending == "delete"

    async def _erase(self, plan: Service, moment: Moment) -> bool:
        """Ask all to go that nothing keeps; return whether that came to its end."""
        # Step 2. If power fails here, what was asked goes by the erasure's own steps, and the rest by the next look.
        above: int | None = 0
        while above is not None:
            ids, above = await self._parts.index.read(partial(self._here, above=above))
            if not await self._erase_part(ids, plan, moment):
                return False
        after: str | None = ""
        while after is not None:
            ids, after = await self._parts.index.read(partial(self._at_stores_alone, after=after))
            if not await self._erase_part(ids, plan, moment):
                return False
        if not await self._parts.index.read(lambda tx: self._runs(tx, plan)):
            return False
        await asyncio.to_thread(self._parts.bundle.expire, lambda _export, _freed: RULE, moment=moment)
        return True

    def _here(self, tx: Tx, *, above: int) -> tuple[tuple[str, ...], int | None]:
        """Return the next of what is here and not kept, by arrival, and where what comes behind it begins."""
        page = self._parts.vault.arrivals(tx, above=above)
        found = tuple(one for _place, one in page if not self._is_kept(tx, self._parts.vault.get(tx, one)))
        return found, page[-1][0] if page else None

    def _at_stores_alone(self, tx: Tx, *, after: str) -> tuple[tuple[str, ...], str | None]:
        """Return the next of what only stores have and is not kept, and where what comes behind it begins."""
        page = self._parts.vault.page_of(tx, Selection(all=True), after=after, limit=PART)
        vault = self._parts.vault
        away = tuple(one for one in page if vault.get(tx, one) is None)
        return tuple(one for one in away if not self._is_kept(tx, vault.at_store(tx, one))), page[-1] if page else None

    def _is_kept(self, tx: Tx, item: Object | AtStore | None) -> bool:
        """Tell whether a hold or a restriction keeps it."""
        if item is None:
            return False
        rights = self._parts.snapshot.of(tx, item)
        return rights.hold is not None or rights.restricted

    async def _erase_part(self, ids: tuple[str, ...], plan: Service, moment: Moment) -> bool:
        """Erase some; return whether the plan runs still."""
        for start in range(0, len(ids), PART):
            if not await self._parts.index.read(lambda tx: self._runs(tx, plan)):
                return False
            some = ids[start : start + PART]
            await self._parts.erasure.erase(some, actor="device", rule=RULE, command="", moment=moment)
        return True

    def _nothing_left(self, tx: Tx) -> bool:
        """Tell whether nothing is left but what is kept: of that step 2, which came to its end, asked nothing to go."""
        if farewell.copies_left(tx) or self._parts.erasure.under_way(tx) or self._parts.bundle.exports(tx):
            return False
        vault = self._parts.vault
        return self._whole or not vault.totals(tx).all.objects + vault.at_stores(tx).objects

    def _end(self, tx: Tx, *, plan: Service, moment: Moment) -> Service:
        if not self._runs(tx, plan) or not self._nothing_left(tx):
            return service.standing(tx)
        new = msgspec.structs.replace(service.standing(tx), stage="done")
        self._write(tx, new, moment=moment)
        return new
