"""What every command promises: an example, JSON, exit codes, files readable by stock tools, nothing secret told."""

import argparse
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

from agent.owner import main
from agent.owner.shell import FILES
from agent.shell.parser import Parser, Subparsers, commands_of
from device_sim.cloud import sealing
from tests.owner.conftest import MakeOwner

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "init", "recover", "device add", "device list", "client add", "client list", "client remove", "client new",
    "delete", "export", "inventory", "approve", "time", "pending", "resend", "forget", "listen", "receipt", "receipts",
    "verify", "open", "keygen", "decrypt", "version",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_an_example_of_that_command(make_owner: MakeOwner, command: str) -> None:
    told = make_owner("nobody").ok(*command.split(), "--help")

    assert f"example:\n  privacy-owner {command}" in told.out or f"&& privacy-owner {command}" in told.out
    assert "--json" in told.out


@pytest.mark.parametrize("file", FILES)
def test_file_has_just_the_commands_that_it_is_loaded_for(file: str) -> None:
    commands = commands_of(Parser(prog="privacy-owner"))
    importlib.import_module(f"agent.owner.{file}").add_parsers(commands)

    assert tuple(commands.choices) == FILES[file]


@pytest.mark.parametrize("home", [("--home", "delete"), ("--home=delete",)])
def test_home_with_the_name_of_a_command_is_taken_for_none(
    home: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main([*home, "keygen", "-o", "friend.key"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("delete", "--colour", "red"),
        ("time",),
        ("inventory", "--timeout", "nan"),
        ("init", "--name", "a\nb"),
        ("init", "--name", ""),
    ],
)
def test_bad_usage_exits_two(make_owner: MakeOwner, words: tuple[str, ...]) -> None:
    assert make_owner("nobody").run(*words).code == 2


def test_home_without_keys_says_how_to_begin(make_owner: MakeOwner) -> None:
    ran = make_owner("nobody").run("inventory", "--json")

    assert ran.code == 2
    assert "privacy-owner init" in ran.err
    assert ran.json["error"]["kind"] == "ConfigError"


def test_installed_command_runs(tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("privacy-owner")
    words = [str(tool), "--home", str(tmp_path / "home"), "init", "--json"]

    made = subprocess.run(words, capture_output=True, check=True, text=True)

    assert json.loads(made.stdout)["home"] == str(tmp_path / "home")
    assert made.stderr == ""


def test_nothing_secret_is_told_by_init(make_owner: MakeOwner) -> None:
    made = make_owner("home")
    told = made.ok("init", "--classic")

    secret = next(line for line in (made.home / "identity.txt").read_text().splitlines() if line.startswith("AGE-"))

    assert secret[20:40] not in told.out + told.err
    assert "OWNER-ROOT" not in told.out + told.err


@pytest.mark.parametrize("kind", [(), ("--pq",)])
def test_keygen_and_decrypt_open_what_age_would(make_owner: MakeOwner, tmp_path: Path, kind: tuple[str, ...]) -> None:
    someone = make_owner("nobody")
    made = someone.ok("keygen", *kind, "-o", tmp_path / "key", "--json").json
    clip = os.urandom(200_000)
    (tmp_path / "clip").write_bytes(clip)
    tool = Path(sys.executable).with_name("privacy-owner")
    sealed = _seal(clip, made["recipient"])
    (tmp_path / "clip.age").write_bytes(sealed)

    someone.ok("decrypt", "-i", tmp_path / "key", "-o", tmp_path / "out", tmp_path / "clip.age")
    piped = subprocess.run(
        [tool, "decrypt", "-i", tmp_path / "key"], input=sealed, capture_output=True, check=True
    ).stdout

    assert (tmp_path / "out").read_bytes() == clip == piped
    assert someone.run("keygen", "-o", tmp_path / "key").code == 2


def _seal(data: bytes, recipient: str) -> bytes:
    if recipient.startswith("age1pq"):
        return sealing.seal(data, recipient)  # Debian's age has no post-quantum keys
    age = shutil.which("age")
    assert age is not None
    return subprocess.run([age, "-a", "-r", recipient], input=data, capture_output=True, check=True).stdout


def test_damaged_file_leaves_nothing_behind(make_owner: MakeOwner, tmp_path: Path) -> None:
    someone = make_owner("nobody")
    made = someone.ok("keygen", "-o", tmp_path / "key", "--json").json
    sealed = bytearray(_seal(b"clip" * 50_000, made["recipient"]))
    del sealed[-100:]
    (tmp_path / "clip.age").write_bytes(sealed)

    ran = someone.run("decrypt", "-i", tmp_path / "key", "-o", tmp_path / "out", tmp_path / "clip.age")

    assert ran.code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.age", "key"]


def test_decrypt_without_an_identity_names_the_file(make_owner: MakeOwner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    ran = make_owner("nobody").run("decrypt", "-o", "x", "y")

    assert ran.code == 2
    assert "identity.txt" in ran.err


def test_commands_that_ask_are_those_that_the_manual_lists() -> None:
    commands = commands_of(Parser(prog="privacy-owner"))
    for file in FILES:
        importlib.import_module(f"agent.owner.{file}").add_parsers(commands)
    told = (ROOT / "docs/operating.md").read_text().partition("## The owner's commands\n\n")[2].partition("\n\n")[0]
    lists = told.partition("asks on a terminal:")[2].partition("Without a terminal")[0]
    fingerprints = told.partition("is a yes, with `--out` too.\n")[2].partition(" ask whether ")[0]
    listed = {name for name in re.findall("`([^`]+)`", lists + fingerprints) if not name.startswith("--")}
    assert listed == {name for name, run in _runs(commands, "") if _asks(run, set())}


def _runs(commands: Subparsers, group: str) -> Iterator[tuple[str, FunctionType]]:
    """Yield each command with the function that carries it out."""
    for name, parser in commands.choices.items():
        if (run := parser.get_default("run")) is not None:
            yield f"{group}{name}", run
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from _runs(action, f"{group}{name} ")


def _asks(run: FunctionType, seen: set[FunctionType]) -> bool:
    """Tell whether a function of the owner's calls ``confirm``, itself or through another of its file."""
    if run in seen:
        return False
    seen.add(run)
    called = (run.__globals__.get(name) for name in run.__code__.co_names)
    own = [one for one in called if isinstance(one, FunctionType) and one.__module__ == run.__module__]
    return "confirm" in run.__code__.co_names or any(_asks(one, seen) for one in own)
