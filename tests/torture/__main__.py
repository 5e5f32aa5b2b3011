"""``make torture``: kills, full disks and power cuts, seeded mistakes that must be found, and one table at the end.

The short form kills before, and fills the disk once at, every call that changes a file, of a run of more than three
writes to one file at the first, the last and one between; it cuts the power at a fifth of these, kills after and fills
the disk for good at a tenth. Of the lives in ``SAMPLED`` it tries a few points by seed. The long form (``--long``)
tries ``--points`` of each mode (kill, I/O error, power cut), spread by seed over every call of every life and of the
starts after some of its deaths, and has the medium (EIO) and the quota (EDQUOT) fail too. What a start after a death
does is tormented in the same way.

``--real ext4,xfs`` (``REAL=``) instead cuts the power of real file systems, ``--points`` (``POINTS=``) times each
(``real.py``); ``--weather full,line,clock`` (``WEATHER=``) goes through so many rounds of disks that are full, lines
that fall and clocks that jump (``weather.py``). Both want root.
"""

import argparse
import json
import mmap
import os
import random
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from agent.clock import monotonic_s, system_clock
from tests.torture import real, report, trace, weather
from tests.torture.bugs import BUGS
from tests.torture.lives import LIVES, SAMPLED
from tests.torture.report import Ran
from tests.torture.run import end_with_parent
from tests.torture.sweep import SHORT, Bench, Row, workshop

WORKERS: Final = 2

TELL_S: Final = 1.0
"""How often a terminal is told how far it is."""

POINTS: Final = 10_000
"""Of each mode, that the long form tries unless told otherwise."""

OTHER_POINTS: Final = 24
"""The same of real power cuts and of the weather."""

_COUNT: Final = struct.Struct("=Q")
_FAILED: Final = "torture: a worker failed; its words are above"

Task = Callable[[int, Callable[[], None]], dict[str, Any]]


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 when every fault fired, nothing was lost and every seeded mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat a run: contents, sizes and which points are tried")
    parser.add_argument("--long", action="store_true", help="points of everything, with EIO and EDQUOT too")
    said = f"of each mode with --long ({POINTS} if not said), of each with --real or --weather ({OTHER_POINTS})"
    parser.add_argument("--points", type=int, help=said)
    parser.add_argument("--minutes", type=float, help="with --long, begin nothing more after so long")
    parser.add_argument("--scenario", choices=[*LIVES, "start"], action="append", help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page as well")
    parser.add_argument("--real", type=_some_of(real.KINDS), help="cut the power of ext4,xfs in images; wants root")
    parser.add_argument("--weather", type=_some_of(weather.KINDS), help="rounds of full,line,clock; wants root")
    options = parser.parse_args(words)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    began_s = monotonic_s()
    ends_s = began_s + 60 * options.minutes if options.minutes is not None else None
    plan = Plan(
        seed=seed,
        points=(options.points or POINTS) if options.long else None,
        ends_s=ends_s,
        scenarios=tuple(options.scenario or (*LIVES, "start")),
        whole=options.scenario is None,
    )
    others = {"REAL": options.real or (), "WEATHER": options.weather or ()}
    each = options.points or (OTHER_POINTS if any(others.values()) else POINTS)
    asked = "".join(f"{name}={','.join(kinds)} " for name, kinds in others.items() if kinds)
    for_ = f"MINUTES={options.minutes:g} " if options.minutes is not None else ""
    how = f"{asked}POINTS={each} " if asked else f"LONG=1 POINTS={each} {for_}" * options.long
    if asked:
        results = _work(lambda part, tell: _other_part(part, others, points=each, seed=seed, tell=tell))
    else:
        results = _work(lambda part, tell: _part(part, plan, tell))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = Ran(
        seed=seed,
        repeat=f"make torture {how}SEED={seed}",
        rows=_rows(results),
        bugs={name: found for result in results for name, found in result["bugs"].items()},
        trace=[line for result in results for line in result["trace"]],
        at_ms=system_clock()().wall_ms,
        seconds=round(monotonic_s() - began_s, 1),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 1),
    )
    print(json.dumps(ran.told(), indent=1) if options.json else report.text(ran))
    if options.write is not None:
        report.write(ran, options.write)
    return 1 if ran.wrong else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for; ``points`` of each mode, ``None`` in the short form."""

    seed: int
    points: int | None
    ends_s: float | None
    scenarios: Sequence[str]
    whole: bool

    def over(self) -> bool:
        """Tell whether nothing more is begun."""
        return self.ends_s is not None and monotonic_s() >= self.ends_s


def _part(part: int, plan: Plan, tell: Callable[[], None]) -> dict[str, Any]:
    """Do one worker's share."""
    with workshop() as folder:
        bench = Bench(folder, seed=plan.seed, part=part, parts=WORKERS, everything=plan.points is not None)
        if plan.points is not None:
            lives = [name for name in plan.scenarios if name != "start"]
            rows = bench.sweep_all(lives, wanted=plan.points, tell=tell, over=plan.over)
        else:
            rows = _short(bench, part, plan, tell)
        bugs = {bug.name: bench.find(bug) for bug in BUGS[part::WORKERS]} if plan.whole else {}
        wrong = trace.check(bench) if plan.whole and part == WORKERS - 1 else []
    return {"rows": [asdict(row) for row in rows], "bugs": bugs, "trace": wrong}


