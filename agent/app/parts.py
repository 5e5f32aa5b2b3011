"""Everything that needs no network, opened in order and closed in reverse; exactly one process holds it (I12).

Order: the lock → keystore → index → timeline → vault → erasure and commands. ``opened`` then finishes whatever a crash
cut off before it hands the parts out, so nobody ever works on a half-done erasure.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import msgspec

from agent import audit, enrolment, former, registry, rights
from agent.app import integrations, unowned
from agent.app.alarm import Alarm
from agent.app.integrations import Integration
from agent.app.lock import opened_lock, take
from agent.app.naming import require_name_given
from agent.app.policy_file import read_new_policy, read_policy
from agent.bundle import Bundle
from agent.clock import MS_PER_S, ReadClock, monotonic_s, pause
from agent.commands import Commands, Ledger, rectifying
from agent.commands.consent import Purposes
from agent.commands.ending import acting
from agent.commands.farewell import is_leaving, is_over
from agent.commands.freezing import Freezing
from agent.commands.ledger import command_of
from agent.commands.world import Act, World, sparing
from agent.config import Config
from agent.document import DOCUMENT_BYTES
from agent.envelope import Command, EndService, Key, ProposePolicy, Rectify, SetTime, fingerprint
from agent.envelope.policy import read_unverified_policy
from agent.erasure import Erasure
from agent.errors import ConfigError, LinkError, SpaceError
from agent.files import free_bytes, is_there, open_folder, read_whole
from agent.index import Index, Tx, farewell
from agent.keystore import Keystore
from agent.model import Moment, Outcome, Requester
from agent.outbox import AlertCode, Outbox
from agent.policy import Policy
from agent.retention import Disk, Retention
from agent.rights import force, service
from agent.rights.force import Waiting
from agent.rights.ratchet import Proposed, Ratchet, Stays
from agent.rights.snapshot import Snapshot
from agent.timeline import Timeline
from agent.trust import Trust
from agent.vault import Vault

RESERVE_BYTES: Final = 16 << 20
"""Of the vault's disk; never filled by new recordings, so that deletes, audit and receipts have room."""

_LOCK_PAUSE_S: Final = 0.05


_log: Final = logging.getLogger(__name__)

ANCHOR_PAUSE_MS: Final = 900_000
"""Between two changes of the roots for words alone: a key that says one each minute wears no keystore out."""

NOTHING_ALLOWED: Final = b"version = 1\n"
"""The policy of a device that parted from its owner: whatever the file beside it says, or where that went."""


async def _nothing_collects() -> None:
    return None


