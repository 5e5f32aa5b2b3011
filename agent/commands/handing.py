"""Exports that go to a third party: put at its address file by file, over crashes and broken lines, until it has all.

1. Built as any export, sealed to the recipients that the owner named; in the transaction of its row, what is to be put.
2. Each file is put (``agent/courier``); that the server has it is committed before the next one. A crash in between
   puts one file twice, under the same name and with the same bytes.
3. When the server has all, or will never: the folder here goes. It was made for somebody else.
4. One transaction: the receipt, with whose word it rests on, and the audit's entry.

A broken line is tried again, ever less often, while the owner's command is valid; what the server or its address is
refused for is told at once.
"""

import asyncio
import os
from functools import partial
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.bundle import Bundle, Export
from agent.clock import MS_PER_S
from agent.commands.ledger import RUNNING, Answer, Ledger
from agent.commands.world import World
from agent.courier import Courier, Errand
from agent.envelope import Command
from agent.envelope import Export as ExportRequest
from agent.envelope.deposit import Deposit, read_deposit
from agent.errors import LinkError, RefusedError
from agent.index import Index, Tx
from agent.model import Moment
from agent.rights import delivery
from agent.rights.delivery import ToPut
from agent.trust import Trust

FIRST_AGAIN_MS: Final = 15_000
LONGEST_AGAIN_MS: Final = 3_600_000
WAITING_MAX: Final = 256
"""Deliveries whose next try is remembered; one that is forgotten is tried at once."""


class _Again(msgspec.Struct, frozen=True):
    """When a delivery is tried again, after which pause, and what went wrong."""

    at_ms: int
    pause_ms: int
    message: str


def begin_delivery(tx: Tx, export: Export, request: ExportRequest) -> None:
    """Do the second half of step 1."""
    delivery.begin(
        tx,
        export.id,
        party=request.party,
        host=read_deposit(request.put).host,
        objects=(one.id for one in export.outcomes if one.result == "exported"),
        files=((file.name, file.bytes, file.sha256) for file in export.files),
    )


class Handing:
    """Puts what was built; ``stop`` ends what is under way for an export that is removed."""

    def __init__(self, *, index: Index, bundle: Bundle, trust: Trust, ledger: Ledger, world: World) -> None:
        self._index = index
        self._bundle = bundle
        self._trust = trust
        self._ledger = ledger
        self._world = world
        self._again: dict[str, _Again] = {}
        self._under_way: dict[str, Courier] = {}

    def is_begun(self, tx: Tx, export_id: str) -> bool:
        """Tell whether an export was built to be put, so that it is not built again."""
        found = delivery.get(tx, export_id)
        return found is not None and found.state == "under_way"

    def stop(self, export_id: str) -> None:
        """End what is under way for an export that is gone."""
        courier = self._under_way.get(export_id)
        if courier is not None:
            courier.kill()

    async def carry_out(self, jti: str, command: Command) -> None:
        """Do steps 2 to 4, or raise ``LinkError`` for what is tried again."""
        request = command.request
        assert isinstance(request, ExportRequest)  # noqa: S101 - a caller's mistake
        if not await self._index.read(lambda tx: self.is_begun(tx, jti)):
            return  # nothing could be exported, and that was told
        waits = self._again.get(jti)
        now_ms = self._world.now().agent_ms
        if now_ms // MS_PER_S >= command.exp:
            await self._end(jti, request, why="gave_up")
            return
        if waits is not None and now_ms < waits.at_ms:
            raise LinkError(waits.message, hint="it is tried again while the command is valid")
        try:
            await self._put_all(jti, read_deposit(request.put))
        except RefusedError as error:
            await self._end(jti, request, why=error.reason)
        except LinkError as error:
            if not await self._lies_here(jti):
                await self._end(jti, request, why="removed")
                return
            self._note_again(jti, waits, error.message)
            raise
        else:
            await self._end(jti, request, why="")

    def _note_again(self, jti: str, before: _Again | None, message: str) -> None:
        pause_ms = FIRST_AGAIN_MS if before is None else min(LONGEST_AGAIN_MS, 2 * before.pause_ms)
        if len(self._again) >= WAITING_MAX:
            self._again.clear()
        self._again[jti] = _Again(self._world.now().agent_ms + pause_ms, pause_ms, message)

    async def _lies_here(self, export_id: str) -> bool:
        return await self._index.read(lambda tx: export_id in self._bundle.exports(tx))

    async def _put_all(self, export_id: str, deposit: Deposit) -> None:
        """Do step 2 until the server has every file."""
        file = await self._index.read(lambda tx: delivery.next_file(tx, export_id))
        if file is None:
            return
        async with Courier() as courier:
            self._under_way[export_id] = courier
            try:
                while file is not None:
                    file = await self._put(export_id, file, deposit, courier)
            finally:
                del self._under_way[export_id]

    async def _put(self, export_id: str, file: ToPut, deposit: Deposit, courier: Courier) -> ToPut | None:
        """Put one file and return the next."""
        errand = Errand(
            host=deposit.host,
            port=deposit.port,
            target=deposit.target(f"{export_id}-{file.name}"),
            size_bytes=file.bytes,
            may_be_private=deposit.host in self._world.policy().private_hosts,
            ca=self._world.authorities,
        )
        try:
            fd = os.open(self._bundle.folder / export_id / file.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise LinkError("the export was removed") from error
        try:
            said = await courier.put(errand, fd)
        finally:
            os.close(fd)

        def note(tx: Tx) -> ToPut | None:
            delivery.taken(tx, export_id, file, certificate_sha256=said.certificate_sha256)
            return delivery.next_file(tx, export_id)

        # Step 2. If power fails before this is durable, the file is put once more.
        return await self._index.write(note, urgent=True)

    async def _end(self, jti: str, request: ExportRequest, *, why: str) -> None:
        moment = self._world.now()
        self._again.pop(jti, None)
        # Step 3. If power fails behind it, step 2 finds nothing left to put, and this is done again.
        if await self._lies_here(jti):
            await asyncio.to_thread(self._bundle.remove, jti, partial(_note_gone, export_id=jti, moment=moment))

        def settle(tx: Tx) -> None:
            row = self._trust.command(tx, jti)
            told = delivery.told(tx, jti, recipients=request.to, why=why)
            counted = told["delivery"]
            detail: dict[str, str | int] = {"files": counted["taken"], "recipients": len(request.to)}
            if why:
                detail["why"] = why
                delivery.drop(tx, jti)
            else:
                delivery.delivered(tx, jti, moment=moment)
            audit.append(tx, Event(kind="handed_out", object=jti, command=jti, detail=detail), moment=moment)
            if row is None or row.status not in RUNNING:
                return
            if why:
                answer = Answer(export=told, outcomes=())  # nothing of it is the third party's
                self._ledger.settle(tx, row, status="failed", reason="not_delivered", answer=answer, moment=moment)
            else:
                self._ledger.settle_by_outcomes(tx, row, export=told, moment=moment)

        # Step 4.
        await self._index.write(settle, urgent=True)


def _note_gone(tx: Tx, *, export_id: str, moment: Moment) -> None:
    audit.append(tx, Event(kind="erased", object=export_id, rule="handed_out", command=export_id), moment=moment)
