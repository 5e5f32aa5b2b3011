"""The sealed objects: the only module that moves an object from one state to the next.

A payload is the file ``objects/<id>`` in the vault's folder; everything else is a row. Taking one in has the steps of
docs/design.md, whose numbers the code quotes; 1, 2, 5 and 6 are the ingest flow's:

    1 gate · 2 seal · 3 name · 4 commit · 5 give up · 6 note

What becomes of a damaged payload has steps of its own there, S1 to S7; those that change an object are here.

If power fails before 4 is durable, the source still has its copy and ``recover`` sweeps the file; after 4 ``admit``
returns the object that is here already, so ingest goes on with 5.

A source's identity (its name, a path, a size, a time) is no proof of content: a camera that lost its clock gives the
same one to another recording. So where the copy is ours to destroy, the content decides what was taken before and what
was deleted before. Where the copy stays, identity is enough: nothing is lost by a wrong guess.

States: ``sealed`` → ``uploaded`` (a signed storage receipt is held; back to ``sealed`` when the store lost it) →
``erasing`` → gone. ``agent/erasure.py`` does the last two with functions of this module.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agent import age, audit, damage, tombstone
from agent.audit import Event
from agent.clock import MS_PER_S, parse_rfc3339_ms
from agent.damage import NEVER_AGAIN, What
from agent.errors import CorruptError, LinkError, RefusedError, SpaceError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.index import vault as rows
from agent.keystore import Keystore
from agent.keytree import (
    BRANCH_GROUPS,
    GROUP_SLOTS,
    BranchKey,
    GroupKey,
    Root,
    new_branch,
    new_group,
    open_header,
    seal_header,
    unwrap_branch,
    unwrap_group,
    unwrap_slot,
    wrap_branch,
    wrap_group,
    wrap_slot,
)
from agent.model import (
    CATEGORIES,
    Aged,
    AtStore,
    Category,
    Kind,
    Medium,
    Moment,
    Object,
    RandomBytes,
    Selection,
    SourceCopy,
    new_id,
)
from agent.payload import Payloads
from agent.tombstone import Forbidden

_log = logging.getLogger(__name__)

_ABOVE_ALL: Final = 2**63 - 1

OBJECTS_FOLDER: Final = "objects"

PAGE_MAX: Final = 500
"""Rows that one call returns at most; callers ask again for the next page and hold nothing open."""


class DraftFile(msgspec.Struct, frozen=True, kw_only=True):
    """One of several files that became one object; tags as in ``Draft``, ``path`` beneath the source's folder."""

    source_tag: bytes
    content_tag: bytes
    captured_from_ms: int
    path: str


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What ingest knows after sealing; fields as in ``Object``.

    ``slot`` is the object's key wrapped under the group that was given out, ``sealed_header`` the exact header sealed
    under that key; ``source_tag`` (empty for what has no source) and ``content_tag`` are keyed hashes. ``files`` are
    named where there are several. ``source_folder`` says which folder the source's path meant (``sources.root``), or
    which card of a camera a recording is on; ``source_sha256`` is its content there, which a delete there names.
    ``is_dated`` says whether the capture interval is to be relied on, ``doubt_ms`` by how much it may be off then. An
    interval of agent time lags by ``lag_ms`` behind the clock that cut-offs go by, if that is the right one. All of it
    was written behind the look ``looked`` (agent time, wall clock), 0 where nobody looked. ``changed_ms`` is the last
    change of a log whose copy is ours to destroy, else 0.
    """

    id: str
    camera: str
    category: Category
    purposes: tuple[str, ...]
    source: str
    media_type: str
    name: str
    captured_from_ms: int
    captured_to_ms: int
    plain_bytes: int
    size_bytes: int
    payload_sha256: bytes
    header_sha256: bytes
    kind: Kind
    recipients: tuple[str, ...]
    source_copy: SourceCopy
    medium: Medium
    slot: bytes
    sealed_header: bytes
    source_tag: bytes
    content_tag: bytes
    files: tuple[DraftFile, ...] = ()
    source_folder: int = 0
    source_sha256: bytes = b""
    is_dated: bool = True
    doubt_ms: int = 0
    lag_ms: int = 0
    looked: tuple[int, int] = (0, 0)
    changed_ms: int = 0


class Total(msgspec.Struct, frozen=True):
    """How much one set holds; ``bytes`` are sealed payload bytes on disk."""

    objects: int
    bytes: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """How much the vault holds, by (camera, category) and in all; what is being erased does not count."""

    sets: dict[tuple[str, Category], Total]
    all: Total


class UploadRow(msgspec.Struct, frozen=True, kw_only=True):
    """One upload: ``offset`` is durable at the store; ``iat_s`` never changes; ``manifest`` is ``""`` until set.

    ``current`` is false once it was given up for another upload of the same object.
    """

    object: str
    upload: str
    offset: int
    iat_s: int
    manifest: str
    store: str
    store_epoch: str
    region: str
    stored: bool
    erasing: bool
    current: bool


class RemoteCopy(msgspec.Struct, frozen=True):
    """A copy that a store has or may have."""

    upload: str
    object: str
    manifest: str


class Vault:
    """The vault in ``folder``; opening it makes the folder and, on the first start, the key tree's first root.

    Raises ``CorruptError`` when the keystore lacks the root that the index names.
    """

    def __init__(
        self, *, folder: Path, index: Index, keystore: Keystore, random: RandomBytes = secrets.token_bytes
    ) -> None:
        self.folder = folder
        self.payloads = Payloads(folder / OBJECTS_FOLDER)
        self.index = index
        self.keystore = keystore
        self.random = random
        self.closed_groups: frozenset[int] = frozenset()
        self._mending = asyncio.Lock()
        self.mended: Callable[[Tx, str, Moment], object] = _nobody_told
        """Called in the transaction in which an object's own source made it whole again."""
        if index.read_now(rows.root_id) is None:
            index.write_now(self._adopt_root, urgent=True)
        index.read_now(self.root)

    # -- taking in

    async def group(self) -> GroupKey:
        """Return the key of an open group with room; the sealer wraps the next object's key under it."""
        found = await self.index.read(self._group_with_room)
        return found[1] if found is not None else (await self.index.write(self._group_for_insert))[1]

    def new_part(self) -> tuple[int, Path]:
        """Create a part file beside its final name; the caller closes the descriptor.

        Raises ``SpaceError`` also while the last room on the disk is kept for deletes, ``LinkError`` once the agent
        stops.
        """
        if self.index.short_of_room:
            raise SpaceError("the disk is full", hint="free space or lower the keep limits in policy.toml")
        return self.payloads.new_part()

    async def admit(
        self,
        draft: Draft,
        *,
        part: Path,
        group: GroupKey,
        moment: Moment,
        beside: Callable[[Tx], None] = lambda _tx: None,
    ) -> Object:
        """Do steps 3 and 4: when this returns the object survives a power cut.

        ``part`` is synced and becomes ours, whatever happens. A slot under a stale, full or closed group is rewrapped
        with ``group``, which the caller still holds in memory. An object of the same source identity that is here
        already, and of the same content where the copy is ours to give up, is returned instead (so the source's copy
        is safe to give up). Raises ``RefusedError`` when it may not return: ``deleted_before`` for a tombstone or a
        cut-off, ``before_mark`` for what is only not ``Forbidden.certain``; ``SpaceError`` when the disk is full.
        ``beside`` writes in step 4's transaction, if there is a new object. Where an object in quarantine or doubt has
        this very content, that one gets the payload, and is returned once it is whole.
        """
        try:
            # Step 3. If power fails here there is a file without a row, which ``recover`` sweeps.
            await self.payloads.settle(part, draft.id)
            admitted = await self.index.write(
                lambda tx: self._insert(tx, draft, group=group, moment=moment, beside=beside)
            )
        except BaseException:
            # The slot is nowhere: these bytes can never be opened, so their removal need not be durable.
            await self._discard(draft.id, part)
            raise
        if admitted.id == draft.id:
            self.payloads.accounted(draft.id)
            return admitted
        payload = await self.index.read(lambda tx: damage.replaced_by(tx, admitted.id))
        if payload != draft.id:
            self.payloads.discard(self.payload_path(draft.id))
        if payload:  # S6 of one that was given before failed, and is done now
            await self._put_in_place(admitted.id, payload, moment)
        return admitted

    async def _discard(self, object_id: str, part: Path) -> None:
        # A cancelled write may have been committed all the same: then the row keeps its file.
        if await asyncio.shield(self.index.read(lambda tx: rows.unaccounted(tx, (object_id,)))):
            self.payloads.discard(part)
            self.payloads.discard(self.payload_path(object_id))
        else:
            self.payloads.accounted(object_id)

    def _insert(self, tx: Tx, draft: Draft, *, group: GroupKey, moment: Moment, beside: Callable[[Tx], None]) -> Object:
        # Step 4. If power fails before the commit is durable, nothing of this happened.
        takes = draft.source_copy == "taken"
        same = rows.by_source_tag(tx, draft.source_tag)
        known = self.held(tx, draft.source_tag, draft.content_tag) if takes else None
        if same is not None and not takes and not damage.wanted(tx, draft.source_tag):
            known = _object(same)
        if known is not None:
            return known
        found = self._deleted(tx, draft) or tombstone.forbidden(
            tx,
            source_tag=b"" if takes else draft.source_tag,
            content_tag=draft.content_tag,
            camera=draft.camera,
            category=draft.category,
            captured_from_ms=draft.captured_from_ms + draft.lag_ms,
            captured_to_ms=draft.captured_to_ms + draft.lag_ms,
            source=draft.source,
            is_dated=draft.is_dated,
            doubt_ms=draft.doubt_ms,
            looked=draft.looked,
            changed_ms=draft.changed_ms,
        )
        if found is not None:
            reason = "deleted_before" if found.certain else "before_mark"
            raise RefusedError(f"deleted before ({found.rule})", reason=reason)
        broken = self._broken(tx, draft)
        if broken is not None and damage.replaced_by(tx, broken.id):
            return broken
        if broken is not None:
            return self._give_payload(tx, broken, draft, group=group, moment=moment)
        if not takes and (same is not None or rows.has_source_file(tx, draft.source_tag)):
            damage.want_no_more(tx, draft.source_tag)  # another content has its name by now
        key_group, version, wrapped = self._place(tx, draft, group)
        values = msgspec.structs.asdict(draft) | {
            "source_name": draft.name,
            "taken_in_ms": moment.agent_ms,
            "state": "sealed",
            "upload": "",
            "source_gone": int(not draft.source_tag),
            "purposes": "\n".join(draft.purposes),
            "recipients": "\n".join(draft.recipients),
        }
        while rows.by_source_tag(tx, values["source_tag"]) is not None:
            values["source_tag"] = self._tag_of_another(values["source_tag"], draft.content_tag)
        n = rows.insert_object(tx, values)
        files = ((file.source_tag, file.content_tag, file.captured_from_ms, file.path) for file in draft.files)
        rows.insert_files(tx, n, files)
        rows.insert_slot(tx, n, key_group=key_group, version=version, wrapped=wrapped)
        rows.put_header(tx, n, draft.sealed_header)
        event = Event(kind="admitted", object=draft.id, detail={"bytes": draft.size_bytes, "category": draft.category})
        audit.append(tx, event, moment=moment)
        beside(tx)
        return self.require(tx, draft.id)

    # -- damage

    def quarantine(self, tx: Tx, object_id: str, what: What, *, at_bytes: int, moment: Moment) -> None:
        """Do step S4: the payload is known not to be what was sealed; what a store has half of it is asked back."""
        found = self.require(tx, object_id)
        wanted = found.category not in NEVER_AGAIN
        damage.quarantine(tx, object_id, what, at_bytes=at_bytes, now_ms=moment.agent_ms, wanted=wanted)
        self.ask_half_back(tx, found)
        detail: dict[str, str | int] = {"what": what, "at_bytes": at_bytes}
        audit.append(tx, Event(kind="corrupt_object", object=object_id, detail=detail), moment=moment)

    def is_damaged(self, tx: Tx, object_id: str) -> bool:
        """Tell whether an object is in quarantine."""
        return damage.is_damaged(tx, object_id)

    def is_sound(self, tx: Tx, object_id: str) -> bool:
        """Tell whether an object is in neither quarantine nor doubt."""
        return damage.of(tx, object_id) is None

    def found_whole(self, tx: Tx, object_id: str, *, moment: Moment) -> bool:
        """Let an object out of quarantine whose bytes are right again; return whether it was in it."""
        before = damage.of(tx, object_id)
        if before is None or damage.replaced_by(tx, object_id):
            return False
        damage.clear(tx, object_id)
        if before.sure:
            audit.append(tx, Event(kind="mended", object=object_id, rule="read_again"), moment=moment)
        return before.sure

    async def finish_mending(self, moment: Moment) -> None:
        """Do S6 and S7 where a cut came before them. Run at start, before payloads without a row are swept."""
        try:
            while some := await self.index.read(damage.replacing):
                for object_id, payload in some:
                    await self._put_in_place(object_id, payload, moment)
        except LinkError as error:  # both files stay as they are, and the next start comes back to this line
            _log.warning("a damaged object is made whole at the next start: %s", error.message)

    async def drop_replacements(self) -> None:
        """Remove whole payloads whose objects are being erased, before their rows go.

        If power fails here, or one cannot be removed, the next start sweeps it.
        """
        async with self._mending:
            while payloads := await self.index.read(damage.needless):
                await asyncio.to_thread(self.payloads.remove_or_leave, payloads)
                await self.index.write(lambda tx: damage.forget_needless(tx, payloads), urgent=True)

    async def _put_in_place(self, object_id: str, payload: str, moment: Moment) -> None:
        # S6. If power fails before it is durable, both files are there, and the row says which is the whole one.
        async with self._mending:
            if await self.index.read(lambda tx: damage.replaced_by(tx, object_id)) != payload:
                self.payloads.discard(self.payload_path(payload))  # the object is being erased, or was
                return
            await asyncio.to_thread(self.payloads.put_in_place, payload, object_id)

        def end(tx: Tx) -> None:
            if damage.replaced_by(tx, object_id) == payload and damage.clear(tx, object_id):
                self.mended(tx, object_id, moment)

        # S7. If power fails before this is durable, the start does S6 again, on nothing, and this.
        await self.index.write(end, urgent=True)

    def _broken(self, tx: Tx, draft: Draft) -> Object | None:
        """Return the object in quarantine or doubt that what was sealed is all of."""
        object_id = damage.like(tx, msgspec.structs.asdict(draft) | {"source_name": draft.name})
        found = None if object_id is None else self.require(tx, object_id)
        # With a header key nobody here can open a header, so it cannot be written anew for others.
        fits = found is not None and (found.kind == "file-key" or found.recipients == draft.recipients)
        return found if fits else None

    def _give_payload(self, tx: Tx, found: Object, draft: Draft, *, group: GroupKey, moment: Moment) -> Object:
        """Do step S5: the object stays what it is, for whom and since when; its payload and the key of it are new."""
        key = unwrap_slot(group, draft.slot, object_id=draft.id, payload_sha256=draft.payload_sha256, kind=draft.kind)
        row = rows.slot(tx, found.id)
        if row is None:
            raise CorruptError(f"object {found.id} has no slot", hint="run: privacy-agent doctor")
        _wrapped, _payload_sha256, kind, group_id, version, wrapped_group, branch = row
        own = unwrap_group(self._above(tx, branch), wrapped_group, id=group_id, version=version)
        about: dict[str, Any] = {"object_id": found.id, "payload_sha256": draft.payload_sha256, "kind": kind}
        rows.replace_payload(
            tx,
            found.id,
            payload_sha256=draft.payload_sha256,
            wrapped=wrap_slot(own, key, **about, random=self.random),
        )
        if kind == "header-key":
            header = open_header(key, draft.sealed_header, object_id=draft.id)
            self._keep_header(tx, found.id, key, header)
        elif found.state == "sealed":
            self._keep_header(tx, found.id, key, _header_for(key, found.recipients))
        damage.replace(tx, found.id, draft.id)
        self._know_copy(tx, found, draft)
        self.ask_half_back(tx, found)
        audit.append(tx, Event(kind="mended", object=found.id, rule="source"), moment=moment)
        return self.require(tx, found.id)

    def _know_copy(self, tx: Tx, found: Object, draft: Draft) -> None:
        """Know by its own identity the copy that made an object whole: as when a backup gave it another time."""
        n = rows.number(tx, found.id)
        assert n is not None, "no such object"  # noqa: S101 - a caller's mistake
        takes = draft.source_copy == "taken"
        if rows.source_tag(tx, found.id) != draft.source_tag:
            path = draft.name if takes else ""
            rows.insert_files(tx, n, [(draft.source_tag, draft.content_tag, draft.captured_from_ms, path)])
        if takes:
            rows.set_source_there(tx, found.id, folder=draft.source_folder)

    def _keep_header(self, tx: Tx, object_id: str, key: bytes, header: bytes) -> None:
        n = rows.number(tx, object_id)
        assert n is not None, "no such object"  # noqa: S101 - a caller's mistake
        rows.put_header(tx, n, seal_header(key, header, object_id=object_id, random=self.random))
        rows.set_header_sha256(tx, object_id, hashlib.sha256(header).digest())

    def _deleted(self, tx: Tx, draft: Draft) -> Forbidden | None:
        """Tell whether one of several files was deleted before."""
        for file in draft.files:
            tag = b"" if draft.source_copy == "taken" else file.source_tag
            rule = tombstone.deleted(tx, source_tag=tag, content_tag=file.content_tag)
            if rule is not None:
                return Forbidden(rule)
        return None

    def _tag_of_another(self, source_tag: bytes, content_tag: bytes) -> bytes:
        """Return the tag of an object whose source identity another one of other content has already."""
        return hmac.digest(self.keystore.tombstone_key(), b"another\0" + source_tag + content_tag, "sha256")

    def _place(self, tx: Tx, draft: Draft, group: GroupKey) -> tuple[int, int, bytes]:
        row = rows.group(tx, group.id)
        if row is not None and row[0] not in self.closed_groups and row[1] == group.version and row[2] < GROUP_SLOTS:
            return row[0], row[1], draft.slot
        about: dict[str, Any] = {
            "object_id": draft.id,
            "payload_sha256": draft.payload_sha256,
            "kind": draft.kind,
        }
        n, current = self._group_for_insert(tx)
        slot_key = unwrap_slot(group, draft.slot, **about)
        return n, current.version, wrap_slot(current, slot_key, **about, random=self.random)

    def _group_with_room(self, tx: Tx) -> tuple[int, GroupKey] | None:
        row = rows.group_with_room(tx, room=GROUP_SLOTS, closed=self.closed_groups)
        if row is None:
            return None
        n, group_id, version, wrapped, branch = row
        return n, unwrap_group(self._above(tx, branch), wrapped, id=group_id, version=version)

    def _group_for_insert(self, tx: Tx) -> tuple[int, GroupKey]:
        found = self._group_with_room(tx)
        if found is not None:
            return found
        fresh = new_group(self.random)
        branch, above = self.branch_for_insert(tx)
        wrapped = wrap_group(above, fresh, random=self.random)
        return rows.insert_group(tx, fresh.id, fresh.version, wrapped, branch=branch), fresh

    def branch_for_insert(self, tx: Tx) -> tuple[int, BranchKey]:
        """Return the number and the key of a branch with room for a group, a new one if there is none."""
        root = self.root(tx)
        n = rows.branch_with_room(tx, room=BRANCH_GROUPS)
        if n is not None:
            branch_id, version, wrapped = rows.branch(tx, n)
            return n, unwrap_branch(root, wrapped, id=branch_id, version=version)
        fresh = new_branch(self.random)
        return rows.insert_branch(tx, fresh.id, fresh.version, wrap_branch(root, fresh, random=self.random)), fresh

    def _above(self, tx: Tx, branch: int | None) -> Root | BranchKey:
        """Return what a group's key is wrapped under: its branch's key, or the root where it is from before those."""
        root = self.root(tx)
        if branch is None:
            return root
        branch_id, version, wrapped = rows.branch(tx, branch)
        return unwrap_branch(root, wrapped, id=branch_id, version=version)

    # -- asking

    def seen(self, tx: Tx, source_tag: bytes) -> bool:
        """Tell whether something of this source identity is here and whole; it says nothing of its content."""
        known = rows.has_source_tag(tx, source_tag) or rows.has_source_file(tx, source_tag)
        return known and not damage.wanted(tx, source_tag)

    def wants(self, tx: Tx, source_tag: bytes) -> bool:
        """Tell whether the source's copy is to take the place of a damaged payload."""
        return damage.wanted(tx, source_tag)

    def held(self, tx: Tx, source_tag: bytes, content_tag: bytes) -> Object | None:
        """Return the object that is, or holds, a file of this source identity with this very content."""
        if not source_tag:
            return None
        row = rows.by_content(tx, source_tag, content_tag) or rows.by_content(
            tx, self._tag_of_another(source_tag, content_tag), content_tag
        )
        return None if row is None else _object(row)

    def source_folder(self, tx: Tx, object_id: str) -> int:
        """Return ``Draft.source_folder`` of an object."""
        return rows.source_folder(tx, object_id)

    def source_paths(self, tx: Tx, found: Object) -> tuple[str, ...]:
        """Return where an object's files are, or were, beneath its source's folder; none where nobody knows."""
        return tuple(rows.source_paths(tx, found.id)) or ((found.source_name,) if found.source_name else ())

    # -- what sources have no more

    def mark_source_gone(self, tx: Tx, object_id: str) -> None:
        """Do step 6: the source's copy is given up and its folder was synced."""
        rows.set_source_gone(tx, object_id)
        tombstone.gone_from_source(tx, object_id)

    def source_left_over(self, tx: Tx, *, source: str, after: str = "", limit: int = PAGE_MAX) -> tuple[Object, ...]:
        """Return a source's objects, by id, whose copy is ours to give up and is not noted as gone: 5 may be due."""
        return tuple(map(_object, rows.source_not_given_up(tx, source, after, limit)))

    def get(self, tx: Tx, object_id: str) -> Object | None:
        """Return an object, also one that is being erased, or ``None``."""
        row = rows.by_id(tx, object_id)
        return None if row is None else _object(row)

    def knows(self, tx: Tx, object_id: str) -> bool:
        """Tell whether an object of this id is here, or a store may have a copy of one that was."""
        return rows.knows(tx, object_id)

    def set_name(self, tx: Tx, object_id: str, name: str) -> bool:
        """Correct what people see an object called, never what its source calls it; return whether it is here."""
        return rows.set_name(tx, object_id, name)

    def require(self, tx: Tx, object_id: str) -> Object:
        """Return an object that must be there."""
        found = self.get(tx, object_id)
        assert found is not None, "no such object"  # noqa: S101 - a caller's mistake
        return found

    def page(self, tx: Tx, *, after: str = "", limit: int = PAGE_MAX) -> tuple[Object, ...]:
        """Return objects with ids above ``after``, in the order of ids, those being erased included."""
        return tuple(map(_object, rows.page(tx, after, min(limit, PAGE_MAX))))

    def select(self, tx: Tx, selection: Selection) -> Ids:
        """Return the ids that a selection means now.

        Ids that were named are all returned, also of objects that are gone: the answer about each is a delete's
        outcome. Other selections mean what is here and not being erased, and what only a store still has of us (``get``
        answers ``None`` for those; ``Erasure`` erases them); an interval means overlap with the capture interval.
        """
        if selection.ids is not None:
            return Ids.of(selection.ids)
        return Ids(rows.selected(tx, chosen(selection)))

    def sealed_for(self, tx: Tx, targets: Iterable[tuple[str, str]]) -> Ids:
        """Return what is here and was sealed for one of these (purpose, category)."""
        return Ids(rows.sealed_for(tx, targets))

    def for_nothing(
        self, tx: Tx, *, owner: tuple[str, ...], above: int = 0, limit: int = PAGE_MAX
    ) -> tuple[tuple[int, Object], ...]:
        """Return (number, object) of what is for no purpose and its owner cannot read, above a number, by arrival."""
        return tuple((row[0], _object(row)) for row in rows.for_nothing(tx, owner, above=above, limit=limit))

    def page_of(
        self, tx: Tx, selection: Selection, *, after: str, limit: int, erasing: bool = False
    ) -> tuple[str, ...]:
        """Return the first ids above ``after`` of those that ``select`` returns; named ones may be anything.

        With ``erasing`` also of objects of the selection that are on their way out.
        """
        if selection.ids is not None:
            return tuple(sorted(name for name in set(selection.ids) if name > after)[:limit])
        return tuple(rows.page_of(tx, chosen(selection), after=after, limit=limit, erasing=erasing))

    def weigh(self, tx: Tx, selection: Selection, *, with_stores: bool) -> Total:
        """Return how much of a selection is here, and what only a store still has, where that is counted too."""
        if selection.ids is not None:
            found = [self.get(tx, name) or (self.at_store(tx, name) if with_stores else None) for name in selection.ids]
            return _sum(Total(1, item.size_bytes) for item in found if item is not None)
        asked = chosen(selection)
        if selection.from_ is not None or selection.to is not None:
            weighed = (rows.weighed, rows.remote_weighed) if with_stores else (rows.weighed,)
            return _sum(Total(*weigh(tx, asked)) for weigh in weighed)
        return _sum(
            Total(objects, size)
            for camera, category, objects, size in (*rows.totals(tx), *(rows.remote_totals(tx) if with_stores else ()))
            if asked.camera in {None, camera} and asked.category in {None, category}
        )

    def at_stores(self, tx: Tx) -> Total:
        """Return how much only stores still have; objects of before whose size is not known count none."""
        return _sum(Total(objects, size) for _camera, _category, objects, size in rows.remote_totals(tx))

    def at_store(self, tx: Tx, object_id: str) -> AtStore | None:
        """Return an object that only a store still has, or ``None``."""
        row = rows.at_store(tx, object_id)
        return None if row is None else AtStore(*row)

    def regions(self, tx: Tx, object_id: str) -> tuple[str, ...]:
        """Return the regions of an object's finished copies at stores; ``""`` for one that was not told."""
        return tuple(rows.stored_regions(tx, object_id))

    def arrivals(self, tx: Tx, *, above: int, limit: int = PAGE_MAX) -> tuple[tuple[int, str], ...]:
        """Return (place, id) of the objects behind a place in the order of arrival."""
        return tuple(rows.arrivals(tx, above, limit))

    def totals(self, tx: Tx) -> Totals:
        """Return how much there is."""
        sets = {(camera, category): Total(objects, size) for camera, category, objects, size in rows.totals(tx)}
        return Totals(sets=sets, all=_sum(sets.values()))

    def oldest(
        self, tx: Tx, cameras: Sequence[str], category: Category, *, above: int = 0, limit: int = PAGE_MAX
    ) -> tuple[Aged, ...]:
        """Return what arrived first of some cameras' sets, above the number of the last one that was seen, in order.

        At most about ``limit``, and at least one while there is any. Each set is read by itself, in its order, so that
        nothing is looked at that is not theirs.
        """
        each = max(1, min(limit, PAGE_MAX) // max(1, len(cameras)))
        pages = [rows.oldest(tx, camera=camera, category=category, above=above, limit=each) for camera in cameras]
        # Behind the end of a full page there may be more of its camera, so what others have there is not next yet.
        upto = min((page[-1][0] for page in pages if len(page) == each), default=None)
        found = sorted(row for page in pages for row in page if upto is None or row[0] <= upto)
        return tuple(Aged(*row) for row in found)

    def newer_than(self, tx: Tx, object_id: str, cameras: Sequence[str], category: Category) -> Total:
        """Return how much of some cameras' sets arrived after an object; nothing when the object is not there."""
        n = rows.number(tx, object_id)
        if n is None:
            return Total(0, 0)
        return _sum(Total(*rows.newer(tx, camera=camera, category=category, n=n)) for camera in cameras)

    def arrived(self, tx: Tx, *, since_ms: int) -> dict[tuple[str, Category], Total]:
        """Return how much was taken in after a moment and is still here, by (camera, category)."""
        found: dict[tuple[str, Category], Total] = {}
        below = _ABOVE_ALL
        while page := rows.newest(tx, below=below, limit=PAGE_MAX):
            for _n, camera, category, size_bytes, taken_in_ms in page:
                if taken_in_ms <= since_ms:
                    return found
                before = found.get((camera, category), Total(0, 0))
                found[camera, category] = Total(before.objects + 1, before.bytes + size_bytes)
            below = page[-1][0]
        return found

    def payload_path(self, object_id: str) -> Path:
        """Return where the payload (nonce and chunks) of an object is, or would be."""
        return self.payloads.path(object_id)

    def slot_key(self, tx: Tx, object_id: str) -> bytes:
        """Return what an object's slot holds: its file key or header key (``Object.kind``).

        Raises ``CorruptError`` when there is no such slot or the key tree does not open it.
        """
        row = rows.slot(tx, object_id)
        if row is None:
            raise CorruptError(f"object {object_id} has no slot", hint="run: privacy-agent doctor")
        wrapped, payload_sha256, kind, group_id, version, wrapped_group, branch = row
        group = unwrap_group(self._above(tx, branch), wrapped_group, id=group_id, version=version)
        return unwrap_slot(group, wrapped, object_id=object_id, payload_sha256=payload_sha256, kind=kind)

    def header(self, tx: Tx, object_id: str) -> bytes | None:
        """Return the exact header whose hash the object names, or ``None`` when it went with the storage receipt."""
        sealed = rows.header(tx, object_id)
        return None if sealed is None else open_header(self.slot_key(tx, object_id), sealed, object_id=object_id)

    # -- uploading

    def queued(self, tx: Tx, limit: int, *, skip: frozenset[tuple[str, Category]] = frozenset()) -> tuple[Object, ...]:
        """Return objects that wait for upload, newest first within each category, in ``CATEGORIES``' order.

        At most ``limit`` of each category, and nothing that is in quarantine. ``skip`` names sets (camera, category)
        that may not be uploaded now: they are not looked at, however much waits in them.
        """
        found: list[Object] = []
        sets = self.waiting_totals(tx).keys() - skip
        for category in CATEGORIES:
            numbers = [
                n
                for camera, other in sets
                if other == category
                for n in rows.waiting(tx, camera=camera, category=category, limit=limit)
            ]
            found.extend(_object(rows.by_number(tx, n)) for n in sorted(numbers, reverse=True)[:limit])
        return tuple(found)

    def waiting_totals(self, tx: Tx) -> dict[tuple[str, Category], Total]:
        """Return how much no store has confirmed, by (camera, category), without what is in quarantine."""
        damaged = damage.waiting(tx)
        found: dict[tuple[str, Category], Total] = {}
        for camera, category, objects, size in rows.waiting_totals(tx):
            less, less_bytes = damaged.get((camera, category), (0, 0))
            if objects > less:
                found[camera, category] = Total(objects - less, size - less_bytes)
        return found

    def begin_upload(self, tx: Tx, object_id: str, *, moment: Moment) -> tuple[str, int]:
        """Return the object's upload id and its ``iat`` in seconds; both stay the same at every repeat."""
        found = self.require(tx, object_id)
        if found.upload:
            return found.upload, self._upload(tx, found.upload).iat_s
        upload, iat_s = new_id(self.random), moment.agent_ms // MS_PER_S
        rows.insert_upload(tx, upload, object_id=object_id, iat_s=iat_s)
        rows.set_upload(tx, object_id, upload=upload)
        return upload, iat_s

    def set_manifest(self, tx: Tx, upload: str, manifest: str, *, store: str, moment: Moment) -> None:
        """Note the manifest's hash and the key id of the store that it is for.

        Durable before ``begin`` is first sent, because from then on that store may have a copy.
        """
        rows.set_manifest(tx, upload, manifest, store=store)
        event = Event(kind="upload_begun", object=self._upload(tx, upload).object, detail={"store": store})
        audit.append(tx, event, moment=moment)

    def note_offset(self, tx: Tx, upload: str, offset: int) -> None:
        """Note how much the store has made durable."""
        rows.set_offset(tx, upload, offset)

    def upload_of(self, tx: Tx, upload: str) -> UploadRow | None:
        """Return an upload, also one whose object is being erased or gone."""
        row = rows.upload(tx, upload)
        if row is None:
            return None
        object_id, upload_id, offset, iat_s, manifest, store, epoch, region, stored, erase, current = row
        return UploadRow(
            object=object_id,
            upload=upload_id,
            offset=offset,
            iat_s=iat_s,
            manifest=manifest,
            store=store,
            store_epoch=epoch,
            region=region,
            stored=bool(stored),
            erasing=bool(erase),
            current=bool(current),
        )

    def note_stored(self, tx: Tx, upload: str, *, region: str, stated_by: str, epoch: str, moment: Moment) -> bool:
        """Note a verified storage receipt: ``sealed`` → ``uploaded``, the kept header goes.

        Returns ``False``, changing nothing, when the upload is unknown, given up or noted already, was begun at another
        store, or its object is being erased: what the store has of it is erased with the object.
        """
        row = self.upload_of(tx, upload)
        if row is None or row.stored or row.erasing or not row.current or row.store != stated_by:
            return False
        rows.set_stored(tx, upload, region=region, epoch=epoch)
        rows.set_upload(tx, row.object, upload=upload, state="uploaded")
        rows.drop_header(tx, row.object)
        event = Event(kind="stored", object=row.object, actor=stated_by, detail={"region": region[:64]})
        audit.append(tx, event, moment=moment)
        return True

    def note_lost(self, tx: Tx, upload: str, *, moment: Moment) -> bool:
        """Note that the store lost a copy it had stated: ``uploaded`` → ``sealed``, to be uploaded anew."""
        row = self.upload_of(tx, upload)
        if row is None or not row.stored or row.erasing:
            return False
        rows.set_upload(tx, row.object, upload="", state="sealed")
        rows.retire_upload(tx, upload)
        audit.append(tx, Event(kind="lost", object=row.object), moment=moment)
        return True

    def forget_upload(self, tx: Tx, upload: str) -> None:
        """Give an upload up so that the object's next one gets another id.

        What the store may have of it stays known until the object is erased and the store confirms.
        """
        rows.retire_upload(tx, upload)

    def given_up(self, tx: Tx, object_id: str, *, store: str) -> int:
        """Return how many uploads of an object to this store were given up, without those that it is asked to erase.

        It lost what it had stated, or refused for good; or the next ``begin`` had to state something else.
        """
        return rows.given_up(tx, object_id, store)

    def take_back_upload(self, tx: Tx, upload: str) -> None:
        """Give an upload up, and have the store asked to erase the copy that it should not have, until it confirms."""
        rows.retire_upload(tx, upload)
        rows.ask_back(tx, upload)

    def stored_page(self, tx: Tx, store: str, *, after: str = "", limit: int = 100) -> tuple[RemoteCopy, ...]:
        """Return copies that a storage receipt of this store is held for, by upload id; 100 are one ``resync``."""
        return tuple(RemoteCopy(*row) for row in rows.stored_uploads(tx, store, after, limit))

    def remake_header(self, tx: Tx, object_id: str) -> bytes:
        """Make and keep a new header for the same recipients, after the first went with a storage receipt.

        The object names the new header's hash from then on, so its next upload has another manifest.
        """
        found = self.require(tx, object_id)
        assert found.kind == "file-key", "a header key's header is never dropped"  # noqa: S101 - a caller's mistake
        key = self.slot_key(tx, object_id)
        header = _header_for(key, found.recipients)
        self._keep_header(tx, object_id, key, header)
        return header

    def narrow(self, tx: Tx, item: Object, *, purposes: tuple[str, ...], recipients: tuple[str, ...]) -> None:
        """Let an object be for fewer purposes and, where its recipients change, have it sealed anew for those.

        Only the header is written anew; the payload, and the key of it, stay. A header that was uploaded is the
        store's: the caller leaves the recipients of such an object as they are. Who may gain something by it, as an
        owner does by a new key, is for the judge to say.
        """
        rows.set_readers(tx, item.id, purposes="\n".join(purposes), recipients="\n".join(recipients))
        if recipients != item.recipients:
            self.remake_header(tx, item.id)

    def ask_half_back(self, tx: Tx, item: Object) -> bool:
        """Give up the upload of an object that no store has confirmed; tell whether a store may have part of it.

        That one is asked to erase it, until it confirms; what it states of it meanwhile counts no more.
        """
        row = self.upload_of(tx, item.upload) if item.upload and item.state == "sealed" else None
        if row is None:
            return False
        self.take_back_upload(tx, row.upload)
        return row.manifest != ""

    def _upload(self, tx: Tx, upload: str) -> UploadRow:
        row = self.upload_of(tx, upload)
        assert row is not None, "no such upload"  # noqa: S101 - a caller's mistake
        return row

    # -- stopping and starting

    def left_clean(self, tx: Tx, folder: str) -> None:
        """Note what ``Payloads.leave`` returned, in a stop's last transaction.

        If power fails before this is durable, the next start sweeps; after it no file is made before ``found_clean``.
        """
        if folder:
            rows.note_left(tx, folder)

    def found_clean(self, tx: Tx) -> bool:
        """Take that away, in a start's first transaction; return whether the folder is still as it was left.

        If power fails before this is durable, nothing happened in the folder; after it, the next start sweeps.
        """
        return rows.take_left(tx) == self.payloads.state()

    def recover(self) -> int:
        """Remove part files and payloads that no row accounts for, durably; return how many. Run before ingest."""
        return self.payloads.sweep(lambda names: self.index.read_now(lambda tx: rows.unaccounted(tx, names)))

    def root(self, tx: Tx) -> Root:
        """Return the current root: the one that the index names, whatever else the keystore holds."""
        return root_of(tx, self.keystore)

    def _adopt_root(self, tx: Tx) -> None:
        rows.set_root_id(tx, self.keystore.roots()[0].id)


def root_of(tx: Tx, keystore: Keystore) -> Root:
    """Return the root that the index names; ``CorruptError`` where the keystore lacks it: one is an older copy."""
    current = rows.root_id(tx)
    for root in keystore.roots():
        if root.id == current:
            return root
    raise CorruptError(
        f"the keystore lacks root {current} of this index",
        hint="one of the two is an older copy: put back the newest of each; where that is lost, move the state "
        "folder away, then: privacy-agent init"
        if keystore.engine == "software"
        else "this index is from before the last change of keys; put back the newest one: what it lacks by now is "
        "destroyed, and without it move the state folder away, then: privacy-agent init",
    )


def require_root(tx: Tx, keystore: Keystore) -> None:
    """Raise ``CorruptError`` as ``root_of`` does; an index under which no agent has run yet names none."""
    if rows.root_id(tx) is not None:
        root_of(tx, keystore)


def _nobody_told(_tx: Tx, _object_id: str, _moment: Moment) -> None:
    """Nobody asked to be told."""


def _header_for(file_key: bytes, recipients: Iterable[str]) -> bytes:
    return age.wrap_header(file_key, [age.parse_recipient(text) for text in recipients])


def _sum(totals: Iterable[Total]) -> Total:
    objects = size_bytes = 0
    for total in totals:
        objects += total.objects
        size_bytes += total.bytes
    return Total(objects, size_bytes)


def chosen(selection: Selection) -> rows.Chosen:
    """Return what a selection that names no ids asks for, as the index has it."""
    return rows.Chosen(
        camera=selection.camera,
        category=selection.category,
        from_ms=None if selection.from_ is None else parse_rfc3339_ms(selection.from_),
        to_ms=None if selection.to is None else parse_rfc3339_ms(selection.to),
    )


def _object(row: tuple[Any, ...]) -> Object:
    *values, name, recipients = row[1:]
    own = dict(zip(rows.OBJECT_COLUMNS, values, strict=True))
    own["purposes"] = tuple(own["purposes"].splitlines())
    return Object(**own, name=name, recipients=tuple(recipients.splitlines()))