@dataclass(slots=True)
class Ear:
    """Hands each word of the cloud to whoever listens; nobody does before the agent runs."""

    listener: Callable[[], None] | None = None

    def heard(self) -> None:
        """Note a word."""
        if self.listener is not None:
            self.listener()


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the flows and the verbs are made of. ``changed`` may be replaced: it is called when the outbox has news.

    ``ear`` is told of each word of a backend or store that its key signed.
    So may ``rights_changed``: called on the event loop when something else was said of data than before, or another
    policy is in force. ``policy``, ``document`` and ``retention`` are those of the policy in force and change together,
    behind the commit that puts it in force.

    ``leaving`` says that the device leaves its owner: nothing is taken in or uploaded. ``end_collecting`` is replaced
    by whoever collects. ``refused_bytes`` is the largest recording for which there was no room since this start, of
    those that may drive others out.
    """

    config: Config
    policy: Policy
    document: bytes
    keystore: Keystore
    index: Index
    timeline: Timeline
    vault: Vault
    trust: Trust
    outbox: Outbox
    erasure: Erasure
    bundle: Bundle
    commands: Commands
    ratchet: Ratchet
    retention: Retention
    snapshot: Snapshot
    read_clock: ReadClock
    ear: Ear
    changed: Callable[[], None]
    freezing: Freezing
    rights_changed: Callable[[], None] = lambda: None
    refused_bytes: int = 0
    leaving: bool = False
    end_collecting: Callable[[], Awaitable[None]] = _nothing_collects
    service_ended: bool = False
    anchored_ms: int | None = None

    def now(self) -> Moment:
        """Read the clocks once; a flow does so at its start and hands the moment down."""
        return self.timeline.look(self.read_clock())

    def disk(self) -> Disk:
        """Return the room on the vault's file system."""
        free, total = free_bytes(self.config.vault)
        return Disk.seen(free, total, reserve_bytes=RESERVE_BYTES, refused_bytes=self.refused_bytes)

    def fingerprint(self) -> str:
        """Return what owner and device compare."""
        return fingerprint(self.keystore.kid, recipient=self.keystore.recipient())

    def waiting_uploads(self, tx: Tx) -> tuple[int, int]:
        """Return how many objects wait for an upload that the policy allows, and their bytes."""
        objects, size_bytes = 0, 0
        for (camera, category), total in self.vault.waiting_totals(tx).items():
            rule = self.policy.rule_for(camera, category)
            if rule is not None and rule.upload != "never":
                objects += total.objects
                size_bytes += total.bytes
        return objects, size_bytes

    def integrations(self, tx: Tx) -> tuple[Integration, ...]:
        """Return what this device has to do with that is not its own."""
        keys = self.trust.key_set(tx)
        known = () if keys is None else keys.keys
        return integrations.integrations(self.config, self.policy, known, enrolment.enrolled(tx))

    def keep_house(self, tx: Tx) -> None:
        """Persist the timeline's floor and sign the audit's head when that is due."""
        self.timeline.keep(tx)
        integrations.note(tx, self.integrations(tx), moment=self.now())
        if audit.checkpoint_due(tx):
            audit.checkpoint(tx, self.keystore, moment=self.now())

    async def keep_keys(self) -> None:
        """Raise a TPM's counter where that waits, and change the roots where they are of yesterday.

        Then an index that is put back from before is refused.
        """
        moment = self.now()
        await asyncio.to_thread(self.keystore.settle, moment.agent_ms)
        if self.keystore.anchor_is_due:
            await self.erasure.change_roots(moment)

    async def anchor_words(self, *, at_once: bool = False) -> None:
        """Change the roots where a word that stands came since they changed, but not twice in ``ANCHOR_PAUSE_MS``.

        So does a delete that met nothing here: its cut-off stands. Then an index from before is refused when it is put
        back. ``at_once`` is for whoever stops: nobody comes back to it. Everybody else does, and waits for nothing that
        is being erased. Half of a TPM's raises are left to what destroys; the daily change then serves words too.
        """
        moment = self.now()
        rests = self.anchored_ms is not None and moment.agent_ms - self.anchored_ms < ANCHOR_PAUSE_MS
        if (rests and not at_once) or not self.keystore.spares_a_raise:
            return
        owed = await self.index.read(audit.unanchored) and (at_once or not self.erasure.is_at_work)
        if owed and await self.erasure.change_roots(moment, due=audit.unanchored):
            self.anchored_ms = moment.agent_ms

    async def prune_log(self) -> None:
        """Drop what the audit log no longer keeps, some in each transaction, until that is all."""
        while await self.index.write(lambda tx: audit.prune(tx, self.keystore, moment=self.now()), urgent=True):
            pass

    async def propose(self, document: bytes) -> Proposed:
        """Judge the policy file as it is now: obeyed at once where it only tightens, else it waits for the owner.

        Raises ``ConfigError`` when it cannot be read, ``SpaceError`` when there is not even room to note it; then
        nothing changes.
        """
        return await self.index.write(
            lambda tx: self.ratchet.propose_file(tx, document, moment=self.now()), urgent=True
        )

    def adopt(self, policy: Policy, document: bytes) -> None:
        """Follow the index: decide by this policy from now on."""
        self.policy = policy
        self.document = document
        self.retention = self.retention.under(policy, document)

    async def end_holds(self) -> None:
        """Let the holds go whose end has come, and shorten those that last too long."""
        moment = self.now()
        holds = (await self.index.read(self.snapshot.standing)).holds
        if any(one.has_ended(moment) or one.lasts_too_long(moment) for one in holds):
            await self.index.write(lambda tx: self.freezing.end_holds(tx, moment=moment), urgent=True)
            self.changed()

    def policy_in_force(self) -> Policy:
        """Return the policy that decides; that of a device that leaves its owner allows nothing."""
        return msgspec.structs.replace(self.policy, rules=()) if self.leaving else self.policy

    async def stop_collecting(self) -> None:
        """Take nothing in any more, and upload nothing; returns when that is so.

        Then no log needs a pseudonym, so their keys are destroyed at once: what stores have of them is linked no more.
        """
        self.leaving = True
        await self.end_collecting()
        await asyncio.to_thread(partial(self.keystore.rotate_pseudonyms, (), now_ms=self.now().agent_ms))


