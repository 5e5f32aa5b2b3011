"""A TPM 2.0 in a process: Debian's swtpm, whose power can be cut."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.element import TpmSettings
from tests.waiting import until

TRIES = 20
WITHIN_S = 20.0


class Swtpm:
    """One TPM: what it holds outlasts its power, as in a real one; what is loaded in it does not."""

    def __init__(self, folder: Path) -> None:
        assert shutil.which("swtpm"), "swtpm is missing: sudo apt-get install swtpm"
        folder.mkdir()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.power_on()

    @property
    def settings(self) -> TpmSettings:
        return TpmSettings(tcti=f"swtpm:host=127.0.0.1,port={self.port}")

    def power_on(self) -> None:
        for _ in range(TRIES):
            self.port = self.port or two_ports()  # back where a config says that it is
            command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}"]
            command += ["--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1"]
            command += ["--ctrl", f"type=tcp,port={self.port + 1},bindaddr=127.0.0.1"]
            command += ["--flags", "not-need-init,startup-clear"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(partial(self._is_decided, process), what="swtpm to answer or to end", within_s=WITHIN_S)
            if process.poll() is None:
                self._process = process
                return
            self.port = 0
        raise AssertionError("swtpm does not start: its ports are taken each time")

    def _is_decided(self, process: "subprocess.Popen[bytes]") -> bool:
        return process.poll() is not None or answers(self.port + 1)

    def power_off(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def cut(self) -> None:
        """Cut the power and give it back."""
        self.power_off()
        self.power_on()


def two_ports() -> int:
    """Return a port that is free with the one above it: tpm2-tss controls swtpm there."""
    for _ in range(TRIES):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two ports beside each other are free")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def make_tpm(tmp_path: Path) -> Iterator[Callable[[str], Swtpm]]:
    made: list[Swtpm] = []

    def make(name: str) -> Swtpm:
        made.append(Swtpm(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.power_off()


@pytest.fixture
def tpm(make_tpm: Callable[[str], Swtpm]) -> Swtpm:
    return make_tpm("tpm")
