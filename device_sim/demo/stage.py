"""The stage: folders, child processes and commands, each as a person would type it; and all of it cleared at the end.

Rules: every child has its own process group and log file; whoever leaves the stage, in whatever way, stops all of them;
a folder is only replaced when an earlier demo made it, and while one is on stage nobody else has it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from device_sim.cloud import clock
from device_sim.signals import held
from device_sim.told import words_of

Event = dict[str, Any]

MARK: Final = ".device-sim-demo"
"""The file that says that a folder is a demo's; it holds the path of the spool beside it, if there is one.

It is locked (flock(2)) as long as the demo uses the folder.
"""

DEVICE: Final = "cam-01"
TENANT: Final = "acme"
OWNER: Final = "Ada Example"

PATIENCE_S: Final = 60.0
"""Longest wait for anything: ten times what a slow machine needs."""

_SHOWN: Final = 400
_SOCKET_PATH_MAX: Final = 107  # sun_path of unix(7), less its closing zero
_STOP_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.05
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a fresh private folder is made in it
_SYSTEM: Final = (Path("/usr/bin"), Path("/usr/local/bin"))
_MODULES: Final = {"certs": "certs", "device-sim": "device_sim"}


ENDED_BY: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that clear the stage."""


class DemoError(Exception):
    """The demo cannot go on; the text ends in the next step."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered."""

    code: int
    out: str

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Return the answer's document."""
        return json.loads(self.out)


