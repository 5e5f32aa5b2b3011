"""An owner in a folder, a device beside it, and a real broker between the two."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.clock import Reading
from agent.owner import main
from device_sim.broker import Broker, make_identities
from tests.owner.peer import TENANT, Peer
from tests.ran import Ran

NOW_S = 1_772_000_000
NEXT_STEP = re.compile(r"^  next: \S", re.MULTILINE)


@dataclass
class Owner:
    """Runs ``privacy-owner`` with one home; whatever fails, in any test, must say the next step."""

    home: Path
    capsys: pytest.CaptureFixture[str]
    now_s: int = NOW_S

    def run(self, *words: object) -> Ran:
        reading = Reading(wall_ms=self.now_s * 1000, boot_ms=0, boot_id="b", synchronised=True)
        code = main(["--home", str(self.home), *map(str, words)], read_clock=lambda: reading)
        out, err = self.capsys.readouterr()
        assert code == 0 or NEXT_STEP.search(err), f"{words} ended with {code} and no next step: {err}"
        return Ran(code, out, err)

    def ok(self, *words: object) -> Ran:
        ran = self.run(*words)
        assert ran.code == 0, ran.err
        return ran


MakeOwner = Callable[[str], Owner]


@pytest.fixture
def make_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> MakeOwner:
    return lambda name: Owner(tmp_path / name, capsys)


@pytest.fixture
def owner(make_owner: MakeOwner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Owner:
    """An owner after ``init``, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    made = make_owner("home")
    made.ok("init", "--name", "Ada Example", "--classic")
    return made


@pytest.fixture
def peer(owner: Owner, tmp_path: Path) -> Peer:
    """A device that the owner knows and that knows the owner's client."""
    return known_peer(owner, tmp_path)


def known_peer(owner: Owner, folder: Path, name: str = "device") -> Peer:
    made = Peer(name)
    made.learn(owner.home / "client.json")
    path = made.write_descriptor(folder / f"{name}.jws")
    owner.ok("device", "add", path, "--accept", fingerprint_of(owner, path))
    return made


def fingerprint_of(owner: Owner, path: Path) -> str:
    """Read the fingerprint from the refusal that shows it."""
    shown = owner.run("device", "add", path)
    assert shown.code == 2
    return shown.err.partition("fingerprint ")[2].partition(";")[0]


@dataclass(frozen=True)
class Place:
    """Where the broker is and who may speak to it."""

    url: str
    owner: Path
    device: Path

    @property
    def reach(self) -> tuple[str, ...]:
        """The words with which an owner's command goes there."""
        return ("--broker", self.url, "--tenant", TENANT, "--tls", str(self.owner))


@pytest.fixture(scope="session")
def broker_tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owner-tls") / "tls"
    make_identities(folder)
    return folder


@pytest.fixture(scope="session")
def place(broker_tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Broker(tmp_path_factory.mktemp("owner-broker"), broker_tls, engine="mosquitto") as broker:
        yield Place(broker.url, broker_tls / "owner", broker_tls / "device")
