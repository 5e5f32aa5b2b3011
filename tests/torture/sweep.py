"""Every scenario and every way to fail: at which calls it is tried, and what each one came to.

A point is the n-th call of one run; the same scenario is run again for each, so the points are counted in the run that
meets them and each must fire. How many calls a run has differs by a few (its threads share one commit more or less), so
the shortest of some says how many points there are. A run that ended before its point is tried again a few times; one
that never fires fails the whole.

The short form tries the faults that find most at every point, except in long rows of writes to one file, and the
others at a sample by seed.
"""

import asyncio
import errno
import faulthandler
import json
import math
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.torture import judge, life_start, witness
from tests.torture.blank import copied
from tests.torture.bug import Bug
from tests.torture.forked import fork_sealers
from tests.torture.home import Home
from tests.torture.lives import LIVES, SAMPLED
from tests.torture.medium import Medium
from tests.torture.run import LEAKED, Ended, Fault, Mode, live_once
from tests.torture.say import say
from tests.torture.tap import Point

STARTS: Final = 3
"""Deaths of each scenario whose next start is tormented."""

OTHER_STARTS: Final = 0.1
"""Part of the points that the short form tries after the second and third death."""

LOG_WRITES: Final = 3
"""Writes in a row to one file of which the short form takes each."""

TRIES: Final = 5
"""Runs that may end before their point before it counts as not fired."""

MEASURED: Final = 5
"""Runs without a fault of which the shortest counts."""

MEASURED_EACH: Final = 2
"""The same where there are many grounds: whoever overestimates tries a point again at its run's last call."""

START_LIMIT_S: Final = 60

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
"""Where lives are lived: a kill and a full disk do not depend on the medium, and a cut is worked out from the calls."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fail and which part of the points the short form tries."""

    mode: Mode
    error: int
    share: float

    @property
    def name(self) -> str:
        return f"{errno.errorcode[self.error]} {self.mode}" if self.mode in {"once", "persistent"} else self.mode


SHORT: Final = (
    Way("kill before", 0, 1.0),
    Way("kill after", 0, 0.1),
    Way("power cut", 0, 0.2),
    Way("once", errno.ENOSPC, 1.0),
    Way("persistent", errno.ENOSPC, 0.1),
)
LONG: Final = (
    *(Way(way.mode, way.error, 1.0) for way in SHORT),
    *(Way(mode, error, 1.0) for error in (errno.EIO, errno.EDQUOT) for mode in ("once", "persistent")),
)


FEW: Final = (
    (Way("kill before", 0, 1.0), 1),
    (Way("power cut", 0, 1.0), 2),
    (Way("once", errno.ENOSPC, 1.0), 1),
)
"""What the short form tries of a life that it samples: so many points, wherever the seed has them."""

CUTS_AT_ONCE: Final = 8
"""Cuts that are worked out of one life with a seeded mistake before they are judged."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where points are tried: a home, and what is lived there; ``label`` is what the table calls it."""

    origin: Home
    scenario: str
    label: str