class Child:
    """A program that keeps running. What it prints goes to its log; lines of JSON become events to wait for."""

    def __init__(
        self, name: str, arguments: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            list(map(str, arguments)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        assert self._process.stdout is not None, "asked for above"  # noqa: S101 - a pipe, three lines above
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name=name, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def events(self, event: str = "", **match: object) -> list[Event]:
        """Return what it told so far, of that name with those fields."""
        with self._changed:
            return [one for one in self._events if _fits(one, event, match)]

    def wait(self, event: str = "", *, timeout_s: float = PATIENCE_S, after: int = 0, **match: object) -> Event:
        """Return the first such event behind the first ``after`` events, waiting for it; raises ``DemoError``."""
        deadline_s = clock.monotonic_s() + timeout_s
        with self._changed:
            while True:
                found = next((one for one in self._events[after:] if _fits(one, event, match)), None)
                if found is not None:
                    return found
                left_s = deadline_s - clock.monotonic_s()
                if self._ended or left_s <= 0:
                    raise self._silent(event, timeout_s)
                self._changed.wait(min(left_s, 1.0))

    def _silent(self, event: str, timeout_s: float) -> DemoError:
        state = "ended" if self._ended else f"did not tell of {event or 'its start'} within {timeout_s:.0f} s"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = f": {lines[-1][:_SHOWN]}" if lines else ""
        return DemoError(f"{self.name} {state}{last}\n  next: read {self.log}")

    def told(self) -> int:
        """Return how many events there were."""
        with self._changed:
            return len(self._events)

    def quiet(self, for_s: float) -> None:
        """Return when nothing was told for that long."""
        with self._changed:
            count = -1
            while count != len(self._events) and not self._ended:
                count = len(self._events)
                self._changed.wait(for_s)

    def kill(self) -> None:
        """SIGKILL, to the program alone, as a power cut does; returns when it is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, then a wait, then SIGKILL to its whole group; returns the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what it left behind, such as a broker
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(_STOP_S)
        return code

    def finish(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait until it ends by itself; raises ``DemoError`` when it does not."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"{self.name} did not end in {timeout_s:.0f} s\n  next: read {self.log}") from error
        self._reader.join(_STOP_S)
        return code

    def _read(self, lines: IO[bytes]) -> None:
        with lines, self.log.open("ab") as log:
            for line in lines:
                log.write(line)
                log.flush()
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    with self._changed:
                        self._events.append(told if isinstance(told, dict) else {"value": told})
                        self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Stage:
    """The demo's folder and everything that runs in it; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "log"
        self.spool = self.folder / "spool"
        self.spool_medium = "disk"
        self._mark: int | None = None
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        if len(os.fsencode(self.state / "control.sock")) > _SOCKET_PATH_MAX:
            raise DemoError(f"{self.folder}: too long for the agent's socket\n  next: a shorter one with --dir")
        try:
            _clear(self.folder)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark = _locked(self.folder, os.O_RDWR | os.O_CREAT)
            self.logs.mkdir(mode=0o700)
        except OSError as error:
            raise DemoError(f"{words_of(error)}\n  next: name a folder that you may write in: --dir DIR") from error
        beside = ""
        if os.access(_MEMORY, os.W_OK):
            self.spool = _MEMORY / f"{MARK.lstrip('.')}-{secrets.token_hex(4)}" / "spool"
            self.spool_medium = "tmpfs"
            beside = str(self.spool.parent)
        (self.folder / MARK).write_text(beside, encoding="utf-8")
        self.spool.mkdir(mode=0o700, parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.stop()
        _clear_beside(self.folder)
        if self._mark is not None:
            os.close(self._mark)

    def shown(self, path: Path) -> str:
        """Return a path as a person here would type it."""
        with contextlib.suppress(ValueError):
            return str(path.relative_to(Path.cwd()))
        return str(path)

    def ask(
        self, program: str, *arguments: str | Path, may_fail: bool = False, timeout_s: float = PATIENCE_S
    ) -> Answer:
        """Run a command to its end; raises ``DemoError`` when it fails and may not."""
        command = [*program_of(program), *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, text=True
        )
        with (self.logs / "commands.log").open("a", encoding="utf-8") as log:
            log.write(f"$ {program} {shlex.join(map(str, arguments))}\n{done.stdout}{done.stderr}→ {done.returncode}\n")
        if done.returncode and not may_fail:
            told = (done.stderr or done.stdout).strip()
            raise DemoError(
                f"{program} {arguments[0]} ended with {done.returncode}: {told}\n  next: read {self.logs}/commands.log"
            )
        return Answer(done.returncode, done.stdout)

    def start(self, name: str, program: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Child:
        """Start a program that keeps running; ``name`` is its log's, ``env`` is put over the environment."""
        command = [*program_of(program), *arguments]
        with held(numbers=ENDED_BY):  # a signal between the two lines would leave it running
            child = Child(name, command, log=self.logs / f"{name}.log", env=env)
            self._children.append(child)
        return child

    def agent(self, *arguments: str | Path, may_fail: bool = False) -> Answer:
        """Run ``privacy-agent`` on this device."""
        return self.ask("privacy-agent", *arguments, "--config", self.config, may_fail=may_fail)

    def owner(self, *arguments: str | Path, may_fail: bool = False) -> Answer:
        """Run ``privacy-owner`` as this owner."""
        return self.ask("privacy-owner", "--home", self.home, *arguments, may_fail=may_fail)

    def run_agent(self, config: Path | None = None) -> Child:
        """Start the agent and return when its local socket answers."""
        child = self.start("agent", "privacy-agent", "run", "--json", "-v", "--config", config or self.config)
        child.wait(text=f"ready: {DEVICE}")
        return child

    def until(
        self,
        holds: Callable[[], bool],
        what: str,
        *,
        timeout_s: float = PATIENCE_S,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """Wait until something holds; raises ``DemoError`` when it does not in time."""
        deadline_s = clock.monotonic_s() + timeout_s
        pause = threading.Event()
        while not holds():
            if clock.monotonic_s() > deadline_s:
                raise DemoError(f"waited {timeout_s:.0f} s in vain for {what}\n  next: read the logs in {self.logs}")
            pause.wait(look_every_s)

    def typed(self, program: str) -> str:
        """Return a program as a person must type it here: with its folder, unless that is on their PATH anyway."""
        found = Path(program_of(program)[0])
        return program if os.environ.get("VIRTUAL_ENV") or found.parent in _SYSTEM else self.shown(found)

    @property
    def home(self) -> Path:
        """The owner's folder."""
        return self.folder / "owner"

    @property
    def state(self) -> Path:
        """The agent's folder: vault, index, keystore."""
        return self.folder / "agent" / "state"

    @property
    def config(self) -> Path:
        """The agent's config."""
        return self.folder / "agent" / "agent.toml"


def program_of(name: str) -> list[str]:
    """Return how a program is started here: as a module of this Python, or the script beside it."""
    if name in _MODULES:
        return [sys.executable, "-m", _MODULES[name]]
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DemoError(f"{name} is not installed here\n  next: pip install 'camera-privacy-agent[sim]'")
    return [found]


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left; raises ``DemoError`` for a folder that is somebody's."""
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise DemoError(f"{folder} is there and was not made by a demo\n  next: name another one with --dir")
    if (folder / MARK).is_file():
        mark = _locked(folder, os.O_RDONLY)
        try:
            _clear_beside(folder)
            shutil.rmtree(folder)
        finally:
            os.close(mark)


def _locked(folder: Path, flags: int) -> int:
    """Open the mark and lock it; raises ``DemoError`` when another demo has it, or took the folder away meanwhile."""
    fd = -1
    try:
        fd = os.open(folder / MARK, flags | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError) as error:
        if fd >= 0:
            os.close(fd)
        raise DemoError(
            f"another demo uses {folder}\n  next: wait for its end, or name another one with --dir"
        ) from error
    return fd


def _clear_beside(folder: Path) -> None:
    mark = folder / MARK
    beside = Path(mark.read_text(encoding="utf-8").strip()) if mark.is_file() else Path()
    if beside.parent == _MEMORY and beside.name.startswith(MARK.lstrip(".")):
        shutil.rmtree(beside, ignore_errors=True)


def _fits(one: Event, event: str, match: dict[str, object]) -> bool:
    return (not event or one.get("event") == event) and all(one.get(name) == value for name, value in match.items())
