"""A vault whose keys are in a TPM: the whole disk is put back, power is cut at each step, the index alone is old."""

import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import CorruptError
from agent.model import Object
from tests.store.home import NOW, Home, run
from tests.tpm.conftest import Swtpm

DEADLINE_S = 60


class Scene:
    """Two objects: one survives, one is deleted."""

    def __init__(self, folder: Path, tpm: Swtpm) -> None:
        self.folder = folder
        self.tpm = tpm
        home = self.home()
        self.keys = [secrets.token_bytes(16) for _ in range(2)]
        self.survivor, self.victim = (run(home.keep(key)) for key in self.keys)
        home.close()

    def home(self) -> Home:
        return Home(self.folder, tpm=self.tpm.settings)

    def erase(self) -> None:
        home = self.home()
        run(home.erase(self.victim.id))
        assert home.keystore.protection == "tpm"
        home.close()

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)

    def opens(self, one: Object) -> bytes:
        home = self.home()
        try:
            return home.slot_key(one.id)
        finally:
            home.close()


@pytest.fixture
def scene(tmp_path: Path, tpm: Swtpm) -> Scene:
    return Scene(tmp_path / "vault", tpm)


def test_whole_disk_from_before_a_delete_opens_nothing_when_it_is_put_back(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    assert scene.opens(scene.victim) == scene.keys[1]
    scene.erase()
    assert scene.opens(scene.survivor) == scene.keys[0]
    scene.put_back(copy)
    with pytest.raises(CorruptError, match="a copy from before something was destroyed"):
        scene.home()


def test_index_from_before_a_delete_is_refused_beside_the_newest_keystore(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    scene.erase()
    shutil.copy(scene.folder / "keystore", copy / "keystore")
    scene.put_back(copy)
    with pytest.raises(CorruptError, match=r"lacks root(.|\n)*next: this index is from before"):
        scene.opens(scene.victim)


def test_index_from_before_the_daily_change_of_roots_is_refused(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    home = scene.home()
    home.keystore.settle(NOW.agent_ms)
    due = [home.keystore.anchor_is_due]
    run(home.erasure.change_roots(NOW))
    due.append(home.keystore.anchor_is_due)
    assert due == [True, False]
    assert len(home.keystore.roots()) == 1
    assert home.slot_key(scene.victim.id) == scene.keys[1]  # nothing was deleted
    home.close()
    shutil.copy(scene.folder / "keystore", copy / "keystore")
    scene.put_back(copy)
    with pytest.raises(CorruptError, match="lacks root"):
        scene.opens(scene.survivor)


@pytest.mark.parametrize("step", range(1, 8))
def test_power_cut_after_a_step_of_forgetting_is_finished_by_the_next_start(
    scene: Scene, tmp_path: Path, step: int
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.tpm.erased", scene.folder, scene.tpm.settings.tcti, str(step), scene.victim.id],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [int(line) for line in ended.stdout.split()] == list(range(1, step + 1))
    scene.tpm.cut()
    home = scene.home()
    run(home.resume())
    assert len(home.keystore.roots()) == 1
    assert home.slot_key(scene.survivor.id) == scene.keys[0]
    assert home.get(scene.victim.id) is None
    home.close()
    scene.put_back(copy)
    with pytest.raises(CorruptError, match="a copy from before something was destroyed"):
        scene.home()
