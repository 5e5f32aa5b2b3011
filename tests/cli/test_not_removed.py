"""What was deleted cannot be removed from the disk: no command and no start ends by it, and doctor says what stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Device
from tests.failing import failing

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


def submit_where_removals_fail(
    device: Device, file: Path, path: Path, error: str
) -> "subprocess.CompletedProcess[str]":
    return submit(device, file, failing(path, f"?unlink={error}", f"unlinkat={error}", f"?rmdir={error}"))


def submit(device: Device, file: Path, medium: list[str]) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "agent.cli", "submit", str(file), "--config", str(device.config)]
    return subprocess.run([*medium, *program], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def delete(device: Device, *words: str) -> Path:
    file = device.folder / "delete.jws"
    assert device.owner("delete", *words, "--yes", "--out", file).code == 0
    return file


@pytest.mark.parametrize("error", ["EPERM", "EIO"])
def test_recording_that_cannot_be_removed_is_told_and_tried_again(device: Device, error: str) -> None:
    bad, good = device.take_in("front/a.mp4", "front/b.mp4")
    objects = device.state / "vault" / "objects"
    file = delete(device, bad, good)
    for _ in range(2):  # the second start meets what the first left
        ran = submit_where_removals_fail(device, file, objects / bad, error)
        assert (ran.returncode, ran.stdout.split(";")[0]) == (0, "accepted"), ran.stderr
        assert [path.name for path in objects.iterdir()] == [bad]
    told = device.examined()["removal"]
    assert told["verdict"] == "bad"
    assert str(objects / bad) in told["told"]
    assert "lsattr" in told["next"]

    assert device.ok("submit", file).out.startswith("done")
    assert not any(objects.iterdir())
    assert "removal" not in device.examined()


@pytest.mark.parametrize("error", ["EPERM", "EIO"])
def test_export_that_cannot_be_removed_is_told_and_tried_again_and_its_recordings_go(
    device: Device, error: str
) -> None:
    # Its delete was ``partial``, and an agent that was started anew left the export to its age.
    (kept,) = device.take_in("front/a.mp4")
    export = Path(device.ok("export", "--json").json["folder"])
    file = delete(device, "--all")
    for _ in range(2):  # the second start meets what the first left
        ran = submit_where_removals_fail(device, file, export, error)
        assert (ran.returncode, ran.stdout.split(";")[0]) == (0, "accepted"), ran.stderr
        assert f"{export}: cannot be removed" in ran.stderr
        assert export.is_dir()
    assert not (device.state / "vault" / "objects" / kept).exists(), "the rest of the delete goes on"
    told = device.examined()["removal"]
    assert told["verdict"] == "bad"
    assert str(export) in told["told"]

    assert device.ok("submit", file).out.startswith("done")
    assert not export.exists()
    assert "removal" not in device.examined()


def test_export_whose_folder_was_removed_and_not_synced_is_not_said_to_be_gone(device: Device) -> None:
    # The second try found no folder, and said so without a sync.
    device.take_in("front/a.mp4")
    export = Path(device.ok("export", "--json").json["folder"])
    file = delete(device, export.name)
    for _ in range(2):
        ran = submit(device, file, failing(export.parent, "fsync=EIO"))
        assert (ran.returncode, ran.stdout.split(";")[0]) == (0, "accepted"), ran.stderr
        assert not export.exists()
    assert device.ok("submit", file).out.startswith("done")


def test_strangers_in_the_vaults_folders_keep_nobody_from_starting_and_are_named(device: Device) -> None:
    device.take_in("front/a.mp4")
    folder = device.state / "vault"
    (folder / "exports" / "notes.txt").touch()
    (folder / "objects" / "lost+found").mkdir()
    device.kill_running()  # without the word of a stop the next start sweeps
    device.ok("status")
    found = device.examined()
    for name, stranger in (("exports", "notes.txt"), ("objects", "lost+found")):
        assert found[name]["verdict"] == "look"
        assert stranger in found[name]["told"]
        assert (folder / name / stranger).exists()


def test_what_an_owner_opened_among_the_exports_is_kept_at_start_and_named(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    # The start removed it without a word, and until then doctor found nothing.
    device.take_in("front/a.mp4")
    export = Path(device.ok("export", "--json").json["folder"])
    opened = export.with_name(f"{export.name}-opened")
    opened.mkdir()
    (opened / "a.mp4").write_bytes(b"clear")
    cut_off = export.with_name("a" * 26)
    cut_off.mkdir()

    device.ok("status")

    assert (opened / "a.mp4").read_bytes() == b"clear"
    assert not cut_off.exists()
    assert "1 in the folder of exports are none of the agent's, and stay" in caplog.text
    told = device.examined()["exports"]
    assert told["verdict"] == "look"
    assert opened.name in told["told"]
    assert told["next"] == f"move them out of {export.parent}"