@asynccontextmanager
async def opened(config: Config, *, read_clock: ReadClock, patience_s: float = 0.0) -> AsyncIterator[Parts]:
    """Open the parts, finish what a crash cut off, and close them in order.

    ``patience_s`` is how long to wait for a shell command that has them. Raises ``LinkError`` when another process has
    them still, ``ConfigError`` and ``CorruptError`` for what is wrong on disk.
    """
    async with locked(config, patience_s=patience_s):
        if unowned.was_begun(config):
            await asyncio.to_thread(unowned.finish, config)
            raise unowned.unowned(config)
        require_name_given(config)
        keystore = await asyncio.to_thread(partial(Keystore.open, config.keystore, tpm=config.tpm))
        outlives: former.Former | None = None
        with contextlib.ExitStack() as stack:
            stack.callback(keystore.close)
            index = Index(config.index, key=keystore.index_key())
            stack.callback(index.close)
            file = _first_file(config, index)
            parts = _assemble(config, file, keystore=keystore, index=index, read_clock=read_clock)
            await recover(parts, file=file)
            found_over = await index.read(is_over)
            if not found_over:
                yield parts
                await leave(parts)
            outlives = await index.read(lambda tx: _outliving(tx, config))
        if outlives is not None:
            await asyncio.to_thread(unowned.leave, config, outlives)
        if found_over:
            raise unowned.unowned(config)


def _outliving(tx: Tx, config: Config) -> former.Former | None:
    """Return what outlives this owner, where nothing else of it is to stay."""
    row = farewell.read(tx)
    if row is None or row.phase != "over":
        return None
    return former.gathered(tx, folders=unowned.folders(config), before_ms=row.before_ms, random=secrets.token_bytes)


async def recover(parts: Parts, *, file: bytes | None) -> None:
    """Finish at start what a crash cut off, in numbered steps (docs/design.md).

    ``file`` is the policy file, which is taken as it is until an agent has run under it; afterwards ``None``.
    """
    moment = parts.now()

    def begin(tx: Tx) -> bool:
        parts.timeline.keep(tx)
        if file is not None:
            parts.ratchet.propose_file(tx, file, moment=moment)
        former.bind(tx, folders=unowned.folders(parts.config))
        return parts.vault.found_clean(tx)

    # Step 1. If power fails before this is durable, nothing happened; after it, the next start sweeps.
    clean = await parts.index.write(begin, urgent=True)
    # Step 2. If power fails here, or later, the next start comes back to this line.
    await parts.erasure.resume(moment)
    await parts.erasure.retry(moment)
    # Step 3.
    await parts.vault.finish_mending(moment)
    if not clean:
        parts.vault.recover()
    # Step 4.
    await parts.end_holds()
    parts.bundle.recover(moment)
    await parts.commands.resume(moment)


