"""A TPM 2.0 in a process: Debian's swtpm, whose power can be cut."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import randbelow

import pytest

from agent.element import TpmSettings
from tests.waiting import until

PORT = 2321  # and the one above, where tpm2-tss controls it
WITHIN_S = 20.0
_LISTEN = "0A"  # in /proc/net/tcp, proc(5)


class Swtpm:
    """One TPM: what it holds outlasts its power, as in a real one; what is loaded in it does not."""

    def __init__(self, folder: Path) -> None:
        assert shutil.which("swtpm"), "swtpm is missing: sudo apt-get install swtpm"
        folder.mkdir()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        # An address of its own: while its power is off, nobody else takes the ports to which a config says it is.
        self.host = ".".join(["127", *(str(1 + randbelow(254)) for _ in range(3))])
        self.power_on()

    @property
    def settings(self) -> TpmSettings:
        return TpmSettings(tcti=f"swtpm:host={self.host},port={PORT}")

    def power_on(self) -> None:
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}"]
        command += ["--server", f"type=tcp,port={PORT},bindaddr={self.host}"]
        command += ["--ctrl", f"type=tcp,port={PORT + 1},bindaddr={self.host}"]
        command += ["--flags", "not-need-init,startup-clear"]
        told = self.folder.with_suffix(".log")
        with told.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._is_decided, what="swtpm to answer or to end", within_s=WITHIN_S)
        assert self._process.poll() is None, told.read_text(errors="replace")

    def _is_decided(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or (listens(self.host) and answers(self.host))

    def power_off(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def cut(self) -> None:
        """Cut the power and give it back."""
        self.power_off()
        self.power_on()


def listens(host: str) -> bool:
    """Tell whether commands are listened for too: that is another port than the one that is asked, opened by itself."""
    place = f"{socket.inet_aton(host)[::-1].hex().upper()}:{PORT:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[1] == place and row[3] == _LISTEN for row in rows)


def answers(host: str) -> bool:
    try:
        socket.create_connection((host, PORT + 1), timeout=1).close()
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
