"""The resident agent: parts become one task group, and stop in order.

Start: parts (a crash finished) → local socket, timers → broker, post, uploads → sources. Stop: no new files, ``state``
says offline, the line closes, what is under way is cut off as a crash would cut it off, then the parts close. A bug in
any task ends them all and the process: whoever restarts it meets the ordinary recovery.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from agent import audit, bundle, enrolment
from agent.app.alarm import Alarm
from agent.app.answering import look_at_requests
from agent.app.camera_state import Said
from agent.app.collecting import Collecting
from agent.app.ending import Ending
from agent.app.judging import judge_end
from agent.app.parts import RESERVE_BYTES, Parts, opened
from agent.app.passkey import Passkeys
from agent.app.post import Post
from agent.app.proposing import propose_file
from agent.app.refusals import Refusals
from agent.app.scrubbing import make_scrub
from agent.app.switching import Switches, Tell
from agent.app.verbs import table
from agent.audit import Event
from agent.broker import Broker
from agent.broker.link import MQTT_3_1_1, MQTT_5
from agent.clock import MS_PER_S, ReadClock, pause
from agent.collection import Way
from agent.commands.farewell import is_told
from agent.config import Config
from agent.control import ControlServer
from agent.envelope import Key
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, SpaceError
from agent.index import Tx
from agent.ingest import Ingest, IngestEvent
from agent.model import Moment
from agent.nearby.alert import Pauses, Standing, impostors
from agent.outbox import Warn
from agent.rights import force
from agent.rtsp import require_extra
from agent.rtsp.message import Listened
from agent.rtsp.onvif.client import require_extra as require_onvif
from agent.rtsp.onvif.message import Found
from agent.scrub.flow import Scrub
from agent.sealer import Sealer
from agent.sources import check_medium
from agent.sources.lane import Lane
from agent.uplink import Device
from agent.upload import Upload

if TYPE_CHECKING:  # else an agent that listens for nothing would load what that takes
    from agent.camera.identity import Address
    from agent.nearby.flow import Nearby

TICK_S: Final = 5.0
"""How often waiting commands, the clock, the certificate and what waits for room are looked at."""

RETENTION_AT_LEAST_S: Final = 30.0
"""Where something is due every few seconds a pass takes what half a minute brings: each writes some 70 kB."""

LATE_MS: Final = 3_600_000
"""How often a delete's sender is told of what turned up after it: a card full of it is one receipt."""

RETENTION_S: Final = 60.0
"""How often retention passes; disk pressure is looked at then as well."""

MEDIUM_S: Final = 5.0
"""A start waits so long for the folders of the sources; a disk that sleeps may need more, and loses nothing by it."""

GOODBYE_S: Final = 6.0
"""For the last word and for the close, each; longer than the broker client itself waits for the far end to close."""

LOCK_PATIENCE_S: Final = 5.0
"""A shell command that answers without an agent has the vault this long at most, exports aside."""

EXPIRY_WARNING_MS: Final = 30 * 86_400_000
"""A certificate is warned about this long before it ends."""

_RAISED_ANEW: Final = ("acl_broken", "takeover", "upload_region_refused")
"""Alerts that only the line can end: one that an earlier run left standing is raised anew if it still holds."""

_BEFORE_THIS_START: Final = ""
"""Stands for a source of an alert that an earlier run may have left standing."""

_NO_ROOM: Final = "There is no room for new recordings."

