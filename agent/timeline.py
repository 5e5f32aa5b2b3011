"""The agent's own timeline: the answer to "what time is it" when the clock may lie (invariant I8).

Ages and deadlines are measured on this timeline and on nothing else. It never runs backwards. The cases:

==========================================  ==============  =====================================================
what the clocks say                         clock state     the timeline
==========================================  ==============  =====================================================
first start, synchronised                   trusted         starts at the wall clock
first start, not synchronised               unsure          starts at the wall clock, or at ``EARLIEST_MS``
not synchronised                            unsure          advances by the boot clock from its persisted floor
synchronised, agrees                        trusted         follows the wall clock
synchronised, behind by less than an hour   trusted         stands still until the wall clock has caught up
synchronised, further behind the floor      unsure, jump    advances by the boot clock
synchronised, leaps ahead while we ran      unsure, jump    advances by the boot clock until the two agree again
synchronised, strays by small steps         unsure, jump    the same, an hour off where the boot clock says it should be
synchronised, ahead after being off         trusted         follows the wall clock, up to ``LONGEST_OFF_MS``
synchronised, further ahead than that       unsure, jump    advances by the boot clock
a signed time was accepted in this boot     trusted         advances by the boot clock from the signed time
a signed time ahead of a right wall clock   as before       as before: it is refused (``SIGNED_AHEAD_MS``)
==========================================  ==============  =====================================================

So while unsure nothing goes early, and nothing goes later than by the time spent switched off. And a clock that is set
by less than an hour again and again, or that goes too fast or too slow, makes nothing go more than an hour early or
late: where it was first believed in a boot, and the boot clock since, say where it should be. What is kept of that over
a restart of the agent is the floor, so each restart may add to it.
"""

import threading
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.clock import MS_PER_S, Reading
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import timeline as rows
from agent.model import Moment

EARLIEST_MS: Final = 1_767_225_600_000
"""2026-01-01: this software did not exist before, so an earlier clock is wrong."""

AGREE_MS: Final = 10_000
"""Two clocks this close agree: NTP slews and steps by less in ordinary running."""

LEAP_MS: Final = 3_600_000
"""A trusted clock that moves this much further than the boot clock did was set by somebody."""

LONGEST_OFF_MS: Final = 400 * 86_400_000
"""A device may lie in a drawer for a year; a clock that claims more needs a signed time."""

SIGNED_AHEAD_MS: Final = LEAP_MS // 2
"""A signed time is no further ahead of a wall clock that is right. Half a leap: what was signed up to there leaves the
two so close that the wall clock is right afterwards too, and no row of signed times goes further than one."""

DRIFT_PART: Final = 2_000
"""The wall clock may gain or lose this part of the boot clock's time, 500 ppm: no quartz and no slewing exceeds it."""


