"""Take in what the sources offer: gate → seal while reading → vault → give the source's copy up.

The steps, numbered as in ``agent/vault.py``; this flow does 1, 2, 5 and 6 and calls the vault for 3 and 4:

1. the gate: was it taken or deleted before, and does ``policy.decide`` let it in?
2. it is sealed while it is read, into a part file that is synced;
3. the part file gets its final name and the folder is synced;
4. row, slot, header and audit entry are committed: from here on it is acknowledged (invariant I2);
5. the source's copy is given up (``take``) and its folder synced;
6. that is noted.

A cut before 4 leaves the source as it was. After 4 the source's identity is known, so the file is never taken again:
``recover`` goes on with 5. Usage logs are small, so several files of one camera become one object; which ones is noted
before 4 and counts only if the vault has that object.

A file's failure is that file's alone: it is told, counted, left where it is and, where that can help, tried again.
"""

import asyncio
import hmac
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from agent import audit, registry
from agent.audit import Event
from agent.clock import monotonic_s, pause
from agent.errors import AgentError, CorruptError, LinkError, RefusedError, SpaceError
from agent.files import free_bytes, remove
from agent.index import Tx
from agent.model import Moment, Object, Requester, new_id
from agent.policy import Allow, Conditions, Policy, Refuse, Rights, Rule, Subject, decide
from agent.sealer import Sealed, Sealer, SealJob
from agent.sources import Candidate, FolderSource, SourceSettings
from agent.sources.folder import Refusal
from agent.sources.usage_log import FILE_MAX_BYTES, Lines, read_lines
from agent.vault import Draft, Vault

AT_ONCE: Final = 16
"""Files under way: enough that commits and folder syncs are shared, few enough to hold little."""

BATCH_FILES: Final = 200
OPEN_BATCHES: Final = 256
TOLD_MAX: Final = 1024

_DEVICE: Final = Requester(role="device")

EventKind = Literal["admitted", "refused", "unreadable", "disk_full", "later", "deleted_before", "lines_dropped"]


class IngestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one file or batch.

    ``reason`` is a code or a sentence without names. ``unverified_path`` is personal: it is for the owner at this
    machine, never for a log.
    """

    kind: EventKind
    source: str
    reason: str = ""
    object: str = ""
    bytes: int = 0
    unverified_path: str = ""


class _Work(msgspec.Struct, frozen=True):
    """What becomes one object: one file, or the log files of one camera."""

    source: FolderSource
    members: tuple[Candidate, ...]

    @property
    def first(self) -> Candidate:
        return self.members[0]

    @property
    def is_log(self) -> bool:
        return self.first.place.category == "usage-log"

    def event(self, kind: EventKind, *, reason: str) -> IngestEvent:
        return IngestEvent(kind=kind, source=self.source.settings.name, reason=reason, unverified_path=self.first.path)


class _Let(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's yes: under which rule, for which camera (``""``: a new one), and which members it is about."""

    rule: Rule
    camera: str
    tag: bytes


class _OpenBatch:
    """Log files of one camera that wait for company."""

    __slots__ = ("bytes", "members", "since_s", "source")

    def __init__(self, source: FolderSource, since_s: float) -> None:
        self.source = source
        self.since_s = since_s
        self.members: dict[str, Candidate] = {}
        self.bytes = 0

    def add(self, candidate: Candidate) -> None:
        held = self.members.get(candidate.path)
        self.bytes += candidate.size_bytes - (held.size_bytes if held is not None else 0)
        self.members[candidate.path] = candidate

    def work(self) -> _Work:
        return _Work(self.source, tuple(self.members[path] for path in sorted(self.members)))


def _no_rights(_camera: str, _category: str) -> Rights:
    return Rights()


