"""Every enrolled camera with a camera link is collected from by itself, for as long as it is enrolled.

Rules: who is enrolled is read again and again; a camera is met wherever it may be (where it is configured, where it was
heard), and believed by its key alone. The first agent that a camera in its set-up window meets is paired with it; one
that forgot this agent later is told of, never paired again by itself: it may be somebody else's by now. A camera
records only while the policy lets in something of it and nobody here switched it off. What a camera that is enrolled
no more was asked to delete remains there, and the receipt says so. One that was just enrolled and waits for its button
is nothing to alert of. Where the device leaves its owner nothing is taken in any more; a camera is met still, to be
switched off and to delete what it is asked to, until it is forgotten (``agent/commands/farewell.py``).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from agent import enrolment
from agent.app.camera_state import Said, sayings
from agent.app.parts import Parts
from agent.app.switching import Switches
from agent.camera.identity import Address, LinkIdentity, Pinned
from agent.clock import pause
from agent.enrolment import Enrolled, host_and_port, source_name
from agent.errors import SpaceError
from agent.index import Tx
from agent.ingest import Ingest
from agent.nearby.alert import Pauses
from agent.sources.candidate import MediumError

if TYPE_CHECKING:  # else an agent without cameras to ask would load what that takes
    from agent.camera.answer import Code, Status
    from agent.sources.camera import CameraSource

LOOK_S: Final = 5.0
"""How often it is looked who is enrolled."""

SET_UP_MS: Final = 3_600_000
"""So long after a camera was enrolled a person may take to open its set-up window; then its owner is told."""

PAIRED_PAUSE_MS: Final = 86_400_000
"""How often the key of a camera's rotating ids is taken over anew: it changes with a reset, which pairing follows."""

_log = logging.getLogger(__name__)

Heard = Callable[[str], Sequence[tuple[str, int]]]
"""Where a camera, by its id in the registry, may be: IP addresses and ports that were heard."""


async def _to_nobody(*_about: object) -> None:
    return None