async def leave(parts: Parts) -> None:
    """Stop in order: nobody takes anything in any more."""
    try:
        # Every step of it is one of forgetting, whose cuts the next start finishes.
        await parts.anchor_words(at_once=True)
    except (SpaceError, LinkError) as error:
        _log.warning("an index from before the last word is believed until the next start: %s", error.message)
    # Step 5. If power fails here, the next start sweeps.
    folder = parts.vault.payloads.leave()

    def end(tx: Tx) -> None:
        parts.timeline.keep(tx)
        parts.vault.left_clean(tx, folder)

    # Step 6. If power fails before this is durable, the same; after it, the folder changes no more.
    await parts.index.write(end, urgent=True)


def read_policy_file(config: Config) -> bytes:
    """Return the policy document's bytes; ``ConfigError`` when there is none."""
    hint = "privacy-agent init writes one; without a policy nothing is allowed"
    too_large = f"name the policy in {config.file}: this is none"
    return read_whole(config.policy, max_bytes=DOCUMENT_BYTES, hint=hint, too_large=too_large)


@asynccontextmanager
async def locked(config: Config, *, patience_s: float) -> AsyncIterator[None]:
    """Hold the vault's lock; raises ``LinkError`` when a running agent holds it, ``ConfigError`` where keys are not."""
    require_no_orphan(config)
    if not is_there(config.keystore):
        if is_there(config.state / unowned.FORMER):
            raise unowned.unowned(config)
        raise ConfigError(
            f"{config.state}: this device was not set up",
            hint=config.command("init --owner owner.pub --device NAME"),
        )
    os.close(open_folder(config.state))
    with opened_lock(config) as fd:
        await _take_lock(fd, config, patience_s=patience_s)
        yield


def require_no_orphan(config: Config) -> None:
    """Raise ``ConfigError`` where there is an index without its keystore: new keys would open nothing of it."""
    if is_there(config.index) and not is_there(config.keystore):
        raise ConfigError(
            f"{config.keystore} is missing, and {config.index} is there, which only it opens",
            hint="put that very file back, init does not help; if it is lost, so is what the device held: "
            f"move {config.state} away, then: privacy-agent init",
        )


async def _take_lock(fd: int, config: Config, *, patience_s: float) -> None:
    deadline_s = monotonic_s() + patience_s
    while True:
        try:
            take(fd, config)
        except LinkError:
            if monotonic_s() >= deadline_s:
                raise
            await pause(_LOCK_PAUSE_S)
        else:
            return


