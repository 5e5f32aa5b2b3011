"""The flow: picks from the index what policy lets go, sends several side by side, notes what the store states.

Rules:

- ``policy.decide`` alone says whether an object may go, before it starts and again while it runs; where somebody could
  open it who may not, or its owner has another key by now, it is sealed for who may before it goes;
- a deleted object's upload ends at once (``stop``), and ``copies`` has the half-sent copy erased;
- a storage receipt counts only when it names what was sent, is signed by the store that it was sent to, and was noted
  in a transaction; one that names anything else is told as the store's word once what is here was read again and is
  right;
- a failure parks one object, never the flow;
- an object that a store loses, or refuses for good, again and again goes more and more slowly, then no more to that
  store: each try leaves a row until the object is erased, and entries in the log;
- on a full disk an upload may use the reserved space: where policy wants an upload first, it is what makes room.
"""

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import msgspec

from agent import audit
from agent.audit import Event
from agent.clock import monotonic_s
from agent.envelope import Erased, Failed, Go, Key, Rectified, Stored, UpAck, UploadAck
from agent.erasure import Erasure
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError, SpaceError
from agent.index import Index, Tx
from agent.model import Category, Moment, Object, RandomBytes, Requester, new_id
from agent.outbox import Warn
from agent.policy import Allow, Conditions, Decision, Policy, Refuse, Rights, Subject, decide
from agent.rights.snapshot import Snapshot
from agent.uplink import UPACK, Device, Line, Mail, Manifest, MisstatedError, Rate, Sending, Wait, opened, pause_until
from agent.upload.copies import Copies
from agent.upload.rectifying import Corrections
from agent.upload.turn import LONGEST_WAIT_S, Turn
from agent.vault import Vault

LOOK_S: Final = 5.0  # while something runs: is it still allowed, how far is it
LOOK_IDLE_S: Final = 30.0  # else: did the allowed hours begin
FORGED_PAUSE_S: Final = 60.0
"""Forged answers are counted always and told at most this often."""
PAGE: Final = 128
_LARGEST_PAGE: Final = 4096
_HASH_FAILURES: Final = 3
GIVEN_UP_MAX: Final = 6
"""Uploads of an object to one store, given up since it lost or refused them, behind which that store gets it no more.
Of 20,000 objects they are 360,000 entries of the million that the log keeps."""
_MISMATCHES_MAX: Final = 4096
"""Objects whose mismatches are counted; of more all are counted anew."""

_MS_PER_S: Final = 1000
_DEVICE: Final = Requester(role="device")

_log = logging.getLogger(__name__)


class Inbox(Line, Protocol):
    """What of the broker the flow needs."""

    async def receive(self, channel: str) -> bytes:
        """Return the next message of a channel."""
        ...


class _Prepared(msgspec.Struct, frozen=True):
    manifest: Manifest
    given_up: str  # an upload id that this one replaces, or ""
    given_up_manifest: str
    given_up_at: str  # the store that has half of it
    resealed: Object | None  # as it is since it was sealed for others


def _nobody_waits(_tx: Tx, _moment: Moment) -> None:
    return None


def _nobody_reads() -> None:
    """No receipt waits for a store's word."""


def _nobody_looks(_object_id: str) -> None:
    """Nobody reads again what could not be read."""


def _log_alert(code: str, what: str, about: str = "") -> None:  # noqa: ARG001 - as ``Warn`` has it
    _log.warning("%s: %s", code, what)


