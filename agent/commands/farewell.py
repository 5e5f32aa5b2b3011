"""The owner's ``erase-all``: this device forgets its owner, in two phases, and is ``unowned`` at the end.

First everything goes that is not held, at once; then only what stores and cameras are asked, and whom to tell, stays
until they answer or the deadline passes. The steps, whose numbers the code quotes; a crash at any of them goes on
there, for each is a row:

    1 take up      one transaction: the row, the cut-off of all, the command (``admission.py``); phase ``leaving``
    2 stop         nothing is taken in any more, and keys of pseudonyms are destroyed; cameras are met for what is to be
                   deleted there, and switched off
    3 erase        everything that no hold keeps: the steps of forgetting (``agent/erasure.py``)
    4 part         cameras of which nothing more is asked are unpaired where they answer; then one transaction: all
                   trust but the owner's root, and all records; receipt ``partial``; ``parted``
    5 truncate     the index's log holds nothing of it any more
    6 tell         one transaction: the final receipt; phase ``told``
    7 end          one transaction: it is acknowledged, or was not for ``KEPT_MS``; phase ``over``

What comes behind 7 happens with the index closed, and destroys it (``agent/app/unowned.py``, steps 8 to 11). Where
nothing is waited for or held, 4 tells the final receipt at once and there is no other. Held objects put off 6: as each
hold ends, 3 is done for its objects, and at the end of the last the rest of 4. A camera that has deleted its copies is
unpaired then, without waiting for the others; at 6 all that are left are told, whatever they still have. A file that
cannot be removed keeps nothing of this waiting: its key is destroyed, and step 10 takes it away.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

import msgspec

from agent import audit, enrolment, former
from agent.audit import Event
from agent.clock import rfc3339_ms
from agent.commands.ledger import Answer, Ledger
from agent.commands.world import OWNER_ERASE, World, sparing
from agent.erasure import PART, Erasure
from agent.errors import LinkError
from agent.index import Index, Tx
from agent.index import farewell as rows
from agent.index.farewell import FarewellRow
from agent.model import Moment
from agent.outbox import Outbox
from agent.rights import deadline
from agent.trust import CommandRow, Trust
from agent.vault import PAGE_MAX, Vault

DEADLINE_MS: Final = 21 * 86_400_000
"""15 working days, where the command has no clock of its own: three weeks, whichever day it begins."""

ASKED_MS: Final = 7 * 86_400_000
"""So long at least stores and cameras are asked, from 4 on or from the last that was erased later: a command that
arrives late, or a hold that ends late, would else ask nobody."""

KEPT_MS: Final = 7 * 86_400_000
"""So long the final receipt waits for its reader; then the device's keys go unasked."""

_LOG: Final = logging.getLogger(__name__)

WHILE_HELD: Final = frozenset({"inventory", "hold", "release"})
"""Verbs that keys keep while something is held: it is seen, and whoever put the hold ends it, or lengthens it."""

Word = Literal["confirmed", "unconfirmed", "pending"]


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """How far a device is on its way from its owner: what ``status`` tells."""

    phase: str
    deadline_ms: int
    held: int
    copies: int
    cameras: int


def begin(tx: Tx, row: CommandRow, *, before_ms: int, moment: Moment) -> None:
    """Do step 1: if power fails before this is durable, nothing was asked."""
    rows.begin(
        tx,
        FarewellRow(
            command=row.jti,
            kid=row.kid,
            before_ms=before_ms,
            deadline_ms=deadline.due(tx, row.jti) or moment.agent_ms + DEADLINE_MS,
            phase="leaving",
            since_ms=moment.agent_ms,
        ),
    )


def is_leaving(tx: Tx) -> bool:
    """Tell whether this device leaves its owner: nothing is collected or uploaded any more."""
    return rows.read(tx) is not None


def is_told(tx: Tx) -> bool:
    """Tell whether the last receipt is written (step 6): the broker is to keep no word of this device any more."""
    row = rows.read(tx)
    return row is not None and row.phase in {"told", "over"}


def is_over(tx: Tx) -> bool:
    """Tell whether all that is left is to destroy the keys (step 8)."""
    row = rows.read(tx)
    return row is not None and row.phase == "over"


def parting(tx: Tx) -> Parting | None:
    """Tell how far it is; ``None`` of a device that has its owner."""
    row = rows.read(tx)
    if row is None:
        return None
    return Parting(
        phase=row.phase,
        deadline_ms=_ends_ms(row) if row.phase in {"leaving", "parted"} else row.deadline_ms,
        held=rows.objects_left(tx),
        copies=rows.copies_left(tx),
        cameras=len(rows.cameras_left(tx)),
    )