_COLLECTING: Final = "collecting"
"""Who sees impostors where cameras are collected from and nothing is listened for."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Live:
    """What only the resident agent has; the verbs tell of it."""

    parts: Parts
    alarm: Alarm
    ingest: Ingest
    switches: Switches = field(init=False)
    scrub: Scrub = field(init=False)
    refusals: Refusals = field(default_factory=Refusals)
    broker: Broker | None = None
    upload: Upload | None = None
    post: Post | None = None
    nearby: "Nearby | None" = None
    collecting: Collecting | None = None
    passkeys: Passkeys = field(default_factory=Passkeys)
    failed: dict[str, str] = field(default_factory=dict)
    """Why sources are not taken in, by their names; those of the alert ``source_failed``."""
    standing: Standing = field(default_factory=Standing)
    """Cameras for which something else answers, as their streams, whoever collects, and discovery see it."""
    failing: set[str] = field(default_factory=lambda: {_BEFORE_THIS_START})
    """Sources behind the alert ``source_failed``, which ends when each takes something in, or is back."""
    is_full: bool | None = None
    """Whether ``disk_full`` was raised last or ended; ``None`` while an earlier run may have left it standing."""
    short_of_room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a recording was refused that may drive others out."""
    late_told_ms: int | None = None
    """When what turned up late was told last, in agent time."""
    not_removed: int = 0
    """Deleted files and exports that could not be removed when that was tried last."""
    pauses: Pauses = field(default_factory=Pauses)
    """Cameras of which an impostor was written down lately, where nothing is listened for."""
    good_until_ms: int = 0
    """The end of the certificate that was looked at last."""
    rights_news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the policy, or what was said of data, is another: cameras may have to be switched."""

    def __post_init__(self) -> None:
        self.switches = Switches(self.parts)
        self.scrub = make_scrub(self.parts, busy=self._is_at_work, quarantined=self._quarantined)
        self.parts.commands.have_looked_at(self.scrub.suspect)

    def _is_at_work(self) -> bool:
        """Tell whether the disk and the line are needed for what comes in and goes out."""
        return self.ingest.is_at_work or (self.upload is not None and bool(self.upload.progress()))

    def _quarantined(self, object_ids: tuple[str, ...]) -> None:
        """Send no more of what is damaged, and have offered again what sources still have."""
        if self.upload is not None:
            self.upload.stop(object_ids)
        self.ingest.reconsider()
        self.parts.changed()

    @property
    def ways(self) -> tuple[tuple[Way, Tell], ...]:
        """How a camera can be met now, the first that reaches it first."""
        found: list[tuple[Way, Tell]] = [] if self.collecting is None else [("link", self.collecting.tell)]
        if self.nearby is not None:
            found.append(("bluetooth", self.nearby.meet_by_radio))
        return tuple(found)

    @property
    def found(self) -> dict[str, Found]:
        """What the ONVIF services of cameras said, by source."""
        return self.ingest.found()

    @property
    def said(self) -> dict[str, Said]:
        """What became of asking each enrolled camera, by its id."""
        return {} if self.collecting is None else self.collecting.said

    @property
    def listened(self) -> dict[str, Listened]:
        """What became of the sound of cameras of which it is asked for, by source."""
        return self.ingest.listened()


async def run(
    config: Config,
    *,
    read_clock: ReadClock,
    stop: asyncio.Event,
    reload: asyncio.Event | None = None,
    ready: Callable[[], None] = lambda: None,
    alive: Callable[[], None] = lambda: None,
    wait: Callable[[float], Awaitable[None]] = pause,
) -> None:
    """Run until ``stop`` is set; ``reload`` reads the policy anew.

    ``ready`` is called when the local socket answers, ``alive`` whenever the index and the commands were seen to work.
    """
    async with opened(config, read_clock=read_clock, patience_s=LOCK_PATIENCE_S) as parts:
        _require_owner(parts)
        if config.streams:
            require_extra()
        if any(stream.onvif for stream in config.streams):
            require_onvif()
        await _look_at_media(config)
        await _note(parts, "started")
        await propose_file(parts, Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox))
        with contextlib.suppress(SpaceError):  # the next start does it
            await parts.index.write(force.bind, urgent=True)
        sealer = Sealer()
        try:
            await _run(parts, sealer, stop=stop, reload=reload or asyncio.Event(), ready=ready, alive=alive, wait=wait)
        finally:
            await sealer.aclose()
        await parts.commands.tell_strangers(parts.now())
        await _note(parts, "stopped")  # two starts without one between: the power failed, or the process was killed


async def _note(parts: Parts, kind: Literal["started", "stopped"]) -> None:
    with contextlib.suppress(SpaceError):  # a disk that is full to the last byte is no reason not to run
        await parts.index.write(lambda tx: audit.append(tx, Event(kind=kind), moment=parts.now()), urgent=True)


async def _run(
    parts: Parts,
    sealer: Sealer,
    *,
    stop: asyncio.Event,
    reload: asyncio.Event,
    ready: Callable[[], None],
    alive: Callable[[], None],
    wait: Callable[[float], Awaitable[None]],
) -> None:
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    events: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue(maxsize=256)

    def tell(code: str, what: str, about: str = "") -> None:
        with contextlib.suppress(asyncio.QueueFull):  # bounded: the same alert comes again while its cause stands
            events.put_nowait((code, what, about))

    ingest = Ingest(
        parts.config.sources,
        streams=parts.config.streams,
        vault=parts.vault,
        sealer=sealer,
        policy=parts.policy_in_force,
        now=parts.now,
        rights=parts.snapshot.at_ingest,
        reserve_bytes=RESERVE_BYTES,
        on_full=lambda size_bytes: _make_room(live, size_bytes),
        on_event=lambda event: _on_ingest(live, event, tell),
    )
    live = await _loaded(Live(parts, alarm, ingest))
    async with contextlib.AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running: list[asyncio.Task[None]] = []

        def start(work: Awaitable[None], name: str) -> asyncio.Task[None]:
            task = tasks.create_task(_as_task(work), name=name)
            running.append(task)
            return task

        post = _line_parts(live, tell)
        collecting = live.collecting = _collecting(live, tell)
        live.nearby = await _ears(live, tell, collecting.wake)
        if live.nearby is not None:
            start(live.nearby.run(), "nearby")
        await _look_at_keys(live, tell)
        answering = asyncio.Event()
        start(ControlServer(parts.config.socket, table(live)).serve(answering.set), "control")
        start(parts.commands.run(), "commands")
        start(_service(live).run(wait), "service")
        start(_tell_alerts(live, events), "alerts")
        start(_tick(live, tell, alive, wait, stop), "ticks")
        start(_reload_policy(live, reload), "policy")
        start(_switch_cameras(live), "switch cameras")
        for work, name in (
            (_retain(live, tell), "retention"),
            (_look_at_log(parts), "audit log"),
            (live.scrub.run(), "scrub"),
        ):
            start(work, name)
        broker, upload = live.broker, live.upload
        line: asyncio.Task[None] | None = None
        if broker is not None and upload is not None and post is not None:
            line = start(broker.run(), "broker")
            start(post.run(broker), "post")
            start(upload.run(), "upload")
            start(_hear_commands(live, broker), "hear commands")
            start(_note_protocol(live, broker), "note protocol")
        taking = [] if parts.leaving else [start(ingest.run(), "ingest")]
        meeting = start(collecting.run(), "collecting")
        parts.end_collecting = partial(_end_taking, collecting, taking)
        await answering.wait()
        ready()
        await stop.wait()
        await _stop_all([*taking, meeting])
        ingest.close()
        if broker is not None and post is not None and line is not None:
            await _say_goodbye(post, broker)
            await broker.aclose()
            await asyncio.wait((line,), timeout=GOODBYE_S)  # else the broker would publish our will after our goodbye
        for task in reversed(running):
            await _stop(task)


async def _loaded(live: Live) -> Live:
    await live.switches.load()
    live.parts.rights_changed = partial(_look_again, live)
    return live


async def _ears(live: Live, tell: Warn, found: Callable[[str], None]) -> "Nearby | None":
    parts, switches = live.parts, live.switches
    settings = parts.config.discovery
    if settings is None:
        return None
    from agent.app.nearby import Radio, discoverers, make_nearby  # noqa: PLC0415 - an agent without discovery loads none

    def said(camera: str, now: bool, before: bool) -> None:  # noqa: FBT001 - a pair that is told
        switches.said(camera, on=now, before=before, way="bluetooth")

    radio = Radio(wanted=switches.wanted, said=said, passkeys=live.passkeys)
    ways = discoverers(settings, read_clock=parts.read_clock)
    return await make_nearby(parts, ways, tell=tell, found=found, radio=radio, standing=live.standing)


def _collecting(live: Live, tell: Warn) -> Collecting:
    return Collecting(
        live.parts,
        live.ingest,
        heard=lambda camera: () if live.nearby is None else live.nearby.addresses(camera),
        refused=partial(_note_impostor, live, tell),
        met=partial(_note_met, live),
        mended=partial(_mended, live, tell),
        paired=partial(_note_paired, live),
        switches=live.switches,
    )


async def _note_paired(live: Live) -> None:
    """Let a camera be known by its rotating ids from now on."""
    if live.nearby is not None:
        await live.nearby.enrolled_changed()


async def _as_task(work: Awaitable[None]) -> None:
    await work


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


async def _end_taking(collecting: Collecting, taking: list[asyncio.Task[None]]) -> None:
    """Take nothing in any more, from nowhere; cameras are met still."""
    if taking:
        await collecting.take_no_more()  # nothing is offered any more to what ends now
        await _stop_all(taking)


async def _stop_all(tasks: list[asyncio.Task[None]]) -> None:
    while tasks:
        await _stop(tasks.pop())


async def _say_goodbye(post: Post, broker: Broker) -> None:
    if broker.online:
        with contextlib.suppress(TimeoutError):  # one that is silent says it by our will
            async with asyncio.timeout(GOODBYE_S):
                await post.goodbye(broker)


async def _look_at_media(config: Config) -> None:
    """Say what a source's medium means; a folder that does not answer keeps no start waiting, and is checked later."""
    lanes = [Lane(f"medium {settings.name}") for settings in config.sources]
    warnings = [
        lane.submit(partial(check_medium, settings)) for lane, settings in zip(lanes, config.sources, strict=True)
    ]
    for lane in lanes:
        lane.close()
    if warnings:
        await asyncio.wait(warnings, timeout=MEDIUM_S)
    for settings, warning in zip(config.sources, warnings, strict=True):
        try:
            found = warning.result() if warning.done() else "does not answer; nothing is taken in until it does"
        except OSError as error:
            found = f"{error.strerror}; nothing is taken in until it can be read"
        if found:
            _log.warning("source %s: %s: %s", settings.name, settings.path, found)


