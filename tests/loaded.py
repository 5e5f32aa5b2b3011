"""Programs of ours, started as forks of a process that has them loaded (``loading.py``).

To load one takes a quarter of a second of processor, which is most of what most commands take, and the tests start
thousands. What runs is the same code in a process of its own, with words, environment, folder, network and streams of
its own. That a program begins from nothing is tried by the folders whose subject the commands are, and wherever it is
measured: there it is started as a shell does, and so is what is not a program of ours.
"""

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Protocol, cast

import msgspec

from agent.clock import monotonic_s
from tests.loading import Become, Reap, serve
from tests.measured import MEASURING, SETTING

BIN: Final = Path(sys.executable).parent
ROOT: Final = Path(__file__).resolve().parents[1]

PROGRAMS: Final = {"privacy-agent": "agent.cli", "privacy-owner": "agent.owner", "device-sim": "device_sim"}
"""The programs, and the modules that they are."""

PACKAGES: Final = frozenset({"agent", "certs", "device_sim"})
"""What else of a module is a program of ours."""

FROM_NOTHING: Final = "PROGRAMS_FROM_NOTHING"
"""Of the environment: for who measures what a start takes."""

PIPE: Final = subprocess.PIPE
Stream = int | IO[bytes] | None

_MS: Final = 1000
_LONGEST_ANSWER: Final = 64
_READ, _WRITTEN = "rb", "wb"


class Running(Protocol):
    """What a test does with a process that it started; ``subprocess.Popen`` is one."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """Our end of a pipe that was asked for."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Our end of a pipe that was asked for."""

    def poll(self) -> int | None:
        """Return how it ended, or nothing."""

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raises ``subprocess.TimeoutExpired``."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal if it runs."""


class Host(Protocol):
    """Where a program may run: ``tests/netns.py`` has them."""

    @property
    def namespace(self) -> str:
        """The file of its network namespace."""

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs these there."""


class Loader:
    """The process that has the programs loaded, seen from whoever asks it; threads may ask side by side."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()

    def ask(self, request: Become | Reap, streams: Sequence[int] = ()) -> int:
        """Ask, and return the number that is the answer."""
        with self._lock:
            socket.send_fds(self._line, [msgspec.json.encode(request)], streams)
            answer = self._line.recv(_LONGEST_ANSWER)
        assert answer, f"the process that was asked has ended: {request}"
        return int(answer)


class Loaded:
    """A program that was started loaded; it is another process's child, which keeps its id until its end is noticed."""

    def __init__(self, loader: Loader, request: Become, *, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._loader = loader
        self._request = request
        self.returncode: int | None = None
        with ExitStack() as theirs:
            read, self.stdin = _given(stdin, _READ, theirs)
            written, self.stdout = _given(stdout, _WRITTEN, theirs)
            told = written if stderr is subprocess.STDOUT else _given(stderr, _WRITTEN, theirs)[0]
            self.pid = loader.ask(request, (read, written, told))
        self._handle = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return how it ended, or nothing."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raises ``subprocess.TimeoutExpired``."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([self._request.module, *self._request.words], timeout or 0)
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, sig: int, /) -> None:
        """Send a signal if it runs."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, sig)

    def _ended(self, within_s: float | None) -> int | None:
        if self.returncode is None:
            look = select.poll()
            look.register(self._handle, select.POLLIN)
            if look.poll(None if within_s is None else within_s * _MS):
                self.returncode = self._loader.ask(Reap(self.pid))
                os.close(self._handle)
        return self.returncode


def begin(
    command: Sequence[str | Path],
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    env: Mapping[str, str] | None = None,
    host: Host | None = None,
) -> Running:
    """Start a program of ours, here or on a host, as ``subprocess.Popen`` does."""
    words = [str(word) for word in command]
    wanted = dict(os.environ if env is None else env)
    if not is_loaded(words, wanted):
        started = words if host is None else host.command(*words)
        return subprocess.Popen(started, stdin=stdin, stdout=stdout, stderr=stderr, env=wanted)
    wanted.pop(SETTING, None)
    module, after = _module(words)
    network = host.namespace if host is not None else ""
    request = Become(module, tuple(after), str(Path.cwd()), wanted, network)
    return Loaded(_loader(), request, stdin=stdin, stdout=stdout, stderr=stderr)


def run(
    command: Sequence[str | Path], *, within_s: float, host: Host | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program of ours to its end; raises ``subprocess.TimeoutExpired``."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began_s = monotonic_s()
        running = begin(command, stdout=out, stderr=err, host=host)
        try:
            code = running.wait(max(0.0, began_s + within_s - monotonic_s()))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(list(command), code, *said)


def is_loaded(command: Sequence[str | Path], env: Mapping[str, str]) -> bool:
    """Tell whether a command is a program of ours, and one that is started loaded."""
    words = [str(word) for word in command]
    measured = SETTING in env and MEASURING.would_want(words)
    return bool(_module(words)[0]) and FROM_NOTHING not in os.environ and not measured


def fork_loader(learned: Path) -> None:
    """Make a fork of this process, which has one thread, the one that has the programs loaded."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        serve(theirs, learned)
        os._exit(0)
    theirs.close()
    _LOADERS[_mounts()] = Loader(ours)


_LOADERS: Final[dict[str, Loader]] = {}
"""One for each view of the file system that this process has had: a test may mount what nobody else sees."""


def _module(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the module that is run, and its words; nothing where it is not ours."""
    if Path(words[0]).parent == BIN and Path(words[0]).name in PROGRAMS:
        return PROGRAMS[Path(words[0]).name], words[1:]
    if words[:2] == [sys.executable, "-m"] and words[2].partition(".")[0] in PACKAGES:
        return words[2], words[3:]
    return "", ()


def _given(stream: Stream, mode: str, theirs: ExitStack) -> tuple[int, IO[bytes] | None]:
    """Return the program's end of a stream, and ours of a pipe."""
    if stream == PIPE:
        read, written = os.pipe()
        end, ours = (read, written) if mode == _READ else (written, read)
        theirs.callback(os.close, end)
        return end, cast("IO[bytes]", os.fdopen(ours, _WRITTEN if mode == _READ else _READ))
    if stream is None or isinstance(stream, int):
        return theirs.enter_context(Path(os.devnull).open(mode)).fileno(), None
    return stream.fileno(), None


def _loader() -> Loader:
    here = _mounts()
    if here not in _LOADERS:
        _LOADERS[here] = _started()
    return _LOADERS[here]


def _mounts() -> str:
    return str(Path("/proc/self/ns/mnt").readlink())


def _started() -> Loader:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    learned = tempfile.mkdtemp(prefix="learned-")
    env = {name: text for name, text in os.environ.items() if name != SETTING}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.loading", str(theirs.fileno()), learned],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            env=env,
        )

    def end() -> None:
        ours.close()
        process.wait()
        shutil.rmtree(learned, ignore_errors=True)

    atexit.register(end)
    return Loader(ours)
