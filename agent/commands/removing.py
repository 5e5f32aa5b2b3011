"""Exports that deletes mean: removed before the erasure is asked for the rest, and tried again until they are gone.

Of an export that is only asked for nothing is here: its command ends. One that is being built is waited for.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from agent import audit, bundle
from agent.audit import Event
from agent.bundle import Bundle
from agent.commands.exporting import Exports
from agent.errors import AgentError, ConfigError, LinkError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.model import Moment, Outcome, Requester, Selection
from agent.rights import delivery
from agent.trust import CommandRow, Trust


class Removal:
    """``cancel`` ends a command, if it is open, and says so; ``on_removed`` is told of each export that goes."""

    def __init__(
        self,
        *,
        index: Index,
        bundle: Bundle,
        trust: Trust,
        exports: Exports,
        cancel: Callable[..., bool],
        on_removed: Callable[[str], None],
    ) -> None:
        self._index = index
        self._bundle = bundle
        self._trust = trust
        self._exports = exports
        self._cancel_command = cancel
        self._on_removed = on_removed
        self._removing = asyncio.Lock()

    def ids(self, tx: Tx) -> frozenset[str]:
        """Return the exports that lie here, and those that commands are to make: no erasure is asked for them."""
        asked = self._trust.open_of(tx, "export")
        return self._bundle.exports(tx) | {export_id for export_id in asked if delivery.get(tx, export_id) is None}

    async def remove(
        self, row: CommandRow, ids: Ids, select: Selection, *, requester: Requester, moment: Moment
    ) -> AgentError | None:
        """Remove, and decide, the exports that an owner's delete means; return what keeps one of them from going.

        An export that is being built when everything is deleted is waited for, and goes too if it was asked for before;
        an erase-all means whatever is there by now. One that is named is waited for as well, and not made at all where
        it is only asked for. One that cannot be removed stays undecided, and its delete open, until it is. A backend's
        delete never removes what was made for the owner.
        """
        asked_by_ms = moment.agent_ms if row.verb == "erase-all" else row.received_ms

        def named(tx: Tx) -> set[str]:
            return {export_id for export_id in self.ids(tx) if export_id in ids}

        def meant(tx: Tx) -> tuple[list[str], list[str]]:
            here = self._bundle.exports(tx)
            found = named(tx) | bundle.meant(tx, select, asked_by_ms=asked_by_ms)
            return sorted(found & here), sorted(found - here)

        def keep(tx: Tx) -> None:
            made, _ = meant(tx)
            for export_id in made if row.role == "client" else ():  # it was the owner's when it began
                self._bundle.keep(tx, export_id)
            for export_id in named(tx):
                failed = Outcome(id=export_id, result="failed")
                self._decide(tx, row=row, outcome=failed, selected=True, moment=moment)

        made, asked_for = await self._index.read(meant)
        if requester.role != "client":
            if made or asked_for:
                await self._index.write(keep, urgent=True)
            return None
        waits = bundle.means_exports(select) or self._exports.building in asked_for
        line = self._exports.line if waits else contextlib.nullcontext()
        async with line, self._removing:  # two may mean the same one
            made, asked_for = await self._index.read(meant)
            for export_id in asked_for:
                await self._index.write(partial(self._cancel, row=row, export_id=export_id, moment=moment), urgent=True)
            return await self._remove_all(row, made, ids, moment=moment)

    async def _remove_all(self, row: CommandRow, found: list[str], ids: Ids, *, moment: Moment) -> AgentError | None:
        stays: AgentError | None = None
        for export_id in found:
            gone = Outcome(id=export_id, result="deleted")
            note = partial(self._decide, row=row, outcome=gone, selected=export_id in ids, moment=moment)
            try:
                await asyncio.to_thread(self._bundle.remove, export_id, note, command=row.jti)
            except (ConfigError, LinkError) as error:
                stays = error
            self._on_removed(export_id)  # what cannot be removed yet is handed out to nobody either
        return stays

    def _cancel(self, tx: Tx, *, row: CommandRow, export_id: str, moment: Moment) -> None:
        """End the command of an export; one that is begun meanwhile is not kept.

        If power fails before this is durable, the delete comes again.
        """
        if self._cancel_command(tx, export_id, moment=moment):
            never = Outcome(id=export_id, result="already_gone")
            self._decide(tx, row=row, outcome=never, selected=True, moment=moment)

    async def answer_put_off(self, row: CommandRow, *, moment: Moment) -> None:
        """Let an erase-all have its outcomes in spite of exports that cannot be removed: those are ``failed``.

        They are tried again as before, and nobody is told of it then.
        """

        def answer(tx: Tx) -> None:
            ids = self._trust.frozen(tx, row.jti)
            for export_id in self._bundle.exports(tx):
                failed = Outcome(id=export_id, result="failed")
                self._decide(tx, row=row, outcome=failed, selected=export_id in ids, moment=moment)
                self._bundle.release(tx, export_id)

        # If power fails before this is durable, the next start tries them once more.
        await self._index.write(answer, urgent=True)

    def _decide(self, tx: Tx, *, row: CommandRow, outcome: Outcome, selected: bool, moment: Moment) -> None:
        self._trust.decide(tx, row.jti, (outcome,), selected=selected)
        if outcome.result == "deleted":
            event = Event(kind="erased", object=outcome.id, actor=row.kid, command=row.jti, rule="export")
            audit.append(tx, event, moment=moment)
