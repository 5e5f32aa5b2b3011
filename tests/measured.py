"""Which processes measure what of the agent runs in them: all that a test starts, but those that run nothing of it.

To start measuring takes as long as most of the simulators' commands take altogether, and tests start thousands.
"""

import functools
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final

SETTING: Final = "COVERAGE_PROCESS_CONFIG"
"""By this of the environment a process measures from its first line on (``patch`` in pyproject.toml)."""

NOT_OURS: Final = frozenset({"amqtt", "certs", "device_sim"})
"""Packages of the programs that stand beside the agent; it shares no code with them."""

BESIDE: Final = frozenset({"certs", "link_server", "setup", "sim"})
"""Folders of tests whose subject is one of those packages, or the set-up; of the agent they use what the others try."""


def runs_no_agent(command: object) -> bool:
    """Tell whether a command, whatever it stands behind, is the simulator's, the certificates' or a broker's."""
    if isinstance(command, str | bytes | os.PathLike) or not isinstance(command, Iterable):
        return False
    words = [os.fsdecode(word) for word in command]
    modules = {module.partition(".")[0] for before, module in itertools.pairwise(words) if before == "-m"}
    return bool(modules & NOT_OURS) or any(PurePath(word).name == "device-sim" for word in words)


def measure_only_the_agent() -> None:
    """Start each of those other processes, from now on, without the setting; what they start has none either."""
    begin = subprocess.Popen.__init__

    @functools.wraps(begin)
    def begun(self: "subprocess.Popen[bytes]", args: Any, *rest: Any, **options: Any) -> None:  # noqa: ANN401 - Popen's own
        if SETTING in os.environ and runs_no_agent(args):
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
