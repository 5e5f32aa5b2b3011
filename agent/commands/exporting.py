"""Exports: built one at a time, each object judged as it is taken in, and written down in the audit.

An export for a command answers it; one for the person at this machine is sealed to the policy's owner alone. What
fails on the way (a disk, an object that changed) is tried again, whole, ever less often, and is given up at the
command's ``exp``. One that is to be handed out waits, until then, for the words of the owner's that go first.
"""

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from agent import audit
from agent.audit import Event
from agent.bundle import Bundle, Export, Form, Order
from agent.clock import MS_PER_S
from agent.commands.again import Again
from agent.commands.farewell import is_leaving
from agent.commands.going_first import going_first
from agent.commands.handing import begin_delivery
from agent.commands.ledger import Ledger, command_of
from agent.commands.world import World, kept
from agent.envelope import Export as ExportRequest
from agent.errors import AgentError, LinkError, RefusedError, SpaceError
from agent.index import Index, Tx
from agent.model import Moment, Object, Outcome, Requester, Selection
from agent.policy import Conditions, Decision, Refuse, Rights, Subject, decide
from agent.trust import CommandRow, Trust
from agent.vault import Vault

OBJECTS_MAX: Final = 10_000
"""Objects of one export: bounds its manifest; a larger selection is asked for in parts."""

_PAGE: Final = 500

Progress = Callable[[int, int], None]


class _WaitsError(LinkError):
    """Nothing failed: it is looked at again at the next tick."""