class Ingest:
    """The flow for all sources; belongs to the running event loop.

    ``policy``, ``now`` and ``rights`` (camera id or ``""``, category) are asked once per file. ``reserve_bytes`` of the
    vault's disk are never filled. ``on_event`` is called in the loop and must not wait.
    """

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        *,
        vault: Vault,
        sealer: Sealer,
        policy: Callable[[], Policy],
        now: Callable[[], Moment],
        rights: Callable[[str, str], Rights] = _no_rights,
        reserve_bytes: int = 0,
        on_event: Callable[[IngestEvent], None] = lambda _event: None,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._vault = vault
        self._index = vault.index
        self._sealer = sealer
        self._policy = policy
        self._now = now
        self._rights = rights
        self._reserve_bytes = reserve_bytes
        self._on_event = on_event
        self._monotonic = monotonic
        self._sources = {
            settings.name: FolderSource(settings, on_refusal=self._unacceptable, monotonic=monotonic)
            for settings in sources
        }
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: dict[tuple[str, str], bool] = {}
        self._logs: dict[tuple[str, str], _OpenBatch] = {}
        self._told: dict[tuple[str, ...], None] = {}

    # -- running

    async def run(self) -> None:
        """Take in for ever; a bug ends it, bad files never do. Call ``recover`` first."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name, source in self._sources.items():
                tasks.create_task(source.run(self._offer, self._fresh), name=f"source {name}")
            tasks.create_task(self._close_batches(), name="log batches")

    async def scan_once(self) -> None:
        """Recover, then take what is there now and nobody is writing; returns when it is durable or refused."""
        await self.recover()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for source in self._sources.values():
                await source.scan(self._offer, self._fresh, at_once=True)
            for key in tuple(self._logs):
                await self._close_batch(key)

    async def recover(self) -> None:
        """Finish steps 5 and 6 of what was acknowledged before a cut; a folder that is away has to wait."""
        after = ""
        while page := await self._index.read(partial(self._vault.source_left_over, after=after)):
            for item in page:
                source = self._sources.get(item.source)
                if source is not None:
                    await self._recover_one(item, source)
            after = page[-1].id

    def reconsider(self) -> None:
        """Look again at what was refused: the policy or the owner's rights changed."""
        self._told.clear()
        for source in self._sources.values():
            source.reconsider()

    def close(self) -> None:
        """Give folders and watches back, once nothing runs any more."""
        for source in self._sources.values():
            source.close()

    # -- what sources call

    async def _fresh(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        tags = [(candidate, self._tag(candidate)) for candidate in candidates]

        def unknown(tx: Tx) -> tuple[Candidate, ...]:
            # What was taken but stands there still is offered where it is ours to give up: a cut came before step 5.
            return tuple(item for item, tag in tags if self._takes(item) or not self._taken(tx, tag))

        return await self._index.read(unknown) if tags else ()

    async def _offer(self, candidates: tuple[Candidate, ...]) -> None:
        for candidate in candidates:
            source = self._sources[candidate.source]
            if candidate.place.category != "usage-log":
                await self._start(_Work(source, (candidate,)))
                continue
            key = (candidate.source, candidate.place.label)
            batch = self._logs.setdefault(key, _OpenBatch(source, self._monotonic()))
            batch.add(candidate)
            if batch.bytes >= source.settings.batch_bytes or len(batch.members) >= BATCH_FILES:
                await self._close_batch(key)
            elif len(self._logs) > OPEN_BATCHES:
                await self._close_batch(next(iter(self._logs)))

    def _unacceptable(self, refusal: Refusal) -> None:
        self._tell(
            IngestEvent(
                kind="unreadable",
                source=refusal.source,
                reason=refusal.reason,
                unverified_path=refusal.unverified_path,
            )
        )

    async def _close_batches(self) -> None:
        ages = [source.settings.batch_age_s for source in self._sources.values()]
        every_s = max(1.0, min(ages, default=60.0) / 10)
        while True:
            await pause(every_s)
            now_s = self._monotonic()
            for key, batch in tuple(self._logs.items()):
                if now_s - batch.since_s >= batch.source.settings.batch_age_s:
                    await self._close_batch(key)

    async def _close_batch(self, key: tuple[str, str]) -> None:
        batch = self._logs.pop(key, None)
        if batch is not None:
            await self._start(batch.work())

    async def _start(self, work: _Work) -> None:
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
        await self._room.acquire()
        assert self._tasks is not None  # noqa: S101 - sources only run inside run and scan_once
        self._tasks.create_task(self._take(_Work(work.source, tuple(free))), name="ingest")

    async def _take(self, work: _Work) -> None:
        try:
            await self._take_or_tell(work)
        finally:
            self._room.release()
            for candidate in work.members:
                if self._under_way.pop((candidate.source, candidate.path)):
                    work.source.again(candidate.path)

    async def _take_or_tell(self, work: _Work) -> None:
        try:
            await self._steps(work)
        except SpaceError as error:
            self._tell_once("disk_full", work, reason=error.message)
            self._again(work)
        except LinkError as error:
            self._tell(work.event("later", reason=error.message))
            self._again(work)
        except RefusedError as error:
            if len(work.members) == 1:
                await self._deleted_before(work, error.message)
            else:  # only together do they reach into what was deleted
                for candidate in work.members:
                    await self._take_or_tell(_Work(work.source, (candidate,)))
        except AgentError as error:
            self._tell_once("unreadable", work, reason=error.message)

    # -- the steps

    async def _steps(self, work: _Work) -> None:
        moment = self._now()
        # 1. The gate.
        dropped = 0
        if work.is_log:
            work = await self._without_known(work)
            if not work.members:
                return
        let = await self._gate(work, moment)
        if let is None:
            return
        # 2. Sealed while it is read.
        if work.is_log:
            lines, work = await asyncio.to_thread(self._read_logs, work)
            if not work.members:
                return
            dropped = sum(item.dropped_lines for item in lines)
            let = msgspec.structs.replace(let, tag=self._batch_tag(work))
            source_fd = _memory_file(lines)
        else:
            source_fd = await asyncio.to_thread(work.source.open_file, work.first)
        try:
            item = await self._seal_and_admit(work, let, source_fd=source_fd, moment=moment)
        finally:
            os.close(source_fd)
        self._tell(IngestEvent(kind="admitted", source=item.source, object=item.id, bytes=item.plain_bytes))
        if dropped:
            await self._note_dropped(item, dropped, moment)
        # 5 and 6. If power fails in between, recover does them.
        if work.source.settings.takes:
            await asyncio.to_thread(self._give_up, work)
            await self._note_given_up(item.id, moment)

    async def _gate(self, work: _Work, moment: Moment) -> _Let | None:
        """Do step 1; ``None`` when it is not to be taken, which was told."""
        place, settings = work.first.place, work.source.settings
        tag = self._batch_tag(work)

        def ask(tx: Tx) -> tuple[bool, str | None, str]:
            camera = registry.find_camera(tx, settings.name, place.label) or ""
            forbidden = None if work.is_log else self._forbidden(tx, work.first, tag)
            return self._taken(tx, tag), forbidden, camera

        taken, forbidden, camera = await self._index.read(ask)
        if taken:
            if settings.takes:  # a cut came between 4 and 5
                await asyncio.to_thread(self._give_up, work)
            return None
        if forbidden is not None:
            await self._deleted_before(work, forbidden)
            return None
        size_bytes = sum(item.size_bytes for item in work.members)
        free, total = free_bytes(self._vault.folder)
        policy = self._policy()
        decision = decide(
            policy,
            "ingest",
            requester=_DEVICE,
            subject=Subject(camera=camera, category=place.category, taken_in_ms=moment.agent_ms),
            rights=self._rights(camera, place.category),
            conditions=Conditions(
                moment=moment, free_bytes=free - self._reserve_bytes - size_bytes, total_bytes=total
            ),
        )  # fmt: skip
        if isinstance(decision, Allow):
            rule = policy.rule_for(camera, place.category)
            assert rule is not None  # noqa: S101 - decide refuses without one
            return _Let(rule=rule, camera=camera, tag=tag)
        if decision.reason == "disk_full":
            raise SpaceError(
                f"{free} bytes are free, {self._reserve_bytes} of them reserved; {size_bytes} are needed",
                hint="free space or lower the keep limits in policy.toml",
            )
        await self._refused(work, decision, moment)
        return None

    async def _seal_and_admit(self, work: _Work, let: _Let, *, source_fd: int, moment: Moment) -> Object:
        camera = let.camera or await self._index.write(
            lambda tx: registry.camera_id(tx, work.source.settings.name, work.first.place.label)
        )
        group = await self._vault.group()
        job = SealJob(
            object_id=new_id(),
            recipients=let.rule.recipients,
            group=group,
            kind="file-key" if let.rule.readable_by_device else "header-key",
            tag_key=self._vault.keystore.tombstone_key(),
        )
        part_fd, part = self._vault.new_part()
        try:
            sealed = await self._sealer.seal(job, source_fd=source_fd, part_fd=part_fd)
        except BaseException:
            remove(part, folder_synced=False)
            raise
        finally:
            os.close(part_fd)
        draft = _draft(work, let, job, sealed, camera=camera)
        if len(work.members) > 1:
            members = tuple((self._tag(item), item.path) for item in work.members)
            await self._index.write(lambda tx: registry.put_batch(tx, let.tag, job.object_id, members))
        # 3 and 4. From here on it is acknowledged.
        return await self._vault.admit(draft, part=part, group=group, moment=moment)

    def _give_up(self, work: _Work) -> None:
        # 5. Each removal is synced before 6 may say that it happened.
        for candidate in work.members:
            work.source.give_up(candidate)

    async def _note_given_up(self, object_id: str, moment: Moment) -> None:
        def note(tx: Tx) -> None:
            # 6.
            self._vault.mark_source_gone(tx, object_id)
            registry.drop_batch(tx, object_id)
            audit.append(tx, Event(kind="source_given_up", object=object_id), moment=moment)

        await self._index.write(note)

    async def _recover_one(self, item: Object, source: FolderSource) -> None:
        paths = await self._index.read(lambda tx: registry.batch_paths(tx, item.id)) or (item.name,)
        try:
            for path in paths:
                candidate = await asyncio.to_thread(source.look, path)
                if candidate is not None and await self._index.read(partial(self._taken, tag=self._tag(candidate))):
                    await asyncio.to_thread(source.give_up, candidate)
        except AgentError:  # the folder is away
            return
        await self._note_given_up(item.id, self._now())

    # -- usage logs

    async def _without_known(self, work: _Work) -> _Work:
        """Do step 1's first half for each log file by itself: what one batch holds says nothing of another."""
        tags = [(candidate, self._tag(candidate)) for candidate in work.members]

        def judge(tx: Tx) -> list[tuple[Candidate, bool, str | None]]:
            return [(item, self._taken(tx, tag), self._forbidden(tx, item, tag)) for item, tag in tags]

        new = []
        for item, taken, forbidden in await self._index.read(judge):
            alone = _Work(work.source, (item,))
            if taken and work.source.settings.takes:
                await asyncio.to_thread(self._give_up, alone)
            elif not taken and forbidden is not None:
                await self._deleted_before(alone, forbidden)
            elif not taken:
                new.append(item)
        return _Work(work.source, tuple(new))

    def _read_logs(self, work: _Work) -> tuple[list[Lines], _Work]:
        """Return the good lines of the members that can be read now, and those members."""
        lines, members = [], []
        for candidate in work.members:
            try:
                lines.append(_read_log(work.source, candidate))
                members.append(candidate)
            except LinkError:
                work.source.again(candidate.path)
            except AgentError as error:
                self._tell_once("unreadable", _Work(work.source, (candidate,)), reason=error.message)
        return lines, _Work(work.source, tuple(members))

    async def _note_dropped(self, item: Object, dropped: int, moment: Moment) -> None:
        event = Event(kind="ingest_refused", rule="usage-log.lines", object=item.id, detail={"lines": dropped})
        await self._index.write(lambda tx: audit.append(tx, event, moment=moment))
        reason = f"{dropped} lines are no JSON objects"
        self._tell(IngestEvent(kind="lines_dropped", source=item.source, reason=reason, object=item.id))

    # -- identity

    def _tag(self, candidate: Candidate) -> bytes:
        """Return the keyed hash of a file's identity at its source; a file restored from a backup keeps it."""
        about = (candidate.source, candidate.path, candidate.size_bytes, candidate.mtime_ns)
        return hmac.digest(self._vault.keystore.tombstone_key(), b"source\0" + msgspec.msgpack.encode(about), "sha256")

    def _batch_tag(self, work: _Work) -> bytes:
        tags = [self._tag(candidate) for candidate in work.members]
        if len(tags) == 1:
            return tags[0]
        return hmac.digest(self._vault.keystore.tombstone_key(), b"batch\0" + b"".join(tags), "sha256")

    def _taken(self, tx: Tx, tag: bytes) -> bool:
        if self._vault.seen(tx, tag):
            return True
        batch = registry.batch_of(tx, tag)
        return batch is not None and self._vault.seen(tx, batch)

    def _forbidden(self, tx: Tx, candidate: Candidate, tag: bytes) -> str | None:
        """Return the rule under which this file, or the batch it was part of, was deleted before."""
        place = candidate.place
        return self._vault.forbidden(
            tx,
            source_tag=registry.batch_of(tx, tag) or tag,
            content_tag=b"",
            camera=registry.find_camera(tx, candidate.source, place.label) or "",
            category=place.category,
            captured_from_ms=place.captured_from_ms,
            captured_to_ms=place.captured_to_ms,
            source=candidate.source,
        )

    def _takes(self, candidate: Candidate) -> bool:
        return self._sources[candidate.source].settings.takes

    # -- telling

    async def _deleted_before(self, work: _Work, rule: str) -> None:
        """What was deleted does not come back: destroyed where the copy is ours, told as remaining where it is not."""
        if not work.source.settings.takes:
            self._tell_once("deleted_before", work, reason="the source's copy remains")
            return
        await asyncio.to_thread(self._give_up, work)
        event = Event(kind="source_given_up", rule=rule[:100], detail={"reason": "deleted_before"})
        moment = self._now()
        await self._index.write(lambda tx: audit.append(tx, event, moment=moment))
        self._tell(work.event("deleted_before", reason="the source's copy was destroyed"))

    async def _refused(self, work: _Work, decision: Refuse, moment: Moment) -> None:
        place, name = work.first.place, work.source.settings.name
        if not self._tell_once("refused", work, reason=decision.reason, key=(place.label, place.category)):
            return
        detail: dict[str, str | int] = {"reason": decision.reason, "category": place.category, "source": name}
        event = Event(kind="ingest_refused", rule=decision.rule, detail=detail)
        await self._index.write(lambda tx: audit.append(tx, event, moment=moment))

    def _again(self, work: _Work) -> None:
        for candidate in work.members:
            work.source.again(candidate.path)

    def _tell(self, event: IngestEvent) -> None:
        self.counts[event.kind] += 1
        self._on_event(event)

    def _tell_once(self, kind: EventKind, work: _Work, *, reason: str, key: tuple[str, ...] = ()) -> bool:
        """Tell it if it was not told of this file (or ``key``) lately; count it always."""
        source = work.source.settings.name
        told = (kind, source, reason, *(key or (work.first.path,)))
        if told in self._told:
            self.counts[kind] += 1
            return False
        while len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[told] = None
        self._tell(work.event(kind, reason=reason))
        return True


def _draft(work: _Work, let: _Let, job: SealJob, sealed: Sealed, *, camera: str) -> Draft:
    place, settings = work.first.place, work.source.settings
    return Draft(
        id=job.object_id,
        camera=camera,
        category=place.category,
        purpose=let.rule.purpose,
        source=settings.name,
        media_type=place.media_type,
        name=work.first.path,
        captured_from_ms=min(item.place.captured_from_ms for item in work.members),
        captured_to_ms=max(item.place.captured_to_ms for item in work.members),
        plain_bytes=sealed.plain_bytes,
        size_bytes=sealed.size_bytes,
        payload_sha256=sealed.payload_sha256,
        header_sha256=sealed.header_sha256,
        kind=job.kind,
        recipients=job.recipients,
        source_copy="taken" if settings.takes else "left",
        medium=settings.medium,
        slot=sealed.slot,
        sealed_header=sealed.sealed_header,
        source_tag=let.tag,
        content_tag=sealed.content_tag,
    )


def _read_log(source: FolderSource, candidate: Candidate) -> Lines:
    if candidate.size_bytes > FILE_MAX_BYTES:
        raise CorruptError(f"a usage log of more than {FILE_MAX_BYTES} bytes")
    fd = source.open_file(candidate)
    try:
        raw = b""
        while piece := os.read(fd, FILE_MAX_BYTES + 1 - len(raw)):
            raw += piece
        if len(raw) != candidate.size_bytes or os.fstat(fd).st_mtime_ns != candidate.mtime_ns:
            raise LinkError("the file changed while it was read", hint="it is tried again once its writer is done")
        return read_lines(raw)
    except OSError as error:
        raise LinkError(f"the source cannot be read: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(fd)


def _memory_file(lines: list[Lines]) -> int:
    """Return a file that exists in memory only: clear bytes never touch a disk of ours (invariant I1)."""
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    for item in lines:
        view = memoryview(item.kept)
        while view:
            view = view[os.write(fd, view) :]
    return fd
