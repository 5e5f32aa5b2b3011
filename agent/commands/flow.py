"""``Commands``: receives, runs, resumes, acknowledges; decisions are in ``door`` and ``policy``, words in ``ledger``.

The index is the queue: receiving writes a row, ``run`` works on rows, so the ordinary run and the run after a crash are
the same loop. Everything a command needs to answer survives in the index even on a full disk (urgent writes).
"""

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.bundle import Bundle, Export, Form
from agent.clock import MS_PER_S
from agent.commands import door, listing
from agent.commands.door import Heard, Incoming, Repeat, Stranger, Turned
from agent.commands.ledger import RUNNING, Answer, Ledger
from agent.commands.world import BACKEND_DELETE, OWNER_ERASE, World, kept
from agent.envelope import (
    TYP_KEYSET,
    Approve,
    Command,
    Delete,
    Inventory,
    Key,
    SetTime,
    decode_strictly,
    parse,
    parse_command,
)
from agent.envelope import Export as ExportRequest
from agent.erasure import Erasure
from agent.errors import AgentError, ConfigError, CorruptError, RefusedError, SpaceError
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.model import Moment, Object, Outcome, Requester, Selection
from agent.outbox import Alert, Outbox
from agent.policy import Allow, Conditions, Subject, decide
from agent.trust import UNFINISHED_MAX, CommandRow, Trust
from agent.vault import Vault

EXPORT_OBJECTS_MAX: Final = 10_000
"""Objects of one export: bounds its manifest; a larger selection is asked for in parts."""

AUDIT_PAUSE_MS: Final = 60_000
"""Messages of strangers are counted always and audited at most this often."""

PROGRESS_MS: Final = 1_000
"""A progress receipt at most each second (§5)."""

RUNNING_MAX: Final = 16
"""Deletes that run at the same time; they join each other's rotations."""

_PAGE: Final = 256
_LOG: Final = logging.getLogger(__name__)

__all__ = ["EXPORT_OBJECTS_MAX", "Commands", "World"]


class _Judged(msgspec.Struct, frozen=True, kw_only=True):
    receipt: bytes = b""
    jti: str = ""
    run: str = ""
    stranger: str = ""


