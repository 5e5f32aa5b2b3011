"""The check of system calls: at each promise nothing that it rests on is still unsynced.

Each scenario runs once, undisturbed and with every process started the ordinary way, under ``strace -f -y``. The
calls are read as text and a small account is kept: a written file is dirty until it is synced (or was opened with
``O_DSYNC``), a folder is dirty from a name made, moved or removed in it until it is synced. A promise (a line that
the life says, or the removal of a source's file) finds the account of what it rests on empty, else it is a finding.

Files are taken in one after another here, so that what is dirty at a promise is never another file's affair. Uploads
run side by side, so that at one's promise another's write may be under way: a sync that is missing is missing in each
of some runs, that write is not.

Two things are let be. A part file's own name is nothing that anybody relies on. And while the log of the index is
whole and synced, what was copied from it into the index need not be.
"""

import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.files import ASIDE_PREFIX
from tests.torture.bug import Bug
from tests.torture.bugs import BUGS
from tests.torture.lives import LIVES
from tests.torture.tap import SAY_FD

if TYPE_CHECKING:
    from tests.torture.sweep import Bench

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 60
RUNS: Final = 4
NO_PROMISE: Final = ("durable ", "lost ", "offset ", "asks ")
"""Lines that rest on nothing here: what the store did, and a number for who asks."""

CALLS: Final = (
    "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,symlink,symlinkat"
)
WITH_KEYS: Final = frozenset({"top", "owner", "client", "store", "root", "backend", "signers", "readers"})
"""What of a home the traced life does without: people, whose private keys cannot be written down."""

ALWAYS: Final = ("ingest", "upload", "delete")
"""Lives that are always traced; of the others the short form traces one, by seed."""

SEEN_BY_TRACE: Final = (
    "payload not synced",
    "folder not synced after a payload's name",
    "index with synchronous=NORMAL",
    "folder not synced after a delete",
)
"""Seeded mistakes that this check alone must find too."""

_CALL: Final = re.compile(r"(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+|\?)")
_HALF: Final = re.compile(r"(\d+)\s+(\w+)\((.*?)\s*<unfinished \.\.\.>$")
_REST: Final = re.compile(r"(\d+)\s+<\.\.\. (\w+) resumed>(.*)$")
_DESCRIPTOR: Final = re.compile(r"(\d+|AT_FDCWD)<([^>]*)>")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


def check(bench: "Bench") -> list[str]:
    """Trace the lives, and those with seeded mistakes, which must be found; return what is wrong."""
    wrong: list[str] = []
    others = sorted(LIVES.keys() - set(ALWAYS))
    dice = random.Random(f"{bench.seed} trace")  # noqa: S311 - repeats by its seed
    for scenario in (*ALWAYS, *(others if bench.everything else dice.sample(others, 1))):
        lines, promises = min_of_runs(bench, scenario)
        wrong.extend(f"trace of {scenario}: {line}" for line in lines)
        if promises == 0:
            wrong.append(f"trace of {scenario}: no promise was seen")
    wrong.extend(
        f"the trace does not show the seeded mistake: {bug.name}"
        for bug in BUGS
        if bug.name in SEEN_BY_TRACE and not traced(bench, bug.scenario, bug=bug)[0]
    )
    return wrong


def min_of_runs(bench: "Bench", scenario: str) -> tuple[list[str], int]:
    """Return what ``traced`` does of the first run without findings, or of the one with the fewest."""
    found: list[tuple[list[str], int]] = []
    while len(found) < RUNS and not (found and not found[-1][0]):
        found.append(traced(bench, scenario))
    return min(found, key=lambda run: len(run[0]))


def traced(bench: "Bench", scenario: str, *, bug: Bug | None = None) -> tuple[list[str], int]:
    """Run one scenario under strace; return its findings and how many promises were checked."""
    origin = bench.home_of(scenario)
    beside = {field.name: getattr(origin, field.name) for field in fields(origin) if field.name not in WITH_KEYS}
    origin.top.with_name(f"{origin.top.name}.home").write_bytes(pickle.dumps(beside))
    out = origin.top.with_name(f"{origin.top.name}.strace")
    command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(out), sys.executable]
    words = ["-m", "tests.torture.life", scenario, str(origin.top), *([bug.name] if bug is not None else [])]
    ran = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if ran.returncode != 0:
        return [f"the life ended with {ran.returncode}: {ran.stderr[-300:]}"], 1
    account = Account(str(origin.top))
    for call, arguments in calls(out.read_text(encoding="utf-8", errors="replace").splitlines()):
        account.take(call, arguments)
    return account.findings, account.promises


