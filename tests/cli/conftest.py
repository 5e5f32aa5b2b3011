"""A device whose owner sits at the same machine: no broker, commands as files; what a shell would see of each."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import agent.cli
import agent.owner
from agent.app.alarm import Alarm
from agent.app.parts import Parts, opened
from agent.clock import system_clock
from agent.config import read_config
from certs.__main__ import main as certs
from tests.intake import take_in
from tests.ran import Ran
from tests.waiting import until

PROGRAMS: dict[str, Callable[[list[str]], int]] = {"privacy-agent": agent.cli.main, "privacy-owner": agent.owner.main}
WITHIN_S = 60.0


@dataclass(frozen=True)
class Shell:
    """Runs our commands in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, program: str, *words: object) -> Ran:
        self.capsys.readouterr()
        try:
            code: object = PROGRAMS[program]([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        out, err = self.capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, out, err)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@dataclass(frozen=True)
class Device:
    """One device: its files, and the commands of its owner and of whoever sits at it."""

    folder: Path
    shell: Shell
    home: Path

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def agent(self, *words: object) -> Ran:
        return self.shell("privacy-agent", *words, "--config", self.config)

    def owner(self, *words: object) -> Ran:
        return self.shell("privacy-owner", "--home", self.home, *words)

    def ok(self, *words: object) -> Ran:
        ran = self.agent(*words)
        assert ran.code == 0, ran.out + ran.err
        return ran

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[Parts]:
        """Open what the agent is made of, as a command does where none runs."""
        config = read_config(self.config)
        async with opened(config, read_clock=system_clock(source=config.clock)) as parts:
            yield parts

    def examined(self, *words: object) -> dict[str, dict[str, Any]]:
        """Return what doctor finds, by what it is about; of several about one thing the last."""
        return {one["what"]: one for one in self.agent("doctor", "--json", *words).json["findings"]}

    def put(self, name: str, content: bytes = b"") -> Path:
        path = self.spool / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or os.urandom(1000))
        return path

    def take_in(self, *names: str) -> list[str]:
        """Put files into the spool, take in what is there as a running agent does, and return the ids of all held."""
        for name in names:
            self.put(name)
        asyncio.run(self._scan())
        return [item["id"] for item in self.ok("inventory", "--json").json["objects"]]

    async def _scan(self) -> None:
        async with self.parts() as parts:
            await take_in(parts)

    def raise_alert(self, code: str) -> None:
        """Let an alert stand, as a running agent raises it."""

        async def raise_it() -> None:
            async with self.parts() as parts:
                alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
                await alarm.raise_(code, "It stands for this test.", moment=parts.now())

        asyncio.run(raise_it())

    def kill_running(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run the agent until it answers and ``meanwhile`` is done, and kill it as a power cut would."""
        with self._started() as process:
            meanwhile()
            process.kill()

    @contextmanager
    def running(self, *words: str) -> Iterator[Path]:
        """Run the agent as a process of its own until the block ends; yields its log once it answers."""
        with self._started(*words):
            yield self.log

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Run the agent until it answers, and stop its process for the block: it listens still and does nothing."""
        with self._started() as process:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            try:
                yield
            finally:
                process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    @contextmanager
    def _started(self, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", "agent.cli", "run", "--config", str(self.config), *words]
        with self.log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                until(lambda: process.poll() is not None or "ready: " in self.log.read_text(), what="the agent ready")
                assert process.poll() is None, self.log.read_text()
                yield process
            finally:
                process.terminate()
                process.wait(WITHIN_S)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An owner and the owner's device, set up once; tests work on copies."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "spool").mkdir()
    _run(agent.owner.main, "--home", folder / "home", "init", "--name", "Ada", "--classic")
    _run(
        agent.cli.main, "init", "--owner", folder / "home/owner.pub", "--device", "cam-01", "--clock", "system",
        "--config", folder / "agent.toml", "--state", folder / "state", "--source", f"spool:{folder / 'spool'}",
    )  # fmt: skip
    return folder


def _run(main: Callable[[list[str]], int], *words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "tls"
    assert certs(["init", str(folder), "--device", "cam-01"]) == 0
    return folder


@pytest.fixture
def device(made: Path, tmp_path: Path, shell: Shell) -> Device:
    """A device with an empty vault, whose owner knows it."""
    folder = tmp_path / "device"
    shutil.copytree(made, folder)
    config = folder / "agent.toml"
    config.write_text(config.read_text().replace(str(made), str(folder)))
    device = Device(folder, shell, folder / "home")
    shown = device.owner("device", "add", device.state / "device.jws")
    fingerprint = shown.err.partition("fingerprint ")[2].partition(";")[0]
    assert device.owner("device", "add", device.state / "device.jws", "--accept", fingerprint).code == 0
    return device
