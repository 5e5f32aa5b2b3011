"""Runs one test after the other, each in a fork of this process, which has in memory what no mutation changes.

A pytest that begins from nothing loads for most of a second what is the same each time: pytest itself, the libraries,
the simulator. What a test loaded of these is loaded here when it has ended, so that the next one finds it. Nothing of
the agent, and no test, is ever loaded here.

    a line in    the words for pytest, as JSON; before them the file for what it says
    a line out   its exit code
"""

import contextlib
import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Final

import pytest

CHANGED: Final = frozenset({"__main__", "agent", "tests"})
"""What a mutation changes, and what stands on that."""

_TASKS: Final = Path("/proc/self/task")


def main() -> int:
    """Serve until nobody asks any more; in the forks, the exit code of pytest."""
    gc.disable()
    for line in sys.stdin:
        said, *words = json.loads(line)
        loaded = Path(f"{said}.loaded")
        gc.freeze()  # what is loaded is looked through in no fork, and so not copied to it either
        child = os.fork()
        if child == 0:
            gc.enable()
            return _run(words, said=Path(said), loaded=loaded)
        _, status = os.waitpid(child, 0)
        _load(loaded)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _run(words: list[str], *, said: Path, loaded: Path) -> int:
    with Path(os.devnull).open("rb") as nothing, said.open("wb") as out:
        for number, stream in enumerate((nothing, out, out)):
            os.dup2(stream.fileno(), number)
    code = pytest.main(words)
    names = [name for name in sys.modules if name.partition(".")[0] not in CHANGED]
    loaded.write_text("\n".join(names), encoding="utf-8")
    return int(code)


def _load(loaded: Path) -> None:
    """Load the same; a process of several threads must not fork."""
    with contextlib.suppress(FileNotFoundError):  # it was killed
        for name in loaded.read_text(encoding="utf-8").splitlines():
            if name not in sys.modules:
                with contextlib.suppress(ImportError):  # not everything in sys.modules has a file
                    importlib.import_module(name)
    assert len(list(_TASKS.iterdir())) == 1, "a library starts a thread as it is loaded"


if __name__ == "__main__":
    sys.exit(main())
