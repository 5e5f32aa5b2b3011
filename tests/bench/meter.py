"""What a command or a group of running processes costs, as the kernel counts it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Final, Self

GAUGE: Final = Path(__file__).with_name("gauge.py")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_S: Final = 0.05
_CPU_FIELDS: Final = slice(11, 15)  # proc(5) stat: utime, stime and those of children that were waited for


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, or the medians of several."""

    wall_s: float
    cpu_s: float
    peak_bytes: float

    @classmethod
    def median(cls, costs: "Sequence[Cost]") -> "Cost":
        """Return the median of each, except that the peak is the highest."""
        return cls(
            median(one.wall_s for one in costs),
            median(one.cpu_s for one in costs),
            max(one.peak_bytes for one in costs),
        )


def run(command: Sequence[str | Path]) -> Cost:
    """Run a command to its end, start-up included, with its standard output thrown away."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", GAUGE, *map(str, command)], capture_output=True, text=True, check=True
    )
    wall_s, cpu_s, peak_bytes, code = done.stdout.split()
    if code != "0":
        raise RuntimeError(f"{command[0]} ended with {code}: {done.stderr}")
    return Cost(float(wall_s), float(cpu_s), float(peak_bytes))


def in_turn(commands: Mapping[str, Callable[[], Cost]], *, rounds: int) -> dict[str, Cost]:
    """Run each once per round, so that what else the machine does falls on all of them; return the medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(command())
    return {name: Cost.median(found) for name, found in costs.items()}


def now_s() -> float:
    """Return seconds; only differences mean something."""
    return time.perf_counter()


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and its descendants so far."""
    ticks = 0
    for one in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(map(int, fields[_CPU_FIELDS]))
    return ticks / _TICKS


def pss_bytes(pid: int) -> int:
    """Return the proportional share of memory of a process and its descendants."""
    return sum(_memory(one, "smaps_rollup", "Pss:")[0] for one in family(pid))


def resident_bytes(pid: int) -> int:
    """Return what is private to each process of a family, and the shared pages of the one that has most of them."""
    return _once_bytes(family(pid))


def _once_bytes(pids: list[int]) -> int:
    looked = [_memory(pid, "smaps_rollup", "Private_", "Shared_") for pid in pids]
    return sum(private for private, _ in looked) + max(shared for _, shared in looked)


def _memory(pid: int, file: str, *names: str) -> list[int]:
    """Look once, and add up the lines that begin with each name, in bytes; 0 of a process that is gone."""
    found = dict.fromkeys(names, 0)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            for name in names:
                if line.startswith(name) and "Hugetlb" not in line:
                    found[name] += int(line.split()[1]) * 1024
    return [found[name] for name in names]


def io_of(pid: int) -> dict[str, int]:
    """Return proc(5) ``io`` of one process."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


class Peak:
    """The highest memory of a process and its descendants while the context lasts, looked at 20 times a second.

    ``once_bytes`` is what is private to each process and the shared pages of the one that has most of them, so that
    the same libraries do not count twice; it is never less than the first process's own peak. ``resident_bytes`` adds
    to that the largest other's own peak, as the kernel kept them (``VmHWM``), which counts the libraries twice.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._resident: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.once_bytes = 0

    @property
    def resident_bytes(self) -> int:
        """The sum of two peaks; of processes that followed one another only the largest counts."""
        own = self._resident.get(self._pid, 0)
        return own + max((value for pid, value in self._resident.items() if pid != self._pid), default=0)

    def __enter__(self) -> Self:
        with suppress(OSError):  # forget the peak so far
            Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._look()

    def _look(self) -> None:
        pids = family(self._pid)
        for pid in pids:
            self._resident[pid] = max(self._resident.get(pid, 0), _memory(pid, "status", "VmHWM:")[0])
        self.once_bytes = max(self.once_bytes, _once_bytes(pids), self._resident[self._pid])
