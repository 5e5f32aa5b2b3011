"""``Commands``: receives, runs, resumes, acknowledges; decisions are in ``door``, ``admission`` and ``policy``.

The index is the queue: receiving writes a row, ``run`` works on rows, so the ordinary run and the run after a crash are
the same loop. Everything a command needs to answer survives in the index even on a full disk (urgent writes).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from agent import pace, tombstone
from agent.age.failure import NoMatchError
from agent.bundle import Bundle, Export, Form
from agent.clock import pause
from agent.commands import door, rectifying
from agent.commands.admission import Admission, Judged
from agent.commands.consent import takes
from agent.commands.door import Incoming, Stranger
from agent.commands.exporting import Exports
from agent.commands.farewell import Farewell
from agent.commands.handing import Handing
from agent.commands.ledger import RUNNING, Ledger, command_of
from agent.commands.listing import Listing
from agent.commands.removing import Removal
from agent.commands.stranger import Strangers
from agent.commands.withdrawing import Withdrawals
from agent.commands.world import BACKEND_DELETE, OWNER_ERASE, World
from agent.envelope import TYP_KEYSET, Command, Delete, EraseAll, KeySet, is_succession, parse
from agent.envelope import Export as ExportRequest
from agent.erasure import PART, Erasure
from agent.errors import AgentError, CorruptError, LinkError, RefusedError, SpaceError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.model import Moment, Outcome, Selection
from agent.outbox import Outbox
from agent.rights import correction
from agent.rights.consent import Record
from agent.trust import CommandRow, Trust
from agent.vault import Vault

PROGRESS_MS: Final = 1_000
"""A progress receipt at most each second (§5)."""

RUNNING_MAX: Final = 16
"""Deletes that run at the same time; they join each other's rotations."""

HANDED_OUT_MAX: Final = 4
"""Exports whose files are put at the same time: each waits for a server of somebody else, and stops nothing here."""