def _require_owner(parts: Parts) -> None:
    if parts.index.read_now(parts.trust.owner) is None:
        raise ConfigError(
            "this device has no owner: nothing is collected", hint="privacy-agent init --owner owner.pub --device NAME"
        )


def _line_parts(live: Live, tell: Warn) -> Post | None:
    """Make what needs the broker, where the config names one."""
    parts = live.parts
    settings = parts.config.broker
    if settings is None:
        return None
    post = Post(
        device=parts.config.device,
        index=parts.index,
        keystore=parts.keystore,
        outbox=parts.outbox,
        trust=parts.trust,
        now=parts.now,
        waiting=parts.waiting_uploads,
        forgotten=is_told,
    )
    remembered = parts.index.read_now(lambda tx: parts.outbox.protocol_of(tx, settings.url, moment=parts.now()))
    broker = Broker(
        settings.url,
        tenant=settings.tenant,
        identity=settings.identity,
        will=post.will,
        alert=tell,
        line_told=_note_line,
        protocol=MQTT_3_1_1 if remembered == MQTT_3_1_1 else MQTT_5,
    )
    if broker.device != parts.config.device:
        raise ConfigError(
            f"the TLS certificate names {broker.device!r}, the config {parts.config.device!r}",
            hint=f"name the folder of {parts.config.device}'s certificate in [broker] identity of {parts.config.file}",
        )

    def stores(tx: Tx) -> tuple[Key, ...]:
        return parts.trust.keys_of(tx, "store", moment=parts.now())

    upload = Upload(
        index=parts.index,
        vault=parts.vault,
        erasure=parts.erasure,
        line=broker,
        device=Device.of(parts.keystore, name=parts.config.device),
        stores=stores,
        policy=parts.policy_in_force,
        now=parts.now,
        snapshot=parts.snapshot,
        alert=tell,
        corrected=parts.commands.corrected,
        answered=post.news,
        heard=parts.ear.heard,
        suspect=live.scrub.suspect,
    )
    live.broker, live.upload, live.post = broker, upload, post

    def changed() -> None:
        post.news()
        upload.wake()
        upload.copies.wake()
        upload.corrections.wake()

    parts.changed = changed
    return post


