"""Which processes measure what of the agent runs in them, and which tests measure anything.

To measure makes whatever runs twice as slow, and to start measuring takes as long as most commands take altogether;
tests start thousands of processes, and most of them do again what was measured before. So a process is measured

1. where it may run something of the agent: not the simulators, the certificates' tool, or a broker;
2. in the first set of a test's parameters;
3. in the folders and files whose subject are the commands and processes themselves (``SUBJECT``); elsewhere a command
   is measured the first times that this worker starts it (``TIMES``), and an agent always.
"""

import functools
import itertools
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final

SETTING: Final = "COVERAGE_PROCESS_CONFIG"
"""By this of the environment a process measures from its first line on (``patch`` in pyproject.toml)."""

NOT_OURS: Final = frozenset({"amqtt", "certs", "device_sim"})
"""Packages of the programs that stand beside the agent; it shares no code with them."""

BESIDE: Final = frozenset({"certs", "link_server", "model", "setup", "sim"})
"""Folders of tests whose subject is one of those packages, or the set-up, or a whole device that lives for long; of the
agent they use what the others try."""

PROGRAMS: Final = frozenset({"privacy-agent", "privacy-owner"})

SUBJECT: Final = frozenset({"age", "cli", "discovery", "nearby", "owner", "rtsp", "shell", "test_sealer.py"})
"""Folders and files of tests that try the commands and processes themselves, each of them for its own sake."""

TIMES: Final = 3
"""Elsewhere a command of the same words is measured so often by each worker: the first one may end early."""

_MARKS: Final = "/=.0123456789"
"""What words of a command's own do not have, and paths, values and names of what is asked for mostly do."""


def runs_no_agent(command: object) -> bool:
    """Tell whether a command, whatever it stands behind, is the simulator's, the certificates' or a broker's."""
    if isinstance(command, str | bytes | os.PathLike) or not isinstance(command, Iterable):
        return False
    words = [os.fsdecode(word) for word in command]
    modules = {module.partition(".")[0] for before, module in itertools.pairwise(words) if before == "-m"}
    return bool(modules & NOT_OURS) or any(PurePath(word).name == "device-sim" for word in words)


def own_words(command: object) -> tuple[str, ...]:
    """Return the words by which one command is the same as another: our program's name, and no paths and values.

    What it stands behind makes it no other one.
    """
    if isinstance(command, str | bytes | os.PathLike) or not isinstance(command, Iterable):
        return (str(command),)
    words = [PurePath(word).name if _is_ours(word) else word for word in map(os.fsdecode, command)]
    begin = next((number for number, word in enumerate(words) if _is_ours(word)), 0)
    return tuple(word for word in words[begin:] if _is_ours(word) or not any(mark in word for mark in _MARKS))


def _is_ours(word: str) -> bool:
    return PurePath(word).name in PROGRAMS or word.startswith("agent.")


class Measuring:
    """What is measured of the processes that this worker starts; ``test`` says which test it is at."""

    def __init__(self) -> None:
        self._each = True
        self._later = False
        self._begun: Counter[tuple[str, ...]] = Counter()

    def test(self, place: PurePath, *, later: bool) -> None:
        """Begin with a test of this file, and whether it is one with another than its first parameters."""
        self._each = not SUBJECT.isdisjoint({place.name, place.parent.name})
        self._later = later

    def wants(self, command: object) -> bool:
        """Tell whether a process that is started now is measured."""
        wanted = self.would_want(command)
        self._begun[own_words(command)] += wanted
        return wanted

    def would_want(self, command: object) -> bool:
        """Tell whether one that were started now would be."""
        if self._later or runs_no_agent(command):
            return False
        words = own_words(command)
        return self._each or "run" in words or self._begun[words] < TIMES


MEASURING: Final = Measuring()
"""Of this process."""


def measure_some(measuring: Measuring) -> None:
    """Start every process, from now on, without the setting unless it is wanted; what it starts has none either."""
    begin = subprocess.Popen.__init__

    @functools.wraps(begin)
    def begun(self: "subprocess.Popen[bytes]", args: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401 - Popen's own
        if SETTING in os.environ and not measuring.wants(args):
            env = os.environ if options.get("env") is None else options["env"]
            options["env"] = {name: value for name, value in env.items() if name != SETTING}
        begin(self, args, *rest, **options)

    setattr(subprocess.Popen, "__init__", begun)  # noqa: B010 - every way to start a process comes by here


@contextmanager
def unmeasured() -> Iterator[None]:
    """Measure nothing, here or in what is started, until the block ends: whatever runs, runs twice as fast."""
    trace, trace_of_threads, setting = sys.gettrace(), threading.gettrace(), os.environ.pop(SETTING, None)
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)
        threading.settrace(trace_of_threads)
        if setting is not None:
            os.environ[SETTING] = setting