class Anchor(msgspec.Struct, frozen=True):
    """Where the wall clock stood when it was first believed in this boot, and the boot clock with it."""

    wall_ms: int
    boot_ms: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is persisted: the floor, where the boot clock stood then, and what was thought of the wall clock.

    ``anchor`` is not: behind a restart of the agent the floor stands for it.
    """

    agent_ms: int
    boot_id: str
    boot_ms: int
    trusted: bool
    leapt: bool = False
    signed_in_boot: str = ""
    anchor: Anchor | None = None


def advance(state: State | None, reading: Reading) -> tuple[State, Moment]:
    """Return the state and the moment after this reading; pure, and total over every pair of clocks."""
    if state is None:
        trusted = reading.synchronised and reading.wall_ms >= EARLIEST_MS
        anchor = Anchor(reading.wall_ms, reading.boot_ms) if trusted else None
        return _at(max(reading.wall_ms, EARLIEST_MS), reading, trusted=trusted, anchor=anchor)
    same_boot = state.boot_id == reading.boot_id
    by_boot_ms = state.agent_ms + (max(0, reading.boot_ms - state.boot_ms) if same_boot else 0)
    if state.signed_in_boot == reading.boot_id:
        return _at(by_boot_ms, reading, trusted=True, signed_in_boot=reading.boot_id)
    anchor = _anchor(state) if same_boot else None
    if not reading.synchronised:
        return _at(by_boot_ms, reading, trusted=False, leapt=state.leapt and same_boot, anchor=anchor)
    if _believable(reading, anchor, ahead_ms=reading.wall_ms - by_boot_ms):
        anchor = anchor or Anchor(reading.wall_ms, reading.boot_ms)
        return _at(max(state.agent_ms, reading.wall_ms), reading, trusted=True, anchor=anchor)
    return _at(by_boot_ms, reading, trusted=False, leapt=True, anchor=anchor)


def _anchor(state: State) -> Anchor | None:
    """Return where the wall clock was first believed in the boot of this state; ``None`` where it never was."""
    if state.anchor is None and (state.trusted or state.leapt):
        return Anchor(state.agent_ms, state.boot_ms)
    return state.anchor


def _believable(reading: Reading, anchor: Anchor | None, *, ahead_ms: int) -> bool:
    """Tell whether a synchronised wall clock that is ``ahead_ms`` of the boot clock's answer may be followed."""
    if anchor is None:
        return -LEAP_MS <= ahead_ms <= LONGEST_OFF_MS
    since_ms = max(0, reading.boot_ms - anchor.boot_ms)
    strayed_ms = abs(reading.wall_ms - anchor.wall_ms - since_ms)
    return abs(ahead_ms) <= LEAP_MS and strayed_ms <= LEAP_MS + since_ms // DRIFT_PART


def accept_signed_time(state: State | None, reading: Reading, *, now_ms: int) -> tuple[State, Moment]:
    """Move to a time that a key with the verb ``time`` signed; for the rest of this boot it is the anchor.

    Raises ``RefusedError`` (``not_yet_valid``) when it lies behind the floor, for the timeline never runs backwards; or
    ahead of a wall clock that is right: whoever signs times would else end every hold, and each command of the owner.
    """
    _state, moment = advance(state, reading)
    if now_ms < moment.agent_ms - AGREE_MS:
        raise RefusedError(
            "the signed time lies behind what this device already knows",
            reason="not_yet_valid",
            retry="after_fix",
            hint="check the signer's clock",
        )
    right = moment.trusted and reading.synchronised and abs(reading.wall_ms - moment.agent_ms) <= LEAP_MS
    if right and now_ms > max(moment.agent_ms, reading.wall_ms + SIGNED_AHEAD_MS):
        raise RefusedError(
            "the signed time lies ahead of this device's own clock, which is synchronised",
            reason="not_yet_valid",
            retry="after_fix",
            hint="check the signer's clock, and which servers this device's own is set by",
        )
    return _at(max(now_ms, moment.agent_ms), reading, trusted=True, signed_in_boot=reading.boot_id)


def _at(
    agent_ms: int,
    reading: Reading,
    *,
    trusted: bool,
    leapt: bool = False,
    signed_in_boot: str = "",
    anchor: Anchor | None = None,
) -> tuple[State, Moment]:
    state = State(
        agent_ms=agent_ms,
        boot_id=reading.boot_id,
        boot_ms=reading.boot_ms,
        trusted=trusted,
        leapt=leapt,
        signed_in_boot=signed_in_boot,
        anchor=anchor,
    )
    return state, Moment(agent_ms=agent_ms, wall_ms=reading.wall_ms, trusted=trusted)


def asked_ms(moment: Moment, *, iat_s: int) -> int:
    """Return when an owner asked what came now, by the clocks of those who record: since then a yes counts.

    A timeline that is trusted is as right as they are. One that is unsure lags by the time spent off, and the owner's
    own clock, which signed ``iat_s``, says more.
    """
    if moment.trusted:
        return moment.agent_ms
    return max(moment.agent_ms, min(iat_s * MS_PER_S, moment.agent_ms + LONGEST_OFF_MS))


