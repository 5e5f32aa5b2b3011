"""The flow of a scrub: a pass goes over all objects by arrival, in steps whose numbers docs/design.md has.

Rules:

- how far a pass is lies in the index, so a restart goes on where it was; what comes meanwhile is the next pass's;
- what was read wrong is read once more, so that a fault of the memory condemns nothing on the medium;
- what cannot be read is in doubt, and in quarantine when a second look an hour later cannot read it either;
- where hardly any can be read it is the medium as a whole that fails: that is told, and no object is judged;
- an object in quarantine is looked at in each pass like any other, and leaves it when its bytes are right again;
- one transaction says what was found of an object, and whoever is to know it is told in that same one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from agent import damage
from agent.clock import MS_PER_S, monotonic_s, pause, rfc3339_ms
from agent.damage import Damage
from agent.errors import LinkError, SpaceError
from agent.index import Tx
from agent.index import scrub as rows
from agent.model import Moment, Object
from agent.outbox import RaiseIn
from agent.scrub.budget import OPEN_BYTES, Budget
from agent.scrub.look import PIECE_BYTES, Look, Seen
from agent.scrub.settings import ScrubSettings
from agent.vault import Vault

PAGE: Final = 64
"""Objects that are asked of the index at once."""

NOTE_S: Final = 60.0
"""How often it is noted how far a pass is: a power cut has that much read twice."""

SECOND_LOOK_MS: Final = 3_600_000
"""What could not be read is looked at once more so much later: a bus resets, or a disk spins up, in less."""

MEDIUM_FAILS: Final = 16
"""So many in a row that cannot be read are a reason to ask whether the medium fails, or is away."""

WITNESSES: Final = 16
WITNESSES_SHARE: Final = 4
"""It does unless a quarter of so many objects, spread over all, can be read: then each that cannot is judged by itself.
New ones are too few to speak for a medium that is not mounted."""

SUSPECTS_MAX: Final = 1_024
FIRST_S: Final = 600.0
"""A start has other things to do."""

IDLE_S: Final = 3_600.0
"""How often it is looked whether something is due."""

LISTED_MAX: Final = 50
"""Objects in quarantine that one answer names."""

_UNREAD: Final = frozenset({"missing", "unreadable"})

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told how many objects were looked at, of how many."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """The pass that is under way (``began_ms`` 0: none is), and the last whole one; times in agent milliseconds."""

    began_ms: int = 0
    upto: int = 0
    at: int = 0
    objects: int = 0
    bytes: int = 0
    damaged: int = 0
    last_began: int = 0
    last_ended: int = 0
    last_objects: int = 0
    last_bytes: int = 0
    last_damaged: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at, and how many are damaged, in doubt or whole again; whether the pass reached its end."""

    objects: int
    bytes: int
    damaged: int
    doubted: int
    mended: int
    whole: bool


class _Item(msgspec.Struct, frozen=True):
    n: int
    id: str
    size_bytes: int
    payload_sha256: bytes
    is_replaced: int  # between S5 and S7 its hash is of what is not in its place yet


def _nobody(_ids: tuple[str, ...]) -> None:
    return None


def _never() -> bool:
    return False


def _begins(_before: Pass) -> bool:
    return True


def _never_begins(_before: Pass) -> bool:
    return False


def _no_progress(_done: int, _total: int) -> None:
    return None


