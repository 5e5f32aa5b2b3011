"""Real power cuts: the file system beneath a life is shut down at a call, mounted again, and judged.

The worked-out cut (``medium.py``) is stricter than any file system; this one is what ext4 and XFS do: a journal that
commits one file's sync with another's, bytes that are allocated late, a recovery at mount. Each life is lived on a
file system of its own in an image (``tests/loop.py``), which is shut down without its journal's end (the ioctl with
which the file systems' own tests cut the power) while the process stands still before a call. Then everybody is
killed, the image is unmounted and mounted, the agent's parts start, and what is there is judged as after any fault.
After every second cut the start that follows is cut again at one of its calls.

A cut counts as fired when the file system was asked and answered that nothing gets to the medium any more.
"""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import Final

from tests.loop import Disk, Kind
from tests.torture import judge, life_start
from tests.torture.blank import copied
from tests.torture.bug import Bug
from tests.torture.bugs import BUGS
from tests.torture.forked import fork_sealers
from tests.torture.home import Home
from tests.torture.lives import LIVES, SAMPLED
from tests.torture.run import Ended, Fault, live_once
from tests.torture.say import say
from tests.torture.sweep import TRIES, Bench, Row, workshop
from tests.torture.tap import Point

KINDS: Final[tuple[Kind, ...]] = ("ext4", "xfs")

FOUND_BY_CUTS: Final = ("payload not synced", "index with synchronous=NORMAL")
"""Seeded mistakes that a real cut must find, and no kill does. A folder that was not synced is not among them: on both
file systems the index's next sync writes its names too, so the worked-out cut finds that one."""

LOOKED_FOR: Final = 12
"""Cuts that a seeded mistake may take to be found."""