class Commands:
    """The flow; made by the composition root. ``run`` is a task, the rest is called by the broker and the socket."""

    def __init__(
        self,
        *,
        device: str,
        index: Index,
        keystore: Keystore,
        vault: Vault,
        erasure: Erasure,
        bundle: Bundle,
        trust: Trust,
        outbox: Outbox,
        ledger: Ledger,
        world: World,
    ) -> None:
        self._device = device
        self._index = index
        self._keystore = keystore
        self._vault = vault
        self._erasure = erasure
        self._bundle = bundle
        self._trust = trust
        self._outbox = outbox
        self._ledger = ledger
        self._world = world
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Event] = {}
        self._export_line = asyncio.Lock()
        self._exporting = ""
        self._serving = False
        self._later: set[str] = set()
        self._told_ms: dict[str, int] = {}
        self._untold: dict[str, int] = {}
        self.counters: dict[str, int] = {"unreadable": 0, "unknown_key": 0, "bad_signature": 0}

    @property
    def on_finish(self) -> Callable[[Tx, str, tuple[Outcome, ...], Moment], None]:
        """What ``Erasure`` calls in its step 7."""
        return self._ledger.on_finish

    # --- receiving

    async def receive(self, raw: bytes, *, moment: Moment, via: str = "mqtt") -> tuple[bytes, ...]:
        """Take one payload of ``cmd``; return its receipt, which also stands in the outbox, or nothing.

        Never raises for what the bytes are. A command's effect goes on in ``run``. When not even the reserved space is
        left nothing is taken up or answered: the sender keeps the command and sends it again.
        """
        if not raw:
            return ()
        try:
            incoming = door.read_payload(raw, keystore=self._keystore)
        except CorruptError:
            await self._count("unreadable", via=via, moment=moment)
            return ()
        try:
            if incoming.kind == "ack":
                await self._acknowledge(incoming, via=via, moment=moment)
                return ()
            judged = await self._take(incoming, via=via, moment=moment)
        except SpaceError as error:
            _LOG.warning("a message is not taken up: %s", error.message)
            return ()
        return (judged.receipt,) if judged.receipt else ()

    async def acknowledge(self, raw: bytes, *, moment: Moment) -> None:
        """Take an ack payload; nothing is answered."""
        await self.receive(raw, moment=moment)

    async def submit(self, raw: bytes, *, moment: Moment) -> bytes:
        """Take a command file, an ack file or a key set without any broker; return the sealed receipt's payload.

        A command is carried out before this returns, or waits. A key set answers ``b""``. Raises ``CorruptError`` or
        ``RefusedError`` for what has no answer.
        """
        if _is_keyset(raw):
            await self._index.write(lambda tx: self._accept_key_set(tx, raw, moment=moment), urgent=True)
            return b""
        incoming = door.read_file(raw, keystore=self._keystore)
        if incoming.kind == "ack":
            await self._acknowledge(incoming, via="local", moment=moment)
            return b""
        judged = await self._take(incoming, via="local", moment=moment)
        if judged.stranger == "unknown_key":
            raise RefusedError(
                "no key of this device's key set signed this",
                reason="verb_not_allowed",
                hint="submit the newest key set first, or check the device id",
            )
        if judged.stranger:
            raise RefusedError("the signature does not hold", reason="bad_signature", hint="sign the command again")
        if judged.run:
            await self._work_on(judged.run)
        await self.tick(moment)
        if not self._serving:
            await self._drain()
        row = await self._index.read(lambda tx: self._trust.command(tx, judged.jti))
        return judged.receipt if row is None else row.receipt

    async def submit_file(self, path: Path, *, moment: Moment) -> bytes:
        """Do what ``submit`` does with a file's bytes."""
        return await self.submit(await asyncio.to_thread(path.read_bytes), moment=moment)

    def _accept_key_set(self, tx: Tx, raw: bytes, *, moment: Moment) -> None:
        before = self._trust.key_set(tx)
        if self._trust.accept_key_set(tx, raw, moment=moment) != before:
            self._outbox.clear_alert(tx, "unusable_key", moment=moment)

    async def _acknowledge(self, incoming: Incoming, *, via: str, moment: Moment) -> None:
        def note(tx: Tx) -> str:
            heard = door.hear_ack(tx, incoming, trust=self._trust, device=self._device)
            if isinstance(heard, Stranger):
                return heard.why
            self._outbox.acknowledged(tx, heard.iss, heard.acks)
            self._trust.acknowledged(tx, heard.iss, heard.acks)
            return ""

        stranger = await self._index.write(note, urgent=True)
        if stranger:
            await self._count(stranger, via=via, moment=moment)

    async def _take(self, incoming: Incoming, *, via: str, moment: Moment) -> _Judged:
        judged = await self._index.write(lambda tx: self._judge(tx, incoming, moment=moment), urgent=True)
        if judged.stranger:
            await self._count(judged.stranger, via=via, moment=moment)
            return judged
        self._world.changed()
        if judged.run:
            self._wake.set()
        return judged

    def _judge(self, tx: Tx, incoming: Incoming, *, moment: Moment) -> _Judged:
        heard = door.hear(tx, incoming, trust=self._trust, device=self._device, moment=moment)
        if isinstance(heard, Stranger):
            return _Judged(stranger=heard.why)
        if isinstance(heard, Repeat):
            row = heard.row
            if row.receipt:
                self._outbox.put_receipt(tx, to=row.kid, about=row.jti, jti=row.receipt_jti, body=row.receipt)
            return _Judged(receipt=row.receipt, jti=row.jti, run=row.jti if row.status in RUNNING else "")
        if isinstance(heard, Turned):
            return _Judged(receipt=self._turn(tx, heard, moment=moment))
        return self._judge_rights(tx, heard, moment=moment)

    def _turn(self, tx: Tx, turned: Turned, *, moment: Moment) -> bytes:
        detail: dict[str, str | int] = {"reason": turned.error.reason}
        if self._outbox.waiting(tx, reader=turned.key.kid, about=f"refused/{turned.digest}") is None:
            event = Event(kind="command_refused", actor=turned.key.kid, command=turned.jti, detail=detail)
            audit.append(tx, event, moment=moment)
        return self._ledger.refuse(
            tx,
            turned.key,
            digest=turned.digest,
            jti=turned.jti,
            verb=turned.verb,
            seq=turned.seq,
            error=turned.error,
            moment=moment,
        )

    # --- step 4: verb, recipients, limits, waits

    def _judge_rights(self, tx: Tx, heard: Heard, *, moment: Moment) -> _Judged:
        key, command = heard.key, heard.command
        try:
            door.judge_verb(heard, moment=moment)
            selection = self._resolve(tx, key, command)
            waits_for = self._waits_for(tx, key, command, selection, approved=False, moment=moment)
            if not waits_for:
                self._act_at_once(tx, key, command, moment=moment)
        except RefusedError as error:
            row = self._take_up(tx, heard, (), moment=moment)
            row = self._ledger.settle(tx, row, status="refused", reason=error.reason, moment=moment)
            return _Judged(receipt=row.receipt)
        lasting = bool(waits_for) or isinstance(command.request, Delete | ExportRequest)
        if lasting and self._trust.unfinished_count(tx, key.kid) >= UNFINISHED_MAX:
            busy = RefusedError("too many commands of this key are not finished", reason="busy", retry="later")
            turned = Turned(
                key=key, digest=heard.digest, jti=command.jti, verb=command.verb, seq=command.seq, error=busy
            )
            return _Judged(receipt=self._turn(tx, turned, moment=moment))
        row = self._take_up(tx, heard, selection, moment=moment)
        if waits_for:
            row = self._await(tx, row, waits_for, count=len(selection), moment=moment)
            return _Judged(receipt=row.receipt, jti=row.jti)
        return self._start(tx, key, command, row, selection, moment=moment)

    def _take_up(self, tx: Tx, heard: Heard, selection: tuple[str, ...], *, moment: Moment) -> CommandRow:
        return self._ledger.take_up(
            tx,
            heard.key,
            heard.command,
            digest=heard.digest,
            claims=heard.claims,
            selection=selection,
            moment=moment,
        )

    def _start(
        self, tx: Tx, key: Key, command: Command, row: CommandRow, selection: tuple[str, ...], *, moment: Moment
    ) -> _Judged:
        """Begin an accepted command's effect; what needs no work of its own is settled here."""
        if isinstance(command.request, Inventory):
            row = self._tell(tx, key, command.request, row, selection, moment=moment)
            return _Judged(receipt=row.receipt, jti=row.jti)
        if isinstance(command.request, Approve | SetTime):
            row = self._ledger.settle(tx, row, status="done", moment=moment)
            run = command.request.command if isinstance(command.request, Approve) else ""
            return _Judged(receipt=row.receipt, jti=row.jti, run=run)
        self._spend(tx, key, selection, moment=moment)
        self._cut_off(tx, key, command, row, moment=moment)
        row = self._ledger.accept(tx, row, moment=moment)
        return _Judged(receipt=row.receipt, jti=row.jti, run=row.jti)

    def _cut_off(self, tx: Tx, key: Key, command: Command, row: CommandRow, *, moment: Moment) -> None:
        """Put a delete's cut-off when it is accepted; of one that waited it ends when it was commanded."""
        if not isinstance(command.request, Delete) or command.request.select.ids is not None:
            return
        # Whichever clock is ahead: a camera with the right time recorded before the command, whatever ours thought.
        before_ms = max(moment.agent_ms, moment.wall_ms)
        if row.status == "waiting":
            before_ms = min(before_ms, max(row.received_ms, command.iat * MS_PER_S))
        rule = OWNER_ERASE if key.role == "client" else BACKEND_DELETE
        self._erasure.cut_off(tx, command.request.select, rule=rule, before_ms=before_ms)

    def _resolve(self, tx: Tx, key: Key, command: Command) -> tuple[str, ...]:
        """Freeze what the command names now; raises ``not_granted``, ``malformed`` or ``too_large``."""
        if isinstance(command.request, ExportRequest):
            self._require_recipients(key, command.request)
        select = command.selection
        if select is None or (isinstance(command.request, Inventory) and "." in command.request.cursor):
            return ()
        ids = self._vault.select(tx, select)
        if isinstance(command.request, Delete) and key.role == "client":
            ids = tuple(sorted({*ids, *self._bundle.select(tx, select)}))
        if isinstance(command.request, ExportRequest) and len(ids) > EXPORT_OBJECTS_MAX:
            raise RefusedError("the export would be too large", reason="too_large", retry="after_fix")
        return ids

    def _selection_of(self, tx: Tx, jti: str, command: Command) -> tuple[str, ...]:
        if isinstance(command.request, Inventory):  # tells what is held when it is told
            return () if "." in command.request.cursor else self._vault.select(tx, command.request.select)
        return self._trust.undecided(tx, jti)

    def _require_recipients(self, key: Key, request: ExportRequest) -> None:
        if request.to and key.role != "client":
            raise RefusedError("only an owner client names recipients", reason="not_granted")
        try:
            self._bundle.require_recipients(request.to or self._world.policy().owner_recipients())
        except ConfigError as error:
            raise RefusedError(error.message, reason="malformed", retry="after_fix") from error

    def _waits_for(
        self, tx: Tx, key: Key, command: Command, selection: tuple[str, ...], *, approved: bool, moment: Moment
    ) -> str:
        if command.after:
            before = self._trust.command(tx, command.after)
            if before is None or before.settled_ms is None:
                return "after_pending"
        if key.role == "backend" and isinstance(command.request, Delete) and not moment.trusted:
            return "clock_unconfirmed"
        if approved or key.quota is None or not isinstance(command.request, Delete | ExportRequest):
            return ""
        objects, size_bytes = self._weigh(tx, selection)
        over = self._trust.over_quota(tx, key, objects=objects, size_bytes=size_bytes, moment=moment)
        return "quota_exceeded" if over else ""

    def _weigh(self, tx: Tx, selection: tuple[str, ...]) -> tuple[int, int]:
        found = [item for item in (self._vault.get(tx, object_id) for object_id in selection) if item is not None]
        return len(found), sum(item.size_bytes for item in found)

    def _spend(self, tx: Tx, key: Key, selection: tuple[str, ...], *, moment: Moment) -> None:
        if key.quota is not None:
            objects, size_bytes = self._weigh(tx, selection)
            self._trust.spend(tx, key, objects=objects, size_bytes=size_bytes, moment=moment)

    def _act_at_once(self, tx: Tx, key: Key, command: Command, *, moment: Moment) -> None:
        """Have the effect of a verb that needs no work behind the transaction; raises ``RefusedError``."""
        if isinstance(command.request, Approve):
            self._approve(tx, key, command.request, moment=moment)
        elif isinstance(command.request, SetTime):
            self._world.set_time(tx, command.request.now, moment)

    def _await(self, tx: Tx, row: CommandRow, reason: str, *, count: int, moment: Moment) -> CommandRow:
        if reason == "quota_exceeded":
            self._alert_quota(tx, row, count=count, moment=moment)
        return self._ledger.wait(tx, row, reason=reason, moment=moment)

    def _approve(self, tx: Tx, key: Key, request: Approve, *, moment: Moment) -> None:
        if self._world.approve_pass(tx, request.command, request.selection, key):
            self._outbox.clear_alert(tx, "retention_waiting", moment=moment)
            return
        row = self._trust.command(tx, request.command)
        if (
            row is None
            or (row.status, row.reason) != ("waiting", "quota_exceeded")
            or row.selection_hash != request.selection
        ):
            raise RefusedError("nothing waits with this selection", reason="nothing_waiting", retry="after_fix")
        waiting_key = self._trust.valid_key(tx, row.kid, moment=moment)
        if waiting_key is None:
            raise RefusedError("its key is no longer trusted", reason="nothing_waiting", retry="after_fix")
        self._cut_off(tx, waiting_key, _command_of(row), row, moment=moment)
        self._ledger.accept(tx, row, approved_by=key.kid, moment=moment)
        self._spend(tx, waiting_key, self._trust.undecided(tx, row.jti), moment=moment)
        others = self._trust.unfinished(tx, statuses=("waiting",), limit=_PAGE)
        if not any(other.reason == "quota_exceeded" for other in others):
            self._outbox.clear_alert(tx, "mass_delete_waiting", moment=moment)

    def _alert_quota(self, tx: Tx, row: CommandRow, *, count: int, moment: Moment) -> None:
        alert = Alert(
            code="mass_delete_waiting",
            what=f"A command over {count} objects is above the quota of its key.",
            effect="It waits; nothing was deleted or exported.",
            next=f"Approve just this: privacy-owner approve {row.jti} {row.selection_hash}; or let it expire.",
        )
        readers = self._trust.keys_of(tx, "client", moment=moment)
        self._outbox.raise_alert(tx, alert, readers=readers, moment=moment)

    # --- inventory

    def _tell(
        self, tx: Tx, key: Key, request: Inventory, row: CommandRow, selection: tuple[str, ...], *, moment: Moment
    ) -> CommandRow:
        name, dot, behind = request.cursor.partition(".")
        if dot:
            return self._tell_outcomes(tx, key, row, command=name, after=behind, limit=request.limit, moment=moment)
        outcomes, cursor = listing.listed(
            tx,
            ids=selection[bisect_right(selection, request.cursor) :],
            limit=request.limit,
            get=self._held,
            view=self._view(key.role, moment=moment),
        )
        event = Event(kind="inventory_told", actor=key.kid, command=row.jti, detail={"count": len(outcomes)})
        audit.append(tx, event, moment=moment)
        answer = Answer(outcomes=outcomes, cursor=cursor)
        return self._ledger.settle(tx, row, status="done", answer=answer, moment=moment)

    def _tell_outcomes(
        self, tx: Tx, key: Key, row: CommandRow, *, command: str, after: str, limit: int, moment: Moment
    ) -> CommandRow:
        """Answer with a page of the outcomes of an earlier command that had too many for its receipt."""
        about = self._trust.command(tx, command)
        if about is None or (about.kid != key.kid and key.role != "client"):
            return self._ledger.settle(tx, row, status="refused", reason="malformed", moment=moment)
        found = self._trust.outcomes(tx, command, after=after, limit=limit + 1)
        page = tuple(msgspec.to_builtins(outcome) for outcome in found[:limit])
        cursor = f"{command}.{page[-1]['id']}" if len(found) > limit else ""
        return self._ledger.settle(tx, row, status="done", answer=Answer(outcomes=page, cursor=cursor), moment=moment)

    def _held(self, tx: Tx, object_id: str) -> Object | None:
        found = self._vault.get(tx, object_id)
        return None if found is None or found.state == "erasing" else found

    def _view(self, role: str, *, moment: Moment) -> Callable[[Tx, Object], dict[str, Any]]:
        if role == "backend":
            return lambda _tx, found: listing.backend_view(found)
        policy = self._world.policy()
        return lambda tx, found: listing.owner_view(
            found,
            label=self._world.label(tx, found.camera),
            policy=policy,
            rights=self._world.rights(tx, found.id),
            moment=moment,
        )

    async def inventory_here(
        self, select: Selection, *, cursor: str = "", limit: int = 200, moment: Moment
    ) -> dict[str, Any]:
        """Answer the person at this machine as the owner is answered: ``{"selection", "outcomes", "cursor"}``."""

        def tell(tx: Tx) -> dict[str, Any]:
            ids = self._vault.select(tx, select)
            outcomes, following = listing.listed(
                tx,
                ids=ids[bisect_right(ids, cursor) :],
                limit=limit,
                get=self._held,
                view=self._view("local", moment=moment),
            )
            audit.append(
                tx, Event(kind="inventory_told", actor="local", detail={"count": len(outcomes)}), moment=moment
            )
            return {"selection": {"count": len(ids)}, "outcomes": list(outcomes), "cursor": following}

        return await self._index.write(tell)

    # --- carrying out

    async def run(self) -> None:
        """Carry out accepted commands until cancelled; a task of the composition root."""
        self._serving = True
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    for row in await self._ready():
                        if len(self._running) < RUNNING_MAX and not (row.verb == "export" and self._exporting):
                            if row.verb == "export":  # one at a time anyway: the others would stand in a delete's way
                                self._exporting = row.jti
                            group.create_task(self._work_on(row.jti), name=f"command {row.jti}")
                            await asyncio.sleep(0)
                    await self._wake.wait()
        finally:
            self._serving = False

    async def resume(self, moment: Moment) -> None:
        """At start, after ``Erasure.resume``: release what may go on and finish the deletes that a crash cut off.

        Exports may be long and are left to ``run``.
        """
        await self.tick(moment)
        await self._drain(but="export")

    async def tick(self, moment: Moment) -> None:
        """Judge every waiting command again: its time may be trusted, its predecessor done, its expiry past.

        Also tries again what an outside failure stopped. The composition root calls it every few seconds.
        """
        self._later.clear()
        await self._release(moment)

    async def _drain(self, *, but: str = "") -> None:
        while ready := await self._ready(but=but):
            for row in ready:
                await self._work_on(row.jti)

    async def _ready(self, *, but: str = "") -> list[CommandRow]:
        rows = await self._index.read(lambda tx: self._trust.unfinished(tx, statuses=RUNNING, limit=_PAGE))
        busy = self._running.keys() | self._later
        return [row for row in rows if row.jti not in busy and row.verb != but]

    async def _release(self, moment: Moment) -> None:
        waiting = await self._index.read(
            lambda tx: [row.jti for row in self._trust.unfinished(tx, statuses=("waiting",), limit=_PAGE) if row.reason]
        )
        if any([await self._reconsider(jti, moment=moment) for jti in waiting]):
            self._world.changed()
        self._wake.set()

    async def _reconsider(self, jti: str, *, moment: Moment) -> bool:
        return await self._index.write(lambda tx: self._reconsider_in(tx, jti, moment=moment), urgent=True)

    def _reconsider_in(self, tx: Tx, jti: str, *, moment: Moment) -> bool:
        row = self._trust.command(tx, jti)
        if row is None or row.status != "waiting" or not row.reason:
            return False
        command = _command_of(row)
        key = self._trust.valid_key(tx, row.kid, moment=moment)
        if key is None or command.verb not in key.verbs:
            self._ledger.settle(tx, row, status="refused", reason="verb_not_allowed", moment=moment)
            return True
        if moment.trusted and moment.agent_ms // MS_PER_S >= command.exp:
            self._ledger.settle(tx, row, status="refused", reason="expired", moment=moment)
            return True
        selection = self._selection_of(tx, jti, command)
        approved = bool(row.approved_by)
        waits_for = self._waits_for(tx, key, command, selection, approved=approved, moment=moment)
        if waits_for:
            if waits_for != row.reason:
                self._await(tx, row, waits_for, count=len(selection), moment=moment)
            return waits_for != row.reason
        try:
            self._act_at_once(tx, key, command, moment=moment)
        except RefusedError as error:
            self._ledger.settle(tx, row, status="refused", reason=error.reason, moment=moment)
            return True
        self._start(tx, key, command, row, selection, moment=moment)
        return True

    async def _work_on(self, jti: str) -> None:
        """Carry one command out, or wait for whoever does."""
        if jti in self._running:
            await self._running[jti].wait()
            return
        self._running[jti] = done = asyncio.Event()
        try:
            await self._carry_out(jti)
        except AgentError as error:
            # The row stays accepted: the next tick tries again, and a restart does too.
            self._later.add(jti)
            _LOG.warning("command %s is not finished: %s", jti, error.message)
        finally:
            del self._running[jti]
            if self._exporting == jti:
                self._exporting = ""
            done.set()
            self._world.changed()
        try:
            await self._release(self._world.now())
        except AgentError as error:  # no room even for that: the next tick releases them
            _LOG.warning("what waits is looked at again later: %s", error.message)

    async def _carry_out(self, jti: str) -> None:
        row = await self._index.read(lambda tx: self._trust.command(tx, jti))
        if row is None or row.status not in RUNNING:
            return
        command = _command_of(row)
        if isinstance(command.request, Delete):
            await self._delete(row, command.request)
        elif isinstance(command.request, ExportRequest):
            async with self._export_line:
                await self._export(row, command.request)

    async def _delete(self, row: CommandRow, request: Delete) -> None:
        moment = self._world.now()
        requester = await self._index.read(lambda tx: self._requester(tx, row))
        if requester.role == "backend" and not moment.trusted:
            await self._index.write(
                lambda tx: self._ledger.wait(tx, row, reason="clock_unconfirmed", moment=moment), urgent=True
            )
            return
        ids = await self._index.read(lambda tx: self._trust.undecided(tx, row.jti))
        ids = await self._decide_exports(row, ids, request.select, requester=requester, moment=moment)
        if ids:
            rule = OWNER_ERASE if requester.role == "client" else BACKEND_DELETE
            await self._erasure.erase(
                ids,
                actor=row.kid,
                rule=rule,
                command=row.jti,
                moment=moment,
                progress=self._progress(row.jti),
            )
        await self._settle_open(row.jti)

    async def _decide_exports(
        self, row: CommandRow, ids: tuple[str, ...], select: Selection, *, requester: Requester, moment: Moment
    ) -> tuple[str, ...]:
        """Remove the exports that an owner's delete means; return the ids that are left for the erasure.

        An export that is being built when everything is deleted is waited for, and goes too. A backend's delete never
        removes what was made for the owner.
        """
        whole = requester.role == "client" and (select.all is True or select.category == "export")
        async with self._export_line if whole else contextlib.nullcontext():
            held = await self._index.read(self._bundle.exports)
            named = {export_id for export_id in ids if export_id in held}
            if whole:
                named.update(await self._index.read(lambda tx: self._bundle.select(tx, select)))
            for export_id in sorted(named):
                if requester.role == "client":
                    await asyncio.to_thread(self._bundle.remove, export_id)
                    await self._decide_export(row, Outcome(id=export_id, result="deleted"), moment=moment)
                else:
                    await self._decide_export(row, Outcome(id=export_id, result="failed"), moment=moment)
        return tuple(object_id for object_id in ids if object_id not in named)

    async def _decide_export(self, row: CommandRow, outcome: Outcome, *, moment: Moment) -> None:
        def note(tx: Tx) -> None:
            self._trust.decide(tx, row.jti, (outcome,))
            if outcome.result == "deleted":
                event = Event(kind="erased", object=outcome.id, actor=row.kid, command=row.jti, rule="export")
                audit.append(tx, event, moment=moment)

        await self._index.write(note, urgent=True)

    async def _settle_open(self, jti: str) -> None:
        """Settle a command whose last object was decided outside an erasure."""

        def settle(tx: Tx) -> None:
            row = self._trust.command(tx, jti)
            if row is not None and row.status in RUNNING:
                self._ledger.settle_by_outcomes(tx, row, moment=self._world.now())

        await self._index.write(settle, urgent=True)

    def _progress(self, jti: str) -> Callable[[int, int], None]:
        last_ms = self._world.now().agent_ms

        def tell(done: int, total: int) -> None:
            nonlocal last_ms
            moment = self._world.now()
            if done < total and moment.agent_ms - last_ms >= PROGRESS_MS:
                last_ms = moment.agent_ms
                self._index.write_now(
                    lambda tx: self._ledger.progress(tx, jti, done=done, total=total, moment=moment), urgent=True
                )

        return tell

    async def _export(self, row: CommandRow, request: ExportRequest) -> None:
        requester = await self._index.read(lambda tx: self._requester(tx, row))
        ids = await self._index.read(lambda tx: self._trust.undecided(tx, row.jti))
        recipients = request.to or self._world.policy().owner_recipients()
        form: Form = "zip" if request.form == "zip" else "objects"
        try:
            export = await self._build(
                row.jti, ids, requester=requester, recipients=recipients, form=form, progress=self._progress(row.jti)
            )
        except SpaceError:
            await self._fail(row.jti, reason="disk_full")
            return
        told = export.told(named=row.role != "backend")

        def settle(tx: Tx) -> None:
            now = self._world.now()
            self._trust.decide(tx, row.jti, export.outcomes)
            self._note_export(tx, export, actor=row.kid, command=row.jti, moment=now)
            current = self._trust.command(tx, row.jti)
            if current is not None and current.settled_ms is None:
                self._ledger.settle_by_outcomes(tx, current, export=told, moment=now)

        await self._index.write(settle, urgent=True)

    async def export_here(
        self,
        export_id: str,
        select: Selection,
        *,
        form: Form,
        moment: Moment,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Export:
        """Export for the person at this machine, to the policy's owner and to nobody else.

        ``export_id`` is fresh. Raises ``RefusedError`` (``too_large``), ``ConfigError`` without an owner's recipient,
        ``SpaceError``.
        """
        ids = await self._index.read(lambda tx: self._vault.select(tx, select))
        if len(ids) > EXPORT_OBJECTS_MAX:
            raise RefusedError(
                f"{len(ids)} objects; an export holds {EXPORT_OBJECTS_MAX}",
                reason="too_large",
                retry="after_fix",
                hint="export a shorter interval or one camera",
            )
        async with self._export_line:
            export = await self._build(
                export_id,
                ids,
                requester=Requester(role="local"),
                recipients=self._world.policy().owner_recipients(),
                form=form,
                progress=progress,
            )
        await self._index.write(
            lambda tx: self._note_export(tx, export, actor="local", command="", moment=moment), urgent=True
        )
        return export

    async def _build(
        self,
        export_id: str,
        ids: tuple[str, ...],
        *,
        requester: Requester,
        recipients: tuple[str, ...],
        form: Form,
        progress: Callable[[int, int], None],
    ) -> Export:
        moment = self._world.now()
        policy = self._world.policy()
        to_owner_only = set(recipients) <= set(policy.owner_recipients())
        conditions = Conditions(moment=moment, to_owner_only=to_owner_only)

        def judge(tx: Tx, found: Object) -> Outcome | None:
            rights = self._world.rights(tx, found.id)
            decision = decide(
                policy, "export", requester=requester, subject=Subject.of(found), rights=rights, conditions=conditions
            )
            return None if isinstance(decision, Allow) else kept(found.id, decision)

        return await asyncio.to_thread(
            self._bundle.build,
            export_id,
            ids,
            recipients=recipients,
            form=form,
            judge=judge,
            label=self._world.label,
            moment=moment,
            progress=progress,
        )

    def _note_export(self, tx: Tx, export: Export, *, actor: str, command: str, moment: Moment) -> None:
        detail: dict[str, str | int] = {
            "objects": sum(outcome.result == "exported" for outcome in export.outcomes),
            "bytes": sum(file.bytes for file in export.files),
            "recipients": len(export.recipients),
        }
        event = Event(kind="exported", actor=actor, object=export.id, command=command, detail=detail)
        audit.append(tx, event, moment=moment)
        for outcome in export.outcomes:
            if outcome.result == "failed":
                audit.append(tx, Event(kind="corrupt_object", object=outcome.id, command=command), moment=moment)

    async def _fail(self, jti: str, *, reason: str) -> None:
        def fail(tx: Tx) -> None:
            row = self._trust.command(tx, jti)
            if row is not None and row.settled_ms is None:
                self._ledger.settle(tx, row, status="failed", reason=reason, moment=self._world.now())

        await self._index.write(fail, urgent=True)

    def _requester(self, tx: Tx, row: CommandRow) -> Requester:
        # The owner's approve stands in for nothing but the quota: the decision is still made for who asked.
        key = self._trust.key(tx, row.kid)
        role = row.role if key is None else key.role
        return msgspec.convert({"role": role, "kid": row.kid, "verbs": (row.verb,)}, Requester)

    # --- strangers

    async def _count(self, why: str, *, via: str, moment: Moment) -> None:
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
            if why == "unknown_key":
                alert = Alert(
                    code="unknown_keys",
                    what="Commands arrive that are signed by keys outside the key set.",
                    effect="They are dropped without an answer.",
                    next="If one of your keys is new, submit the key set that names it.",
                )
                readers = self._trust.keys_of(tx, "client", moment=moment)
                self._outbox.raise_alert(tx, alert, readers=readers, moment=moment)

        with contextlib.suppress(SpaceError):  # strangers get nothing of the reserved space
            await self._index.write(note)


def _command_of(row: CommandRow) -> Command:
    return parse_command(decode_strictly(row.claims, max_bytes=len(row.claims)))


def _is_keyset(raw: bytes) -> bool:
    try:
        parse(raw.strip(), typ=TYP_KEYSET)
    except CorruptError:
        return False
    return True
