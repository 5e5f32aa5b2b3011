"""A copy of the project in which one line at a time is made false, to see whether a test notices."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.waiting import AT_MOST

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = 300.0
PATIENCE_S: Final = 12.0
"""Several times what any of these tests waits for what does come."""

OURS: Final = ("privacy-agent", "privacy-owner", "device-sim")
_LEFT_OUT: Final = (".*", "*.pyc.*", "node_modules", "build", "*.egg-info")
"""What was compiled goes along, for it is the same here; not what is only being compiled."""

_CODE_IS_WRONG: Final = frozenset({"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError"})
"""By these no test says what a promise is worth: the changed code could not run."""


class Mutation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What keeps a promise is switched off by writing ``new`` for the one ``old`` of ``file``; then ``test`` fails."""

    promise: str
    file: str
    old: str
    new: str
    test: str

    def __str__(self) -> str:
        """Name it as a test run shows it."""
        return f"{self.promise}:{self.file}:{self.test.partition('::')[2]}"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a test in the copy came to: how many of its cases passed, failed, and could not be run.

    One that fails because the code cannot run, whatever it is to do, is ``broken``.
    """

    passed: int
    failed: int
    broken: int
    said: str


class Tree:
    """The copy; it serves one mutation after the other, so that what is unchanged is compiled, and loaded, once.

    A context manager, which ends the process that runs the tests (``forking.py``).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "project"
        self._changes = 0
        shutil.copytree(ROOT, self._folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        if (modules := ROOT / "tests" / "node" / "node_modules").is_dir():
            (self._folder / "tests" / "node" / "node_modules").symlink_to(modules)
        self.python = self._make_environment(folder / "environment")
        self._runner = subprocess.Popen(
            [self.python, "-m", "tests.promises.forking"],
            cwd=self._folder,
            env={**_environment(), AT_MOST: str(PATIENCE_S)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.communicate()

    def _make_environment(self, folder: Path) -> Path:
        """Make a virtual environment with the packages of this one, in which the copy stands in front of the project.

        A path in the environment of a process would not do: the agent starts its own processes isolated from that.
        """
        packages = Path(sysconfig.get_path("purelib"))
        mine = folder / packages.relative_to(sys.prefix)
        mine.mkdir(parents=True)
        (mine / "copy.pth").write_text(f"{self._folder}\nimport site; site.addsitedir({str(packages)!r})\n")
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
        programs = folder / "bin"
        programs.mkdir()
        python = programs / "python"
        for path in Path(sys.executable).parent.iterdir():
            if path.name in OURS:
                (programs / path.name).write_text(path.read_text().replace(sys.executable, str(python)))
                (programs / path.name).chmod(0o755)
            else:
                (programs / path.name).symlink_to(path.resolve())
        return python

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """Have the copy changed for a while; the text that is replaced stands once in its file."""
        path = self._folder / mutation.file
        text = path.read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, f"{mutation.file} has this {text.count(mutation.old)} times"
        assert mutation.new != mutation.old
        self._write(path, text.replace(mutation.old, mutation.new))
        try:
            yield
        finally:
            self._write(path, text)

    def run(self, test: str) -> Told:
        """Run one test in the copy, with the programs of the copy, and tell what became of it."""
        report = self._folder / "told.xml"
        report.unlink(missing_ok=True)
        options = ["-q", "-x", "-p", "no:cacheprovider", "--junitxml", str(report)]
        said = self._run([*options, test])
        assert report.exists(), said
        suite = ET.parse(report).getroot()[0]  # noqa: S314 - pytest wrote it
        count, failed, errors, skipped = (
            int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
        )
        wrong = sum(_raised(failure) in _CODE_IS_WRONG for failure in suite.iter("failure"))
        return Told(
            passed=count - failed - errors - skipped, failed=failed - wrong, broken=errors + skipped + wrong, said=said
        )

    def _run(self, words: list[str]) -> str:
        """Have pytest run with these words, and return what it said."""
        said = self._folder / "told.txt"
        said.unlink(missing_ok=True)
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        limit = threading.Timer(LIMIT_S, self._runner.kill)
        limit.start()
        try:
            self._runner.stdin.write(f"{json.dumps([str(said), *words])}\n")
            self._runner.stdin.flush()
            answer = self._runner.stdout.readline()
        finally:
            limit.cancel()
        assert answer, f"{words} took more than {LIMIT_S:.0f} s, or its process ended"
        return said.read_text(encoding="utf-8", errors="replace")

    def where(self, *program: str) -> str:
        """Return the file that a process takes the agent from when it is started in this way."""
        code = "import agent; print(agent.__file__)"
        ran = subprocess.run(
            [self.python, *program, "-c", code], cwd="/", env=_environment(), capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    def _write(self, path: Path, text: str) -> None:
        """Write a file anew, under a time of its own: what Python compiled of another text is not taken for this."""
        path.unlink()
        path.write_text(text, encoding="utf-8")
        self._changes += 1
        about = path.stat()
        os.utime(path, (about.st_atime, about.st_mtime + self._changes))


def _raised(failure: ET.Element) -> str:
    """Return the name of what a test failed by: its report ends with a line ``file:line: name``."""
    return (failure.text or "").strip().rpartition(": ")[2].rpartition(".")[2]


def _environment() -> dict[str, str]:
    """Return the environment of what runs in the copy: its coverage is nobody's, and it is no part of this run.

    Plugins of pytest that are installed are left out: no test needs one, and they take as long as a small test does.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COVERAGE_", "PYTEST_"))}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