class Farewell:
    """Steps 2 to 7; all state is the row."""

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        trust: Trust,
        outbox: Outbox,
        ledger: Ledger,
        world: World,
    ) -> None:
        self._index = index
        self._vault = vault
        self._erasure = erasure
        self._trust = trust
        self._outbox = outbox
        self._ledger = ledger
        self._world = world
        self._judge = sparing(world)

    async def stop(self) -> None:
        """Do step 2. If power fails here, the next start collects nothing and comes back to this line."""
        await self._world.end_collecting()

    async def part(self) -> None:
        """Do what is left of step 3, which its command's own selection did not name, then 4 and 5."""
        await self._erase_rest(self._world.now())
        at_cameras = await self._unpair(_finished_with)
        moment = self._world.now()
        await self._index.write(lambda tx: self._part(tx, at_cameras, moment=moment), urgent=True)
        # Step 5. If power fails here, the log is cut at the next step or, with the file, at the end.
        await self._index.truncate_log()

    async def step(self, moment: Moment) -> bool:
        """Go on where something that was waited for is there; return whether it is over (behind step 7)."""
        row = await self._index.read(rows.read)
        if row is None or row.phase == "leaving":
            return False
        if row.phase == "parted" and await self._index.read(_holds_any):
            await self._erase_rest(moment)
        if row.phase == "parted":
            await self._let_go(moment)
        if row.phase == "parted" and await self._index.read(lambda tx: self._may_end(tx, moment=moment)):
            await self._part_again(moment)
            self._world.changed()
        return await self._index.write(lambda tx: self._end(tx, moment=moment), urgent=True)

    # -- step 3 for what is left

    async def _erase_rest(self, moment: Moment) -> None:
        """Erase what no hold keeps now: what came in meanwhile, and what a hold kept that has ended."""
        row = await self._index.read(rows.read)
        while row is not None and (due := await self._index.read(lambda tx: self._unheld(tx, row.kid))):
            # If power fails here, these are asked for by the next start, and stores have their time from then on.
            await self._index.write(lambda tx: _asks_anew(tx, since_ms=moment.agent_ms), urgent=True)
            with suppress(LinkError):  # a file that cannot be removed: its key is destroyed
                await self._erasure.erase(due, actor=row.kid, rule=OWNER_ERASE, command="", moment=moment)

    def _unheld(self, tx: Tx, kid: str) -> tuple[str, ...]:
        found: list[str] = []
        after = ""
        while len(found) < PART and (page := self._vault.page(tx, after=after, limit=PAGE_MAX)):
            found += [
                item.id for item in page if item.state != "erasing" and self._judge(tx, item, kid, OWNER_ERASE) is None
            ]
            after = page[-1].id
        after = ""
        while len(found) < PART and (ids := rows.at_stores_alone(tx, after=after, limit=PAGE_MAX)):
            away = [one for one in map(partial(self._vault.at_store, tx), ids) if one is not None]
            found += [one.id for one in away if self._judge(tx, one, kid, OWNER_ERASE) is None]
            after = ids[-1]
        return tuple(found[:PART])

    # -- steps 4 to 7

    async def _unpair(self, which: Callable[[Tx], tuple[str, ...]]) -> dict[str, enrolment.AtCamera]:
        """Tell cameras that they are left; return what became of each there."""
        return await self._world.unpair(await self._index.read(which))

    async def _let_go(self, moment: Moment) -> None:
        """Unpair the cameras that have answered since, and forget them: others may be waited for much longer."""
        if not await self._index.read(_finished_with):
            return
        at_cameras = await self._unpair(_finished_with)
        await self._index.write(lambda tx: self._forget(tx, at_cameras, _finished_with, moment=moment), urgent=True)

    def _forget(
        self,
        tx: Tx,
        at_cameras: dict[str, enrolment.AtCamera],
        which: Callable[[Tx], tuple[str, ...]],
        *,
        moment: Moment,
    ) -> None:
        """Forget cameras; what each recorded before the command is kept away from the next owner all the same."""
        row = rows.read(tx)
        if row is None:
            return
        former.mark_cameras(tx, before_ms=row.before_ms, random=self._vault.random)
        for camera in which(tx):
            enrolment.forget(tx, camera, at_camera=at_cameras.get(camera, ""), moment=moment)

    def _part(self, tx: Tx, at_cameras: dict[str, enrolment.AtCamera], *, moment: Moment) -> None:
        # Step 4. If power fails before this is durable, the next start comes back to step 2.
        row = rows.read(tx)
        if row is None or row.phase != "leaving":
            return
        self._erasure.answer_put_off(tx, row.command, moment=moment)
        self._forget(tx, at_cameras, _finished_with, moment=moment)
        self._end_trust(tx, row, moment=moment)
        rows.set_phase(tx, "parted", since_ms=moment.agent_ms)
        cameras = len(rows.cameras_left(tx))
        self._tell(tx, row, cameras=cameras, final=self._may_end(tx, moment=moment), moment=moment)

    async def _part_again(self, moment: Moment) -> None:
        at_cameras = await self._unpair(_enrolled)

        def tell(tx: Tx) -> None:
            # Step 6. If power fails before this is durable, it is told behind the next start.
            row = rows.read(tx)
            if row is not None and row.phase == "parted":
                cameras = len(rows.cameras_left(tx))
                self._forget(tx, at_cameras, _enrolled, moment=moment)
                self._end_trust(tx, row, moment=moment)
                self._tell(tx, row, cameras=cameras, final=True, moment=moment)

        await self._index.write(tell, urgent=True)

    def _end_trust(self, tx: Tx, row: FarewellRow, *, moment: Moment) -> None:
        """End all trust but in the owner's root: what is left may be told, or tell, and commands nothing."""
        readers = frozenset({row.kid, *rows.stores_left(tx)})
        verbs = WHILE_HELD if rows.objects_left(tx) else frozenset[str]()
        self._trust.end(tx, readers, verbs=verbs, moment=moment)
        keys = self._trust.key_set(tx)
        self._outbox.drop_others(tx, frozenset(key.kid for key in keys.keys) if keys is not None else readers)
        if not rows.objects_left(tx):
            rows.wipe(tx, command=row.command, kid=row.kid)

    def _may_end(self, tx: Tx, *, moment: Moment) -> bool:
        """Tell whether nothing is waited for any more. No deadline ends a hold."""
        row = rows.read(tx)
        if row is None or rows.objects_left(tx):
            return False
        return moment.agent_ms >= _ends_ms(row) or not (rows.copies_left(tx) or rows.cameras_left(tx))

    def _tell(self, tx: Tx, row: FarewellRow, *, cameras: int, final: bool, moment: Moment) -> None:
        cloud, at_cameras = (_word(left, final=final) for left in (rows.copies_left(tx), cameras))
        now = rows.read(tx) or row
        told: dict[str, Any] = {
            "phase": 2 if final else 1,
            "cloud": cloud,
            "cameras": at_cameras,
            "held": rows.objects_left(tx),
            "deadline": rfc3339_ms(_ends_ms(now)),
        }
        if final:
            rows.set_phase(tx, "told", since_ms=moment.agent_ms)
        command = self._trust.command(tx, row.command)
        if command is None:  # nobody is left to be told
            return
        status: Literal["done", "partial"] = "done" if final and "unconfirmed" not in {cloud, at_cameras} else "partial"
        command = msgspec.structs.replace(command, acknowledged=0)
        self._ledger.settle(tx, command, status=status, answer=self._answer(tx, command, told), moment=moment)
        _LOG.info("leaving: phase=%s cloud=%s cameras=%s held=%s", told["phase"], cloud, at_cameras, told["held"])

    def _answer(self, tx: Tx, command: CommandRow, told: dict[str, Any]) -> Answer:
        outcomes = self._ledger.outcomes(tx, command) if command.settled_ms is None else None
        return Answer(outcomes=outcomes, farewell=told)

    def _end(self, tx: Tx, *, moment: Moment) -> bool:
        # Step 7. If power fails behind it, the next start finds it over and goes on with step 8.
        row = rows.read(tx)
        if row is None or row.phase not in {"told", "over"}:
            return False
        command = self._trust.command(tx, row.command)
        known = command is None or command.acknowledged or moment.agent_ms - row.since_ms >= KEPT_MS
        if row.phase == "told" and known:
            audit.append(tx, Event(kind="owner_left", actor=row.kid, command=row.command), moment=moment)
            rows.set_phase(tx, "over", since_ms=moment.agent_ms)
        return bool(known)


def _ends_ms(row: FarewellRow) -> int:
    """Return when no store and no camera is waited for any more, in agent time."""
    return max(row.deadline_ms, row.since_ms + ASKED_MS)


def _asks_anew(tx: Tx, *, since_ms: int) -> None:
    row = rows.read(tx)
    if row is not None:
        rows.set_phase(tx, row.phase, since_ms=since_ms)


def _holds_any(tx: Tx) -> bool:
    return rows.objects_left(tx) > 0


def _enrolled(tx: Tx) -> tuple[str, ...]:
    return tuple(one.camera for one in enrolment.enrolled(tx))


def _finished_with(tx: Tx) -> tuple[str, ...]:
    """Return the enrolled cameras of which nothing more is asked."""
    asked = frozenset(rows.cameras_left(tx))
    return tuple(one.camera for one in enrolment.enrolled(tx) if one.camera not in asked)


def _word(left: int, *, final: bool) -> Word:
    if not left:
        return "confirmed"
    return "unconfirmed" if final else "pending"
