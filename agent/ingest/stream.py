"""A camera that streams is taken in segment by segment, each sealed while it is recorded.

The steps are those of the package, without 5 and 6: nobody has a copy of what was streamed.

- 1 is done before the camera is called at all, for each segment, and once more when the policy or the owner's rights
  change: what is refused then is not finished.
- 2 reads from the process that reads the camera, through a pipe; nothing lies anywhere in clear. What arrived before a
  link broke is a whole object by itself.
- 3 and 4 come when the segment has ended; a cut before 4 costs the segment.

When it was recorded is told by the agent's clock, at the first picture of a connection, and by the stream's own from
there on; where they disagree for long the agent's counts.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from agent import audit, registry
from agent.audit import Event
from agent.clock import MS_PER_S, rfc3339_ms
from agent.errors import AgentError, ConfigError, RefusedError, SpaceError
from agent.index import Tx
from agent.ingest.gate import Gate
from agent.ingest.known import RightsAtIngest
from agent.ingest.meanwhile import narrow
from agent.ingest.room import Room
from agent.ingest.telling import Telling
from agent.ingest.wanting import Wanting
from agent.ingest.work import EventKind, IngestEvent, Let, Now, Told
from agent.model import Category, Moment, Object, new_id
from agent.policy import Policy, Refuse, Rights
from agent.rtsp import Segment, StreamSettings, Watch
from agent.rtsp.message import IMPOSTOR, Listened
from agent.rtsp.onvif.client import ask
from agent.rtsp.onvif.message import Found
from agent.rtsp.settings import read_address
from agent.sealer import Sealed, Sealer, SealJob
from agent.sources.candidate import IncompleteError
from agent.timeline import lag_ms
from agent.vault import Draft, Vault

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two calls of a camera that is away: the first is soon, and each of the next twice as far."""

PERSON_PAUSE_S: Final = 300.0
"""After what a person has to mend: many cameras close their door after some wrong passwords."""

REFUSED_PAUSE_S: Final = 60.0
"""After a refusal, of which nobody tells when it ends; a change of the policy is told."""

FULL_PAUSE_S: Final = 10.0

SEGMENTS_MAX: Final = 3
"""Of one camera under way: one arrives while the one before it is being finished."""

FINISH_S: Final = 10.0
"""For what is under way when the agent stops."""

APART_MS: Final = 2_000
"""So far stream and agent may disagree about the time: a camera's clock drifts by seconds a day."""

LEAST_BYTES: Final = 8 << 20
"""What a segment is expected to take before one was seen."""

CATEGORY: Final[Category] = "recording"
MEDIA_TYPE: Final = "video/mp4"


class _DeclinedError(Exception):
    """A segment was not let in; the camera is let go."""


