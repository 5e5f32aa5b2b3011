"""How both programs end: the same exit codes, the same error in words and as JSON, and always a next step."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.age import generate_identity, write_identity_file
from agent.errors import KINDS, AgentError, ConfigError, RefusedError, SpaceError
from agent.shell.ending import BROKEN_PIPE, FAILED, INTERRUPTED, USAGE, ended

PROGRAMS = ("privacy-agent", "privacy-owner")


def tool(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


@pytest.mark.parametrize("program", PROGRAMS)
def test_interrupted_command_ends_with_130(program: str, tmp_path: Path) -> None:
    key, pipe = tmp_path / "key", tmp_path / "pipe"
    key.write_text(write_identity_file(generate_identity(post_quantum=False), created="2026-01-02T03:04:05Z"))
    os.mkfifo(pipe)
    words = [tool(program), "decrypt", "-i", str(key), "-o", str(tmp_path / "out"), str(pipe)]

    with subprocess.Popen(words, stderr=subprocess.PIPE) as running, pipe.open("wb"):  # it opened its end: it reads
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        told = running.stderr.read()

    assert running.returncode == INTERRUPTED
    assert b"Traceback" not in told


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("words", [("version",), ("keygen",), ("fly", "--json")])
def test_reader_that_went_away_ends_with_141(program: str, words: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run([tool(program), *words], stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)

    assert done.returncode == BROKEN_PIPE
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("words", [("version",), ("keygen",), ("--help",)])
def test_output_that_has_no_room_is_told_and_no_fault_of_ours(program: str, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([tool(program), *words], stdout=full, stderr=subprocess.PIPE, check=False, text=True)

    assert done.returncode == FAILED
    assert done.stderr.splitlines()[-2:] == [
        f"{program}: no room for what this command writes",
        "  next: make room, or send its output elsewhere",
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("words", [("fly",), ("version", "--colour"), ("decrypt", "-i", "absent", "-o", "out"), ()])
def test_error_is_told_in_words_and_where_asked_as_json(program: str, words: tuple[str, ...], tmp_path: Path) -> None:
    plain = subprocess.run([tool(program), *words], capture_output=True, check=False, cwd=tmp_path, text=True)
    asked = subprocess.run([tool(program), *words, "--json"], capture_output=True, check=False, cwd=tmp_path, text=True)

    assert (plain.returncode, asked.returncode) == (USAGE, USAGE)
    assert plain.stdout == ""
    told = re.fullmatch(rf"{program}: (.+)\n  next: (.+)\n", plain.stderr)
    assert told is not None
    assert asked.stderr.startswith(f"{program}: ")
    error = json.loads(asked.stdout)["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert error["kind"] == "ConfigError"
    if words:
        assert asked.stderr == plain.stderr
        assert (error["message"], error["hint"]) == told.groups()


@pytest.mark.parametrize("program", PROGRAMS)
def test_half_an_option_is_none(program: str) -> None:
    done = subprocess.run([tool(program), "keygen", "--js"], capture_output=True, check=False, text=True)

    assert done.returncode == USAGE
    assert "--js" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_next_step_of_its_own(kind: type[AgentError], capsys: pytest.CaptureFixture[str]) -> None:
    error = RefusedError("no", reason="busy", retry="later") if kind is RefusedError else kind("no")

    code = ended(lambda: _raise(error), program="it", as_json=True)

    out, err = capsys.readouterr()
    told = json.loads(out)["error"]
    assert code == (USAGE if kind is ConfigError else FAILED)
    assert err == f"it: no\n  next: {told['hint']}\n"
    assert (told["kind"], bool(told["hint"])) == (kind.__name__, True)
    assert (told.get("reason"), told.get("retry")) == (("busy", "later") if kind is RefusedError else (None, None))


def test_kind_of_a_narrower_error_is_one_of_the_five(capsys: pytest.CaptureFixture[str]) -> None:
    class NarrowError(SpaceError):
        pass

    ended(lambda: _raise(NarrowError("no")), program="it", as_json=True)

    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "SpaceError"


def test_bug_is_not_told_as_an_error() -> None:
    with pytest.raises(ExceptionGroup):
        ended(lambda: _raise(ExceptionGroup("tasks", [KeyError("bug")])), program="it", as_json=False)


def _raise(error: Exception) -> int:
    raise error
