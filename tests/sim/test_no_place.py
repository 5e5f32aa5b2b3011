"""Folders and files that the simulators cannot use: told in plain words, with what to name instead."""

from pathlib import Path

import pytest

from device_sim.cli import main
from tests.disk import as_root, read_only


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("camera", "--link", "--state", "HERE"), "--state DIR"),
        (("camera", "--count", "1", "--photos", "--no-clips", "--rate", "0", "--spool", "HERE"), "--spool DIR"),
        (("demo", "--dir", "HERE"), "--dir DIR"),
        (("cloud", "init", "HERE"), "device-sim cloud init DIR"),
    ],
)
@as_root
def test_folder_that_cannot_be_made_is_named_with_what_to_name_instead(
    tmp_path: Path, words: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc").mkdir()
    folder = tmp_path / "etc" / "mine"
    with read_only(tmp_path / "etc"):
        code = main([str(folder) if word == "HERE" else word for word in words])
    said = capsys.readouterr().err
    assert code == 1
    assert f"device-sim {words[0]}: {folder}: Read-only file system\n  next: " in said
    assert option in said
    assert list((tmp_path / "etc").iterdir()) == []


def test_order_to_nobody_is_told_without_the_number_of_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tell", "--state", str(tmp_path), "show"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"device-sim tell: no simulator answers at {tmp_path / 'control'}: No such file or directory\n"
    )


def test_clip_that_is_not_there_is_told_as_make_demo_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "nope.mp4"
    assert main(["demo", "--input", str(clip), "--dir", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"device-sim demo: {clip}: No such file or directory\n"
        "  next: name a video that plays: --input clip.mp4, or make demo INPUT=clip.mp4\n"
    )
