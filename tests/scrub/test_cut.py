"""A process killed between any two steps of looking for damage, and of making whole: the next start has it right."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.index import damage as rows
from tests.scrub.dying import PLAIN, POINTS, TAG
from tests.scrub.scene import Scene, flip
from tests.store.home import NOW

ROOT = Path(__file__).parents[2]


def killed_at(folder: Path, point: str) -> None:
    program = [sys.executable, "-m", "tests.scrub.dying", str(folder), point]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (-signal.SIGKILL, point), done.stderr


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_step_the_object_is_damaged_or_whole_and_whole_in_the_end(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "vault"
    scene = Scene(folder)
    item = asyncio.run(scene.keep(PLAIN, source_tag=TAG, source_copy="left"))
    flip(scene.path(item), 100)
    harmed = scene.path(item).read_bytes()
    if point != "found":
        scene.look_over()
        assert scene.damaged() == {item.id: "changed"}
    scene.close()

    killed_at(folder, point)

    scene = Scene(folder)
    asyncio.run(scene.home.vault.finish_mending(NOW))
    scene.home.vault.recover()
    assert [path.name for path in scene.home.vault.payloads.folder.iterdir()] == [item.id], "no file without a row"
    if point in {"given", "placed"}:
        assert scene.damaged() == {}
        assert scene.opened(item) == PLAIN, "what S5 made durable is finished by the start"
    else:
        assert scene.path(item).read_bytes() == harmed, "nothing was lost of what there was"
        scene.look_over()
        assert scene.damaged() == {item.id: "changed"}
        whole = asyncio.run(scene.keep(PLAIN, source_tag=TAG, source_copy="left"))
        assert whole.id == item.id
        assert scene.opened(item) == PLAIN
    scene.look_over()
    assert scene.damaged() == {}
    assert scene.home.rows("SELECT count(*) FROM damage") == [(0,)]
    mended = scene.home.rows("SELECT line FROM audit")
    assert sum(b'"mended"' in bytes(line) for (line,) in mended) == 1, "it is told once"
    scene.close()


def test_object_that_is_deleted_while_its_payload_waits_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    scene = Scene(folder)
    item = asyncio.run(scene.keep(PLAIN, source_tag=TAG, source_copy="left"))
    flip(scene.path(item), 100)
    scene.look_over()
    scene.close()
    killed_at(folder, "given")
    scene = Scene(folder)
    assert len(scene.home.index.read_now(lambda tx: rows.replacing(tx, 9))) == 1
    asyncio.run(scene.home.erase(item.id))
    asyncio.run(scene.home.vault.finish_mending(NOW))
    scene.home.vault.recover()
    assert list(scene.home.vault.payloads.folder.iterdir()) == []
    assert scene.home.rows("SELECT count(*) FROM damage") == [(0,)]
    scene.close()