class Upload:
    """The flow; ``run`` works until cancelled.

    ``stores`` returns the keys of the stores that are valid now (docs/protocol.md §3): the last of them gets uploads,
    the others are still asked about the copies that they have. ``policy``, ``snapshot`` and ``now`` are asked at each
    decision. ``alert`` takes a code of §8 and a sentence. ``corrected`` is called in the transaction that notes a
    store's word about a correction, ``answered`` on the event loop behind each transaction that notes a store's word.
    ``heard`` is called for each answer of a store that was waited for, and once. ``suspect`` is told of an object whose
    payload was found wrong or could not be read.
    """

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        line: Inbox,
        device: Device,
        stores: Callable[[Tx], tuple[Key, ...]],
        policy: Callable[[], Policy],
        now: Callable[[], Moment],
        snapshot: Snapshot,
        alert: Warn = _log_alert,
        heard: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = monotonic_s,
        wait: Wait = pause_until,
        random: RandomBytes = secrets.token_bytes,
        corrected: Callable[[Tx, Moment], None] = _nobody_waits,
        answered: Callable[[], None] = _nobody_reads,
        suspect: Callable[[str], None] = _nobody_looks,
    ) -> None:
        self._index = index
        self._vault = vault
        self._line = line
        self._device = device
        self._stores = stores
        self._policy = policy
        self._now = now
        self._snapshot = snapshot
        self._alert = alert
        self._heard = heard
        self._answered = answered
        self._suspect = suspect
        self._clock_s = clock_s
        self._wait = wait
        self._random = random
        self._mails: dict[str, Mail] = {}
        self._mail: Mail | None = None
        self._rate = Rate(policy().rate_bytes_s, now_s=clock_s())
        self._turn = Turn()
        self._mismatches: Counter[str] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sendings: dict[str, Sending] = {}
        self._noted: dict[str, int] = {}
        self._news = asyncio.Event()
        self._page = PAGE
        self._region_refused = False
        self._forged_told_s: float | None = None
        self.refused: Counter[str] = Counter()
        self.copies = Copies(
            index=index,
            vault=vault,
            erasure=erasure,
            line=line,
            mails=lambda: self._mails,
            now=now,
            alert=alert,
            changed=self._tell,
            lost=self._on_lost,
            clock_s=clock_s,
            wait=wait,
            random=random,
        )
        self.corrections = Corrections(
            index=index,
            vault=vault,
            line=line,
            mails=lambda: self._mails,
            policy=policy,
            snapshot=snapshot,
            now=now,
            corrected=corrected,
            changed=self._tell,
            lost=self.copies.note_lost,
            wait=wait,
            random=random,
        )

    # -- for the other flows -----------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """A store's word is noted: something may be ours again to send, and a receipt may wait for its reader."""
        self.wake()
        self._answered()

    def wake(self) -> None:
        """Say that objects were added or lost."""
        self._news.set()

    def changed(self) -> None:
        """Say that the policy, the rights or the key set changed: whoever waits may try again."""
        self._begin_turns_anew()
        self._end_region_alert()
        self._news.set()
        self.copies.wake()

    def stop(self, object_ids: Iterable[str]) -> None:
        """End the uploads of objects that are being erased, at once, and have the store erase what it got."""
        for object_id in object_ids:
            task = self._tasks.get(object_id)
            if task is not None:
                task.cancel()
        self.copies.wake()

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return (durable bytes, all bytes) by object id for what is under way."""
        return {
            one.object_id: (one.durable_bytes, self._turn.running[one.object_id].size_bytes)
            for one in self._sendings.values()
            if one.object_id in self._turn.running
        }

    # -- the flow ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Upload what may be uploaded, until cancelled."""
        await self._refresh_store()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(), name="upload-hear")
            group.create_task(self.copies.run(), name="upload-copies")
            group.create_task(self.corrections.run(), name="upload-corrections")
            while True:
                await self._line.next_session(0)
                self._news.clear()
                await self._refresh_store()
                await self._look_at_running()
                await self._start(group)
                try:
                    async with asyncio.timeout(LOOK_S if self._tasks else LOOK_IDLE_S):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def _refresh_store(self) -> None:
        keys = await self._index.read(self._stores)
        mails = {key.kid: mail for key in keys if (mail := self._mail_to(key)) is not None}
        if mails != self._mails:
            self._mails = mails
            self.copies.stores_changed()
            self.corrections.wake()
        mail = tuple(mails.values())[-1] if mails else None
        if mail is self._mail:
            return
        self._mail = mail
        self._begin_turns_anew()
        self._end_region_alert()
        for task in self._tasks.values():  # what runs is bound to the former key
            task.cancel()

    def _begin_turns_anew(self) -> None:
        self._turn.clear()
        self._mismatches.clear()  # of another store nothing is known

    def _mail_to(self, key: Key) -> Mail | None:
        known = self._mails.get(key.kid)
        if known is not None and known.store == key:
            return known
        try:
            return Mail(self._device, key)
        except ConfigError as error:  # no key set with such a key is accepted; one that was is no reason to end
            self._alert("unusable_key", f"Nothing can be sealed to the store's key {key.kid}: {error.message}", key.kid)
            return None

    def _judge(self, subject: Subject, rights: Rights) -> Decision:
        return decide(
            self._policy(),
            "upload",
            requester=_DEVICE,
            subject=subject,
            rights=rights,
            conditions=Conditions(moment=self._now()),
        )

    async def _look_at_running(self) -> None:
        running = tuple(self._turn.running)
        waiting = await self._index.read(lambda tx: self._still_waiting(tx, running)) if running else {}
        going_to = {one.object_id: one.regions for one in self._sendings.values()}
        wrong: list[str] = []
        for object_id, item in self._turn.running.items():
            now = waiting.get(object_id)
            elsewhere = object_id in going_to and not self._may_lie_in(going_to[object_id])
            if now is None or elsewhere or not self._may_go_on(item, *now):
                self._tasks[object_id].cancel()
                wrong += [object_id] if now is not None and (elsewhere or self._must_come_back(*now)) else []
        self._rate.change(self._policy().rate_bytes_s)  # behind the rest: what is to end here goes no faster until then
        if wrong:
            await self._index.write(lambda tx: self._ask_back(tx, wrong), urgent=True)
            self.copies.wake()
        offsets = {
            upload: one.durable_bytes
            for upload, one in self._sendings.items()
            if one.durable_bytes != self._noted.get(upload, 0)
        }
        if offsets:
            with suppress(SpaceError):  # the store's own word says where to go on; ours is for who asks
                await self._index.write(lambda tx: self._note_offsets(tx, offsets))
                self._noted.update({upload: n for upload, n in offsets.items() if upload in self._sendings})

    def _may_go_on(self, item: Object, now: Object, rights: Rights) -> bool:
        """Tell whether what is being sent is still what may be: whoever can open it may, and it is for the same."""
        decision = self._judge(Subject.of(now), rights)
        return isinstance(decision, Allow) and not decision.reseal_to and now.recipients == item.recipients

    def _must_come_back(self, now: Object, rights: Rights) -> bool:
        """Tell whether a store must not even have a part of it; what only waits for its hour stays where it is."""
        decision = self._judge(Subject.of(now), rights)
        return isinstance(decision, Refuse) and decision.reason != "outside_hours"

    def _may_lie_in(self, regions: tuple[str, ...]) -> bool:
        """Tell whether a store that keeps it in one of these, or in any where none is named, keeps it where it may."""
        allowed = self._policy().regions
        return not allowed or (bool(regions) and set(regions) <= set(allowed))

    def _require_region(self, sending: Sending, stored: Stored) -> None:
        """Raise ``RefusedError`` where the policy became another while the store's last word was under way."""
        if not self._may_lie_in((stored.region,)):
            sending.kept_elsewhere = True
            raise RefusedError(f"the store keeps it in {stored.region}", reason="region_refused", retry="later")

    def _still_waiting(self, tx: Tx, object_ids: tuple[str, ...]) -> dict[str, tuple[Object, Rights]]:
        """Return what is here of some objects and not on its way out, as it is now, and what stands over it."""
        found = (self._vault.get(tx, object_id) for object_id in object_ids)
        return {
            item.id: (item, self._snapshot.of(tx, item))
            for item in found
            if item is not None and item.state != "erasing" and not self._vault.is_damaged(tx, item.id)
        }

    def _ask_back(self, tx: Tx, object_ids: Iterable[str]) -> None:
        """Have the store asked for what it got of objects that it must not have; what it states it has stays there."""
        for object_id in object_ids:
            item = self._vault.get(tx, object_id)
            if item is not None:
                self._vault.ask_half_back(tx, item)

    def _note_offsets(self, tx: Tx, offsets: dict[str, int]) -> None:
        for upload, offset in offsets.items():
            self._vault.note_offset(tx, upload, offset)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        mail = self._mail
        if mail is None:
            return
        queued, rights = await self._index.read(partial(self._queued, skip=await self._refused_sets()))
        now_s = self._clock_s()
        started = False
        while items := self._turn.next(queued, policy=self._policy(), now_s=now_s):
            for item in items:
                decision = self._judge(Subject.of(item), rights[item.id])
                if isinstance(decision, Allow):
                    started = True
                    self._turn.running[item.id] = item
                    task = group.create_task(self._upload(item, mail), name=f"upload-{item.id}")
                    task.add_done_callback(partial(self._ended, item.id))
                    self._tasks[item.id] = task
                else:
                    self._turn.wait(item.id, now_s + self._refused_for_s(decision.until_ms))
        # Were all of a full page refused, what comes behind them must still get its turn.
        full = len(queued) >= self._page
        self._page = min(_LARGEST_PAGE, self._page * 2) if full and not started and not self._tasks else PAGE

    def _queued(self, tx: Tx, *, skip: frozenset[tuple[str, Category]]) -> tuple[tuple[Object, ...], dict[str, Rights]]:
        """Return what is next of the sets that are not skipped, and what stands over each of it."""
        queued = self._vault.queued(tx, self._page, skip=skip)
        return queued, {item.id: self._snapshot.of(tx, item) for item in queued}

    async def _refused_sets(self) -> frozenset[tuple[str, Category]]:
        """Return the sets of which nothing may go now: a million of theirs would stand before one of another."""

        def sets(tx: Tx) -> dict[tuple[str, Category], Rights]:
            return {key: self._snapshot.of_set(tx, *key) for key in self._vault.waiting_totals(tx)}

        return frozenset(
            (camera, category)
            for (camera, category), rights in (await self._index.read(sets)).items()
            if not isinstance(self._judge(Subject(camera=camera, category=category, taken_in_ms=0), rights), Allow)
        )

    def _refused_for_s(self, until_ms: int | None) -> float:
        if until_ms is None:
            return LONGEST_WAIT_S
        return min(LONGEST_WAIT_S, max(1.0, (until_ms - self._now().agent_ms) / _MS_PER_S))

    async def _upload(self, item: Object, mail: Mail) -> None:
        try:
            await self._upload_once(item, mail)
            self._turn.done(item.id)
            self._mismatches.pop(item.id, None)
        except RefusedError as error:
            await self._on_refused(item, error)
        except MisstatedError as error:
            self._turn.failed(item.id, self._clock_s())
            told = f"The store's key {mail.store_kid} is wrong about object {item.id}: {error.message}."
            self._alert("key_misused", told, f"{mail.store_kid}.hash_mismatch")
        except CorruptError as error:
            self._turn.failed(item.id, self._clock_s())
            self._alert("corrupt_object", f"object {item.id} was not uploaded: {error.message}", item.id)
            self._suspect(item.id)
        except (SpaceError, LinkError, FileNotFoundError) as error:  # no file: most likely it is being erased
            _log.info("upload of %s waits: %s", item.id, error)
            self._turn.failed(item.id, self._clock_s())
            if isinstance(error, FileNotFoundError):
                self._suspect(item.id)
        except OSError as error:  # the medium failed under one file; the others go on
            self._turn.failed(item.id, self._clock_s())
            self._alert("corrupt_object", f"object {item.id} cannot be read: {error.strerror}", item.id)
            self._suspect(item.id)

    def _ended(self, object_id: str, _task: asyncio.Task[None]) -> None:
        self._turn.running.pop(object_id, None)
        self._tasks.pop(object_id, None)
        self._news.set()

    async def _upload_once(self, item: Object, mail: Mail) -> None:
        moment = self._now()
        prepared = await self._index.write(lambda tx: self._prepare(tx, item.id, mail=mail, moment=moment), urgent=True)
        if prepared is None:
            return
        if prepared.resealed is not None:
            self._turn.running[item.id] = prepared.resealed
            self.copies.wake()  # what a store has of it as it was
        if prepared.given_up_at in self._mails:
            await self._abort(prepared.given_up, prepared.given_up_manifest, self._mails[prepared.given_up_at])
        manifest = prepared.manifest
        sending = Sending(
            manifest,
            mail=mail,
            path=self._vault.payload_path(item.id),
            line=self._line,
            rate=self._rate,
            clock_s=self._clock_s,
            wait=self._wait,
            now_s=self._now_s,
            regions=manifest.regions,
        )
        self._sendings[manifest.upload] = sending
        try:
            stored = await sending.run()
            self._require_region(sending, stored)
        except RefusedError as error:
            if sending.kept_elsewhere:
                await self._index.write(lambda tx: self._vault.take_back_upload(tx, manifest.upload), urgent=True)
                self.copies.wake()
            elif error.reason == "region_refused":
                await self._abort(manifest.upload, sending.manifest_hash, mail)
            raise
        finally:
            del self._sendings[manifest.upload]
            self._noted.pop(manifest.upload, None)
        await self._note_stored(stored)
        _log.info("stored %s upload=%s region=%s", item.id, stored.upload, stored.region)

    def _prepare(self, tx: Tx, object_id: str, *, mail: Mail, moment: Moment) -> _Prepared | None:
        """Fix everything that ``begin`` states; an upload whose statement changed since gets a new id."""
        item = self._vault.get(tx, object_id)
        if item is None or item.state != "sealed" or self._vault.is_damaged(tx, item.id):
            return None
        decision = self._judge(Subject.of(item), self._snapshot.of(tx, item))
        if not isinstance(decision, Allow):
            return None  # what was said between this and the choice counts
        self._require_not_given_up(tx, item.id, mail=mail)
        resealed = self._reseal(tx, item, decision, moment=moment) if decision.reseal_to else None
        item = resealed or item
        manifest, was, store = self._manifest(tx, item, moment=moment)
        given_up = ""
        if was and was != mail.manifest_hash(manifest):
            given_up = manifest.upload
            self._vault.forget_upload(tx, given_up)
            manifest, _, _ = self._manifest(tx, item, moment=moment)
        if given_up or not was:
            self._vault.set_manifest(
                tx, manifest.upload, mail.manifest_hash(manifest), store=mail.store_kid, moment=moment
            )
        return _Prepared(manifest, given_up, was if given_up else "", store if given_up else "", resealed)

    def _require_not_given_up(self, tx: Tx, object_id: str, *, mail: Mail) -> None:
        times = self._vault.given_up(tx, object_id, store=mail.store_kid)
        if times >= GIVEN_UP_MAX:
            told = f"{times} uploads of object {object_id} to the store's key {mail.store_kid} were given up"
            raise RefusedError(f"{told}: it is not sent there again.", reason="given_up", retry="after_fix")

    def _reseal(self, tx: Tx, item: Object, allowed: Allow, *, moment: Moment) -> Object:
        """Seal it for those alone who may read it now; a store is asked to erase what it has of it as it was."""
        self._vault.ask_half_back(tx, item)
        self._vault.narrow(tx, item, purposes=item.purposes, recipients=allowed.reseal_to)
        detail: dict[str, str | int] = {"recipients": len(allowed.reseal_to)}
        audit.append(tx, Event(kind="resealed", object=item.id, rule=allowed.rule, detail=detail), moment=moment)
        return self._vault.require(tx, item.id)

    def _manifest(self, tx: Tx, item: Object, *, moment: Moment) -> tuple[Manifest, str, str]:
        upload, iat_s = self._vault.begin_upload(tx, item.id, moment=moment)
        header = self._header(tx, item)
        row = self._vault.upload_of(tx, upload)
        manifest = Manifest(
            upload=upload,
            object=item.id,
            iat_s=iat_s,
            payload_bytes=item.size_bytes,
            payload_sha256=item.payload_sha256.hex(),
            header=header,
            header_sha256=hashlib.sha256(header).hexdigest(),
            regions=self._policy().regions,
        )
        return manifest, *((row.manifest, row.store) if row is not None else ("", ""))

    def _header(self, tx: Tx, item: Object) -> bytes:
        header = self._vault.header(tx, item.id)
        if header is not None:
            return header
        # It went with an earlier storage receipt, and the store lost its copy since.
        return self._vault.remake_header(tx, item.id)

    async def _note_stored(self, stored: Stored) -> None:
        moment = self._now()
        noted = await self._index.write(
            lambda tx: self._vault.note_stored(
                tx, stored.upload, region=stored.region, stated_by=stored.iss, epoch=stored.epoch, moment=moment
            ),
            urgent=True,
        )
        self._end_region_alert()
        self.corrections.wake()  # what was sealed before a correction is corrected at the store too
        if not noted:
            self.copies.wake()  # it is being erased: the copy goes too

    def _end_region_alert(self) -> None:
        """End it once something was stored, or once what refused it changed; it is raised anew if it still holds."""
        if self._region_refused:
            self._region_refused = False
            self._alert("upload_region_refused", "")

    async def _on_refused(self, item: Object, error: RefusedError) -> None:
        self._turn.failed(item.id, self._clock_s())
        _log.info("upload of %s waits: %s", item.id, error)
        if error.reason == "region_refused":
            self._turn.wait(item.id, self._clock_s() + LONGEST_WAIT_S)
            self._region_refused = True
            self._alert("upload_region_refused", error.message)
        elif error.reason == "given_up":
            self._turn.wait(item.id, self._clock_s() + LONGEST_WAIT_S)
            self._alert("store_rolled_back", error.message)
        elif error.reason in {"erased", "manifest_changed"}:
            with suppress(SpaceError):  # the next try is told the same
                await self._index.write(lambda tx: self._give_up(tx, item.id), urgent=True)
        elif error.reason == "hash_mismatch":
            self._on_mismatch(item.id)

    def _on_lost(self, object_id: str, times: int) -> None:
        self._turn.lost(object_id, self._clock_s(), times=times)

    def _on_mismatch(self, object_id: str) -> None:
        """Begin again at once; when that was in vain, tell of it and wait."""
        if len(self._mismatches) >= _MISMATCHES_MAX:
            self._mismatches.clear()
        self._mismatches[object_id] += 1
        count = self._mismatches[object_id]
        if count < _HASH_FAILURES:
            self._turn.wait(object_id, self._clock_s())
            return
        self._alert(
            "forged_message",
            f"The store got other bytes of object {object_id} than were sent, {count} times, and it is whole here: "
            "somebody else writes into its uploads, or that store fails.",
            "upload",
        )

    def _give_up(self, tx: Tx, object_id: str) -> None:
        item = self._vault.get(tx, object_id)
        if item is not None and item.upload and item.state == "sealed":
            self._vault.forget_upload(tx, item.upload)

    async def _abort(self, upload: str, manifest: str, mail: Mail) -> None:
        message = mail.abort(upload, manifest, iat_s=self._now_s(), jti=new_id(self._random))
        try:
            await (await self._line.submit(f"up/{upload}", message))
        except (LinkError, RefusedError):
            _log.info("the abort of a half-sent upload was not sent; its erase will be")

    def _now_s(self) -> int:
        return self._now().agent_ms // _MS_PER_S

    # -- what the store says -----------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        while True:
            raw = await self._line.receive(UPACK)
            try:
                answer = opened(raw, device=self._device)
                mail = self._mails.get(answer.unverified.unverified_kid)
                if mail is None:
                    self.refused["no_store"] += 1
                elif await self._take(mail.verified(answer)):
                    self._heard()
            except RefusedError as error:
                self.refused[error.reason] += 1
                if error.reason == "bad_signature":
                    self._tell_forged()
            except CorruptError:
                self.refused["malformed"] += 1
            except AgentError as error:
                _log.warning("an answer of the store was not noted: %s", error)

    def _tell_forged(self) -> None:
        """Tell that somebody speaks in a store's name, at most once in ``FORGED_PAUSE_S``."""
        now_s = self._clock_s()
        if self._forged_told_s is None or now_s - self._forged_told_s >= FORGED_PAUSE_S:
            self._forged_told_s = now_s
            self._alert(
                "forged_message", "Answers arrive under the id of a store's key that did not sign them.", "store"
            )

    async def _take(self, value: UpAck) -> bool:
        """Hand an answer on; return whether it is news: the same bytes sent once more would not be."""
        if isinstance(value, Erased):
            return await self.copies.take(value)
        if isinstance(value, Rectified):
            return await self.corrections.take(value)
        sending = self._sendings.get(value.upload)
        if sending is not None and sending.deliver(value):
            if isinstance(value, Go | Stored):
                self.copies.note_epoch(value.iss, value.epoch)
            return isinstance(value, Stored)  # it ends the upload; the others may come again in it
        if not isinstance(value, UploadAck) and await self.copies.take(value):
            return True
        await self._take_late(value)
        return False

    async def _take_late(self, value: Go | UploadAck | Stored | Failed) -> None:
        """Count an answer that nobody waits for; a late storage receipt changes nothing, ``begin`` asks again."""
        self.refused[f"late_{type(value).__name__.lower()}"] += 1
