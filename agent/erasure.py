"""Forgetting: every copy of an object, until each is confirmed gone.

The numbered procedure (invariant I3):

1. one transaction: tombstone, intent (object id, which is the file's name, and every remote copy's upload id and
   manifest hash), audit; remote erasure may start now;
2. the groups are closed to inserts (an insert with a stale version is refused and rewrapped); the next root is written
   beside the current one and read back, the current copy intact;
3. one transaction: survivors rewrapped, victims' slots and rows gone, no row names an old version (checked inside), the
   index's root id set to the next, audit;
4. ``wal_checkpoint(TRUNCATE)`` returned not-busy;
5. the old root is destroyed, one copy at a time, each read back; the groups reopen;
6. files are unlinked, their folder synced; a file system mounted with ``discard`` tells the medium by itself;
7. intents are removed and the receipt is stored in one transaction (``waiting`` while a remote copy is unconfirmed).
   Until 7 the object is ``erasing``.

One rotation runs at a time and takes at most ``ROTATION_GROUPS`` groups: a request that comes meanwhile joins the next,
and a large one goes through steps 2 to 6 more than once. All that is under way stands in the index, so the ordinary run
and the run after a crash are the same code (``resume``): first every root but the one that the index names is destroyed
(after step 4, so that the log holds nothing of it either), then intents go on from their step.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from agent import audit
from agent.audit import Event
from agent.clock import parse_rfc3339_ms
from agent.files import remove, sync_folder
from agent.index import Index, Tx
from agent.index import vault as rows
from agent.keystore import Keystore
from agent.keytree import Root, new_root, next_version, unwrap_group, unwrap_slot, wrap_group, wrap_slot
from agent.model import Moment, Object, Outcome, Selection
from agent.vault import RemoteCopy, Vault

ROTATION_GROUPS: Final = 16
"""Groups that one rotation rewrites: at most 16,384 slots, some 0.2 s of one transaction on a small board."""

UNLINK_BATCH: Final = 2_000
"""Files that share one folder sync and one step 7."""

TOMBSTONES_MAX: Final = 200_000
"""Above it the oldest eighth becomes marks, one for each source (I11)."""

CUTOFFS_MAX: Final = 1_024
"""Above it the oldest two intervals of the same camera and category become one that covers both."""

Finish = Callable[[Tx, str, tuple[Outcome, ...], Moment], None]
Judge = Callable[[Tx, Object], Outcome | None]
Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    return None


def _pass(_step: int) -> None:
    return None


class Erasure:
    """Erases objects of ``vault``; ``finish`` stores a command's receipt inside step 7's transaction.

    ``finish`` is called again, with confirmed outcomes, when a command's last remote copy is confirmed; its command is
    ``""`` for retention, and then only the first call is made. ``at`` is told each step's number as the step ends: a
    test cuts the power there.
    """

    def __init__(
        self, *, vault: Vault, index: Index, keystore: Keystore, finish: Finish, at: Callable[[int], None] = _pass
    ) -> None:
        self._vault = vault
        self._index = index
        self._keystore = keystore
        self._finish = finish
        self._at = at
        self._lock = asyncio.Lock()
        self._results: dict[int, tuple[Outcome, ...]] = {}

    async def erase(
        self,
        ids: Sequence[str],
        *,
        actor: str,
        rule: str,
        command: str,
        moment: Moment,
        cutoff: Selection | None = None,
        judge: Judge | None = None,
        progress: Progress = _silent,
    ) -> tuple[Outcome, ...]:
        """Erase objects and return what happened to each, in the order of ids (invariant I6).

        ``cutoff`` is the selection that also forbids what was recorded before now and turns up later. ``judge`` is
        asked for each object inside step 1's transaction and may keep it (``held``, ``restricted``). ``progress`` is
        told (gone, all). Raises ``SpaceError`` when not even the ballast gave room; nothing is half done then.
        """
        erasure = await self._index.write(
            lambda tx: self._intend(
                tx, ids, actor=actor, rule=rule, command=command, moment=moment, cutoff=cutoff, judge=judge
            ),
            urgent=True,
        )
        self._at(1)
        async with self._lock:
            if erasure not in self._results:
                await self._run(moment, progress=lambda left: progress(len(ids) - left, len(ids)), erasure=erasure)
        return self._results.pop(erasure)

    async def resume(self, moment: Moment) -> None:
        """Finish, at start, whatever a crash cut off; ``finish`` is called for each command that this completes."""
        async with self._lock:
            await self._run(moment)
            self._results.clear()

    def pending_remote(self, tx: Tx, limit: int, *, after: str = "") -> tuple[RemoteCopy, ...]:
        """Return copies that stores are asked to erase and have not confirmed, by upload id."""
        return tuple(RemoteCopy(*row) for row in rows.remote_copies(tx, after, limit))

    def note_erased(
        self, tx: Tx, upload: str, manifest: str, *, header: str, payload: str, stated_by: str, moment: Moment
    ) -> tuple[str, ...]:
        """Note a store's signed word that a copy is gone; return commands whose last copy this was.

        ``header`` and ``payload`` are ``erased`` or ``absent``. A word about an unknown upload, another manifest or a
        copy that nobody asked to erase changes nothing.
        """
        found = self._vault.upload_of(tx, upload)
        if found is None or not found.erasing or found.manifest != manifest:
            return ()
        rows.confirm_erased(tx, upload, stated_by=stated_by)
        detail: dict[str, str | int] = {"header": header, "payload": payload}
        audit.append(
            tx, Event(kind="remote_erased", object=found.object, actor=stated_by, detail=detail), moment=moment
        )
        finished: list[str] = []
        for erasure in rows.erasures_waiting_for(tx, found.object):
            if rows.unconfirmed(tx, erasure) == 0:
                finished.extend(self._confirm(tx, erasure, moment))
        rows.drop_confirmed(tx, found.object)
        return tuple(finished)

    # -- step 1

    def _intend(
        self,
        tx: Tx,
        ids: Sequence[str],
        *,
        actor: str,
        rule: str,
        command: str,
        moment: Moment,
        cutoff: Selection | None,
        judge: Judge | None,
    ) -> int:
        # If power fails before this is durable, nothing was asked; after it, ``resume`` carries it out.
        erasure = rows.insert_erasure(tx, command=command, rule=rule, actor=actor)
        items: list[tuple[str, str, str]] = []
        begun = 0
        for object_id in sorted(set(ids)):
            found = self._vault.get(tx, object_id)
            kept = judge(tx, found) if judge is not None and found is not None and found.state != "erasing" else None
            if found is None:
                items.append((object_id, "already_gone", ""))
            elif kept is not None:
                items.append((object_id, kept.result, " ".join(kept.remarks)))
            else:
                items.append((object_id, "pending", " ".join(_local_remarks(found))))
                if found.state != "erasing":
                    self._begin(tx, found, rule=rule)
                    begun += 1
        rows.insert_items(tx, erasure, items)
        if cutoff is not None:
            _put_cutoff(tx, cutoff, rule=rule, moment=moment)
        _compact(tx)
        event = Event(
            kind="erase_asked", actor=actor, rule=rule, command=command, detail={"asked": len(items), "found": begun}
        )
        audit.append(tx, event, moment=moment)
        return erasure

    def _begin(self, tx: Tx, found: Object, *, rule: str) -> None:
        rows.insert_tombstone(tx, found.id, rule)
        rows.begin_erasing(tx, found.id)
        rows.ask_store(tx, found.id)
        rows.count(tx, found.camera, found.category, objects=-1, size_bytes=-found.size_bytes)

    # -- steps 2 to 7

    async def _run(
        self, moment: Moment, *, progress: Callable[[int], None] = lambda _left: None, erasure: int | None = None
    ) -> None:
        """Bring every intent to its end; the caller holds the lock."""
        await self._destroy_stale_roots()
        while True:
            groups = await self._index.read(lambda tx: rows.victims_groups(tx, ROTATION_GROUPS))
            if groups:
                self._vault.closed_groups = frozenset(groups)
                try:
                    await self._rotate(groups, moment)
                finally:
                    self._vault.closed_groups = frozenset()
            gone = await self._unlink()
            await self._index.write(lambda tx, gone=gone: self._conclude(tx, gone, moment), urgent=True)  # type: ignore[misc]
            self._at(7)
            if erasure is not None:
                progress(await self._index.read(lambda tx: rows.pending_items(tx, erasure)))
            if not groups and len(gone) < UNLINK_BATCH:
                return

    async def _rotate(self, groups: Sequence[int], moment: Moment) -> None:
        following = new_root(self._vault.random)
        # Step 2. If power fails here the index still names the current root, and the next one is destroyed at start.
        await asyncio.to_thread(self._keystore.stage_root, following)
        self._at(2)
        # Step 3. If power fails before this is durable, the same; after it, the index names the next root.
        await self._index.write(lambda tx: self._rewrap(tx, groups, following, moment), urgent=True)
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
            await asyncio.to_thread(self._keystore.destroy_root, root_id)
        self._at(5)

    def _stale_roots(self, tx: Tx) -> tuple[str, ...]:
        current = self._vault.root(tx)
        return tuple(root.id for root in self._keystore.roots() if root.id != current.id)

    def _rewrap(self, tx: Tx, groups: Sequence[int], following: Root, moment: Moment) -> None:
        current = self._vault.root(tx)
        random = self._vault.random
        gone = kept = 0
        for n, group_id, version, wrapped in rows.groups(tx):
            key = unwrap_group(current, wrapped, id=group_id, version=version)
            if n in groups:
                for object_id, victim in rows.victims(tx, n):
                    rows.remove_victim(tx, object_id, victim)
                    gone += 1
                survivors = rows.slots_of(tx, n)
                if not survivors:  # fully deleted: its key goes with the old root, nothing is rewrapped
                    rows.drop_group(tx, n)
                    continue
                old, key = key, next_version(key, random)
                rewrapped = []
                for slot, object_id, payload_sha256, kind, sealed in survivors:
                    plain = unwrap_slot(old, sealed, object_id=object_id, payload_sha256=payload_sha256, kind=kind)
                    rewrapped.append(
                        (
                            slot,
                            wrap_slot(
                                key,
                                plain,
                                object_id=object_id,
                                payload_sha256=payload_sha256,
                                kind=kind,
                                random=random,
                            ),
                        )
                    )
                rows.rewrite_slots(tx, n, key.version, rewrapped)
                kept += len(rewrapped)
            rows.update_group(tx, n, version=key.version, wrapped=wrap_group(following, key, random=random))
            assert rows.stale_slots(tx, n) == 0, "a slot names an old version"  # noqa: S101 - checked inside (step 3)
        rows.set_root_id(tx, following.id)
        detail: dict[str, str | int] = {"gone": gone, "rewrapped": kept, "groups": len(groups)}
        audit.append(tx, Event(kind="keys_rotated", detail=detail), moment=moment)

    async def _unlink(self) -> list[str]:
        gone = await self._index.read(lambda tx: rows.intents(tx, 3, UNLINK_BATCH))
        if gone:
            # Step 6. If power fails here, some files are back or still there; their intents remove them at start.
            await asyncio.to_thread(self._unlink_now, gone)
            self._at(6)
        return gone

    def _unlink_now(self, gone: Sequence[str]) -> None:
        for object_id in gone:
            remove(self._vault.payload_path(object_id), folder_synced=False)
        sync_folder(self._vault.objects)

    def _conclude(self, tx: Tx, gone: Sequence[str], moment: Moment) -> None:
        # Step 7. If power fails before this is durable, step 6 is done again on nothing and this once more.
        for object_id in gone:
            rows.drop_intent(tx, object_id)
            rows.settle_items(tx, object_id)
            audit.append(tx, Event(kind="erased", object=object_id), moment=moment)
        for erasure, command, _rule, _actor in rows.erasures(tx, "local"):
            if rows.pending_items(tx, erasure) == 0:
                outcomes = self._outcomes(tx, erasure)
                self._results[erasure] = outcomes
                self._finish(tx, command, outcomes, moment)
                if command and any(outcome.result == "waiting_for_cloud" for outcome in outcomes):
                    rows.set_erasure_state(tx, erasure, "remote")
                else:
                    rows.drop_erasure(tx, erasure)
        for object_id in gone:
            rows.drop_confirmed(tx, object_id)

    def _confirm(self, tx: Tx, erasure: int, moment: Moment) -> list[str]:
        outcomes = self._outcomes(tx, erasure)
        ((command,),) = ((command,) for n, command, _rule, _actor in rows.erasures(tx, "remote") if n == erasure)
        self._finish(tx, command, outcomes, moment)
        objects = [object_id for object_id, _result, _remarks in rows.items(tx, erasure)]
        rows.drop_erasure(tx, erasure)
        for object_id in objects:
            rows.drop_confirmed(tx, object_id)
        return [command]

    def _outcomes(self, tx: Tx, erasure: int) -> tuple[Outcome, ...]:
        return tuple(_outcome(tx, *item) for item in rows.items(tx, erasure))


def _local_remarks(found: Object) -> list[str]:
    remarks = []
    if found.source_copy == "left":
        remarks.append("source_copy_remains")
    if found.medium == "disk":
        remarks.append("clear_source_blocks_may_remain")
    return remarks


def _outcome(tx: Tx, object_id: str, result: str, remarks: str) -> Outcome:
    said = remarks.split()
    if result != "deleted":
        return Outcome(id=object_id, result=result, remarks=tuple(said))  # type: ignore[arg-type]
    copies = rows.copies_of(tx, object_id)
    if not copies:
        return Outcome(id=object_id, result="deleted", remarks=tuple(said))
    if any(not stored for stored, _ in copies):
        said.append("half_upload_aborted")
    if any(not stated_by for _, stated_by in copies):
        return Outcome(id=object_id, result="waiting_for_cloud", remarks=(*said, "cloud_unconfirmed"))
    return Outcome(id=object_id, result="deleted", remarks=(*said, "cloud_confirmed"), stated_by=copies[-1][1])


def _put_cutoff(tx: Tx, selection: Selection, *, rule: str, moment: Moment) -> None:
    from_ms = None if selection.from_ is None else parse_rfc3339_ms(selection.from_)
    to_ms = None if selection.to is None else parse_rfc3339_ms(selection.to)
    # Whichever clock is ahead: a camera with the right time recorded before the command, whatever ours thought.
    before_ms = max(moment.agent_ms, moment.wall_ms)
    rows.put_cutoff(tx, ("", selection.camera or "", selection.category or "", from_ms, to_ms, before_ms, rule))


def _compact(tx: Tx) -> None:
    if rows.tombstone_count(tx) > TOMBSTONES_MAX:
        oldest = rows.oldest_tombstones(tx, TOMBSTONES_MAX // 8)
        marks: dict[str, int] = {}
        for _n, source, captured_to_ms in oldest:
            marks[source] = max(marks.get(source, 0), captured_to_ms)
        for source, before_ms in marks.items():
            if source:
                rows.put_cutoff(tx, (source, "", "", None, None, before_ms, "mark"))
        rows.drop_tombstones(tx, [row[0] for row in oldest])