def calls(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Read strace's lines; a call counts where it ends, and one that failed changes nothing."""
    halves: dict[str, tuple[str, str]] = {}
    for line in lines:
        half = _HALF.match(line)
        if half is not None:
            halves[half[1]] = (half[2], half[3])
            continue
        rest = _REST.match(line)
        if rest is not None and rest[1] in halves:
            name, begun = halves.pop(rest[1])
            line = f"{rest[1]} {name}({begun}{rest[3]}"  # noqa: PLW2901 - the same call, now whole
        whole = _CALL.match(line)
        if whole is not None and whole[4] != "?" and int(whole[4]) >= 0:
            yield whole[2], whole[3]


class Account:
    """What is not durable yet, beneath ``top``."""

    def __init__(self, top: str) -> None:
        self.findings: list[str] = []
        self.promises = 0
        self._top = f"{top}/"
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._synchronous: set[str] = set()

    def take(self, call: str, arguments: str) -> None:
        """Count one call that succeeded."""
        if call == "write" and arguments.startswith(f"{SAY_FD}<"):
            quoted = _QUOTED.search(arguments)
            self._promise(quoted[1] if quoted else "?")
            return
        descriptors = [path.removesuffix(" (deleted)") for _, path in _DESCRIPTOR.findall(arguments)]
        if call in {"fsync", "fdatasync"}:
            self._files.discard(descriptors[0])
            self._folders.discard(descriptors[0])
        elif call in {"open", "openat", "creat", "mkdir", "mkdirat"}:
            self._name_made(call, arguments, descriptors)
        elif call.startswith(("unlink", "rmdir", "rename", "link", "symlink")):
            self._names_changed(call, arguments, descriptors)
        elif descriptors and descriptors[-1 if call == "copy_file_range" else 0].startswith(self._top):
            path = descriptors[-1 if call == "copy_file_range" else 0]
            emptied = call == "ftruncate" and path.endswith("-wal")  # what was in it is in the index and synced
            if path not in self._synchronous and not emptied:
                self._files.add(path)

    def _paths(self, arguments: str, descriptors: list[str]) -> list[str]:
        quoted = _QUOTED.findall(arguments)
        found = []
        for n, name in enumerate(quoted):
            folder = descriptors[min(n, len(descriptors) - 1)] if descriptors else ""
            found.append(name if name.startswith("/") else f"{folder}/{name}")
        return [path for path in found if path.startswith(self._top)]

    def _name_made(self, call: str, arguments: str, descriptors: list[str]) -> None:
        for path in self._paths(arguments, descriptors)[:1]:
            if "O_DSYNC" in arguments or "O_SYNC" in arguments:
                self._synchronous.add(path)
            made = call.startswith(("mkdir", "creat")) or "O_EXCL" in arguments
            if made and not path.endswith(".part"):
                self._folders.add(str(Path(path).parent))

    def _names_changed(self, call: str, arguments: str, descriptors: list[str]) -> None:
        paths = self._paths(arguments, descriptors)
        at_source = bool(paths) and "/spool/" in paths[0]
        aside = at_source and call.startswith("rename") and Path(paths[-1]).name.startswith(ASIDE_PREFIX)
        if at_source and (aside or call.startswith("unlink")):
            self._promise(f"removal of {paths[0].removeprefix(self._top)}")
        if aside:  # its removal begins, and takes that name with it
            return
        if call.startswith("rename") and len(paths) > 1 and paths[0] in self._files:
            self._files.discard(paths[0])
            self._files.add(paths[1])
        for path in paths:
            if call.startswith(("unlink", "rmdir")):
                self._files.discard(path)
                self._folders.discard(path)  # a folder that is gone has nothing left to sync
            if not path.endswith((".part", "-wal")):
                self._folders.add(str(Path(path).parent))

    def _promise(self, what: str) -> None:
        if what.startswith(NO_PROMISE):
            return
        self.promises += 1
        log = any(path.endswith("-wal") for path in self._files)
        dirty = sorted(
            path.removeprefix(self._top)
            for path in self._files | self._folders
            if not path.endswith(".part") and (log or not path.endswith("index.db"))
        )
        if dirty:
            self.findings.append(f"at {what[:60]!r} not synced: {', '.join(dirty)}")
