"""Exports that go to a third party: put at its address file by file, over crashes and broken lines, until it has all.

1. Built as any export, sealed to the recipients that the owner named; in the transaction of its row, what is to be put.
2. Each file is put (``agent/courier``); that the server has it is committed before the next one. A crash in between
   puts one file twice, under the same name and with the same bytes.
3. When the server has all, or will never: one transaction says how it ends. A crash behind it changes nothing of that.
4. The folder here goes. It was made for somebody else.
5. One transaction: the receipt, with whose word it rests on and what of each object became, and the audit's entry.

Before each file it is judged again whether it may go: whoever asked holds the verb still, the owner deleted nothing of
it, and nobody else restricted it; while a word of the owner's goes first (``going_first.py``), it waits. A broken line
is tried again, ever less often, while the command is valid; what the server or its address is refused for is told at
once. What a server has is told, whatever the end.
"""

import asyncio
import os
from functools import partial
from typing import Literal

import msgspec

from agent import audit
from agent.audit import Event
from agent.bundle import Bundle, Export
from agent.clock import MS_PER_S
from agent.commands.again import Again
from agent.commands.going_first import going_first
from agent.commands.ledger import RUNNING, Answer, Ledger
from agent.commands.world import World
from agent.courier import Courier, Errand, Why, limit_s
from agent.envelope import Command
from agent.envelope import Export as ExportRequest
from agent.envelope.deposit import Deposit, read_deposit
from agent.errors import LinkError, RefusedError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.model import Moment
from agent.rights import delivery
from agent.rights.delivery import ToPut
from agent.trust import CommandRow, Trust
from agent.vault import Vault


class _End(msgspec.Struct, frozen=True):
    """Nothing more is put; ``why`` it failed, or "" where the server has all."""

    why: Why | Literal[""]


class _Wait(msgspec.Struct, frozen=True):
    """Nothing is put for now: a word of the owner's goes first."""

    verb: str


_Next = ToPut | _Wait | _End


def begin_delivery(tx: Tx, export: Export, request: ExportRequest) -> None:
    """Do the second half of step 1."""
    delivery.begin(
        tx,
        export.id,
        party=request.party,
        host=read_deposit(request.put).host,
        objects=((one.id, export.within[one.id]) for one in export.outcomes if one.result == "exported"),
        files=((file.name, file.bytes, file.sha256) for file in export.files),
    )