@dataclass(slots=True)
class Row:
    """What all points of one scenario and one way came to."""

    scenario: str
    way: str
    points: int = 0
    tried: int = 0
    fired: int = 0
    lost: int = 0
    doubled: int = 0
    residue: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """Return which kind of fault it is: a kill, an I/O error, a power cut, or rounds of several."""
        if self.way.startswith("kill") or self.way == "rounds":
            return self.way.split()[0]
        return "power cut" if "cut" in self.way else "I/O error"

    def add(self, other: "Row") -> None:
        """Add what another worker found."""
        self.points = max(self.points, other.points)
        for name in ("tried", "fired", "lost", "doubled", "residue"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong.extend(other.wrong)


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a folder in memory, or on disk where there is none, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Bench:
    """Homes to torment, in one process; ``part`` of ``parts`` of the points are its own."""

    def __init__(self, folder: Path, *, seed: int, part: int = 0, parts: int = 1, everything: bool = False) -> None:
        self.folder = folder
        self.seed = seed
        self.part = part
        self.parts = parts
        self.everything = everything
        self._lives = 0
        self._measured: dict[Path, list[Point]] = {}

    def home(self, scenario: str) -> Home:
        """Make the home that a scenario begins with."""
        return self._made(self.folder / f"{scenario}-origin", scenario)

    def _made(self, top: Path, scenario: str) -> Home:
        home = Home.make(top)
        home.scenario = scenario
        LIVES[scenario].prepare(home, self.seed)
        return home

    def copy(self, home: Home) -> Home:
        """Copy a home's folder."""
        self._lives += 1
        top = self.folder / f"life-{self._lives}"
        shutil.copytree(home.top, top, symlinks=True, copy_function=copied)
        return home.at(top)

    def sweep(
        self,
        origin: Home,
        scenario: str,
        way: Way,
        *,
        share: float,
        least: int = 1,
        label: str = "",
        tell: Callable[[], None],
    ) -> Row:
        """Try a share of all points of one scenario in one way."""
        row = Row(label or scenario, way.name)
        points = self.measure(origin, scenario)
        chosen = self.choose(points, share, f"{row.scenario} {row.way}", least=least)
        row.points = len(points)
        mine = chosen[self.part :: self.parts]
        if way.mode == "power cut":
            self.cut_at(origin, scenario, mine, row, tell=tell)
            return row
        for n in mine:
            self.try_point(origin, scenario, way, n, row)
            tell()
        return row

    def sample(self, scenario: str, *, tell: Callable[[], None]) -> list[Row]:
        """Try a few points of a life; this worker alone does."""
        alone = Bench(self.folder / "alone", seed=self.seed)
        alone.folder.mkdir(exist_ok=True)
        origin = self.home_of(scenario)
        alone.measure(origin, scenario, runs=1)
        return [alone.sweep(origin, scenario, way, share=0.0, least=n, tell=tell) for way, n in FEW]

    def grounds(self, scenarios: Sequence[str]) -> list[Ground]:
        """Return all grounds: each life, and the starts after some deaths of it."""
        found: list[Ground] = []
        for scenario in scenarios:
            origin = self.home_of(scenario)
            found.append(Ground(origin, scenario, scenario))
            length = len(self.measure(origin, scenario, runs=MEASURED_EACH))
            dice = random.Random(f"{self.seed} starts {scenario}")  # noqa: S311 - repeats by its seed
            for first in dice.sample(range(length // 4, length), STARTS):
                cut = self.copy(origin)
                cut.told = live_once(partial(_live, cut, scenario), cut.top, Fault("kill before", first)).said
                found.append(Ground(cut, "start", f"start after {scenario}"))
        return found

    def sweep_all(
        self, scenarios: Sequence[str], *, wanted: int, tell: Callable[[], None], over: Callable[[], bool]
    ) -> list[Row]:
        """Try ``wanted`` points of each mode, spread by seed over all grounds and ways, or all there are.

        ``over`` is asked before each ground and way: no more is begun once it says so.
        """
        grounds = self.grounds(scenarios)
        there: Counter[str] = Counter()
        for way in LONG:
            for ground in grounds:
                there[Row("", way.name).mode] += len(self.measure(ground.origin, ground.scenario, runs=MEASURED_EACH))
        rows: list[Row] = []
        for ground in grounds:
            for way in LONG:
                if over():
                    return rows
                share = min(1.0, wanted / there[Row("", way.name).mode])
                least = math.ceil(len(self.measure(ground.origin, ground.scenario)) * share)
                found = self.sweep(
                    ground.origin, ground.scenario, way, share=share, least=least, label=ground.label, tell=tell
                )
                rows.append(found)
        return rows

    def cut_at(self, origin: Home, scenario: str, wanted: Sequence[int], row: Row, *, tell: Callable[[], None]) -> None:
        """Judge what a cut at each of these calls leaves, again for those that the run was over before."""
        row.tried += len(wanted)
        left = set(wanted)
        for _ in range(TRIES):
            cuts, length = self._cuts(origin, scenario, left)
            for home, ended in cuts:
                left.discard(len(ended.points))
                row.fired += 1
                self._enter(row, "power cut", ended, self.judged(home, ended))
                shutil.rmtree(home.top)
                tell()
            if not left:
                return
            again = {min(n, length) for n in left}  # a run that was over before is no try of it
            row.tried -= len(left) - len(again)
            left = again
        row.wrong.append(f"{row.scenario}: {len(left)} power cuts did not fire")

    def _cuts(
        self, origin: Home, scenario: str, wanted: Collection[int], *, bug: Bug | None = None
    ) -> tuple[list[tuple[Home, Ended]], int]:
        """Return what cuts at these calls leave, and how many calls there were: one life shows them all."""
        copy = self.copy(origin)
        medium = Medium(copy.top, origin.top)
        cuts: list[tuple[Home, Ended]] = []

        def visit(so_far: Ended) -> None:
            if len(so_far.points) in wanted:
                self._lives += 1
                top = self.folder / f"life-{self._lives}"
                medium.after_cut(top)
                cuts.append((copy.at(top), Ended(points=so_far.points[:], said=so_far.said[:])))

        whole = live_once(partial(_live, copy, scenario, bug=bug), copy.top, Fault(), medium=medium, visit=visit)
        shutil.rmtree(copy.top)
        return cuts, len(whole.points)

    def measure(self, origin: Home, scenario: str, *, runs: int = MEASURED) -> list[Point]:
        """Return a scenario's calls; it must be right when nothing fails."""
        known = self._measured.get(origin.top)
        if known is not None:
            return known
        lived = [self._unharmed(origin, scenario) for _ in range(runs)]
        self._measured[origin.top] = min(lived, key=len)
        return self._measured[origin.top]

    def _unharmed(self, origin: Home, scenario: str) -> list[Point]:
        copy = self.copy(origin)
        ended = live_once(lambda: _live(copy, scenario), copy.top, Fault())
        wrong = [*self.judged(copy, ended), *([] if ended.code == 0 else [ended.words])]
        shutil.rmtree(copy.top)
        if wrong:
            raise AssertionError(f"{scenario} is wrong without any fault: {wrong}")
        return ended.points

    def choose(self, points: Sequence[Point], share: float, why: str, *, least: int = 1) -> list[int]:
        """Choose points by seed; the same seed chooses the same.

        Unless everything is wanted, of a run of writes to the index's log only the first, the last and one between are
        taken: they are one transaction, which counts with its last write or not at all.
        """
        dice = random.Random(f"{self.seed} {why}")  # noqa: S311 - repeats by its seed
        calls = list(range(1, len(points) + 1))
        if not self.everything:
            calls = []
            for _, run in groupby(enumerate(points, 1), key=lambda each: (each[1].call, each[1].file)):
                numbers = [n for n, _ in run]
                several = len(numbers) > LOG_WRITES
                calls += [numbers[0], dice.choice(numbers[1:-1]), numbers[-1]] if several else numbers
        return sorted(dice.sample(calls, max(least, round(len(calls) * share))))

    def try_point(self, origin: Home, scenario: str, way: Way, n: int, row: Row, *, bug: Bug | None = None) -> None:
        """Try one point and judge what it came to.

        How many pages a transaction writes differs from run to run. A run that was over before the point is no try of
        it: the next one is stopped at what was that run's last call at the latest.
        """
        row.tried += 1
        for _ in range(TRIES):
            copy = self.copy(origin)
            medium = Medium(copy.top, origin.top) if way.mode == "power cut" else None
            wrong: list[str] = []
            ended = live_once(
                partial(_live, copy, scenario, bug=bug),
                copy.top,
                Fault(way.mode, n, way.error),
                medium=medium,
                watch=partial(_watch, copy, wrong),
            )
            if ended.fired:
                break
            n = min(n, len(ended.points))
            shutil.rmtree(copy.top)
        else:
            row.wrong.append(f"{row.scenario}: {way.name} at call {n} did not fire")
            return
        row.fired += 1
        if medium is not None:
            cut = copy.top.with_name(f"{copy.top.name}-cut")
            medium.after_cut(cut)
            shutil.rmtree(copy.top)
            copy = copy.at(cut)
        self._enter(row, way.name, ended, [*wrong, *self.judged(copy, ended)])
        shutil.rmtree(copy.top)

    def _enter(self, row: Row, way: str, ended: Ended, wrong: Sequence[str]) -> None:
        row.lost += judge.lost(wrong)
        row.doubled += judge.doubled(wrong)
        row.residue += judge.residue(wrong)
        at = ended.at or len(ended.points)
        where = f"{row.scenario}: {way} at call {at} ({ended.points[at - 1]})"
        row.wrong.extend(f"{where}: {line}" for line in wrong)

    def judged(self, home: Home, ended: Ended) -> list[str]:
        """Judge a home after a life, before and after its next start."""
        said = [*home.told, *ended.said]
        wrong = judge.at_death(home, said)
        if ended.hangs:
            wrong.append("the process hangs")
        if ended.code == LEAKED:
            wrong.append(f"the process ended by what is no error of its kinds: {ended.words.strip().splitlines()[-1:]}")
        seen = _seen(replace(home, told=said))
        if "failed" in seen:
            return [*wrong, f"I2 the next start fails: {seen['failed']}"]
        return [*wrong, *judge.afterwards(home, said, seen)]

    def sweep_starts(self, ways: Sequence[Way], *, tell: Callable[[], None]) -> list[Row]:
        """Kill a life of each scenario somewhere, then try the start that follows (a fault within a recovery).

        The short form tries the start after one death of each as it does the other scenarios, and a tenth after others.
        """
        rows: list[Row] = []
        for scenario in [name for name in LIVES if name not in SAMPLED]:
            origin = self.home_of(scenario)
            length = len(self.measure(origin, scenario))
            dice = random.Random(f"{self.seed} starts {scenario}")  # noqa: S311 - repeats by its seed
            for nth, first in enumerate(dice.sample(range(length // 4, length), STARTS)):
                share = 1.0 if nth == 0 or self.everything else OTHER_STARTS
                cut = self.copy(origin)
                cut.told = live_once(partial(_live, cut, scenario), cut.top, Fault("kill before", first)).said
                label = f"start after {scenario}"
                rows.extend(
                    self.sweep(cut, "start", way, share=way.share * share, label=label, tell=tell) for way in ways
                )
        return rows

    def find(self, bug: Bug) -> str:
        """Look for a seeded mistake, faults in the order in which they find most; say which found it, or nothing."""
        origin = self.home_of(bug.scenario)
        copy = self.copy(origin)
        wrong: list[str] = []
        ended = live_once(
            partial(_live, copy, bug.scenario, bug=bug), copy.top, Fault(), watch=partial(_watch, copy, wrong)
        )
        wrong += self.judged(copy, ended)
        if wrong:
            return f"no fault needed: {wrong[0]}"
        points = _telling(ended.points, random.Random(f"{self.seed} {bug.name}"))  # noqa: S311 - by its seed
        return self._find_by_cuts(origin, bug, points) or self._find_by(origin, bug, points)

    def _find_by_cuts(self, origin: Home, bug: Bug, points: Sequence[int]) -> str:
        for start in range(0, len(points), CUTS_AT_ONCE):
            row = Row(bug.scenario, "power cut")
            cuts, _ = self._cuts(origin, bug.scenario, points[start : start + CUTS_AT_ONCE], bug=bug)
            for home, ended in cuts:
                if not row.wrong:
                    self._enter(row, "power cut", ended, self.judged(home, ended))
                shutil.rmtree(home.top)
            if row.wrong:
                return row.wrong[0]
        return ""

    def _find_by(self, origin: Home, bug: Bug, points: Sequence[int]) -> str:
        for way in (SHORT[0], SHORT[3]):
            row = Row(bug.scenario, way.name)
            for n in points:
                self.try_point(origin, bug.scenario, way, n, row, bug=bug)
                found = [line for line in row.wrong if "did not fire" not in line]
                if found:
                    return found[0]
        return ""

    def home_of(self, scenario: str) -> Home:
        """Return a fresh home of a scenario, once for each call."""
        self._lives += 1
        return self._made(self.folder / f"{scenario}-{self._lives}", scenario)


def _telling(points: Sequence[Point], dice: random.Random) -> list[int]:
    """Order calls: those just after a promise or a removal first, which is where mistakes show."""
    first = [
        n + 1 for n, point in enumerate(points, 1) if point.call in {"say", "unlink", "unlinkat"} and n < len(points)
    ]
    rest = [n for n in range(1, len(points) + 1) if n not in first]
    dice.shuffle(first)
    dice.shuffle(rest)
    return first + rest


async def _live(home: Home, scenario: str, *, bug: Bug | None = None) -> None:
    if bug is not None:
        bug.make()
    fork_sealers()
    await (life_start.live if scenario == "start" else LIVES[scenario].lived)(home, say)


def _watch(home: Home, wrong: list[str], line: str) -> None:
    wrong.extend(_at_step(home, line))


def _at_step(home: Home, line: str) -> list[str]:
    """Judge what stands on the medium at the moment at which a step of forgetting says that it is over."""
    log = home.state / "index.db-wal"
    if line == "step 4" and log.exists() and log.stat().st_size:
        return ["I3 step 4 is over and the log still has its old pages"]
    if line == "step 5" and any(root in (home.state / "keystore").read_bytes() for root in home.roots):
        return ["I3 step 5 is over and the old root is in the keystore"]
    return []


def _seen(home: Home) -> dict[str, Any]:
    """Let a fresh process start, finish and tell; of one that stands still, tell where."""
    out, out_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        faulthandler.register(signal.SIGALRM, file=out_in, chain=True)
        signal.alarm(START_LIMIT_S)
        try:
            fork_sealers()
            told = asyncio.run(witness.see(home))
        except BaseException as error:  # noqa: BLE001 - told to the judge
            told = {"failed": f"{type(error).__name__}: {error}"}
        with os.fdopen(out_in, "w") as stream:
            json.dump(told, stream)
        os._exit(0)
    os.close(out_in)
    with os.fdopen(out) as stream:
        raw = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGALRM:
        return {"failed": f"it says nothing for {START_LIMIT_S} s and stands at\n{raw}"}
    if code:
        return {"failed": f"it ended with {code}"}
    seen: dict[str, Any] = json.loads(raw)
    return seen
