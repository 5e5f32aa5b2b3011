"""One device and its owner: both programs take the same times, and refuse the same ones with the same words."""

from pathlib import Path

import pytest

import agent.cli
import agent.owner
from agent.shell.times import FORMS


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device that no agent runs on, and the folder of its owner."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "recordings").mkdir()
    owner, config = ["--home", str(folder / "home")], ["--config", str(folder / "agent.toml")]
    accept = agent.owner.main([*owner, "init", "--classic"])
    words = ["--owner", str(folder / "home/owner.pub"), "--device", "cam-01", "--state", str(folder / "state")]
    words += ["--source", f"spool:{folder / 'recordings'}", "--clock", "system"]
    accept += agent.cli.main(["init", *words, *config])
    assert accept == 0
    return folder


@pytest.mark.parametrize("text", [*FORMS.replace(" or", ",").split(", "), "2026-03-01 10:15:00 +0100"])
def test_time_that_the_owner_may_write_the_device_takes_too(device: Path, text: str) -> None:
    assert agent.cli.main(["inventory", "--from", text, "--config", str(device / "agent.toml")]) == 0


def test_time_that_is_none_is_refused_in_the_same_words(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.cli.main(["inventory", "--from", "yesterday", "--config", str(device / "agent.toml")]) == 2
    at_the_device = capsys.readouterr().err
    assert agent.owner.main(["--home", str(device / "home"), "inventory", "--from", "yesterday"]) == 2
    at_the_owner = capsys.readouterr().err

    assert at_the_device.removeprefix("privacy-agent") == at_the_owner.removeprefix("privacy-owner")
    assert FORMS in at_the_owner
