"""Nearby: listens in every way that is on, proves what may be a camera, probes the enrolled ones, refuses impostors.

What is heard, step by step:

1. A sighting goes into the inventory. Where it may be a camera with a camera link it waits for a check: those that
   announce an enrolled camera's rotating id first, and the hosts take turns (``turns.py``).
2. A check shakes hands with its addresses and sends nothing: with the first one, then with the others, ``CHECKS`` rows
   at a time and ``QUICK_S`` for each; then, ``PATIENT_CHECKS`` at a time, with those that keep it waiting. So what does
   not answer keeps nobody waiting who does. What answers is judged by its key.
   Over Bluetooth only what announces an enrolled camera's id is connected to, ``RADIO_CHECKS`` at a time, and asked
   anew every ``PROBE_MS``.
3. The enrolled camera: the row is joined to it, and whoever collects from it is told the address; where the camera
   answers elsewhere, that comes first (``reach.py``).
4. An impostor: written down with its alert in one transaction, at most every ``REFUSED_PAUSE_MS`` for each camera and
   rule; nothing else changes. It is tried again until it is gone; the alert ends when none was there for ``QUIET_MS``.
5. Every ``PROBE_MS``, and at the start, each enrolled camera is looked for where it is configured, where it answered
   last and where it was heard: a goodbye is nobody's word, and silence is no absence.
6. Whoever collects from a camera tells what came of it: that it was met, and where, that it was met nowhere, that
   somebody else answered. That is shown at once.

A discoverer that fails because of what it heard is started again after ``RESTART_S`` and never ends the agent.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from agent import enrolment
from agent.camera.identity import Address
from agent.camera.route import TRIED_MAX
from agent.camera.tls import ImpostorError, Shown, require_certificate
from agent.clock import MS_PER_S, pause
from agent.discovery.sighting import Discoverer, Heard, Sighting, Trouble, Way
from agent.enrolment import Enrolled, host_and_port
from agent.errors import AgentError, CorruptError, LinkError, RefusedError, SpaceError
from agent.index import Index, Tx
from agent.model import Moment
from agent.nearby.alert import Pauses, Standing, impostors
from agent.nearby.inventory import ROWS_MAX, Device, Inventory, Key, Met, Row
from agent.nearby.judging import Impostor, Rule, Same, Stranger, Verdict, judge
from agent.nearby.look import Look
from agent.nearby.reach import Place, Reach, answered, away, met, places, proved_by_advert, proved_by_probe
from agent.nearby.rotating import DAY_MS, expected_ids
from agent.nearby.turns import Turns

CHECKS: Final = 32
QUICK_S: Final = 0.25
"""For connection and handshake at first: a camera on this network needs some milliseconds."""

PATIENT_CHECKS: Final = 8
"""Of those that kept the first check waiting, with all the time that ``Look`` gives them."""

RADIO_CHECKS: Final = 1
"""An adapter begins one connection after the other."""

RADIO_WAITING_MAX: Final = 64
RADIO_TRIED: Final = 4
"""Of those that announce one camera's id, when somebody waits for that camera."""

PROBES: Final = 8
WAITING_MAX: Final = 2 * ROWS_MAX
"""Keys that wait for a check. Those of rows that made room for others, and the second ones of a row, are dropped then,
so at most ``ROWS_MAX`` stay and no row is turned away."""

ADDRESSES_TRIED: Final = 4
_STEPS: Final = 2
"""Of a quick check: the address that is said first, then the others."""

FAILURES_MAX: Final = 4
"""So often nobody answered at a row's addresses; then it is checked when its words change."""

RETRY_S: Final = 5.0
"""Times the number of failures."""

PROBE_MS: Final = 60_000
QUIET_MS: Final = 5 * 60_000
TICK_S: Final = 5.0
RESTART_S: Final = 60.0

CAMERA_LINK: Final = "_camera-link._tcp"
ALERT: Final = "camera_impostor"
_SEEN_HERE: Final = "nearby"
PASSKEY: Final = "passkey"
"""Why a camera refuses that wants to be paired first."""


_log = logging.getLogger(__name__)


