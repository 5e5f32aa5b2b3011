"""Every ``--help``: each command is described, says of each argument what it is, and ends in an example."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.shown import PROGRAMS, help_of, printed

ROOT = Path(__file__).resolve().parents[2]
AN_ENTRY: Final = re.compile(r"^ {2,4}(\S.*(?:\n {6,}\S.*)*)", re.MULTILINE)
"""An argument or a command of a list, with its text."""

HAS_A_TEXT: Final = re.compile(r"\S {2,}\S|\n")
TITLES: Final = ("positional arguments:", "options:", "commands:")


def lists_of(told: str) -> dict[str, list[str]]:
    """Return the entries of a help's lists, by the lists' titles."""
    found = {}
    for part in told.split("\n\n"):
        title, _, rest = part.partition("\n")
        if title in TITLES:
            found[title] = AN_ENTRY.findall(rest)
    return found


def every_help(program: str, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the help of a program, of its commands and of theirs."""
    told = help_of(program, *path)
    yield path, told
    for entry in lists_of(told).get("commands:", ())[1:]:  # COMMAND stands first
        yield from every_help(program, *path, entry.split()[0])


LEAST: Final = {"privacy-agent": 24, "privacy-owner": 26, "device-sim": 7, "python -m certs": 6}
"""Helps of each program: one that is not found is not looked at."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_help_describes_its_command_and_ends_in_an_example_of_it(program: str) -> None:
    helps = dict(every_help(program))
    assert len(helps) >= LEAST[program]
    for path, told in helps.items():
        description, example = told.split("\n\n")[1], told.split("\n\n")[-1]
        assert re.fullmatch(r"[A-Z].*\.", description, re.DOTALL), (path, description)
        assert re.match(r"(?:example|first steps):", example), (path, example)
        assert re.search(rf"\b{' '.join((program, *path))}\b", example), (path, example)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_can_answer_in_json(program: str) -> None:
    leaves = {path: told for path, told in every_help(program) if "commands:" not in lists_of(told)}
    assert [path for path, told in leaves.items() if not re.search(r"^  --json ", told, re.MULTILINE)] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_argument_and_command_in_a_help_has_a_text(program: str) -> None:
    entries = [
        (path, entry) for path, told in every_help(program) for found in lists_of(told).values() for entry in found
    ]
    assert len(entries) > 20
    assert [(path, entry) for path, entry in entries if not HAS_A_TEXT.search(entry)] == []


@pytest.mark.parametrize("columns", [40, 80])
def test_description_is_broken_between_words_to_the_width_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _code, told = printed("privacy-agent", "policy", "check", "--help")
    description = told.split("\n\n")[1].splitlines()
    assert columns - 20 < max(map(len, description)) < columns
    assert "--dry-run" in " ".join(description)
    assert not [line for line in description if line.endswith("-")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_version_is_that_of_the_project(program: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code, told = printed(program, "--version")
    assert code in {0, None}
    assert told.startswith(f"{program} {project['version']}")


def test_first_steps_of_the_owners_help_work_on_a_fresh_machine(tmp_path: Path) -> None:
    """The example went from the owner's keys to a device's descriptor that nothing had made."""
    steps = [line.strip() for line in help_of("privacy-owner").split("\n\n")[-1].splitlines()[1:]]
    assert [step.split()[:2] for step in steps] == [
        ["privacy-owner", "init"],
        ["privacy-agent", "init"],
        ["privacy-owner", "device"],
    ]
    bin_ = Path(sys.executable).parent
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{bin_}:{os.environ['PATH']}"}
    env.pop("PRIVACY_OWNER_HOME", None)
    done = [
        subprocess.run(["sh", "-c", step], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        for step in steps
    ]
    assert [one.returncode for one in done[:2]] == [0, 0], [one.stderr for one in done]
    assert "fingerprint" in done[2].stderr, "the last one shows what a person compares"
