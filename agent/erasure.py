"""Forgetting: every copy of an object, until each is confirmed gone.

The steps of docs/design.md (invariant I3), whose numbers the code quotes:

    1 intend · 2 stage · 3 rewrap · 4 truncate · 5 destroy · 6 unlink · 7 answer

One rotation runs at a time and takes at most ``ROTATION_GROUPS`` groups: a request that comes meanwhile joins the next,
and a large one goes through steps 1 to 7 in parts, from a list that its first transaction froze. Retention does step 1
when an object is due, which refuses it to everybody, and leaves the rest to a later rotation (``begin``). All that is
under way stands in the index, so the ordinary run and the run after a crash are the same code (``resume``): first every
root but the one that the index names is destroyed (after step 4, so that the log holds nothing of it either), then
requests go on from their step. On a full disk the parts become small and live on the index's ballast; each gives room
back.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from agent import audit, bookmark, tombstone
from agent.audit import Event
from agent.errors import AgentError, LinkError, SpaceError
from agent.index import Index, Row, Tx
from agent.index import erasure as rows
from agent.index import vault as vault_rows
from agent.keystore import Keystore
from agent.keytree import (
    BranchKey,
    GroupKey,
    Root,
    new_root,
    next_version,
    unwrap_branch,
    unwrap_group,
    unwrap_slot,
    wrap_branch,
    wrap_group,
    wrap_slot,
)
from agent.model import AtStore, Moment, Object, Outcome, Selection
from agent.tombstone import Commanded
from agent.vault import RemoteCopy, Vault

ROTATION_GROUPS: Final = 128
"""Groups that one rotation rewrites: at most 16,384 slots; eight times that where groups are from before branches."""

WHOLE_GROUPS: Final = 512
"""Slots of groups that are worth a rotation as soon as nobody in them survives: they are dropped, not rewritten."""

PART: Final = 500
"""Objects that one transaction of step 1 or step 7 takes, and files that share one folder sync."""

SMALL: Final = 64
"""Objects of a part, from a single group, when the disk is full."""

REMOTE_ONLY_MAX: Final = 1_000_000
"""Copies at stores alone that an owner's delete still finds; above it the oldest are left to the store's own rules."""

AT_SOURCES_MAX: Final = 100_000
"""Copies on cameras' cards that are waited for: a card that is lost never answers. Above it some are given up and told
as remaining, first those that retention removed."""

_ALL_SLOTS: Final = 2**31

_LOG: Final = logging.getLogger(__name__)


class SourceCopyRow(msgspec.Struct, frozen=True):
    """A copy of an erased object on a camera's own storage, by the camera's id of it and its content."""

    object: str
    recording: str
    sha256: bytes


T = TypeVar("T")
R = TypeVar("R")

_BLOCKS_REMAIN: Final = "clear_source_blocks_may_remain"

TOLD_ANEW: Final = 200
"""Objects of a request that is told anew whom it waits for; a receipt names no more of them one by one (I11)."""

_AT_SOURCE: Final = {"waiting": "camera_unconfirmed", "erased": "camera_confirmed", "left": "source_copy_remains"}

Finish = Callable[[Tx, str, tuple[Outcome, ...], Moment], None]
Judge = Callable[[Tx, Object | AtStore, str, str], Outcome | None]


def _pass(_step: int) -> None:
    return None


def _always(_tx: Tx) -> bool:
    return True


def _spare_none(_tx: Tx, _found: Object | AtStore, _actor: str, _rule: str) -> None:
    return None


async def _uncut(act: Callable[[T], R], argument: T) -> R:
    """Do blocking work in a thread and come back only when it has ended, even when the caller is cancelled.

    The next run would otherwise begin while this one still writes.
    """
    work = asyncio.ensure_future(asyncio.to_thread(act, argument))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def put_off(tx: Tx, *, limit: int) -> tuple[str, ...]:
    """Return objects whose keys are destroyed and whose files could not be removed."""
    return tuple(rows.those_put_off(tx, limit))


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for its keys to change: since when (agent time), how much room it takes, whether whole groups die."""

    since_ms: int
    bytes: int
    whole_groups: bool


