"""``make torture``: kills, full disks and power cuts, seeded mistakes that must be found, and one table at the end.

The short form kills before, and fills the disk once at, every call that changes a file, of a run of more than three
writes to one file at the first, the last and one between; it cuts the power at a fifth of these, kills after and fills
the disk for good at a tenth. The long form (``LONG=1``) does everything at every call, and has the medium (EIO) and the
quota (EDQUOT) fail too. What a start after a death does is tormented in the same way.

``--real ext4,xfs`` (``REAL=``) instead cuts the power of real file systems, ``--points`` (``POINTS=``) times each
(``real.py``); ``--weather full,line,clock`` (``WEATHER=``) goes through so many rounds of disks that are full, lines
that fall and clocks that jump (``weather.py``). Both want root.
"""

import argparse
import json
import os
import random
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from agent.clock import monotonic_s
from tests.torture import real, trace, weather
from tests.torture.bugs import BUGS
from tests.torture.run import end_with_parent
from tests.torture.sweep import LIVES, LONG, SHORT, Bench, Row, workshop

WORKERS: Final = 2

HEAD: Final = ("scenario", "mode", "tried", "of", "fired", "lost", "doubled", "residue")


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 when every fault fired, nothing was lost and every seeded mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat a run: contents, sizes and which points are tried")
    parser.add_argument("--long", action="store_true", help="every point of everything, with EIO and EDQUOT too")
    parser.add_argument("--scenario", choices=[*LIVES, "start"], action="append", help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--real", type=_some_of(real.KINDS), help="cut the power of ext4,xfs in images; wants root")
    parser.add_argument("--weather", type=_some_of(weather.KINDS), help="rounds of full,line,clock; wants root")
    parser.add_argument("--points", type=int, default=24, help="with --real or --weather: of each so many")
    options = parser.parse_args(words)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    began_s = monotonic_s()
    scenarios = options.scenario or [*LIVES, "start"]
    whole = options.scenario is None
    if options.real or options.weather:
        results = _work(lambda part: _other_part(part, options, seed=seed))
    else:
        results = _work(lambda part: _part(part, seed=seed, long=options.long, scenarios=scenarios, whole=whole))
    rows = _rows(results)
    bugs = {name: found for result in results for name, found in result["bugs"].items()}
    traces = [line for result in results for line in result["trace"]]
    took_s = round(monotonic_s() - began_s, 1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = round(used.ru_utime + used.ru_stime, 1)
    bad = [
        *(line for row in rows for line in row.wrong),
        *traces,
        *(f"not found: {n}" for n, how in bugs.items() if not how),
    ]
    if options.json:
        told = {
            "seed": seed,
            "seconds": took_s,
            "cpu_seconds": cpu_s,
            "rows": [asdict(row) for row in rows],
            "bugs": bugs,
            "wrong": bad,
        }
        print(json.dumps(told, indent=1))
    else:
        others = {"REAL": options.real, "WEATHER": options.weather}
        asked = "".join(f"{name}={','.join(kinds)} " for name, kinds in others.items() if kinds)
        how = f"{asked}POINTS={options.points} " if asked else "LONG=1 " * options.long
        _table(rows, bugs, bad, repeat=f"make torture {how}SEED={seed}", took_s=took_s, cpu_s=cpu_s)
    return 1 if bad else 0


def _part(part: int, *, seed: int, long: bool, scenarios: Sequence[str], whole: bool) -> dict[str, Any]:
    """Do one worker's share."""
    ways = LONG if long else SHORT
    rows: list[Row] = []
    with workshop() as folder:
        bench = Bench(folder, seed=seed, part=part, parts=WORKERS, everything=long)
        for scenario in scenarios:
            if scenario == "start":
                rows.extend(bench.sweep_starts(ways, tell=_tick))
                continue
            origin = bench.home(scenario)
            rows.extend(bench.sweep(origin, scenario, way, share=way.share, tell=_tick) for way in ways)
        bugs = {bug.name: bench.find(bug) for bug in BUGS[part::WORKERS]} if whole else {}
        wrong = trace.check(bench) if whole and part == WORKERS - 1 else []
    return {"rows": [asdict(row) for row in rows], "bugs": bugs, "trace": wrong}


def _other_part(part: int, options: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """Do one worker's share of the real power cuts and of the weather."""
    points = options.points
    rows, bugs = real.sweep(options.real or (), points=points, seed=seed, part=part, parts=WORKERS, tell=_tick)
    rows += [weather.rounds(kind, points, seed=seed, tell=_tick) for kind in (options.weather or ())[part::WORKERS]]
    return {"rows": [asdict(row) for row in rows], "bugs": bugs, "trace": []}


def _some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        if not set(text.split(",")) <= set(known):
            raise argparse.ArgumentTypeError(f"of {','.join(known)}, and not {text}")
        return tuple(kind for kind in known if kind in text.split(","))

    return read


def _tick() -> None:
    os.write(2, b".") if os.isatty(2) else None


def _work(part: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the parts side by side, each in its own process."""
    pipes = [_fork(part, number) for number in range(WORKERS)]
    texts = {out: b"" for out, _ in pipes}
    open_ = set(texts)
    while open_:
        for out in select.select(list(open_), [], [])[0]:
            piece = os.read(out, 1 << 16)
            texts[out] += piece
            if not piece:
                open_.discard(out)
    for _, pid in pipes:
        if os.waitpid(pid, 0)[1] != 0:
            raise SystemExit("torture: a worker failed; its words are above")
    if os.isatty(2):
        os.write(2, b"\n")
    return [json.loads(texts[out]) for out, _ in pipes]


def _fork(part: Callable[[int], dict[str, Any]], number: int) -> tuple[int, int]:
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
        text = json.dumps(part(number))
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


def _table(
    rows: Sequence[Row],
    bugs: dict[str, str],
    bad: Sequence[str],
    *,
    repeat: str,
    took_s: float,
    cpu_s: float,
) -> None:
    lines = [list(HEAD), *([str(value) for value in _cells(row)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        print(
            "  ".join(
                cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
        )
    print()
    for seeded, how in bugs.items():
        print(f"seeded: {seeded}: {'found: ' + how[:120] if how else 'NOT FOUND'}")
    tried = sum(row.tried for row in rows)
    print()
    for finding in bad:
        print(f"wrong: {finding}")
    found = sum(bool(how) for how in bugs.values())
    print(
        f"{tried} points in {took_s} s ({tried / took_s:.1f}/s, {cpu_s} s of processor), "
        f"{sum(row.fired for row in rows)} fired, "
        f"{sum(row.lost for row in rows)} objects lost, {sum(row.doubled for row in rows)} commands doubled, "
        f"seeded mistakes found {found}/{len(bugs)}; repeat with: {repeat}"
    )


def _cells(row: Row) -> tuple[object, ...]:
    return row.scenario, row.way, row.tried, row.points, row.fired, row.lost, row.doubled, row.residue


if __name__ == "__main__":
    raise SystemExit(main())