def _note_line(error: AgentError | None) -> None:
    if error is None:
        _log.warning("the broker is connected again")
    else:
        _log.warning("the broker is not connected: %s; it is tried again by itself", error.message)


def _on_ingest(live: Live, event: IngestEvent, tell: Warn) -> None:
    if event.kind == "admitted":
        if live.upload is not None:
            live.upload.wake()
        _good_again(live, event.source, tell)
        if live.standing.seen(event.source):
            _sees(live, event.source, (), tell)
    elif event.kind == "source_back":
        _good_again(live, event.source, tell)
    elif event.kind == "disk_full":
        live.is_full = True
        tell("disk_full", _NO_ROOM)
    elif event.kind == "source_failed":
        live.failing.add(event.source)
        live.failed[event.source] = event.reason
        tell("source_failed", f"Source {event.source} is not taken in: {event.reason}")
        return  # the alert is written to the log with the same words
    elif event.kind == "impostor":
        _sees(live, event.source, (event.reason,), tell, rule="changed_certificate", of=event.reason)
    if count := live.refusals.note(event):
        level = logging.INFO if event.obeys else logging.WARNING
        _log.log(level, "not taken in: source=%s %s: %s (%s so far)", event.source, event.kind, event.reason, count)
    about = {"source": event.source, "object": event.object, "reason": event.reason}
    what = "source_opened" if event.kind == "source_back" else event.kind
    _log.info("ingest %s %s", what, " ".join(f"{name}={value}" for name, value in about.items() if value))


