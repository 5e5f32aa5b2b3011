"""Runs one test after the other, each in a fork of this process, which has in memory what no mutation changes.

A pytest that begins from nothing loads for most of a second what is the same each time: pytest itself, the libraries,
the simulator. What a test, or a program that it started, loaded of these is loaded here when it has ended, so that the
next one finds it. Nothing of the agent, and no test, is ever loaded here.

    a line in    the words for pytest, as JSON; before them the file for what it says
    a line out   its exit code
"""

import gc
import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.loading import load

CHANGED: Final = frozenset({"__main__", "agent", "tests"})
"""What a mutation changes, and what stands on that."""


def main() -> int:
    """Serve until nobody asks any more; in the forks, the exit code of pytest."""
    gc.disable()
    for line in sys.stdin:
        said, *words = json.loads(line)
        learned = Path(f"{said}.learned")
        learned.mkdir()
        gc.freeze()  # what is loaded is looked through in no fork, and so not copied to it either
        child = os.fork()
        if child == 0:
            return _run(words, said=Path(said), learned=learned)
        _, status = os.waitpid(child, 0)
        for told in learned.iterdir():
            load(told, but=CHANGED)
        shutil.rmtree(learned, ignore_errors=True)  # one that ends late may still write there
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _run(words: list[str], *, said: Path, learned: Path) -> int:
    with Path(os.devnull).open("rb") as nothing, said.open("wb") as out:
        for number, stream in enumerate((nothing, out, out)):
            os.dup2(stream.fileno(), number)
    importlib.import_module("tests.loaded").fork_loader(learned)  # it stands on what may be changed
    gc.enable()
    code = pytest.main(words)
    (learned / "pytest").write_text("\n".join(sys.modules), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