def lag_ms(moment: Moment) -> int:
    """Return by how much the timeline may lag behind the wall clock; 0 where it is sure, or nobody would believe that.

    What is dated by agent time as it happens is so much younger than it seems to a cut-off, which may lie where the
    wall clock was: a stream was taken in by nobody for as long as the device had been off before a delete.
    """
    ahead_ms = max(0, moment.wall_ms - moment.agent_ms)
    return 0 if moment.trusted or ahead_ms > LONGEST_OFF_MS else ahead_ms


def ahead_ms(moment: Moment) -> int:
    """Return by how much the timeline may be ahead of the wall clock; 0 where nobody would believe that."""
    return max(0, moment.agent_ms - moment.wall_ms) if moment.wall_ms >= EARLIEST_MS else 0


class Timeline:
    """Holds the state between looks, for every thread; what was signed or kept is durable in a caller's transaction."""

    def __init__(self, state: State | None = None) -> None:
        self._state = state
        self._lock = threading.Lock()

    @classmethod
    def load(cls, tx: Tx) -> "Timeline":
        """Start from the persisted floor; none on the very first start."""
        return cls(_read(tx))

    def look(self, reading: Reading) -> Moment:
        """Return the moment of this reading."""
        with self._lock:
            self._state, moment = advance(self._state, reading)
        return moment

    def sign_in(self, tx: Tx, reading: Reading, *, now_ms: int) -> Moment:
        """Accept a signed time; raises ``RefusedError`` when it lies behind the floor.

        If power fails before the commit, or it is rolled back, no time was signed: looks follow it from the commit on.
        """
        with self._lock:
            signed, moment = accept_signed_time(self._state, reading, now_ms=now_ms)
        _write(tx, signed, kept=_read(tx))
        tx.then(lambda: self._adopt(signed))
        return moment

    @property
    def leapt(self) -> bool:
        """Whether the wall clock contradicted the boot clock and is not believed."""
        return self._state is not None and self._state.leapt

    def keep(self, tx: Tx) -> None:
        """Persist the floor. If power fails before the commit, the older floor holds: ages only grow later.

        A floor that is ahead stays, and so does a time that was signed in this boot and that no look follows yet.
        """
        state, kept = self._state, _read(tx)
        if state is None:
            return
        if kept is None or not (kept.agent_ms > state.agent_ms or _is_signed_since(kept, state)):
            _write(tx, state, kept=kept)

    def _adopt(self, signed: State) -> None:
        with self._lock:
            self._state = _no_earlier(signed, self._state or signed)


def _is_signed_since(kept: State, state: State) -> bool:
    return kept.signed_in_boot == state.boot_id != state.signed_in_boot


def _no_earlier(signed: State, looked: State) -> State:
    """Return the signed time's state, brought up to a look that came before its commit."""
    since_ms = max(0, looked.boot_ms - signed.boot_ms)
    agent_ms = max(signed.agent_ms + since_ms, looked.agent_ms)
    return msgspec.structs.replace(signed, agent_ms=agent_ms, boot_ms=signed.boot_ms + since_ms)


def _read(tx: Tx) -> State | None:
    row = rows.read(tx)
    return None if row is None else msgspec.convert(row, State)


def _write(tx: Tx, state: State, *, kept: State | None) -> None:
    values = msgspec.structs.asdict(state)
    del values["anchor"]
    rows.write(tx, values)
    if kept is not None and _clock(kept) != _clock(state):
        moment = Moment(agent_ms=state.agent_ms, wall_ms=state.agent_ms, trusted=state.trusted)
        audit.append(tx, Event(kind="clock_changed", rule=_clock(state)), moment=moment)


def _clock(state: State) -> str:
    """Return what is thought of the wall clock, as the audit log tells it."""
    if state.trusted:
        return "signed" if state.signed_in_boot else "trusted"
    return "jump" if state.leapt else "unsure"
