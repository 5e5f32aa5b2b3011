"""What is due, seen by who sits at the machine: refused at once, and named with the time by which its key is gone."""

from datetime import datetime
from typing import Any

from tests.cli.conftest import Device
from tests.waiting import until

NAME = "front/recording/2026-03-01T10-15-00.000Z_10s.mp4"


def test_due_recording_is_given_to_nobody_and_explain_says_when_its_key_is_gone(device: Device) -> None:
    policy = device.folder / "policy.toml"
    policy.write_text(policy.read_text().replace('keep = { age = "14d", disk_free = "10%" }', 'keep.age = "1s"', 1))
    (due,) = device.take_in(NAME)

    def explained() -> Any:  # noqa: ANN401 - JSON
        told = device.ok("explain", due, "--json").json
        return told if told["state"] == "erasing" else None

    with device.running():
        told = until(explained, what="the recording due", within_s=90)
        decision = told["decision"]
        assert (decision["ends"], decision["rule"]) == (
            "soon: nobody is given it any more",
            "category.recording.keep.age",
        )
        lasts = datetime.fromisoformat(decision["until"]) - datetime.fromisoformat(told["taken_in"])
        assert 3600 <= lasts.total_seconds() < 3600 + 120
        assert "its key is destroyed by" in device.ok("explain", due).out
        assert (device.state / "vault/objects" / due).exists()
        export = device.agent("export")
        assert export.code == 1, "there is nothing to export"
    assert not device.take_in(), "the next start carries it out"
    assert not (device.state / "vault/objects" / due).exists()