def _other_part(
    part: int, others: dict[str, tuple[Any, ...]], *, points: int, seed: int, tell: Callable[[], None]
) -> dict[str, Any]:
    """Do one worker's share of the real power cuts and of the weather."""
    rows, bugs = real.sweep(others["REAL"], points=points, seed=seed, part=part, parts=WORKERS, tell=tell)
    rows += [weather.rounds(kind, points, seed=seed, tell=tell) for kind in others["WEATHER"][part::WORKERS]]
    return {"rows": [asdict(row) for row in rows], "bugs": bugs, "trace": []}


def _some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        if not set(text.split(",")) <= set(known):
            raise argparse.ArgumentTypeError(f"of {','.join(known)}, and not {text}")
        return tuple(kind for kind in known if kind in text.split(","))

    return read


def _short(bench: Bench, part: int, plan: Plan, tell: Callable[[], None]) -> list[Row]:
    rows: list[Row] = []
    for number, scenario in enumerate(plan.scenarios):
        if scenario == "start":
            rows.extend(bench.sweep_starts(SHORT, tell=tell))
        elif scenario in SAMPLED and plan.whole:
            rows.extend(bench.sample(scenario, tell=tell) if number % WORKERS == part else ())
        else:
            origin = bench.home(scenario)
            rows.extend(bench.sweep(origin, scenario, way, share=way.share, tell=tell) for way in SHORT)
    return rows


def _work(part: Task) -> list[dict[str, Any]]:
    """Run the parts side by side, each in its own process; on a terminal tell how many points were tried."""
    counts = mmap.mmap(-1, WORKERS * _COUNT.size)
    pipes = [_fork(part, number, counts) for number in range(WORKERS)]
    texts = {out: b"" for out, _ in pipes}
    open_ = set(texts)
    while open_:
        for out in select.select(list(open_), [], [], TELL_S)[0]:
            piece = os.read(out, 1 << 16)
            texts[out] += piece
            if not piece:
                open_.discard(out)
                if not texts[out]:  # the others end with this process
                    raise SystemExit(_FAILED)
        if os.isatty(2):
            tried = sum(_COUNT.unpack_from(counts, n * _COUNT.size)[0] for n in range(WORKERS))
            os.write(2, f"\r{tried} points".encode())
    for _, pid in pipes:
        if os.waitpid(pid, 0)[1] != 0:
            raise SystemExit(_FAILED)
    if os.isatty(2):
        os.write(2, b"\n")
    return [json.loads(texts[out]) for out, _ in pipes]


def _fork(part: Task, number: int, counts: mmap.mmap) -> tuple[int, int]:
    def tell() -> None:
        tried = _COUNT.unpack_from(counts, number * _COUNT.size)[0]
        _COUNT.pack_into(counts, number * _COUNT.size, tried + 1)

    out, out_in = os.pipe()
    pid = os.fork()
    if pid:
        os.close(out_in)
        return out, pid
    code = 1
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # its folder in memory is removed
    end_with_parent(signal.SIGTERM)
    try:
        os.close(out)
        text = json.dumps(part(number, tell))
        with os.fdopen(out_in, "w") as stream:
            stream.write(text)
        code = 0
    except Exception:  # noqa: BLE001 - told, then the parent fails
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _rows(results: Sequence[dict[str, Any]]) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}
    for number, result in enumerate(results):
        mine: dict[tuple[str, str], Row] = {}
        for values in result["rows"]:
            row = Row(**values)
            same = mine.setdefault((row.scenario, row.way), Row(row.scenario, row.way))
            points = same.points + row.points
            same.add(row)
            same.points = points
        for key, row in mine.items():
            found.setdefault(key, Row(row.scenario, row.way)).add(row)
        assert number < WORKERS
    return list(found.values())


if __name__ == "__main__":
    raise SystemExit(main())
