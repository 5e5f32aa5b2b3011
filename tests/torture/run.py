"""One life of a process under the tap, with at most one fault; what it promised and how it ended is what comes back.

The process is forked from this one, which has imported the agent already: a life costs milliseconds, not a start of
Python. Its sealing process is forked too instead of started (``forked.py``), for the same reason; the check of system
calls (``trace.py``) starts both the ordinary way.
"""

import array
import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from agent.errors import AgentError
from agent.index.connection import IndexLostError
from tests.torture.medium import Medium
from tests.torture.tap import SAY_FD, Point, Stop, Tap, tap_myself

DEADLINE_MS: Final = 30_000
_PARENT_DEATH_SIGNAL: Final = 1  # Linux <sys/prctl.h>

Mode = Literal["none", "kill before", "kill after", "power cut", "once", "persistent"]
Live = Callable[[], Coroutine[Any, Any, None]]

LEAKED: Final = 3
"""Exit code of a process that ended by something that is none of the errors it may end by."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point."""

    mode: Mode = "none"
    call: int = 0
    error: int = errno.ENOSPC

    def __str__(self) -> str:
        kind = f"{errno.errorcode[self.error]} {self.mode}" if self.mode in {"once", "persistent"} else self.mode
        return f"{kind} at call {self.call}"


@dataclass(slots=True)
class Ended:
    """How a life ended: ``points`` and ``said`` in order, ``fired`` whether the fault was met, ``at`` which call."""

    points: list[Point] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    fired: bool = False
    at: int = 0
    code: int = 0
    words: str = ""
    hangs: bool = False
    over: bool = False


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent is gone."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def live_once(
    live: Live,
    top: Path,
    fault: Fault,
    *,
    medium: Medium | None = None,
    watch: Callable[[str], None] = lambda _line: None,
    visit: Callable[[Ended], None] = lambda _so_far: None,
) -> Ended:
    """Fork a process that lives ``live`` beneath ``top`` under ``fault``; it and its children are dead on return.

    ``watch`` is called with each promise, ``visit`` before each call, while the process stands still.
    """
    ours, theirs = socket.socketpair()
    words, words_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(words)
        _be_tormented(live, theirs, words_in)
    theirs.close()
    os.close(words_in)
    with ours:
        raw = ours.recvmsg(1, socket.CMSG_SPACE(4))[1]
    ended = Ended()
    if raw:
        descriptors = array.array("i")
        descriptors.frombytes(raw[0][2])
        tap = Tap(descriptors[0], top)
        try:
            _attend(tap, fault, ended, medium=medium, watch=watch, visit=visit)
        finally:
            _bury(tap, pid, ended)
            tap.close()
    else:
        ended.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(words, errors="replace") as stream:
        ended.words = stream.read()
    return ended


def _attend(
    tap: Tap,
    fault: Fault,
    ended: Ended,
    *,
    medium: Medium | None,
    watch: Callable[[str], None],
    visit: Callable[[Ended], None],
) -> None:
    failing = False
    while True:
        try:
            stop = tap.take(DEADLINE_MS)
        except TimeoutError:
            ended.hangs = True
            return
        if stop is None:
            ended.over = True
            return
        if medium is not None:
            medium.catch_up()
        ended.points.append(tap.point(stop))
        hit = len(ended.points) == fault.call
        if hit:
            ended.fired, ended.at = True, fault.call
        visit(ended)
        if hit and fault.mode in {"kill before", "power cut"}:
            return
        if (hit and fault.mode in {"once", "persistent"}) or (failing and stop.call != "say"):
            failing = fault.mode == "persistent"
            tap.fail(stop.number, fault.error)
            continue
        _learn(stop, ended, medium=medium, watch=watch)
        tap.let(stop.number)
        if hit or (medium is not None and medium.unsettled):
            tap.finished(stop)
        if hit:
            return


def _learn(stop: Stop, ended: Ended, *, medium: Medium | None, watch: Callable[[str], None]) -> None:
    """Note what a call that is about to happen promises or makes durable."""
    if stop.said:
        ended.said.append(stop.said.strip())
        watch(ended.said[-1])
    elif medium is not None:
        medium.note(stop)


def _bury(tap: Tap, pid: int, ended: Ended) -> None:
    """Kill everybody who wrote, as a power cut does, and reap the one that is our child."""
    others = _families(pid, tap.tids)
    if not ended.over:
        others.add(pid)
    for other in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, signal.SIGKILL)
    ended.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _families(pid: int, tids: set[int]) -> set[int]:
    found: set[int] = set()
    for tid in tids:
        try:
            lines = Path(f"/proc/{tid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            continue
        found.update(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
    return found - {pid, os.getpid()}


def _be_tormented(live: Live, channel: socket.socket, words_in: int) -> None:
    """Never returns."""
    code = LEAKED
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with_parent(signal.SIGKILL)
        os.dup2(words_in, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), SAY_FD, inheritable=False)
        tap_myself(channel)
        channel.close()
        asyncio.run(live())
        code = 0
    except BaseException as error:  # noqa: BLE001 - told by the exit code and the words
        code = 1 if _expected(error) else LEAKED
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _expected(error: BaseException) -> bool:
    """Whether a process may end by this: an error of the five kinds, a lost medium, or the system's own word."""
    if isinstance(error, BaseExceptionGroup):
        return all(_expected(part) for part in error.exceptions)
    return isinstance(error, (AgentError, IndexLostError, OSError))