async def _look_at_keys(live: Live, tell: Callable[[str, str], None]) -> None:
    kids = [key.kid for key in await live.parts.index.read(live.parts.trust.unusable_keys)]
    tell("unusable_key", f"Nothing can be sealed to: {' '.join(kids[:3])}" if kids else "")


def _good_again(live: Live, source: str, tell: Callable[[str, str], None]) -> None:
    if live.failing:
        live.failing -= {source, _BEFORE_THIS_START}
        live.failed.pop(source, None)
        if not live.failing:
            tell("source_failed", "")


def look_at_room(live: Live, tell: Callable[[str, str], None]) -> None:
    """End ``disk_full`` once nothing waits for room any more; that one file found some says nothing of another.

    What is refused again with the same words is told once alone, so one that waits behind the end raises it here.
    """
    waits = live.ingest.waits_for_room
    if waits and live.is_full is False:
        tell("disk_full", _NO_ROOM)
    elif not waits and live.is_full is not False:
        tell("disk_full", "")
    else:
        return
    live.is_full = waits


def _sees(live: Live, by: str, cameras: Iterable[str], tell: Warn, *, rule: str = "", of: str = "") -> None:
    """Note for which cameras one who looks sees an impostor now; ``rule`` is what the new one, ``of`` a camera, did.

    The alert ends when nobody sees any.
    """
    live.standing.see(by, cameras)
    if not live.standing.cameras:
        tell("camera_impostor", "")
    elif rule:
        tell("camera_impostor", impostors(live.standing.cameras, rule=rule), of)


def _mended(live: Live, tell: Warn) -> None:
    """Note where nothing is listened for that each camera has answered again to whoever collects."""
    if live.nearby is None:
        _sees(live, _COLLECTING, (), tell)


async def _note_met(live: Live, camera: str, at: "Address | None") -> None:
    """Have it shown at once where an enrolled camera answered whoever collects from it, or that it did not."""
    if live.nearby is not None and at is not None:
        await live.nearby.met(camera, at)
    elif live.nearby is not None:
        live.nearby.away(camera)


async def _note_impostor(live: Live, tell: Warn, camera: str, at: "Address") -> None:
    """Write down and alert that somebody else answers where an enrolled camera is collected from."""
    if live.nearby is not None:
        await live.nearby.refused(camera, "failed_proof", at)
        return
    parts, moment = live.parts, live.parts.now()
    if not live.pauses.begin(camera, now_ms=moment.agent_ms):
        return
    with contextlib.suppress(SpaceError):
        await parts.index.write(
            lambda tx: enrolment.refuse(tx, camera, rule="failed_proof", moment=moment), urgent=True
        )
    seen = live.standing.seen(_COLLECTING) | {camera}
    _sees(live, _COLLECTING, seen, tell, rule="failed_proof", of=camera)


def _make_room(live: Live, size_bytes: int) -> None:
    live.parts.refused_bytes = max(live.parts.refused_bytes, size_bytes)
    live.short_of_room.set()


