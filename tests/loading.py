"""A process that has our programs loaded, and becomes one of them in a fork each time that it is asked.

What a program loaded as it went on is loaded here when it has ended, so that the next one finds it. The process has one
thread, no file of its own but the line on which it is asked, and ends with that; and with it end the programs.

    a request      what to become (``Become``), with the three streams of the program; or whom to wait for (``Reap``)
    its answer     the program's process id; or how it ended, as ``subprocess`` says it
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import random
import runpy
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

import msgspec

STREAMS: Final = 3
MOST_BYTES: Final = 200_000
"""Of a request: environment and words."""

_TASKS: Final = Path("/proc/self/task")
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_CLONE_NEWNET: Final = 0x40000000  # <linux/sched.h>
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Become(msgspec.Struct, frozen=True, tag=True):
    """A module with its words, as ``python -m`` runs it; ``network`` is the file of a namespace, or empty for ours."""

    module: str
    words: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    network: str


class Reap(msgspec.Struct, frozen=True, tag=True):
    """Take the exit code of one that has ended."""

    pid: int


def serve(line: socket.socket, learned: Path) -> None:
    """Answer until nobody asks any more; in a fork, be a program, and end as it does with ``SystemExit``."""
    while True:
        told, streams, _flags, _address = socket.recv_fds(line, MOST_BYTES, STREAMS)
        if not told:
            return
        request = msgspec.json.decode(told, type=Become | Reap)
        if isinstance(request, Become):
            answer = _begin(request, line, streams, learned)
        else:
            _, status = os.waitpid(request.pid, 0)
            load(learned / str(request.pid))
            answer = os.waitstatus_to_exitcode(status)
        line.sendall(str(answer).encode())


def load(learned: Path, *, but: frozenset[str] = frozenset()) -> None:
    """Load what a process said that it had loaded, if it could say that; a process of several threads must not fork."""
    with contextlib.suppress(FileNotFoundError):  # it was killed, or loaded nothing
        for name in learned.read_text(encoding="utf-8").splitlines():
            if name not in sys.modules and name.partition(".")[0] not in but:
                with contextlib.suppress(ImportError):  # not everything in sys.modules has a file
                    importlib.import_module(name)
    assert len(list(_TASKS.iterdir())) == 1, "a library starts a thread as it is loaded"


def _begin(request: Become, line: socket.socket, streams: list[int], learned: Path) -> int:
    importlib.import_module(request.module)
    gc.collect()
    gc.freeze()  # what is loaded is looked through in no fork, and so not copied to it either
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        line.close()
        _become(request, streams, learned)
    for stream in streams:
        os.close(stream)
    return pid


def _become(request: Become, streams: list[int], learned: Path) -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor; what was read ahead is not its
    if request.network:
        _enter(request.network)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    time.tzset()
    random.seed()
    sys.argv = [request.module, *request.words]
    atexit.register(_tell, frozenset(sys.modules), learned)
    gc.enable()
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)
    sys.exit()


def _enter(network: str) -> None:
    with Path(network).open("rb") as file:
        if _LIBC.setns(file.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), network)


def _tell(known: frozenset[str], learned: Path) -> None:
    news = [name for name in sys.modules if name not in known]
    if news:
        (learned / str(os.getpid())).write_text("\n".join(news), encoding="utf-8")


if __name__ == "__main__":
    gc.disable()
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
