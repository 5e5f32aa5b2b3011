"""``device-sim camera`` as hardware, in a process of its own, with what it says."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.clock import monotonic_s
from tests import loaded
from tests.netns import Host
from tests.waiting import at_most

LIMIT_S = 60.0


class Running:
    """One simulator; ``heard`` waits for what it says."""

    def __init__(self, state: Path, *options: str, host: Host | None = None) -> None:
        self.state = state
        where = ["--host", "127.0.0.1"] if host is None else []
        command = [sys.executable, "-m", "device_sim", "camera", "--state", str(state), "--json", *where, *options]
        self.process = loaded.begin(command, stdin=loaded.PIPE, stdout=loaded.PIPE, host=host)
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._between: list[dict[str, Any]] = []  # said before an answer, and not yet heard
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def heard(self, event: str, *, camera: str = "") -> dict[str, Any]:
        """Return the next such event; what was said before it is passed over."""
        deadline_s = monotonic_s() + at_most(LIMIT_S)
        while True:
            left_s = max(deadline_s - monotonic_s(), 0.001)
            said = self._between.pop(0) if self._between else self._said.get(timeout=left_s)
            if said.get("event") == event and camera in {"", said["camera"]}:
                return said

    def order(self, line: str) -> dict[str, Any]:
        """Type an order and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        while "ok" not in (said := self._said.get(timeout=LIMIT_S)):
            self._between.append(said)
        return said

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(json.loads(line))


@contextmanager
def running(state: Path, *options: str, host: Host | None = None) -> Iterator[Running]:
    """Run one until the block ends, on loopback or on a host of a test's own network."""
    made = Running(state, *options, host=host)
    try:
        yield made
    finally:
        made.end()


def tell(state: Path, *order: str) -> "subprocess.CompletedProcess[str]":
    """``device-sim tell`` as a person would type it."""
    return loaded.run([sys.executable, "-m", "device_sim", "tell", "--state", state, *order], within_s=LIMIT_S)