class Collecting:
    """Belongs to the running event loop.

    ``refused`` is told of a camera for which somebody else answers, and where; ``met``, at each look, of one that
    answered, and where, or that it did nowhere (``None``); ``mended`` that each that was refused has answered since;
    ``paired`` that a camera told the key of its rotating ids.
    """

    def __init__(
        self,
        parts: Parts,
        ingest: Ingest,
        *,
        heard: Heard = lambda _camera: (),
        refused: Callable[[str, Address], Awaitable[None]],
        met: Callable[[str, Address | None], Awaitable[None]] = _to_nobody,
        mended: Callable[[], None] = lambda: None,
        paired: Callable[[], Awaitable[None]] = _to_nobody,
        switches: Switches,
    ) -> None:
        self._parts = parts
        self._switches = switches
        self._paired = paired
        self._ingest = ingest
        self._heard = heard
        self._refused = refused
        self._met = met
        self._mended = mended
        self._in_doubt: set[str] = set()
        self._shown: LinkIdentity | None = None
        self._running: dict[str, tuple[Enrolled, CameraSource, asyncio.Task[None]]] = {}
        self._pauses = Pauses()
        self._paired_ms: dict[str, int] = {}
        self._ordinary: dict[str, str] = {}
        self._adjusting = asyncio.Lock()
        self.said: dict[str, Said] = {}
        """What became of asking each camera, by its id in the registry."""
        self._impostors: asyncio.Queue[tuple[str, Address]] = asyncio.Queue(maxsize=64)

    async def run(self) -> None:
        """Collect until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refuse(), name="refuse impostors")
            tasks.create_task(self._switches.run(), name="note what cameras confirm")
            while True:
                async with self._adjusting:
                    await self._adjust(tasks)
                await pause(LOOK_S)

    def wake(self, camera: str = "") -> None:
        """Look at a camera now, or at all: it was heard, or something is due there."""
        for one, (_, source, _) in self._running.items():
            if camera in {"", one}:
                source.wake()

    async def tell(self, camera: str) -> None:
        """Meet a camera over its link now, and have it do what is wanted; ``MediumError`` where it is not met."""
        if camera not in self._running:
            raise MediumError("the camera is not collected from yet", hint="ask again in a few seconds")
        _, source, _ = self._running[camera]
        await source.open()

    async def take_no_more(self) -> None:
        """Return once nothing is taken in; cameras are met again for what is to be deleted there."""
        async with self._adjusting:
            for camera in tuple(self._running):
                await self._stop(camera)

    @asynccontextmanager
    async def without(self, camera: str) -> AsyncIterator[None]:
        """Ask a camera nothing while it is told that it is forgotten: a look in between would pair with it again."""
        async with self._adjusting:
            await self._stop(camera)
            yield

    async def _stop(self, camera: str) -> None:
        if camera in self._running:
            _, source, task = self._running.pop(camera)
            task.cancel()
            await asyncio.wait((task,))
            source.let_go()
            for kept in (self.said, self._ordinary, self._paired_ms):
                kept.pop(camera, None)

    async def _adjust(self, tasks: asyncio.TaskGroup) -> None:
        everybody = await self._parts.index.read(enrolment.enrolled)
        enrolled = {one.camera: one for one in everybody if one.level == "proved"}
        for camera, (known, _, _) in tuple(self._running.items()):
            if camera not in enrolled or _where(enrolled[camera]) != _where(known):
                await self._stop(camera)
        for camera, one in enrolled.items():
            if camera not in self._running:
                source = self._source(one, await self._identity())
                work = self._ingest.empty if self._parts.leaving else self._ingest.collect
                collecting = work(source, erasure=self._parts.erasure)
                self._running[camera] = one, source, tasks.create_task(collecting, name=f"collect {camera}")
        for camera, reason in tuple(self._ordinary.items()):
            if not self._is_just_enrolled(enrolled[camera]):
                self._tell(enrolled[camera], reason)
        await self._give_up_waiting(frozenset(map(source_name, enrolled)))

    async def _give_up_waiting(self, asked: frozenset[str]) -> None:
        erasure = self._parts.erasure
        if await self._parts.index.read(partial(erasure.lost_sources, asked=asked)):
            note = partial(erasure.note_sources_lost, asked=asked, moment=self._parts.now())
            with suppress(SpaceError):
                await self._parts.index.write(note, urgent=True)

    async def _identity(self) -> LinkIdentity:
        if self._shown is None:
            self._shown = await self._parts.index.write(
                lambda tx: enrolment.link_identity(tx, moment=self._parts.now()), urgent=True
            )
        return self._shown

    def _source(self, one: Enrolled, credentials: LinkIdentity) -> "CameraSource":
        from agent.sources.camera import CameraSettings, CameraSource  # noqa: PLC0415 - as above

        settings = CameraSettings(name=source_name(one.camera), camera=one.camera, label=one.device)
        return CameraSource(
            settings,
            pinned=Pinned(device=one.device, kid=one.kid),
            credentials=credentials,
            addresses=lambda: addresses_of(one, self._heard(one.camera)),
            pairs=not one.advert_key and not self._parts.leaving,
            collects=partial(self._switches.wanted, one.camera),
            now_ms=lambda: self._parts.now().agent_ms,
            on_refusal=self._ingest.unacceptable,
            on_trouble=partial(self._on_trouble, one),
            on_status=partial(self._note_status, one.camera),
            on_impostor=partial(self._on_impostor, one.camera),
            on_collection=partial(self._note_collection, one.camera),
            on_met=partial(self._note_met, one.camera),
        )

    async def _note_met(self, camera: str, at: Address | None) -> None:
        self.said[camera] = msgspec.structs.replace(self.said.get(camera, Said()), looked_for=True)
        await self._met(camera, at)

    def _note_collection(self, camera: str, now: bool, before: bool) -> None:  # noqa: FBT001 - a pair that is told
        self._switches.said(camera, on=now, before=before, way="link")

    def _on_trouble(self, one: Enrolled, reason: str, code: "Code | Literal['']") -> None:
        said = self.said.get(one.camera, Said())
        self.said[one.camera] = msgspec.structs.replace(said, reason=reason, code=code)
        if code == "setup_closed" and self._is_just_enrolled(one):
            self._ordinary[one.camera] = reason
        elif not (self._parts.leaving and code == "not_paired"):  # it was told that it is left, and is forgotten next
            self._tell(one, reason)

    def _is_just_enrolled(self, one: Enrolled) -> bool:
        return self._parts.now().agent_ms - one.enrolled_ms < SET_UP_MS

    def _tell(self, one: Enrolled, reason: str) -> None:
        self._ordinary.pop(one.camera, None)
        self._ingest.trouble(source_name(one.camera))(reason)

    async def _note_status(self, camera: str, status: "Status") -> None:
        said = self.said.get(camera, Said())
        self.said[camera] = msgspec.structs.replace(
            said, met_ms=self._parts.now().agent_ms, says=sayings(status), storage=status.storage
        )
        if camera in self._in_doubt:
            self._in_doubt.discard(camera)
            if not self._in_doubt:
                self._mended()
        advert_key, moment = status.advert_key, self._parts.now()
        since_ms = moment.agent_ms - self._paired_ms.get(camera, moment.agent_ms - PAIRED_PAUSE_MS)
        is_soon = since_ms < PAIRED_PAUSE_MS  # one that tells another key each time is believed once a day

        def is_new(tx: Tx) -> bool:
            known = enrolment.by_camera(tx, camera)
            return known is not None and known.advert_key != advert_key and not (known.advert_key and is_soon)

        if await self._parts.index.read(is_new):
            with suppress(SpaceError):
                await self._parts.index.write(
                    lambda tx: enrolment.pair(tx, camera, advert_key=advert_key, moment=moment), urgent=True
                )
                self._paired_ms[camera] = moment.agent_ms
                await self._paired()

    def _on_impostor(self, camera: str, at: Address) -> None:
        with suppress(asyncio.QueueFull):  # it comes again while it stands there
            self._impostors.put_nowait((camera, at))

    async def _refuse(self) -> None:
        while True:
            (camera, at), now_ms = await self._impostors.get(), self._parts.now().agent_ms
            if self._pauses.begin(camera, now_ms=now_ms):
                _log.warning("somebody else answers for camera %s; nothing was sent to it", camera)
            self._in_doubt.add(camera)
            await self._refused(camera, at)


def _where(one: Enrolled) -> tuple[str, str, str]:
    return one.device, one.kid, one.endpoint


def addresses_of(one: Enrolled, heard: Sequence[tuple[str, int]]) -> tuple[Address, ...]:
    """Return where a camera may be: where it is configured, then where it was heard."""
    configured = (Address(*host_and_port(one.endpoint), numeric=False),) if one.endpoint else ()
    return (*configured, *(Address(host, port) for host, port in heard))
