"""How ``python -m certs`` ends where nobody reads what it says, or where there is no room for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN_PIPE = 141


@pytest.mark.parametrize("words", [("show",), ("show", "--json"), ("show", "--help")])
def test_reader_that_went_away_ends_with_141(ca: Path, words: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = _certs(*words, str(ca), stdout=theirs)
    finally:
        os.close(theirs)

    assert done.returncode == BROKEN_PIPE
    assert not done.stderr


def test_output_that_has_no_room_is_told_with_the_next_step(ca: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _certs("show", str(ca), stdout=full.fileno())

    assert done.returncode == 1
    assert "no room for what this command writes" in done.stderr
    assert "next: make room" in done.stderr
    assert "Traceback" not in done.stderr


def _certs(*words: str, stdout: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "certs", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, text=True)
