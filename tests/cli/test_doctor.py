"""``privacy-agent doctor`` looks and changes nothing: not a byte of the state folder, whatever state that is in."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from agent.app.alarm import MEANING
from agent.index import opening
from agent.keystore import SLOT_OFFSETS
from tests.cli.conftest import Device


def contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder with the hash of its content, sockets and folders by their kind."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "other"
        for path in folder.rglob("*")
    }


def examine(device: Device, *words: str) -> dict[str, Any]:
    """Run doctor twice, in both forms, and return the findings; the state folder must be as it was."""
    before = contents(device.state)
    device.agent("doctor", *words)
    found = device.examined(*words)
    assert contents(device.state) == before
    return found


def test_device_that_never_ran_is_examined_without_a_trace(device: Device) -> None:
    found = examine(device)
    assert found["agent"]["told"] == "does not run"
    assert f"privacy-agent run --config {device.config}" in found["agent"]["next"]
    assert found["owner"]["told"] == "Ada, key set version 1"
    assert found["clock"]["verdict"] == "good"
    assert "consistent from 1 up to" in found["audit log"]["told"]


def test_vault_that_is_at_rest_is_examined_without_a_trace(device: Device) -> None:
    device.take_in("front/a.mp4")
    found = examine(device)
    assert found["audit log"]["verdict"] == "good"


def test_vault_whose_agent_was_killed_is_examined_and_not_recovered(device: Device) -> None:
    device.take_in("front/a.mp4")
    device.kill_running()
    assert (device.state / "index.db-wal").stat().st_size > 0
    assert (device.state / "control.sock").exists()
    found = examine(device)
    assert found["agent"]["told"] == "does not run"
    assert found["audit log"]["verdict"] == "good"
    assert device.take_in("front/b.mp4")  # and what the killed agent left behind is whole


def test_running_agent_is_asked_and_its_log_does_not_grow(device: Device) -> None:
    device.take_in("front/a.mp4")
    with device.running():
        before = device.ok("audit", "show").out
        found = device.examined()
        assert device.ok("audit", "show").out == before
    assert found["agent"]["told"] == "runs"


def test_damaged_copy_of_the_keystore_is_told_and_left_to_the_agent(device: Device) -> None:
    keystore = device.state / "keystore"
    with keystore.open("r+b") as file:
        file.seek(SLOT_OFFSETS[1] + 100)
        file.write(b"damage")
    found = examine(device)
    assert found["keys"]["verdict"] == "look"
    assert "one of its two copies is damaged" in found["keys"]["told"]
    device.ok("status")
    assert examine(device)["keys"]["verdict"] == "good"


def test_index_that_the_keystore_does_not_open_is_bad(device: Device) -> None:
    index = device.state / "index.db"
    index.write_bytes(bytes(range(256)) * (index.stat().st_size // 256))
    found = examine(device)
    assert found["vault"]["verdict"] == "bad"
    assert found["vault"]["next"]


def test_index_of_an_older_version_is_told_and_left_to_the_agent(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = {**opening.MIGRATIONS, "registry": (*opening.MIGRATIONS["registry"], "CREATE TABLE later (a) STRICT")}
    monkeypatch.setattr(opening, "MIGRATIONS", newer)
    found = examine(device)
    assert found["vault"]["verdict"] == "bad"
    assert "an older version wrote this index" in found["vault"]["told"]
    assert found["vault"]["next"] == "start the agent, which brings it up to date"
    assert found["agent"]["next"] == f"start it: privacy-agent run --config {device.config}"


@pytest.mark.parametrize(("code", "verdict"), [("disk_full", "bad"), ("clock_unsure", "look")])
def test_alert_is_told_with_what_it_means_and_its_own_next_step(device: Device, code: str, verdict: str) -> None:
    device.raise_alert(code)
    found = examine(device)["alert"]
    assert found["verdict"] == verdict
    assert MEANING[code][0] in found["told"]
    assert found["next"] == MEANING[code][1]


@pytest.mark.parametrize("code", ["source_failed", "removal_failed"])
def test_step_of_an_alert_does_not_say_to_type_what_was_just_typed(device: Device, code: str) -> None:
    device.raise_alert(code)
    found = examine(device)["alert"]
    assert "privacy-agent doctor" in MEANING[code][1]
    assert "doctor" not in found["next"]
    assert found["next"].startswith("Look at ")