def _assemble(config: Config, file: bytes | None, *, keystore: Keystore, index: Index, read_clock: ReadClock) -> Parts:
    parts: Parts
    document, where = _document(config, index, file)
    policy = read_policy(document, file=where)
    timeline = index.read_now(Timeline.load)
    vault = Vault(folder=config.vault, index=index, keystore=keystore)
    trust = Trust()
    snapshot = Snapshot()
    outbox = Outbox(device=config.device, signer=keystore, random=secrets.token_bytes)
    ledger = Ledger(
        device=config.device,
        keystore=keystore,
        trust=trust,
        outbox=outbox,
        random=secrets.token_bytes,
        forget=lambda tx: registry.forget_cameras(tx, named=parts.policy.cameras(), all_deleted=True),
        answer_days=lambda: parts.policy.answer_days,
    )
    loop = asyncio.get_running_loop()

    def changed() -> None:
        parts.changed()

    def finish(tx: Tx, command: str, outcomes: tuple[Outcome, ...], moment: Moment) -> None:
        """Store the receipt on the index's thread; whoever sends it reads behind this transaction's commit."""
        ledger.on_finish(tx, command, bundle.remarked(tx, command, outcomes), moment)
        loop.call_soon_threadsafe(changed)

    bundle = Bundle(device=config.device, vault=vault, index=index, keystore=keystore)

    def adopt(policy: Policy, document: bytes) -> None:
        """Follow on the index's thread, before whoever put it in force is told; then let the flows look again."""
        parts.adopt(policy, document)
        loop.call_soon_threadsafe(parts.rights_changed)

    alarm = Alarm(index=index, trust=trust, outbox=outbox)

    def mended(tx: Tx, object_id: str, moment: Moment) -> None:
        what = f"Object {object_id} was damaged and is whole again: its source still had it."
        alarm.raise_in(tx, "corrupt_object", what, moment, about=object_id, at_once=True)
        tx.then(lambda: loop.call_soon_threadsafe(changed))

    vault.mended = mended

    def stays(tx: Tx, policy: Policy, document: bytes, moment: Moment) -> tuple[Outcome, ...]:
        return parts.retention.under(policy, document).stays(tx, moment)

    ratchet = _ratchet(config, trust=trust, outbox=outbox, alarm=alarm, adopt=adopt, stays=stays)

    def room() -> tuple[int, int]:
        free, total = free_bytes(config.vault)
        return free - RESERVE_BYTES, total

    async def stop_collecting() -> None:
        await parts.stop_collecting()

    async def unpair(cameras: tuple[str, ...]) -> dict[str, enrolment.AtCamera]:
        from agent.app.leaving import leave_all  # noqa: PLC0415 - it works on parts itself

        return await leave_all(parts, cameras)

    def rights_changed(tx: Tx) -> None:
        """Have the flows look again behind this transaction's commit."""
        tx.then(lambda: loop.call_soon_threadsafe(parts.rights_changed))

    purposes = Purposes(policy=lambda: parts.policy, changed=rights_changed)
    freezing = Freezing(vault=vault, outbox=outbox, alert=partial(alarm.raise_in, at_once=True), changed=rights_changed)
    ear = Ear()
    world = World(
        policy=lambda: parts.policy,
        rights=snapshot.of,
        standing=snapshot.standing,
        label=enrolment.label_of,
        acts={
            SetTime: _set_time(timeline, read_clock),
            ProposePolicy: ratchet.act,
            Rectify: rectifying.act(vault),
            EndService: acting(policy=lambda: parts.policy, trust=trust, alert=alarm.raise_in, outbox=outbox),
            **purposes.acts(),
            **freezing.acts(),
        },
        waits={ProposePolicy: ratchet.waits_for},
        tell_waiting={ProposePolicy: ratchet.tell_waiting},
        asked=lambda tx, waiting, selection: _asked(tx, ratchet, waiting, selection),
        approve_file=ratchet.approve,
        approve_policy=ratchet.approve_policy,
        judge_word=ratchet.judge_word,
        settled=ratchet.settle_alert,
        purposes=purposes,
        heard=ear.heard,
        approve_pass=_approve_pass,
        now=lambda: timeline.look(read_clock()),
        changed=changed,
        alert=alarm.raise_in,
        room=room,
        authorities="" if config.authorities is None else str(config.authorities),
        end_collecting=stop_collecting,
        unpair=unpair,
    )
    erasure = Erasure(vault=vault, index=index, keystore=keystore, finish=finish, judge=sparing(world))
    commands = Commands(
        device=config.device,
        index=index,
        keystore=keystore,
        vault=vault,
        erasure=erasure,
        bundle=bundle,
        trust=trust,
        outbox=outbox,
        ledger=ledger,
        world=world,
    )
    parts = Parts(
        config=config,
        policy=policy,
        document=document,
        keystore=keystore,
        index=index,
        timeline=timeline,
        vault=vault,
        trust=trust,
        outbox=outbox,
        erasure=erasure,
        bundle=bundle,
        commands=commands,
        ratchet=ratchet,
        retention=Retention(
            index=index,
            vault=vault,
            erasure=erasure,
            snapshot=snapshot,
            policy=policy,
            document=document,
            lost=partial(_tell_lost, alarm, has_store=config.broker is not None),
        ),
        snapshot=snapshot,
        read_clock=read_clock,
        ear=ear,
        changed=lambda: None,
        leaving=index.read_now(is_leaving),
        service_ended=index.read_now(service.ended),
        freezing=freezing,
    )
    return parts


