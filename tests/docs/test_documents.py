"""Every document: links lead somewhere, paths are there, commands and their options exist."""

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.shown import PROGRAMS, help_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
A_PATH = re.compile(r"(?:agent|certs|deploy|device_sim|docs|tests|\.ci)/[\w./-]*")

A_COMMENT = re.compile(r"^#.*$", re.MULTILINE)
MAKES_COMMAND = re.compile(r"\b(config|config_of\(\w+\)|home)\.command$")
LONGEST_MESSAGE: Final = 400

COMMAND = re.compile(rf"(?:^|[\s(]|/bin/)((?:{'|'.join(PROGRAMS)}) (?:--home|[a-z])[^\n|;&>#)]*)")


def code_of(path: Path) -> Iterator[str]:
    """Yield every code block and span of a document, continued lines joined."""
    text = path.read_text(encoding="utf-8")
    for _language, block in FENCE.findall(text):
        yield block.replace("\\\n", " ")
    yield from SPAN.findall(FENCE.sub("", text))


def commands_in(path: Path) -> set[tuple[str, str]]:
    found = set()
    for code in code_of(path):
        for line in COMMAND.findall(code):
            program = next(name for name in PROGRAMS if line.startswith(f"{name} "))
            found.add((program, line.removeprefix(program).strip()))
    return found


def problem_of(program: str, arguments: str) -> str:
    """Say what is wrong with a command line as a document shows it."""
    words = shlex.split(arguments.replace("…", "").replace("'", ""))
    while words and words[0].startswith("--"):  # --home DIR stands before the command
        words = words[2:]
    path: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z-]*", word) or not help_of(program, *path, word):
            break
        path.append(word)
        if "COMMAND" not in help_of(program, *path).split("\n\n")[0]:
            break
    told = help_of(program, *path)
    if not path and words:
        return f"{program} {arguments}: no such command"
    told += help_of(program)  # --home stands for every command
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    unknown = [option for option in options if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told)]
    return f"{program} {arguments}: no option {unknown}" if unknown else ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8")))]
    relative = [link for link in links if link and "://" not in link]
    assert [link for link in relative if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_of_this_repository_exist(path: Path) -> None:
    named = set(SPAN.findall(FENCE.sub("", path.read_text(encoding="utf-8"))))
    paths = {code.partition("::")[0].rstrip(".") for code in named if A_PATH.fullmatch(code.partition("::")[0])}
    assert sorted(name for name in paths if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()) == []


def test_design_shows_the_layers_that_the_check_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (held,) = (one["layers"] for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    assert "\n".join(held) in [block.strip() for _language, block in FENCE.findall(design)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_their_options_exist(path: Path) -> None:
    problems = [problem_of(program, arguments) for program, arguments in sorted(commands_in(path))]
    assert [problem for problem in problems if problem] == []


def test_commands_that_do_not_exist_are_found() -> None:
    assert "no such command" in problem_of("privacy-agent", "dance --now")
    assert "no option" in problem_of("privacy-owner", "device add device.jws --dance")
    assert problem_of("privacy-owner", "--home owner device add device.jws --accept X") == ""


def test_shell_blocks_are_shell() -> None:
    blocks = [
        block
        for path in DOCUMENTS
        for language, block in FENCE.findall(path.read_text(encoding="utf-8"))
        if language == "sh"
    ]
    assert len(blocks) > 3
    for block in blocks:
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, block + done.stderr


def made_in(tree: ast.AST, *, program: str) -> Iterator[tuple[str, str]]:
    """Yield the commands that ``command`` of a config or of a home makes whole, X for what it fills in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and MAKES_COMMAND.search(ast.unparse(node.func)):
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else node.args[:1]
            words = [part.value if isinstance(part, ast.Constant) else "X" for part in parts]
            yield program, "".join(map(str, words))


def messages_in(path: Path) -> set[tuple[str, str]]:
    """Return the commands that a module's messages tell people to type."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    found = set(made_in(tree, program="privacy-owner" if "owner" in path.parts else "privacy-agent"))
    for text in texts:
        for line in (
            COMMAND.findall(A_COMMENT.sub("", text)) if isinstance(text, str) and len(text) < LONGEST_MESSAGE else ()
        ):
            program = next(name for name in PROGRAMS if line.startswith(f"{name} "))
            found.add((program, re.split(r"[,:(`]| and | in ", line.removeprefix(program))[0].strip()))
    return found


@pytest.mark.parametrize("folder", ["agent", "certs", "device_sim"])
def test_commands_that_messages_tell_people_to_type_exist(folder: str) -> None:
    told = {command for path in (ROOT / folder).rglob("*.py") for command in messages_in(path)}
    assert told
    if folder == "agent":  # those that name their config or home are among them
        assert {("privacy-agent", "consents"), ("privacy-owner", "recover SHEET --keyset FILE")} <= told
    problems = [problem_of(program, arguments) for program, arguments in sorted(told)]
    assert [problem for problem in problems if problem] == []
