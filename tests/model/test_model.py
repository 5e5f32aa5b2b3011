"""The device against the model of it, and the machine against mistakes that it must find."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.bugs import BUGS, Bug
from tests.model.household import Household
from tests.model.machine import Machine

STEPS: Final = 40
PART: Final = 4
"""One life for so many cases of a property: 25, and 2,500 in the long form."""

SHORT: Final = 100
"""Cases of a property where nobody asks for more."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where there is one, syncing costs nothing


@pytest.fixture(scope="module")
def lives() -> Iterator[type[Machine]]:
    """Return the machine with a household to work in."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        yield type("Lives", (Machine,), {"folder": folder, "house": Household(folder)})
    finally:
        shutil.rmtree(folder)


def _live(machine: Machine, bug: Bug) -> None:
    """Live a bug's life, and look behind it at all that must hold."""
    try:
        bug.life(machine)
        machine.what_is_there_opens()
        machine.what_is_gone_is_gone()
        machine.what_is_written_of_them_agrees()
        machine.what_lies_at_the_sources_agrees()
        machine.every_command_has_one_outcome()
        machine.the_history_holds()
    finally:
        with suppress(Exception):  # a mistake may be in the way of stopping, too
            machine.teardown()


def test_device_does_what_the_model_of_it_says(lives: type[Machine], pytestconfig: pytest.Config) -> None:
    """The short form leads the same lives each time; with a seed, and in the long form, they are others."""
    examples = settings().max_examples
    wanted = settings(
        max_examples=examples // PART,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=examples <= SHORT and pytestconfig.getoption("--hypothesis-seed") is None,
        database=None,
    )
    run_state_machine_as_test(lives, settings=wanted)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_life_without_its_mistake_holds(bug: Bug, lives: type[Machine]) -> None:
    _live(lives(), bug)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_mistake_is_found(bug: Bug, lives: type[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    bug.make(monkeypatch.setattr)
    machine = lives()
    with pytest.raises(AssertionError):
        _live(machine, bug)