def _tell_lost(alarm: Alarm, tx: Tx, count: int, rules: tuple[str, ...], moment: Moment, *, has_store: bool) -> None:
    """Tell the owner what goes though no store has it; where there is no line to any, nothing was to be sent."""
    if has_store:
        objects = "1 object goes" if count == 1 else f"{count} objects go"
        what = f"{objects} that the policy wants uploaded first, and that no store has: by {', '.join(rules)}."
        alarm.raise_in(tx, "removed_unsent", what, moment)


def _set_time(timeline: Timeline, read_clock: ReadClock) -> Act:
    def set_time(tx: Tx, _key: Key, command: Command, _moment: Moment) -> tuple[Outcome, ...]:
        seconds = cast("SetTime", command.request).now
        timeline.sign_in(tx, read_clock(), now_ms=seconds * MS_PER_S)
        return ()

    return set_time


def _first_file(config: Config, index: Index) -> bytes | None:
    """Return the policy file where it is still taken as it is: no agent has run under the document in force.

    Whoever opens the parts of another device has nothing to do with the file: the running agent alone lets it propose
    (``agent/app/proposing.py``). Raises ``ConfigError`` where there is none and one is needed.
    """
    in_force = index.read_now(force.in_force)
    if in_force is None and index.read_now(is_leaving):  # it parted: nothing is taken in under any policy
        return None
    return None if in_force is not None and in_force.bound else read_policy_file(config)


def _document(config: Config, index: Index, file: bytes | None) -> tuple[bytes, str]:
    """Return the document in force, and where it lies; on a device that never opened one the file's."""
    in_force = index.read_now(force.in_force)
    if in_force is not None:
        return in_force.document, f"{config.index}: the policy in force"
    if file is None:
        return NOTHING_ALLOWED, "the policy of a device that parted from its owner"
    return file, str(config.policy)


def _ratchet(
    config: Config,
    *,
    trust: Trust,
    outbox: Outbox,
    alarm: Alarm,
    adopt: Callable[[Policy, bytes], None],
    stays: Stays,
) -> Ratchet:
    def kids(tx: Tx) -> tuple[str, ...]:
        keys = trust.key_set(tx)
        return () if keys is None else tuple(key.kid for key in keys.keys)

    return Ratchet(
        read=lambda raw: read_policy(raw, file="the policy"),
        read_sent=lambda raw: read_new_policy(raw, file="the policy"),
        read_file=lambda raw: read_new_policy(raw, file=str(config.policy)),
        say=partial(alarm.raise_in, at_once=True),
        hush=lambda tx, code, moment: outbox.clear_alert(tx, cast("AlertCode", code), moment=moment),
        adopt=adopt,
        keys=kids,
        waiting=lambda tx: tuple(one for one, _by in waiting_documents(trust, tx)),
        stays=stays,
    )


def waiting_documents(trust: Trust, tx: Tx) -> tuple[tuple[Waiting, str], ...]:
    """Return the documents of commands that wait for an approve of one client or several, and who signed each."""
    rows = (*trust.waiting_for(tx, "policy_loosens"), *trust.waiting_for(tx, "approvals_missing"))
    found = []
    for row in rows:
        request = command_of(row).request
        if isinstance(request, ProposePolicy):
            found.append((Waiting(row.jti, read_unverified_policy(request.policy).raw), row.kid))
    return tuple(found)


def _asked(tx: Tx, ratchet: Ratchet, waiting: str, selection: str) -> str:
    """Return the verb as which a question that the device itself asks counts: who may answer it, and how many must."""
    if rights.asks(tx, waiting, selection):
        return "delete"
    return "policy" if ratchet.asks(tx, waiting, selection) else ""


def _approve_pass(tx: Tx, waiting: str, selection: str, key: Key) -> bool:
    return rights.approve(tx, waiting=waiting, selection=selection, by=Requester(role=key.role, kid=key.kid))