async def _note_protocol(live: Live, broker: Broker) -> None:
    """Remember which MQTT version the broker speaks: one that is silent about the other costs seconds at each start."""
    parts, session, noted = live.parts, 0, 0
    while parts.config.broker is not None:
        session = await broker.next_session(session)
        if broker.protocol != noted:
            noted = broker.protocol
            url, moment = parts.config.broker.url, parts.now()
            with contextlib.suppress(SpaceError):
                await parts.index.write(
                    partial(parts.outbox.note_protocol, url=url, protocol=noted, moment=moment), urgent=True
                )


async def _hear_commands(live: Live, broker: Broker) -> None:
    while True:
        payload = await broker.receive("cmd")
        await live.parts.commands.receive(payload, moment=live.parts.now(), via="mqtt")


async def _tell_alerts(live: Live, events: "asyncio.Queue[tuple[str, str, str]]") -> None:
    unheard = ("camera_impostor",) if live.parts.config.discovery is None else ()
    for code in (*_RAISED_ANEW, *unheard, *(("certificate_expiring",) if live.broker is None else ())):
        await live.alarm.clear(code, moment=live.parts.now())
    while True:
        code, what, about = await events.get()
        if not what:
            await live.alarm.clear(code, moment=live.parts.now())
        elif await live.alarm.raise_(code, what, about=about, moment=live.parts.now()):
            live.parts.changed()


async def _look_at_log(parts: Parts) -> None:
    try:
        await judge_end(parts)
    except CorruptError as error:  # its owner is told; the agent goes on and writes behind it
        _log.error("the audit log does not hold: %s", error.message)


async def _reload_policy(live: Live, reload: asyncio.Event) -> None:
    """Obey another policy at once, or say what is wrong with it and go on with the one in force."""
    parts = live.parts
    while True:
        await reload.wait()
        reload.clear()
        proposed = await propose_file(parts, live.alarm)
        if proposed is not None and proposed.waiting is None:
            _log.warning("the policy was read anew: %s rules", len(parts.policy.rules))


def _look_again(live: Live) -> None:
    """Have looked again at what was refused: the policy, or what stands over objects, is another."""
    live.rights_news.set()
    live.refusals.judged_anew()
    live.ingest.reconsider()
    if live.upload is not None:
        live.upload.changed()


def _service(live: Live) -> Ending:
    """Return what looks whether the service goes on; it hears every word of the cloud."""
    ending = Ending(live.parts, live.alarm, changed=partial(_look_again, live))
    live.parts.ear.listener = ending.heard
    return ending


async def _switch_cameras(live: Live) -> None:
    """Have cameras switched over that are to collect now, or to collect no more, until cancelled."""
    while True:
        await live.rights_news.wait()
        live.rights_news.clear()
        for camera in await live.switches.obey(ways=live.ways):
            _log.warning("camera %s is to be %s", camera, "on" if live.switches.wanted(camera) else "off")