class Handing:
    """Puts what was built; ``stop`` ends what is under way for an export that is removed, or has to be."""

    def __init__(
        self, *, index: Index, vault: Vault, bundle: Bundle, trust: Trust, ledger: Ledger, world: World
    ) -> None:
        self._index = index
        self._vault = vault
        self._bundle = bundle
        self._trust = trust
        self._ledger = ledger
        self._world = world
        self._again = Again(world.now)
        self._under_way: dict[str, Courier] = {}

    def is_begun(self, tx: Tx, export_id: str) -> bool:
        """Tell whether an export was built to be put, so that it is not built again."""
        found = delivery.get(tx, export_id)
        return found is not None and found.state in {"under_way", "ending"}

    def stop(self, export_id: str) -> None:
        """End what is under way for an export that is gone, or is to go as soon as its files can be removed."""
        courier = self._under_way.get(export_id)
        if courier is not None:
            courier.kill()

    def look_again(self) -> None:
        """Have it judged again whether what is being put may go on: a key may have left the key set."""
        for courier in tuple(self._under_way.values()):
            courier.kill()

    async def end_deleted(self, ids: Ids) -> None:
        """End what is under way and holds an object that the owner deletes, before that is asked for its erasure."""
        if await self._index.read(lambda tx: delivery.covering(tx, ids)):
            for export_id in await self._index.write(lambda tx: self.end_in(tx, ids), urgent=True):
                self.stop(export_id)

    def end_in(self, tx: Tx, ids: Ids) -> tuple[str, ...]:
        """Write that what is under way and holds one of some objects ends; return which, to be stopped behind it."""
        found = delivery.covering(tx, ids)
        for export_id in found:
            delivery.ending(tx, export_id, why="removed")
        return found

    async def carry_out(self, row: CommandRow, command: Command) -> None:
        """Do steps 2 to 5, or raise ``LinkError`` for what is tried again."""
        request = command.request
        assert isinstance(request, ExportRequest)  # noqa: S101 - a caller's mistake
        if not await self._index.read(lambda tx: self.is_begun(tx, row.jti)):
            return  # nothing could be exported, and that was told
        next_one = await self._index.read(lambda tx: self._next(tx, row, exp_s=command.exp))
        if isinstance(next_one, ToPut):
            self._again.require_over(row.jti)
        try:
            if isinstance(next_one, ToPut):
                next_one = await self._put_all(row, next_one, read_deposit(request.put), exp_s=command.exp)
        except RefusedError as error:
            next_one = _End(msgspec.convert(error.reason, Why))
        except LinkError as error:
            now = await self._index.read(lambda tx: self._next(tx, row, exp_s=command.exp))
            if isinstance(now, ToPut):
                if now != next_one:  # a file got through
                    self._again.forget(row.jti)
                    await self._index.write(lambda tx: self._tell(tx, row.jti), urgent=True)
                self._again.put_off(row.jti, error.message)
                raise
            next_one = now
        if isinstance(next_one, _Wait):
            raise LinkError(f"the {next_one.verb} of some of this goes first", hint="it is tried again by itself")
        await self._end(row.jti, request, next_one)

    def _tell(self, tx: Tx, jti: str) -> None:
        """Tell who asked how many files the server has by now."""
        found = delivery.get(tx, jti)
        if found is not None:
            taken = found.files - delivery.files_left(tx, jti)
            self._ledger.progress(tx, jti, done=taken, total=found.files, moment=self._world.now())

    def _next(self, tx: Tx, row: CommandRow, *, exp_s: int) -> _Next:
        """Return the file to put next, or how it ends: first what is true already, then what may not go on or waits."""
        found = delivery.get(tx, row.jti)
        if found is None or found.state == "ending":
            return _End(msgspec.convert(found.why, Why) if found is not None and found.why else "")
        file = delivery.next_file(tx, row.jti)
        if file is None:
            return _End("")
        moment = self._world.now()
        key = self._trust.valid_key(tx, row.kid, moment=moment)
        if key is None or "export" not in key.verbs:
            return _End("key_removed")
        export = self._bundle.get(tx, row.jti)
        if export is None or export.removed_by:
            return _End("removed")
        if moment.agent_ms // MS_PER_S >= exp_s:
            return _End("gave_up")
        return self._judged(tx, row, file)

    def _judged(self, tx: Tx, row: CommandRow, file: ToPut) -> _Next:
        """Return the file where nothing that was said since the command came stands in its way."""
        if self._is_restricted(tx, row, file):
            return _End("restricted")
        for word, _ in going_first(tx, self._trust, lambda: tuple(delivery.objects(tx, row.jti))):
            return _Wait(word.verb)  # whichever file: the manifest names all of it
        return file

    def _is_restricted(self, tx: Tx, row: CommandRow, file: ToPut) -> bool:
        """Tell whether somebody else restricted what a file holds since its command came."""
        since = tuple(
            one
            for one in self._world.standing(tx).restrictions
            if one.author != row.kid and one.since_ms >= row.received_ms
        )
        found = (
            (self._vault.get(tx, object_id) for object_id in delivery.objects_in(tx, row.jti, file)) if since else ()
        )
        return any(item is not None and any(one.covers(item) for one in since) for item in found)

    async def _put_all(self, row: CommandRow, first: ToPut, deposit: Deposit, *, exp_s: int) -> _Wait | _End:
        """Do step 2 until nothing more is to be put, for now or at all."""
        next_one: _Next = first
        async with Courier() as courier:
            self._under_way[row.jti] = courier
            try:
                while isinstance(next_one, ToPut):
                    next_one = await self._put(row, next_one, deposit, courier, exp_s=exp_s)
            finally:
                del self._under_way[row.jti]
        return next_one

    async def _put(self, row: CommandRow, file: ToPut, deposit: Deposit, courier: Courier, *, exp_s: int) -> _Next:
        """Put one file and return what is next."""
        errand = Errand(
            host=deposit.host,
            port=deposit.port,
            target=deposit.target(f"{row.jti}-{file.name}"),
            size_bytes=file.bytes,
            may_be_private=deposit.host in self._world.policy().private_hosts,
            ca=self._world.authorities,
        )
        try:
            fd = os.open(self._bundle.folder / row.jti / file.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise LinkError(
                f"a file of the export cannot be opened: {error.strerror}", hint="look at the disk that holds the vault"
            ) from error
        left_s = exp_s - self._world.now().agent_ms / MS_PER_S
        try:
            said = await courier.put(errand, fd, within_s=max(0.0, min(limit_s(file.bytes), left_s)))
        finally:
            os.close(fd)

        def note(tx: Tx) -> _Next:
            delivery.taken(tx, row.jti, file, certificate_sha256=said.certificate_sha256)
            return self._next(tx, row, exp_s=exp_s)

        # Step 2. If power fails before this is durable, the file is put once more.
        return await self._index.write(note, urgent=True)

    async def _end(self, jti: str, request: ExportRequest, end: _End) -> None:
        moment = self._world.now()
        self._again.forget(jti)
        # Step 3. If power fails before this is durable, what is next is judged once more.
        await self._index.write(lambda tx: delivery.ending(tx, jti, why=end.why), urgent=True)
        # Step 4. If power fails behind it, how it ends is known, and this is done again.
        export = await self._index.read(lambda tx: self._bundle.get(tx, jti))
        if export is not None and not export.removed_by:  # else a delete has begun to, and answers for it
            await asyncio.to_thread(self._bundle.remove, jti, partial(_note_gone, export_id=jti, moment=moment))
        # Step 5.
        await self._index.write(lambda tx: self._settle(tx, jti, request, moment=moment), urgent=True)

    def _settle(self, tx: Tx, jti: str, request: ExportRequest, *, moment: Moment) -> None:
        told = delivery.told(tx, jti, recipients=request.to)
        if told is None:  # its owner left meanwhile, and nobody is told
            return
        why = told["delivery"].get("why", "")
        row = self._trust.command(tx, jti)
        row = None if row is None or row.status not in RUNNING else row
        if why and row is not None:
            for outcomes in delivery.not_taken(tx, jti):
                self._trust.decide(tx, jti, outcomes)
        delivery.ended(tx, jti, moment=moment)
        detail: dict[str, str | int] = {"files": told["delivery"]["taken"], "recipients": len(request.to)}
        if why:
            detail["why"] = why
        audit.append(tx, Event(kind="handed_out", object=jti, command=jti, detail=detail), moment=moment)
        if row is None:
            return
        if why:
            answer = Answer(export=told, outcomes=self._ledger.outcomes(tx, row))
            self._ledger.settle(tx, row, status="failed", reason="not_delivered", answer=answer, moment=moment)
        else:
            self._ledger.settle_by_outcomes(tx, row, export=told, moment=moment)


def _note_gone(tx: Tx, *, export_id: str, moment: Moment) -> None:
    audit.append(tx, Event(kind="erased", object=export_id, rule="handed_out", command=export_id), moment=moment)
