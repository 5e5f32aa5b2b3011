"""``make fuzz SECONDS=600``: whatever bytes into every parser, and one table at the end.

Each target gets its share of the time, as many at once as there are processors; what each takes to load comes on top.
What reaches something new is kept in ``.fuzz/`` and is where the next run begins. What broke a target is put into
``tests/fuzz/found/``: from then on it is a test, and ``make test`` fails until the parser is mended.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.fuzz.broken import Broken, name_of
from tests.fuzz.dictionary import words_of, written
from tests.fuzz.target import Target
from tests.fuzz.targets import FOUND, MODULE_OF, TARGETS

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / ".fuzz"
SHARE_MIN_S: Final = 1
"""The fuzzer counts whole seconds, and takes 0 for no end."""

HEAD: Final = ("target", "runs", "new inputs", "crashes")
_RUNS_BYTES: Final = 8
_TICK_S: Final = 1.0
_WHY_LINES: Final = 6


@dataclass(slots=True)
class Row:
    """What came of one target; ``why`` tells of each input that broke it, ``failed`` why it could not run."""

    target: str
    runs: int = 0
    new_inputs: int = 0
    why: list[str] = field(default_factory=list)
    failed: str = ""


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 when nothing but declared errors came out of any target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="what the fuzzers begin with")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(words)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not here; it is made for Linux on x86-64, Python 3.11 to 3.14", file=sys.stderr)
        print("  next: make fuzz, on such a machine", file=sys.stderr)
        return 1
    seed = random.SystemRandom().randrange(1, 1 << 31) if options.seed is None else options.seed
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    workers = min(len(os.sched_getaffinity(0)), len(chosen))
    share_s = max(SHARE_MIN_S, round(options.seconds * workers / len(chosen)))
    rows = _run(chosen, workers=workers, share_s=share_s, seed=seed)
    if options.json:
        print(json.dumps({"seed": seed, "seconds": options.seconds, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(table(rows))
    return 1 if any(row.why or row.failed for row in rows) else 0


def _run(chosen: Sequence[Target], *, workers: int, share_s: int, seed: int) -> list[Row]:
    """Run the targets, a few at a time, and show how far they are where a person watches."""
    running: list[subprocess.Popen[bytes]] = []
    for one in chosen:  # an earlier run's count is none of this one's
        (KEPT / one.name / "runs").unlink(missing_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        waiting = {pool.submit(_one, one, share_s=share_s, seed=seed, running=running): one for one in chosen}
        pending: set[Future[Row]] = set(waiting)
        try:
            while pending:
                _show(len(waiting) - len(pending), len(waiting), [one.name for one in waiting.values()])
                pending = wait(pending, timeout=_TICK_S, return_when=FIRST_COMPLETED).not_done
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            raise
        finally:
            _show_end()
    return [future.result() for future in waiting]


def _one(target: Target, *, share_s: int, seed: int, running: list["subprocess.Popen[bytes]"]) -> Row:
    """Run one target in its own process and gather what it left."""
    folder = KEPT / target.name
    seeds = _prepared(folder, target)
    before = _count(folder / "corpus")
    told = (MODULE_OF[target.name], target.name, folder, FOUND / target.name, share_s, seed)
    command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, told)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        running.append(process)
        code = process.wait()
        running.remove(process)
    row = Row(target.name, runs=_runs(folder), new_inputs=_count(folder / "corpus") - before)
    for broke in Broken(folder / "broken").all():
        row.why.append(_kept(target, broke.raw, broke.why))
    if row.runs < seeds or (code != 0 and not row.why):
        last = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-_WHY_LINES:]
        row.failed = "\n".join((f"the fuzzer ended with {code}", *last))
    return row


def _prepared(folder: Path, target: Target) -> int:
    """Write what a worker begins with; return how many examples there are."""
    for name in ("seeds", "broken"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "runs").write_bytes(bytes(_RUNS_BYTES))
    seeds = list(target.seeds())
    for raw in seeds:
        (folder / "seeds" / name_of(raw)).write_bytes(raw)
    (folder / "words").write_text(written(words_of(seeds)), encoding="ascii")
    return len(seeds)


def _kept(target: Target, raw: bytes, why: str) -> str:
    """Make an input a test; return what it is, where it is, and what it raised."""
    path = FOUND / target.name / name_of(raw)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    last = "\n".join(f"    {line}" for line in why.rstrip().splitlines()[-_WHY_LINES:])
    return f"{path.relative_to(ROOT)}\n{last}"


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _runs(folder: Path) -> int:
    try:
        return int.from_bytes((folder / "runs").read_bytes(), "little")
    except FileNotFoundError:
        return 0


def _show(done: int, of: int, names: Sequence[str]) -> None:
    if sys.stderr.isatty():
        runs = sum(_runs(KEPT / name) for name in names)
        print(f"\r\x1b[Kfuzz: {done} of {of} targets, {runs:,} runs", end="", file=sys.stderr, flush=True)


def _show_end() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Return the table, and beneath it what broke."""
    lines = [HEAD, *((row.target, f"{row.runs:,}", str(row.new_inputs), str(len(row.why))) for row in rows)]
    lines.append(
        (
            "all",
            f"{sum(r.runs for r in rows):,}",
            str(sum(r.new_inputs for r in rows)),
            str(sum(len(r.why) for r in rows)),
        )
    )
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    told = [
        "  ".join(
            cell.rjust(w) if column else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    told += [f"\n{row.target}: {why}" for row in rows for why in row.why]
    told += [f"\n{row.target}: {row.failed}" for row in rows if row.failed]
    if any(row.why for row in rows):
        told.append("\nnext: mend each parser; what broke it lies in tests/fuzz/found and is a test now")
    return "\n".join(told)


if __name__ == "__main__":
    raise SystemExit(main())
