"""Retention: what the policy no longer wants kept goes by the same erasure as a command's.

One pass: walk each rule's set oldest first, ask ``policy.decide`` about each object, stop at the first that is not due
(ages and ranks only fall from there on), begin to erase what may go: from then on nobody is given it. The walk reads
page by page and lets others between: what came or went meanwhile only makes it keep more. The key goes with the next
change of keys, whoever wants that: one rewrites the table of branch keys and both copies of the keystore, too much for
each object by itself. Retention wants one within the policy's ``forget_within``, when whole groups die, and when room
is needed. What consent was withdrawn to while something kept it, and its owner cannot read, goes once nothing keeps it
any more; what its owner could read stays for its time, whatever keys its owner has by then. Under disk pressure the
sets of low priority are walked first, and what is chosen, or was begun before, counts as freed. Only this device's copy
goes: how long a store keeps what was uploaded is the store's rule, and an owner's delete still reaches it.

A pass that would remove much more than was to be expected (``agent/policy/forecast.py``: a policy edited by mistake, a
clock that leapt and was believed) asks about what surprises: see ``agent/rights/passing.py``. What was expected goes
all the same, also while the question stands, so that a maximum age stays one. Under a policy that a backend put in
force alone, by tightening, what surprises is seen from the owner's last policy and counted over all passes: many small
steps ask as one large one does, and an owner who never answers keeps things as long as that policy said.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from agent import rights
from agent.bundle import Lying
from agent.erasure import PART, Begun, Erasure
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Aged, Moment, Object, Outcome, Requester, new_id
from agent.policy import (
    FORECAST_MS,
    Allow,
    Before,
    Conditions,
    Decision,
    Forecast,
    Policy,
    Refuse,
    Rights,
    Rule,
    Subject,
    Turnover,
    decide,
)
from agent.rights import force
from agent.rights.freezing import Freezes
from agent.rights.snapshot import Snapshot, rights_of
from agent.vault import Total, Totals, Vault

_log = logging.getLogger(__name__)

DEVICE: Final = Requester(role="device")

FORGET_AHEAD_MS: Final = 120_000
"""Two passes: a rotation that would be late at the next one but one is done now."""

ASK_FROM: Final = 20
"""A pass that surprises by fewer objects than this never asks."""

PASS_MAX: Final = 10_000
"""Objects that one pass removes at most; the next goes on."""

ASK_MAX: Final = 100_000
"""Objects that one approve covers at most: bounds what is frozen; the next pass asks for the rest."""

DROP_STEP: Final = 100
DROP_STEP_MAX_BYTES: Final = 1 << 30
"""With ``on_full = "drop-oldest"`` a hundredth of the disk, and no more than that, is made free ahead of what comes."""

LARGEST_REFUSED: Final = 4
"""The part of the disk, a quarter, that is made free at most for one recording."""

EXEMPT_MAX: Final = 20_000
"""Objects beyond their limits, the oldest of each rule's set, an equal part of each, among which a receipt names those
that stay. They are looked at in the transaction of the receipt, 15 µs each: everybody else waits for it."""

_ABOVE_ALL: Final = 2**63 - 1

KEPT_MAX: Final = 10_000
"""Objects of one set that a pass looks past (held, waiting for their upload) before it leaves the set for now. Those
at its old end that are restricted or held do not count: they are looked at once, and passed by while they stand."""


class Disk(msgspec.Struct, frozen=True):
    """Room on the vault's file system, in bytes; (0, 0) asks for no floor.

    Below ``enough_bytes`` free it is short of room for new recordings, and then ``wanted_bytes`` (else 0) must be free
    before they are taken in again. ``step_bytes`` is worth a rotation of its own.
    """

    free_bytes: int = 0
    total_bytes: int = 0
    wanted_bytes: int = 0
    enough_bytes: int = 0
    step_bytes: int = 0

    @classmethod
    def seen(cls, free_bytes: int, total_bytes: int, *, reserve_bytes: int, refused_bytes: int) -> "Disk":
        """Judge a disk of which ``reserve_bytes`` are never filled, and that had no room for a recording so large.

        What has to go goes in steps, so that the keys change once for many recordings. A recording of more than
        ``LARGEST_REFUSED`` of the disk drives nothing out: a file may claim any size.
        """
        step = min(total_bytes // DROP_STEP, DROP_STEP_MAX_BYTES)
        enough = reserve_bytes + max(step, min(refused_bytes, total_bytes // LARGEST_REFUSED))
        wanted = 0 if free_bytes > enough else enough + step
        return cls(free_bytes, total_bytes, wanted, enough, step)


class Due(msgspec.Struct, frozen=True):
    """An object that may go, and the rule that ends it."""

    id: str
    rule: str
    expected: bool
    size_bytes: int
    unsent: bool = False
    """Its policy wanted it at a store first, and no store has it."""


class Exempt(msgspec.Struct, frozen=True):
    """An object that is over a limit, and stays because it is held or restricted; a restriction has no end."""

    id: str
    rule: str
    reason: str
    until_ms: int | None
    size_bytes: int


class _Reached(msgspec.Struct, frozen=True):
    """How far a look at a rule's set has come: up to which number, and how much that is."""

    upto: int = 0
    objects: int = 0
    bytes: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass would do. ``kept`` counts objects that are over a limit and stay, by reason.

    ``due`` holds the first of ``count`` objects that may go, as many as were asked for, and of the kind that was asked
    for; ``surprising`` of all of them nobody could expect. Not ``whole``: more of that kind may be due. ``surprised``
    went so before, under a policy that is not the ``owners``.
    """

    due: tuple[Due, ...]
    count: int
    surprising: int
    kept: dict[str, int]
    objects: int
    largest_pass: float
    whole: bool
    surprised: int = 0
    owners: bool = True

    @property
    def overlarge(self) -> bool:
        """Whether the pass must ask first."""
        surprising = self.surprising + self.surprised
        if not self.surprising or (self.owners and surprising < ASK_FROM):
            return False
        return surprising > self.largest_pass * (self.objects + self.surprised)


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass did: how many went, or ``waiting`` with the hash that the owner is asked to approve."""

    waiting: str = ""
    selection: str = ""
    count: int = 0
    kept: dict[str, int] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an object is still here: the decision, its rule, and the set that it is counted in."""

    decision: Decision
    rule: Rule | None
    rank: int
    newer_bytes: int


@dataclass(slots=True)
class _Frozen:
    """The old end of a set, all of which is restricted or held: up to which number, how much it is, by reason.

    It is as it was while ``stands`` is: what stands is the same, and nobody but retention has removed anything.
    """

    stands: tuple[str, int]
    upto: int = 0
    objects: int = 0
    bytes: int = 0
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, item: Aged, reason: str) -> None:
        """Take in the next object, unless somebody else who walks beside has."""
        if item.n <= self.upto:
            return
        self.upto = item.n
        self.objects += 1
        self.bytes += item.size_bytes
        self.kept[reason] += 1


@dataclass(slots=True)
class _Freed:
    """What the plan has chosen so far; it counts as room for what is judged after it."""

    bytes: int


Lost = Callable[[Tx, int, tuple[str, ...], Moment], object]
"""Told how many objects go that were to be uploaded first and were not, and the rules that end them."""


def _nobody_told(_tx: Tx, _count: int, _rules: tuple[str, ...], _moment: Moment) -> None:
    """Nobody asked to be told."""


class Retention:
    """Plans and carries out passes under one policy; time and room are arguments."""

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        snapshot: Snapshot,
        policy: Policy,
        document: bytes,
        lost: Lost = _nobody_told,
    ) -> None:
        self._index = index
        self._snapshot = snapshot
        self._frozen: dict[str, _Frozen] = {}
        self._vault = vault
        self._erasure = erasure
        self._policy = policy
        self._lost = lost
        self._digest = hashlib.sha256(document).hexdigest()

    def under(self, policy: Policy, document: bytes) -> "Retention":
        """Return what passes under another policy over the same objects."""
        return Retention(
            index=self._index,
            vault=self._vault,
            erasure=self._erasure,
            snapshot=self._snapshot,
            policy=policy,
            document=document,
            lost=self._lost,
        )

    async def run_pass(self, moment: Moment, disk: Disk) -> Passed:
        """Carry out one pass, or freeze it and ask. If power fails, the next start's pass finds the same things due."""
        passed = await self._pass(moment, disk)
        if await self._index.read(lambda tx: self._must_forget(tx, moment, disk)):
            await self._erasure.resume(moment)
        return passed

    async def _pass(self, moment: Moment, disk: Disk) -> Passed:
        asked, approved = await self._index.read(self._asked)
        if approved:
            await self._begin(approved, moment)
            await self._note(moment, whole=len(approved) < ASK_MAX, approved=True)
            return Passed(count=len(approved))
        await self._begin(await self.withdrawn(moment), moment)
        if asked is None:
            plan = await self.plan(moment, disk)
            if not plan.overlarge:
                await self._tell_lost(plan, moment)
                begun = await self._begin(_items(plan), moment)
                surprised = sum(not one.expected for one in plan.due)
                await self._note(moment, whole=plan.whole and begun, surprised=surprised)
                return Passed(count=len(plan.due), kept=plan.kept)
            surprising = await self.plan(moment, disk, listed=ASK_MAX, only=False)
            asked = await self._index.write(partial(self._ask, plan=surprising), urgent=True)
        expected = await self.plan(moment, disk, only=True)
        await self._tell_lost(expected, moment)
        begun = await self._begin(_items(expected), moment)
        await self._note(moment, whole=expected.whole and begun, asking=True)
        return msgspec.structs.replace(asked, kept=expected.kept)

    async def plan(self, moment: Moment, disk: Disk, *, listed: int = PASS_MAX, only: bool | None = None) -> Plan:
        """Say what a pass would remove now, naming the first ``listed``; changes nothing (``--dry-run`` shows it).

        With ``only`` just what is expected is named, or just what surprises.
        """
        totals, begun, forecast, surprised = await self._index.read(self._before)
        due: list[Due] = []
        count, surprising, named = 0, 0, 0
        kept: Counter[str] = Counter()
        freed = _Freed(0 if begun is None else begun.bytes)
        for rule in sorted(self._policy.rules, key=lambda rule: rule.priority):
            passed_over = 0
            async for item, decision in self._walk(rule, moment=moment, disk=disk, freed=freed, kept=kept):
                if isinstance(decision, Refuse):
                    kept[decision.reason] += 1
                    continue
                expected = forecast.expects(
                    rule, decision.rule, taken_in_ms=item.taken_in_ms, size_bytes=item.size_bytes
                )
                count += 1
                surprising += not expected
                if only in {None, expected}:
                    named += 1
                    if len(due) < listed:
                        unsent = rule.upload == "before-expiry" and item.state != "uploaded"
                        due.append(Due(item.id, decision.rule, expected, item.size_bytes, unsent))
                if expected or not only:
                    freed.bytes += item.size_bytes
                else:
                    passed_over += 1
                    if passed_over > KEPT_MAX:  # what surprises is younger than what is expected, but for turnover
                        break
        return Plan(
            due=tuple(due),
            count=count,
            surprising=surprising,
            kept=dict(kept),
            objects=totals.all.objects,
            largest_pass=self._policy.largest_pass,
            whole=named == len(due),
            surprised=surprised or 0,
            owners=surprised is None,
        )

    async def exempt(self, moment: Moment, disk: Disk, *, listed: int) -> tuple[Exempt, ...]:
        """Name the first that would go now if they were not held or restricted, oldest first within each rule's set."""
        found: list[Exempt] = []
        for rule in sorted(self._policy.rules, key=lambda rule: rule.priority):
            at: _Reached | None = _Reached()
            while at is not None and len(found) < listed:
                look = partial(self._exempt, rule=rule, at=at, moment=moment, disk=disk)
                some, at = await self._index.read(look)
                found += some
        return tuple(found[:listed])

    def stays(self, tx: Tx, moment: Moment) -> tuple[Outcome, ...]:
        """Return the same for a receipt: by age, number and size, for the room on the disk is another's a moment later.

        Looks at ``EXEMPT_MAX`` in all, to the end of a page of each rule's set, and at nothing where nothing stands.
        """
        standing = self._snapshot.standing(tx)
        rules = self._policy.rules if standing.holds or standing.restrictions else ()
        found: list[Exempt] = []
        for rule in rules:
            at: _Reached | None = _Reached()
            while at is not None and at.objects < EXEMPT_MAX // len(rules):
                some, at = self._exempt(tx, rule=rule, at=at, moment=moment, disk=Disk())
                found += some
        return tuple(
            Outcome(id=one.id, result="held" if one.reason == "held" else "restricted")
            for one in sorted(found, key=lambda one: one.id)
        )

    def _exempt(
        self, tx: Tx, *, rule: Rule, at: _Reached, moment: Moment, disk: Disk
    ) -> tuple[list[Exempt], _Reached | None]:
        """Name what of the next page stays, and return how far that is; ``None`` where nothing behind it is due."""
        total, page, standing = self._page(tx, rule, at.upto)
        found: list[Exempt] = []
        for item in page:
            judge = partial(
                self._judge,
                item,
                moment=moment,
                disk=disk,
                rank=total.objects - at.objects - 1,
                newer_bytes=total.bytes - at.bytes,
            )
            at = _Reached(item.n, at.objects + 1, at.bytes + item.size_bytes)
            limit, kept = judge(Rights()), judge(rights_of(standing, item))
            if isinstance(limit, Refuse):
                if limit.reason == "not_due":
                    return found, None
            elif isinstance(kept, Refuse):
                found.append(Exempt(item.id, limit.rule, kept.reason, kept.until_ms, item.size_bytes))
        return found, at if page else None

    async def withdrawn(self, moment: Moment) -> tuple[tuple[str, str], ...]:
        """Return (object, rule) of what is for no purpose any more and nobody is left to read: kept by nothing now.

        Its owner has said so; it is no surprise, and is in no forecast.
        """
        due: list[tuple[str, str]] = []
        above = 0
        while len(due) < PASS_MAX:
            page = await self._index.read(partial(self._for_nothing, above=above))
            if not page:
                break
            for n, item, rights_now in page:
                decision = self._judge(item, rights_now, moment=moment, disk=Disk(), rank=0, newer_bytes=0)
                due += [(item.id, decision.rule)] if isinstance(decision, Allow) else []
                above = n
        return tuple(due)

    def _for_nothing(self, tx: Tx, above: int) -> tuple[tuple[int, Object, Rights], ...]:
        owner = (*self._policy.owner_recipients(), *force.owners_before(tx))
        found = self._vault.for_nothing(tx, owner=owner, above=above)
        return tuple((n, item, self._snapshot.of(tx, item)) for n, item in found)

    def _before(self, tx: Tx) -> tuple[Totals, Begun | None, Forecast, int | None]:
        """Return what is here, begun and expected, and what went unexpected under a policy that is not the owner's."""
        last = rights.last_pass(tx)
        before, arrived = None, {}
        if last is not None:
            before = Before(passed_ms=last.passed_ms, ages=last.ages)
            sets = self._vault.arrived(tx, since_ms=last.since_ms)
            arrived = {name: Turnover(total.objects, total.bytes) for name, total in sets.items()}
        forecast = Forecast(self._policy, before, arrived=arrived)
        surprised = None if _is_owners(tx) else 0 if last is None else last.surprised
        return self._vault.totals(tx), self._erasure.begun(tx), forecast, surprised

    def next_due_ms(self, tx: Tx) -> int | None:
        """Return the agent time at which the oldest object of any set reaches its age; ``None`` when nothing will."""
        due: list[int] = []
        for rule in self._policy.rules:
            if rule.keep.age_ms is None:
                continue
            oldest = self._vault.oldest(tx, self._cameras(rule, self._vault.totals(tx)), rule.category, limit=1)
            due += [item.taken_in_ms + rule.keep.age_ms for item in oldest[:1]]
        return min(due, default=None)

    def forgets_by_ms(self, tx: Tx) -> int | None:
        """Return the agent time by which the keys of what is begun are to be destroyed; ``None`` when nothing is."""
        return self._erasure.forgets_by_ms(tx, self._policy.forget_within_ms)

    def _must_forget(self, tx: Tx, moment: Moment, disk: Disk) -> bool:
        begun = self._erasure.begun(tx)
        if begun is None:
            return False
        late_ms = begun.since_ms + self._policy.forget_within_ms - FORGET_AHEAD_MS
        floor = max((rule.keep.floor_bytes(disk.total_bytes) for rule in self._policy.rules), default=0)
        return (
            moment.agent_ms >= late_ms
            or begun.whole_groups
            or (disk.free_bytes < disk.enough_bytes and begun.bytes > 0)
            or (disk.free_bytes < floor and begun.bytes >= disk.step_bytes)
        )

    def ends_export(self, lying: Lying, freed_bytes: int, *, moment: Moment, disk: Disk) -> str | None:
        """Return the rule by which an export has to go now, after others made so much room; ``None`` when it stays."""
        decision = decide(
            self._policy,
            "expire",
            requester=DEVICE,
            # It is no upload's matter: nothing has to be sent first.
            subject=Subject(camera="", category="export", taken_in_ms=lying.made_ms, state="uploaded"),
            rights=Rights(),
            conditions=Conditions(
                moment=moment,
                free_bytes=disk.free_bytes + freed_bytes,
                total_bytes=disk.total_bytes,
                wanted_bytes=disk.wanted_bytes,
                rank=lying.rank,
                newer_bytes=lying.newer_bytes,
            ),
        )
        return decision.rule if isinstance(decision, Allow) else None

    def outlook(self, tx: Tx, item: Object, moment: Moment) -> Decision:
        """Say what age alone will do to an object, or what keeps it; cheap, for long lists."""
        rights_now = self._snapshot.of(tx, item)
        return self._judge(item, rights_now, moment=moment, disk=Disk(), rank=0, newer_bytes=0)

    def explain(self, tx: Tx, item: Object, *, moment: Moment, disk: Disk) -> Explanation:
        """Say why an object is still here, until when, and which rule will end it."""
        rule = self._policy.rule_for(item.camera, item.category)
        rank, newer_bytes = 0, item.size_bytes
        if rule is not None:
            newer = self._vault.newer_than(tx, item.id, self._cameras(rule, self._vault.totals(tx)), item.category)
            rank, newer_bytes = newer.objects, newer.bytes + item.size_bytes
        rights_now = self._snapshot.of(tx, item)
        if rights_now.restricted:  # a restriction has no end: it keeps what it covers longer than any hold
            rights_now = msgspec.structs.replace(rights_now, hold=None)
        decision = self._judge(item, rights_now, moment=moment, disk=disk, rank=rank, newer_bytes=newer_bytes)
        return Explanation(decision=decision, rule=rule, rank=rank, newer_bytes=newer_bytes)

    async def _walk(
        self, rule: Rule, *, moment: Moment, disk: Disk, freed: _Freed, kept: Counter[str]
    ) -> AsyncIterator[tuple[Aged, Decision]]:
        """Yield (object, decision) of a rule's set, oldest first, down to the first that is simply not due.

        What is passed by, because it was seen to be restricted or held, is counted in ``kept`` alone.
        """
        frozen = await self._index.read(partial(self._old_end, rule=rule))
        kept.update(frozen.kept)
        walked, walked_bytes, cursor, refused, is_old_end = frozen.objects, frozen.bytes, frozen.upto, 0, True
        while True:
            total, page, standing = await self._index.read(partial(self._page, rule=rule, above=cursor))
            if not page:
                return
            for item in page:
                # Of those that were walked some may be gone: then it is really more, and this one is kept the sooner.
                walked += 1
                room = msgspec.structs.replace(disk, free_bytes=disk.free_bytes + freed.bytes)
                decision = self._judge(
                    item,
                    rights_of(standing, item),
                    moment=moment,
                    disk=room,
                    rank=total.objects - walked,
                    newer_bytes=total.bytes - walked_bytes,
                )
                walked_bytes += item.size_bytes
                is_frozen = isinstance(decision, Refuse) and decision.reason in {"held", "restricted"}
                is_old_end = is_old_end and is_frozen and standing.state == frozen.stands[0]
                if isinstance(decision, Refuse):
                    if is_old_end:
                        frozen.add(item, decision.reason)
                    else:
                        refused += 1
                    if decision.reason == "not_due" or refused > KEPT_MAX:
                        return
                yield item, decision
            cursor = page[-1].n

    def _old_end(self, tx: Tx, rule: Rule) -> _Frozen:
        """Return what is known of the old end of a rule's set; all of it where all cameras of it are frozen."""
        standing, totals = self._snapshot.standing(tx), self._vault.totals(tx)
        stands = (standing.state, self._erasure.commanded)
        known = self._frozen.get(rule.scope)
        if known is None or known.stands != stands:
            self._frozen[rule.scope] = known = _Frozen(stands)
        cameras = self._cameras(rule, totals)
        over_all = [self._snapshot.of_set(tx, camera, rule.category) for camera in cameras]
        if not over_all or not all(one.hold is not None or one.restricted for one in over_all):
            return known
        whole = _Frozen(stands, upto=_ABOVE_ALL)
        for camera, one in zip(cameras, over_all, strict=True):
            whole.kept["held" if one.hold is not None else "restricted"] += totals.sets[camera, rule.category].objects
        return whole

    def _page(self, tx: Tx, rule: Rule, above: int) -> tuple[Total, tuple[Aged, ...], Freezes]:
        """Return how much a rule's set holds now, its oldest above a number, and what is frozen now."""
        totals = self._vault.totals(tx)
        cameras = self._cameras(rule, totals)
        sets = [totals.sets[camera, rule.category] for camera in cameras]
        total = Total(sum(one.objects for one in sets), sum(one.bytes for one in sets))
        return total, self._vault.oldest(tx, cameras, rule.category, above=above), self._snapshot.standing(tx)

    def _judge(
        self,
        item: Aged | Object,
        rights_now: Rights,
        *,
        moment: Moment,
        disk: Disk,
        rank: int,
        newer_bytes: int,
    ) -> Decision:
        return decide(
            self._policy,
            "expire",
            requester=DEVICE,
            subject=Subject.of(item),
            rights=rights_now,
            conditions=Conditions(
                moment=moment,
                free_bytes=disk.free_bytes,
                total_bytes=disk.total_bytes,
                wanted_bytes=disk.wanted_bytes,
                rank=rank,
                newer_bytes=newer_bytes,
            ),
        )

    def _cameras(self, rule: Rule, totals: Totals) -> list[str]:
        """Return the cameras whose objects of its category a rule decides about, of those that there is anything of."""
        return [
            camera
            for camera, category in totals.sets
            if category == rule.category and self._policy.rule_for(camera, category) == rule
        ]

    async def _tell_lost(self, plan: Plan, moment: Moment) -> None:
        """Have told what goes though no store has it, before it does: if power fails behind this, it goes then."""
        unsent = [one for one in plan.due if one.unsent]
        if unsent:
            rules = tuple(dict.fromkeys(one.rule for one in unsent))
            _log.warning("retention ends %s objects that no store has: %s", len(unsent), ", ".join(rules))
            with suppress(SpaceError):  # what goes gives room back
                await self._index.write(lambda tx: self._lost(tx, len(unsent), rules, moment), urgent=True)

    async def _begin(self, items: tuple[tuple[str, str], ...], moment: Moment) -> bool:
        """Begin to erase; tell whether there was room to begin all."""
        try:
            for rule in sorted({rule for _object_id, rule in items}):
                ids = [object_id for object_id, why in items if why == rule]
                for part in range(0, len(ids), PART):  # in the order of arrival: neighbours share a group's key
                    await self._erasure.begin(ids[part : part + PART], rule=rule, moment=moment)
        except SpaceError:
            await self._erasure.resume(moment)  # what was begun gives room back; the next pass begins the rest
            return False
        return True

    async def _note(
        self, moment: Moment, *, whole: bool, asking: bool = False, approved: bool = False, surprised: int = 0
    ) -> None:
        note = partial(
            self._note_pass, moment=moment, whole=whole, asking=asking, approved=approved, surprised=surprised
        )
        await self._index.write(note, urgent=True)

    def _note_pass(self, tx: Tx, *, moment: Moment, whole: bool, asking: bool, approved: bool, surprised: int) -> None:
        """Note the pass; only a whole one makes what its policy wants gone expected from now on.

        Of a policy that is not the owner's only one that the owner approved does.

        While a question stands what is expected moves on with the time that really passes, a day in a pass at most: a
        clock that leapt while nobody looked does not answer it.
        """
        now_ms = moment.agent_ms
        ages = {rule.scope: rule.keep.age_ms for rule in self._policy.rules if rule.keep.age_ms is not None}
        last = rights.last_pass(tx)
        if last is None:
            last = rights.Pass(ages=ages, passed_ms=now_ms, since_ms=now_ms)
        if asking:
            passed_ms = last.passed_ms + min(now_ms - last.since_ms, FORECAST_MS) if whole else last.passed_ms
            told = msgspec.structs.replace(last, passed_ms=passed_ms)
        else:
            agreed = approved or _is_owners(tx)
            told = rights.Pass(
                ages=ages if (whole and agreed) or last.ages is None else last.ages,
                passed_ms=now_ms,
                since_ms=last.since_ms,
                surprised=0 if agreed else last.surprised + surprised,
            )
        rights.keep_pass(tx, msgspec.structs.replace(told, since_ms=now_ms) if whole else told)

    def _asked(self, tx: Tx) -> tuple[Passed | None, tuple[tuple[str, str], ...]]:
        """Return the question that stands under this policy, or what was approved.

        The question stays the same while any of its objects is here and the policy is: an answer must find it.
        """
        last = rights.last_pass(tx)
        if last is None or not last.waiting:
            return None, ()
        if last.approved:
            return None, rights.frozen(tx)
        if last.asked_by != self._digest or not rights.frozen_remains(tx):
            return None, ()
        return Passed(waiting=last.waiting, selection=last.selection, count=rights.frozen_count(tx)), ()

    def _ask(self, tx: Tx, plan: Plan) -> Passed:
        selection = rights.freeze(tx, _items(plan))
        last = rights.last_pass(tx)
        assert last is not None, "before the first pass nothing surprises"  # noqa: S101 - a bug, not input
        if last.selection != selection:
            last = msgspec.structs.replace(
                last, waiting=new_id(), selection=selection, approved=False, asked_by=self._digest
            )
        rights.keep_pass(tx, last)
        return Passed(waiting=last.waiting, selection=selection, count=len(plan.due))


def _is_owners(tx: Tx) -> bool:
    """Tell whether the owner brought or approved the policy in force; one that came as a file counts as such."""
    now = force.in_force(tx)
    return now is None or now.owners


def _items(plan: Plan) -> tuple[tuple[str, str], ...]:
    return tuple((due.id, due.rule) for due in plan.due)