class Ground:
    """One file system whose power is cut again and again; a life lies in ``life`` on it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.life = disk.top / "life"
        self.fired = False

    def settle(self, home: Home) -> Home:
        """Put a copy of a home there, all of it on the medium."""
        shutil.rmtree(self.life, ignore_errors=True)
        shutil.copytree(home.top, self.life, symlinks=True, copy_function=copied)
        self.disk.unmount()
        self.disk.mount()
        return home.at(self.life)

    def live(self, home: Home, scenario: str, n: int, *, bug: Bug | None = None) -> Ended:
        """Live until call ``n``, before which the power is cut, and mount what is left."""
        self.fired = False

        def cut(so_far: Ended) -> None:
            if len(so_far.points) == n:
                self.disk.cut()
                self.fired = self.disk.is_cut

        ended = live_once(partial(_live, home, scenario, bug), home.top, Fault("kill before", n), visit=cut)
        self.disk.unmount()
        self.disk.mount()
        return ended


CUT: Final = tuple(name for name in LIVES if name not in SAMPLED)
"""Lives that are cut."""


class RealCuts:
    """Cuts on one kind of file system, in one process; ``part`` of ``parts`` of the points are its own."""

    def __init__(self, bench: Bench, ground: Ground, *, seed: int, part: int = 0, parts: int = 1) -> None:
        self._bench = bench
        self._ground = ground
        self._seed = seed
        self._part = part
        self._parts = parts
        self._kind = ground.disk.kind
        self._rows: dict[tuple[str, str], Row] = {}
        self._origins: dict[str, tuple[Home, list[Point]]] = {}

    def sweep(self, points: int, *, tell: Callable[[], None]) -> list[Row]:
        """Try so many points, spread over every life's calls."""
        for scenario in CUT:
            calls = len(self._origin(scenario)[1])
            dice = random.Random(f"{self._seed} {self._kind} {scenario}")  # noqa: S311 - repeats by its seed
            wanted = _spread(calls, -(-points // len(CUT)), dice)
            for turn, n in islice(enumerate(wanted), self._part, None, self._parts):
                again = dice.randrange(1, calls) if turn % 2 else 0
                self.try_point(scenario, n, again=again)
                tell()
        return list(self._rows.values())

    def try_point(self, scenario: str, n: int, *, again: int = 0, bug: Bug | None = None) -> Row:
        """Cut before call ``n``, and before call ``again`` of the start that follows, and judge what is there then."""
        origin, points = self._origin(scenario)
        row = self._row(scenario, "power cut", len(points))
        row.tried += 1
        for _ in range(TRIES):
            home = self._ground.settle(origin)
            ended = self._ground.live(home, scenario, n, bug=bug)
            if self._ground.fired:
                break
            n = min(n, len(ended.points))
        else:
            row.wrong.append(f"{row.scenario}: {row.way} at call {n} did not fire")
            return row
        row.fired += 1
        if again:
            self._cut_again(home, scenario, ended, again)
        else:
            self._enter(row, ended, self._bench.judged(home, ended))
        return row

    def _cut_again(self, home: Home, scenario: str, ended: Ended, m: int) -> None:
        """Cut the start that follows a cut before its call ``m``, or, of a shorter one, at its middle."""
        row = self._row(scenario, "cut again", 0)
        row.tried += 1
        left = self._bench.copy(home)
        left.told = [*home.told, *ended.said]
        home = left.at(home.top)
        try:
            for _ in range(TRIES):
                second = self._ground.live(home, "start", m)
                if self._ground.fired:
                    row.fired += 1
                    self._enter(row, second, self._bench.judged(home, second))
                    return
                m = max(1, len(second.points) // 2)
                home = self._ground.settle(left)
        finally:
            shutil.rmtree(left.top)
        row.wrong.append(f"{row.scenario}: {row.way} at call {m} did not fire")

    def find(self, bug: Bug, *, limit: int) -> str:
        """Look for a seeded mistake with at most so many cuts; say which found it, or nothing."""
        points = self._origin(bug.scenario)[1]
        told = [n + 1 for n, point in enumerate(points, 1) if point.call == "say" and n < len(points)]
        dice = random.Random(f"{self._seed} {bug.name}")  # noqa: S311 - repeats by its seed
        dice.shuffle(told)
        for n in islice(cycle([len(points), *told]), limit):
            wrong = self.try_point(bug.scenario, n, bug=bug).wrong
            found = [line for line in wrong if "did not fire" not in line]
            wrong.clear()
            if found:
                return found[0]
        return ""

    def _origin(self, scenario: str) -> tuple[Home, list[Point]]:
        """Return the home that a scenario begins with, and the calls of one life in memory."""
        if scenario not in self._origins:
            origin = self._bench.home_of(scenario)
            copy = self._bench.copy(origin)
            ended = live_once(partial(_live, copy, scenario, None), copy.top, Fault())
            shutil.rmtree(copy.top)
            self._origins[scenario] = origin, ended.points
        return self._origins[scenario]

    def _row(self, scenario: str, how: str, calls: int) -> Row:
        way = f"{how} {self._kind}"
        row = self._rows.setdefault((scenario, way), Row(scenario, way))
        row.points = max(row.points, calls)
        return row

    def _enter(self, row: Row, ended: Ended, wrong: Sequence[str]) -> None:
        row.lost += judge.lost(wrong)
        row.doubled += judge.doubled(wrong)
        row.residue += judge.residue(wrong)
        where = f"{row.scenario}: {row.way} at call {len(ended.points)} ({ended.points[-1]})"
        row.wrong.extend(f"{where}: {line}" for line in wrong)


def sweep(
    kinds: Sequence[Kind], *, points: int, seed: int, part: int, parts: int, tell: Callable[[], None]
) -> tuple[list[Row], dict[str, str]]:
    """Cut the power of these file systems; return the rows, and what found each seeded mistake."""
    rows: list[Row] = []
    bugs: dict[str, str] = {}
    with workshop() as folder:
        bench = Bench(folder, seed=seed, part=part, parts=parts)
        for kind in kinds:
            with Disk(folder / kind, kind) as disk:
                cuts = RealCuts(bench, Ground(disk), seed=seed, part=part, parts=parts)
                tried = cuts.sweep(points, tell=tell)
                rows += [replace(row, wrong=row.wrong[:]) for row in tried]
                seeded = [bug for bug in BUGS if bug.name in FOUND_BY_CUTS][part::parts]
                bugs |= {f"{bug.name} ({kind})": cuts.find(bug, limit=LOOKED_FOR) for bug in seeded}
    return rows, bugs


def _spread(calls: int, wanted: int, dice: random.Random) -> list[int]:
    """Return so many calls: each as often as every other, or one more, in an order by the seed."""
    whole, rest = divmod(wanted, calls)
    found = [n for _ in range(whole) for n in range(1, calls + 1)] + dice.sample(range(1, calls + 1), rest)
    dice.shuffle(found)
    return found


async def _live(home: Home, scenario: str, bug: Bug | None) -> None:
    if bug is not None:
        bug.make()
    fork_sealers()
    await (life_start.live if scenario == "start" else LIVES[scenario].lived)(home, say)