class Exports:
    """``line`` is held while one is built: they stand one behind the other; ``building`` is its id."""

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
        self.line = asyncio.Lock()
        self.building = ""
        self.suspect: Callable[[str], None] = lambda _object_id: None
        """Told of an object whose payload could not be exported."""

    async def carry_out(self, row: CommandRow, request: ExportRequest, *, progress: Progress) -> None:
        """Build what a command asks for and settle it; a disk without room fails it. The caller holds ``line``.

        Raises what is tried again, and does so while the pause behind the last try is not over, unless the device
        leaves its owner.
        """
        if self._again.has_failed(row.jti) and self._is_over(row):
            await self._give_up(row.jti)
            return
        await self._require_turn(row.jti)
        requester = await self._index.read(lambda tx: self._ledger.requester(tx, row))
        ids = tuple(await self._index.read(lambda tx: self._trust.frozen(tx, row.jti)))
        recipients = request.to or self._world.policy().owner_recipients()
        form: Form = "zip" if request.form == "zip" else "objects"

        def still(tx: Tx) -> CommandRow:
            """Return the command, unless a delete that names it was faster, or the device leaves its owner."""
            _require_staying(tx)
            current = self._trust.command(tx, row.jti)
            if current is None or current.settled_ms is not None:
                raise RefusedError("nobody waits for this export any more", reason="superseded")
            return current

        def settle(tx: Tx, export: Export) -> None:
            now = self._world.now()
            current = still(tx)
            self._trust.decide(tx, row.jti, export.outcomes)
            self._note_export(tx, export, actor=row.kid, command=row.jti, moment=now)
            if request.put and export.files:
                exported = [one.id for one in export.outcomes if one.result == "exported"]
                self._require_none_first(tx, request, exported, built=True)
                begin_delivery(tx, export, request)
            else:
                told = export.told(named=row.role != "backend") if export.files else None
                self._ledger.settle_by_outcomes(tx, current, export=told, moment=now)

        self.building = row.jti
        try:
            await self._index.read(still)
            await self._index.read(lambda tx: self._require_none_first(tx, request, ids, built=False))
            await self._build(
                row.jti,
                ids,
                requester=requester,
                recipients=recipients,
                form=form,
                asked_ms=row.received_ms,
                note=settle,
                progress=progress,
            )
        except SpaceError:
            await self._fail(row.jti, reason="disk_full")
        except RefusedError as error:
            await self._fail(row.jti, reason=error.reason)
        except AgentError as error:
            if not await self._has_given_up(row, error):
                raise
            return
        finally:
            self.building = ""
        self._again.forget(row.jti)

    def _require_none_first(self, tx: Tx, request: ExportRequest, ids: Collection[str], *, built: bool) -> None:
        """Raise ``_WaitsError`` while a word of the owner's goes before what is to be handed out.

        What is gone before anything was ``built`` is in no export.
        """
        if not request.put:
            return
        for row, undecided in going_first(tx, self._trust, lambda: ids):
            if built or any(self._is_here(tx, object_id) for object_id in undecided):
                raise _WaitsError(f"the {row.verb} of some of this goes first", hint="it is tried again by itself")

    def _is_here(self, tx: Tx, object_id: str) -> bool:
        item = self._vault.get(tx, object_id)
        return item is not None and item.state != "erasing"

    async def _require_turn(self, jti: str) -> None:
        """Raise ``LinkError`` while a pause is not over; once the device leaves its owner it has to be told at once."""
        if not await self._index.read(is_leaving):
            self._again.require_over(jti)

    def _is_over(self, row: CommandRow) -> bool:
        return self._world.now().agent_ms // MS_PER_S >= command_of(row).exp

    async def _has_given_up(self, row: CommandRow, error: AgentError) -> bool:
        """Give a command up that failed or waits and is over; put one off that failed, and let one wait that waits."""
        if self._is_over(row):
            await self._give_up(row.jti)
            return True
        if not isinstance(error, _WaitsError):
            self._again.put_off(row.jti, error.message)
        return False

    async def _give_up(self, jti: str) -> None:
        # If power fails before this is durable, the next start tries once more.
        await self._fail(jti, reason="expired")
        self._again.forget(jti)

    async def here(
        self,
        export_id: str,
        select: Selection,
        *,
        form: Form,
        moment: Moment,
        progress: Progress,
    ) -> Export:
        """Export for the person at this machine, to the policy's owner and to nobody else.

        ``export_id`` is fresh. Nothing is left, and the export has no files, where no object could be exported. Raises
        ``RefusedError`` (``too_large``, nothing is held, or the device leaves its owner), ``ConfigError`` without an
        owner's recipient, ``SpaceError``.
        """

        def note(tx: Tx, export: Export) -> None:
            _require_staying(tx)
            self._note_export(tx, export, actor="local", command="", moment=moment)

        await self._index.read(_require_staying)
        ids = await self._index.read(lambda tx: self._vault.page_of(tx, select, after="", limit=OBJECTS_MAX + 1))
        if not await self._index.read(lambda tx: any(self._vault.get(tx, object_id) is not None for object_id in ids)):
            raise RefusedError(
                "nothing of that selection is held",
                reason="malformed",
                retry="after_fix",
                hint="privacy-agent inventory lists what is",
            )
        if len(ids) > OBJECTS_MAX:
            raise RefusedError(
                f"more than {OBJECTS_MAX} objects: an export holds no more",
                reason="too_large",
                retry="after_fix",
                hint="export a shorter interval or one camera",
            )
        async with self.line:
            return await self._build(
                export_id,
                ids,
                requester=Requester(role="local"),
                recipients=self._world.policy().owner_recipients(),
                form=form,
                asked_ms=moment.agent_ms,
                note=note,
                progress=progress,
            )

    async def _build(
        self,
        export_id: str,
        ids: tuple[str, ...],
        *,
        requester: Requester,
        recipients: tuple[str, ...],
        form: Form,
        asked_ms: int,
        note: Callable[[Tx, Export], None],
        progress: Progress,
    ) -> Export:
        moment = self._world.now()
        policy = self._world.policy()
        to_owner_only = set(recipients) <= set(policy.owner_recipients())
        lying_bytes = copies_bytes = await self._index.read(lambda tx: self._lying(tx, but=export_id))
        copied: set[str] = set()

        def conditions(more_bytes: int) -> Conditions:
            free, total = self._world.room()
            return Conditions(
                moment=moment,
                to_owner_only=to_owner_only,
                free_bytes=free - more_bytes,
                total_bytes=total,
                copies_bytes=copies_bytes + more_bytes,
            )

        def judge(tx: Tx, found: Object) -> Outcome | None:
            nonlocal copies_bytes
            if found.id in copied:  # it is built anew
                copied.clear()
                copies_bytes = lying_bytes
            decision = decide(
                policy,
                "export",
                requester=requester,
                subject=Subject.of(found),
                rights=self._world.rights(tx, found),
                conditions=conditions(found.size_bytes),
            )
            if isinstance(decision, Refuse):
                _require_room(decision, lie=lie)
                return kept(found.id, decision)
            copied.add(found.id)
            copies_bytes += found.size_bytes
            return None

        lie = copies_bytes > 0
        whole = conditions(await self._weigh(ids))  # else a large one would be written and fail in the end
        subject = Subject(camera="", category="export", taken_in_ms=moment.agent_ms)
        decision = decide(policy, "export", requester=requester, subject=subject, rights=Rights(), conditions=whole)
        _require_room(decision, lie=lie)
        order = Order(
            id=export_id,
            ids=ids,
            recipients=recipients,
            form=form,
            judge=judge,
            label=self._world.label,
            asked_ms=asked_ms,
            moment=moment,
            note=note,
            progress=progress,
        )
        export = await asyncio.to_thread(self._bundle.build, order)
        for failed in (outcome for outcome in export.outcomes if outcome.result == "failed"):
            self.suspect(failed.id)
        return export

    def _note_export(self, tx: Tx, export: Export, *, actor: str, command: str, moment: Moment) -> None:
        detail: dict[str, str | int] = {
            "objects": sum(outcome.result == "exported" for outcome in export.outcomes),
            "bytes": sum(file.bytes for file in export.files),
            "recipients": len(export.recipients),
        }
        if export.files:
            event = Event(kind="exported", actor=actor, object=export.id, command=command, detail=detail)
            audit.append(tx, event, moment=moment)
        for outcome in export.outcomes:
            if outcome.result == "failed":
                audit.append(tx, Event(kind="corrupt_object", object=outcome.id, command=command), moment=moment)
                self._world.alert(
                    tx, "corrupt_object", f"object {outcome.id} cannot be exported", moment, about=outcome.id
                )

    def _lying(self, tx: Tx, *, but: str) -> int:
        return sum(one.size_bytes for one in self._bundle.lying(tx) if one.id != but)

    async def _weigh(self, ids: tuple[str, ...]) -> int:
        """Return about how much room the copies of objects take."""

        def weigh(tx: Tx, some: tuple[str, ...]) -> int:
            found = (self._vault.get(tx, object_id) for object_id in some)
            return sum(item.size_bytes for item in found if item is not None)

        size_bytes = 0
        for start in range(0, len(ids), _PAGE):
            size_bytes += await self._index.read(partial(weigh, some=ids[start : start + _PAGE]))
        return size_bytes

    async def _fail(self, jti: str, *, reason: str) -> None:
        def fail(tx: Tx) -> None:
            row = self._trust.command(tx, jti)
            if row is not None and row.settled_ms is None:
                self._ledger.settle(tx, row, status="failed", reason=reason, moment=self._world.now())

        await self._index.write(fail, urgent=True)


def _require_staying(tx: Tx) -> None:
    """Raise ``RefusedError`` where the device leaves its owner: what is exported then nobody would remove."""
    if is_leaving(tx):
        raise RefusedError(
            "this device leaves its owner: nothing is exported any more",
            reason="superseded",
            hint="privacy-agent status tells how far it is",
        )


def _require_room(decision: Decision, *, lie: bool) -> None:
    """Raise ``SpaceError`` where there is no room; ``lie`` tells whether other exports lie there."""
    if isinstance(decision, Refuse) and decision.reason == "disk_full":
        why = "the disk is full" if decision.rule == "reserve" else decision.rule
        less = "export less, or make room on the disk: docs/operating.md, Disk"
        if decision.rule.endswith(".keep.disk_free"):
            less = "export less, make room on the disk, or lower that limit in the policy: docs/operating.md, Disk"
        older = "delete older exports: privacy-owner delete --category export"
        raise SpaceError(f"there is no room for this export ({why})", hint=f"{older}; {less}" if lie else less)