class Erasure:
    """Erases objects of ``vault``; ``finish`` stores a command's receipt inside step 7's transaction.

    ``finish(tx, command, outcomes, moment)`` is called again, with confirmed outcomes, when a command's last remote
    copy is confirmed; for retention ``command`` is ``""`` and only the first call is made. It may be called twice for
    the same transaction when the first try found the disk full, so it touches nothing but ``tx``.
    ``judge(tx, object, actor, rule)`` is asked for each object inside step 1's transaction, also for what only a store
    still has, and may keep it by answering with an outcome (``held``, ``restricted``). ``at`` is told each step's
    number as the step ends: a test cuts the power there. ``commanded`` counts what somebody asked for since the start:
    whoever knows what lies there looks again when it changes.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        index: Index,
        keystore: Keystore,
        finish: Finish,
        judge: Judge = _spare_none,
        at: Callable[[int], None] = _pass,
    ) -> None:
        self._vault = vault
        self._index = index
        self._keystore = keystore
        self._finish = finish
        self._judge = judge
        self._at = at
        self._lock = asyncio.Lock()
        self._callers = 0
        self.commanded = 0
        self._results: dict[int, tuple[Outcome, ...]] = {}

    async def erase(
        self,
        ids: Iterable[str],
        *,
        actor: str,
        rule: str,
        command: str,
        moment: Moment,
        cutoff: Selection | None = None,
        keeps_at_store: bool = False,
    ) -> tuple[Outcome, ...]:
        """Erase objects and return what happened to each, in the order of ids (invariant I6).

        With ``keeps_at_store`` copies that a store stated to hold stay there, and a later delete still finds them.
        ``cutoff`` is the selection that also forbids what was recorded before now and turns up later. Whoever has more
        than ``PART`` asks for them one part after the other, in the order of arrival: so others get their turn, and
        whole keys go. Raises ``SpaceError`` when not even the ballast gave room: what was begun goes on at the next
        call or at ``resume``. Raises ``LinkError`` when a file was put off: ``finish`` is called once it is gone.
        """
        wanted = sorted(set(ids))
        self._callers += 1
        self.commanded += 1
        try:
            erasure = await self._index.write(
                lambda tx: self._ask(
                    tx,
                    wanted,
                    actor=actor,
                    rule=rule,
                    command=command,
                    moment=moment,
                    cutoff=cutoff,
                    keeps=int(keeps_at_store),
                ),
                urgent=True,
            )
            async with self._lock:
                if erasure not in self._results:
                    await self._run(moment)
            if erasure not in self._results:
                raise LinkError(
                    "a deleted file cannot be removed; its key is destroyed",
                    hint="privacy-agent doctor says which; it is tried again by itself",
                )
            return self._results.pop(erasure)
        finally:
            self._callers -= 1
            if self._callers == 0:
                self._results.clear()

    async def begin(self, ids: Iterable[str], *, rule: str, moment: Moment) -> None:
        """Do step 1 alone, for retention: from here on nobody is given these objects, and ``resume`` does the rest.

        Copies that a store stated to hold stay there, and a later delete still finds them. Raises ``SpaceError`` when
        there is no room even for that; then ``resume`` goes on in smaller parts.
        """
        wanted = sorted(set(ids))
        erasure = await self._index.write(
            lambda tx: self._ask(
                tx, wanted, actor="device", rule=rule, command="", moment=moment, cutoff=None, keeps=1
            ),
            urgent=True,
        )
        while await self._index.read(lambda tx: rows.asked(tx, erasure, 1)):
            await self._index.write(lambda tx: self._intend_more(tx, moment, PART), urgent=True, large=True)

    def begun(self, tx: Tx) -> Begun | None:
        """Say what retention has begun and nobody has carried out yet."""
        since_ms = rows.retention_since(tx)
        if since_ms is None:
            return None
        whole = rows.dying_slots(tx) >= WHOLE_GROUPS
        return Begun(since_ms=since_ms, bytes=rows.intended_bytes(tx), whole_groups=whole)

    @property
    def is_at_work(self) -> bool:
        """Whether something is carried out now: whoever asks for more then waits until that is done."""
        return self._lock.locked()

    def under_way(self, tx: Tx) -> int:
        """Return how many objects are being erased."""
        return rows.intended(tx)

    def forgets_by_ms(self, tx: Tx, within_ms: int) -> int | None:
        """Return the agent time by which the keys of what retention has begun go, each ``within_ms`` of its beginning.

        ``None`` when nothing is begun.
        """
        since_ms = rows.retention_since(tx)
        return None if since_ms is None else since_ms + within_ms

    def cause(self, tx: Tx, object_id: str) -> str:
        """Return the rule by which an object is being erased."""
        return rows.cause(tx, object_id)[0]

    async def resume(self, moment: Moment) -> None:
        """Carry out what was begun: what a crash cut off, and what retention wants gone by now.

        ``finish`` is called for each command that this completes.
        """
        async with self._lock:
            await self._run(moment)
            if self._callers == 0:
                self._results.clear()

    async def change_roots(self, moment: Moment, *, due: Callable[[Tx], bool] = _always) -> bool:
        """Do steps 2 to 5 for nobody: an index from before names a root that is gone then.

        Does nothing, and returns ``False``, where it is not ``due`` any more once nothing else changes them.
        """
        async with self._lock:
            if not await self._index.read(due):
                return False
            await self._destroy_stale_roots()
            await self._rotate((), moment, victims=0)
            return True

    async def retry(self, moment: Moment) -> int:
        """Try again to remove files that were put off, some of them; return how many still are."""
        async with self._lock:
            while some := await self._index.read(lambda tx: rows.those_put_off(tx, PART)):
                if await self._remove(some, moment):
                    break
            if self._callers == 0:
                self._results.clear()
        return len(await self._index.read(lambda tx: rows.those_put_off(tx, PART)))

    def pending(self, tx: Tx, command: str, ids: Iterable[str]) -> frozenset[str]:
        """Return those of some objects that ``command`` asked for and that are not gone yet."""
        erasures = rows.local_erasures(tx, command)
        return frozenset(one for one in ids if rows.pending_in(tx, erasures, one)) if erasures else frozenset()

    def answer_put_off(self, tx: Tx, command: str, *, moment: Moment) -> None:
        """Let a command have its outcomes in spite of files that cannot be removed: those are ``failed``.

        Their keys are destroyed; they are tried again as before, and nobody is told of it then.
        """
        for erasure in rows.local_erasures(tx, command):
            rows.fail_pending(tx, erasure)
            self._answered(tx, erasure, command, moment)

    def is_open(self, tx: Tx, command: str) -> bool:
        """Tell whether anything that ``command`` asked for is not gone yet."""
        return bool(rows.local_erasures(tx, command))

    def pending_remote(self, tx: Tx, store: str, limit: int, *, after: str = "") -> tuple[RemoteCopy, ...]:
        """Return copies that this store (a key id) is asked to erase and has not confirmed, by upload id."""
        return tuple(RemoteCopy(*row) for row in rows.remote_copies(tx, store, after, limit))

    def is_store_asked(self, tx: Tx, upload: str, *, store: str) -> bool:
        """Tell whether a store is asked to erase a copy and has not confirmed it."""
        return rows.is_store_asked(tx, upload, store=store)

    def note_erased(
        self, tx: Tx, upload: str, manifest: str, *, header: str, payload: str, stated_by: str, moment: Moment
    ) -> tuple[str, ...]:
        """Note a store's signed word that a copy is gone; return commands whose last copy this was.

        ``header`` and ``payload`` are ``erased`` or ``absent``. A word about an unknown upload, another manifest, a
        copy that nobody asked to erase, that another store has, or that was confirmed before changes nothing.
        """
        found = self._vault.upload_of(tx, upload)
        if (
            found is None
            or not found.erasing
            or (found.manifest, found.store) != (manifest, stated_by)
            or not rows.confirm_erased(tx, upload, stated_by=stated_by)
        ):
            return ()
        detail: dict[str, str | int] = {"header": header, "payload": payload}
        event = Event(kind="remote_erased", object=found.object, actor=stated_by, detail=detail)
        audit.append(tx, event, moment=moment)
        finished = tuple(self._confirm(tx, erasure, moment) for erasure in rows.count_confirmed(tx, found.object))
        self._tell_who_is_left(tx, rows.waiting_for_cameras_alone(tx, found.object, of=TOLD_ANEW), moment)
        tombstone.gone_from_stores(tx, found.object)
        rows.drop_confirmed(tx, (found.object,))
        return finished

    def pending_at_source(
        self, tx: Tx, source: str, limit: int, *, card: int, after: str = ""
    ) -> tuple[SourceCopyRow, ...]:
        """Return copies that a camera is asked to delete from one of its cards and has not, by object id."""
        return tuple(SourceCopyRow(*row) for row in rows.source_copies(tx, source, card, after, limit))

    def waits_at_source(self, tx: Tx, source: str) -> bool:
        """Tell whether a camera is asked to delete anything that it has not."""
        return bool(rows.copies_of_source(tx, source, 1))

    def waits_for_card(self, tx: Tx, source: str, *, card: int) -> bool:
        """Tell whether a camera has something to delete for a command from another card than this one."""
        return rows.waits_beside(tx, source, card) and rows.command_waits_beside(tx, source, card)

    def note_source_erased(
        self, tx: Tx, object_id: str, *, stated_by: str, blocks_remain: bool, moment: Moment
    ) -> None:
        """Note that a camera, by its kid, answered that its own copy is gone, durably.

        ``blocks_remain`` is what it says of its storage then, which may be another than it was taken in from.
        """
        if rows.settle_source(tx, object_id, state="erased", stated_by=stated_by):
            if blocks_remain:
                rows.add_remark(tx, object_id, _BLOCKS_REMAIN)
            tombstone.gone_from_source(tx, object_id)
            event = Event(kind="source_given_up", object=object_id, actor=stated_by)
            self._source_settled(tx, object_id, event, moment)

    def waiting_copies(self, tx: Tx) -> list[tuple[str, int]]:
        """Return the cameras (by source name) that are asked to delete copies, and how many each."""
        return rows.waiting_copies(tx)

    def waiting_copy(self, tx: Tx, object_id: str) -> str:
        """Return the camera (by source name) that is asked to delete an object's copy; ``""`` for none."""
        return rows.waiting_copy(tx, object_id)

    def lost_sources(self, tx: Tx, asked: Collection[str]) -> bool:
        """Tell whether other cameras than those ``asked`` (by source name) have something to delete."""
        return any(source not in asked for source in rows.waiting_sources(tx))

    def note_sources_lost(self, tx: Tx, asked: Collection[str], *, moment: Moment) -> None:
        """Note that cameras other than those ``asked`` (by source name) can be asked no more: their copies remain."""
        for source in rows.waiting_sources(tx):
            self._leave(tx, [] if source in asked else rows.copies_of_source(tx, source, PART), moment)

    def has_unnamed(self, tx: Tx, source: str) -> bool:
        """Tell whether a camera is to delete what it cannot be asked for, as nobody noted its content."""
        return bool(rows.unnamed_copies(tx, source, 1))

    def note_unnamed_left(self, tx: Tx, source: str, *, moment: Moment) -> None:
        """Note, for a part of what a camera cannot be asked for, that its copies remain there."""
        self._leave(tx, rows.unnamed_copies(tx, source, PART), moment)

    def _leave(self, tx: Tx, objects: Iterable[str], moment: Moment) -> None:
        for object_id in objects:
            rows.settle_source(tx, object_id, state="left")
            self._source_settled(tx, object_id, Event(kind="source_left", object=object_id), moment)

    def _bound_sources(self, tx: Tx, moment: Moment) -> None:
        over = rows.waiting_at_sources(tx) - AT_SOURCES_MAX
        if over > 0:
            self._leave(tx, rows.least_wanted_at_sources(tx, over), moment)

    def _source_settled(self, tx: Tx, object_id: str, event: Event, moment: Moment) -> None:
        audit.append(tx, event, moment=moment)
        for erasure in rows.count_confirmed(tx, object_id):
            self._confirm(tx, erasure, moment)
        self._tell_who_is_left(tx, rows.waiting_for_stores_alone(tx, object_id, of=TOLD_ANEW), moment)
        rows.drop_confirmed(tx, (object_id,))

    def _tell_who_is_left(self, tx: Tx, requests: Iterable[int], moment: Moment) -> None:
        """Tell requests that waited for stores and cameras, and now for one kind alone: each is told so once."""
        for erasure in requests:
            self._finish(tx, rows.command_of(tx, erasure), self._outcomes(tx, erasure), moment)

    # -- step 1

    def _ask(
        self,
        tx: Tx,
        wanted: Sequence[str],
        *,
        actor: str,
        rule: str,
        command: str,
        moment: Moment,
        cutoff: Selection | None,
        keeps: int,
    ) -> int:
        # If power fails before this is durable, nothing was asked; after it, ``resume`` carries it out.
        erasure = rows.insert_erasure(
            tx, command=command, rule=rule, actor=actor, keeps=keeps, asked_ms=moment.agent_ms
        )
        rows.insert_items(tx, erasure, wanted)
        if cutoff is not None:
            tombstone.cut_off(
                tx,
                cutoff,
                rule=rule,
                by=Commanded(command, actor),
                before_ms=max(moment.agent_ms, moment.wall_ms),
                commanded_ms=bookmark.no_earlier(tx, moment.agent_ms, moment=moment),
                wall_ms=moment.wall_ms,
            )
        detail: dict[str, str | int] = {"asked": len(wanted), "cutoff": int(cutoff is not None)}
        audit.append(
            tx, Event(kind="erase_asked", actor=actor, rule=rule, command=command, detail=detail), moment=moment
        )
        if len(wanted) <= SMALL:  # one commit less for the usual delete
            self._intend(tx, (erasure, command, rule, actor, keeps), moment, limit=SMALL)
        return erasure

    def _intend(self, tx: Tx, request: Row, moment: Moment, *, limit: int) -> int:
        # Step 1 for a part. If power fails before this is durable, these are asked again by ``resume``.
        erasure, command, rule, actor, keeps = request
        answers: list[tuple[str, str, str]] = []
        begun: list[Object] = []
        joined: list[str] = []
        part = rows.asked(tx, erasure, limit)
        for object_id in part:
            found = self._vault.get(tx, object_id)
            answers.append(self._answer(tx, object_id, found, actor=actor, rule=rule, keeps=keeps))
            if found is not None and answers[-1][1] == "pending":
                if found.state == "erasing":
                    joined.append(found.id)
                else:
                    begun.append(found)
        ids = [found.id for found in begun]
        tombstone.write(tx, ids, rule, asked=command != "")
        if command:
            tombstone.ask(tx, joined, rule)
        rows.begin_erasing(tx, ids)
        if keeps:
            for object_id in ids:
                rows.keep_remote(tx, object_id)
            rows.bound_remote_only(tx, REMOTE_ONLY_MAX)
        rows.answer_items(tx, erasure, answers)
        tombstone.bound(tx, moment)
        self._bound_sources(tx, moment)
        return len(part)

    def _answer(
        self, tx: Tx, object_id: str, found: Object | None, *, actor: str, rule: str, keeps: int
    ) -> tuple[str, str, str]:
        spared = self._spared(tx, object_id, found, actor=actor, rule=rule, keeps=keeps)
        if spared is not None:
            return object_id, spared.result, " ".join(spared.remarks)
        if found is None and (remarks_of := rows.pending_remarks(tx, object_id)) is not None:
            # Another request took its row and its key; its file lies there still.
            rows.ask_store(tx, object_id, keeps=keeps)
            if not keeps:
                tombstone.ask(tx, (object_id,), rule)
            return object_id, "pending", remarks_of
        if found is None:
            # The local copy went before; what a store has of it is asked for all the same, unless it is to be kept.
            there = not keeps and (
                rows.ask_store(tx, object_id, keeps=keeps) > 0 or rows.source_state(tx, object_id)[0] != ""
            )
            if there:
                tombstone.ask(tx, (object_id,), rule)
            return object_id, "deleted" if there else "already_gone", ""
        rows.ask_store(tx, object_id, keeps=keeps)
        rows.ask_source(tx, object_id)
        remarks = []
        if not rows.source_gone(tx, object_id) and not rows.is_asked(tx, object_id):
            remarks.append("source_copy_remains")
        if found.medium == "disk":
            remarks.append(_BLOCKS_REMAIN)
        return object_id, "pending", " ".join(remarks)

    def _spared(
        self, tx: Tx, object_id: str, found: Object | None, *, actor: str, rule: str, keeps: int
    ) -> Outcome | None:
        """Judge the copy that a request would end: the one here, or a store's where that one is going or has gone.

        From a limit's beginning on the store's is the last, and a hold or a restriction keeps it: also while the key
        and the file of the other are still to go, which they do all the same.
        """
        if found is not None and found.state != "erasing":
            return self._judge(tx, found, actor, rule)
        at_store = None if keeps else self._vault.at_store(tx, object_id)
        return None if at_store is None else self._judge(tx, at_store, actor, rule)

    # -- steps 1 to 7 of everything that is under way

    async def _run(self, moment: Moment) -> None:
        """Bring every request to its end; the caller holds the lock."""
        await self._destroy_stale_roots()
        small = False
        while True:
            try:
                left = await self._part(moment, small=small)
            except SpaceError:
                if small:
                    raise
                small = True
                await self._destroy_stale_roots()  # a root that was staged before step 3 found no room
                continue
            if not left:
                return

    async def _part(self, moment: Moment, *, small: bool) -> bool:
        size = SMALL if small else PART
        asked = await self._index.read(rows.any_asked)
        if asked:
            await self._index.write(lambda tx: self._intend_more(tx, moment, size), urgent=True, large=True)
        self._at(1)
        groups = await self._index.read(lambda tx: rows.victims_groups(tx, 1 if small else ROTATION_GROUPS))
        if groups:
            await self._vault.drop_replacements()
            self._vault.closed_groups = frozenset(groups)
            try:
                await self._rotate(groups, moment, victims=SMALL if small else _ALL_SLOTS)
            finally:
                self._vault.closed_groups = frozenset()
        gone = await self._index.read(lambda tx: rows.intents(tx, 3, size))
        await self._remove(gone, moment)
        left = await self._index.read(rows.any_asked_or_intended)
        assert not left or asked or groups or gone, "forgetting does not get on"  # noqa: S101 - a bug, not input
        return left

    async def _remove(self, gone: Sequence[str], moment: Moment) -> int:
        """Do steps 6 and 7 of some objects; return how many were put off."""
        kept: dict[str, AgentError] = {}
        if gone:
            # Step 6. If power fails here, some files are back or still there; their intents remove them at start.
            kept = await _uncut(self._vault.payloads.remove, gone)
            self._at(6)
        if kept:
            _LOG.warning("%s deleted files are there still: %s", len(kept), next(iter(kept.values())).message)
        removed = [object_id for object_id in gone if object_id not in kept]
        finished = await self._index.write(
            lambda tx: self._conclude(tx, removed, moment, kept=tuple(kept)), urgent=True, large=True
        )
        self._results.update(finished)
        self._at(7)
        return len(kept)

    def _intend_more(self, tx: Tx, moment: Moment, size: int) -> None:
        for request in rows.erasures(tx):
            size -= self._intend(tx, request, moment, limit=size)
            if size <= 0:
                return

    async def _rotate(self, groups: Sequence[int], moment: Moment, *, victims: int) -> None:
        following = new_root(self._vault.random)
        # Step 2. If power fails here the index still names the current root, and the next one is destroyed at start.
        await _uncut(self._keystore.stage_root, following)
        self._at(2)
        # Step 3. If power fails before this is durable, the same; after it, the index names the next root.
        await self._index.write(
            lambda tx: self._rewrap(tx, frozenset(groups), following, moment, victims=victims), urgent=True, large=True
        )
        self._at(3)
        await self._destroy_stale_roots()

    async def _destroy_stale_roots(self) -> None:
        stale = await self._index.read(self._stale_roots)
        if not stale:
            return
        # Step 4. If power fails here, start comes back to this line: the old root is still in the keystore.
        await self._index.truncate_log()
        self._at(4)
        for root_id in stale:
            # Step 5. If power fails between the two copies, opening the keystore destroys the second.
            await _uncut(self._keystore.destroy_root, root_id)
        self._at(5)

    def _stale_roots(self, tx: Tx) -> tuple[str, ...]:
        current = self._vault.root(tx)
        return tuple(root.id for root in self._keystore.roots() if root.id != current.id)

    def _rewrap(self, tx: Tx, groups: frozenset[int], following: Root, moment: Moment, *, victims: int) -> None:
        current = self._vault.root(tx)
        self._adopt(tx, current)
        touched = vault_rows.branches_of(tx, groups)
        gone = kept = 0
        for n, branch_id, version, wrapped in vault_rows.branches(tx):
            key: BranchKey | None = unwrap_branch(current, wrapped, id=branch_id, version=version)
            if key is not None and n in touched:
                key, removed, rewrapped = self._rewrap_branch(tx, n, key, groups, victims=victims)
                gone += removed
                kept += rewrapped
            if key is not None:
                sealed = wrap_branch(following, key, random=self._vault.random)
                vault_rows.update_branch(tx, n, version=key.version, wrapped=sealed)
        vault_rows.set_root_id(tx, following.id)
        detail: dict[str, str | int] = {"gone": gone, "rewrapped": kept, "groups": len(groups)}
        audit.append(tx, Event(kind="keys_rotated", detail=detail), moment=moment)

    def _adopt(self, tx: Tx, current: Root) -> None:
        """Put groups from before there were branches, which the root's change would rewrite each time, into some."""
        for n, group_id, version, wrapped in vault_rows.groups_without_branch(tx):
            key = unwrap_group(current, wrapped, id=group_id, version=version)
            branch, above = self._vault.branch_for_insert(tx)
            sealed = wrap_group(above, key, random=self._vault.random)
            vault_rows.update_groups(tx, [(n, version, sealed)], branch=branch)

    def _rewrap_branch(
        self, tx: Tx, branch: int, old: BranchKey, victims_groups: frozenset[int], *, victims: int
    ) -> tuple[BranchKey | None, int, int]:
        """Return the branch's next key, and how many are gone and rewrapped; no key when no group of it is left.

        Its own key changes too: a wrap of a group's old key, left in a free block of the medium, would else be opened
        by what lives on.
        """
        following = next_version(old, self._vault.random)
        gone = kept = 0
        left: list[tuple[int, int, bytes]] = []
        for n, group_id, version, wrapped in vault_rows.groups_of(tx, branch):
            key: GroupKey | None = unwrap_group(old, wrapped, id=group_id, version=version)
            if key is not None and n in victims_groups:
                found = rows.victims(tx, n, victims)
                rows.remove_victims(tx, found)
                gone += len(found)
                key, rewrapped = self._rewrap_group(tx, n, key)
                kept += rewrapped
            if key is not None:
                left.append((n, key.version, wrap_group(following, key, random=self._vault.random)))
        if not left:
            vault_rows.drop_branch(tx, branch)
            return None, gone, kept
        vault_rows.update_groups(tx, left, branch=branch)
        for n, _version, _sealed in left:
            assert rows.stale_slots(tx, n) == 0, "a slot names an old version"  # noqa: S101 - a bug, not input
        return following, gone, kept

    def _rewrap_group(self, tx: Tx, n: int, old: GroupKey) -> tuple[GroupKey | None, int]:
        """Return the group's next key and how many survivors are wrapped under it; ``None`` when nobody survived."""
        survivors = rows.slots_of(tx, n)
        if not survivors:
            vault_rows.drop_group(tx, n)  # its key goes with the old root: nothing is rewrapped
            return None, 0
        key = next_version(old, self._vault.random)
        rewrapped: list[tuple[int, bytes]] = []
        for slot, object_id, payload_sha256, kind, sealed in survivors:
            plain = unwrap_slot(old, sealed, object_id=object_id, payload_sha256=payload_sha256, kind=kind)
            again = wrap_slot(
                key, plain, object_id=object_id, payload_sha256=payload_sha256, kind=kind, random=self._vault.random
            )
            rewrapped.append((slot, again))
        rows.rewrite_slots(tx, n, key.version, rewrapped)
        return key, len(rewrapped)

    def _conclude(
        self, tx: Tx, gone: Sequence[str], moment: Moment, *, kept: Sequence[str]
    ) -> dict[int, tuple[Outcome, ...]]:
        # Step 7. If power fails before this is durable, step 6 is done again on nothing and this once more.
        rows.put_off(tx, kept)
        rows.drop_intents(tx, gone)
        rows.settle_items(tx, gone)
        for object_id in gone:
            rule, command = rows.cause(tx, object_id)
            audit.append(tx, Event(kind="erased", object=object_id, rule=rule, command=command), moment=moment)
        finished: dict[int, tuple[Outcome, ...]] = {}
        for erasure, command, _rule, _actor, _keeps in rows.erasures(tx):
            if rows.pending_items(tx, erasure) == 0:
                finished[erasure] = self._answered(tx, erasure, command, moment)
        rows.drop_confirmed(tx, [outcome.id for outcomes in finished.values() for outcome in outcomes])
        if audit.checkpoint_due(tx):
            audit.checkpoint(tx, self._keystore, moment=moment)
        audit.prune(tx, self._keystore, moment=moment, limit=len(gone))  # no more than it wrote: also on a full disk
        return finished

    def _answered(self, tx: Tx, erasure: int, command: str, moment: Moment) -> tuple[Outcome, ...]:
        """Tell what became of a request, which then waits for stores and cameras or is over."""
        outcomes = self._outcomes(tx, erasure)
        self._finish(tx, command, outcomes, moment)
        copies = rows.unconfirmed(tx, erasure) if command else 0
        if copies:
            rows.await_stores(tx, erasure, copies=copies)
        else:
            rows.drop_erasure(tx, erasure)
        return outcomes

    def _confirm(self, tx: Tx, erasure: int, moment: Moment) -> str:
        command = rows.command_of(tx, erasure)
        outcomes = self._outcomes(tx, erasure)
        self._finish(tx, command, outcomes, moment)
        rows.drop_erasure(tx, erasure)
        rows.drop_confirmed(tx, [outcome.id for outcome in outcomes])
        return command

    def _outcomes(self, tx: Tx, erasure: int) -> tuple[Outcome, ...]:
        return tuple(_outcome(tx, *item) for item in rows.items(tx, erasure))


def _outcome(tx: Tx, object_id: str, result: str, remarks: str) -> Outcome:
    said = remarks.split()
    copies = rows.copies_of(tx, object_id) if result == "deleted" else []
    if any(not stored for stored, _ in copies):
        said.append("half_upload_aborted")
    stated_by = ""
    at_source, by_camera = rows.source_state(tx, object_id) if result == "deleted" else ("", "")
    if at_source:
        said.append(_AT_SOURCE[at_source])
    if at_source == "waiting":
        result = "waiting_for_camera"
    if result == "deleted" and vault_rows.at_store(tx, object_id) is not None:
        said.append("store_copy_remains")
    if any(not word for _, word in copies):
        result = "waiting_for_cloud"
        said.append("cloud_unconfirmed")
    elif copies:
        said.append("cloud_confirmed")
        stated_by = copies[-1][1]
    return Outcome(
        id=object_id,
        result=result,  # type: ignore[arg-type]  # closed list, written by us
        remarks=tuple(said),
        stated_by=stated_by,
        camera_stated_by=by_camera,
    )
