"""A program that is started loaded is the one that a shell starts: so it says, so it ends, and so it can be ended."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests import loaded
from tests.disk import as_root, small_disk
from tests.loaded import BIN, FROM_NOTHING, PIPE, Loaded, Running
from tests.loading import Become
from tests.measured import SETTING
from tests.netns import Network, on_network
from tests.waiting import until

RECIPIENT: Final = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
ONE_THAT_STAYS: Final[tuple[str | Path, ...]] = (BIN / "privacy-agent", "encrypt", "-r", RECIPIENT)


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SETTING, FROM_NOTHING):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def staying() -> Iterator[Running]:
    running = loaded.begin(ONE_THAT_STAYS, stdin=PIPE)
    assert isinstance(running, Loaded)
    try:
        yield running
    finally:
        running.kill()
        running.wait(60)
        assert running.stdin is not None
        running.stdin.close()


@pytest.mark.parametrize(
    "words",
    [
        (BIN / "privacy-agent", "version", "--json"),
        (BIN / "privacy-agent", "no-such-command"),
        (BIN / "privacy-owner", "--home", "/nowhere", "receipts"),
        (BIN / "device-sim", "--help"),
        (sys.executable, "-m", "certs", "show", "/nowhere", "--json"),
    ],
    ids=lambda words: " ".join(map(str, words[-2:])),
)
def test_it_says_the_same_and_ends_the_same(words: tuple[str | Path, ...]) -> None:
    started = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    done = [loaded.run(words, within_s=60) for _ in range(2)]  # the second has loaded what the first one learned
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == 2 * [
        (started.returncode, started.stdout, started.stderr)
    ]


def test_it_has_the_folder_and_the_environment_of_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = loaded.run([sys.executable, "-m", "certs", "init", "tls"], within_s=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tls").is_dir()
    done = loaded.run([BIN / "privacy-owner", "init", "--json"], within_s=60)
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "home").rglob("owner.pub"))


def test_it_reads_and_writes_pipes(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    made = loaded.run([BIN / "privacy-agent", "keygen", "-o", key, "--json"], within_s=60)
    recipient = json.loads(made.stdout)["recipient"]
    sealing = loaded.begin([BIN / "privacy-agent", "encrypt", "-r", recipient], stdin=PIPE, stdout=PIPE)
    assert isinstance(sealing, Loaded)
    assert sealing.stdin is not None
    assert sealing.stdout is not None
    with sealing.stdin, sealing.stdout:
        sealing.stdin.write(b"what a camera saw")
        sealing.stdin.close()
        sealed = sealing.stdout.read()
    assert sealing.wait(60) == 0
    opened = subprocess.run(["age", "-d", "-i", key], input=sealed, capture_output=True, check=True)
    assert opened.stdout == b"what a camera saw"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_can_be_ended(number: signal.Signals) -> None:
    with staying() as running:
        assert running.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.01)
        running.send_signal(number)
        assert running.wait(60) == running.poll() == -number
        running.send_signal(number)  # whoever has its id by now is left alone


def test_it_ends_with_who_has_it_loaded(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.loading", str(theirs.fileno()), str(tmp_path)]
    with subprocess.Popen(command, cwd=loaded.ROOT, pass_fds=[theirs.fileno()]) as loader:
        theirs.close()
        request = Become("agent.cli", tuple(map(str, ONE_THAT_STAYS[1:])), "/", dict(os.environ), "")
        running = Loaded(loaded.Loader(ours), request, stdin=PIPE, stdout=None, stderr=None)
        assert running.poll() is None
        ours.close()
        assert loader.wait(60) == 0
    until(lambda: not Path(f"/proc/{running.pid}/exe").exists(), what="its end")
    assert running.stdin is not None
    running.stdin.close()


@pytest.fixture
def begun() -> None:
    """There is a process that has programs loaded, and sees what everybody sees."""
    assert loaded.run([BIN / "privacy-agent", "version"], within_s=60).returncode == 0


@pytest.mark.usefixtures("begun")
@as_root
def test_it_sees_what_is_mounted_for_its_test_alone(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="1m") as disk:
        done = loaded.run([sys.executable, "-m", "certs", "init", disk / "tls"], within_s=60)
        assert done.returncode == 0, done.stderr
        assert (disk / "tls").is_dir()


@on_network(hosts=1)
def test_it_runs_on_a_host(net: Network) -> None:
    (host,) = net.hosts
    with host.running(sys.executable, "-m", "device_sim.announce", "--mdns", "--unserved") as running:
        assert isinstance(running, Loaded)
        assert running.stdout is not None
        assert json.loads(running.stdout.readline()) == {"ready": True}
        assert Path(f"/proc/{running.pid}/ns/net").readlink() == Path(host.namespace).readlink()


def test_what_is_measured_or_timed_is_started_as_a_shell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    own: tuple[str | Path, ...] = (BIN / "privacy-agent", "version")
    assert loaded.is_loaded(own, {})
    assert not loaded.is_loaded(own, {SETTING: "of coverage"})
    assert loaded.is_loaded([BIN / "device-sim", "cloud"], {SETTING: "of coverage"})
    assert not loaded.is_loaded([sys.executable, "-c", "import agent"], {})
    assert not loaded.is_loaded([sys.executable, "-I", "-m", "agent.sealer"], {})
    monkeypatch.setenv(FROM_NOTHING, "1")
    assert not loaded.is_loaded(own, {})