class _Reading:
    """One connection, and why its segments are not wanted any more."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.declined = False
        self.error: AgentError | None = None

    def decline(self) -> None:
        """Let the camera go; what is under way is not finished."""
        self.declined = True
        self._watch.drop()


class StreamFlow:
    """The flow of one camera; belongs to the running event loop."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        vault: Vault,
        sealer: Sealer,
        room: Room,
        gate: Gate,
        rights: RightsAtIngest,
        admit: Callable[[Told], Awaitable[Object]],
        policy: Callable[[], Policy],
        telling: Telling,
        wanting: Wanting,
        now: Now,
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._index = vault.index
        self._sealer = sealer
        self._room = room
        self._gate = gate
        self._rights = partial(rights, by_our_clock=True)
        self._admit = admit
        self._policy = policy
        self._telling = telling
        self._wanting = wanting
        self._now = now
        self._monotonic = monotonic
        self._changed = asyncio.Event()
        self._trouble: str | None = None
        self._size_bytes = LEAST_BYTES
        self._failures = 0
        self._base_ms: int | None = None
        self.found: Found | None = None
        """What its ONVIF service said, where that is named."""
        self.listened: Listened | None = None
        """What became of its sound, where that is asked for."""

    @property
    def name(self) -> str:
        """What its objects, and messages about it, call it."""
        return self._settings.name

    def reconsider(self) -> None:
        """Ask again whether it may be taken in: the policy or the owner's rights changed."""
        self._changed.set()

    async def run(self) -> None:
        """Take in for ever; a bug ends it, a camera never does."""
        while True:
            self._changed.clear()
            pause_s = await self._connection()
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    # -- one connection

    async def _connection(self) -> float:
        """Read the camera until that ends; return how long to wait before it is called again."""
        try:
            let = await self._let(self._now())
            if let is None:
                return REFUSED_PAUSE_S
            self._room.give_back(let.room)
            self._base_ms = None
            async with Watch(await self._where()) as watch:
                await self._read(watch)
        except _DeclinedError:
            return FULL_PAUSE_S
        except SpaceError as error:
            self._found_no_room(error)
            return FULL_PAUSE_S
        except AgentError as error:
            return await self._failed(error)
        return FIRST_PAUSE_S

    async def _where(self) -> StreamSettings:
        """Return the settings with the stream's address, asked of the camera where its ONVIF service is named.

        What it said counts until a connection fails before a segment.
        """
        settings = self._settings
        if not settings.onvif:
            return settings
        if self.found is None or self._failures:
            self.found = await ask(settings)
        if read_address(self.found.stream).secure and not settings.certificate_sha256:
            raise ConfigError(
                "the camera streams with TLS, and its certificate is not pinned",
                hint='compare its certificate, then write certificate_sha256 = "…" (docs/operating.md)',
            )
        return msgspec.structs.replace(settings, url=self.found.stream)

    async def _failed(self, error: AgentError) -> float:
        if isinstance(error, RefusedError) and error.reason == IMPOSTOR:
            await self._impostor(again=error.message == self._trouble)
        if error.message != self._trouble:
            self._trouble = error.message
            self._telling.trouble(self.name, error.message)
        self._failures += 1
        if isinstance(error, ConfigError | RefusedError):
            return PERSON_PAUSE_S
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16))

    async def _impostor(self, *, again: bool) -> None:
        """Tell that another certificate than the pinned one was shown; written down unless it was so before."""
        moment, label = self._now(), self._settings.camera

        def write(tx: Tx) -> str:
            camera = registry.camera_id(tx, self.name, label, named=self._policy().cameras(), moment=moment)
            if not again:
                event = Event(kind="camera_refused", rule="changed_certificate", detail={"camera": camera})
                audit.append(tx, event, moment=moment)
            return camera

        with suppress(SpaceError):
            self._tell("impostor", await self._index.write(write, urgent=True))

    async def _read(self, watch: Watch) -> None:
        """Take each segment that begins; raises why there are no more, once those under way are done."""
        reading = _Reading(watch)
        async with asyncio.TaskGroup() as tasks:
            judging = tasks.create_task(self._judge_again(reading), name=f"judge {self.name}")
            under_way: set[asyncio.Task[None]] = set()
            try:
                async for segment in watch.segments():
                    self._note_sound(watch.listened)
                    if len(under_way) >= SEGMENTS_MAX:
                        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    taking = tasks.create_task(self._take(segment, reading), name=f"segment {self.name}")
                    under_way.add(taking)
                    taking.add_done_callback(under_way.discard)
            except AgentError as error:
                if not reading.declined:
                    reading.error = error
            except asyncio.CancelledError:
                await watch.finish()
                if under_way:
                    await asyncio.wait(under_way, timeout=FINISH_S)
                raise
            finally:
                judging.cancel()
        if reading.error is not None:
            raise reading.error
        if reading.declined:
            raise _DeclinedError

    async def _judge_again(self, reading: "_Reading") -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                let = await self._let(self._now())
            except SpaceError:
                continue  # what is under way has its room, and the next segment is judged by itself
            if let is None:
                reading.decline()
                return
            self._room.give_back(let.room)

    # -- the steps

    async def _take(self, segment: Segment, reading: "_Reading") -> None:
        try:
            await self._steps(segment, reading)
        except RefusedError as error:
            self._tell("deleted_before", error.message)
        except IncompleteError as error:  # the next segment is judged by what is allowed then
            self._tell("later", error.message)
            reading.decline()
        except SpaceError as error:
            self._found_no_room(error)
            reading.decline()
        except AgentError as error:
            reading.error = reading.error or error
            reading.decline()
        finally:
            segment.close()

    async def _steps(self, segment: Segment, reading: "_Reading") -> None:
        moment = self._now()
        began_s = self._monotonic()
        from_ms = self._recorded_from(segment, moment)
        # 1. The gate.
        let = await self._let(moment)
        if let is None:
            reading.decline()
            return
        try:
            part_fd, part = await asyncio.to_thread(self._vault.new_part)
            try:
                # 2. Sealed while it is recorded.
                job, sealed = await self._seal(segment, let, part_fd)
                length_ms = await segment.length_ms
                if length_ms is None:  # the process that read it is gone: until now, then
                    length_ms = round((self._monotonic() - began_s) * MS_PER_S)
                if reading.declined or not sealed.plain_bytes:
                    return
                # 3 and 4.
                interval = from_ms, from_ms + max(1, length_ms)
                camera = await self._camera(let, moment)
                told = self._draft(job, sealed, let, camera=camera, interval=interval, lag_ms=lag_ms(moment))
                beside = partial(self._beside, told=told, let=let)
                item = await self._admit((told, part, job.group, moment, beside))
            finally:
                os.close(part_fd)
                self._vault.payloads.discard(part)  # does nothing once it has its final name
        finally:
            self._room.give_back(let.room)
        self._good(item)

    def _beside(self, tx: Tx, *, told: Draft, let: Let) -> None:
        """Write what belongs to step 4."""
        registry.keep_camera(tx, told.camera, source=told.source, label=self._settings.camera)
        narrow(tx, told, let, vault=self._vault, policy=self._policy, rights=self._rights)

    async def _let(self, moment: Moment) -> Let | None:
        """Do step 1; ``None`` when it is not to be taken, which was told."""
        from_ms = moment.agent_ms

        def stands(tx: Tx) -> tuple[str, Rights]:
            camera = registry.find_camera(tx, self.name, self._settings.camera) or ""
            return camera, self._rights(
                tx, camera=camera, category=CATEGORY, captured_from_ms=from_ms, captured_to_ms=from_ms + 1
            )

        camera, rights = await self._index.read(stands)
        found = self._gate.ask(camera, CATEGORY, rights=rights, size_bytes=self._size_bytes, moment=moment)
        if isinstance(found, Let):
            return found
        await self._refused(found, moment)
        return None

    async def _refused(self, refusal: Refuse, moment: Moment) -> None:
        if not self._tell_once("refused", refusal.reason):
            return
        detail: dict[str, str | int] = {"reason": refusal.reason, "category": CATEGORY, "source": self.name}
        event = Event(kind="ingest_refused", rule=refusal.rule, detail=detail)
        await self._index.write(lambda tx: audit.append(tx, event, moment=moment))

    async def _seal(self, segment: Segment, let: Let, part_fd: int) -> tuple[SealJob, Sealed]:
        job = SealJob(
            object_id=new_id(),
            recipients=let.recipients,
            group=await self._vault.group(),
            kind="file-key" if let.rule.readable_by_device else "header-key",
            tag_key=self._vault.keystore.tombstone_key(),
            read_soon=let.rule.upload != "never",
        )
        with let.room.writing(part_fd):
            return job, await self._sealer.seal_live(job, source_fd=segment.fd, part_fd=part_fd)

    async def _camera(self, let: Let, moment: Moment) -> str:
        label, named = self._settings.camera, self._policy().cameras()
        return let.camera or await self._index.write(
            lambda tx: registry.camera_id(tx, self.name, label, named=named, moment=moment)
        )

    def _draft(
        self, job: SealJob, sealed: Sealed, let: Let, *, camera: str, interval: tuple[int, int], lag_ms: int
    ) -> Draft:
        from_ms, to_ms = interval
        return Draft(
            id=job.object_id,
            camera=camera,
            category=CATEGORY,
            purposes=let.purposes,
            source=self.name,
            media_type=MEDIA_TYPE,
            name=f"{self._settings.camera}/{rfc3339_ms(from_ms).replace(':', '-')}.mp4",
            captured_from_ms=from_ms,
            captured_to_ms=to_ms,
            plain_bytes=sealed.plain_bytes,
            size_bytes=sealed.size_bytes,
            payload_sha256=sealed.payload_sha256,
            header_sha256=sealed.header_sha256,
            kind=job.kind,
            recipients=job.recipients,
            source_copy="taken",  # there never was one: nothing is left to give up, nor on any medium
            medium="tmpfs",
            slot=sealed.slot,
            sealed_header=sealed.sealed_header,
            source_tag=b"",
            content_tag=sealed.content_tag,
            lag_ms=lag_ms,
        )

    def _recorded_from(self, segment: Segment, moment: Moment) -> int:
        """Return when a segment's first picture was recorded, in Unix milliseconds."""
        if self._base_ms is None:
            self._base_ms = moment.agent_ms - segment.behind_ms
        elif abs(self._base_ms + segment.stream_ms - moment.agent_ms) > APART_MS:
            self._base_ms = moment.agent_ms - segment.stream_ms
        return self._base_ms + segment.stream_ms

    # -- telling

    def _good(self, item: Object) -> None:
        self._size_bytes = max(item.size_bytes, self._size_bytes // 2)
        self._failures = 0
        self._wanting.settled([(self.name, "")], since_s=self._monotonic())
        if self._trouble is not None:
            self._trouble = None
            self._telling.trouble(self.name, "")
        self._telling.tell(IngestEvent(kind="admitted", source=self.name, object=item.id, bytes=item.plain_bytes))

    def _note_sound(self, listened: Listened | None) -> None:
        if listened == self.listened:
            return
        self.listened = listened
        if listened is not None and listened.left_out:
            self._tell("sound_left_out", f"{listened.coding or 'sound'}: {listened.left_out}")

    def _tell(self, kind: EventKind, reason: str) -> None:
        self._telling.tell(IngestEvent(kind=kind, source=self.name, reason=reason))

    def _found_no_room(self, error: SpaceError) -> None:
        self._wanting.refused([(self.name, "")])
        self._tell_once("disk_full", error.message)

    def _tell_once(self, kind: EventKind, reason: str) -> bool:
        return self._telling.once_of(IngestEvent(kind=kind, source=self.name, reason=reason), key=(CATEGORY,))
