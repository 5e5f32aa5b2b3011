"""What is not the agent is started without measuring it; whatever may be is measured."""

import os
import subprocess
import sys
import threading
from pathlib import Path, PurePath
from types import FrameType

import pytest

from tests.measured import BESIDE, MEASURING, SETTING, SUBJECT, TIMES, Measuring, own_words, runs_no_agent, unmeasured


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/venv/bin/device-sim", "cloud", "init", "here"], True),
        (["nsenter", "--net=/proc/1/ns/net", "--", "python", "-m", "device_sim.announce"], True),
        (["python", "-m", "certs", "init", "tls"], True),
        (["python", "-W", "ignore", "-m", "amqtt.scripts.broker_script"], True),
        (["/venv/bin/privacy-agent", "init", "--identity", "certs"], False),
        (["python", "-I", "-m", "agent.sealer", "7"], False),
        (["python", "-m"], False),
        ("device-sim camera", False),
    ],
)
def test_command_of_another_program_is_known_whatever_it_stands_behind(command: object, *, told: bool) -> None:
    assert runs_no_agent(command) is told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/venv/bin/privacy-agent", "status", "--config", "at/agent.toml"], ("privacy-agent", "status", "--config")),
        (["nsenter", "--net=/proc/1/ns/net", "--", "/venv/bin/privacy-owner", "delete", "--last", "7d"],
         ("privacy-owner", "delete", "--last")),
        (["/usr/bin/python", "-I", "-m", "agent.sealer", "7"], ("agent.sealer",)),
        ("privacy-agent status", ("privacy-agent status",)),
    ],
)  # fmt: skip
def test_same_command_on_other_files_has_the_same_words(command: object, words: tuple[str, ...]) -> None:
    assert own_words(command) == words


def test_command_is_measured_the_first_times_and_an_agent_and_the_subject_of_a_test_always() -> None:
    status, agent = ["privacy-agent", "status"], ["privacy-agent", "run", "--config", "agent.toml"]
    measuring = Measuring()
    measuring.test(PurePath("tests/flow/test_any.py"), later=False)
    wanted = [(measuring.wants(status), measuring.wants(agent)) for _ in range(TIMES + 2)]
    assert wanted == [(True, True)] * TIMES + [(False, True)] * 2
    for name in SUBJECT:
        folder = PurePath("tests/any") / name if name.endswith(".py") else PurePath("tests") / name / "test_any.py"
        measuring.test(folder, later=False)
        assert measuring.wants(status)
    measuring.test(folder, later=True)
    assert (measuring.wants(status), measuring.wants(agent)) == (False, False)


def test_folders_and_files_that_are_named_are_there() -> None:
    tests = Path(__file__).parents[1]
    there = {path.name for path in tests.iterdir()} | {path.name for path in tests.glob("*/test_*.py")}
    assert sorted((BESIDE | SUBJECT) - there) == []


@pytest.mark.parametrize(("name", "told"), [("device-sim", "not set"), ("privacy-agent", "by this")])
@pytest.mark.parametrize("given", [True, False], ids=["in an environment of its own", "in ours"])
def test_setting_is_with_what_runs_the_agent_alone(
    name: str, told: str, *, given: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    MEASURING.test(request.node.path, later=False)
    monkeypatch.setenv(SETTING, "by this")
    script = ["sh", "-c", f"echo ${{{SETTING}-not set}}", name]
    done = subprocess.run(script, env=dict(os.environ) if given else None, capture_output=True, text=True, check=True)

    assert done.stdout == f"{told}\n"
    assert os.environ[SETTING] == "by this"


def test_nothing_is_measured_in_a_folder_that_stands_beside_the_agent() -> None:
    assert Path(__file__).parent.name in BESIDE
    assert (sys.gettrace(), threading.gettrace(), SETTING in os.environ) == (None, None, False)


def test_measuring_goes_on_behind_what_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def trace(frame: FrameType, _event: str, _told: object) -> None:
        seen.append(frame.f_code.co_name)

    def measured() -> None: ...

    def between() -> None: ...

    monkeypatch.setenv(SETTING, "by this")
    sys.settrace(trace)
    try:
        with unmeasured():
            between()
        measured()
        after = (SETTING in os.environ, sys.gettrace())
    finally:
        sys.settrace(None)

    assert (after, "measured" in seen, "between" in seen) == ((True, trace), True, False)
