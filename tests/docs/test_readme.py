"""The README's five minutes are run as they stand, by somebody who types yes when asked."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [match[2] for match in BLOCK.finditer(README)]
LIMIT_S = 120
ID = r"[a-z2-7]{26}"


@pytest.fixture(scope="module")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the block in an empty folder; return the folder and all that it printed."""
    folder = tmp_path_factory.mktemp("readme")
    terminal, line = pty.openpty()
    out = folder / "screen.txt"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PRIVACY_OWNER_HOME", None)
    os.write(terminal, b"yes\nyes\n")
    script = f"set -em\n{BLOCKS[1]}"
    with out.open("wb") as screen, subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=line, stdout=screen, stderr=line,
        start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(line)
        try:
            code = shell.wait(LIMIT_S)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
    said = os.read(terminal, 1 << 16).decode(errors="replace")
    os.close(terminal)
    assert code == 0, out.read_text(encoding="utf-8") + said
    return folder, out.read_text(encoding="utf-8")


def test_five_minutes_on_a_folder_end_in_the_line_that_the_readme_shows(five_minutes: tuple[Path, str]) -> None:
    _folder, printed = five_minutes
    shown = re.escape(BLOCKS[2].strip()).replace("…", r"\S+ \S+ \S+")
    assert re.fullmatch(shown, printed.splitlines()[-1]), printed


def test_five_minutes_on_a_folder_seal_open_and_delete_what_was_recorded(five_minutes: tuple[Path, str]) -> None:
    folder, printed = five_minutes
    assert not [path for path in (folder / "recordings").rglob("*") if path.is_file()]
    assert len(list((folder / "opened").iterdir())) == 4
    kept = {path.name for path in (folder / "state/vault/objects").iterdir()}
    deleted = re.search(rf"^({ID})  deleted", printed, re.MULTILINE)
    assert deleted is not None
    assert len(kept) == 3
    assert deleted[1] not in kept
    assert "audit.jsonl: consistent from 1 up to" in printed
    assert re.search(r"signed up to \d+, anchored$", printed, re.MULTILINE)


def test_five_minutes_on_a_folder_explain_by_the_rule_that_the_policy_names(five_minutes: tuple[Path, str]) -> None:
    _folder, printed = five_minutes
    assert re.search(
        r"^stays +not due until .* UTC, by category\.(?:recording|photo)\.keep\.age$", printed, re.MULTILINE
    )


def test_two_commands_come_first_and_the_makefile_has_them() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", BLOCKS[0], re.MULTILINE)
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets)
