"""The shell command `device-sim`: what it says of a line that it cannot read."""

import pytest

from device_sim.cli import main


@pytest.mark.parametrize("command", ["broker", "camera", "cloud", "cloud init", "demo"])
def test_wrong_option_tells_what_the_command_that_was_meant_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["keys"] if command == "cloud init" else ["--spool", "spool"] if command == "camera" else []
    with pytest.raises(SystemExit) as left:
        main([*command.split(), *needed, "--colour"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: device-sim {command} ")
    assert said.endswith(f"device-sim {command}: error: unrecognized arguments: --colour\n")


def test_cloud_shows_that_its_command_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cloud", "--help"])
    assert " [COMMAND] ...\n" in capsys.readouterr().out.partition("\n\n")[0] + "\n"
