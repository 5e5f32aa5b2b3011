"""A process killed at any step of forgetting; the next start finishes it, in another process.

A kill shows that the order of the steps is right. That each write is on the medium when its call returns is the matter
of the power-cut tests (``make torture``).
"""

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import CorruptError, RefusedError
from agent.model import Object
from tests.store.home import Home, run

DEADLINE_S = 60


def in_process(folder: Path, *words: str | int) -> tuple[int, list[int]]:
    """Run ``cut.py``; return how it ended and the steps that it reached."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.cut", folder, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
    return ended.returncode, [int(line) for line in ended.stdout.split()]


class Scene:
    """Three objects, one of them uploaded and to be deleted; what must be true after any cut and the next start."""

    def __init__(self, folder: Path) -> None:
        home = Home(folder)
        self.folder = folder
        self.keys = [secrets.token_bytes(16) for _ in range(3)]
        self.tag = secrets.token_bytes(32)
        self.objects: list[Object] = [
            run(home.keep(key, source_tag=self.tag if number == 1 else secrets.token_bytes(32)))
            for number, key in enumerate(self.keys)
        ]
        self.victim = self.objects[1].id
        home.upload(self.victim)
        self.roots = home.keystore.roots()
        home.close()

    def erase_until(self, step: int) -> None:
        code, steps = in_process(self.folder, step, 0, self.victim)
        assert code == -signal.SIGKILL, "the cut did not fall"
        assert steps == list(range(1, step + 1))

    def check_finished(self) -> None:
        home = Home(self.folder)
        assert home.vault.recover() == 0
        run(home.resume())
        for number in (0, 2):
            assert home.slot_key(self.objects[number].id) == self.keys[number]
        assert home.get(self.victim) is None
        with pytest.raises(CorruptError):
            home.slot_key(self.victim)
        assert not home.vault.payload_path(self.victim).exists()
        assert [
            found.object for found in home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 9))
        ] == [self.victim]
        with pytest.raises(RefusedError):
            run(home.keep(source_tag=self.tag, source_copy="left"))
        assert self.roots[0] not in home.keystore.roots()
        assert self.roots[0].key not in (self.folder / "keystore").read_bytes()
        assert len(home.keystore.roots()) == 1
        assert home.rows("SELECT count(*) FROM intent") == [(0,)]
        assert home.rows("SELECT command, state FROM erasure") == [("command", "remote")]
        assert home.index.read_now(home.vault.totals).all.objects == 2
        home.close()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "vault")


@pytest.mark.parametrize("step", range(1, 8))
def test_process_killed_after_a_step_is_finished_by_the_next(scene: Scene, step: int) -> None:
    scene.erase_until(step)
    home = Home(scene.folder)
    run(home.resume())
    finished = [command for command, _ in home.finished]
    assert finished == ([] if step == 7 else ["command"])  # the receipt of step 7 is stored exactly once
    home.close()
    scene.check_finished()


@pytest.mark.parametrize("first", range(1, 7))
@pytest.mark.parametrize("second", [2, 5, 7])
def test_process_killed_again_while_finishing_is_finished_by_the_third(scene: Scene, first: int, second: int) -> None:
    scene.erase_until(first)
    in_process(scene.folder, second, 0)
    scene.check_finished()


def test_root_staged_by_a_cut_rotation_is_destroyed_before_a_new_one_begins(scene: Scene) -> None:
    scene.erase_until(2)
    home = Home(scene.folder)
    staged = [root for root in home.keystore.roots() if root not in scene.roots]
    assert len(staged) == 1
    run(home.resume())
    assert staged[0] not in home.keystore.roots()
    assert staged[0].key not in (scene.folder / "keystore").read_bytes()
    home.close()


def test_power_gone_before_step_one_changes_nothing(scene: Scene) -> None:
    home = Home(scene.folder)
    run(home.resume())
    assert home.get(scene.victim) is not None
    assert home.slot_key(scene.victim) == scene.keys[1]
    assert home.keystore.roots() == scene.roots
    home.close()


def test_large_delete_killed_between_its_parts_goes_on_from_its_frozen_list(tmp_path: Path) -> None:
    home = Home(tmp_path / "vault")
    victims = [found.id for found in run(home.keep_many(80))]  # more than the first transaction takes
    home.close()
    code, _ = in_process(home.folder, 2, 0, *victims)
    assert code == -signal.SIGKILL
    home = Home(home.folder)
    late = run(home.keep())
    run(home.resume())
    ((command, outcomes),) = home.finished
    assert (command, len(outcomes)) == ("command", 80)
    assert {outcome.result for outcome in outcomes} == {"deleted"}
    assert [path.name for path in home.vault.payloads.folder.iterdir()] == [late.id]
    home.close()