class AlertIn(Protocol):
    """Raises an alert in the transaction of what it tells of; one that stands is told again at once where asked."""

    def __call__(self, tx: Tx, code: str, what: str, moment: Moment, /, *, at_once: bool) -> object:
        """Raise it."""
        ...


Prove = Callable[[Sighting, Enrolled], Awaitable[Met]]
"""Have a camera near by radio prove itself; return what it says. Raises ``RefusedError`` for another one, and for one
that wants a passkey first; ``LinkError`` and ``CorruptError`` where that was not to be learnt."""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What the flow reaches the world by; a test may hand in others."""

    look: Look
    """Who answers at an address that was heard."""
    look_at_name: Look
    """Who answers at a configured address, which may be a name, in whatever TLS it knows."""
    reached: Callable[[str, int], Awaitable[bool]]
    """Whether anything answers at a configured address."""
    prove: Prove | None = None
    """How a camera near by radio proves itself, where radio is listened to."""
    wait: Callable[[float], Awaitable[None]] = pause


class Nearby:
    """The inventory and what keeps it true; belongs to the running event loop."""

    def __init__(
        self,
        discoverers: Mapping[Way, Discoverer],
        *,
        index: Index | None,
        now: Callable[[], Moment],
        outside: Outside,
        alert_in: AlertIn = lambda *_told, **_how: None,
        tell: Callable[[str, str], None] = lambda _code, _what: None,
        found: Callable[[str], None] = lambda _camera: None,
        cameras: tuple[Enrolled, ...] = (),
        standing: Standing | None = None,
    ) -> None:
        """``index`` is ``None`` where nothing is to be written; ``cameras`` are then the enrolled ones.

        ``found`` is told of each camera that proved itself; ``standing`` is shared with whoever else sees impostors.
        """
        self._discoverers = discoverers
        self._index = index
        self._now = now
        self._outside = outside
        self._alert_in = alert_in
        self._tell = tell
        self._found = found
        self._cameras = cameras
        self._standing = Standing() if standing is None else standing
        self._expected: tuple[int, dict[str, str]] = (-1, {})
        self._kept: Mapping[str, Place] = {}
        self._quick = _Waiting(ranks=2 * _STEPS)
        self._patient = _Waiting(ranks=2 * FAILURES_MAX)
        self._by_radio: asyncio.Queue[Key] = asyncio.Queue(maxsize=RADIO_WAITING_MAX)
        self._radio = asyncio.Semaphore(RADIO_CHECKS)
        self._changed = asyncio.Event()
        self._pauses = Pauses()
        self._impostors: dict[tuple[str, Key], int] = {}
        self._quiet_since_ms: int | None = None
        self._alerted_of: frozenset[str] = frozenset()
        self._alerted = True  # an earlier run may have left it standing
        self.reach: dict[str, Reach] = {}
        self.inventory = Inventory()

    async def run(self) -> None:
        """Listen, check and probe until cancelled."""
        await self.enrolled_changed()
        async with asyncio.TaskGroup() as tasks:
            for way, discoverer in self._discoverers.items():
                tasks.create_task(self._listen(way, discoverer), name=f"hear {way}")
            for number in range(CHECKS):
                tasks.create_task(self._check_rows(self._quick), name=f"check {number}")
            for number in range(PATIENT_CHECKS):
                tasks.create_task(self._check_rows(self._patient), name=f"check patiently {number}")
            for number in range(RADIO_CHECKS if self._outside.prove is not None else 0):
                tasks.create_task(self._check_radio(), name=f"check by radio {number}")
            tasks.create_task(self._look_again(), name="look again")
            tasks.create_task(self._probe_cameras(), name="probe cameras")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run for as long as this is entered."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.run(), name="listen")
            try:
                yield
            finally:
                task.cancel()

    async def enrolled_changed(self) -> None:
        """Read who is enrolled, and judge everything that proved a key anew."""
        if self._index is not None:
            self._cameras = await self._index.read(enrolment.enrolled)
            self._kept = await self._index.read(enrolment.served_at)
        self._expected = (-1, {})
        known = {one.camera for one in self._cameras}
        new = {camera: Reach(served=self._kept.get(camera)) for camera in sorted(known)}
        self.reach = new | {camera: reach for camera, reach in self.reach.items() if camera in known}
        for camera, key in list(self._impostors):
            if camera not in known:
                del self._impostors[camera, key]
        for row in list(self.inventory.rows()):
            if row.sighting.way == "ble":
                row.verdict, row.met, row.checked_ms = None, None, None  # it is to prove itself to this device
                self._wait_for_check(row)
            elif row.shown is None:
                row.verdict = None
                if row.waiting:
                    self._wait_for_check(row)  # it may be an expected one now
            else:
                await self._act(row, [(row.shown, row.proved_at)], is_fresh=False)
        self.changed()

    def changed(self) -> None:
        """Tell whoever watches that something is different."""
        self._changed.set()

    async def next_change(self, *, within_s: float) -> None:
        """Return when something changed since this was asked last, or when the time is over."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    @property
    def cameras(self) -> tuple[Enrolled, ...]:
        """The enrolled cameras as they were read last."""
        return self._cameras

    def hears(self, way: Way) -> bool:
        """Tell whether that way is listened by."""
        return way in self._discoverers

    def devices(self) -> tuple[Device, ...]:
        """Return what is near."""
        return self.inventory.devices(self._cameras)

    def addresses(self, camera: str) -> tuple[tuple[str, int], ...]:
        """Return where an enrolled camera may answer: where it gave whole answers last, proved itself last, was heard.

        None of it is to be believed: whoever connects compares the key, and asks elsewhere where nothing is answered.
        """
        return places(self.reach.get(camera, Reach()), self._heard_at(camera))

    async def met(self, camera: str, at: Address) -> None:
        """Note where an enrolled camera gave whole answers to whoever collects from it."""
        reach, now_ms, place = self.reach.get(camera), self._now().agent_ms, (at.host, at.port)
        if reach is None:  # it was forgotten meanwhile
            return
        self.reach[camera] = (met if at.numeric else proved_by_probe)(reach, place, now_ms=now_ms)
        if reach.reachable is not True:
            self.changed()
        if self._index is not None and at.numeric and self._kept.get(camera) != place:
            self._kept = {**self._kept, camera: place}
            with suppress(SpaceError):  # it is told again after the next start
                await self._index.write(lambda tx: enrolment.keep_served_at(tx, camera, host=at.host, port=at.port))

    def away(self, camera: str) -> None:
        """Note that an enrolled camera answered nowhere to whoever collects from it."""
        reach = self.reach.get(camera)
        if reach is None:
            return
        self.reach[camera] = away(reach, now_ms=self._now().agent_ms)
        if reach.reachable is not False:
            self.changed()

    async def refused(self, camera: str, rule: Rule, at: Address) -> None:
        """Write down and alert that something answered for a camera to somebody else who asked, and is not it.

        What was proved at that address is to be proved again, at once.
        """
        reach = self.reach.get(camera)
        if reach is not None and (reach.host, reach.port) == (at.host, at.port):
            self.reach[camera] = away(reach, now_ms=self._now().agent_ms)
        for row in self.inventory.rows_of(camera):
            if row.sighting.port == at.port and at.host in row.sighting.addresses:
                row.shown, row.verdict, row.proved_at = None, None, ""
                self._wait_for_check(row)
        self.changed()
        await self._refuse(Impostor(camera, rule), ("asked", "", camera))

    def hear(self, heard: Heard) -> None:
        """Take in what a discoverer says."""
        row = self.inventory.hear(heard, now_ms=self._now().agent_ms)
        if row is not None:
            row.waiting &= row.sighting.way == "ble"  # else it waits with the words that it had before
            self._wait_for_check(row)
        self.changed()

    async def _listen(self, way: Way, discoverer: Discoverer) -> None:
        while True:
            try:
                await discoverer.run(self.hear)
            except Exception as error:  # noqa: BLE001 - a stranger's packet must not end the agent, whatever it finds
                _log.error("listening by %s failed: %s; it is started again", way, _place(error))
            hint = "it is started again by itself; the agent's log says more"
            self.hear(Trouble(way=way, place="", reason="stalled", hint=hint))
            await self._outside.wait(RESTART_S)
            self.hear(Trouble(way=way, place="", reason=""))

    def _claimed(self, sighting: Sighting) -> str:
        """Return the enrolled camera whose rotating id this announces."""
        now_ms = self._now().agent_ms
        if self._expected[0] != now_ms // DAY_MS:
            self._expected = now_ms // DAY_MS, expected_ids(self._cameras, now_ms=now_ms)
        return self._expected[1].get(sighting.unverified_id, "") if sighting.unverified_id else ""

    def claimed(self, row: Row) -> str:
        """Return the enrolled camera that a row may be, by what it announces alone."""
        return self._claimed(row.sighting)

    def _wait_for_check(self, row: Row) -> None:
        if self._provable(row) and not row.waiting and not self._by_radio.full():
            row.waiting = True
            self._by_radio.put_nowait(row.key)
        was_expected, row.expected = row.expected, bool(self._claimed(row.sighting))
        if not _checkable(row.sighting) or (row.waiting and was_expected >= row.expected):
            return
        if not row.waiting:
            row.step, row.found, row.slow = 0, [], []
        self._put(row)

    def _put(self, row: Row) -> None:
        """Let a row wait for what comes next: its first address, the others, or those that keep it waiting."""
        row.waiting = True
        self._quick.remove(row.key)
        self._patient.remove(row.key)
        unexpected = 0 if row.expected else 1
        if row.step < _STEPS and not row.failures:
            self._quick.put(row.key, rank=_STEPS * unexpected + row.step, host=row.sighting.addresses[0])
        else:
            if not row.slow:
                row.slow = list(row.sighting.addresses[:ADDRESSES_TRIED])
            failures = min(row.failures, FAILURES_MAX - 1)
            self._patient.put(row.key, rank=FAILURES_MAX * unexpected + failures, host=row.slow[0])
        if len(self._quick) + len(self._patient) > WAITING_MAX:
            for waiting in (self._quick, self._patient):
                waiting.keep(self._waits)

    def _waits(self, key: Key) -> bool:
        row = self.inventory.row(key)
        return row is not None and row.waiting

    def _provable(self, row: Row) -> bool:
        return row.sighting.way == "ble" and self._outside.prove is not None and bool(self._claimed(row.sighting))

    async def _check_radio(self) -> None:
        while True:
            row = self.inventory.row(await self._by_radio.get())
            if row is not None and row.waiting:
                row.waiting = False
                await self._prove(row)

    async def meet_by_radio(self, camera: str) -> None:
        """Have a camera that is near by Bluetooth prove itself now, and do what is wanted of it.

        Raises ``LinkError`` where none is near, else what the last one that announces its id was refused for.
        """
        near = [row for row in self.inventory.rows() if self._provable(row) and self._claimed(row.sighting) == camera]
        failure: AgentError = LinkError(
            "the camera is not heard over Bluetooth", hint="bring it nearer; see what is heard: privacy-agent discover"
        )

        def likely(row: Row) -> tuple[bool, bool, int]:
            return row.verdict != Same(camera), not row.wants_passkey, -row.last_ms

        for row in sorted(near, key=likely)[:RADIO_TRIED]:
            failed = await self._prove(row)
            if failed is None:
                return
            failure = failed
        raise failure

    async def _prove(self, row: Row) -> AgentError | None:
        """Have what announces a camera's id over Bluetooth prove that it is that camera; return why it did not."""
        async with self._radio:
            return await self._proved_by_radio(row)

    async def _proved_by_radio(self, row: Row) -> AgentError | None:
        sighting, claimed = row.sighting, self._claimed(row.sighting)
        camera = next((one for one in self._cameras if one.camera == claimed), None)
        if self._outside.prove is None or camera is None:
            return LinkError("no such camera is near")
        met: Met | None = None
        failed: AgentError | None = None
        try:
            met = await self._outside.prove(sighting, camera)
        except (RefusedError, LinkError, CorruptError) as error:
            failed = error
        reason = failed.reason if isinstance(failed, RefusedError) else ""
        refused = reason == ALERT
        if row.sighting.unverified_id != sighting.unverified_id:
            return failed  # another id is announced there now, and waits for a check of its own
        row.checked_ms = self._now().agent_ms
        row.answered = met is not None
        row.failures = 0 if met is not None or refused else row.failures + 1
        row.met, row.wants_passkey = met, reason == PASSKEY
        if met is not None:
            row.verdict = Same(claimed)
        elif refused:
            row.verdict = Impostor(claimed, "failed_proof")
        self._forget_impostor(row.key, but=row.verdict)
        if refused:
            await self._refuse(Impostor(claimed, "failed_proof"), row.key)
        self.changed()
        return failed

    async def _check_rows(self, waiting: "_Waiting") -> None:
        while True:
            row = self.inventory.row(await waiting.next())
            if row is None or not row.waiting:
                continue
            row.waiting = False
            if row.gone_ms is None or row.expected:  # a goodbye is nobody's word, so an expected one is looked for
                await self._check_step(row, patiently=waiting is self._patient)

    async def _check_step(self, row: Row, *, patiently: bool) -> None:
        """Shake hands with the addresses whose turn it is; where it was the last step, act on who answered."""
        sighting = row.sighting
        tried = sighting.addresses[:ADDRESSES_TRIED]
        if patiently:
            found, slow = await self._patiently(row, row.slow), []
        else:
            answers = await asyncio.gather(
                *(self._quickly(address, sighting.port) for address in (tried[:1] if row.step == 0 else tried[1:]))
            )
            found = [one for one in answers if isinstance(one, tuple)]
            slow = [one for one in answers if isinstance(one, str)]
        if row.waiting or _moved(row.sighting, sighting):
            return  # its words changed meanwhile, and it waits for another check
        row.step, row.found, row.slow = row.step + 1, row.found + found, row.slow + slow
        proved = any(isinstance(self._judged(row, shown), Same) for shown, _ in row.found)
        if not patiently and not proved and (row.slow or (row.step == 1 and len(tried) > 1)):
            row.step = 1 if row.step == 1 and len(tried) > 1 else _STEPS
            self._put(row)
            return
        row.found, found = [], row.found
        await self._checked(row, found)

    async def _quickly(self, address: str, port: int) -> tuple[Shown, str] | str | None:
        """Return who answers there and where; the address where nobody did so soon, ``None`` where it was refused."""
        try:
            async with asyncio.timeout(QUICK_S):
                return await self._outside.look(address, port), address
        except TimeoutError:
            return address
        except (LinkError, CorruptError):
            return None

    async def _patiently(self, row: Row, addresses: Sequence[str]) -> list[tuple[Shown, str]]:
        found: list[tuple[Shown, str]] = []
        for address in addresses:
            try:
                found.append((await self._outside.look(address, row.sighting.port), address))
            except (LinkError, CorruptError):
                continue
            if isinstance(self._judged(row, found[-1][0]), Same):
                break
        return found

    async def _checked(self, row: Row, found: list[tuple[Shown, str]]) -> None:
        row.checked_ms = self._now().agent_ms
        row.answered = bool(found)
        if found:
            row.failures = 0
            await self._act(row, found)
        else:
            row.failures += 1
            if not isinstance(row.verdict, Same):
                row.shown, row.verdict, row.proved_at = None, None, ""
            self._forget_impostor(row.key, but=None)
        self.changed()

    def _judged(self, row: Row, found: Shown) -> Verdict:
        answering = frozenset(camera for camera, reach in self.reach.items() if reach.reachable)
        return judge(found, cameras=self._cameras, claimed=self._claimed(row.sighting), answering=answering)

    async def _act(self, row: Row, found: list[tuple[Shown, str]], *, is_fresh: bool = True) -> None:
        """Judge what a row's addresses showed: the camera counts before whoever else answers under the same words.

        What they showed earlier (not ``is_fresh``) tells where a camera may be, and not that it is there.
        """
        judged = [(self._judged(row, shown), shown, at) for shown, at in found]
        row.verdict, row.shown, row.proved_at = min(judged, key=lambda one: _ORDER[type(one[0])])
        self._forget_impostor(row.key, but=row.verdict)
        if isinstance(row.verdict, Same):
            self._note_proof(row, row.verdict.camera, is_fresh=is_fresh)
        for verdict, _, at in judged:
            if isinstance(verdict, Impostor):
                alone = verdict == row.verdict
                await self._refuse(verdict, row.key if alone else ("address", at, str(row.sighting.port)))

    def _note_proof(self, row: Row, camera: str, *, is_fresh: bool) -> None:
        reach, place = self.reach.get(camera, Reach()), (row.proved_at, row.sighting.port)
        if is_fresh:
            self.reach[camera] = proved_by_advert(reach, place, now_ms=self._now().agent_ms)
        elif not reach.host:
            host, port = place
            self.reach[camera] = msgspec.structs.replace(reach, host=host, port=port, proved_ms=row.checked_ms)
        self._found(camera)

    def _forget_impostor(self, key: Key, *, but: Verdict | None) -> None:
        for camera, where in list(self._impostors):
            if where == key and not (isinstance(but, Impostor) and but.camera == camera):
                del self._impostors[camera, where]

    async def _refuse(self, impostor: Impostor, key: Key) -> None:
        moment = self._now()
        self._impostors[impostor.camera, key] = moment.agent_ms
        self._standing.see(_SEEN_HERE, (camera for camera, _ in self._impostors))
        self._quiet_since_ms = None
        again = (impostor.camera, impostor.rule)
        if self._index is None or not self._pauses.begin(again, now_ms=moment.agent_ms):
            return
        self._alerted = True
        _log.warning("refused for camera %s: %s", impostor.camera, impostor.rule)
        standing = self._standing.cameras
        what, others = impostors(standing, rule=impostor.rule), not standing <= self._alerted_of

        def write(tx: Tx) -> None:
            enrolment.refuse(tx, impostor.camera, rule=impostor.rule, moment=moment)
            self._alert_in(tx, ALERT, what, moment, at_once=others)

        try:
            await self._index.write(write, urgent=True)
            self._alerted_of = standing
        except SpaceError as error:
            self._pauses.end(again)
            _log.warning("an impostor could not be written down: %s", error.message)

    async def _look_again(self) -> None:
        while True:
            now_ms = self._now().agent_ms
            self.inventory.lapse(now_ms=now_ms)
            for row in list(self.inventory.rows()):
                if self._due(row, now_ms=now_ms):
                    self._wait_for_check(row)
            self._end_alert(now_ms=now_ms)
            await self._outside.wait(TICK_S)

    async def _probe_cameras(self) -> None:
        turns = asyncio.Semaphore(PROBES)

        async def in_turn(camera: Enrolled) -> None:
            async with turns:
                await self.probe(camera)

        while True:
            now_ms = self._now().agent_ms
            async with asyncio.TaskGroup() as tasks:
                for camera in self._cameras:
                    tried_ms = self.reach.setdefault(camera.camera, Reach()).tried_ms
                    if tried_ms is None or now_ms - tried_ms >= PROBE_MS:
                        tasks.create_task(in_turn(camera), name=f"probe {camera.camera}")
            await self._outside.wait(TICK_S)

    def _due(self, row: Row, *, now_ms: int) -> bool:
        """Tell whether a row is to be checked again although its words are the same."""
        near_by_radio = self._provable(row)
        if row.checked_ms is None or not (near_by_radio or _checkable(row.sighting)):
            return near_by_radio
        since_s = (now_ms - row.checked_ms) / MS_PER_S
        if (isinstance(row.verdict, Impostor) or near_by_radio) and since_s * MS_PER_S >= PROBE_MS:
            return True  # by radio also one that answered nothing so far: what is wanted of it waits for that
        return row.verdict is None and 0 < row.failures < FAILURES_MAX and since_s >= RETRY_S * row.failures

    async def probe(self, camera: Enrolled) -> None:
        """Look for an enrolled camera where it may be, and note whether it was there."""
        if camera.level == "proved":
            there = await self._probe_proved(camera)
        elif camera.level == "pinned":
            there = await self._probe_pinned(camera)
        else:
            host, port = host_and_port(camera.endpoint)
            there = (host, port) if await self._outside.reached(host, port) else None
        before = self.reach.get(camera.camera, Reach())
        now_ms = self._now().agent_ms
        if there is None:
            after = away(before, now_ms=now_ms)
        elif camera.level == "configured":
            after = answered(before, now_ms=now_ms)
        else:
            after = proved_by_probe(before, there, now_ms=now_ms)
            self._found(camera.camera)
        self.reach[camera.camera] = after
        if before.reachable != after.reachable:
            self.changed()

    async def _probe_proved(self, camera: Enrolled) -> Place | None:
        configured = [host_and_port(camera.endpoint)] if camera.endpoint else []
        heard = self.addresses(camera.camera)[:TRIED_MAX]
        for look, where in ((self._outside.look_at_name, configured), (self._outside.look, heard)):
            for host, port in where:
                try:
                    found = await look(host, port)
                except (LinkError, CorruptError):
                    continue
                verdict = judge(found, cameras=self._cameras, claimed="", answering=())
                key = ("address", host, str(port))
                self._forget_impostor(key, but=verdict)
                if verdict == Same(camera.camera):
                    return host, port
                if isinstance(verdict, Impostor):
                    await self._refuse(verdict, key)
        return None

    async def _probe_pinned(self, camera: Enrolled) -> Place | None:
        host, port = host_and_port(camera.endpoint)
        key = ("address", host, str(port))
        try:
            found = await self._outside.look_at_name(host, port)
            require_certificate(found, certificate_sha256=camera.certificate_sha256)
        except ImpostorError:
            await self._refuse(Impostor(camera.camera, "changed_certificate"), key)
            return None
        except (LinkError, CorruptError):
            self._forget_impostor(key, but=None)
            return None
        self._forget_impostor(key, but=None)
        return host, port

    def _heard_at(self, camera: str) -> Iterator[tuple[str, int]]:
        for row in self.inventory.rows_of(camera):
            for address in row.sighting.addresses[:ADDRESSES_TRIED]:
                yield address, row.sighting.port

    def _end_alert(self, *, now_ms: int) -> None:
        for (camera, key), seen_ms in list(self._impostors.items()):
            gone = key[0] in {"address", "asked"} and now_ms - seen_ms >= QUIET_MS
            if gone or (key[0] not in {"address", "asked"} and self.inventory.row(key) is None):
                del self._impostors[camera, key]
        if self._impostors:
            self._quiet_since_ms = None
        elif self._quiet_since_ms is None:
            self._quiet_since_ms = now_ms
        elif self._alerted and now_ms - self._quiet_since_ms >= QUIET_MS:
            self._alerted = False
            self._alerted_of = frozenset()
            self._pauses.end_all()
            self._standing.see(_SEEN_HERE, ())
            if not self._standing.cameras:
                self._tell(ALERT, "")


class _Waiting(Turns[Key]):
    """Rows that wait for a check, and whoever waits for them."""

    def __init__(self, *, ranks: int) -> None:
        super().__init__(ranks=ranks)
        self._some = asyncio.Event()

    def put(self, one: Key, *, rank: int, host: str) -> None:
        super().put(one, rank=rank, host=host)
        self._some.set()

    async def next(self) -> Key:
        """Wait for one."""
        while (one := self.take()) is None:
            self._some.clear()
            await self._some.wait()
        return one


_ORDER: Final[dict[type, int]] = {Same: 0, Impostor: 1, Stranger: 2}


def _place(error: Exception) -> str:
    """Return what failed where; the error's own words may be a stranger's, and stay out of the log."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _checkable(sighting: Sighting) -> bool:
    return sighting.service.startswith(CAMERA_LINK) and bool(sighting.addresses) and sighting.port > 0


def _moved(one: Sighting, other: Sighting) -> bool:
    return (one.addresses, one.port, one.unverified_id) != (other.addresses, other.port, other.unverified_id)