class Scrub:
    """Looks over one vault; belongs to the running event loop.

    ``quarantined`` is called on the loop with the ids of what was just put in quarantine, ``busy`` tells whether others
    are at work, ``alert`` raises the owner's alert in the transaction of what it tells.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        settings: ScrubSettings,
        now: Callable[[], Moment],
        alert: RaiseIn,
        busy: Callable[[], bool] = _never,
        quarantined: Callable[[tuple[str, ...]], None] = _nobody,
        clock_s: Callable[[], float] = monotonic_s,
        wait: Callable[[float], Awaitable[None]] = pause,
    ) -> None:
        self._vault = vault
        self._index = vault.index
        self._settings = settings
        self._now = now
        self._alert = alert
        self._quarantined = quarantined
        self._clock_s = clock_s
        self._wait = wait
        self._budget = Budget(settings.rate_bytes_s, busy=busy, clock_s=clock_s, wait=wait)
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._suspects: dict[str, None] = {}
        self._pass: Pass | None = None
        self._ahead: list[_Item] = []
        self._in_a_row: list[tuple[_Item, Seen]] = []
        self._noted_s = clock_s()
        self._failed_until_ms = 0
        self._right_again = 0

    # -- running

    async def run(self) -> None:
        """Look over everything whenever that is due, until cancelled."""
        await self._wait(FIRST_S)
        for object_id in await self._index.read(_unread):  # what was away may be back with this start
            self.suspect(object_id)
        while True:
            self._news.clear()
            await self.do_what_is_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._news.wait()

    def suspect(self, object_id: str) -> None:
        """Have an object looked at soon: whoever read it found it wrong."""
        if len(self._suspects) < SUSPECTS_MAX:
            self._suspects[object_id] = None
            self._news.set()

    async def do_what_is_due(self) -> None:
        """Look at suspects, at what is in doubt for long enough, and on in the pass, until nothing more is due."""
        try:
            while True:
                while self._suspects:
                    object_id = next(iter(self._suspects))
                    await self.look_at((object_id,))
                    self._suspects.pop(object_id, None)
                await self._second_looks()
                if self._now().agent_ms < self._failed_until_ms or not await self._advance(begins=self._is_due):
                    break
        except (LinkError, SpaceError) as error:
            _log.warning("the scrub goes on later: %s", error.message)

    def _is_due(self, state: Pass) -> bool:
        every_ms = int(self._settings.every_s * MS_PER_S)
        return every_ms > 0 and (state.last_began == 0 or self._now().agent_ms - state.last_began >= every_ms)

    # -- for who asks

    async def whole_pass(self, progress: Progress = _no_progress) -> Told:
        """Bring the pass that is under way, or a new one, to its end; whoever waits for it keeps to the rate."""
        self._budget.hurried += 1
        before = self._right_again
        try:
            progress(0, 1)
            goes_on = await self._advance()
            while goes_on:
                state = await self._state()
                progress(state.at, max(1, state.upto))
                goes_on = await self._advance(begins=_never_begins)  # the ordinary run may have ended it meanwhile
        finally:
            self._budget.hurried -= 1
        state = await self._state()
        whole = state.began_ms == 0
        damaged, doubted = await self._index.read(lambda tx: (damage.count(tx), damage.count(tx, sure=False)))
        objects, size = (state.last_objects, state.last_bytes) if whole else (state.objects, state.bytes)
        mended = self._right_again - before
        return Told(objects=objects, bytes=size, damaged=damaged, doubted=doubted, mended=mended, whole=whole)

    async def held(self, object_ids: Iterable[str]) -> dict[str, None]:
        """Return those of them that are here, each once."""
        ids = tuple(object_ids)
        return await self._index.read(
            lambda tx: dict.fromkeys(one for one in ids if self._vault.get(tx, one) is not None)
        )

    async def look_at(self, object_ids: Iterable[str], progress: Progress = _no_progress) -> Told:
        """Look at these objects now."""
        ids = tuple(object_ids)
        objects = size = 0
        before = self._right_again
        self._budget.hurried += 1
        try:
            for number, object_id in enumerate(ids, start=1):
                row = await self._index.read(partial(rows.one, object_id=object_id))
                if row is not None:
                    item = _Item(*row)
                    await self._judge(item, await self._look(item))
                    objects, size = objects + 1, size + item.size_bytes
                progress(number, len(ids))
        finally:
            self._budget.hurried -= 1

        def of(tx: Tx) -> tuple[int, int]:
            found = [one for one in (damage.of(tx, object_id) for object_id in ids) if one is not None]
            sure = sum(one.sure for one in found)
            return sure, len(found) - sure

        damaged, doubted = await self._index.read(of)
        mended = self._right_again - before
        return Told(objects=objects, bytes=size, damaged=damaged, doubted=doubted, mended=mended, whole=True)

    # -- the pass

    async def _state(self) -> Pass:
        if self._pass is None:
            row = await self._index.read(rows.read)
            self._pass = Pass() if row is None else Pass(**dict(zip(rows.NAMES, row, strict=True)))
        return self._pass

    async def _advance(self, *, begins: Callable[[Pass], bool] = _begins) -> bool:
        """Look at the next object of the pass, or begin one if ``begins``; return whether it goes on.

        Several callers take turns, so whether there is a pass is asked within the turn.
        """
        async with self._turn:
            state = await self._state()
            if not state.began_ms:
                if not begins(state):
                    return False
                await self._begin(state)
                return True
            item = await self._next(state)
            if item is None:
                await self._end()
                return False
            try:
                goes_on = await self._judge_in_row(item, await self._look(item))
            except BaseException:  # whoever asked is gone, or the process is at its limits: no object is left out
                self._ahead, self._in_a_row = [], []
                raise
            if not goes_on:
                return False
            if self._clock_s() - self._noted_s >= NOTE_S:
                await self._note()
            return True

    async def _begin(self, state: Pass) -> None:
        # S1. If power fails before this is durable, no pass was begun.
        self._ahead, self._in_a_row = [], []
        now_ms = self._now().agent_ms
        upto = await self._index.read(rows.newest)
        begun = msgspec.structs.replace(state, began_ms=now_ms, upto=upto, at=0, objects=0, bytes=0, damaged=0)
        await self._keep(begun)

    async def _next(self, state: Pass) -> _Item | None:
        if not self._ahead:
            after = self._in_a_row[-1][0].n if self._in_a_row else state.at
            page = partial(rows.page, after=after, upto=state.upto, limit=PAGE)
            self._ahead = [_Item(*row) for row in reversed(await self._index.read(page))]
        return self._ahead.pop() if self._ahead else None

    async def _end(self) -> None:
        await self._judge_all(self._in_a_row)
        state = await self._state()
        await self._keep(
            Pass(
                last_began=state.began_ms,
                last_ended=self._now().agent_ms,
                last_objects=state.objects,
                last_bytes=state.bytes,
                last_damaged=state.damaged,
            )
        )
        self._failed_until_ms = 0

    async def _note(self) -> None:
        """Note how far the pass is; if power fails before that is durable, so much is looked at once more."""
        self._noted_s = self._clock_s()
        await self._keep(await self._state())

    async def _keep(self, state: Pass) -> None:
        self._pass = state
        values = msgspec.structs.asdict(state)
        await self._index.write(lambda tx: rows.write(tx, values))

    # -- one object

    async def _look(self, item: _Item) -> Seen:
        """Do S2, and S3 for what was read wrong."""
        seen = await self._look_once(item)
        if seen.what != "changed":
            return seen
        again = await self._look_once(item)  # S3
        if again.what is None:
            _log.warning("object %s was read wrong once and is right on the medium: is the memory sound?", item.id)
        return again

    async def _look_once(self, item: _Item, *, upto_bytes: int | None = None) -> Seen:
        path = self._vault.payload_path(item.id)
        look = Look(path, size_bytes=item.size_bytes, payload_sha256=item.payload_sha256)
        try:
            while upto_bytes is None or look.done_bytes < upto_bytes:
                await self._pay(item, look)
                step = asyncio.get_running_loop().run_in_executor(None, look.step)
                try:
                    seen = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await asyncio.wait((step,))  # it has the descriptor
                    raise
                if seen is not None:
                    return seen
            return Seen(None)
        finally:
            look.close()

    async def _pay(self, item: _Item, look: Look) -> None:
        """Wait until the next step may be done: once for the opening and the first piece, then for each piece."""
        left = min(PIECE_BYTES, item.size_bytes - look.done_bytes)
        if not look.is_open:
            await self._budget.spend(OPEN_BYTES + left)
        elif look.done_bytes and left > 0:
            await self._budget.spend(left)

    async def _judge_in_row(self, item: _Item, seen: Seen) -> bool:
        """Judge what a pass saw; return whether the medium answers at all."""
        if seen.what in _UNREAD:
            self._in_a_row.append((item, seen))
            if len(self._in_a_row) < MEDIUM_FAILS:
                return True
            if not await self._medium_answers():
                failed, self._ahead, self._in_a_row = self._in_a_row, [], []
                await self._note()
                await self._medium_fails(f"{len(failed)} sealed objects in a row")
                return False
            before, self._in_a_row = self._in_a_row, []
            await self._judge_all(before)
            return True
        before, self._in_a_row = self._in_a_row, []
        await self._judge_all([*before, (item, seen)])
        return True

    async def _judge_all(self, seen: Iterable[tuple[_Item, Seen]]) -> None:
        for item, one in tuple(seen):
            found = await self._judge(item, one)
            state = await self._state()
            self._pass = msgspec.structs.replace(
                state,
                at=max(state.at, item.n),
                objects=state.objects + 1,
                bytes=state.bytes + item.size_bytes,
                damaged=state.damaged + found,
            )

    async def _judge(self, item: _Item, seen: Seen) -> bool:
        """Write down what is known of an object by now; return whether it is in quarantine."""
        before = await self._index.read(partial(damage.of, object_id=item.id))
        if seen.what is None and before is None:
            return False
        moment = self._now()
        if seen.what in _UNREAD and _is_sure(before, moment) and not await self._is_to_blame(before, moment):
            return False
        # S4. If power fails before this is durable, nothing is known of it, and the next pass finds it.
        damaged, news = await self._index.write(lambda tx: self._settle(tx, item, seen, moment), urgent=True)
        if news and not damaged:
            self._right_again += 1
        elif news:
            _log.warning("object %s is damaged (%s)", item.id, seen.what)
            self._quarantined((item.id,))
        return damaged

    def _settle(self, tx: Tx, item: _Item, seen: Seen, moment: Moment) -> tuple[bool, bool]:
        """Return whether the object is in quarantine now, and whether that is news."""
        found = self._vault.get(tx, item.id)
        if found is None or found.state == "erasing" or found.payload_sha256 != item.payload_sha256:
            return False, False  # deleted, or made whole, while it was read
        before = damage.of(tx, item.id)
        if item.is_replaced:
            return before is not None and before.sure, False
        if seen.what is None:
            is_right = self._vault.found_whole(tx, item.id, moment=moment)
            if is_right:
                told = f"Object {item.id} was damaged and reads as it was sealed again."
                self._alert(tx, "corrupt_object", told, moment, about=item.id)
            return False, is_right
        if before is not None and before.sure:
            return True, False
        if seen.what in _UNREAD and not _is_sure(before, moment):
            damage.doubt(tx, item.id, seen.what, at_bytes=seen.at_bytes, now_ms=moment.agent_ms)
            return False, False
        self._vault.quarantine(tx, item.id, seen.what, at_bytes=seen.at_bytes, moment=moment)
        self._alert(tx, "corrupt_object", words(found, seen), moment, about=item.id)
        return True, True

    async def _second_looks(self) -> None:
        """Look once more at what could not be read an hour ago, where that hour is over."""
        due_ms = self._now().agent_ms - SECOND_LOOK_MS
        if self._now().agent_ms < self._failed_until_ms:
            return
        after = 0
        while page := await self._index.read(partial(damage.page, sure=False, after=after, limit=PAGE)):
            due = [one.object for _n, one in page if one.seen_ms <= due_ms]
            if due:
                await self.look_at(due)
            after = page[-1][0]

    # -- a medium that fails

    async def _is_to_blame(self, before: Damage | None, moment: Moment) -> bool:
        """Tell whether what cannot be read for an hour is lost, and not the medium as a whole away or failing."""
        if before is not None and before.sure:
            return True
        if moment.agent_ms < self._failed_until_ms:
            return False
        if await self._medium_answers():
            return True
        await self._medium_fails("What could not be read an hour ago, and hardly any other sealed object,")
        return False

    async def _medium_answers(self) -> bool:
        """Tell whether enough of some objects, from all over, give their first bytes."""
        items = [_Item(*row) for row in await self._index.read(partial(rows.spread, count=WITNESSES))]
        enough, given = max(1, -(-len(items) // WITNESSES_SHARE)), 0
        for number, item in enumerate(items):
            if given >= enough or given + len(items) - number < enough:
                break
            given += (await self._look_once(item, upto_bytes=1)).what not in _UNREAD
        return given >= enough

    async def _medium_fails(self, what: str) -> None:
        """Tell of it, and judge nothing of what could not be read: it is looked at again an hour later."""
        moment = self._now()
        self._failed_until_ms = moment.agent_ms + SECOND_LOOK_MS
        what = f"{what} cannot be read: the disk of the vault fails, or is away."
        _log.warning("%s", what)
        await self._index.write(lambda tx: self._alert(tx, "corrupt_object", what, moment), urgent=True)


def _is_sure(before: Damage | None, moment: Moment) -> bool:
    """Tell whether what cannot be read now could not be read an hour ago either."""
    return before is not None and moment.agent_ms - before.seen_ms >= SECOND_LOOK_MS


def _unread(tx: Tx) -> tuple[str, ...]:
    """Return what is in quarantine because it could not be read."""
    return tuple(one.object for _n, one in damage.page(tx) if one.what in _UNREAD)


def words(found: Object, seen: Seen) -> str:
    """Say what is wrong with an object and where else it is, without a name."""
    wanted = found.category not in damage.NEVER_AGAIN
    return f"Object {found.id} is damaged: {wrong(found, seen)}. {elsewhere(found, wanted=wanted)}"


def wrong(found: Object, seen: Seen) -> str:
    """Say what is wrong with a payload."""
    size = found.size_bytes
    return {
        "changed": "its bytes are not those that were sealed",
        "short": f"{size - seen.at_bytes} of its {size} sealed bytes are missing",
        "long": "its file has more bytes than were sealed",
        "missing": "its file is not there",
        "unreadable": f"the disk does not give its bytes from {seen.at_bytes} of {size} on",
    }[seen.what or "changed"]


def elsewhere(found: Object, *, wanted: bool) -> str:
    """Say where a whole copy of a damaged object is, as far as this device knows; ``wanted`` as ``Damage`` has it."""
    told = ["A store has confirmed a whole copy."] if found.state == "uploaded" else []
    if wanted and found.source_copy != "taken":
        told.append("Its source is asked for it once more, and it is made whole if it is there still.")
    return " ".join(told) or "Neither a store nor its source is known to have it."


def scrub_view(tx: Tx, vault: Vault) -> dict[str, Any]:
    """Return what is told of the last whole pass, the one that is under way, and what is in quarantine or in doubt."""
    row = rows.read(tx)
    state = Pass() if row is None else Pass(**dict(zip(rows.NAMES, row, strict=True)))
    told: dict[str, Any] = {"last": None, "under_way": None, "damaged": damage.count(tx), "objects": [], "doubted": []}
    if state.last_ended:
        told["last"] = {
            "began": rfc3339_ms(state.last_began),
            "ended": rfc3339_ms(state.last_ended),
            "objects": state.last_objects,
            "bytes": state.last_bytes,
            "damaged": state.last_damaged,
        }
    if state.began_ms:
        told["under_way"] = {
            "began": rfc3339_ms(state.began_ms),
            "objects": state.objects,
            "bytes": state.bytes,
            "damaged": state.damaged,
        }
    told["in_doubt"] = damage.count(tx, sure=False)
    for sure, kind, listed in ((True, "damaged", "objects"), (False, "in_doubt", "doubted")):
        for _n, one in damage.page(tx, sure=sure, limit=LISTED_MAX):
            told[listed].append({"id": one.object} | damaged_view(tx, vault.require(tx, one.object))[kind])
    return told


def damaged_view(tx: Tx, found: Object) -> dict[str, Any]:
    """Return what is told of an object in quarantine (``damaged``) or in doubt (``in_doubt``); nothing of any other."""
    one = damage.of(tx, found.id)
    if one is None:
        return {}
    about = {"what": one.what, "since": rfc3339_ms(one.seen_ms), "lost": wrong(found, Seen(one.what, one.at_bytes))}
    if not one.sure:
        return {"in_doubt": about}
    return {"damaged": about | {"elsewhere": elsewhere(found, wanted=one.wanted)}}