async def _tick(
    live: Live,
    tell: Callable[[str, str], None],
    alive: Callable[[], None],
    wait: Callable[[float], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    parts = live.parts
    told: tuple[bool, bool] | None = None
    while True:
        moment = parts.now()
        try:
            if told != (moment.trusted, parts.timeline.leapt):
                await _tell_clock(live, tell, moment)
                told = moment.trusted, parts.timeline.leapt
            await parts.end_holds()
            await parts.commands.tick(moment)
            await parts.anchor_words()
            if await parts.commands.part(moment):
                _log.warning("this device has left its owner: it ends, and what is left of that owner is destroyed")
                stop.set()
        except (SpaceError, LinkError) as error:
            _log.warning("the clock and what waits are looked at again: %s", error.message)
        _look_at_certificate(live, tell)
        look_at_room(live, tell)
        alive()
        await wait(TICK_S)


async def _tell_clock(live: Live, tell: Callable[[str, str], None], moment: Moment) -> None:
    parts = live.parts
    await parts.index.write(parts.timeline.keep, urgent=True)
    holds = "" if moment.trusted else "clock_jump" if parts.timeline.leapt else "clock_unsure"
    for code in ("clock_unsure", "clock_jump"):
        tell(code, _of_clock(moment, parts.timeline.leapt) if code == holds else "")
    parts.changed()


def _of_clock(moment: Moment, leapt: bool) -> str:  # noqa: FBT001 - a pair that is told
    """Say what is wrong with the wall clock, in hours where it was set."""
    if not leapt:
        return "This device is not sure of the time: no time came from the network since it started."
    off_ms = moment.wall_ms - moment.agent_ms
    hours = max(1, round(abs(off_ms) / (3_600 * MS_PER_S)))
    return f"The clock was set {hours} hours {'ahead of' if off_ms > 0 else 'behind'} what this device knows."


def _look_at_certificate(live: Live, tell: Callable[[str, str], None]) -> None:
    expires_ms = None if live.broker is None else live.broker.certificate_expires_ms()
    if expires_ms is None:
        return
    left_ms = expires_ms - live.parts.now().agent_ms
    if left_ms < EXPIRY_WARNING_MS:
        days = max(0, left_ms // (86_400 * MS_PER_S))
        tell("certificate_expiring", f"The certificate of this device ends in {days} days.")
    elif live.good_until_ms != expires_ms:
        tell("certificate_expiring", "")  # renewed; also when the alert stood from before this start
    live.good_until_ms = expires_ms


async def _retain(live: Live, tell: Callable[[str, str], None]) -> None:
    parts = live.parts
    while True:
        live.short_of_room.clear()
        try:
            await _pass(live, tell, parts.now())
        except SpaceError as error:
            _log.warning("retention: %s", error.message)
        if live.post is not None:
            live.post.news()  # what waits for upload may have changed; an unchanged state is not published again
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await _next_pass_s(parts)):
                await live.short_of_room.wait()


async def _pass(live: Live, tell: Callable[[str, str], None], moment: Moment) -> None:
    parts = live.parts
    # Exports are copies: those that have to go make room before any recording does.
    ends = partial(parts.retention.ends_export, moment=moment, disk=parts.disk())
    await asyncio.to_thread(parts.bundle.expire, ends, moment=moment)
    await _remove_again(live, moment)
    try:
        passed = await parts.retention.run_pass(moment, parts.disk())
    except (LinkError, CorruptError) as error:
        _log.warning("retention: %s", error.message)
    else:
        if passed.waiting:
            tell(
                "retention_waiting",
                f"A retention pass would remove {passed.count} objects; it goes on after: "
                f"privacy-owner approve {passed.waiting} {passed.selection}",
            )
        else:
            await live.alarm.clear("retention_waiting", moment=moment)
        if passed.count and not passed.waiting:
            parts.changed()
    await parts.index.write(parts.keep_house, urgent=True)
    await parts.prune_log()
    if live.late_told_ms is None or moment.agent_ms - live.late_told_ms >= LATE_MS:
        live.late_told_ms = moment.agent_ms
        await parts.commands.tell_late(moment)
    await look_at_requests(parts, live.alarm, moment)
    await parts.keep_keys()


async def _remove_again(live: Live, moment: Moment) -> None:
    """Try again what could not be removed; tell of it when that becomes more, and when it is over."""
    parts = live.parts
    try:
        kept = await parts.erasure.retry(moment) + len(await parts.index.read(bundle.put_off))
    except SpaceError as error:  # the pass, which gives room, goes on
        _log.warning("what could not be removed is tried again later: %s", error.message)
        return
    if kept > live.not_removed:
        what = f"{kept} deleted files or exports cannot be removed."
        if await live.alarm.raise_("removal_failed", what, moment=moment):
            parts.changed()
    elif not kept:
        await live.alarm.clear("removal_failed", moment=moment)
    live.not_removed = kept


async def _next_pass_s(parts: Parts) -> float:
    """Return how long to wait: until the next object is due by its age, within bounds."""
    due_ms = await parts.index.read(parts.retention.next_due_ms)
    now_ms = parts.now().agent_ms
    if due_ms is None or due_ms <= now_ms:  # due and still here: something keeps it, so hurry changes nothing
        return RETENTION_S
    return min(RETENTION_S, max(RETENTION_AT_LEAST_S, (due_ms - now_ms) / MS_PER_S))
