"""The flow from a source's offer to an object of the vault; the steps are numbered in the package's docstring.

Rules: each source has a share of files under way; whatever they ask of the index or of a folder at the same moment is
asked in one trip; what is told is bounded and told once.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from agent import audit, bookmark, counting, registry, remaining, tally, tombstone
from agent.audit import Event
from agent.bookmark import Bookmark
from agent.clock import monotonic_s, pause
from agent.erasure import Erasure
from agent.errors import AgentError, ConfigError, LinkError, RefusedError, SpaceError
from agent.index import Tx
from agent.ingest.absence import confirm_absences
from agent.ingest.gate import Gate
from agent.ingest.giving_up import GivingUp
from agent.ingest.growing import Piece
from agent.ingest.known import Known, RightsAtIngest, no_rights
from agent.ingest.meanwhile import UseChangedError, narrow
from agent.ingest.opening import Opened, open_work
from agent.ingest.pseudonyms import Pseudonyms
from agent.ingest.room import Room
from agent.ingest.share import OPEN_BATCHES, Share
from agent.ingest.stream import StreamFlow
from agent.ingest.telling import Telling
from agent.ingest.together import Together, beneath, in_transaction
from agent.ingest.wanting import Wanting
from agent.ingest.work import (
    IngestEvent,
    Let,
    OpenBatch,
    Told,
    Work,
    draft,
    is_read_by_line,
    source_tag,
)
from agent.keytree import GroupKey
from agent.model import Moment, Object, new_id
from agent.policy import Policy, Refuse, Rights
from agent.policy.fields.tally import Tally
from agent.rtsp import StreamSettings
from agent.rtsp.message import Listened
from agent.rtsp.onvif.message import Found
from agent.sealer import Sealer, SealJob, SourceChangedError
from agent.sources import Candidate, FolderSource, Source, SourceSettings
from agent.sources.candidate import IncompleteError, MediumError, Refusal
from agent.tombstone import Forbidden
from agent.vault import Draft, Vault

if TYPE_CHECKING:  # the same
    from agent.sources.camera import CameraSource

GROUP_USES: Final = 64
"""Objects sealed under one look at the open group; the vault rewraps a slot whose group changed meanwhile."""

ABSENCE_FIRST_S: Final = 600.0
ABSENCE_S: Final = 86_400.0
"""How often a source is looked over for what was deleted here and is not there any more: a tombstone less to keep."""

FETCHING: Final = 2
"""Recordings of one camera under way: one is fetched, and the room for the next is found meanwhile."""

NOTES: Final = 64
"""Copies that were given up and not yet noted, at most, while more work is under way."""


class Ingest:
    """The flow for all sources; belongs to the running event loop.

    ``policy``, ``now`` and ``rights`` are asked once per file. ``reserve_bytes`` of the vault's disk are never filled;
    ``on_full`` is called with the size of what found no room, where the policy lets it drive others out. ``on_event``
    is called in the loop; neither may wait.
    """

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        *,
        streams: Sequence[StreamSettings] = (),
        vault: Vault,
        sealer: Sealer,
        policy: Callable[[], Policy],
        now: Callable[[], Moment],
        rights: RightsAtIngest = no_rights,
        reserve_bytes: int = 0,
        on_full: Callable[[int], None] = lambda _size_bytes: None,
        on_event: Callable[[IngestEvent], None] = lambda _event: None,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self._telling = Telling(on_event)
        self.counts = self._telling.counts
        self._vault = vault
        self._index = vault.index
        self._sealer = sealer
        self._policy = policy
        self._now = now
        self._rights = rights
        self._room = Room(vault.folder, reserve_bytes=reserve_bytes)
        self._at_gate = Gate(self._room, policy=policy, on_full=on_full)
        self._pseudonyms = Pseudonyms(vault.keystore, policy=policy, now=now)
        self._monotonic = monotonic
        self._wanting = Wanting(monotonic)
        self._folders = {
            settings.name: FolderSource(
                settings,
                on_refusal=self._telling.unacceptable,
                on_trouble=partial(self._telling.trouble, settings.name),
                monotonic=monotonic,
            )
            for settings in sources
        }
        self._known = Known(vault, rights=rights, taking=frozenset(one.name for one in sources if one.takes))
        self._giving_up = GivingUp(self._folders, vault=vault, now=now)
        opening = partial(
            open_work,
            vault=vault,
            key=self._known.key,
            beginning=lambda head, size: self._index.read_now(lambda tx: bookmark.beginning(tx, head, size_bytes=size)),
        )
        self._shares = {
            name: Share(folder, open_one=beneath(folder, opening), giving_up=self._giving_up)
            for name, folder in self._folders.items()
        }
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: dict[tuple[str, str], bool] = {}
        self._group: tuple[GroupKey, int] | None = None
        self._find = in_transaction(self._index.read, self._known.find)
        self._admit = Together(self._admit_all)
        self._streams = tuple(
            StreamFlow(
                settings,
                vault=vault,
                sealer=sealer,
                room=self._room,
                gate=self._at_gate,
                rights=rights,
                admit=self._admit,
                policy=policy,
                telling=self._telling,
                wanting=self._wanting,
                now=now,
                monotonic=monotonic,
            )
            for settings in streams
        )

    # -- running

    async def run(self) -> None:
        """Take in for ever; a bug ends it, bad files and folders never do."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name, share in self._shares.items():
                opened = partial(self._opened, name)
                tasks.create_task(share.source.run(self._offer, self._fresh, opened), name=f"source {name}")
                tasks.create_task(self._close_batches(share), name=f"log batches {name}")
            for name, folder in self._folders.items():
                tasks.create_task(self._look_over(folder), name=f"absences {name}")
            for stream in self._streams:
                tasks.create_task(stream.run(), name=f"stream {stream.name}")
            tasks.create_task(self._pseudonyms.run(), name="pseudonym keys")
            await asyncio.Event().wait()  # where there is no folder too: cameras come and go

    def trouble(self, source: str) -> Callable[[str], None]:
        """Return what tells why a source as a whole cannot be looked at, and ``""`` when it can."""
        return partial(self._telling.trouble, source)

    def unacceptable(self, refusal: Refusal) -> None:
        """Tell of something that its source does not offer."""
        self._telling.unacceptable(refusal)

    async def collect(self, camera: "CameraSource", *, erasure: Erasure) -> None:
        """Take in from a camera until this is cancelled, beside ``run``; then the camera is given back.

        What of it is being fetched then goes on, or fails when its connection breaks.
        """
        from agent.ingest.asking import Asking  # noqa: PLC0415 - an agent without cameras to ask loads nothing of it

        name = camera.settings.name
        asking = Asking(camera, vault=self._vault, erasure=erasure, now=self._now)
        share = Share(
            camera,
            open_one=asking.open,
            giving_up=asking,
            connect=camera.connect,
            at_once=FETCHING,
            sealing_at_once=1,
        )
        self._shares[name] = share
        try:
            await camera.run(self._offer, self._fresh, partial(asking.recover, name))
        finally:
            camera.close()
            if not share.under_way:
                del self._shares[name]

    async def empty(self, camera: "CameraSource", *, erasure: Erasure) -> None:
        """Have deleted at a camera what is to be deleted there, until this is cancelled; nothing of it is taken in."""
        from agent.ingest.asking import Asking  # noqa: PLC0415 - as above

        asking = Asking(camera, vault=self._vault, erasure=erasure, now=self._now)
        try:
            await camera.run(_to_nobody, _none_of, partial(asking.recover, camera.settings.name))
        finally:
            camera.close()

    async def scan_once(self) -> None:
        """Recover, then take what is there now and nobody is writing; returns when it is durable or refused."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name, share in self._shares.items():
                try:
                    await share.source.open()
                    await self._opened(name)
                    await share.source.scan(self._offer, self._fresh, at_once=True)
                except (ConfigError, MediumError) as error:
                    self._telling.trouble(name, error.message)
                for label in tuple(share.logs):
                    await self._close_batch(share, label)

    async def confirm_absences(self) -> None:
        """Let the tombstones go of what no source has any more."""
        for folder in self._folders.values():
            await confirm_absences(folder, vault=self._vault)

    def reconsider(self) -> None:
        """Look again at what was refused: the policy or the owner's rights changed."""
        self._telling.forget()
        for share in self._shares.values():
            for batch in share.logs.values():
                batch.asked = False
            share.source.reconsider()
        for stream in self._streams:
            stream.reconsider()

    @property
    def is_at_work(self) -> bool:
        """Whether files are under way; streams, which always are, take little and do not count."""
        return bool(self._under_way)

    @property
    def waits_for_room(self) -> bool:
        """Whether something that was refused for want of room waits still, or may since before the start."""
        return self._wanting.waits(self._under_way)

    def found(self) -> dict[str, Found]:
        """Return what the ONVIF services of cameras said, by source."""
        return {stream.name: stream.found for stream in self._streams if stream.found is not None}

    def listened(self) -> dict[str, Listened]:
        """Return what became of the sound of cameras of which it is asked for, by source."""
        return {stream.name: stream.listened for stream in self._streams if stream.listened is not None}

    def close(self) -> None:
        """Give folders and watches back, once nothing runs any more."""
        for share in self._shares.values():
            share.source.close()

    # -- what sources call

    async def _fresh(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        tags = [(candidate, source_tag(candidate, key=self._known.key)) for candidate in candidates]

        def unknown(tx: Tx) -> tuple[Candidate, ...]:
            return tuple(item for item, tag in tags if self._known.is_new(tx, item, tag))

        return await self._index.read(unknown) if tags else ()

    async def _offer(self, candidates: tuple[Candidate, ...]) -> None:
        for candidate in candidates:
            share = self._shares[candidate.source]
            if not is_read_by_line(candidate):
                await self._start(Work(share.source, (candidate,)))
                continue
            label = candidate.place.label
            batch = share.logs.setdefault(label, OpenBatch(share.source, self._monotonic()))
            batch.add(candidate)
            await self._foretell(batch, candidate)
            if batch.is_full:
                await self._close_batch(share, label)
            elif len(share.logs) > OPEN_BATCHES:
                await self._close_batch(share, next(iter(share.logs)))

    async def _foretell(self, batch: OpenBatch, candidate: Candidate) -> None:
        """Tell of a refusal when its log begins to wait for company; step 1, when that ends, has the last word.

        Nothing is done with the file. If power fails before step 1, it is offered and told of again.
        """
        if batch.asked or self._shares[candidate.source].giving_up.holding(candidate) is not None:
            return
        work, moment = Work(batch.source, (candidate,)), self._now()
        try:
            found = await self._find(work)
            if found.taken or found.forbidden is not None or found.one_too_many:
                return  # of this one step 1 says something else; another may come
            batch.asked = True
            refused = self._at_gate.refusal(found.camera, candidate.place.category, rights=found.rights, moment=moment)
            if refused is not None:
                await self._refused(work, refused, moment)
        except AgentError:
            return  # step 1 meets it again, and tells

    async def _opened(self, name: str) -> None:
        """Look whether the folder that was opened is known by this name; then do what a crash left over in it.

        Raises ``ConfigError`` where it is known by another one: then nothing is taken in from it.
        """
        folder = self._folders[name]
        known_by = folder.settings.known_by((await folder.root()).identity)
        path = str(folder.settings.path)
        await self._index.read(
            lambda tx: registry.require_name(tx, known_by, source=name, path=path, named=self._folders)
        )
        await self._giving_up.recover(name)

    async def _look_over(self, source: FolderSource) -> None:
        await pause(ABSENCE_FIRST_S)
        while True:
            await confirm_absences(source, vault=self._vault)
            await pause(ABSENCE_S)

    async def _close_batches(self, share: Share) -> None:
        age_s = share.source.settings.batch_age_s
        while True:
            await pause(max(1.0, age_s / 10))
            now_s = self._monotonic()
            for label, batch in tuple(share.logs.items()):
                if now_s - batch.since_s >= age_s:
                    await self._close_batch(share, label)

    async def _close_batch(self, share: Share, label: str) -> None:
        batch = share.logs.pop(label, None)
        if batch is not None:
            await self._start(batch.work())

    async def _start(self, work: Work) -> None:
        """Begin with it once there is room; a path that is under way is looked at again when that is done."""
        free = []
        for candidate in work.members:
            key = (candidate.source, candidate.path)
            if key in self._under_way:
                self._under_way[key] = True
            else:
                self._under_way[key] = False
                free.append(candidate)
        if not free:
            return
        share = self._share(work)
        try:
            await _enter(share, work)
        except asyncio.CancelledError:  # its source is looked at anew
            self._leave(work.source, free)
            raise
        share.under_way += 1
        assert self._tasks is not None  # noqa: S101 - sources only run inside run and scan_once
        self._tasks.create_task(self._take(Work(work.source, tuple(free))), name="ingest")

    async def _take(self, work: Work) -> None:
        share, began_s = self._share(work), self._monotonic()
        try:
            await self._take_or_tell(work)
            self._wanting.settled(work.places, since_s=began_s)
            if self._giving_up.unnoted >= NOTES or share.under_way == 1:
                await self._giving_up.note()
        finally:
            share.under_way -= 1
            share.room.release()
            if work.is_log:
                share.reading.release()
            self._leave(work.source, work.members)

    def _leave(self, source: Source, members: Iterable[Candidate]) -> None:
        for candidate in members:
            if self._under_way.pop((candidate.source, candidate.path)):
                source.again(candidate.path)
        if not self._under_way:
            self._group = None  # a key is held only while there is work

    async def _take_or_tell(self, work: Work) -> None:
        try:
            await self._steps_or_destroy(work)
        except registry.CamerasFullError as error:
            self._telling.once("cameras_full", work, reason=error.message)
            self._again(work)
        except SpaceError as error:
            self._wanting.refused(work.places)
            self._telling.once("disk_full", work, reason=error.message)
            self._again(work)
        except (IncompleteError, SourceChangedError) as error:
            self._telling.tell(work.event("later", reason=error.message))
            self._again(work)
        except LinkError as error:
            self._telling.once("source_failed", work, reason=error.message)
            self._again(work)
        except AgentError as error:
            self._telling.once("unreadable", work, reason=error.message)

    async def _steps_or_destroy(self, work: Work) -> None:
        try:
            await self._steps(work)
        except RefusedError as error:
            if len(work.members) == 1:
                found = (await self._find(work)).forbidden  # a cut-off may have come while it was sealed
                known = Forbidden(error.message, certain=error.reason == "deleted_before")
                if found is None or (known.certain and not found.certain):
                    found = known
                await self._deleted_before(work, found)
                return
            for candidate in work.members:  # only together do they reach into what was deleted
                await self._take_or_tell(work.alone(candidate))
        except UseChangedError:
            if len(work.members) == 1:
                raise
            for candidate in work.members:  # only together do they reach back to where it was not allowed
                await self._take_or_tell(work.alone(candidate))

    # -- the steps

    async def _steps(self, work: Work) -> None:
        while work.members:
            work = await self._next_steps(work)

    async def _next_steps(self, work: Work) -> Work:
        """Do the steps for what of the work can be read at once; return what is left of it."""
        moment = self._now()
        # 1. The gate.
        work, camera, rights, later = await self._without_known(work, moment)
        let = await self._gate(work, moment, camera=camera, rights=rights) if work.members else None
        if let is None:
            return Work(work.source, later)
        try:
            left = await self._take_let(work, let, moment=moment)
            return Work(work.source, left.members + later)
        finally:
            self._room.give_back(let.room)

    async def _take_let(self, work: Work, let: Let, *, moment: Moment) -> Work:
        opened = await self._share(work).open(work)
        taken = None
        try:
            await self._note_unread(opened)
            rest, let = await self._without_known_content(opened, let, moment=moment)
            if rest.members and len(rest.members) == len(opened.work.members):
                # 2 to 4. From here on it is acknowledged.
                taken = await self._seal_and_admit(opened, let, moment=moment)
        finally:
            opened.close()
            if opened.part is not None:
                self._vault.payloads.discard(opened.part)  # does nothing once it has its final name
        if taken is not None:
            await self._acknowledged(opened, *taken, moment=moment)
            return Work(work.source, opened.more)
        read_again = tuple(item for item in opened.more if all(item.path != one.path for one in rest.members))
        return Work(work.source, rest.members + read_again)

    async def _acknowledged(
        self, opened: Opened, item: Object, told: Draft, made: Tally | None, *, moment: Moment
    ) -> None:
        if item.id != told.id:  # it was here already
            await self._keep([piece.bookmark for piece in opened.pieces], object_id=item.id)
            await self._taken_before(opened.work, item)
            return
        self._telling.tell(IngestEvent(kind="admitted", source=item.source, object=item.id, bytes=item.plain_bytes))
        self._tell_of_lines(opened, item, made)
        # 5 and 6. If power fails before 5, the start finds and reads the file; before 6, recover does it.
        if opened.work.source.settings.copy != "left":
            await self._share(opened.work).giving_up.acknowledged(opened.work, item, moment)

    def _tell_of_lines(self, opened: Opened, item: Object, made: Tally | None) -> None:
        """Tell of lines that are none, and of fields that nobody thought of; how many the rules left out is kept."""
        told = partial(IngestEvent, source=item.source, object=item.id)
        bad = sum(piece.bad_lines for piece in opened.pieces)
        if made is None and bad:
            self._telling.tell(
                told(kind="bad_lines", reason=f"{bad} lines are no JSON objects; they are sealed as they are")
            )
        elif made is not None and made.bad_lines:
            self._telling.tell(told(kind="left_out", reason="lines that are no JSON objects"))
        if made is not None and made.unknown:
            self._telling.tell(told(kind="left_out", reason="fields that no rule names"))
        if made is not None and made.unfit:
            self._telling.tell(told(kind="left_out", reason="values that their fields' rules are not for"))

    async def _taken_before(self, work: Work, item: Object | None) -> None:
        if work.source.settings.copy != "left":
            await self._share(work).giving_up.taken_before(work, item)

    async def _gate(self, work: Work, moment: Moment, *, camera: str, rights: Rights) -> Let | None:
        """Ask in step 1; ``None`` when it is not to be taken, which was told."""
        found = self._at_gate.ask(
            camera, work.first.place.category, rights=rights, size_bytes=work.size_bytes, moment=moment
        )
        if isinstance(found, Let):
            return found
        await self._refused(work, found, moment)
        return None

    async def _seal_and_admit(self, opened: Opened, let: Let, *, moment: Moment) -> tuple[Object, Draft, Tally | None]:
        """Do steps 2 to 4; the object is not the draft's when it was here already. The last is what field rules did."""
        work = opened.work
        assert opened.part is not None  # noqa: S101 - there is something to seal
        camera = let.camera or await self._index.write(
            lambda tx: registry.camera_id(
                tx,
                work.source.settings.name,
                work.first.place.label,
                named=self._policy().cameras(),
                moment=moment,
            )
        )
        group = await self._open_group()
        job = SealJob(
            object_id=new_id(),
            recipients=let.recipients,
            group=group,
            kind="file-key" if let.rule.readable_by_device else "header-key",
            tag_key=self._known.key,
            read_soon=let.rule.upload != "never",
            cleaning=await self._pseudonyms.cleaning(let, moment),
        )
        # 2. Sealed while it is read.
        share = self._share(work)
        async with share.sealing:
            with let.room.writing(opened.part_fd):
                if opened.order is None:
                    sealed = await self._sealer.seal(job, source_fd=opened.source_fd, part_fd=opened.part_fd)
                else:
                    sealed = await self._sealer.fetch(job, opened.order, connect=share.connect, part_fd=opened.part_fd)
        log_tags = [(piece.source_tag, piece.content_tag) for piece in opened.pieces]
        told = draft(
            work,
            let,
            job,
            sealed,
            camera=camera,
            log_tags=log_tags,
            looked=min((piece.looked for piece in opened.pieces), default=(0, 0)),
            doubt_ms=max((piece.doubt_ms for piece in opened.pieces), default=0),
        )
        made = Tally.of(sealed.tally) if sealed.tally else None

        def beside(tx: Tx) -> None:
            if work.first.told is None:
                registry.keep_camera(tx, told.camera, source=told.source, label=work.first.place.label)
                known_by = self._folders[told.source].settings.known_by(told.source_folder)
                registry.keep_folder(tx, known_by, source=told.source)
            _keep(tx, (piece.bookmark for piece in opened.pieces), object_id=told.id)
            if made is not None:
                tally.keep(tx, told.id, source=told.source, told=made)
            counting.keep(tx, told.id, sealed.counted)
            narrow(tx, told, let, vault=self._vault, policy=self._policy, rights=self._rights_of(work))

        # 3 and 4.
        return await self._admit((told, opened.part, group, moment, beside)), told, made

    async def _admit_all(self, all_told: Sequence[Told]) -> list[Object | Exception]:
        """Do steps 3 and 4 for what was sealed meanwhile: one sync of the folder, one commit."""
        admitting = (
            self._vault.admit(told, part=part, group=group, moment=moment, beside=beside)
            for told, part, group, moment, beside in all_told
        )
        results = await asyncio.gather(*admitting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, (Object, Exception))]

    async def _open_group(self) -> GroupKey:
        group, uses = self._group or (None, 0)
        if group is None or uses >= GROUP_USES:
            group, uses = await self._vault.group(), 0
        self._group = (group, uses + 1)
        return group

    async def _without_known(self, work: Work, moment: Moment) -> tuple[Work, str, Rights, tuple[Candidate, ...]]:
        """Do step 1's first half, unread, for each file by itself: what one batch holds says nothing of another.

        Return what is left, the camera's id if it has one, what stands over the first file that is left, and the files
        for which it is their turn later: another yes or no of their owner counts for those.
        """
        new: list[Candidate] = []
        later: list[Candidate] = []
        bookmarks, camera, rights = [], "", Rights()
        for alone in [work.alone(candidate) for candidate in work.members]:
            found = await self._find(alone)
            camera = found.camera
            stuck = self._share(work).giving_up.holding(alone.first)
            if stuck is not None and await self._index.read(partial(self._vault.is_sound, object_id=stuck.id)):
                await self._taken_before(alone, stuck)
            elif found.one_too_many:
                self._telling.once("unreadable", alone, reason="more logs are there than can be known")
            elif not found.taken and found.forbidden is not None:
                await self._deleted_before(alone, found.forbidden)
            elif found.taken:
                if alone.first.told is not None:  # the camera was not told so, or did not hear it
                    await self._taken_before(alone, None)
            elif found.wanted or alone.first.told is None or not alone.first.told.acknowledged:
                # else its tombstone went meanwhile
                if new and found.rights.consents != rights.consents:
                    later.append(alone.first)
                    continue
                rights = rights if new else found.rights
                new.append(alone.first)
                bookmarks.append(found.bookmarks)
        return Work(work.source, tuple(new), tuple(bookmarks), moment), camera, rights, tuple(later)

    # -- usage logs

    async def _without_known_content(self, opened: Opened, let: Let, *, moment: Moment) -> tuple[Work, Let]:
        """Do step 1 once more for each log file that was read: by its content, and by when that was written.

        What of a log that goes on is for no purpose, since it may have been written before a yes, is passed over, so
        that what comes behind it is taken. Raises ``UseChangedError`` where not all of them are for the same.
        """
        work = opened.work
        if not opened.pieces:
            return work, let

        def look(tx: Tx) -> list[tuple[Piece, Object | None, Forbidden | None, Let | Refuse]]:
            return [
                (
                    one,
                    self._vault.held(tx, one.source_tag, one.content_tag),
                    self._known.forbidden_piece(tx, one, camera=let.camera),
                    self._let_piece(tx, one, work, let, moment=moment),
                )
                for one in opened.pieces
            ]

        new, lets = [], list[Let]()
        for piece, held, forbidden, judged in await self._index.read(look):
            alone = work.alone(piece.candidate)
            if held is not None:
                await self._keep([piece.bookmark], object_id=held.id)
                await self._taken_before(alone, held)
            elif forbidden is not None:
                await self._deleted_before(alone, forbidden, passed=piece.passed)
            elif isinstance(judged, Refuse):
                await self._refused(alone, judged, moment)
                await self._keep([piece.passed])
            else:
                new.append(piece.candidate)
                lets.append(judged)
        if len({(one.purposes, one.recipients) for one in lets}) > 1:
            raise UseChangedError("not all of these logs may be used for the same", hint="each is taken by itself")
        return Work(work.source, tuple(new)), lets[0] if lets else let

    def _let_piece(self, tx: Tx, piece: Piece, work: Work, let: Let, *, moment: Moment) -> Let | Refuse:
        place = piece.candidate.place
        if not piece.goes_on:
            if not work.grows:
                return let
            # It may be another log than was known there: it counts by the time in its name.
            stands = self._known.stands_over(tx, piece.candidate, camera=let.camera)
            return self._at_gate.ask_again(let, place.category, rights=stands, moment=moment)
        stands = self._rights_of(work)(
            tx,
            camera=let.camera,
            category=place.category,
            captured_from_ms=place.captured_from_ms,
            captured_to_ms=place.captured_to_ms,
        )
        return self._at_gate.ask_again(let, place.category, rights=stands, moment=moment)

    def _rights_of(self, work: Work) -> RightsAtIngest:
        """Return what tells what stands over what is read: of a log that grows our clock says when it was written."""
        return partial(self._rights, by_our_clock=True) if work.grows else self._rights

    async def _note_unread(self, opened: Opened) -> None:
        for candidate in opened.later:
            opened.work.source.again(candidate.path)
        for candidate, reason in opened.unreadable:
            self._telling.once("unreadable", opened.work.alone(candidate), reason=reason)
        await self._keep(opened.passed)
        for piece in opened.finished:
            await self._finished(opened.work.alone(piece.candidate), piece)

    async def _finished(self, work: Work, piece: Piece) -> None:
        """Give up a log that was taken to its end: before its folder became ours, or when it could not be removed.

        That is also where power failed between 4 and 5. Where one object holds all of it, 5 and 6 of that go on.
        """

        def look(tx: Tx) -> tuple[Object | None, str | None]:
            held = self._vault.get(tx, piece.object) if piece.object else None
            return held, tombstone.deleted(tx, source_tag=b"", content_tag=piece.content_tag)

        held, deleted = await self._index.read(look)
        removed = False
        try:
            if held is not None:
                await self._taken_before(work, held)
            elif deleted is not None:
                await self._deleted_before(work, Forbidden(deleted))
            else:
                removed = await self._share(work).giving_up.destroy(work)
        except AgentError as error:
            self._telling.once("source_failed", work, reason=error.message)
            self._again(work)
            return
        if removed:
            event = Event(kind="source_given_up", detail={"reason": "taken_before"})
            moment = self._now()
            await self._index.write(lambda tx: audit.append(tx, event, moment=moment))

    async def _keep(self, bookmarks: Sequence[Bookmark | None], *, object_id: str = "") -> None:
        if any(bookmarks):
            await self._index.write(lambda tx: _keep(tx, bookmarks, object_id=object_id))

    # -- telling

    async def _deleted_before(self, work: Work, forbidden: Forbidden, *, passed: Bookmark | None = None) -> None:
        """What was deleted does not come back: destroyed where the copy is ours, told as remaining where it is not.

        What may have been deleted is neither taken in nor destroyed. Of a log that grows it is ``passed`` over, so that
        what comes behind it is taken.
        """
        if not forbidden.certain:
            await self._refused(work, Refuse(reason="before_mark", rule=forbidden.rule), self._now())
            await self._keep([passed])
            if work.first.told is not None or work.is_log:
                await self._remains(work, forbidden)
            return
        if work.source.settings.copy == "left":
            await self._remains(work, forbidden, passed=passed)
            return
        if (await self._find(work)).rights.hold is not None:
            self._telling.once("held", work, reason="a hold keeps the source's copy")
            return
        if not await self._share(work).giving_up.destroy(work):
            return  # it vanished, or another file has its place: that one is offered by itself
        event = Event(kind="source_given_up", rule=forbidden.rule[:100], detail={"reason": "deleted_before"})
        moment = self._now()

        def note(tx: Tx) -> None:
            audit.append(tx, event, moment=moment)
            tombstone.count_late(tx, forbidden.by, destroyed=True)

        await self._index.write(note)
        self._telling.tell(work.event("deleted_before", reason="the source's copy was destroyed", obeys=True))

    async def _remains(self, work: Work, forbidden: Forbidden, *, passed: Bookmark | None = None) -> None:
        """Tell once that the source keeps what a delete covers."""
        is_new = self._telling.once("deleted_before", work, reason="the source's copy remains")
        tag = source_tag(work.first, key=self._known.key)

        def note(tx: Tx) -> None:
            _keep(tx, [passed])
            if is_new and remaining.note(tx, tag, forbidden.by.jti, key=self._known.key):
                tombstone.count_late(tx, forbidden.by, destroyed=False)

        if passed is not None or (is_new and forbidden.by.jti):
            await self._index.write(note)

    async def _refused(self, work: Work, decision: Refuse, moment: Moment) -> None:
        place, name = work.first.place, work.source.settings.name
        key = (place.label, place.category)
        if not self._telling.once("refused", work, reason=decision.reason, key=key):
            return
        detail: dict[str, str | int] = {"reason": decision.reason, "category": place.category, "source": name}
        event = Event(kind="ingest_refused", rule=decision.rule, detail=detail)
        try:
            await self._index.write(lambda tx: audit.append(tx, event, moment=moment))
        except AgentError:  # nothing is written: the next time it is told with its entry
            self._telling.take_back("refused", work, reason=decision.reason, key=key)
            raise

    def _share(self, work: Work) -> Share:
        return self._shares[work.source.settings.name]

    def _again(self, work: Work) -> None:
        for candidate in work.members:
            work.source.again(candidate.path)


async def _to_nobody(_candidates: tuple[Candidate, ...]) -> None:
    return None


async def _none_of(_candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return ()


async def _enter(share: Share, work: Work) -> None:
    if not work.is_log:
        await share.room.acquire()
        return
    await share.reading.acquire()
    try:
        await share.room.acquire()
    except asyncio.CancelledError:
        share.reading.release()
        raise


def _keep(tx: Tx, bookmarks: Iterable[Bookmark | None], *, object_id: str = "") -> None:
    kept = [one for one in bookmarks if one is not None]
    for one in kept:
        bookmark.keep(tx, one, object_id=object_id)
    if any(one.emptied for one in kept):
        bookmark.bound(tx)