_PAGE: Final = 256
_LOG: Final = logging.getLogger(__name__)


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: the words of the receipt, for whoever cannot open what is sealed to its sender."""

    receipt: bytes = b""
    status: str = "done"
    reason: str = ""


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
        self._trust = trust
        self._outbox = outbox
        self._ledger = ledger
        self._world = world
        self._listing = Listing(vault=vault, erasure=erasure, bundle=bundle, trust=trust, ledger=ledger, world=world)
        self._exports = Exports(index=index, vault=vault, bundle=bundle, trust=trust, ledger=ledger, world=world)
        self._farewell = Farewell(
            index=index,
            vault=vault,
            erasure=erasure,
            trust=trust,
            outbox=outbox,
            ledger=ledger,
            world=world,
        )
        self._handing = Handing(index=index, vault=vault, bundle=bundle, trust=trust, ledger=ledger, world=world)
        self._withdrawals = (
            None
            if world.purposes is None
            else Withdrawals(
                index=index,
                vault=vault,
                erasure=erasure,
                bundle=bundle,
                trust=trust,
                ledger=ledger,
                world=world,
                purposes=world.purposes,
                end_hand_outs=self._handing.end_in,
                stop=self._handing.stop,
            )
        )
        self._strangers = Strangers(index=index, world=world)
        self._admission = Admission(
            device=device,
            vault=vault,
            bundle=bundle,
            trust=trust,
            outbox=outbox,
            ledger=ledger,
            listing=self._listing,
            world=world,
        )
        self._removal = Removal(
            index=index,
            bundle=bundle,
            trust=trust,
            exports=self._exports,
            cancel=self._admission.cancel,
            on_removed=self._handing.stop,
        )
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Event] = {}
        self._exporting = ""
        self._handed_out: set[str] = set()
        self._serving = False
        self._later: set[str] = set()
        self._unfinished: dict[str, str] = {}
        self.counters = self._strangers.counters

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
            await self._strangers.count("unreadable", via=via, moment=moment)
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

    async def submit(self, raw: bytes, *, moment: Moment) -> Submitted:
        """Take a command file, an ack file, a key set or a succession without any broker; tell what became of it.

        A command is carried out before this returns, or waits. A key set and an ack have no receipt. Raises
        ``CorruptError`` or ``RefusedError`` for what has no answer.
        """
        if is_succession(raw):
            await self._index.write(lambda tx: self._succeed(tx, raw, moment=moment), urgent=True)
            self._handing.look_again()
            return Submitted()
        if _is_keyset(raw):
            await self._index.write(lambda tx: self._accept_key_set(tx, raw, moment=moment), urgent=True)
            self._handing.look_again()
            return Submitted()
        incoming = self._read_file(raw)
        if incoming.kind == "ack":
            _require_known(await self._acknowledge(incoming, via="local", moment=moment))
            return Submitted()
        judged = await self._take(incoming, via="local", moment=moment)
        _require_known(judged.stranger)
        if judged.run:
            await self._work_on(judged.run)
        await self.tick(moment)
        if not self._serving:
            await self._drain()
        row = await self._index.read(lambda tx: self._trust.command(tx, judged.jti))
        if row is not None:
            return Submitted(receipt=row.receipt, status=row.status, reason=row.reason)
        return Submitted(receipt=judged.receipt, status=judged.status, reason=judged.reason)

    def _read_file(self, raw: bytes) -> Incoming:
        """Read what ``submit`` was given; what is wrong is said for the person who gave it."""
        try:
            return door.read_file(raw, keystore=self._keystore)
        except NoMatchError as error:
            raise CorruptError(
                "it is sealed to another device", hint="make it for this one: privacy-owner … --device NAME --out FILE"
            ) from error
        except CorruptError as error:
            raise CorruptError(
                f"this is no signed file: {error.message}",
                hint="give a file that privacy-owner --out wrote, or a key set: keyset-N.jws",
            ) from error

    def _accept_key_set(self, tx: Tx, raw: bytes, *, moment: Moment) -> None:
        before = self._trust.key_set(tx)
        drop_others = partial(self._hand_over, before=before, moment=moment)
        if self._trust.accept_key_set(tx, raw, moment=moment, drop_others=drop_others) != before:
            self._another_is_in_force(tx, moment=moment)

    def _succeed(self, tx: Tx, raw: bytes, *, moment: Moment) -> None:
        before = self._trust.key_set(tx)
        self._trust.succeed(tx, raw, moment=moment, drop_others=partial(self._hand_over, before=before, moment=moment))
        self._another_is_in_force(tx, moment=moment)

    def _hand_over(self, tx: Tx, kids: frozenset[str], *, before: KeySet | None, moment: Moment) -> int:
        """Tell the clients that are new of what is not over, and drop what waits for keys that are out."""
        known = frozenset() if before is None else frozenset(key.kid for key in before.keys)
        clients = self._trust.keys_of(tx, "client", moment=moment)
        self._outbox.tell_newcomers(tx, tuple(key for key in clients if key.kid not in known), moment=moment)
        return self._outbox.drop_others(tx, kids)

    def _another_is_in_force(self, tx: Tx, *, moment: Moment) -> None:
        """End what was said of the key set before, whether its root signed this one or another in its place."""
        self._outbox.clear_alert(tx, "unusable_key", moment=moment)
        self._outbox.clear_alert(tx, "unknown_keys", moment=moment)
        new = self._trust.key_set(tx)
        pace.forget_others(tx, frozenset() if new is None else frozenset(key.kid for key in new.keys))

    async def _acknowledge(self, incoming: Incoming, *, via: str, moment: Moment) -> str:
        def note(tx: Tx) -> str:
            heard = door.hear_ack(tx, incoming, trust=self._trust, device=self._device)
            if isinstance(heard, Stranger):
                return heard.why
            key = self._trust.valid_key(tx, heard.iss, moment=moment)
            news = self._outbox.acknowledged(tx, heard.iss, heard.acks, moment=moment)
            self._trust.acknowledged(tx, heard.iss, heard.acks)
            if news and key is not None and key.role == "backend":  # an ack has no number: one sent again is none
                self._world.heard()
            return ""

        stranger = await self._index.write(note, urgent=True)
        if stranger:
            await self._strangers.count(stranger, via=via, moment=moment)
        return stranger

    async def _take(self, incoming: Incoming, *, via: str, moment: Moment) -> Judged:
        judged = await self._index.write(lambda tx: self._admission.judge(tx, incoming, moment=moment), urgent=True)
        if judged.stranger:
            await self._strangers.count(judged.stranger, via=via, moment=moment)
            return judged
        self._world.changed()
        if judged.run:
            self._wake.set()
        return judged

    # --- for the person at this machine

    def documents(self, tx: Tx, records: Iterable[Record], *, max_bytes: int) -> tuple[list[dict[str, Any]], str]:
        """Return records of consent as receipts have them; see ``Ledger.documents``."""
        return self._ledger.documents(tx, records, max_bytes=max_bytes)

    async def export_here(
        self,
        export_id: str,
        select: Selection,
        *,
        form: Form,
        moment: Moment,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Export:
        """Export to the policy's owner and to nobody else; see ``Exports.here``."""
        return await self._exports.here(export_id, select, form=form, moment=moment, progress=progress)

    def have_looked_at(self, suspect: Callable[[str], None]) -> None:
        """Have ``suspect`` told, from now on, of each object whose payload an export could not read or open."""
        self._exports.suspect = suspect

    # --- carrying out

    async def run(self) -> None:
        """Carry out accepted commands until cancelled; a task of the composition root."""
        self._serving = True
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    for row in await self._ready():
                        if len(self._running) - len(self._handed_out) < RUNNING_MAX and not (
                            row.verb == "export" and self._exporting
                        ):
                            if row.verb == "export":  # one at a time anyway: the others would stand in a delete's way
                                self._exporting = row.jti
                            group.create_task(self._work_on(row.jti), name=f"command {row.jti}")
                            await pause(0)
                    await self._wake.wait()
        finally:
            self._serving = False

    async def resume(self, moment: Moment) -> None:
        """At start, after ``Erasure.resume``: release what may go on and finish the deletes that a crash cut off.

        What may be long is left to ``run``: exports, and deletes of which more than one part is left.
        """
        await self.tick(moment)
        await self._drain(long=False)

    async def tick(self, moment: Moment) -> None:
        """Judge every waiting command again: its time may be trusted, its predecessor done, its expiry past.

        Also tries again what an outside failure stopped, and tells what was collected of strangers' messages. The
        composition root calls it every few seconds.
        """
        self._later.clear()
        await self._strangers.tell_collected(moment)
        await self.settle_corrected(moment)
        await self._release(moment)

    async def tell_strangers(self, moment: Moment) -> None:
        """Tell, at the ordered stop, what was collected of strangers' messages: nobody remembers it behind that."""
        await self._strangers.tell_collected(moment, at_once=True)

    async def part(self, moment: Moment) -> bool:
        """Go on with leaving the owner, if that is under way; return whether only the keys are left to destroy."""
        return await self._farewell.step(moment)

    def corrected(self, tx: Tx, moment: Moment) -> None:
        """Answer, in the transaction that notes a store's word, the corrections that waited for it."""
        rectifying.settle(tx, self._ledger, self._trust, moment=moment)

    async def settle_corrected(self, moment: Moment) -> None:
        """Answer the corrections of which no store's word is missing any more, or no copy is left."""

        def is_any(tx: Tx) -> bool:
            return correction.is_any_over(tx, stores=rectifying.stores(tx, self._trust, moment=moment))

        if await self._index.read(is_any):
            await self._index.write(lambda tx: self.corrected(tx, moment), urgent=True)
            self._world.changed()

    async def tell_late(self, moment: Moment) -> None:
        """Tell of what turned up after the deletes that cover it, one receipt for each; called at an interval."""

        def tell(tx: Tx) -> bool:
            told = False
            for late in tombstone.late(tx):
                row = self._trust.command(tx, late.by.jti)
                if row is None or row.settled_ms is not None:  # a supplement comes behind the terminal receipt
                    self._ledger.tell_late(tx, late, moment=moment)
                    tombstone.late_told(tx, late.by.jti)
                    told = True
            return told

        if await self._index.write(tell, urgent=True):
            self._world.changed()

    async def _drain(self, *, long: bool = True) -> None:
        while ready := await self._ready(long=long):
            for row in ready:
                await self._work_on(row.jti)

    async def _ready(self, *, long: bool = True) -> list[CommandRow]:
        busy = self._running.keys() | self._later

        def ready(tx: Tx) -> list[CommandRow]:
            rows = [row for row in self._trust.running(tx, limit=_PAGE) if row.jti not in busy]
            return rows if long else [row for row in rows if not self._is_long(tx, row)]

        return await self._index.read(ready)

    def _is_long(self, tx: Tx, row: CommandRow) -> bool:
        return row.verb == "export" or self._trust.left(tx, row.jti) > PART

    async def _release(self, moment: Moment) -> None:
        waiting = await self._index.read(self._trust.waiting)
        if any([await self._reconsider(jti, moment=moment) for jti in waiting]):
            self._world.changed()
        self._wake.set()

    async def _reconsider(self, jti: str, *, moment: Moment) -> bool:
        return await self._index.write(lambda tx: self._admission.reconsider(tx, jti, moment=moment), urgent=True)

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
            if self._unfinished.get(jti) != error.message:  # not at each try
                if len(self._unfinished) >= _PAGE:
                    self._unfinished.clear()
                self._unfinished[jti] = error.message
                _LOG.warning("command %s is not finished: %s", jti, error.message)
        else:
            self._unfinished.pop(jti, None)
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
        command = command_of(row)
        if isinstance(command.request, Delete):
            if (kept := await self._delete(row, command.request.select)) is not None:
                raise kept
            await self._index.write(
                lambda tx: self._ledger.settle_running(tx, jti, moment=self._world.now()), urgent=True
            )
        elif isinstance(command.request, EraseAll):
            await self._farewell.stop()
            if (kept := await self._delete(row, Selection(all=True))) is not None:  # keys of objects are destroyed
                _LOG.warning("leaving all the same: %s", kept.message)
            await self._removal.answer_put_off(row, moment=self._world.now())
            await self._farewell.part()
        elif isinstance(command.request, ExportRequest):
            if not await self._index.read(lambda tx: self._handing.is_begun(tx, row.jti)):
                async with self._exports.line:
                    await self._exports.carry_out(row, command.request, progress=self._progress(row.jti))
            if command.request.put:
                await self._hand_out(row, command)
        elif takes(command) and self._withdrawals is not None:
            await self._withdrawals.carry_out(row, progress=self._progress(row.jti))

    async def _hand_out(self, row: CommandRow, command: Command) -> None:
        if len(self._handed_out) >= HANDED_OUT_MAX:
            raise LinkError("others are handed out", hint="it goes when they are through")
        self._handed_out.add(row.jti)
        if self._exporting == row.jti:  # built: the next one is built while a server takes its time
            self._exporting = ""
            self._wake.set()
        try:
            await self._handing.carry_out(row, command)
        finally:
            self._handed_out.discard(row.jti)

    async def _delete(self, row: CommandRow, select: Selection) -> AgentError | None:
        """Erase what a command selected; return what is wrong while a file of it cannot be removed."""
        moment = self._world.now()
        requester = await self._index.read(lambda tx: self._ledger.requester(tx, row))
        if requester.role == "backend" and not moment.trusted:
            await self._index.write(
                lambda tx: self._ledger.wait(tx, row, reason="clock_unconfirmed", moment=moment), urgent=True
            )
            return None
        ids = await self._index.read(lambda tx: self._trust.frozen(tx, row.jti))
        if requester.role == "client":
            await self._handing.end_deleted(ids)
        kept = await self._removal.remove(row, ids, select, requester=requester, moment=moment)
        tell = self._progress(row.jti)
        done = len(ids) - await self._index.read(lambda tx: self._trust.left(tx, row.jti))
        async for part in self._parts(row.jti, ids):
            await asyncio.to_thread(tell, done, len(ids))
            try:
                await self._erasure.erase(
                    part,
                    actor=row.kid,
                    rule=OWNER_ERASE if requester.role == "client" else BACKEND_DELETE,
                    command=row.jti,
                    moment=moment,
                )
            except LinkError as error:  # some file of it cannot be removed: the other parts go on
                kept = kept or error
            done += len(part)
        if kept is None and await self._index.read(lambda tx: self._erasure.is_open(tx, row.jti)):
            kept = LinkError("deleted files of it cannot be removed yet", hint="privacy-agent doctor says which")
        return kept

    async def _parts(self, jti: str, ids: Ids) -> AsyncIterator[tuple[str, ...]]:
        """Yield what of a delete is undecided in parts that an erasure takes at once; others come between them.

        A large one goes in the order of arrival: neighbours have their slots under one key, which then goes as a whole
        instead of being changed for every few of them. What is not here any more comes last, and all of a small one.
        """
        part: tuple[str, ...] = ()
        above: int | None = 0 if len(ids) > PART else None
        while above is not None:
            found, above = await self._index.read(partial(self._arrived, jti=jti, ids=ids, above=above))
            part += found
            while len(part) >= PART or (part and above is None):
                yield part[:PART]
                part = part[PART:]
        for start in range(0, len(ids), PART):
            some = tuple(ids[start : start + PART])
            rest = await self._index.read(partial(self._unasked, jti=jti, ids=some))
            if rest:
                yield rest

    def _arrived(self, tx: Tx, jti: str, ids: Ids, above: int) -> tuple[tuple[str, ...], int | None]:
        """Return what is undecided of the next page of the vault, and where the page behind it begins."""
        page = self._vault.arrivals(tx, above=above)
        meant = self._unasked(tx, jti, (object_id for _, object_id in page if object_id in ids))
        return meant, page[-1][0] if page else None

    def _unasked(self, tx: Tx, jti: str, ids: Iterable[str]) -> tuple[str, ...]:
        """Return of some ids those without an outcome that are no exports and that no erasure works on for it."""
        undecided = self._trust.undecided(tx, jti, ids)
        elsewhere = self._erasure.pending(tx, jti, undecided) | self._removal.ids(tx)
        return tuple(object_id for object_id in undecided if object_id not in elsewhere)

    def _progress(self, jti: str) -> Callable[[int, int], None]:
        """Return what tells the sender how far a command is, from a worker's thread; no room for it stops nothing."""
        last_ms = self._world.now().agent_ms
        loop = asyncio.get_running_loop()

        def tell(done: int, total: int) -> None:
            nonlocal last_ms
            moment = self._world.now()
            if done < total and moment.agent_ms - last_ms >= PROGRESS_MS:
                last_ms = moment.agent_ms
                with contextlib.suppress(SpaceError):
                    self._index.write_now(
                        lambda tx: self._ledger.progress(tx, jti, done=done, total=total, moment=moment)
                    )
                    loop.call_soon_threadsafe(self._world.changed)

        return tell


def _require_known(stranger: str) -> None:
    """Raise what a person at this machine is told of a file that nobody we know signed."""
    if stranger == "flood":
        raise RefusedError(
            "this key has sent too many commands", reason="too_many_requests", retry="later", hint="wait an hour"
        )
    if stranger == "unknown_key":
        raise RefusedError(
            "no key of this device's key set signed this",
            reason="verb_not_allowed",
            hint="submit the newest key set first, or check the device id",
        )
    if stranger:
        raise RefusedError("the signature does not hold", reason="bad_signature", hint="sign the command again")


def _is_keyset(raw: bytes) -> bool:
    try:
        parse(raw.strip(), typ=TYP_KEYSET)
    except CorruptError:
        return False
    return True
