"""What a run came to: one table for a terminal, one of its modes for a page, with the machine beside it."""

import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from agent.clock import rfc3339_ms
from tests.bench.machine import describe
from tests.torture.sweep import Row

HEAD: Final = ("scenario", "mode", "tried", "of", "fired", "lost", "doubled", "residue")
MODES: Final = ("kill", "I/O error", "power cut", "rounds")
PAGE_HEAD: Final = (
    "mode", "points tried", "faults fired", "objects lost", "commands doubled", "bytes of residue",
)  # fmt: skip
BEGIN: Final = "<!-- torture: what stands here is written by python -m tests.torture --write -->"
END: Final = "<!-- torture: end -->"


@dataclass(frozen=True, slots=True)
class Ran:
    """One run; ``repeat`` is the command that repeats it."""

    seed: int
    repeat: str
    rows: Sequence[Row]
    bugs: dict[str, str]
    trace: Sequence[str]
    at_ms: int
    seconds: float
    cpu_seconds: float

    @property
    def wrong(self) -> list[str]:
        """Return everything that fails the run."""
        return [
            *(line for row in self.rows for line in row.wrong),
            *self.trace,
            *(f"not found: {name}" for name, how in self.bugs.items() if not how),
        ]

    def modes(self) -> list[Row]:
        """Return one row for each mode, and one of all."""
        found = []
        tried = {row.mode for row in self.rows}
        for mode in (*(mode for mode in MODES if mode in tried), "all"):
            whole = Row("", mode)
            for row in self.rows:
                if mode in {row.mode, "all"}:
                    whole.add(row)
            found.append(whole)
        return found

    def told(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {
            "seed": self.seed,
            "repeat": self.repeat,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "modes": [asdict(row) for row in self.modes()],
            "rows": [asdict(row) for row in self.rows],
            "bugs": self.bugs,
            "wrong": self.wrong,
        }


def text(ran: Ran) -> str:
    """Return the table for a terminal, and what was wrong beneath it."""
    cells = [(row.scenario, row.way, *_counts(row, row.points)) for row in ran.rows]
    totals = [("", row.way, *_counts(row, "")) for row in ran.modes()]
    lines = [list(HEAD), *([str(value) for value in line] for line in (*cells, *totals))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    told = [
        "  ".join(
            cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    told += [
        "",
        *(f"seeded: {name}: {f'found: {how[:120]}' if how else 'NOT FOUND'}" for name, how in ran.bugs.items()),
    ]
    told += ["", *(f"wrong: {finding}" for finding in ran.wrong)]
    tried = ran.modes()[-1].tried
    told.append(
        f"{tried} points in {ran.seconds} s ({tried / ran.seconds:.1f}/s, {ran.cpu_seconds} s of processor), "
        f"seeded mistakes found {sum(map(bool, ran.bugs.values()))}/{len(ran.bugs)}; repeat with: {ran.repeat}"
    )
    return "\n".join(told)


def _counts(row: Row, of: object) -> tuple[object, ...]:
    return row.tried, of, row.fired, row.lost, row.doubled, row.residue


def write(ran: Ran, page: Path) -> None:
    """Put the table into a page, between its two marks, which it must have."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has not the two lines between which the table stands: {BEGIN} and {END}")
    page.write_text("\n".join((before + begin, markdown(ran), end + after)), encoding="utf-8")


def markdown(ran: Ran) -> str:
    """Return machine, command and table of the modes."""
    machine = describe(Path("/tmp"))  # noqa: S108 - only its file system is named
    commit = _git("rev-parse", "--short=12", "HEAD") + (" and what was changed since" if _git("status", "-s") else "")
    lives = sorted({row.scenario.removeprefix("start after ") for row in ran.rows})
    about = (
        f"`{ran.repeat}`, {rfc3339_ms(ran.at_ms)[:10]}, commit {commit}: "
        f"{ran.seconds / 60:.0f} min, {ran.cpu_seconds:.0f} s of processor; "
        f"{machine['processor']}, {machine['memory']}, {machine['kernel']}, Python {machine['python']}."
    )
    found = sum(map(bool, ran.bugs.values()))
    rows = [(row.way, row.tried, row.fired, row.lost, row.doubled, row.residue) for row in ran.modes()]
    seeded = f"Seeded mistakes found: {found} of {len(ran.bugs)}. " if ran.bugs else ""
    wrong = f"Findings: {len(ran.wrong)}. Lives: {', '.join(lives)}."
    return "\n".join(("", about, "", *_grid((PAGE_HEAD, *rows)), "", seeded + wrong, ""))


def _grid(lines: Iterable[Sequence[object]]) -> list[str]:
    head, *rows = (f"| {' | '.join(map(str, line))} |" for line in lines)
    return [head, f"|---|{'---:|' * (len(PAGE_HEAD) - 1)}", *rows]


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return shlex.join(ran.stdout.split()) if ran.returncode == 0 else "unknown"
